// SPDX-License-Identifier: MIT
// Joining sequences along their tokens.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    const NnKernels *kernels;
    const nn_real *x, *dy;
    nn_real *y, *dx;
    bool one_for_all;
    size_t B, part, at, whole; // reals of a sample of x, where it begins in a sample of y, reals of a sample of y
} ConcatJob;

static void forward_samples(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ConcatJob *job = arg;
    for (size_t b = begin; b < end; b++) {
        memcpy(job->y + b * job->whole + job->at, job->x + (job->one_for_all ? 0 : b * job->part),
               job->part * sizeof *job->y);
    }
}

void nn_concat_forward(const NnContext *ctx, nn_real *y, const nn_real *x, bool one_for_all, size_t B, size_t T,
                       size_t at, size_t Ty, size_t C)
{
    ConcatJob job = {.x = x, .y = y, .one_for_all = one_for_all, .part = T * C, .at = at * C, .whole = Ty * C};
    vc_parallel_for(ctx->pool, B, nn_chunk_rows(T * C), forward_samples, &job);
}

static void backward_samples(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ConcatJob *job = arg;
    for (size_t b = begin; b < end; b++)
        job->kernels->add(job->dx + b * job->part, job->dy + b * job->whole + job->at, job->part);
}

static void backward_shared(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ConcatJob *job = arg;
    for (size_t b = 0; b < job->B; b++)
        job->kernels->add(job->dx + begin, job->dy + b * job->whole + job->at + begin, end - begin);
}

void nn_concat_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, bool one_for_all, size_t B, size_t T,
                        size_t at, size_t Ty, size_t C)
{
    if (!dx)
        return;
    ConcatJob job = {.kernels = ctx->kernels, .dy = dy, .dx = dx, .B = B, .part = T * C, .at = at * C, .whole = Ty * C};
    if (one_for_all) {
        vc_parallel_for(ctx->pool, T * C, 2048, backward_shared, &job);
    } else {
        vc_parallel_for(ctx->pool, B, nn_chunk_rows(T * C), backward_samples, &job);
    }
}
