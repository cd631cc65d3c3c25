#!/bin/sh
# What becomes of sources: repeated entries, broken lines, growth, changes in the middle, limits, parts, duplicates, and the
# errors a user meets. The shards are read by tar.
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 30 60 || exit 1
extract() {
    "$VICHA" extract --json "$@"
}

# A list with five captions an image, then the same folder with captions beside.
expect 0 extract -w "$tmp/list" "$tmp/photos/captions.jsonl"
check "images of the list" "$(field images_listed)" 30
check "captions of the list" "$(field captions_listed)" 150
check "stored of the list" "$(field stored)" 30
tar xf "$tmp/list/images/00000.tar" -C "$tmp" || fail "tar cannot read the shard"
check "lines of KEY.txt" "$(wc -l <"$tmp/000000003.txt")" 5
check "KEY.txt" "$(head -n 1 "$tmp/000000003.txt")" "caption 0 of picture 2"
grep -q "\"path\": \"00002.jpg\", \"sha256\": \"$(sha256sum "$tmp/photos/00002.jpg" | cut -d' ' -f1)\"" "$tmp/000000003.json" ||
    fail "KEY.json: $(cat "$tmp/000000003.json")"
check "order and names in the tar" "$(tar tf "$tmp/list/images/00000.tar" | head -n 4 | tr '\n' ' ')" \
    "000000001.jpg 000000001.txt 000000001.json 000000002.jpg "
printf 'from the side\n\nand another\n' >"$tmp/photos/00003.txt"
expect 0 extract -w "$tmp/folder" "$tmp/photos"
check "images of the folder" "$(field images_listed)" 30
check "captions of the folder" "$(field captions_listed)" 2
expect 0 extract -w "$tmp/folder" "$tmp/photos"
check "second run: listed" "$(field images_listed)" 0
check "second run: stored" "$(field stored_now)" 0

# The shards themselves as a source: the same images and captions come out.
expect 0 extract -w "$tmp/again" "$tmp/list/images/00000.tar" --fit keep
check "images of the tar" "$(field stored)" 30
check "captions of the tar" "$(field captions_listed)" 150

# The same input gives the same shard, byte for byte, also with other numbers of decoders.
expect 0 extract -w "$tmp/list2" "$tmp/photos/captions.jsonl" --jobs 5
cmp -s "$tmp/list/images/00000.tar" "$tmp/list2/images/00000.tar" || fail "two runs give different shards"

# Broken lines are rows; what is missing has a cause; nothing stops.
printf 'caption,image\nfine,00001.jpg\nalone\nmore,00001.jpg\ngone,nowhere.jpg\nlinked,http://\n' >"$tmp/photos/bad.csv"
expect 3 extract -w "$tmp/bad" "$tmp/photos/bad.csv"
check "stored of the bad list" "$(field stored)" 1
check "rejected of the bad list" "$(field rejected)" 3
check "bad entries" "$(field bad_entry)" 1
check "missing" "$(field missing)" 1
dump "$tmp/bad" "$tmp/bad.txt"
check "captions of the repeated image" "$(sed -n 1p "$tmp/bad.txt" | cut -f9,10)" "fine	more"
check "row of the broken line" "$(sed -n 2p "$tmp/bad.txt" | cut -f3-5)" "#line 3	-1	line 3 names no image: it has 1 columns"
expect 3 extract -w "$tmp/bad" "$tmp/photos/bad.csv"
check "a second run of the bad list" "$(field rejected_now)" 0
printf 'caption\timage\ncaf\351\t00001.jpg\n' >"$tmp/photos/latin.tsv"
expect 0 extract -w "$tmp/latin" "$tmp/photos/latin.tsv"
check "repaired captions" "$(field captions_repaired)" 1
dump "$tmp/latin" "$tmp/latin.txt"
grep -q '	note: a caption had bytes' "$tmp/latin.txt" || fail "no note of the repaired caption"

# A source grows at its end, then changes in its middle: nothing twice, nothing lost.
head -n 40 "$tmp/photos/captions.jsonl" >"$tmp/photos/grow.jsonl"
expect 0 extract -w "$tmp/grow" "$tmp/photos/grow.jsonl"
check "before it grew" "$(field stored)" 8
cp "$tmp/photos/captions.jsonl" "$tmp/photos/grow.jsonl"
expect 0 extract -w "$tmp/grow" "$tmp/photos/grow.jsonl"
check "after it grew: stored" "$(field stored_now)" 22
check "after it grew: captions" "$(field captions_listed)" 110
{
    echo '{"image": "00029.jpg", "caption": "a new first line"}'
    cat "$tmp/photos/captions.jsonl"
    echo '{"image": "00030.jpg", "caption": "and a new image"}'
} >"$tmp/photos/grow.jsonl"
cp "$tmp/photos/00001.jpg" "$tmp/photos/00030.jpg"
expect 0 extract -w "$tmp/grow" "$tmp/photos/grow.jsonl"
check "after the change: stored" "$(field stored_now)" 1
check "after the change: captions" "$(field captions_listed)" 2
dump "$tmp/grow" "$tmp/grow.txt"
check "after the change: captions in all" "$(tr '\t' '\n' <"$tmp/grow.txt" | grep -c '^caption \|^a new\|^and a new')" 152

