// SPDX-License-Identifier: MIT
// Dropout (Srivastava et al., 2014), scaled at training time.
#include "base/err.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

typedef struct {
    const nn_real *x, *dy;
    const uint8_t *saved_mask;
    nn_real *y, *dx, scale;
    uint8_t *mask;
    uint64_t seed;
    uint32_t drop_below; // of 2^32
} DropoutJob;

// Each chunk has a stream of its own, made from one number of the caller's stream: no thread waits for another, and
// the caller's stream does not depend on n.
static void forward_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const DropoutJob *job = arg;
    VcRng rng;
    vc_rng_seed(&rng, vc_mix_seed(job->seed, begin / NN_CHUNK));
    for (size_t i = begin; i < end; i += 2) {
        const uint64_t bits = vc_rng_u64(&rng);
        job->mask[i] = (uint32_t)bits >= job->drop_below;
        if (i + 1 < end)
            job->mask[i + 1] = (uint32_t)(bits >> 32) >= job->drop_below;
    }
    for (size_t i = begin; i < end; i++)
        job->y[i] = job->mask[i] ? job->x[i] * job->scale : 0;
}

void nn_dropout_forward(const NnContext *ctx, nn_real *y, uint8_t *mask, const nn_real *x, double p, VcRng *rng,
                        size_t n)
{
    VC_ASSERT(p >= 0 && p < 1);
    DropoutJob job = {.x = x, .y = y, .mask = mask, .scale = (nn_real)(1 / (1 - p))};
    job.seed = vc_rng_u64(rng);
    job.drop_below = (uint32_t)(p * 4294967296.0);
    vc_parallel_for(ctx->pool, n, NN_CHUNK, forward_chunk, &job);
}

static void backward_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const DropoutJob *job = arg;
    for (size_t i = begin; i < end; i++)
        job->dx[i] += job->saved_mask[i] ? job->dy[i] * job->scale : 0;
}

void nn_dropout_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const uint8_t *mask, double p, size_t n)
{
    if (!dx)
        return;
    DropoutJob job = {.dy = dy, .saved_mask = mask, .dx = dx, .scale = (nn_real)(1 / (1 - p))};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, backward_chunk, &job);
}

static void again_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const DropoutJob *job = arg;
    for (size_t i = begin; i < end; i++)
        job->dx[i] = job->saved_mask[i] ? job->dx[i] * job->scale : 0;
}

void nn_dropout_again(const NnContext *ctx, nn_real *d, const uint8_t *mask, double p, size_t n)
{
    DropoutJob job = {.saved_mask = mask, .dx = d, .scale = (nn_real)(1 / (1 - p))};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, again_chunk, &job);
}

void nn_dropout_factors(nn_real *factors, double p, uint64_t seed, size_t n)
{
    const nn_real kept[2] = {0, (nn_real)(1 / (1 - p))};
    const uint32_t drop_below = (uint32_t)(p * 4294967296.0);
    VcRng rng;
    vc_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i += 2) {
        const uint64_t bits = vc_rng_u64(&rng);
        factors[i] = kept[(uint32_t)bits >= drop_below];
        if (i + 1 < n)
            factors[i + 1] = kept[(uint32_t)(bits >> 32) >= drop_below];
    }
}
