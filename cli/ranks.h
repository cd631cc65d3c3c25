// SPDX-License-Identifier: MIT
// Which of several processes is this? What MPI launchers and Slurm say in the environment.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t index, count; // index < count; 0 of 1: alone
    const char *source;    // "Open MPI", "Slurm array", ...; NULL when nothing was found
    bool together;         // its launcher ends all processes when one ends with a status other than 0
} CliRank;

// Ranks of an MPI launcher (Open MPI, MPICH and Intel MPI, MVAPICH2) or a Slurm step, times the tasks of a Slurm array
// when there is one: element A of the array with rank R of N is A * N + R. Slurm's numbers count only where Slurm
// started one process a task (SLURM_STEP_NUM_TASKS): in a batch script SLURM_PROCID is 0 for everyone. A number that is
// none, or a rank that is not below its count, is an error: going on would leave out or repeat a part.
bool cli_rank(CliRank *out, VcErr *err);
