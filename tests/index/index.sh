#!/bin/sh
# The commands over records and tokens: output, exit statuses, words of errors. $1 is index_set_tool.
set -eu
tool=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
# status words... -- command: the command must end so and say so (on either output)
expect() {
    status=$1 words=$2
    shift 2
    got=0
    text=$("$@" 2>&1 </dev/null) || got=$?
    if [ "$got" != "$status" ]; then
        echo "status $got, expected $status: $*"
        echo "$text"
        failed=1
    fi
    case $text in
    *"$words"*) ;;
    *)
        echo "no '$words' from: $*"
        echo "$text"
        failed=1
        ;;
    esac
}
equal() {
    [ "$1" = "$2" ] || {
        echo "got      $1"
        echo "expected $2"
        failed=1
    }
}

printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n##s\nrun\n##ning\n' >"$dir/vocab.txt"
tokens() {
    printf 'a DOG, running\n\nDogs -- (dogs)' | "$VICHA" tokenize --wordpiece "$dir/vocab.txt" "$@"
}
equal "$(tokens)" "[2, 5, 6, 1, 8, 9]
[2]
[2, 6, 7, 1, 1, 1, 6, 7, 1]"
equal "$(tokens --sep --clean caption)" "[2, 5, 6, 8, 9, 3]
[2, 3]
[2, 6, 7, 6, 7, 3]"
equal "$(tokens --no-cls --max-length 2)" "[5, 6]
[]
[6, 7]"
expect 2 "--wordpiece" "$VICHA" tokenize
expect 1 "$dir/none.txt" "$VICHA" tokenize --wordpiece "$dir/none.txt"

"$tool" write "$dir/set" 1 50 10000
expect 0 "50 records" "$VICHA" index --verify "$dir/set"
expect 0 '"records": 50' "$VICHA" index --verify "$dir/set" --json
expect 2 "choose one" "$VICHA" index --verify --pack "$dir/set"
expect 2 "--on-bad" "$VICHA" index --verify "$dir/set" --on-bad maybe
expect 0 "packed" "$VICHA" index --pack "$dir/set"
expect 0 "(packed)" "$VICHA" index --verify "$dir/set"
expect 0 "unpacked" "$VICHA" index --unpack "$dir/set"
expect 0 "all good" "$VICHA" index --verify "$dir/set"
mkdir "$dir/splits"
cp -r "$dir/set" "$dir/splits/train"
cp -r "$dir/set" "$dir/splits/val"
equal "$("$VICHA" index --verify "$dir/splits" | wc -l)" 2
printf 'X' | dd of="$dir/set/shard.00001.mds" bs=1 seek=4000 conv=notrunc 2>/dev/null
expect 1 "shard.00001.mds" "$VICHA" index --verify "$dir/set"
expect 3 " bad" "$VICHA" index --verify "$dir/set" --on-bad skip
expect 3 "bad: " "$VICHA" index --verify "$dir/set" --on-bad list
mkdir "$dir/empty"
expect 1 "no index.json" "$VICHA" index --verify "$dir/empty"
expect 1 "not a folder" "$VICHA" index --verify "$dir/nothing"

expect 2 "--vocab FILE" "$VICHA" index -w "$dir/ws"
expect 1 "$dir/ws" "$VICHA" index -w "$dir/ws" --vocab "$dir/vocab.txt"
expect 2 "expected none or zlib" "$VICHA" index --vocab "$dir/vocab.txt" --compression zstd
expect 2 "unexpected argument" "$VICHA" index --vocab "$dir/vocab.txt" something
[ $failed = 0 ] && echo "index: outputs and statuses are right"
exit $failed
