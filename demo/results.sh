#!/bin/sh
# What each part of ViCHA's objective does in a fixed time:   sh demo/results.sh BUILD_DIR DEMO_OUT [MINUTES] [SEEDS] [FILE]
#
# Draws a part C of 24,000 scenes, whose concepts the demonstration's CLIP mines (`make demo` first): part B, with 1,500, would
# be learned by heart long before the time is over. Trains ALBEF, ALBEF with concepts, with HITC, with MIM, and with all
# three on it, each from SEEDS (3) seeds for MINUTES (10), and writes the table with mean and spread to FILE
# (docs/RESULTS.md) and the curves of the first seed beside it. The time is turned into steps by the processor time of two
# short runs of each variant, so that a run depends on the recipe alone, not on what else the machine does: the runs then go
# side by side with one thread each, which gives the same bits in two thirds of the time, and can be stopped and gone on with
# by the same command.
set -eu
build=${1:?usage: sh demo/results.sh BUILD_DIR DEMO_OUT [MINUTES] [SEEDS] [FILE]}
out=${2:?usage: sh demo/results.sh BUILD_DIR DEMO_OUT [MINUTES] [SEEDS] [FILE]}
minutes=${3:-10} seeds=${4:-3} threads=$(getconf _NPROCESSORS_ONLN)
here=$(cd "$(dirname "$0")" && pwd)
file=${5:-$here/../docs/RESULTS.md}
vicha=$build/cli/vicha
scenes=$build/demo/vicha-scenes
work=$out/c
runs=$out/results
count=24000
[ -f "$out/done/measure" ] || {
    echo "results: the CLIP of '$out' is not there: run 'make demo' first" >&2
    exit 1
}
mkdir -p "$runs"

if [ ! -f "$out/done/results-records" ]; then
    "$scenes" draw -o "$out/scenes-c" --seed 3 --count $count --size 96
    "$vicha" extract -w "$work" "$out/scenes-c/captions.jsonl"
    "$vicha" concepts -w "$work" --clip "$out/clip/model" --min-count 10
    "$vicha" index -w "$work" --vocab "$out/scenes-c/vocab.txt"
    : >"$out/done/results-records"
fi

off_concepts='--set model.concepts=false' off_hitc='--set loss.hitc=0' off_mim='--set loss.mim=0'
sets_of() {
    case $1 in
    albef) echo "$off_concepts $off_hitc $off_mim" ;;
    concepts) echo "$off_hitc $off_mim" ;;
    hitc) echo "$off_concepts $off_mim" ;;
    mim) echo "$off_concepts $off_hitc" ;;
    all) echo "" ;;
    esac
}
variants='albef concepts hitc mim all'

# field KEY FILE: of the last line that has it
field() {
    sed -n "s/.*\"$1\": *\\([-0-9.eE+]*\\).*/\\1/p" "$2" | tail -n 1
}

# seconds_of VARIANT STEPS: processor time of a short run, in user and system mode, so that other load does not count
# shellcheck disable=SC2046,SC2086  # the lists of --set are words
seconds_of() {
    (
        "$vicha" train -q demo -w "$work" --out "$runs/probe-$1" --restart $(sets_of $1) --set train.steps=$2 \
            --set eval.every=0 --set eval.samples=2 >/dev/null
        times
    ) | awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, x, "m"); s += 60 * x[1] + x[2] } print s }'
    rm -rf "$runs/probe-$1"
}

# steps_of VARIANT: what $minutes give it on $threads cores; two runs, so that the start is not counted
steps_of() {
    if [ ! -f "$runs/$1.steps" ]; then
        echo "$(seconds_of $1 10) $(seconds_of $1 160)" |
            awk -v budget="$minutes" -v threads="$threads" '{ printf "%d\n", budget * 60 * threads * 150 / ($2 - $1) }' \
                >"$runs/$1.steps"
    fi
    cat "$runs/$1.steps"
}

for variant in $variants; do
    steps_of $variant >/dev/null
done
echo "results: 5 variants, $seeds seeds, $minutes minutes each; '$runs/*/metrics.jsonl' tell how far they are" >&2
# Seed by seed: stopped early, it has every variant equally often.
seed=1
while [ $seed -le "$seeds" ]; do
    for variant in $variants; do
        steps=$(steps_of $variant)
        echo "train -q demo -w \"$work\" --out \"$runs/$variant-$seed\" $(sets_of $variant) --threads 1" \
            "--set name=$variant-$seed --set seed=$seed --set train.steps=$steps" \
            "--set eval.every=$((steps / 12 + 1)) --set eval.samples=512 --set log.every=$((steps / 100 + 1))" \
            "--set checkpoint.every=$((steps / 4 + 1))"
    done
    seed=$((seed + 1))
done | xargs -P "$threads" -L 1 "$vicha" >/dev/null

# cell KEY VARIANT FORMAT: mean and sample standard deviation over the seeds, "-" where a variant has no such number
cell() {
    seed=1
    while [ $seed -le "$seeds" ]; do
        field "$1" "$runs/$2-$seed/metrics.jsonl"
        seed=$((seed + 1))
    done | awk -v f="$3" 'NF { n++; s += $1; q += $1 * $1 }
        END { if (!n) { print "-"; exit }
              m = s / n; v = n > 1 ? (q - n * m * m) / (n - 1) : 0
              printf f " ± " f "\n", m, sqrt(v > 0 ? v : 0) }'
}

