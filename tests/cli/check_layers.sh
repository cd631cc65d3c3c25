#!/bin/sh
# The arrows between folders and the homes of foreign libraries, as a test (docs/ARCHITECTURE.md). Prints every include
# that goes the wrong way.
set -eu
cd "${VICHA_SOURCE:-.}"
bad=0
complain() {
    echo "$1"
    bad=1
}

# folder: the folders it may include
allowed() {
    case $1 in
    base) echo "base" ;;
    nn | extract) echo "base $1" ;;
    concepts) echo "base nn extract concepts" ;;
    query) echo "base nn extract concepts query" ;;
    index) echo "base nn extract concepts index" ;;
    train) echo "base nn extract concepts index train" ;;
    serve) echo "base nn extract concepts query serve" ;;
    cli) echo "base nn extract concepts query serve index train cli" ;;
    demo) echo "base extract demo" ;;
    esac
}

for folder in base nn extract concepts query serve index train cli demo; do
    for line in $(grep -rnoE --include='*.[ch]' '#include "[a-z_]+/[^"]+"' "$folder" | tr ' ' '@'); do
        file=${line%%:*}
        header=$(printf %s "$line" | sed 's/.*"\([^"]*\)".*/\1/')
        target=${header%%/*}
        case " $(allowed "$folder") " in
        *" $target "*) ;;
        *) complain "$file includes $header: $folder may not use $target" ;;
        esac
        # Another folder is used through the header named after it; base is a set of headers.
        if [ "$target" != "$folder" ] && [ "$target" != base ] && [ "$header" != "$target/$target.h" ]; then
            complain "$file includes $header: use $target/$target.h"
        fi
    done
done

# A foreign header has one home. header-pattern, then the files that may include it.
home() {
    pattern=$1
    shift
    for file in $(grep -rlE --include='*.[ch]' "#include <$pattern" base nn extract concepts query serve index train cli demo || true); do
        case " $* " in
        *" $file "*) ;;
        *) complain "$file includes <$pattern...>: its home is $*" ;;
        esac
    done
}
home vips/ extract/image.c extract/vips_rows.c
home jpeglib extract/jpeg.c
home jerror extract/jpeg.c
home curl/ extract/fetch_impl.h extract/download.c
home archive extract/source_tar.c
home cblas nn/gemm.c nn/blas_check.c
home sqlite3 base/db.c
home jansson base/json.c
home microhttpd serve/http.c
home openssl/ base/hash.c
home xxhash base/hash.c

# Calls with a better one of ours that the poison list cannot name, because system headers use the words.
if grep -rnE --include='*.c' '\b(s?rand|exit|abort)\(' base nn extract concepts query serve index train |
    grep -vE '^base/(err|mem|cpu)\.c|_exit\('; then
    complain "the lines above: use base/rng.h instead of rand; only cli/ ends the program"
fi
[ $bad = 0 ] && echo "layers: every include goes down"
exit $bad
