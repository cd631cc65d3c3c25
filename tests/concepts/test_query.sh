#!/bin/sh
# From pictures to answers with a small random model: the stages, what they do the second time and after kill -9, the
# filters of query, and words that try to break SQL, CSV or the terminal.
set -eu
make_inputs=$1
make_clip=$2
. "${0%/*}/../support/command.sh"

stat() { # stat WORKSPACE KEY
    "$VICHA" stats -w "$1" --json | sed "s/.*\"$2\": \([0-9-]*\).*/\1/"
}

"$make_inputs" "$work/in" 400
model=$("$make_clip")
ws=$work/ws
"$VICHA" extract -w "$ws" -q "$work/in/captions.jsonl" >"$out" 2>"$log"
same 'all pictures are stored' "$(stat "$ws" stored)" 400

# What is missing is named.
run 2 'query before concepts is refused' query -w "$ws" a dog
check '... and says what to run' grep -q 'vicha concepts' "$log"
run 2 'mine before embed is refused' concepts mine -w "$ws"
run 2 'embed before parse is refused' concepts embed -w "$ws" --clip "$model"
run 1 'no workspace, no crash' stats -w "$work/none"
run 2 'precision that is not there' concepts embed -w "$ws" --clip "$model" --precision fp16
run 2 'min-count must be positive' concepts parse -w "$ws" --min-count 0
run 1 'a model that is not there' concepts -w "$ws" --clip "$work/none"
cp -r "$ws" "$work/killed"

# The three in a row, twice.
run 0 'parse, embed, mine' concepts -w "$ws" --clip "$model" --json
check '... as JSON lines' grep -q '"step": "mine", "images": 400, "images_total": 400' "$out"
same 'every image is mined' "$(stat "$ws" mined)" 400
run 0 'a second time' concepts -w "$ws" --clip "$model" --json
check '... the vocabulary is the same' grep -q '"unchanged": true' "$out"
check '... nothing is embedded' grep -q '"step": "embed", "images": 0, "rejected": 0, "images_total": 400, "concepts": 0' "$out"
check '... nothing is mined' grep -q '"step": "mine", "images": 0,' "$out"

# Killed at any moment and run again: the same files, the same answers.
kws=$work/killed
for t in 0.02 0.05 0.08 0.12 0.2 0.3 0.5; do
    timeout -s KILL "$t" "$VICHA" concepts -w "$kws" -q --clip "$model" --batch 16 >/dev/null 2>&1 || true
done
got=0
timeout -s TERM 0.1 "$VICHA" concepts -w "$kws" -q --clip "$model" --batch 16 >/dev/null 2>&1 || got=$?
run 0 'killed runs end' concepts -w "$kws" --clip "$model" --batch 16 --threads 1
check '... with the same image vectors' cmp "$ws"/vectors/image-*.f16 "$kws"/vectors/image-*.f16
check '... the same checksums' cmp "$ws"/vectors/image-*.f16.crc "$kws"/vectors/image-*.f16.crc
check '... the same concept vectors' cmp "$ws"/vectors/concept-*.f16 "$kws"/vectors/concept-*.f16
"$VICHA" concepts list -w "$ws" -n 0 --json >"$work/a" && "$VICHA" concepts list -w "$kws" -n 0 --json >"$work/b"
check '... the same statistics' cmp "$work/a" "$work/b"
"$VICHA" query -w "$ws" a dog -n 400 --json >"$work/a" && "$VICHA" query -w "$kws" a dog -n 400 --json >"$work/b"
check '... the same answers' cmp "$work/a" "$work/b"
same '... all of them' "$(wc -l <"$work/a")" 400

