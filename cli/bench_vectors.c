// SPDX-License-Identifier: MIT
#include "cli/bench_vectors.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    float *x;
    uint64_t first, seed;
    size_t dim;
    BenchVectors kind;
} Make;

// Nearly normal, variance 1: four numbers of 16 bits added up. Fast enough for 10^9 of them.
static void noise(float *x, size_t n, uint64_t seed, float size)
{
    VcRng rng;
    vc_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        const uint64_t u = vc_rng_u64(&rng);
        const uint32_t sum =
            (uint32_t)(u & 0xffff) + (uint32_t)(u >> 16 & 0xffff) + (uint32_t)(u >> 32 & 0xffff) + (uint32_t)(u >> 48);
        x[i] += ((float)sum / 65536.0F - 2) * 1.7320508F * size;
    }
}

static void make_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    enum { GROUPS = 1000 };
    const Make *m = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        float *x = m->x + i * m->dim;
        const uint64_t number = m->first + i;
        for (size_t k = 0; k < m->dim; k++)
            x[k] = 0;
        noise(x, m->dim, vc_mix_seed(m->seed, number), m->kind == BENCH_CLUSTERED ? 0.5F : 1);
        if (m->kind == BENCH_CLUSTERED)
            noise(x, m->dim, vc_mix_seed(77, number * 2654435761U % GROUPS), 0.9F);
        if (m->kind != BENCH_LOOSE)
            noise(x, m->dim, 99, 1);
        double sum = 0;
        for (size_t k = 0; k < m->dim; k++)
            sum += (double)x[k] * x[k];
        const float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 1;
        for (size_t k = 0; k < m->dim; k++)
            x[k] *= scale;
    }
}

void bench_vectors(float *x, uint64_t first, size_t n, size_t dim, BenchVectors kind, uint64_t seed, VcPool *pool)
{
    Make m = {x, first, seed, dim, kind};
    vc_parallel_for(pool, n, 64, make_chunk, &m);
}

bool bench_again(const BenchTimes *t, double seconds)
{
    return (t->count < 3 || t->total < seconds) && !vc_interrupted();
}

void bench_took(BenchTimes *t, double seconds)
{
    t->seconds = vc_grow(t->seconds, &t->cap, t->count + 1, sizeof *t->seconds);
    t->seconds[t->count++] = seconds;
    t->total += seconds;
}

static int by_value(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

double bench_median(BenchTimes *t)
{
    if (t->count == 0)
        return 0;
    qsort(t->seconds, t->count, sizeof *t->seconds, by_value);
    return t->seconds[t->count / 2];
}

void bench_times_finish(BenchTimes *t)
{
    free(t->seconds);
    *t = (BenchTimes){0};
}
