#!/bin/sh
# vicha model pull against a hub of our own: cache layout, redirect to another host, resume, checks, tokens, offline.
set -u
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
check() { # check WHAT GOT WANTED
    [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"
}
: "${VICHA:?}" "${HUB_SERVER:?}"
tmp=$(mktemp -d) || exit 1
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# make NAME: a model folder, its weights of 3 MB that differ by name
make() {
    mkdir -p "$tmp/hub/$1/onnx"
    echo '{"model_type": "clip"}' >"$tmp/hub/$1/config.json"
    printf 'a\nb\n' >"$tmp/hub/$1/vocab.txt"
    echo 'read me' >"$tmp/hub/$1/README.md"
    { yes "$1" | head -c 3000000; } >"$tmp/hub/$1/model.safetensors"
    echo old >"$tmp/hub/$1/pytorch_model.bin"
    echo '{}' >"$tmp/hub/$1/pytorch_model.bin.index.json"
    echo '{}' >"$tmp/hub/$1/onnx/config.json"
}
for m in good cut wrong short busy gated escape plain sparse; do
    make "org/$m"
done
mkfifo "$tmp/ports" "$tmp/hold"
"$HUB_SERVER" "$tmp/hub" "$tmp/log" <"$tmp/hold" >"$tmp/ports" &
pid=$!
exec 9>"$tmp/hold" # the server ends when this does, however the test ends
read -r port port2 <"$tmp/ports"
export HF_ENDPOINT="http://127.0.0.1:$port" HF_HOME="$tmp/home"
unset HF_TOKEN HF_HUB_CACHE HF_HUB_OFFLINE
commit=0123456789abcdef0123456789abcdef01234567
pull() { # pull STATUS ARGUMENTS...: output in $out, errors in $errors
    want=$1
    shift
    out=$("$VICHA" model pull "$@" 2>"$tmp/stderr")
    got=$?
    errors=$(cat "$tmp/stderr")
    [ $got = "$want" ] || fail "pull $* ended with $got, expected $want: $out $errors"
}
repo=$tmp/home/hub/models--org--good
snapshot=$repo/snapshots/$commit

# a whole model, in the layout of the hub's own cache
pull 0 org/good
check "the folder" "$out" "$snapshot"
check files "$(cd "$snapshot" && echo *)" "config.json model.safetensors vocab.txt"
check ref "$(cat "$repo/refs/main")" $commit
sum=$(sha256sum <"$tmp/hub/org/good/model.safetensors" | cut -d' ' -f1)
check link "$(readlink "$snapshot/model.safetensors")" "../../blobs/$sum"
cmp -s "$snapshot/model.safetensors" "$tmp/hub/org/good/model.safetensors" || fail "the weights differ"
cmp -s "$snapshot/config.json" "$tmp/hub/org/good/config.json" || fail "the configuration differs"
[ -z "$(find "$repo" -name '*.incomplete' -o -name '*.tmp')" ] || fail "something was left behind"
[ -e "$tmp/home/hub/.locks/models--org--good/$sum.lock" ] || fail "no lock file"
# a second time nothing but the list is asked
: >"$tmp/log"
pull 0 --json org/good
check "asked again" "$(wc -l <"$tmp/log")" 1
check fetched "$(echo "$out" | sed -n 's/.*"fetched": \([0-9]*\).*/\1/p')" 0
# patterns, in folders too
pull 0 org/good --include 'onnx/*' --include 'README*' --exclude '*.md'
check "a file in a folder" "$(readlink "$snapshot/onnx/config.json" | cut -d/ -f1-4)" "../../../blobs"
[ -s "$snapshot/onnx/config.json" ] && [ ! -e "$snapshot/README.md" ] || fail "--include, --exclude"
pull 2 org/good --include nothing
# a commit as revision makes no ref; what is not there is said
pull 0 org/good --revision $commit
check refs "$(ls "$repo/refs")" main
pull 1 org/good --revision other
case $errors in *"no model 'org/good' with revision 'other'"*) ;; *) fail "another revision: $errors" ;; esac
pull 1 org/none
case $errors in *"Repository not found"*) ;; *) fail "another model: $errors" ;; esac
for name in ../x a/b/c '' org/../x -x/y; do
    pull 2 -- "$name"
done

# broken off, and taken up within the call; a part that an earlier process left, taken up with a range
pull 0 --json org/cut
cmp -s "$tmp/home/hub/models--org--cut/snapshots/$commit/model.safetensors" "$tmp/hub/org/cut/model.safetensors" ||
    fail "a transfer that was cut"
