#!/bin/sh
# SPDX-License-Identifier: MIT
# three-workers.sh WORKSPACE LIST [OPTIONS OF EXTRACT...]: three processes download parts of one list, then their
# workspaces are joined. Here they share a machine; on three, run line A on each with its own I and let line B see the
# three folders. Under `mpirun -n 3`, `srun -n 3` or in `sbatch --array=0-2`, the same is
# `vicha extract -w WORKSPACE LIST`: a process that is told its rank takes its part, in WORKSPACE/part-I-of-3.
set -u
ws=$1
shift

pids=
for i in 0 1 2; do
    vicha extract -w "$ws/part-0000$i-of-00003" --shard $i/3 "$@" & # A
    pids="$pids $!"
done
for pid in $pids; do
    wait "$pid"
    status=$?
    # 3: done, and some inputs were rejected. Anything else: run the same line again, it goes on where it stopped.
    [ $status = 0 ] || [ $status = 3 ] || exit $status
done

vicha merge -w "$ws" "$ws"/part-* # B
