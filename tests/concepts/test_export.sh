#!/bin/sh
# vicha export: every conversion there and back, with concepts of its own and those the source gave.
set -eu
make_inputs=$(realpath "$1")
make_clip=$(realpath "$2")
. "${0%/*}/../support/command.sh"

equal() { # equal NAME FILE FILE
    if cmp -s "$2" "$3"; then ok 0 "$1"; else
        diff "$2" "$3" | sed 's/^/# /' | head -n 20
        ok 1 "$1"
    fi
}
extract() { # extract STATUS WORKSPACE SOURCE OPTIONS...
    want=$1
    ws=$2
    shift 2
    got=0
    "$VICHA" extract -q -w "$ws" --root "$work/in" "$@" >"$out" 2>"$log" || got=$?
    [ "$got" -eq "$want" ] && ok 0 "extract $*" || { echo "# exit status $got" && ok 1 "extract $*"; }
}
# round NAME: the list in NAME.json goes in and comes out the same, with the concepts it was given.
round() {
    extract 0 "$work/$1" "$work/in/$1.json"
    run 0 "export $1" export vicha-json -w "$work/$1" -o "$work/$1.out.json"
    equal "... as it was" "$work/in/$1.json" "$work/$1.out.json"
    extract 0 "$work/$1-again" "$work/$1.out.json"
    run 0 "and once more" export vicha-json -w "$work/$1-again"
    equal "... as it was" "$work/in/$1.json" "$out"
}

"$make_inputs" "$work/in" 12
cd "$work/in"

# --- the shapes of ViCHA's JSON ---------------------------------------------------------------------------------------
cat >pairs.json <<'END'
[
{"image": "00000.jpg", "caption": "A dog .", "image_id": 17, "kwords": ["dog", "caf\u00e9"]},
{"image": "00001.jpg", "caption": "Two \"cats\"", "image_id": 18, "kwords": ["cats"]},
{"image": "00000.jpg", "caption": "A dog .", "image_id": 17, "kwords": ["dog", "caf\u00e9"]}
]
END
sed 's/\\u00e9/é/g' pairs.json >pairs.utf8 && mv pairs.utf8 pairs.json
cat >lists.json <<'END'
[
{"image": "00000.jpg", "caption": ["A dog .", "A second one"], "kwords": ["dog"]},
{"image": "00001.jpg", "caption": ["only"], "kwords": ["cats", "a, b"]}
]
END
cat >vqa.json <<'END'
[
{"image": "00002.jpg", "question": "What is it?", "question_id": 1, "dataset": "vqa", "answer": ["a", "b", "a"], "kwords": ["dog"]},
{"image": "00003.jpg", "question": "Where?", "dataset": "vg", "answer": "here", "kwords": ["cat"]},
{"image": "00002.jpg", "question": "What is it?", "question_id": 2, "dataset": "vqa", "kwords": ["dog"]}
]
END
cat >nlvr.json <<'END'
[
{"sentence": "One dog is left.", "label": "True", "images": ["00004.jpg", "00005.jpg"], "kwords1": ["dog"], "kwords2": ["cat", "tree"]},
{"sentence": "Both sleep.", "label": "False", "images": ["00005.jpg", "00004.jpg"], "kwords1": ["cat", "tree"], "kwords2": ["dog"]}
]
END
cat >snli.json <<'END'
[
{"image": "00006", "sentence": "A man rides.", "label": "entailment", "kwords": ["man"]},
{"image": "00006", "sentence": "A man sleeps.", "label": "contradiction", "kwords": ["man"]}
]
END
cat >refcoco.json <<'END'
[
{"image": "00007.jpg", "text": "man on the left", "ref_id": 3, "kwords": ["man"]},
{"image": "00007.jpg", "text": "red shirt", "ref_id": 4, "kwords": ["man"]}
]
END
for shape in pairs lists vqa nlvr snli refcoco; do round $shape; done

