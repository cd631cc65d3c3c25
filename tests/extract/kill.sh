#!/bin/sh
# The stage is killed by SIGKILL at random moments while it downloads from a server with faults, and run again until it is
# through: rows, captions and stored bytes must be those of an undisturbed run. kill.sh [TRIES] [SEED]
tries=${1:-10}
seed=${2:-1}
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 800 64 || exit 1
start_server "$tmp/photos"
awk -v url="$url" 'BEGIN {
    for (i = 0; i < 800; i++) {
        kind = i % 29 == 7 ? "/404" : i % 31 == 5 ? "/html" : i % 37 == 3 ? "/truncated" : i % 41 == 2 ? "/loop" : i % 43 == 1 ? "/redirect" : ""
        for (k = 0; k < 3; k++)
            printf "{\"url\": \"%s%s/%05d.jpg\", \"caption\": \"caption %d of %d\"}\n", url, kind, i, k, i
    }
}' >"$tmp/list.jsonl"
start() { # start WORKSPACE: sets $pid
    "$VICHA" extract -q --allow-private -w "$1" "$tmp/list.jsonl" --shard-images 300 --retries 0 --timeout 5 --connections 16 2>"$tmp/stderr" &
    pid=$!
}
run() { # run WORKSPACE
    start "$1"
    wait $pid
}
run "$tmp/whole"
check "exit status of the undisturbed run" $? 3
dump "$tmp/whole" "$tmp/whole.txt"
check "images" "$(wc -l <"$tmp/whole.txt")" 800
check "captions" "$(tr '\t' '\n' <"$tmp/whole.txt" | grep -c '^caption ')" 2400
compare() {
    dump "$tmp/ws" "$tmp/ws.txt"
    cmp -s "$tmp/whole.txt" "$tmp/ws.txt" || fail "the result differs after $kills kills (seed $seed): $(diff "$tmp/whole.txt" "$tmp/ws.txt" | head -n 4)"
    for shard in "$tmp/ws"/images/*; do
        tar tf "$shard" >/dev/null || fail "tar cannot read $shard"
    done
    check "members in the tars" "$(cat "$tmp/ws"/images/*.tar | tar tif - | wc -l)" \
        "$((3 * $(grep -c '[0-9a-f]\{64\}	caption' "$tmp/ws.txt")))"
}
kills=0
rounds=0
mkdir "$tmp/ws"
# Pauses of 20 to 520 ms, the same for the same seed.
for pause in $(awk -v n="$tries" -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%.3f\n", 0.02 + rand() * 0.5 }'); do
    start "$tmp/ws"
    sleep "$pause" # the random moment itself
    kill -KILL $pid 2>/dev/null
    wait $pid
    status=$?
    if [ $status = 137 ]; then
        kills=$((kills + 1))
        continue
    fi
    check "exit status of a run that got through" $status 3
    compare
    rounds=$((rounds + 1))
    rm -rf "$tmp/ws"
    [ $failures -lt 5 ] || break
done
run "$tmp/ws"
check "exit status of the last run" $? 3
compare
rounds=$((rounds + 1))
[ "$kills" -gt 0 ] || fail "nothing was killed in $tries tries"
echo "$kills kills in $tries tries, $rounds workspaces compared"
done_testing
