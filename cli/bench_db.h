// SPDX-License-Identifier: MIT
// A made-up workspace for `vicha bench db`: images, captions, mined concepts, without pictures and vectors.
// Threads: the main thread only.
#pragma once

#include "base/workspace.h"

enum { BENCH_EVERYWHERE = 2, BENCH_PER_IMAGE = 15 }; // concepts that every image has; concepts of an image

typedef struct {
    int64_t images, concepts;
    double load_s;   // image_concept: inserts, commits, checkpoints
    double tables_s; // image, caption, concept
    double index_s, text_s, lists_s, pairs_s;
} BenchDbTimes;

// Fills the workspace, which is new. The same numbers give the same rows everywhere.
bool bench_db_make(VcWorkspace *ws, int64_t images, int64_t concepts, BenchDbTimes *times, VcErr *err);
