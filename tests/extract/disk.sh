#!/bin/sh
# No room left, at several sizes: one clear error, status 1, nothing finished is lost, and with room the run goes on to the
# same end. A limit on file sizes plays the full disk; a real one (a small tmpfs) where this user may mount it.
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 200 250 || exit 1
run() { # run WORKSPACE
    "$VICHA" extract -q -w "$1" "$tmp/photos/captions.jsonl" --jobs 2 2>"$tmp/stderr"
}
run "$tmp/whole"
check "exit status with room" $? 0
dump "$tmp/whole" "$tmp/whole.txt"

one_error() { # one_error WHERE STATUS
    check "$1: exit status" "$2" 1
    check "$1: error lines in $(cat "$tmp/stderr")" "$(grep -c 'vicha: error: ' "$tmp/stderr")" 1
    [ ! -e "$tmp/ws/images/00000.tar" ] || fail "$1: a half-written shard has its final name"
}
failed=0
for kilobytes in 40 100 300 800 1600; do
    rm -rf "$tmp/ws"
    # Ignored, the signal becomes the error EFBIG of write().
    (
        trap '' XFSZ
        ulimit -f $((kilobytes * 2)) 2>/dev/null # dash counts 512 bytes, bash 1024: both are sizes to fail at
        run "$tmp/ws"
    )
    status=$?
    if [ $status != 0 ]; then
        failed=$((failed + 1))
        one_error "files of at most $kilobytes KiB" $status
    fi
    run "$tmp/ws"
    check "$kilobytes KiB: exit status with room" $? 0
    dump "$tmp/ws" "$tmp/ws.txt"
    cmp -s "$tmp/whole.txt" "$tmp/ws.txt" || fail "$kilobytes KiB: the result differs"
done
[ $failed -ge 3 ] || fail "only $failed of the limits stopped the run"

mkdir "$tmp/small"
if mount -t tmpfs -o size=1500k none "$tmp/small" 2>/dev/null; then
    trap 'umount "$tmp/small"; cleanup' EXIT
    run "$tmp/small/ws"
    status=$?
    check "full tmpfs: exit status" $status 1
    check "full tmpfs: error lines in $(cat "$tmp/stderr")" "$(grep -c 'vicha: error: .*No space left' "$tmp/stderr")" 1
    kept=$(dump "$tmp/small/ws" /dev/stdout | grep -c '[0-9a-f]\{64\}	caption')
    [ "$kept" -gt 0 ] || fail "full tmpfs: nothing was kept"
    mount -o remount,size=100m "$tmp/small"
    run "$tmp/small/ws"
    check "tmpfs with room: exit status" $? 0
    dump "$tmp/small/ws" "$tmp/ws.txt"
    cmp -s "$tmp/whole.txt" "$tmp/ws.txt" || fail "tmpfs: the result differs"
else
    echo "# no tmpfs for this user: the limit on file sizes was the only full disk"
fi
done_testing
