#!/bin/sh
# What a source may be wrapped in: gzip, standard input, lists of sources, folders of shards as img2dataset leaves them,
# compressed tars; and the other columns that go into the database with it.
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 20 60 || exit 1
extract() {
    "$VICHA" extract --json "$@"
}
same() { # same WHAT WORKSPACE WANTED: all but the names of the sources
    dump "$tmp/$2" "$tmp/a.txt"
    dump "$tmp/$3" "$tmp/b.txt"
    cut -f1,3- "$tmp/a.txt" >"$tmp/a.cut"
    cut -f1,3- "$tmp/b.txt" >"$tmp/b.cut"
    cmp -s "$tmp/a.cut" "$tmp/b.cut" || fail "$1: $(diff "$tmp/a.cut" "$tmp/b.cut" | head -n 3)"
}
columns() { # columns WORKSPACE IMAGE
    "$DUMP_STORE" --columns "$1" | sed -n "s/^$2	//p"
}
cd "$tmp/photos" || exit 1
awk 'BEGIN { print "caption\timage\tsimilarity\tLICENSE\tcode"
    for (i = 0; i < 20; i++) printf "number %d, \"quoted\"\t%05d.jpg\t0.%d\tby-nc\t00%d\n", i, i, i + 1, i }' >list.tsv
gzip -kn list.tsv

# The same list plain, packed, in two gzip members, through standard input in three forms.
expect 0 extract -w "$tmp/plain" list.tsv
expect 0 extract -w "$tmp/gz" list.tsv.gz
same "a .tsv.gz" gz plain
{
    head -n 7 list.tsv | gzip
    tail -n +8 list.tsv | gzip
} >two.tsv.gz
expect 0 extract -w "$tmp/two" two.tsv.gz
same "two gzip members" two plain
out=$("$VICHA" extract --json -w "$tmp/stdin" - <list.tsv) || fail "standard input: $?"
same "standard input" stdin plain
out=$("$VICHA" extract --json -w "$tmp/stdin" - <list.tsv) || fail "standard input again: $?"
check "standard input again: stored" "$(field stored_now)" 0
out=$("$VICHA" extract --json -w "$tmp/stdingz" - <list.tsv.gz) || fail "packed standard input: $?"
same "packed standard input" stdingz plain
awk -F'\t' 'NR > 1 { gsub(/"/, "\\\"", $1)
    printf "{\"caption\": \"%s\", \"image\": \"%s\", \"similarity\": %s, \"LICENSE\": \"%s\", \"code\": \"%s\"}\n", $1, $2, $3, $4, $5 }' \
    list.tsv >list.jsonl
out=$("$VICHA" extract --json -w "$tmp/lines" - <list.jsonl) || fail "JSON lines on standard input: $?"
same "JSON lines on standard input" lines plain
{
    printf '['
    sed '$!s/$/,/' list.jsonl
    printf ']'
} | gzip >list.json.gz
expect 0 extract -w "$tmp/json" list.json.gz
same "a .json.gz" json plain
sed 's/,/;/g; s/\t/,/g' list.tsv | sed 's/"//g' >odd.name
expect 0 extract -w "$tmp/format" odd.name --input-format csv
check "--input-format: images" "$(field stored)" 20

# A list that grew on standard input: only what is new.
head -n 11 list.tsv | "$VICHA" extract -q -w "$tmp/grow" -
out=$("$VICHA" extract --json -w "$tmp/grow" - <list.tsv) || fail "grown standard input: $?"
check "grown standard input: stored" "$(field stored_now)" 10
same "grown standard input" grow plain

# Columns: numbers are numbers, "007" is a word, the ones that were asked for.
check "columns of a table" "$(columns "$tmp/plain" 8)" '{"similarity": 0.8, "LICENSE": "by-nc", "code": "007"}'
check "columns of lines" "$(columns "$tmp/lines" 8 | tr -d ' ')" '{"similarity":0.8,"LICENSE":"by-nc","code":"007"}'
expect 0 extract -w "$tmp/some" list.tsv --columns LICENSE,nothing
check "--columns" "$(columns "$tmp/some" 8)" '{"LICENSE": "by-nc"}'
expect 0 extract -w "$tmp/none" list.tsv --columns none
check "--columns none" "$(columns "$tmp/none" 8)" ""
expect 0 extract -w "$tmp/none" list.tsv --columns code
check "columns asked for later" "$(columns "$tmp/none" 8)" '{"code": "007"}'
tar xOf "$tmp/plain/images/00000.tar" 000000008.json | grep -q '"columns": {"similarity": 0.8, "LICENSE": "by-nc", "code": "007"}}' ||
    fail "KEY.json has no columns"