grep -q "GET 2 /store/org/cut/model.safetensors 'bytes=1500000-'" "$tmp/log" || fail "no range was asked for"
rm -rf "$repo/snapshots" "$repo/blobs/$sum"
head -c 1000000 "$tmp/hub/org/good/model.safetensors" >"$repo/blobs/$sum.incomplete"
pull 0 --json org/good
check resumed "$(echo "$out" | sed -n 's/.*"resumed": \([0-9]*\).*/\1/p')" 1000000
check bytes "$(echo "$out" | sed -n 's/.*"bytes": \([0-9]*\).*/\1/p')" 2000000
cmp -s "$snapshot/model.safetensors" "$tmp/hub/org/good/model.safetensors" || fail "a resumed transfer"
# a part that is none of it: the hash says so, and it begins anew
rm -rf "$repo/snapshots" "$repo/blobs/$sum"
head -c 1000000 /dev/zero >"$repo/blobs/$sum.incomplete"
pull 0 org/good
cmp -s "$snapshot/model.safetensors" "$tmp/hub/org/good/model.safetensors" || fail "a wrong part was kept"
# a server without ranges
pull 0 org/plain
cmp -s "$tmp/home/hub/models--org--plain/snapshots/$commit/model.safetensors" "$tmp/hub/org/plain/model.safetensors" ||
    fail "a server without ranges"
pull 0 org/busy
pull 0 org/sparse
[ -s "$tmp/home/hub/models--org--sparse/snapshots/$commit/config.json" ] || fail "a list without siblings"
# bytes that are not what the hub promised get no name
pull 1 org/wrong
case $errors in *"SHA-256"*) ;; *) fail "a wrong hash: $errors" ;; esac
pull 1 org/short
case $errors in *"of 3000000 bytes"*) ;; *) fail "a short file: $errors" ;; esac
for m in wrong short; do
    [ ! -e "$tmp/home/hub/models--org--$m/snapshots/$commit/model.safetensors" ] || fail "$m got its name"
    [ ! -e "$tmp/home/hub/models--org--$m/refs/main" ] || fail "$m got a ref"
done
pull 1 org/escape
case $errors in *"no path inside a model"*) ;; *) fail "a path outside: $errors" ;; esac

# the token: to the hub, never to where it redirects
pull 1 org/gated
case $errors in *"HF_TOKEN"*) ;; *) fail "no token: $errors" ;; esac
HF_TOKEN=secret pull 0 org/gated
grep -q "GET 1 .*gated.*'Bearer secret'" "$tmp/log" || fail "the token was not sent"
grep ' 2 ' "$tmp/log" | grep -q secret && fail "the token went to another host"

# offline: from the cache alone
: >"$tmp/log"
HF_HUB_OFFLINE=1 pull 0 org/good
check "the folder, offline" "$out" "$snapshot"
HF_HUB_OFFLINE=1 pull 1 org/none
case $errors in *"HF_HUB_OFFLINE"*) ;; *) fail "offline: $errors" ;; esac
check "asked offline" "$(wc -c <"$tmp/log")" 0
HF_HUB_CACHE=$tmp/home/hub HF_HOME=$tmp/x HF_HUB_OFFLINE=1 pull 0 org/good
HF_ENDPOINT=http://127.0.0.1:1 pull 1 org/good
case $errors in *"cannot read 'http://127.0.0.1:1/"*) ;; *) fail "no server: $errors" ;; esac

# two at a time fetch a blob once
rm -rf "$tmp/home"
: >"$tmp/log"
"$VICHA" model pull -q org/good >/dev/null 2>"$tmp/other" &
other=$!
pull 0 -q org/good
wait $other || fail "the other of two: $(cat "$tmp/other")"
check "GETs of two" "$(grep -c 'GET 2 /store/org/good/model.safetensors' "$tmp/log")" 1

# a name in the cache is a MODEL
models=${VICHA_SHARED:-}/golden/clip
if [ -d "$models" ]; then
    cp -r "$models/model-hf-tiny" "$tmp/hub/org/tiny"
    pull 0 org/tiny
    "$VICHA" model check org/tiny >"$tmp/out" 2>&1 || fail "model check org/tiny: $(cat "$tmp/out")"
    echo dog | "$VICHA" embed -q --clip org/tiny --text - --out "$tmp/a.npy" || fail "embed --clip org/tiny"
fi
[ $failures = 0 ] && echo "all as expected"
exit $((failures > 0))
