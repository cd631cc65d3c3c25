#!/bin/sh
# Real photographs with captions, fetched from a server a share of whose answers are faults. Skips without the photographs.
. "${0%/*}/lib.sh"
photos=${VICHA_SHARED:-}/data/photos
[ -r "$photos/captions.jsonl" ] || {
    echo "SKIP: no photographs in '$photos' (VICHA_SHARED names the folder of reference data)"
    exit 77
}
start_server "$photos"
# Of every 40 images: one answers 404, one never, one is cut short, one is a page, one redirects for ever, one fails once.
awk -v url="$url" '
    match($0, /"image": "[^"]*"/) {
        name = substr($0, RSTART + 10, RLENGTH - 11)
        if (!(name in number))
            number[name] = count++
        n = number[name] % 40
        kind = n == 3 ? "/404" : n == 9 ? "/timeout" : n == 15 ? "/truncated" : n == 21 ? "/html" : n == 27 ? "/loop" : n == 33 ? "/flaky" : ""
        sub(/"image": "[^"]*"/, "\"url\": \"" url kind "/" name "\"")
        print
    }' "$photos/captions.jsonl" >"$tmp/photos.jsonl"
images=$(sed 's/.*"url": "\([^"]*\)".*/\1/' "$tmp/photos.jsonl" | sort -u | wc -l)
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/ws" "$tmp/photos.jsonl" --timeout 3 --retries 1
echo "$out"
check images "$(field images_listed)" "$images"
check captions "$(field captions_listed)" "$(wc -l <"$tmp/photos.jsonl")"
sum=0
for pair in 404:not_found timeout:timeout truncated:broken_off html:not_image loop:redirect; do
    expected=$(sed 's/.*"url": "\([^"]*\)".*/\1/' "$tmp/photos.jsonl" | sort -u | grep -c "/${pair%%:*}/")
    check "${pair##*:}" "$(field "${pair##*:}")" "$expected"
    sum=$((sum + expected))
done
check stored "$(field stored)" $((images - sum))
# What is stored is what a run over the folder stores.
expect 0 "$VICHA" extract --json -w "$tmp/local" "$photos/captions.jsonl"
echo "$out"
dump "$tmp/ws" "$tmp/ws.txt"
dump "$tmp/local" "$tmp/local.txt"
hashes() { # of source and stored bytes, of what is stored
    cut -f6,8 "$1" | grep -E '^[0-9a-f]{64}	[0-9a-f]{64}$' | sort
}
hashes "$tmp/ws.txt" >"$tmp/ws.hashes"
hashes "$tmp/local.txt" >"$tmp/local.hashes"
check "stored bytes that the local run stored too" "$(comm -12 "$tmp/ws.hashes" "$tmp/local.hashes" | wc -l)" $((images - sum))
done_testing