run 0 'an annotation that was read twice is there once' extract -q -w "$work/vqa" --root "$work/in" vqa.json
(head -n 3 vqa.json && echo '{"image": "00003.jpg", "question": "New?", "question_id": 9, "kwords": ["cat"]},' && tail -n 2 vqa.json) >grown
mv grown vqa.json
extract 0 "$work/vqa" vqa.json
run 0 'a source that changed in its middle' export vicha-json -w "$work/vqa"
same '... gave its new one' "$(grep -c question "$out")" 4

# --- other sources ----------------------------------------------------------------------------------------------------
echo '{"images": [{"filepath": ".", "filename": "00000.jpg", "cocoid": 5, "split": "train", "sentences": [{"raw": "one"}, {"raw": "two"}]},
 {"filename": "00001.jpg", "cocoid": 6, "split": "test", "sentences": [{"raw": "three"}]}]}' >karpathy.json
extract 0 "$work/karpathy" karpathy.json
run 0 'Karpathy, its training part' export vicha-json -w "$work/karpathy" --split train --any-concepts
printf '[\n{"image": "./00000.jpg", "caption": "one", "image_id": 5},\n{"image": "./00000.jpg", "caption": "two", "image_id": 5}\n]\n' >"$work/want"
equal '... an object a sentence, with the number of the image' "$out" "$work/want"
run 0 'as lists' export vicha-json -w "$work/karpathy" --split test --form lists --any-concepts
printf '[\n{"image": "00001.jpg", "caption": ["three"], "image_id": 2}\n]\n' >"$work/want"
equal '... an object an image' "$out" "$work/want"
run 2 'a split that is not there' export vicha-json -w "$work/karpathy" --split valid
run 3 'without concepts, objects are left out' export vicha-json -w "$work/karpathy"
same '... all of them' "$(cat "$out")" "[]"

echo '{"images": [{"id": 1, "file_name": "00000.jpg"}], "annotations": [{"image_id": 1, "caption": "one"}]}' >coco.json
extract 0 "$work/coco" coco.json
run 0 'COCO captions' export vicha-json -w "$work/coco" --any-concepts
same '... with the number of the image' "$(sed -n 2p "$out")" '{"image": "00000.jpg", "caption": "one", "image_id": 1}'

mkdir vg sbu && cp 00000.jpg vg/2.jpg && mkdir sbu/images_train && cp 00001.jpg sbu/images_train/x.jpg
echo '[{"id": 2, "regions": [{"phrase": "a dog", "x": 1}, {"phrase": "grass"}]}]' >vg.json
extract 0 "$work/vg" --root vg vg.json
run 0 'Visual Genome regions' export vicha-json -w "$work/vg" --any-concepts --root /data/vg
printf '[\n{"image": "/data/vg/2.jpg", "caption": "a dog"},\n{"image": "/data/vg/2.jpg", "caption": "grass"}\n]\n' >"$work/want"
equal '... all of them, under a folder' "$out" "$work/want"
echo '[["images/x.jpg", "a cat"]]' >sbu.json
extract 0 "$work/sbu" --root sbu --replace images=images_train sbu.json
run 0 'SBU with its renaming' export vicha-json -w "$work/sbu" --any-concepts --form pairs
same '... and a number' "$(sed -n 2p "$out")" '{"image": "images_train/x.jpg", "caption": "a cat", "image_id": 1}'
run 2 'a --replace that is none' extract -w "$work/sbu" --replace images sbu.json