# Damage: what came before it is kept, the end has a row.
head -c "$(($(wc -c <list.tsv.gz) - 30))" list.tsv.gz >cut.tsv.gz
expect 3 extract -w "$tmp/cut" cut.tsv.gz
[ "$(field stored)" -gt 0 ] || fail "nothing of a list that was cut off is stored: $out"
check "a list that was cut off: rejected" "$(field rejected)" 1
dump "$tmp/cut" "$tmp/cut.txt"
grep -q 'the gzip data of .* are damaged or end too early' "$tmp/cut.txt" || fail "no row for the end of a cut list"
gzip -n <list.jsonl | head -c 150 >cut.jsonl.gz
expect 3 extract -w "$tmp/cutlines" cut.jsonl.gz
check "lines that were cut off: rejected" "$(field rejected)" 1

# Shards as img2dataset leaves them: 00000.tar beside its statistics and tables; its JSON becomes columns.
mkdir "$tmp/dataset" "$tmp/member"
for shard in 0 1; do
    rm -f "$tmp/member"/*
    for i in 1 2 3 4 5; do
        key=$(printf '%05d%04d' $shard $i)
        cp "$(printf '%05d.jpg' $((shard * 5 + i)))" "$tmp/member/$key.jpg"
        printf 'from shard %d' $shard >"$tmp/member/$key.txt"
        printf '{"caption": "from shard %d", "url": "http://example.org/%d.jpg", "key": "%s", "status": "success", "error_message": null, "width": 60, "similarity": 0.5, "exif": "{}"}' \
            $shard $i "$key" >"$tmp/member/$key.json"
    done
    (cd "$tmp/member" && tar cf "$tmp/dataset/0000$shard.tar" --format=gnu ./*)
    echo '{"count": 5}' >"$tmp/dataset/0000${shard}_stats.json"
    echo PAR1 >"$tmp/dataset/0000$shard.parquet"
done
expect 0 extract -w "$tmp/shards" "$tmp/dataset" --fit keep
check "shards: stored" "$(field stored)" 10
dump "$tmp/shards" "$tmp/shards.txt"
check "shards: sources" "$(cut -f2 "$tmp/shards.txt" | sort -u | tr '\n' ' ')" "00000.tar 00001.tar "
check "shards: a caption" "$(sed -n 7p "$tmp/shards.txt" | awk -F'\t' '{ print $NF }')" "from shard 1"
check "shards: columns" "$(columns "$tmp/shards" 7 | tr -d ' ')" \
    '{"url":"http://example.org/2.jpg","status":"success","width":60,"similarity":0.5,"exif":"{}"}'
expect 0 extract -w "$tmp/shards" "$tmp/dataset" --fit keep
check "shards again: stored" "$(field stored_now)" 0

# A compressed tar and its files unpacked give the same; the copy that was read from is gone afterwards.
gzip -kn "$tmp/dataset/00000.tar"
expect 0 extract -w "$tmp/tgz" "$tmp/dataset/00000.tar.gz"
expect 0 extract -w "$tmp/tar" "$tmp/dataset/00000.tar"
same "a .tar.gz" tgz tar
check "left of the unpacked tar" "$(ls "$tmp/tgz/inputs")" ""
expect 0 extract -w "$tmp/tgz" "$tmp/dataset/00000.tar.gz"
check "a .tar.gz again" "$(field stored_now)" 0
out=$("$VICHA" extract --json -w "$tmp/tarin" - <"$tmp/dataset/00000.tar.gz") || fail "a tar on standard input: $?"
same "a tar on standard input" tarin tar
rm -f "$tmp/member"/* && tar xf "$tmp/dataset/00000.tar" -C "$tmp/member"
expect 0 extract -w "$tmp/files" "$tmp/member"
check "files: stored" "$(field stored)" 5
check "files: columns" "$(columns "$tmp/files" 2 | tr -d ' ')" \
    '{"url":"http://example.org/2.jpg","status":"success","width":60,"similarity":0.5,"exif":"{}"}'

# Many lists: a folder of them, and a file with their names.
mkdir "$tmp/lists"
for i in 0 1 2; do
    { head -n 1 list.tsv; sed -n "$((2 + 5 * i)),$((6 + 5 * i))p" list.tsv; } >"$tmp/lists/part-$i.tsv"
done
gzip "$tmp/lists/part-1.tsv"
expect 0 extract -w "$tmp/many" "$tmp/lists" --root "$tmp/photos"
check "a folder of lists" "$(field stored)" 15
printf '%s\n\n%s\r\n' "$tmp/lists/part-0.tsv" "$tmp/lists/part-2.tsv" >"$tmp/names"
expect 0 extract -w "$tmp/named" --sources-from "$tmp/names" --root "$tmp/photos"
check "--sources-from" "$(field stored)" 10

# Errors that a user meets.
expect 1 extract -w "$tmp/empty" - </dev/null
case $errors in
*"nothing came on standard input"*) ;;
*) fail "empty standard input is told: $errors" ;;
esac
head -c 3000 "$VICHA" >"$tmp/noise"
out=$("$VICHA" extract -w "$tmp/noise.ws" - <"$tmp/noise" 2>&1) && fail "noise on standard input is taken"
case $out in
*"no list"*) ;;
*) fail "noise on standard input is told: $out" ;;
esac
expect 2 extract -w "$tmp/parquet" "$tmp/dataset/00000.parquet"
done_testing
