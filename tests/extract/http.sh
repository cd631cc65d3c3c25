#!/bin/sh
# Downloads from a server of our own that misbehaves: every URL ends with the right cause, what can heal is tried again,
# nothing is asked that need not be.
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 40 120 || exit 1
start_server "$tmp/photos"
{
    printf 'caption\turl\n'
    i=0
    while [ $i -lt 20 ]; do
        printf 'good %d\t%s/%05d.jpg\n' $i "$url" $i
        i=$((i + 1))
    done
    for kind in flaky busy cut-once redirect slow; do
        printf 'heals\t%s/%s/00020.jpg\n' "$url" $kind
    done
    printf 'spaces\t%s/slow/00 021.jpg\n' "$url"
    for kind in 404 410 403 503 429 truncated html empty timeout trickle headers endless garbage reset loop ftp; do
        printf 'bad\t%s/%s/00022.jpg\n' "$url" $kind
    done
    printf 'no\tftp://127.0.0.1/x.jpg\nno\thttp://127.0.0.1:99999/x.jpg\nno\thttp://user:secret@127.0.0.1:%s/00001.jpg\n' "$port"
    printf 'nobody\thttp://127.0.0.1:1/x.jpg\n'
} >"$tmp/list.tsv"
cp "$tmp/photos/00021.jpg" "$tmp/photos/00 021.jpg"
# 7 MB of an endless body would do; the limit is 32 MiB.
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/ws" "$tmp/list.tsv" --timeout 1.5 --retries 1 --user-agent 'tester/1 (+mailto:a@b)'
check stored "$(field stored)" 26
check rejected "$(field rejected)" 20
dump "$tmp/ws" "$tmp/dump"
cause() { # cause PATTERN STATUS
    check "status of $1" "$(grep -F "$1" "$tmp/dump" | cut -f4 | head -n 1)" "$2"
}
cause /404/ -13
cause /410/ -13
cause /403/ -14
cause /503/ -15
cause /429/ -15
cause /truncated/ -18
cause /html/ -21
cause /empty/ -20
cause /timeout/ -12
cause /trickle/ -12
cause /endless/ -25
cause /garbage/ -19
cause /reset/ -18
cause /loop/ -16
cause /ftp/ -16
cause ftp://127 -2
cause :99999/ -2
cause :secret@ -2
cause 127.0.0.1:1/ -11
grep -F /headers/ "$tmp/dump" | cut -f4 | grep -Eq '^-(12|18|19|25)$' || fail "endless headers: $(grep -F /headers/ "$tmp/dump")"

asked() {
    grep -c "^GET $1" "$tmp/requests"
}
check "requests for /404/" "$(asked /404/)" 1
check "requests for /flaky/" "$(asked /flaky/)" 2
check "requests for /503/" "$(asked /503/)" 2
check "requests for /loop/" "$(asked /loop/)" 6
check "user agent" "$(grep -c 'tester/1 (+mailto:a@b)$' "$tmp/requests")" "$(wc -l <"$tmp/requests")"

# Again: nothing is asked, nothing changes.
before=$(wc -l <"$tmp/requests")
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/ws" "$tmp/list.tsv"
check "stored by the second run" "$(field stored_now)" 0
check "requests of the second run" "$(wc -l <"$tmp/requests")" "$before"

# The source grew: only the new one is fetched.
printf 'new\t%s/00030.jpg\n' "$url" >>"$tmp/list.tsv"
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/ws" "$tmp/list.tsv"
check "stored of the grown source" "$(field stored_now)" 1
check "requests for the grown source" "$(wc -l <"$tmp/requests")" $((before + 2)) # with robots.txt

# --retry-failed: only what may heal is asked for again, or only what the causes name.
cp "$tmp/photos/00023.jpg" "$tmp/photos/late.jpg.new"
printf 'x\t%s/late.jpg\nx\t%s/00024.jpg\nx\t%s/410/1.jpg\n' "$url" "$url" "$url" >"$tmp/again.tsv"
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/again" "$tmp/again.tsv" --retries 0
check "stored before the retry" "$(field stored)" 1
check "rejected before the retry" "$(field rejected)" 2
mv "$tmp/photos/late.jpg.new" "$tmp/photos/late.jpg"
gone=$(asked /410/1)
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/again" "$tmp/again.tsv" --retry-failed
check "what may heal among 404 and 410" "$(field rejected_now)" 0
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/again" "$tmp/again.tsv" --retry-failed=not_found,timeout
check "stored by a retry of not_found" "$(field stored_now)" 1
check "requests for /410/ then" "$(asked /410/1)" $((gone + 1))
expect 2 "$VICHA" extract --allow-private -w "$tmp/again" "$tmp/again.tsv" --retry-failed=no_such_cause
case $errors in *"no_such_cause"*) ;; *) fail "an unknown cause: $errors" ;; esac
printf 'x\t%s/flaky/00025.jpg\n' "$url" >"$tmp/heal.tsv"
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/heal" "$tmp/heal.tsv" --retries 0
check "a server error" "$(printf '%s' "$out" | grep -c '"server_error": 1')" 1
expect 0 "$VICHA" extract --json --allow-private -w "$tmp/heal" "$tmp/heal.tsv" --retries 0 --retry-failed
check "stored by a retry of what may heal" "$(field stored_now)" 1

# Private addresses are refused, and nobody is asked.
before=$(wc -l <"$tmp/requests")
expect 3 "$VICHA" extract --json -w "$tmp/private" "$tmp/heal.tsv"
check "private addresses" "$(printf '%s' "$out" | grep -c '"private_address": 1')" 1
check "requests to private addresses" "$(wc -l <"$tmp/requests")" "$before"

# Ctrl-C and SIGTERM while a server does not answer: at once, with what is finished kept.
{
    i=0
    while [ $i -lt 30 ]; do
        printf 'good\t%s/%05d.jpg\n' "$url" $i
        i=$((i + 1))
    done
    printf 'never\t%s/timeout/1.jpg\n' "$url"
} >"$tmp/stall.tsv"
kept_in() {
    "$DUMP_STORE" "$1" 2>/dev/null | grep -c '[0-9a-f]\{64\}	good'
}
for signal in INT TERM; do
    rm -rf "$tmp/stall"
    "$VICHA" extract -q --allow-private -w "$tmp/stall" "$tmp/stall.tsv" --timeout 60 2>"$tmp/stderr" &
    pid=$!
    # until what can be finished is; the last one never is
    while [ "$(kept_in "$tmp/stall")" -lt 30 ]; do
        kill -0 $pid 2>/dev/null || break
    done
    kill -$signal $pid
    wait $pid
    status=$?
    [ $signal = INT ] && check "status after SIGINT" $status 130
    [ $signal = TERM ] && check "status after SIGTERM" $status 143
    check "kept after SIG$signal" "$(kept_in "$tmp/stall")" 30
done
done_testing
