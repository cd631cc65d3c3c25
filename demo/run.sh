#!/bin/sh
# The demonstration: sh demo/run.sh BUILD_DIR OUT_DIR [SCALE]   (called by `make demo`)
#
# Draws scenes whose content is known, trains a small CLIP on one part, runs the whole pipeline over another part that
# was drawn from other random numbers, and measures what was found. Everything lands in OUT_DIR. Run again: finished
# stages are not repeated, an interrupted one goes on where it stopped. SCALE=tiny is for tests: every stage in
# seconds, nothing learned.
set -u
build=${1:?usage: sh demo/run.sh BUILD_DIR OUT_DIR [tiny]}
out=${2:?usage: sh demo/run.sh BUILD_DIR OUT_DIR [tiny]}
scale=${3:-full}
here=$(cd "$(dirname "$0")" && pwd) || exit 1
vicha=$build/cli/vicha
scenes=$build/demo/vicha-scenes
stages=10

clip_sets='' pretrain_sets='' at_least=0.85
a_count=24000 b_count=1500 side=96 min_count=10
case $scale in
full) ;;
tiny)
    a_count=96 b_count=48 min_count=2 at_least=0
    clip_sets='--set train.steps=4 --set train.batch=16 --set optim.warmup_steps=1 --set eval.samples=16'
    pretrain_sets='--set train.steps=3 --set train.batch=8 --set optim.warmup_steps=1 --set eval.samples=8'
    ;;
*)
    echo "demo: unknown scale '$scale': full or tiny" >&2
    exit 2
    ;;
esac

for program in "$vicha" "$scenes"; do
    [ -x "$program" ] || {
        echo "demo: '$program' is not there: run 'make' first" >&2
        exit 1
    }
done
mkdir -p "$out/done" || exit 1
number=0

# stage NAME TEXT COMMAND...: runs COMMAND once; its seconds stay in OUT/done/NAME. Status 3 (some inputs were rejected,
# each listed in the database) is no failure.
stage() {
    name=$1 text=$2
    shift 2
    number=$((number + 1))
    if [ -f "$out/done/$name" ]; then
        printf '[%d/%d] %s: done before\n' $number $stages "$text" >&2
        return 0
    fi
    printf '\n[%d/%d] %s\n    %s\n' $number $stages "$text" "$*" >&2
    began=$(date +%s)
    "$@"
    status=$?
    case $status in
    0 | 3) ;;
    130 | 143)
        echo "demo: interrupted in '$name'; run the same command to go on" >&2
        exit $status
        ;;
    *)
        printf "demo: stage '%s' failed with status %d; the message is above. What is finished stays in '%s':\n" \
            "$name" $status "$out" >&2
        echo "      run the same command to go on, or remove the folder to begin anew" >&2
        exit 1
        ;;
    esac
    echo $(($(date +%s) - began)) >"$out/done/$name.tmp" && mv "$out/done/$name.tmp" "$out/done/$name"
}

# field KEY FILE: a number of the last line of FILE that has "KEY": (JSON lines, ours)
field() {
    sed -n "s/.*\"$1\": *\\([-0-9.eE+]*\\).*/\\1/p" "$2" | tail -n 1
}

measure() {
    "$scenes" measure "$out/b" "$out/scenes-b/truth.jsonl" >"$out/measure.txt" &&
        "$scenes" measure --json "$out/b" "$out/scenes-b/truth.jsonl" >"$out/measure.json"
}

