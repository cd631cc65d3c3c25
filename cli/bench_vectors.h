// SPDX-License-Identifier: MIT
// What the benches of mining and of vector search share: made vectors, times of calls. Threads: the main thread.
#pragma once

#include "base/pool.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    BENCH_LOOSE,     // every direction alike
    BENCH_CONE,      // round one direction, cosines near 0.5, as CLIP's texts are
    BENCH_CLUSTERED, // in 1,000 groups inside such a cone, cosines in a group near 0.8
} BenchVectors;

// x[n, dim]: vectors [first, first + n) of a set: length 1, the same for a seed whatever is made at once.
void bench_vectors(float *x, uint64_t first, size_t n, size_t dim, BenchVectors kind, uint64_t seed, VcPool *pool);

typedef struct {
    double *seconds, total;
    size_t count, cap;
} BenchTimes;

bool bench_again(const BenchTimes *t, double seconds); // at least 3 calls, then until `seconds` are over
void bench_took(BenchTimes *t, double seconds);
double bench_median(BenchTimes *t); // sorts; 0 for none
void bench_times_finish(BenchTimes *t);
