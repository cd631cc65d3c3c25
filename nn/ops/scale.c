// SPDX-License-Identifier: MIT
// Multiplication by a constant or by a function of a trained scalar. docs/BACKWARD.md, 9.
#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

typedef struct {
    const NnKernels *kernels;
    const nn_real *x, *dy;
    nn_real *y, *dx, c;
    double *partial;
} ScaleJob;

static void forward_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ScaleJob *job = arg;
    for (size_t i = begin; i < end; i++)
        job->y[i] = job->c * job->x[i];
}

void nn_scale_forward(const NnContext *ctx, nn_real *y, const nn_real *x, nn_real c, size_t n)
{
    ScaleJob job = {.x = x, .y = y, .c = c};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, forward_chunk, &job);
}

static void backward_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ScaleJob *job = arg;
    job->kernels->axpy(job->dx + begin, job->c, job->dy + begin, end - begin);
}

void nn_scale_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, nn_real c, size_t n)
{
    if (!dx)
        return;
    ScaleJob job = {.kernels = ctx->kernels, .dy = dy, .dx = dx, .c = c};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, backward_chunk, &job);
}

nn_real nn_scale_factor(NnScaleKind kind, nn_real s)
{
    switch (kind) {
    case NN_SCALE_BY:
        return s;
    case NN_SCALE_EXP:
        return nn_exp(s);
    case NN_SCALE_INVERSE:
        return 1 / s;
    }
    vc_assert_failed("kind is an NnScaleKind", __FILE__, __LINE__);
}

static void product_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ScaleJob *job = arg;
    double sum = 0;
    for (size_t i = begin; i < end; i++)
        sum += (double)job->dy[i] * (double)job->x[i];
    job->partial[begin / NN_CHUNK] = sum;
}

void nn_scale_backward_scalar(const NnContext *ctx, nn_real *ds, const nn_real *dy, const nn_real *x, NnScaleKind kind,
                              nn_real s, size_t n)
{
    if (!ds)
        return;
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t chunks = nn_chunk_count(n, NN_CHUNK);
    ScaleJob job = {.x = x, .dy = dy, .partial = vc_arena_alloc(ctx->scratch, chunks, sizeof(double))};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, product_chunk, &job);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++)
        sum += job.partial[i];
    const double f = (double)nn_scale_factor(kind, s);
    const double slope = kind == NN_SCALE_BY ? 1 : kind == NN_SCALE_EXP ? f : -f * f;
    *ds += (nn_real)(slope * sum);
    vc_arena_release(ctx->scratch, mark);
}
