// SPDX-License-Identifier: MIT
// What every op is given: threads, work memory, kernels. Ops read no globals and never allocate.
//
// Threads: one context is used by one calling thread at a time; inside, an op spreads its work over the pool in chunks
// whose size depends on the shapes alone, so results are the same bits for any number of threads.
#pragma once

#include "base/mem.h"
#include "base/pool.h"
#include "nn/real.h"

#include <stddef.h>
#include <stdint.h>

struct NnKernels; // nn/kernels/kernels.h

// What matrix products take their factors in: float, or bfloat16 rounded from float as they are packed. Sums are float,
// and so is all else, either way.
typedef enum { NN_PRECISION_FP32, NN_PRECISION_BF16 } NnPrecision;

typedef struct {
    VcPool *pool;                    // NULL: one thread
    VcArena *scratch;                // work memory of one op: marked at its begin, released at its end
    const struct NnKernels *kernels; // never NULL: the vector kernels of this processor, or the C reference
    NnPrecision precision;           // of linear layers; NN_PRECISION_FP32 after nn_context_init. Nothing in double
} NnContext;

// pool is borrowed and may be NULL; kernels are chosen for vc_cpu_flags(); scratch is made here.
void nn_context_init(NnContext *ctx, VcPool *pool);
void nn_context_finish(NnContext *ctx);
