// SPDX-License-Identifier: MIT
// How ops cut their work for the pool. Private to nn/ops. The sizes depend on shapes alone: never on the threads.
#pragma once

#include <stddef.h>

enum {
    NN_CHUNK = 16384,      // numbers of an element-wise op that one task takes
    NN_SUM_CHUNK_ROWS = 64 // rows whose sum is one partial result
};

// Rows of C numbers for one task.
static inline size_t nn_chunk_rows(size_t C)
{
    return C >= NN_CHUNK ? 1 : NN_CHUNK / (C ? C : 1);
}

static inline size_t nn_chunk_count(size_t n, size_t chunk)
{
    return (n + chunk - 1) / chunk;
}
