// SPDX-License-Identifier: MIT
// RUN/environment.jsonl: a line for each time the run was started or went on, with what its numbers and speed may
// depend on besides recipe and records. Threads: any.
#pragma once

#include "base/err.h"
#include "train/parallel.h"

#include <stdint.h>

typedef struct {
    uint64_t step;              // that the run begins at
    const char *records;        // fingerprint of the records
    uint64_t recipe;            // fingerprint of the recipe
    const TrainParallel *world; // NULL: one process
    size_t threads;             // that compute, of each process
} TrainEnvironment;

// Appends {"started", "step", "version", "commit", "compiler", "host", "system", "processor", "processors", "threads",
// "processes", "kernels", "blas", "records", "recipe", "libraries"}.
bool train_environment_note(const char *run, const TrainEnvironment *environment, VcErr *err);
// The same as one JSON object.
void train_environment_put(VcStr *out, const TrainEnvironment *environment);

// RUN/parameters.tsv: name, shape, numbers, and the optimizer's group of every parameter: "decay", "no decay" or
// "frozen".
bool train_groups_write(const char *run, const NnParams *params, VcErr *err);

const char *train_commit(void); // of the source this was built from, with "-dirty" where it was changed; "unknown"
