#!/bin/sh
# vicha embed, tokenize --clip and model on the small reference models: results, exit statuses, what damage is called.
set -u
models=${VICHA_SHARED:-}/golden/clip
if [ ! -d "$models" ]; then
    echo "SKIP: golden/clip is not here (VICHA_SHARED names its folder)"
    exit 77
fi
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# tokenize: ids of the full vocabulary, three ways of cleaning
full=$models/tokenizer-full
got=$(echo 'a photo of a cat' | "$VICHA" tokenize --clip "$full")
[ "$got" = '[49406, 320, 1125, 539, 320, 2368, 49407]' ] || fail "tokenize gave $got"
hf=$(echo 'R&amp;B' | "$VICHA" tokenize --clip "$full" --clean hf)
oc=$(echo 'R&amp;B' | "$VICHA" tokenize --clip "$full" --clean openclip)
plain=$(echo 'R&B' | "$VICHA" tokenize --clip "$full" --clean hf)
[ "$hf" != "$oc" ] && [ "$oc" = "$plain" ] || fail "cleaning: hf $hf, openclip $oc, plain $plain"
[ "$(printf '%s\n' '"a\nb"' | "$VICHA" tokenize --clip "$full" --json-lines)" = '[49406, 320, 321, 49407]' ] || fail "--json-lines"
[ "$(yes dog | head -n 1 | "$VICHA" tokenize --clip "$full" --max-length 2)" = '[49406, 49407]' ] || fail "--max-length"
echo x | "$VICHA" tokenize --clip "$full" --clean nothing 2>err && fail "an unknown cleaning was taken"
"$VICHA" tokenize --clip "$tmp/none" </dev/null 2>err && fail "a missing model was taken"
grep -q "there is no model" err || fail "missing model: $(cat err)"

# embed: shape and size of the file, both layouts the same for the same weights and plain texts
printf 'a dog\na cat\nred\n' >texts
for m in model-hf-tiny model-openclip-tiny; do
    "$VICHA" embed -q --clip "$models/$m" --text texts --out "$m.npy" || fail "embed --text with $m"
    grep -aq "'descr': '<f4', 'fortran_order': False, 'shape': (3, 40)" "$m.npy" || fail "header of $m.npy"
    [ "$(wc -c <"$m.npy")" = $((128 + 3 * 40 * 4)) ] || fail "size of $m.npy"
done
cmp -s model-hf-tiny.npy model-openclip-tiny.npy || fail "the layouts give other text embeddings"
"$VICHA" embed -q --clip "$models/model-hf-tiny" --text - --out stdin.npy <texts || fail "embed --text -"
cmp -s stdin.npy model-hf-tiny.npy || fail "standard input gives other embeddings"
"$VICHA" embed -q --clip "$models/model-hf-tiny" --text /dev/null --out empty.npy || fail "no texts"
[ "$(wc -c <empty.npy)" = 128 ] || fail "size of empty.npy"

one=$("$VICHA" embed -q --threads 1 --clip "$models/model-hf-tiny" --images "$models/images" --out one.npy --json | wc -l)
"$VICHA" embed -q --threads 3 --clip "$models/model-hf-tiny" --images "$models"/images/*.jpg "$models"/images/*.png --out three.npy ||
    fail "embed of files"
[ "$one" = 18 ] || fail "$one JSON rows for 18 images"
[ "$(wc -c <three.npy)" = $((128 + 18 * 40 * 4)) ] || fail "size of three.npy"
"$VICHA" embed -q --threads 3 --clip "$models/model-hf-tiny" --images "$models/images" --out again.npy
cmp -s one.npy again.npy || fail "embeddings depend on the number of threads"

"$VICHA" embed -q --clip "$models/model-hf-tiny" --images texts "$models/images/13_one.png" --out bad.npy 2>err
[ $? = 3 ] || fail "a rejected image must give status 3"
[ "$(wc -c <bad.npy)" = $((128 + 2 * 40 * 4)) ] || fail "size of bad.npy"
"$VICHA" embed --clip "$models/model-hf-tiny" --out x.npy 2>err
[ $? = 2 ] || fail "neither texts nor images must be wrong usage"
"$VICHA" embed -q --clip "$models/model-hf-tiny" --text none --out x.npy 2>err && fail "a missing text file was taken"
[ ! -e x.npy ] && [ ! -e x.npy.tmp ] || fail "a failed embed left a file"

# model: what is damaged is named
"$VICHA" model check "$models/model-openclip-gelu-f16" >out || fail "model check of a whole model: $(cat out)"
"$VICHA" model info "$models/model-hf-tiny" --json | grep -q '"layout": "hf".*"patch": 8' || fail "model info"
cp "$models"/model-hf-tiny/[cmptv]* . && chmod u+w ./*
rm -f tokenizer.json
damage() { # FILE WORDS: after the damage just done
    "$VICHA" model check . >out 2>err && fail "damage to $1 went unseen"
    grep "$1" out | grep -q "$2" || fail "damage to $1 was called: $(cat out)"
}
"$VICHA" model check . >out 2>err || fail "the copy is not whole: $(cat out)"
mv merges.txt kept && damage 'merges.txt' missing && mv kept merges.txt
mv config.json kept && damage 'config.json' missing && mv kept config.json
cp model.safetensors kept && head -c 300000 kept >model.safetensors && damage 'model.safetensors' damaged
rm model.safetensors && damage 'model.safetensors' missing && mv kept model.safetensors
printf '\377\377\300\177' | dd of=model.safetensors bs=1 seek=1000000 conv=notrunc 2>/dev/null
damage model 'no finite number'
[ $failures = 0 ] && echo "clip: all hold"
[ $failures = 0 ]
