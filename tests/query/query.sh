#!/bin/sh
# vicha query: pages are the whole list, whatever the order; the tables answer as the posting lists do; filters leave
# lines out and change nothing else; SQL of strangers only reads; a killed stage leaves a whole workspace.
set -eu
make_inputs=$1
make_clip=$2
. "${0%/*}/../support/command.sh"

"$make_inputs" "$work/in" 300
model=$("$make_clip")
ws=$work/ws
"$VICHA" extract -w "$ws" -q "$work/in/captions.jsonl" >"$out" 2>"$log"
"$VICHA" concepts -w "$ws" -q --clip "$model" >"$out" 2>"$log"
# A third of the images in each of two splits; every tenth has a tag. (What other tools write; sqlite3 may be absent.)
if command -v sqlite3 >/dev/null 2>&1; then
    sqlite3 "$ws/vicha.db" "INSERT INTO split SELECT image_id, CASE image_id % 3 WHEN 0 THEN 'train' ELSE 'test' END
        FROM image WHERE image_id % 3 < 2; INSERT INTO tag SELECT image_id, 'tenth' FROM image WHERE image_id % 10 = 0"
    names=yes
else
    names=
fi

# walk NAME ARGUMENTS...: pages of 7 one behind the other are the list of 300.
walk() {
    name=$1
    shift
    "$VICHA" query -w "$ws" -n 300 --json "$@" 2>"$log" | sed 's/"rank": [0-9]*, //' >"$work/whole" || true
    : >"$work/pages"
    after=
    for page in $(seq 60); do
        "$VICHA" query -w "$ws" -n 7 --json --after "$after" "$@" 2>"$log" >"$out" || break
        sed 's/"rank": [0-9]*, //' "$out" >>"$work/pages"
        after=$(sed -n 's/.*--after \(.*\)$/\1/p' "$log")
        [ -n "$after" ] || break
    done
    check "$name: pages are the whole list" cmp "$work/whole" "$work/pages"
    check '... of more than a page' test "$(wc -l <"$work/whole")" -gt 7
    "$VICHA" query -w "$ws" -n 5 --offset 9 --json "$@" 2>"$log" | sed 's/"rank": [0-9]*, //' >"$out"
    check '... an offset goes to its place' sh -c "sed -n '10,14p' '$work/whole' | cmp - '$out'"
}
walk 'by number' --source captions.jsonl
walk 'by number, without a concept' --not beach
walk 'by bm25' --caption 'dog OR beach'
walk 'by concept' --concept dog
walk 'by two concepts' --concept 'dog AND beach'
walk 'by an expression' --concept '(dog OR cat >= 0.1) NOT (beach AND woman)'
walk 'by concept, in captions' --concept bowl --caption 'a*'
walk 'by text' a dog
walk 'by text, with concepts' a dog --concept 'dog OR surfboard' --not cat
walk 'by likeness' --like 5
if [ -n "$names" ]; then
    walk 'by number in a split' --split train
    walk 'by text in splits' a dog --split train --split test
    run 0 'a tag' query -w "$ws" --tag tenth -n 300 --json
    same '... is of thirty' "$(wc -l <"$out")" 30
    run 0 'a tag and a split' query -w "$ws" --tag tenth --split train -n 300 --json
    same '... is of ten' "$(wc -l <"$out")" 10
    run 0 'a text without a tag' query -w "$ws" a dog --not-tag tenth -n 300 --json
    same '... is of the others' "$(wc -l <"$out")" 270
    run 2 'an unknown split' query -w "$ws" a dog --split none
    check '... names those there are' grep -q "'test', 'train'" "$log"
fi

