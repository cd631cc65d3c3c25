// SPDX-License-Identifier: MIT
// GELU (Hendrycks & Gimpel, 2016) with the exact erf, and the sigmoid form of OpenAI's CLIP. docs/BACKWARD.md, 3.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

typedef struct {
    void (*forward)(nn_real *y, const nn_real *x, size_t n);
    void (*backward)(nn_real *dx, const nn_real *dy, const nn_real *x, size_t n);
    const nn_real *x, *dy;
    nn_real *out; // y or dx
} GeluJob;

static void forward_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const GeluJob *job = arg;
    job->forward(job->out + begin, job->x + begin, end - begin);
}

static void backward_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const GeluJob *job = arg;
    job->backward(job->out + begin, job->dy + begin, job->x + begin, end - begin);
}

void nn_gelu_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t n)
{
    GeluJob job = {.forward = ctx->kernels->gelu, .x = x, .out = y};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, forward_chunk, &job);
}

void nn_gelu_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *x, size_t n)
{
    if (!dx)
        return;
    GeluJob job = {.backward = ctx->kernels->gelu_backward, .x = x, .dy = dy, .out = dx};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, backward_chunk, &job);
}

void nn_quick_gelu_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t n)
{
    GeluJob job = {.forward = ctx->kernels->quick_gelu, .x = x, .out = y};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, forward_chunk, &job);
}

void nn_quick_gelu_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *x, size_t n)
{
    if (!dx)
        return;
    GeluJob job = {.backward = ctx->kernels->quick_gelu_backward, .x = x, .dy = dy, .out = dx};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, backward_chunk, &job);
}