# shellcheck disable=SC2086  # the lists of --set are words
run_all() {
    stage draw-a "draw $a_count scenes to train CLIP on (part A)" \
        "$scenes" draw -o "$out/scenes-a" --seed 1 --count $a_count --size $side
    stage draw-b "draw $b_count scenes for the pipeline, from other random numbers (part B)" \
        "$scenes" draw -o "$out/scenes-b" --seed 2 --count $b_count --size $side
    stage extract-a "extract part A" "$vicha" extract -w "$out/a" "$out/scenes-a/captions.jsonl"
    stage index-a "pack part A as records, without concepts: nothing can mine them yet" \
        "$vicha" index -w "$out/a" --vocab "$out/scenes-a/vocab.txt" --max-concepts 0
    stage clip "train a small CLIP on part A (most of the time goes here)" \
        "$vicha" train "$here/recipes/clip.json" -w "$out/a" --out "$out/clip" $clip_sets
    stage extract-b "extract part B" "$vicha" extract -w "$out/b" "$out/scenes-b/captions.jsonl"
    stage concepts-b "parse the captions of part B, embed pictures and concepts, mine the best 15 of each picture" \
        "$vicha" concepts -w "$out/b" --clip "$out/clip/model" --min-count $min_count
    stage measure "compare the mined concepts with the truth" measure
    stage index-b "pack part B as records with concepts" \
        "$vicha" index -w "$out/b" --vocab "$out/scenes-b/vocab.txt"
    stage pretrain "a short pretraining on part B: image tower with concepts, text encoder, contrastive loss" \
        "$vicha" train "$here/recipes/vicha.json" -w "$out/b" --out "$out/pretrain" $pretrain_sets
}

show_query() {
    printf '\n== vicha query -w %s --clip %s -n 5 "%s"\n' "$out/b" "$out/clip/model" "$1"
    "$vicha" query -w "$out/b" --clip "$out/clip/model" -n 5 "$1" || exit 1
}

report() {
    show_query "a red star"
    printf '\n== vicha query -w %s --concept tree --concept house -n 5\n' "$out/b"
    # the tiny part B may hold no tree
    "$vicha" query -w "$out/b" --concept tree --concept house -n 5 || [ "$scale" = tiny ] || exit 1
    printf '\n== concepts mined for part B, against the truth (%s)\n' "$out/measure.txt"
    cat "$out/measure.txt"
    printf '\n== retrieval among held-out pairs, recall at 1 / 5 / 10 in per cent\n'
    for run in clip pretrain; do
        m=$out/$run/metrics.jsonl
        printf '  %-9s %4s pairs   image to text %5.1f %5.1f %5.1f   text to image %5.1f %5.1f %5.1f   chance %.1f %.1f %.1f\n' \
            $run "$(field eval_count "$m")" "$(field i2t_r1 "$m")" "$(field i2t_r5 "$m")" "$(field i2t_r10 "$m")" \
            "$(field t2i_r1 "$m")" "$(field t2i_r5 "$m")" "$(field t2i_r10 "$m")" \
            "$(field chance_r1 "$m")" "$(field chance_r5 "$m")" "$(field chance_r10 "$m")"
    done
    printf '\n== seconds\n'
    total=0
    for name in draw-a draw-b extract-a index-a clip extract-b concepts-b measure index-b pretrain; do
        seconds=$(cat "$out/done/$name") && total=$((total + seconds))
        printf '  %-11s %5d\n' $name "$seconds"
    done
    printf '  %-11s %5d   training %.0f images/s (CLIP), %.0f images/s (pretraining)\n' total $total \
        "$(field images_per_s "$out/clip/metrics.jsonl")" "$(field images_per_s "$out/pretrain/metrics.jsonl")"
    cat <<EOF

== made
  $out/b/vicha.db                 pictures, captions, concepts, scores: any SQLite tool reads it
  $out/b/records/                 training records (MDS): index.json and shards
  $out/b/images/                  the pictures, as WebDataset tars
  $out/clip/model/                the small CLIP in Hugging Face's layout, for --clip
  $out/clip/loss.svg              curves of its training
  $out/pretrain/loss.svg          curves of the short pretraining
  $out/scenes-b/truth.jsonl       what is in every picture
Try:  $vicha concepts list -w $out/b
      $vicha query -w $out/b --clip $out/clip/model "two blue cups"
EOF
}

run_all
report
[ $at_least = 0 ] || "$scenes" measure "$out/b" "$out/scenes-b/truth.jsonl" --at-least $at_least >/dev/null || {
    echo "demo: R-precision is below $at_least; $out/measure.txt says where it is lost" >&2
    exit 1
}