# Without posting lists: the tables, the same answers.
"$VICHA" query -w "$ws" -n 300 --json --concept '(dog OR cat >= 0.1) NOT (beach AND woman)' >"$work/a" 2>"$log"
mv "$ws/vectors/postings.bin" "$work/postings"
"$VICHA" query -w "$ws" -n 300 --json --concept '(dog OR cat >= 0.1) NOT (beach AND woman)' >"$work/b" 2>"$log"
check 'tables answer as posting lists do' cmp "$work/a" "$work/b"
head -c 5000 "$work/postings" >"$ws/vectors/postings.bin"
"$VICHA" query -w "$ws" -n 300 --json --concept '(dog OR cat >= 0.1) NOT (beach AND woman)' >"$work/b" 2>"$log"
check 'cut posting lists are told of' grep -q 'cut off or damaged' "$log"
check '... and change nothing' cmp "$work/a" "$work/b"
run 0 'mine writes them anew' concepts mine -w "$ws"
check '... the same' cmp "$work/postings" "$ws/vectors/postings.bin"

# Mistakes are explained.
run 2 'a bracket' query -w "$ws" --concept '(dog OR'
check '... is shown' grep -q 'expected a concept at its end' "$log"
run 2 'signs in captions' query -w "$ws" --caption "t-shirt's"
check '... with the way to write them' grep -q "'\"t-shirt's\"'" "$log"
run 2 'a column that is none' query -w "$ws" --caption 'colour:red'
check '... is said in words' grep -q "would name a column" "$log"
run 2 'a cursor of another question' query -w "$ws" --concept cat --after 1c-3fd7cd2f9a5f34be-250-9e82d652347789d0
check '... is refused' grep -q 'belongs to another question' "$log"
run 2 'a cursor that is none' query -w "$ws" --concept dog --after 1c-x
run 2 'a score that is none' query -w "$ws" --concept 'dog >= 7'

# Cells: all of them are the exact answer; a filter asks for it by itself.
run 2 'cells that are not there' query -w "$ws" a dog --probe 4
check '... with the way to make them' grep -q 'index-vectors --cells' "$log"
run 0 'cells' index-vectors -w "$ws" --cells=12 --json
check '... with their recall' grep -q '"probe": 4, "recall_at_10": ' "$out"
"$VICHA" query -w "$ws" a dog -n 20 --json >"$work/a" 2>"$log"
"$VICHA" query -w "$ws" a dog -n 20 --json --probe 12 >"$work/b" 2>"$log"
check 'all cells are the exact answer' cmp "$work/a" "$work/b"
run 0 'few cells' query -w "$ws" --like 5 -n 20 --json --probe 2 --explain
check '... are told of' grep -q 'nearest 2 of 12 cells' "$log"
"$VICHA" query -w "$ws" a dog -n 20 --json --concept dog >"$work/a" 2>"$log"
"$VICHA" query -w "$ws" a dog -n 20 --json --concept dog --probe 1 >"$work/b" 2>"$log"
check 'with a filter they are not used' cmp "$work/a" "$work/b"
check '... and it says so' grep -q 'the cells were not used' "$log"

# Pairs of concepts that mining keeps are those that statistics count.
pairs_of() {
    "$VICHA" query -w "$ws" --rows 100 --format csv --sql "SELECT c.text, p.images FROM concept_pair p
        JOIN concept c ON c.concept_id = p.b WHERE p.a = (SELECT concept_id FROM concept WHERE text = 'dog')
        ORDER BY p.images DESC, c.text LIMIT 20" 2>"$log" | tr -d '\r' | sed '1d; s/"//g'
}
pairs_of >"$work/a"
"$VICHA" stats pairs -w "$ws" --concept dog --by images --min-images 1 -n 20 --json 2>"$log" |
    sed 's/.*"b": "\([^"]*\)", "images": \([0-9]*\).*/\1,\2/' >"$work/b"
check 'pairs are kept' cmp "$work/a" "$work/b"
check '... some' test "$(wc -l <"$work/a")" -gt 5

