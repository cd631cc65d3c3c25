#!/bin/sh
# vicha dedup, outliers, diff and stats' own commands; the vocabularies of tasks.
set -eu
make_inputs=$(realpath "$1")
make_clip=$(realpath "$2")
. "${0%/*}/../support/command.sh"

"$make_inputs" "$work/in" 30
cd "$work/in"
cp 00003.jpg copy.jpg
echo '{"image": "copy.jpg", "caption": "A woman rides a bike past a dog ."}' >>captions.jsonl
printf '{"image": "00004.jpg", "caption": "a cat"}\n{"image": "00005.jpg", "caption": "a cat on a table"}\n' >second.jsonl
model=$("$make_clip")
ws=$work/ws
"$VICHA" extract -w "$ws" -q captions.jsonl second.jsonl >"$out" 2>"$log"
"$VICHA" concepts -w "$ws" -q --clip "$model" --min-count 1 -k 3 >"$out" 2>"$log"

# --- duplicates
run 0 'duplicates by bytes' dedup -w "$ws" --json
same '... three' "$(wc -l <"$out")" 3
same '... the copy of the fourth' "$(grep -c '"key": "copy.jpg", "kept": 4, "kept_key": "00003.jpg", "way": "exact"' "$out")" 1
run 0 'by embedding' dedup -w "$ws" --by embedding --min-cosine 0.99999 --json
same '... the same three at least' "$(grep -c '"kept": [456],' "$out")" 3
run 2 'a way that is none' dedup -w "$ws" --by looks
run 0 'nothing is marked yet' export csv -w "$ws"
same '... all are exported' "$(wc -l <"$out")" 34
run 0 'marks' dedup -w "$ws" --mark -q
same '... print nothing' "$(wc -c <"$out")" 0
run 0 'marked images' export csv -w "$ws"
same '... stay away' "$(wc -l <"$out")" 31
printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n' >"$work/vocab.txt"
run 0 'records' index -w "$ws" --vocab "$work/vocab.txt" --json
same '... have none of them' "$(sed -n 's/.*"records": \([0-9]*\).*/\1/p' "$out" | tail -n 1)" 30
run 0 'undo' dedup -w "$ws" --undo
run 0 'all are back' export csv -w "$ws"
same '... all' "$(wc -l <"$out")" 34
run 2 '--mark with --undo' dedup -w "$ws" --mark --undo
run 0 'outliers' outliers -w "$ws" -n 4 --json
same '... as many as asked for' "$(grep -c '"nearest": ' "$out")" 4

# --- statistics
run 0 'pairs' stats pairs -w "$ws" --min-images 1 -n 5 --json
same '... five' "$(grep -c '"npmi": ' "$out")" 5
run 0 'pairs for people' stats pairs -w "$ws" --min-images 1 --by images
run 0 'coverage' stats coverage -w "$ws" --json
same '... of a vocabulary that has all' "$(field sightings)" "$(field covered_sightings)"
run 0 'sources' stats sources -w "$ws" --json
same '... two' "$(grep -c '"divergence": ' "$out")" 2
run 0 'a workspace and itself' diff "$ws" "$ws" --json
same '... have no distance' "$(field divergence)" 0.000000
same '... and all images' "$(field same_images)" 30
run 0 'two sources' diff "$ws" --source-a captions.jsonl --source-b second.jsonl
run 2 'one workspace alone' diff "$ws"
run 2 'a source that is not there' diff "$ws" --source-a x --source-b second.jsonl
run 2 'an unknown statistic' stats pears -w "$ws"

# --- vocabularies of tasks
"$VICHA" extract -w "$work/train" -q captions.jsonl --split train >"$out" 2>"$log"
"$VICHA" extract -w "$work/train" -q second.jsonl --split test >"$out" 2>"$log"
run 0 'a vocabulary of one split' concepts parse -w "$work/train" --min-count 1 --count-split test --json
same '... counts its captions' "$(field captions)" 2
run 0 '... and again' concepts parse -w "$work/train" --min-count 1 --count-split test --json
grep -q '"unchanged": true' "$out" && ok 0 '... does nothing' || ok 1 '... does nothing'
run 0 'another split' concepts parse -w "$work/train" --min-count 1 --count-split train --json
same '... counts its own' "$(field captions)" 31
echo '[{"image": "00006.jpg", "question": "What color is the dog on the sofa?", "question_id": 1, "answer": "no"}]' >vqa.json
"$VICHA" extract -w "$work/vqa" -q vqa.json >"$out" 2>"$log"
run 0 'questions alone' concepts parse -w "$work/vqa" --min-count 1
grep -q 'COCO' "$log" && ok 0 '... say where their concepts come from' || ok 1 '... say where their concepts come from'
run 0 'the vocabulary of another workspace' concepts parse -w "$work/vqa" --vocabulary "$work/train"
"$VICHA" concepts list -w "$work/train" -n 1000 --json 2>"$log" | sed 's/, "images.*//' >"$work/a"
"$VICHA" concepts list -w "$work/vqa" -n 1000 --json 2>"$log" | sed 's/, "images.*//' >"$work/b"
cmp -s "$work/a" "$work/b" && ok 0 '... with its order and counts' || ok 1 '... with its order and counts'
"$VICHA" extract -w "$work/vqa" -q captions.jsonl >"$out" 2>"$log"
run 0 'questions beside captions' concepts parse -w "$work/vqa" --min-count 1 --json
same '... are not counted' "$(field captions)" 31
echo "1..$number"
exit $bad
