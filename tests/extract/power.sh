#!/bin/sh
# Loss of power right before the Nth call that changes a file, for every STRIDEth N: the disk then holds what was synced,
# and of the rest nothing, or any blocks and names by chance. What had been reported as done is still there, and a second
# run ends with the rows and bytes of an undisturbed one. power.sh [STRIDE] [SEED]
stride=${1:-13}
first_seed=${2:-1}
. "${0%/*}/lib.sh"
[ -z "${SANITIZED:-}" ] || {
    echo "SKIP: a preloaded library does not go with a sanitizer"
    exit 77
}
"$MAKE_IMAGES" "$tmp/photos" 90 40 || exit 1
echo 'not an image' >"$tmp/photos/00007.jpg"
rm "$tmp/photos/00011.jpg"
run() { # run WORKSPACE
    "$VICHA" extract -v -w "$1" "$tmp/photos/captions.jsonl" --shard-images 25 --jobs 2 >/dev/null 2>"$tmp/talk"
}
CRASH_COUNT=$tmp/count LD_PRELOAD=$CRASH_SHIM run "$tmp/whole"
check "exit status of the undisturbed run" $? 3
dump "$tmp/whole" "$tmp/whole.txt"
calls=$(cat "$tmp/count")
[ "$calls" -gt 50 ] || fail "only $calls calls were counted"

tries=0
most=0
at=3
while [ $at -le "$calls" ]; do
    rm -rf "$tmp/ws" "$tmp/shadow"
    mkdir "$tmp/shadow"
    CRASH_SHADOW=$tmp/shadow CRASH_AT=$at LD_PRELOAD=$CRASH_SHIM run "$tmp/ws"
    told=$(sed -n 's/^vicha: committed: \([0-9]*\) images of this run$/\1/p' "$tmp/talk" | tail -n 1)
    [ -d "$tmp/ws" ] || {
        at=$((at + stride))
        continue
    }
    for seed in 0 $((first_seed + at)) $((first_seed + 1000 + at)); do
        rm -rf "$tmp/cut"
        "$POWER_CUT" "$tmp/shadow" "$tmp/ws" "$tmp/cut" $seed || fail "call $at: power_cut"
        kept=0
        [ ! -s "$tmp/cut/vicha.db" ] ||
            kept=$("$DUMP_STORE" "$tmp/cut" 2>/dev/null | awk -F'\t' '$4 != 0 || length($8) == 64' | wc -l)
        if [ -n "$told" ]; then
            [ "$kept" -ge "$told" ] || fail "call $at, seed $seed: $told images were reported, $kept are there"
            [ "$told" -le $most ] || most=$told
        fi
        run "$tmp/cut"
        check "call $at, seed $seed: exit status of the second run ($(grep error: "$tmp/talk"))" $? 3
        dump "$tmp/cut" "$tmp/cut.txt"
        cmp -s "$tmp/whole.txt" "$tmp/cut.txt" ||
            fail "call $at, seed $seed: the result differs: $(diff "$tmp/whole.txt" "$tmp/cut.txt" | head -n 4)"
        for shard in "$tmp/cut"/images/*; do
            cmp -s "$shard" "$tmp/whole/images/${shard##*/}" || fail "call $at, seed $seed: ${shard##*/} differs"
        done
        tries=$((tries + 1))
    done
    at=$((at + stride))
    [ $failures -lt 5 ] || break
done
[ "$most" -gt 0 ] || fail "no run had reported anything before its end"
echo "cut $tries times before $calls calls that change a file; at most $most images had been reported"
done_testing