# A limit, then more of it.
expect 0 extract -w "$tmp/limit" "$tmp/photos/captions.jsonl" --limit 5
check "limit 5" "$(field stored)" 5
check "captions with limit 5" "$(field captions_listed)" 25
expect 0 extract -w "$tmp/limit" "$tmp/photos/captions.jsonl" --limit 7
check "limit 7: now" "$(field stored_now)" 2
expect 0 extract -w "$tmp/limit" "$tmp/photos/captions.jsonl"
check "no limit" "$(field stored)" 30
check "captions without a limit" "$(field captions_listed)" 115

# Three parts in three workspaces fit together: every image once, every shard name once.
for part in 0 1 2; do
    expect 0 extract -w "$tmp/part$part" "$tmp/photos/captions.jsonl" --shard $part/3 --shard-images 4
    check "part $part" "$(field stored)" 10
    check "part $part: others' images" "$(field waiting)" 0
done
check "names of the shards" "$(ls "$tmp"/part?/images | grep tar | sort | tr '\n' ' ')" \
    "00000.tar 00001.tar 00002.tar 00003.tar 00004.tar 00005.tar 00006.tar 00007.tar 00008.tar "
check "images in all parts" "$(cat "$tmp"/part?/images/*.tar | tar tif - | grep -c jpg)" 30
check "different images" "$(cat "$tmp"/part?/images/*.tar | tar tif - | sort -u | grep -c jpg)" 30

# Duplicates: the first one stays, whoever is faster.
expect 3 extract -w "$tmp/dedup" "$tmp/photos/captions.jsonl" --dedup exact --jobs 4
check duplicates "$(field duplicate)" 2
dump "$tmp/dedup" "$tmp/dedup.txt"
check "row of a duplicate" "$(sed -n 11p "$tmp/dedup.txt" | cut -f3-5)" "00010.jpg	-30	the same bytes as image 4 ('00003.jpg')"

# Errors that a user meets: one line, with the name, and what to do.
error() { # error STATUS WORDS ARGUMENTS...
    status=$1
    words=$2
    shift 2
    expect "$status" "$VICHA" extract -w "$tmp/error" "$@"
    case $errors in
    *"$words"*) ;;
    *) fail "'$*' says: $errors" ;;
    esac
    check "error lines of '$*'" "$(printf '%s\n' "$errors" | grep -c 'error: ')" 1
}
: >"$tmp/empty.tsv"
echo '[]' >"$tmp/empty.json"
mkdir "$tmp/bare"
error 1 "'$tmp/empty.tsv' is empty" "$tmp/empty.tsv"
error 1 "'$tmp/empty.json' is empty" "$tmp/empty.json"
error 1 "'$tmp/bare' is empty" "$tmp/bare"
error 1 "nowhere.csv': No such file" "$tmp/nowhere.csv"
error 2 "unknown kind of source" "$MAKE_IMAGES"
error 2 "no SOURCE" --json
error 2 "expected one of off, exact, pixel, perceptual" "$tmp/photos" --dedup fuzzy
error 2 "expected one of shortest, crop, pad, keep" "$tmp/photos" --fit round
error 2 "expected I/N" "$tmp/photos" --shard 3/3
error 2 "no column 'title'" "$tmp/photos/bad.csv" --caption-col title
error 1 "given with --root" "$tmp/photos/bad.csv" --root "$tmp/nowhere"
if [ "$(id -u)" != 0 ]; then
    mkdir "$tmp/locked"
    chmod 0 "$tmp/locked"
    error 1 "cannot read the folder" "$tmp/locked"
    chmod 755 "$tmp/locked"
fi

# Two writers in one workspace: the second is told so. The first waits for a server that never answers.
start_server "$tmp/photos"
echo "$url/timeout/1.jpg" | sed 's/^/x	/' >"$tmp/wait.tsv"
"$VICHA" extract -q --allow-private -w "$tmp/busy" "$tmp/wait.tsv" --timeout 60 2>/dev/null &
pid=$!
until grep -q timeout "$tmp/requests" 2>/dev/null; do
    kill -0 $pid || break
done
expect 2 "$VICHA" extract -w "$tmp/busy" "$tmp/photos"
case $errors in
*"another vicha command is writing"*) ;;
*) fail "a second writer is told: $errors" ;;
esac
kill $pid
wait $pid
done_testing
