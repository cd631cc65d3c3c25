#!/bin/sh
# The stage dies by SIGKILL right before its Nth call that changes a file, for every STRIDEth N, and is run again: rows,
# captions and stored bytes must be those of an undisturbed run. crash.sh [STRIDE]
stride=${1:-9}
. "${0%/*}/lib.sh"
[ -z "${SANITIZED:-}" ] || {
    echo "SKIP: a preloaded library does not go with a sanitizer"
    exit 77
}
"$MAKE_IMAGES" "$tmp/photos" 150 40 || exit 1
echo 'not an image' >"$tmp/photos/00007.jpg"
rm "$tmp/photos/00011.jpg"
run() { # run WORKSPACE
    "$VICHA" extract -q -w "$1" "$tmp/photos/captions.jsonl" --shard-images 40 --jobs 2 --dedup exact 2>"$tmp/stderr"
}
CRASH_COUNT=$tmp/count LD_PRELOAD=$CRASH_SHIM run "$tmp/whole"
check "exit status of the undisturbed run" $? 3
dump "$tmp/whole" "$tmp/whole.txt"
calls=$(cat "$tmp/count")
[ "$calls" -gt 50 ] || fail "only $calls calls were counted"
check "images" "$(wc -l <"$tmp/whole.txt")" 150
check "duplicates" "$(grep -c 'the same bytes as image' "$tmp/whole.txt")" 13

tries=0
at=1
while [ $at -le "$calls" ]; do
    rm -rf "$tmp/ws"
    CRASH_AT=$at LD_PRELOAD=$CRASH_SHIM run "$tmp/ws"
    status=$?
    # Which thread is first may move a call or two, so the last ones may not come.
    if [ $status != 137 ] && [ $at -lt $((calls - 20)) ]; then
        fail "call $at of $calls: ended with $status instead of being killed"
    fi
    run "$tmp/ws"
    check "call $at: exit status of the second run" $? 3
    dump "$tmp/ws" "$tmp/ws.txt"
    cmp -s "$tmp/whole.txt" "$tmp/ws.txt" || fail "call $at: the result differs: $(diff "$tmp/whole.txt" "$tmp/ws.txt" | head -n 4)"
    left=$(find "$tmp/ws/images" -name '*.part' | wc -l)
    check "call $at: unfinished shards" "$left" 0
    for shard in "$tmp/ws"/images/*.tar; do
        tar tf "$shard" >/dev/null || fail "call $at: tar cannot read $shard"
    done
    check "call $at: members in the tars" "$(cat "$tmp/ws"/images/*.tar | tar tif - | wc -l)" "$((3 * $(grep -c '[0-9a-f]\{64\}	caption' "$tmp/ws.txt")))"
    tries=$((tries + 1))
    at=$((at + stride))
    [ $failures -lt 5 ] || break
done
echo "killed before $tries of $calls calls that change a file"
done_testing
