#!/bin/sh
# Workspaces join: parts of one list made by processes that MPI or Slurm started (docs/examples/three-workers.sh), other
# sources, again and again, after a kill. No pixel is copied, no number is left out, nothing is there twice.
. "${0%/*}/lib.sh"
"$MAKE_IMAGES" "$tmp/photos" 60 60 || exit 1
echo 'not an image' >"$tmp/photos/00007.jpg"
sort_dump() { # without the numbers that --shard leaves alone anyway
    dump "$1" "$2"
}
images_in_tars() {
    cat "$1"/images/*.tar | tar tif - | grep -c 'jpg$'
}

# The documented example: three workers, one machine, one merge.
(cd "$tmp" && PATH="$(dirname "$VICHA"):$PATH" sh "$VICHA_SOURCE/docs/examples/three-workers.sh" ws "$tmp/photos/captions.jsonl" --shard-images 8) \
    >"$tmp/out" 2>&1 || fail "the example ended with $?: $(cat "$tmp/out")"
"$VICHA" extract -q -w "$tmp/one" "$tmp/photos/captions.jsonl" --shard-images 8 2>/dev/null
check "exit status of one worker" $? 3
dump "$tmp/ws" "$tmp/ws.txt"
dump "$tmp/one" "$tmp/one.txt"
cmp -s "$tmp/ws.txt" "$tmp/one.txt" || fail "three workers and one differ: $(diff "$tmp/ws.txt" "$tmp/one.txt" | head -n 4)"
check "images in the shards" "$(images_in_tars "$tmp/ws")" 59
check "names of the shards" "$(cd "$tmp/ws/images" && echo *)" "00000.tar 00001.tar 00002.tar 00003.tar 00004.tar 00005.tar 00006.tar 00007.tar 00008.tar"
check "links of a shard" "$(stat -c %h "$tmp/ws/images/00004.tar")" 2
check "three parts" "$(cd "$tmp/ws" && echo part-*)" "part-00000-of-00003 part-00001-of-00003 part-00002-of-00003"

# Again: nothing. The list itself: nothing to do either. The parts can go.
expect 0 "$VICHA" merge --json -w "$tmp/ws" "$tmp/ws"/part-*
check "merged again: shards" "$(field shards_linked)" 0
check "merged again: images" "$(field images_added)" 0
check "merged again: captions" "$(field captions_added)" 0
rm -r "$tmp/ws"/part-*
expect 3 "$VICHA" extract --json -w "$tmp/ws" "$tmp/photos/captions.jsonl"
check "extract after merge" "$(field stored_now)" 0
expect 0 "$VICHA" query --json -w "$tmp/ws" --caption "picture" -n 3
[ -n "$out" ] || fail "captions of a merged workspace are not found"

# Parts that are merged before all are there: what is missing is said, and comes later.
for part in 0 1 2; do
    "$VICHA" extract -q -w "$tmp/p$part" "$tmp/photos/captions.jsonl" --shard $part/3 2>/dev/null
done
expect 0 "$VICHA" merge --json -w "$tmp/late" "$tmp/p2"
check "one part: stored, one is broken" "$(field stored)" 19
check "one part: waiting" "$(field waiting)" 40
expect 0 "$VICHA" merge --json -w "$tmp/late" "$tmp/p0" "$tmp/p1" "$tmp/p2" --link copy
check "the others: stored" "$(field stored)" 59
check "the others: rejected" "$(field rejected)" 1
check "the others: waiting" "$(field waiting)" 0
dump "$tmp/late" "$tmp/late.txt"
cmp -s "$tmp/late.txt" "$tmp/one.txt" || fail "parts in another order differ: $(diff "$tmp/late.txt" "$tmp/one.txt" | head -n 4)"

# Other sources, the same names in them, columns, and numbers that are taken.
mkdir "$tmp/other"
cp "$tmp/photos/00003.jpg" "$tmp/photos/00004.jpg" "$tmp/other/"
printf 'image\tcaption\tscore\n00003.jpg\tanother\t0.5\n00004.jpg\tone\t0.25\n' >"$tmp/other/captions.tsv"
"$VICHA" extract -q -w "$tmp/b" "$tmp/other/captions.tsv"
expect 0 "$VICHA" merge --json -w "$tmp/both" "$tmp/one" "$tmp/b" --link soft
check "two sources: stored" "$(field stored)" 61
dump "$tmp/both" "$tmp/both.txt"
check "two sources: rows" "$(wc -l <"$tmp/both.txt")" 62
check "two sources: a caption of the second" "$(grep -c '	another$' "$tmp/both.txt")" 1
check "two sources: columns" "$("$DUMP_STORE" --columns "$tmp/both" | cut -f2 | tr '\n' ' ')" '{"score": 0.5} {"score": 0.25} '
[ -L "$tmp/both/images/00000.tar" ] || fail "--link soft makes no symbolic link"

# Killed before each call that changes a file: the next merge ends the same.
if [ -z "${SANITIZED:-}" ]; then
    CRASH_COUNT=$tmp/count LD_PRELOAD=$CRASH_SHIM "$VICHA" merge -q -w "$tmp/calm" "$tmp/p0" "$tmp/p1" "$tmp/b"
    dump "$tmp/calm" "$tmp/calm.txt"
    calls=$(cat "$tmp/count")
    at=1
    while [ $at -le "$calls" ]; do
        rm -rf "$tmp/hurt"
        CRASH_AT=$at LD_PRELOAD=$CRASH_SHIM "$VICHA" merge -q -w "$tmp/hurt" "$tmp/p0" "$tmp/p1" "$tmp/b" 2>/dev/null
        expect 0 "$VICHA" merge -q -w "$tmp/hurt" "$tmp/p0" "$tmp/p1" "$tmp/b"
        dump "$tmp/hurt" "$tmp/hurt.txt"
        cmp -s "$tmp/calm.txt" "$tmp/hurt.txt" || fail "killed at call $at of $calls: the result differs"
        at=$((at + 7))
        [ $failures -lt 5 ] || break
    done
fi

# Ranks and arrays, and numbers that make no sense.
ranks() { # ranks WANTED VARIABLES...
    want=$1
    shift
    rm -rf "$tmp/rank"
    out=$(env "$@" "$VICHA" extract -w "$tmp/rank" "$tmp/photos/captions.jsonl" 2>&1)
    check "folder for $*" "$(cd "$tmp/rank" && echo part-*)" "$want"
}
ranks part-00001-of-00004 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4
ranks part-00002-of-00003 PMI_RANK=2 PMI_SIZE=3
ranks part-00000-of-00002 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2
ranks 'part-*' SLURM_PROCID=0 SLURM_NTASKS=2
ranks part-00003-of-00005 SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=9 SLURM_ARRAY_TASK_STEP=2
ranks part-00005-of-00006 SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2
expect 2 env OMPI_COMM_WORLD_RANK=4 OMPI_COMM_WORLD_SIZE=4 "$VICHA" extract -w "$tmp/wrong" "$tmp/photos"
expect 2 env SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1 "$VICHA" extract -w "$tmp/wrong" "$tmp/photos"
rm -rf "$tmp/rank"
# mpirun ends all ranks when one ends with a status, so a rejected image must not be one; a Slurm step does not.
for rank in 0 1; do
    expect 0 env OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_SIZE=2 "$VICHA" extract --json -w "$tmp/rank" "$tmp/photos/captions.jsonl"
    [ "$(field rejected)" = 0 ] || rejecting=$rank
done
rm -rf "$tmp/rank"
expect 3 env SLURM_PROCID="${rejecting:-none}" SLURM_STEP_NUM_TASKS=2 "$VICHA" extract -q -w "$tmp/rank" "$tmp/photos/captions.jsonl"
rm -rf "$tmp/rank"
expect 3 env OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 "$VICHA" extract --json -w "$tmp/rank" "$tmp/photos/captions.jsonl" --shard 0/1
check "--shard 0/1 among ranks" "$(field stored)" 59
if command -v mpirun >/dev/null && mpirun --allow-run-as-root --oversubscribe -n 2 true >/dev/null 2>&1; then
    expect 0 mpirun --allow-run-as-root --oversubscribe -n 3 "$VICHA" extract -q -w "$tmp/mpi" "$tmp/photos/captions.jsonl"
    expect 0 "$VICHA" merge --json -w "$tmp/mpi" "$tmp/mpi"/part-*
    check "three ranks of mpirun" "$(field stored) $(field rejected)" "59 1"
fi

# Errors that a user meets.
expect 2 "$VICHA" merge -w "$tmp/ws"
expect 2 "$VICHA" merge -w "$tmp/ws" "$tmp/photos"
expect 2 "$VICHA" merge -w "$tmp/ws" "$tmp/ws"
expect 2 "$VICHA" merge -w "$tmp/ws" "$tmp/one" --link paper
done_testing