# Filters. The concepts column of the answer is the judge.
run 0 'list' concepts list -w "$ws" -n 2 --json --sort images
first=$(sed -n '1s/.*"concept": "\([^"]*\)".*/\1/p' "$out")
images=$(sed -n '1s/.*"images": \([0-9]*\).*/\1/p' "$out")
run 0 'show' concepts show -w "$ws" "$first" -n 400 --json
same '... as many images as listed' "$(wc -l <"$out")" "$images"
check '... best first' sh -c "sed 's/.*\"score\": \([-0-9.]*\),.*/\1/' '$out' | sort -c -g -r"
second=$(sed -n '1s/.*"concepts": "[^,]*, \([^,]*\), .*/\1/p' "$out")
run 0 'one concept and another' query -w "$ws" --concept "$first" --concept "$second" -n 400 --json
both=$(wc -l <"$out")
check '... every hit has both' sh -c "! grep -v '[\" ]$first[\",].*' '$out' && ! grep -v '[\" ]$second[\",].*' '$out'"
run 0 'one concept without another' query -w "$ws" --concept "$first" --not "$second" -n 400 --json
same '... the rest' "$((both + $(wc -l <"$out")))" "$images"
run 0 'words of a caption' query -w "$ws" --caption 'sofa NOT lamp' -n 400 --json
same '... in 40 captions' "$(wc -l <"$out")" 40
check '... all with the word' sh -c "! grep -v 'red sofa' '$out'"
run 0 'text and filter' query -w "$ws" a dog on the beach --caption beach -n 400 --json
same '... the filter holds' "$(wc -l <"$out")" 80
# A filter never changes a score or an order: the filtered answer is the whole one with lines left out.
"$VICHA" query -w "$ws" a dog on the beach -n 400 --json | grep '"caption": "[^"]*beach' | sed 's/"rank": [0-9]*//' >"$work/a"
sed 's/"rank": [0-9]*//' "$out" >"$work/b"
check '... and does not change the order' cmp "$work/a" "$work/b"
run 0 'min-score' query -w "$ws" --like 7 --min-score 0.999999 -n 400 --json
run 0 'like an image of the workspace' query -w "$ws" --like 00006.jpg -n 1 --json
a=$(sed 's/.*"image_id": \([0-9]*\).*/\1/' "$out")
"$VICHA" concepts of -w "$ws" 00006.jpg --json >"$out"
own=$(sed -n '1s/.*"image_id": \([0-9]*\).*/\1/p' "$out")
check '... is not the image itself' test "$a" != "$own"
same '15 concepts an image' "$(wc -l <"$out")" "$("$VICHA" concepts list -w "$ws" -n 15 --json | wc -l)"
cp "$work/in/00006.jpg" "$work/copy.jpg"
run 0 'like a file' query -w "$ws" --like "$work/copy.jpg" -n 1 --json
run 0 'paths' query -w "$ws" --like 3 -n 5 --format paths
check '... are keys' sh -c "grep -cx '[0-9]*.jpg' '$out' | grep -qx 5"
run 0 'csv' query -w "$ws" --caption quoted -n 1 --format csv
check '... quotes what must be' grep -q '"<b>a man</b> ""quoted"" & a dog.s ball; DROP TABLE image; --"' "$out"

# Words that try to break something.
esc=$(printf '\033')
run 0 'escapes in captions' query -w "$ws" --caption umbrellas
check '... do not reach the terminal' sh -c "! grep -q '$esc' '$out' && grep -q 'x1b' '$out'"
run 2 'an unknown concept' query -w "$ws" --concept "x'; DROP TABLE image; --"
run 2 'a near miss' concepts show -w "$ws" beech
check '... is named' grep -q "'beach'" "$log"
run 2 'full text that is none' query -w "$ws" --caption '"open'
check '... with the reason' grep -q 'unterminated string' "$log"
run 2 'full text with signs' query -w "$ws" --caption "dog's"
run 2 'full text with a column' query -w "$ws" --caption 'image_id:dog'
run 2 'nothing to look for' query -w "$ws"
run 0 'a text and a likeness' query -w "$ws" --like 3 a dog
run 2 'like nothing known' query -w "$ws" --like "$work/none.jpg"
run 2 'an unknown format' query -w "$ws" dog --format xml
run 0 'a long text' query -w "$ws" "$(printf 'a dog %.0s' $(seq 200))" -n 1
same 'nothing was broken' "$(stat "$ws" images)" 400
run 0 'stats for people' stats -w "$ws"
COLUMNS=60 "$VICHA" query -w "$ws" a dog >"$out" 2>"$log"
check 'tables fit the terminal' sh -c "! grep -q '.\{181\}' '$out'"

# The derived files of vectors change no answer, are made again where they are gone or damaged, and are only made once.
answer() { "$VICHA" query -w "$ws" --like 3 -n 20 --json 2>>"$log" | cksum; }
first=$(answer)
check 'embedding leaves a file of bytes' test -s "$(echo "$ws"/vectors/image-*.i8)"
rm "$ws"/vectors/image-*.i8
same 'without it the answer is the same' "$(answer)" "$first"
run 0 'index-vectors' index-vectors -w "$ws" --json
check '... makes it' grep -q '"rows": 400.*"made_bytes": true' "$out"
same '... and the answer is the same' "$(answer)" "$first"
printf 'x' | dd of="$(echo "$ws"/vectors/image-*.i8)" bs=1 seek=30 conv=notrunc 2>/dev/null
same 'damaged, the answer is the same' "$(answer)" "$first"
run 0 'with cells' index-vectors -w "$ws" --cells=8 --json
check '... recall is measured' grep -q '"probe": 4, "recall_at_10": [01]' "$out"
run 0 '... once' index-vectors -w "$ws" --cells=8 --json
check '... for the same vectors' grep -q '"made_bytes": false.*"made_cells": false' "$out"
run 2 'cells are a number' index-vectors -w "$ws" --cells=0
run 0 'for people' index-vectors -w "$ws" --cells
check '... with a table' grep -q 'recall@10' "$out"

