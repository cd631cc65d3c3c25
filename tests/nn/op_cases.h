// SPDX-License-Identifier: MIT
// Every op of the tape as a case: the shapes of its inputs and a function that builds it. The gradient test, the
// float-against-double test and the thread test walk the same table, so a new op is tested by one new row.
#pragma once

#include "nn/nn.h"

enum { OP_MAX_LEAVES = 6 };

typedef struct {
    const char *name;
    NnVar *(*build)(NnTape *t, NnVar *const *x);
    size_t leaves;
    NnShape small[OP_MAX_LEAVES]; // for finite differences
    NnShape large[OP_MAX_LEAVES]; // several chunks of work, sizes that are no multiples of a vector
    double step, bound;           // of central differences; error relative to the largest gradient of the leaf
    double agree;                 // float against double, relative to the largest value of the tensor
    double scale, offset;         // leaf values are offset + scale N(0,1)
} OpCase;

extern const OpCase op_cases[];
extern const size_t op_case_count;

// One run of a case: leaves drawn from `seed` (the same numbers in float and in double), forward, backward from
// dy ~ N(0,1). out[0] is y, out[1 + i] the gradient of leaf i, each malloc'd; sizes are written beside.
typedef struct {
    size_t count;
    size_t size[1 + OP_MAX_LEAVES];
    double *values[1 + OP_MAX_LEAVES];
} OpRun;
void op_case_run(OpRun *run, const OpCase *c, bool large, VcPool *pool, uint64_t seed);
void op_run_finish(OpRun *run);
