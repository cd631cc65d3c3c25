// SPDX-License-Identifier: MIT
// docs/BACKWARD.md, 4.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

typedef struct {
    const NnKernels *kernels;
    const nn_real *x, *dy, *saved_y;
    nn_real *y, *dx;
    size_t C;
} SoftmaxJob;

static void forward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const SoftmaxJob *job = arg;
    job->kernels->softmax(job->y + begin * job->C, job->x + begin * job->C, end - begin, job->C);
}

static void backward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const SoftmaxJob *job = arg;
    const size_t at = begin * job->C;
    job->kernels->softmax_backward(job->dx + at, job->dy + at, job->saved_y + at, end - begin, job->C);
}

void nn_softmax_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t R, size_t C)
{
    SoftmaxJob job = {.kernels = ctx->kernels, .x = x, .y = y, .C = C};
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), forward_rows, &job);
}

void nn_softmax_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *y, size_t R, size_t C)
{
    if (!dx)
        return;
    SoftmaxJob job = {.kernels = ctx->kernels, .dy = dy, .saved_y = y, .dx = dx, .C = C};
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), backward_rows, &job);
}
