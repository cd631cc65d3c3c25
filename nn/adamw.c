// SPDX-License-Identifier: MIT
#include "nn/adamw.h"

#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"

#include <math.h>

NnAdamw nn_adamw_default(void)
{
    return (NnAdamw){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.02};
}

typedef struct {
    const NnKernels *kernels;
    NnParams *params;
    NnAdamwStep plain, decayed;
} AdamwJob;

// First parameter that ends after `at`.
static size_t find_param(const NnParams *params, size_t at)
{
    size_t lo = 0, hi = params->count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (params->items[mid].offset + params->items[mid].size <= at) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void update_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const AdamwJob *job = arg;
    NnParams *params = job->params;
    for (size_t i = find_param(params, begin); i < params->count && params->items[i].offset < end; i++) {
        const NnParamInfo *p = &params->items[i];
        const size_t from = p->offset > begin ? p->offset : begin;
        const size_t to = p->offset + p->size < end ? p->offset + p->size : end;
        if (!(p->flags & NN_PARAM_FROZEN)) {
            job->kernels->adamw(params->value + from, params->m + from, params->v + from, params->grad + from,
                                to - from, p->flags & NN_PARAM_DECAY ? &job->decayed : &job->plain);
        }
    }
}

void nn_adamw_step(const NnContext *ctx, NnParams *params, const NnAdamw *adamw, double lr, uint64_t t,
                   double grad_scale)
{
    VC_ASSERT(params->m && params->v && params->grad && t > 0);
    const double c1 = 1 - pow(adamw->beta1, (double)t), c2 = 1 - pow(adamw->beta2, (double)t);
    AdamwJob job = {.kernels = ctx->kernels, .params = params};
    job.plain = (NnAdamwStep){.keep = 1,
                              .step = (nn_real)(lr / c1),
                              .beta1 = (nn_real)adamw->beta1,
                              .beta2 = (nn_real)adamw->beta2,
                              .rest1 = (nn_real)(1 - adamw->beta1),
                              .rest2 = (nn_real)(1 - adamw->beta2),
                              .inv_sqrt_c2 = (nn_real)(1 / sqrt(c2)),
                              .eps = (nn_real)adamw->eps,
                              .grad_scale = (nn_real)grad_scale};
    job.decayed = job.plain;
    job.decayed.keep = (nn_real)(1 - lr * adamw->weight_decay);
    vc_parallel_for(ctx->pool, params->size, NN_CHUNK, update_chunk, &job);
}

typedef struct {
    const nn_real *grad;
    double *partial;
} NormJob;

static void squares_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const NormJob *job = arg;
    enum { LANES = 8 }; // sums side by side: none waits for the one before
    double sums[LANES] = {0}, sum = 0;
    size_t i = begin;
    for (; i + LANES <= end; i += LANES) {
        for (size_t j = 0; j < LANES; j++)
            sums[j] += (double)job->grad[i + j] * (double)job->grad[i + j];
    }
    for (; i < end; i++)
        sum += (double)job->grad[i] * (double)job->grad[i];
    for (size_t j = 0; j < LANES; j++)
        sum += sums[j];
    job->partial[begin / NN_CHUNK] = sum;
}

double nn_grad_norm(const NnContext *ctx, const NnParams *params)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t chunks = nn_chunk_count(params->size, NN_CHUNK);
    NormJob job = {params->grad, vc_arena_alloc(ctx->scratch, chunks, sizeof(double))};
    vc_parallel_for(ctx->pool, params->size, NN_CHUNK, squares_chunk, &job);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++)
        sum += job.partial[i];
    vc_arena_release(ctx->scratch, mark);
    return sqrt(sum);
}

double nn_clip_scale(double norm, double max_norm)
{
    if (!(max_norm > 0) || norm <= max_norm - 1e-6)
        return 1;
    return max_norm / (norm + 1e-6);
}

typedef struct {
    nn_real *m;
    const nn_real *p;
    nn_real keep, take;
} EmaJob;

static void ema_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const EmaJob *job = arg;
    for (size_t i = begin; i < end; i++)
        job->m[i] = job->keep * job->m[i] + job->take * job->p[i];
}

void nn_ema(const NnContext *ctx, nn_real *m, const nn_real *p, double keep, size_t n)
{
    EmaJob job = {m, p, (nn_real)keep, (nn_real)(1 - keep)};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, ema_chunk, &job);
}
