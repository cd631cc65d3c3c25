#!/bin/sh
# vicha.mk: what `make -n` says of the examples, a whole small build with a rejected picture, nothing to do the second
# time, no target after a failure. Needs vicha-scenes ($SCENES).
set -u
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
command -v make >/dev/null || {
    echo "SKIP: make is not installed"
    exit 77
}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
unset MAKEFLAGS MAKELEVEL
mk=$VICHA_SOURCE/vicha.mk

# has TEXT LINE: LINE stands in TEXT as a line of its own
has() {
    printf '%s\n' "$1" | grep -Fxq -- "$2" || fail "no line '$2' in: $1"
}

# The examples, with files that only exist.
mkdir -p datasets/coco models/clip
touch datasets/coco/dataset_coco.json datasets/Train_GCC-training.tsv models/vocab.txt
out=$(make -n -f "$VICHA_SOURCE/docs/examples/coco.mk" VICHA=vicha VICHA_MK="$mk" VOCAB=models/vocab.txt CLIP=models/clip 2>&1) ||
    fail "make -n of coco.mk: $out"
has "$out" 'vicha extract -w coco --root datasets/coco --size 256 datasets/coco/dataset_coco.json || test $? = 3'
has "$out" 'vicha concepts -w coco --clip models/clip || test $? = 3'
has "$out" 'vicha index -w coco --vocab models/vocab.txt || test $? = 3'
out=$(make -n -f "$VICHA_SOURCE/docs/examples/cc3m.mk" VICHA=vicha VICHA_MK="$mk" VOCAB=models/vocab.txt CLIP=models/clip 2>&1) ||
    fail "make -n of cc3m.mk: $out"
[ "$(printf '%s\n' "$out" | grep -c 'vicha extract')" = 4 ] || fail "cc3m.mk has not four parts: $out"
printf '%s\n' "$out" | grep -q -- '--shard 3/4 datasets/Train_GCC-training.tsv' || fail "no last shard in: $out"

# A small data set with one picture that is none, a model made for it, two workspaces at a time.
"$SCENES" draw -o scenes --seed 4 --count 30 --size 64 2>log || fail "draw: $(cat log)"
echo 'not a picture' >scenes/images/000007.jpg
cat >boot.json <<'EOF'
{"image": {"size": 32}, "tokenizer": {"learn": 600}, "model": {"vision": {"width": 16, "layers": 1, "heads": 2,
 "patch": 16}, "text": {"width": 16, "layers": 1, "heads": 2}, "proj": 8}, "optim": {"warmup_steps": 1},
 "train": {"steps": 2, "batch": 4}, "eval": {"samples": 4}}
EOF
"$VICHA" extract -q -w boot scenes/captions.jsonl 2>log
[ $? = 3 ] || fail "extract did not reject the damaged picture: $(cat log)"
"$VICHA" index -q -w boot --vocab scenes/vocab.txt --max-concepts 0 >log 2>&1
case $? in
0 | 3) ;;
*) fail "index of pictures without concepts: $(cat log)" ;;
esac
"$VICHA" train -q boot.json -w boot --out clip >log 2>&1 || fail "train: $(cat log)"

cat >Makefile <<EOF
VICHA = $VICHA
CLIP = clip/model
VOCAB = scenes/vocab.txt
all: one/.indexed two/records/index.json
one.source = scenes/captions.jsonl
one.extract = --limit 12
two.source = scenes/captions.jsonl
lost.source = nowhere.jsonl
broken.source = broken.json
include $mk
EOF
make -j2 >log 2>&1 || fail "make -j2: $(cat log)"
for w in one two; do
    for f in .extracted .mined .indexed records/index.json vicha.db; do
        [ -f $w/$f ] || fail "$w/$f is not there"
    done
    "$VICHA" index --verify $w/records >log 2>&1 || fail "verify $w: $(cat log)"
done
make -q || fail "a second make has work to do: $(make -n)"
make two.stats >log 2>&1 || fail "make two.stats: $(cat log)"
grep -q '1 rejected' log || fail "no word about the rejected picture: $(cat log)"

# A newer vocabulary runs the last stage alone.
touch scenes/vocab.txt
out=$(make -n)
case $out in
*' index '*) ;;
*) fail "a newer vocabulary does not run index: $out" ;;
esac
case $out in
*' extract '* | *' concepts '*) fail "a newer vocabulary runs more than index: $out" ;;
esac

# Failures leave no target.
make lost/.indexed >log 2>&1 && fail "a missing source was built"
grep -q 'lost' log || fail "the lost workspace is not named: $(cat log)"
echo '{' >broken.json
make broken/.indexed >log 2>&1 && fail "a broken source was built"
[ ! -e broken/.extracted ] || fail "a failed stage left its target"
make one.clean >/dev/null && [ ! -e one/vicha.db ] && [ ! -e one/.indexed ] || fail "clean left files: $(ls -a one)"
[ $failures = 0 ] && echo "ok: two workspaces, two examples"
exit $failures