# against_time TITLE KEY: a table of KEY at quarters of the time, mean over the seeds; mean_recall is the paper's r_mean.
# A run's step is its time: all steps of a run cost the same. Recall is the next evaluation's, a loss the mean over the
# twentieth of the run around that time.
against_time() {
    echo
    echo "$1 after minutes of training (mean over the seeds):"
    echo
    echo "| variant | $(awk -v m="$minutes" 'BEGIN { for (i = 1; i <= 4; i++) printf "%g |%s", m * i / 4, i < 4 ? " " : "\n" }')"
    echo "|---|---|---|---|---|"
    for variant in $variants; do
        seed=1
        while [ $seed -le "$seeds" ]; do
            sed -e 's/[{}"]//g' -e "s/^/$seed, /" "$runs/$variant-$seed/metrics.jsonl"
            seed=$((seed + 1))
        done | awk -F', ' -v key="$2" -v steps="$(cat "$runs/$variant.steps")" -v name="$variant" '
            { split("", v)
              for (i = 2; i <= NF; i++) { split($i, x, ": "); v[x[1]] = x[2] }
              value = v[key]
              if (key == "mean_recall" && "i2t_r1" in v)
                  value = (v["i2t_r1"] + v["i2t_r5"] + v["i2t_r10"] + v["t2i_r1"] + v["t2i_r5"] + v["t2i_r10"]) / 6
              if (value == "") next
              for (q = 1; q <= 4; q++) {
                  off = v["step"] - steps * q / 4
                  if (key == "mean_recall" ? off >= 0 && !(($1, q) in seen) : off < steps / 40 && off > -steps / 40) {
                      seen[$1, q]
                      sum[q] += value
                      n[q]++
                  }
              } }
            END { if (!n[4]) exit
                  printf "| %s |", name
                  for (q = 1; q <= 4; q++) printf key == "mean_recall" ? " %.1f |" : " %.3f |", sum[q] / n[q]
                  print "" }'
    done
}

curves=''
for variant in $variants; do
    curves="$curves $runs/$variant-1"
done
first=$runs/albef-1
batch=$(sed -n 's/.*"batch": *\([0-9]*\).*/\1/p' "$first/recipe.json" | head -n 1)
folder=$(dirname "$file")
mkdir -p "$folder"
# shellcheck disable=SC2086
"$vicha" train --plot $curves --metric t2i_r10 --out "$folder/results-recall.svg" >/dev/null
{
    echo "# Results"
    echo
    echo "Made by \`make results\`; do not edit. Each variant trained for $minutes minutes"
    echo "of $threads cores (as many steps as that gives it) from $seeds seeds on $count drawn scenes (part C), of which a tenth is held out;"
    echo "mean ± standard deviation over the seeds at the last step. Recall in percent among $(field eval_count "$first/metrics.jsonl")"
    echo "held-out pairs, by the contrastive features alone; a random order reaches $(field chance_r1 "$first/metrics.jsonl")"
    echo "at 1 and $(field chance_r10 "$first/metrics.jsonl") at 10. $(sed -n 's/.*"processor": "\([^"]*\)", "processors": \([0-9]*\).*/Processor: \1, \2 threads./p' "$first/environment.jsonl" | tail -n 1)"
    echo
    echo "| variant | steps | images/s | text to image R@1 | R@10 | image to text R@1 | R@10 | held-out loss |"
    echo "|---|---|---|---|---|---|---|---|"
    for variant in $variants; do
        name="+ $variant"
        [ $variant = albef ] && name=ALBEF
        [ $variant = all ] && name="all (ViCHA)"
        echo "| $name | $(cat "$runs/$variant.steps") | $(awk -v n="$(cat "$runs/$variant.steps")" -v m="$minutes" -v b="$batch" 'BEGIN { printf "%.0f", n * b / m / 60 }') | $(cell t2i_r1 $variant %.1f) |" \
            "$(cell t2i_r10 $variant %.1f) | $(cell i2t_r1 $variant %.1f) | $(cell i2t_r10 $variant %.1f) |" \
            "$(cell eval_loss $variant %.3f) |"
    done
    against_time "Mean recall" mean_recall
    echo
    echo "![Recall at 10, text to image, against the step; first seed](results-recall.svg)"
    for loss in itc hitc itm mlm mim; do
        against_time "Training loss: $(echo $loss | tr "[:lower:]" "[:upper:]")" loss_$loss
    done
    echo
    echo "The contrastive losses of training are no measure of retrieval. They rise over the first epoch, while the teachers'"
    echo "soft targets come in, and again at the end, where recall grows fastest and the held-out loss falls. We take"
    echo "it, without a test, that a model which changes quickly tells the queue's older features apart by their age."
    echo
    echo "What it shows: that every part trains, and what each costs and brings in a fixed time on small drawn scenes with a"
    echo "closed vocabulary. What it does not: how the parts rank on photographs and long runs. Concepts are mined from each"
    echo "picture by a CLIP trained on scenes of the same kind, so they carry part of the answer into the image tower here;"
    echo "a difference within two deviations of $seeds seeds is none."
} >"$file.tmp"
mv "$file.tmp" "$file"
echo "results: $file" >&2
