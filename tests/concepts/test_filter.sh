#!/bin/sh
# vicha filter with a small random model: scores, both rules of the original, what stays reversible, and the records.
set -eu
make_inputs=$1
make_clip=$2
. "${0%/*}/../support/command.sh"

"$make_inputs" "$work/in" 40
model=$("$make_clip")
ws=$work/ws
# Each picture with three captions more, the first with one only.
awk 'NR == 1 { print; next } { for (i = 0; i < 3; i++) { line = $0; sub(/"caption": *"/, "&" i " ", line); print line } }' \
    "$work/in/captions.jsonl" >"$work/in/more.jsonl"
"$VICHA" extract -w "$ws" -q "$work/in/more.jsonl" >"$out" 2>"$log"
run 2 'before embed it is refused' filter -w "$ws" --keep 50%
"$VICHA" concepts -w "$ws" -q --clip "$model" --min-count 1 >"$out" 2>"$log"

run 0 'a dry run scores and shows' filter -w "$ws" --keep 70% --dry-run
same '... a line for each bin, and one above' "$(wc -l <"$out")" 25
run 0 'a dry run marks nothing' filter -w "$ws" --keep 70% --dry-run --json
total=$(field captions)
same '... scores are not made again' "$(field scored)" 0
same '... the best int(0.7 N) would be kept' "$(field kept)" $((total * 7 / 10))
run 0 'without a rule all are kept' filter -w "$ws" --json
same '... all' "$(field kept)" "$total"

run 0 'half of the captions of every image' filter -w "$ws" --captions-per-image 50% --json
images=$(field kept) # int(0.5 x 3) = 1 of each, and the only one of the first
same '... one of each' "$images" "$((total - $(field dropped)))"
same '... none loses its last' "$(field images_without)" 0
run 0 'the original truncates' filter -w "$ws" --captions-per-image 50% --allow-none --dry-run --json
same '... the image with one caption loses it' "$(field images_without)" 1
same '... which is one less' "$(field kept)" $((images - 1))

run 0 'a score that nothing has' filter -w "$ws" --min-score 2 --json
same '... keeps nothing' "$(field kept)" 0
printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n' >"$work/vocab.txt"
run 1 'records of nothing' index -w "$ws" --vocab "$work/vocab.txt"
run 0 'reset' filter -w "$ws" --reset --json
same '... all are back' "$(field kept)" "$total"
run 0 'both rules together' filter -w "$ws" --captions-per-image 50% --keep 50% --json
[ "$(field kept)" -le "$images" ] && ok 0 '... keep no more than one' || ok 1 '... keep no more than one'

# More captions than are scored at once.
awk '{ for (i = 0; i < 30; i++) { line = $0; sub(/"caption": *"/, "&" i " ", line); print line } }' \
    "$work/in/captions.jsonl" >"$work/in/many.jsonl"
"$VICHA" extract -w "$work/many" -q "$work/in/many.jsonl" >"$out" 2>"$log"
"$VICHA" concepts -w "$work/many" -q --clip "$model" --min-count 1 >"$out" 2>"$log"
run 0 'many captions' filter -w "$work/many" --keep 70% --json
same '... are scored in one run' "$(field scored)" 1200
same '... and chosen from' "$(field kept)" 840

for wrong in '--keep 170%' '--keep -1' '--keep x' '--min-score x' '--reset --keep 1'; do
    run 2 "refused: $wrong" filter -w "$ws" $wrong
done
echo "1..$number"
exit $bad
