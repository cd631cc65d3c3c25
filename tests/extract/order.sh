#!/bin/sh
# The order of arrival does not show: the same list gives the same shards, byte for byte, however slow which server is.
# What is finished behind a slow one waits in the journal, and a killed run's successor does not ask for it again.
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 120 120 || exit 1
start_server "$tmp/photos"
awk -v url="$url" 'BEGIN { for (i = 0; i < 120; i++)
    printf "caption %d\t%s%s/%05d.jpg\n", i, url, i % 7 == 3 ? "/slow" : i % 17 == 5 ? "/404" : i % 40 == 11 ? "/timeout" : "", i }' \
    >"$tmp/list.tsv"
run() { # run WORKSPACE OPTIONS...
    ws=$1
    shift
    expect 3 "$VICHA" extract --json --allow-private --ignore-robots -w "$ws" "$tmp/list.tsv" --retries 0 --timeout 1.5 --shard-images 30 "$@"
}
run "$tmp/many" --connections 64 --jobs 4
check stored "$(field stored)" "$(awk 'BEGIN { for (i = 0; i < 120; i++) n += i % 7 == 3 || (i % 17 != 5 && i % 40 != 11); print n }')"
run "$tmp/few" --connections 3 --jobs 1
run "$tmp/some" --connections 24 --jobs 2 --dedup exact --limit 0
for shard in "$tmp/many"/images/*; do
    cmp -s "$shard" "$tmp/few/images/${shard##*/}" || fail "${shard##*/} depends on the number of connections"
done
check "names of the shards" "$(cd "$tmp/many/images" && echo *)" "$(cd "$tmp/few/images" && echo *)"
check "left of the journal" "$(find "$tmp/many/images" "$tmp/few/images" -name 'waiting-*' | wc -l)" 0

# A server that never answers is the first; the others are finished, then the process is killed.
{
    printf 'never\t%s/timeout/00000.jpg\n' "$url"
    i=1
    while [ $i -le 40 ]; do
        printf 'good\t%s/%05d.jpg\n' "$url" $i
        i=$((i + 1))
    done
    printf 'bad\t%s/404/00001.jpg\n' "$url"
} >"$tmp/late.tsv"
: >"$tmp/requests"
"$VICHA" extract -v --allow-private --ignore-robots -w "$tmp/late" "$tmp/late.tsv" --timeout 60 --header-timeout 60 --retries 0 2>"$tmp/talk" &
pid=$!
until grep -q 'in the journal: 41 images' "$tmp/talk"; do
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
done
kill -KILL $pid
wait $pid
check "committed before the kill" "$(dump "$tmp/late" /dev/stdout | awk -F'\t' '$4 != 0' | wc -l)" 0
expect 3 "$VICHA" extract --json --allow-private --ignore-robots -w "$tmp/late" "$tmp/late.tsv" --timeout 1.5 --retries 0
check "stored after the kill" "$(field stored)" 40
check "rejected after the kill" "$(field rejected)" 2
check "a cause from the journal" "$(field not_found)" 1
check "requests for what was finished" "$(grep -c '^GET /0' "$tmp/requests")" 40
check "requests for what was not found" "$(grep -c '^GET /404' "$tmp/requests")" 1
check "requests for what never answers" "$(grep -c '^GET /timeout' "$tmp/requests")" 2
check "left of the journal after the kill" "$(find "$tmp/late/images" -name 'waiting-*' | wc -l)" 0

# Ctrl-C instead: nothing finished is lost either. Other settings: it is not used.
for how in same other; do
    rm -rf "$tmp/stop"
    : >"$tmp/requests"
    rm -f "$tmp/talk" # what an earlier run has said must not be taken for this one's
    "$VICHA" extract -v --allow-private --ignore-robots -w "$tmp/stop" "$tmp/late.tsv" --timeout 60 --header-timeout 60 --retries 0 2>"$tmp/talk" &
    pid=$!
    until grep -qs 'in the journal: 41 images' "$tmp/talk"; do
        kill -0 $pid 2>/dev/null || break
    sleep 0.05
    done
    kill -TERM $pid
    wait $pid
    check "exit status after SIGTERM" $? 143
    [ $how = same ] && quality=90 || quality=80
    expect 3 "$VICHA" extract --json --allow-private --ignore-robots -w "$tmp/stop" "$tmp/late.tsv" --timeout 1.5 --retries 0 --quality $quality
    check "stored after SIGTERM" "$(field stored)" 40
    [ $how = same ] && want=40 || want=80
    check "requests, $how settings" "$(grep -c '^GET /0' "$tmp/requests")" $want
done

# A damaged journal is as if it were not there, wherever the damage is.
for at in 3 40 700 9000; do
    rm -rf "$tmp/stop"
    rm -f "$tmp/talk" # what an earlier run has said must not be taken for this one's
    "$VICHA" extract -v --allow-private --ignore-robots -w "$tmp/stop" "$tmp/late.tsv" --timeout 60 --header-timeout 60 --retries 0 2>"$tmp/talk" &
    pid=$!
    until grep -qs 'in the journal: 41 images' "$tmp/talk"; do
        kill -0 $pid 2>/dev/null || break
    sleep 0.05
    done
    kill -KILL $pid
    wait $pid
    journal=$(find "$tmp/stop/images" -name 'waiting-*')
    printf 'XXXX' | dd of="$journal" bs=1 seek=$at conv=notrunc 2>/dev/null
    [ $at != 9000 ] || truncate -s $at "$journal"
    expect 3 "$VICHA" extract --json --allow-private --ignore-robots -w "$tmp/stop" "$tmp/late.tsv" --timeout 1.5 --retries 0
    check "stored with a journal damaged at $at" "$(field stored)" 40
done
done_testing