# A damaged picture in the store is rejected with its cause; everything else goes on.
"$VICHA" extract -w "$work/dmg" -q "$work/in/captions.jsonl" >/dev/null 2>&1
shard=$(ls "$work"/dmg/images/*.tar | head -n 1)
start=$(grep -abo -m1 "JFIF" "$shard" | head -n 1 | cut -d: -f1)
head -c 3000 /dev/zero | dd of="$shard" bs=1 seek=$((start + 200)) conv=notrunc 2>/dev/null
run 3 'a damaged picture' concepts -w "$work/dmg" --clip "$model"
check '... is counted with its cause' sh -c "'$VICHA' stats -w '$work/dmg' --json | grep -q '\"rejected_by_cause\": {\"corrupt\": [1-9]'"
run 0 '... once' concepts -w "$work/dmg" --clip "$model"

# Another vocabulary, another model.
printf 'dog\nbeach\ncaf\303\251\n' >"$work/words"
run 0 'a vocabulary of my own' concepts parse -w "$ws" --vocabulary "$work/words"
check '... drops what hung on the old one, and says so' grep -q 'warning' "$log"
run 0 '... is kept by the three in a row' concepts -w "$ws" --clip "$model" -q
same '... three concepts' "$("$VICHA" concepts of -w "$ws" 1 --json | wc -l)" 3
cp -r "$model" "$work/other"
printf 'x' | dd of="$work/other/model.safetensors" bs=1 seek=$(($(wc -c <"$model/model.safetensors") - 2)) conv=notrunc 2>/dev/null
run 2 'another model is refused' concepts embed -w "$ws" --clip "$work/other"
run 0 '... unless it replaces' concepts -w "$ws" --clip "$work/other" --replace -q
same '... everything' "$(stat "$ws" mined)" 400

# Precision: one a workspace, int8 with its calibration beside the vectors, auto says what it found.
printf 'cat\n' >>"$work/words"
run 0 'a longer vocabulary' concepts parse -w "$ws" --vocabulary "$work/words"
run 2 'its concepts in another precision are refused' concepts embed -w "$ws" --clip "$work/other" --precision int8
check '... with the mend' grep -q -- '--precision fp32, or embed everything again with --replace' "$log"
run 0 'int8 replaces' concepts embed -w "$ws" --clip "$work/other" --precision int8 --replace --json
check '... and says so' grep -q '"images": 400.*"precision": "int8"' "$out"
check '... and keeps its calibration' sh -c "ls '$ws'/vectors/calibration-*.safetensors"
sums=$(cat "$ws"/vectors/*-other.f16 | cksum)
rm "$ws"/vectors/*-other.f16
run 0 'int8 again' concepts embed -w "$ws" --clip "$work/other" --precision fp32 --replace -q
run 0 '... from the calibration that is kept' concepts embed -w "$ws" --clip "$work/other" --precision int8 --replace \
    --threads 1 --batch 7 -q
same '... the same vectors on one thread in other batches' "$(cat "$ws"/vectors/*-other.f16 | cksum)" "$sums"
for file in "$ws"/vectors/calibration-*.safetensors; do echo broken >"$file"; done
run 0 'a broken calibration is made again' concepts embed -w "$ws" --clip "$work/other" --precision fp32 --replace -q
run 0 '... with a word' concepts embed -w "$ws" --clip "$work/other" --precision int8 --replace
check '... of warning' grep -q 'made again' "$log"
run 0 'auto takes what is there' concepts embed -w "$ws" --clip "$work/other" --precision auto
cp -r "$work/other" "$work/third"
printf 'y' | dd of="$work/third/model.safetensors" bs=1 seek=$(($(wc -c <"$model/model.safetensors") - 2)) conv=notrunc 2>/dev/null
run 0 'auto compares' concepts embed -w "$ws" --clip "$work/third" --precision auto --replace --json
check '... and says what it found' grep -q '"why": ".*fp32 100.0 %.*bf16 .*int8 .*is the fastest with at least 99 %' "$out"

echo "1..$number"
exit $bad