# --- img2dataset's shards, and ours: there and back --------------------------------------------------------------------
"$VICHA" extract -q -w "$work/ws" captions.jsonl >"$out" 2>"$log"
run 0 'shards' export webdataset -w "$work/ws" -o "$work/shards" --shard-images 5
same '... three of them' "$(ls "$work/shards" | tr '\n' ' ')" '00000.tar 00001.tar 00002.tar '
run 2 '... not over others' export webdataset -w "$work/ws" -o "$work/shards"
run 0 'which are a source' extract -q -w "$work/tars" --fit keep "$work/shards/00000.tar" "$work/shards/00001.tar" "$work/shards/00002.tar"
run 0 'with names by shard' export vicha-json -w "$work/tars" --any-concepts
same '... of the second' "$(sed -n 7p "$out")" '{"image": "00001/000000006.jpg", "caption": "A cat sleeps on the sofa beside a lamp ."},'
"$VICHA" export csv -w "$work/ws" 2>"$log" | cut -d, -f7- >"$work/a.csv"
"$VICHA" export csv -w "$work/tars" 2>"$log" | cut -d, -f7- >"$work/b.csv"
equal '... and the same captions' "$work/a.csv" "$work/b.csv"

# --- with concepts of our own ---------------------------------------------------------------------------------------
model=$("$make_clip")
"$VICHA" concepts -w "$work/ws" -q --clip "$model" --min-count 1 >"$out" 2>"$log"
run 0 'mined concepts' export vicha-json -w "$work/ws" --images "$work/files"
same '... an object a caption' "$(grep -c '"kwords": \[".*"\]}' "$out")" 12
same '... whose files are there' "$(sed -n 's/{"image": "\([^"]*\)".*/\1/p' "$out" | xargs ls | wc -l)" 12
first=$("$VICHA" concepts of 1 -w "$work/ws" --json 2>"$log" | head -n 1 | sed 's/.*"concept": "\([^"]*\)".*/\1/')
same '... best first' "$(sed -n '2s/.*"kwords": \["\([^"]*\)".*/\1/p' "$out")" "$first"
"$VICHA" filter -w "$work/ws" -q --keep 50% >"$out" 2>"$log"
run 0 'captions that were marked' export vicha-json -w "$work/ws"
same '... stay away' "$(grep -c caption "$out")" 6
run 0 'unless they are asked for' export vicha-json -w "$work/ws" --marked
same '... all' "$(grep -c caption "$out")" 12

run 0 'csv' export csv -w "$work/ws" -o "$work/x.csv" --json
same '... a line an image and one above' "$(wc -l <"$work/x.csv")" 13
run 0 'npy' export npy -w "$work/ws" -o "$work/x.npy"
columns=$(head -c 128 "$work/x.npy" | tr -cd ' -~' | sed 's/.*(12, \([0-9]*\)).*/\1/')
same '... of its size' "$(wc -c <"$work/x.npy")" $((128 + 12 * columns * 4))
same '... with ids' "$(wc -c <"$work/x.ids.npy")" $((128 + 12 * 8))
same '... and names' "$(grep -c jpg "$work/x.names.json")" 12
run 0 'vectors of concepts' export npy -w "$work/ws" -o "$work/c.npy" --concepts
same '... as many as the vocabulary' "$(($(wc -c <"$work/c.ids.npy") - 128))" \
    "$((8 * $("$VICHA" concepts list -w "$work/ws" -n 100000 --json 2>"$log" | wc -l)))"
run 2 'npy without a name' export npy -w "$work/ws"
run 0 'mds' export mds -w "$work/ws" -o "$work/mds" --json
same '... with all' "$(sed 's/.*"objects": \([0-9]*\).*/\1/' "$out")" 12
[ -s "$work/mds/index.json" ] && ok 0 '... and its index' || ok 1 '... and its index'
run 0 'metadata for Datasette' export datasette -w "$work/ws"
grep -q '^databases:' "$out" && ok 0 '... is YAML' || ok 1 '... is YAML'
run 2 'parquet is not written' export parquet -w "$work/ws"
run 2 'a slip' export webdatset -w "$work/ws"
grep -q "did you mean 'webdataset'" "$log" && ok 0 '... is noticed' || ok 1 '... is noticed'
echo "1..$number"
exit $bad
