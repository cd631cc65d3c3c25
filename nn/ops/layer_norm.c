// SPDX-License-Identifier: MIT
// docs/BACKWARD.md, 2.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    const NnKernels *kernels;
    const nn_real *x, *g, *b, *dy, *saved_mean, *saved_rstd;
    nn_real *y, *mean, *rstd, *dx, *partial; // partial[chunks, 2, C]: gradients of g and b
    double eps;
    size_t C;
} NormJob;

static void forward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const NormJob *job = arg;
    const size_t at = begin * job->C;
    job->kernels->layernorm(job->y + at, job->mean + begin, job->rstd + begin, job->x + at, job->g, job->b, end - begin,
                            job->C, (nn_real)job->eps);
}

void nn_layer_norm_forward(const NnContext *ctx, nn_real *y, nn_real *mean, nn_real *rstd, const nn_real *x,
                           const nn_real *g, const nn_real *b, double eps, size_t R, size_t C)
{
    NormJob job = {
        .kernels = ctx->kernels, .x = x, .g = g, .b = b, .y = y, .mean = mean, .rstd = rstd, .eps = eps, .C = C};
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), forward_rows, &job);
}

static void backward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const NormJob *job = arg;
    const size_t at = begin * job->C;
    nn_real *dg = NULL, *db = NULL;
    if (job->partial) {
        dg = job->partial + begin / NN_SUM_CHUNK_ROWS * 2 * job->C;
        db = dg + job->C;
        memset(dg, 0, 2 * job->C * sizeof *dg);
    }
    job->kernels->layernorm_backward(job->dx ? job->dx + at : NULL, dg, db, job->dy + at, job->x + at,
                                     job->saved_mean + begin, job->saved_rstd + begin, job->g, end - begin, job->C);
}

void nn_layer_norm_backward(const NnContext *ctx, nn_real *dx, nn_real *dg, nn_real *db, const nn_real *dy,
                            const nn_real *x, const nn_real *mean, const nn_real *rstd, const nn_real *g, size_t R,
                            size_t C)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t chunks = nn_chunk_count(R, NN_SUM_CHUNK_ROWS);
    NormJob job = {
        .kernels = ctx->kernels, .x = x, .g = g, .dy = dy, .saved_mean = mean, .saved_rstd = rstd, .dx = dx, .C = C};
    if (dg || db)
        job.partial = vc_arena_alloc(ctx->scratch, chunks * 2 * C, sizeof(nn_real));
    vc_parallel_for(ctx->pool, R, NN_SUM_CHUNK_ROWS, backward_rows, &job);
    for (size_t i = 0; i < chunks && job.partial; i++) {
        if (dg)
            ctx->kernels->add(dg, job.partial + 2 * i * C, C);
        if (db)
            ctx->kernels->add(db, job.partial + (2 * i + 1) * C, C);
    }
    vc_arena_release(ctx->scratch, mark);
}
