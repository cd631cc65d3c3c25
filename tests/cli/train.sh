#!/bin/sh
# `vicha train` around training: recipes by name, pictures of runs, wrong usage.
set -u
failed=0
fail() {
    echo "not ok: $*"
    failed=1
}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# expect STATUS WORDS COMMAND...: status, and words somewhere in what it says
expect() {
    status=$1 words=$2
    shift 2
    "$@" >out 2>err
    got=$?
    [ $got = "$status" ] || fail "'$*' ended with $got, not $status: $(cat err)"
    cat out err | grep -qF -e "$words" || fail "'$*' does not say '$words': $(cat out err)"
}

expect 0 "vicha-small " "$VICHA" train --list
[ ! -s err ] || fail "words on standard error: $(cat err)"
"$VICHA" train --list --json >out || fail "--list --json"
[ "$(grep -c '^{"recipe": ".*", "about": ".*}$' out)" = "$(wc -l <out)" ] || fail "lines that are no recipe: $(cat out)"
for name in $("$VICHA" train --list | cut -d' ' -f1); do
    "$VICHA" train --show "$name" >"$name.json" || fail "--show $name"
    "$VICHA" train "$name" --dry-run >by-name || fail "dry run of $name"
    "$VICHA" train "./$name.json" --dry-run >by-file || fail "dry run of the file of $name"
    cmp -s by-name by-file || fail "the recipe $name differs from its file"
done
"$VICHA" train vicha-1m --dry-run | grep -q 'all that is trained *265869117' || fail "the paper's size"
# A file with the name of a recipe wins; a folder does not.
mkdir demo
expect 0 "all that is trained" "$VICHA" train demo --dry-run
rmdir demo
cp vicha-small.json demo
"$VICHA" train demo --dry-run >by-file
"$VICHA" train vicha-small --dry-run | cmp -s - by-file || fail "a file of that name does not win"

expect 2 "there are demo, vicha-1m" "$VICHA" train vicha-2m --out run
expect 2 "did you mean 'optim.lr'?" "$VICHA" train vicha-small --out run --set optim.lrr=1
expect 2 "--keep" "$VICHA" train vicha-small --out run --keep 0
expect 2 "where to?" "$VICHA" train vicha-small
expect 2 "give one RECIPE" "$VICHA" train --out run
expect 2 "'vicha train --list' names them" "$VICHA" train --show nothing
[ ! -e run ] || fail "wrong usage left a folder"

mkdir -p a b
printf '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2, "loss_itm": 0.6}\n' >a/metrics.jsonl
printf '{"step": 1, "loss": 3}\n{"step": 2, "eval_loss": 2, "t2i_r10": 50}\n' >b/metrics.jsonl
expect 0 "two.svg" "$VICHA" train --plot a b --out two.svg
grep -q '>loss of 2 runs' two.svg || fail "no title in the picture"
expect 0 '{"plot": "itm.svg", "runs": 1}' "$VICHA" train --plot a --metric loss_itm --out itm.svg --json
if "$VICHA" train --plot a b --out two.png >out 2>err; then
    [ "$(head -c 4 two.png | tail -c 3)" = PNG ] || fail "two.png is no PNG"
else
    grep -q librsvg err || fail "no PNG: $(cat err)"
fi
expect 1 "no line with a number 'loss_itm'" "$VICHA" train --plot b --metric loss_itm --out no.svg
expect 1 "c/metrics.jsonl" "$VICHA" train --plot a c --out no.svg
expect 2 "ends in .svg or .png" "$VICHA" train --plot a --out no.gif
[ ! -e no.svg ] || fail "a picture of nothing"
exit $failed