# Formats.
run 0 'html' query -w "$ws" --caption quoted -n 3 --format html
check '... has pictures inside' grep -q 'src="data:image/jpeg;base64,/9j/' "$out"
check '... and escapes captions' sh -c "grep -q '&lt;b&gt;a man' '$out' && ! grep -q '<b>a man' '$out'"
run 0 'kitty pictures' query -w "$ws" --concept dog -n 2 --thumbnails kitty
check '... are sent' grep -q '_Ga=T,q=2,f=24,s=' "$out"
run 0 'sixel pictures' query -w "$ws" --concept dog -n 2 --thumbnails sixel
check '... are sent' grep -q 'Pq"1;1;' "$out"
run 0 'no pictures into a pipe' query -w "$ws" --concept dog -n 2
check '... by themselves' sh -c "! grep -q 'Pq\|_Ga' '$out'"
run 0 'explain' query -w "$ws" --concept 'dog AND cat' -n 2 --explain
check '... tells the parts' grep -q 'concepts, by' "$log"

# SQL.
run 0 'sql' query -w "$ws" --sql "SELECT count(*) AS n FROM image" --format jsonl
same '... as JSON' "$(cat "$out")" '{"n": 300}'
for statement in "DELETE FROM image" "PRAGMA journal_mode=DELETE" "ATTACH '$work/x' AS x" "SELECT load_extension('x')" \
    "CREATE TEMP TABLE t(x)" "VACUUM INTO '$work/x'" "SELECT 1; DELETE FROM image" "INSERT INTO tag VALUES(1, 'x')"; do
    run 2 "refused: $statement" query -w "$ws" --sql "$statement"
done
check '... nothing was made' test ! -e "$work/x"
run 2 'a syntax error' query -w "$ws" --sql 'SELEC 1'
check '... with its place' grep -q 'near "SELEC": syntax error' "$log"
run 1 'time is limited' query -w "$ws" --timeout 0.2 \
    --sql 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n'
check '... and says so' grep -q 'stopped after 0.2 seconds' "$log"
run 0 'rows are limited' query -w "$ws" --rows 5 --sql 'SELECT image_id FROM image' --format csv
same '... to these' "$(wc -l <"$out")" 6
check '... and it says so' grep -q 'stopped after 5 rows' "$log"

# A reader goes on asking while stages are killed in their writes, and every state is whole.
kws=$work/killed
"$VICHA" extract -w "$kws" -q "$work/in/captions.jsonl" >"$out" 2>"$log"
whole=0
for t in 0.02 0.04 0.06 0.09 0.12 0.16 0.2 0.25; do
    timeout -s KILL "$t" "$VICHA" concepts -w "$kws" -q --clip "$model" --batch 16 >/dev/null 2>&1 || true
    "$VICHA" doctor --no-machine -w "$kws" >"$out" 2>"$log" || whole=1
    "$VICHA" query -w "$kws" --caption dog >/dev/null 2>>"$log" || [ $? -eq 2 ] || whole=1
done
ok $whole 'killed stages leave a whole workspace'
run 0 'and end' concepts -w "$kws" -q --clip "$model"
run 0 'whole at the end' doctor --no-machine -w "$kws" --json
check '... all of it' sh -c "! grep -v '\"state\": \"ok\"' '$out'"
cp -r "$kws" "$work/bent"
for bytes in "$work"/bent/vectors/image-*.i8; do
    printf 'bent' | dd of="$bytes" bs=1 seek=5000 conv=notrunc 2>/dev/null
done
run 0 'a damaged file of bytes is found' doctor --no-machine -w "$work/bent"
check '... and how to mend it' grep -q 'index-vectors --again' "$out"
run 0 'which mends it' index-vectors -w "$work/bent" --again
run 0 'whole again' doctor --no-machine -w "$work/bent" --json
check '... all of it' sh -c "! grep -v '\"state\": \"ok\"' '$out'"
cp -r "$kws" "$work/cut"
for shard in "$work"/cut/images/*; do
    head -c 20000 "$shard" >"$work/short" && cp "$work/short" "$shard"
done
run 1 'a shard that is cut is found' doctor --no-machine -w "$work/cut"
check '... by name' grep -q 'shorter than their pictures' "$out"

echo "1..$number"
exit $bad
