#!/bin/sh
# The demonstration at its smallest: every stage runs, a second run repeats none, a failing stage is named.
set -u
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
sh "$VICHA_SOURCE/demo/run.sh" "$BUILD" "$tmp/out" tiny >"$tmp/one" 2>"$tmp/log" || fail "first run: $(cat "$tmp/log")"
for file in b/vicha.db b/records/index.json clip/model/model.safetensors clip/loss.svg pretrain/metrics.jsonl \
    measure.txt measure.json; do
    [ -s "$tmp/out/$file" ] || fail "'$file' is not there"
done
grep -q '^R-precision of the mined concepts  *0\.[0-9]' "$tmp/one" || fail "no R-precision in: $(cat "$tmp/one")"
grep -q '^  clip .*chance' "$tmp/one" || fail "no recall in: $(cat "$tmp/one")"

before=$(find "$tmp/out" -name '*.jpg' -o -name '*.safetensors' -o -name '*.mds' | sort | xargs ls -l --time-style=full-iso)
sh "$VICHA_SOURCE/demo/run.sh" "$BUILD" "$tmp/out" tiny >"$tmp/two" 2>"$tmp/log" || fail "second run: $(cat "$tmp/log")"
[ "$(grep -c 'done before' "$tmp/log")" = 10 ] || fail "the second run repeats a stage: $(cat "$tmp/log")"
after=$(find "$tmp/out" -name '*.jpg' -o -name '*.safetensors' -o -name '*.mds' | sort | xargs ls -l --time-style=full-iso)
[ "$before" = "$after" ] || fail "the second run wrote files again"

# A stage that fails is named, and leaves no mark.
mkdir -p "$tmp/bad/scenes-a/images"
echo '{' >"$tmp/bad/scenes-a/captions.jsonl"
sh "$VICHA_SOURCE/demo/run.sh" "$BUILD" "$tmp/bad" tiny >"$tmp/three" 2>"$tmp/log" && fail "a damaged set passed"
grep -q "stage '[a-z-]*' failed with status" "$tmp/log" || fail "the failing stage is not named: $(cat "$tmp/log")"
[ ! -e "$tmp/bad/done/clip" ] || fail "stages went on after a failure"
[ $failures = 0 ] && echo "ok: ten stages, twice"
exit $failures
