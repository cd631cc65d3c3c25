#!/bin/sh
# vicha doctor: right on a right machine; finds slow kernels that were asked for, a foreign BLAS, a missing folder.
set -u
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
has() { # has TEXT WORDS
    case $1 in
    *"$2"*) ;;
    *) fail "no '$2' in: $1" ;;
    esac
}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS OMP_NUM_THREADS

out=$("$VICHA" doctor --json --threads 1 2>err) || fail "doctor ended with $?: $out"
has "$out" '"check": "products", "state": "ok"'
has "$out" '"check": "kernels", "state": "ok"'
has "$out" '"gflops_1": '
for check in precisions frequency hypervisor memory; do
    has "$out" "\"check\": \"$check\""
done
case $out in *'"gb_s_1": 0.00'* | *'"ghz": 0.000'*) fail "nothing was measured: $out" ;; esac
for library in SQLite jansson libvips libcurl libarchive; do
    printf '%s\n' "$out" | grep -q "\"$library\": \"[0-9][0-9.]*\"" || fail "no version of $library: $out"
done
has "$out" '"free_bytes": '
[ "$(printf '%s\n' "$out" | grep -cv '^{"check": ".*}$')" = 0 ] || fail "lines that are no check: $out"
[ ! -s err ] || fail "words on standard error: $(cat err)"

# Kernels of 2004, asked for: right, slow, and the mend is named. Only where OpenBLAS has them and we know better.
slow=$(OPENBLAS_CORETYPE=Prescott "$VICHA" doctor --threads 1) || fail "slow kernels are not wrong: $slow"
case $slow in
*"core type Prescott"*)
    case $out$slow in
    *'busy with something else'*) echo "# others use the processors: the cost of the setting is not measured" ;;
    *'"flags": "avx2'*)
        has "$slow" 'unset OPENBLAS_CORETYPE: '
        has "$slow" "with the setting 'Prescott'"
        ;;
    esac
    ;;
*) echo "# this OpenBLAS does not know Prescott: $slow" ;;
esac

# A setting of the user that is not followed is said, not passed over.
warned=$(OPENBLAS_NUM_THREADS=2 "$VICHA" doctor --threads 1 2>&1)
has "$warned" 'OPENBLAS_NUM_THREADS=2 (no effect'

# A processor that plays an older one is told apart; a misspelt mask is not passed over.
masked=$(VC_CPU=none "$VICHA" doctor --json --threads 1)
has "$masked" '"level": "c"'
has "$masked" 'unset VC_CPU'
has "$masked" 'no vectors are used'
(VC_CPU=avx7 "$VICHA" doctor) >/dev/null 2>&1 && fail "VC_CPU=avx7 was taken"

# The reference BLAS in the place of OpenBLAS.
for foreign in /usr/lib/*/blas/libblas.so.3; do
    [ -e "$foreign" ] || continue
    out=$(LD_PRELOAD=$foreign "$VICHA" doctor 2>&1)
    status=$?
    case $out in
    *AddressSanitizer* | *"runtime does not come first"*)
        echo "# LD_PRELOAD cannot be tried under a sanitizer"
        continue
        ;;
    esac
    [ $status = 1 ] || fail "a foreign BLAS ended with $status: $out"
    has "$out" "come from '$foreign'"
    has "$out" 'unset LD_PRELOAD'
    out=$(LD_PRELOAD=$foreign "$VICHA" bench gemm 8x8x8 2>&1)
    [ $? = 1 ] || fail "a command that computes accepted a foreign BLAS: $out"
    has "$out" "$foreign"
done

# vicha bench gemm: an object a line, wrong usage told apart.
out=$("$VICHA" bench gemm 64x48x32 8x8x8 --threads 1) || fail "bench gemm ended with $?: $out"
[ "$(printf '%s\n' "$out" | grep -c '^{"bench": "gemm", .*"gflops": [0-9.]*[1-9]')" = 2 ] || fail "bench gemm: $out"
has "$out" '"m": 64, "n": 48, "k": 32, "threads": 1'
for shape in 64 64x64 64x64x 64x64x64x64 0x1x1 -1x1x1 1x1x99999999 axbxc; do
    out=$("$VICHA" bench gemm --threads 1 -- "$shape" 2>&1)
    [ $? = 2 ] || fail "bench gemm took the shape '$shape': $out"
done

out=$("$VICHA" doctor --threads 1 -w nowhere)
[ $? = 1 ] || fail "a missing folder is not wrong: $out"
has "$out" "'nowhere': No such file"
[ $failures = 0 ] && echo "ok"
exit $failures
