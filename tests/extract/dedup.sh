#!/bin/sh
# Deduplication by bytes, pixels and looks: within a run, and against what an earlier run stored.
. "$(dirname "$0")/lib.sh"
mkdir -p "$tmp/one" "$tmp/two"
"$MAKE_IMAGES" "$tmp/one" 12 200 >/dev/null
cp "$tmp/one/00001.jpg" "$tmp/two/bytes.jpg"
# A comment behind the start marker: other bytes, the same pixels.
{ printf '\377\330\377\376\000\007hello'; tail -c +3 "$tmp/one/00002.jpg"; } >"$tmp/two/pixels.jpg"
dups() { sqlite3 "$1/vicha.db" "SELECT key FROM image WHERE status = -30 ORDER BY key" | tr '\n' ' '; }
for how in exact pixel perceptual; do
    # the tables of a run without deduplication serve a later one with it
    "$VICHA" extract -q -w "$tmp/$how" "$tmp/one" 2>/dev/null
    "$VICHA" extract -q -w "$tmp/$how" "$tmp/two" --dedup $how 2>/dev/null
    want="bytes.jpg pixels.jpg "
    [ $how = exact ] && want="bytes.jpg "
    check "$how against an earlier run" "$(dups "$tmp/$how")" "$want"
    "$VICHA" extract -q -w "$tmp/$how-both" "$tmp/one" "$tmp/two" --dedup $how 2>/dev/null
    check "$how within a run" "$(dups "$tmp/$how-both" | tr ' ' '\n' | grep -c .)" \
        "$([ $how = exact ] && echo 2 || echo 3)"
done
check "measures of every stored image" "$(sqlite3 "$tmp/exact/vicha.db" \
    "SELECT count(*) - (SELECT count(*) FROM image_measure JOIN image USING(image_id) WHERE phash IS NOT NULL)
     FROM image_file")" 0
check "measures in range" "$(sqlite3 "$tmp/exact/vicha.db" "SELECT count(*) FROM image_measure WHERE NOT
    (blurriness BETWEEN 0 AND 1 AND darkness BETWEEN 0 AND 1 AND grey BETWEEN 0 AND 1 AND length(pixel_hash) = 16)")" 0
done_testing
