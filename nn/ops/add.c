// SPDX-License-Identifier: MIT
// Sums of buffers, with one of them repeated over rows, and the transpose.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    const NnKernels *kernels;
    const nn_real *a, *b;
    nn_real *y;
    size_t C;
} AddJob;

static void add_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const AddJob *job = arg;
    for (size_t i = begin; i < end; i++)
        job->y[i] = job->a[i] + job->b[i];
}

static void add_row_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const AddJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        for (size_t c = 0; c < job->C; c++)
            job->y[r * job->C + c] = job->a[r * job->C + c] + job->b[c];
    }
}

void nn_add_forward(const NnContext *ctx, nn_real *y, const nn_real *a, const nn_real *b, size_t R, size_t C)
{
    AddJob job = {.a = a, .b = b, .y = y, .C = C};
    if (R == 1) {
        vc_parallel_for(ctx->pool, C, NN_CHUNK, add_chunk, &job);
    } else {
        vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), add_row_chunk, &job);
    }
}

void nn_add_backward(const NnContext *ctx, nn_real *da, nn_real *db, const nn_real *dy, size_t R, size_t C)
{
    if (da)
        nn_accumulate(ctx, da, dy, R * C);
    if (db && R == 1) {
        nn_accumulate(ctx, db, dy, C);
    } else if (db) {
        nn_sum_rows(ctx, db, dy, R, C);
    }
}

static void accumulate_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const AddJob *job = arg;
    job->kernels->add(job->y + begin, job->a + begin, end - begin);
}

void nn_accumulate(const NnContext *ctx, nn_real *dx, const nn_real *x, size_t n)
{
    AddJob job = {.kernels = ctx->kernels, .a = x, .y = dx};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, accumulate_chunk, &job);
}

static void copy_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const AddJob *job = arg;
    memcpy(job->y + begin, job->a + begin, (end - begin) * sizeof *job->y);
}

void nn_copy(const NnContext *ctx, nn_real *y, const nn_real *x, size_t n)
{
    AddJob job = {.a = x, .y = y};
    vc_parallel_for(ctx->pool, n, 4 * NN_CHUNK, copy_chunk, &job);
}

static void zero_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    nn_real *x = arg;
    memset(x + begin, 0, (end - begin) * sizeof *x);
}

void nn_zero(const NnContext *ctx, nn_real *x, size_t n)
{
    vc_parallel_for(ctx->pool, n, 4 * NN_CHUNK, zero_chunk, x);
}

typedef struct {
    const nn_real *x;
    nn_real *y;
    size_t M, N;
    nn_real keep; // 0 overwrites, 1 adds
} TransposeJob;

static void transpose_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const TransposeJob *job = arg;
    for (size_t n = begin; n < end; n++) {
        for (size_t m = 0; m < job->M; m++) {
            nn_real *y = job->y + n * job->M + m;
            *y = (job->keep > 0 ? *y : 0) + job->x[m * job->N + n];
        }
    }
}

void nn_transpose_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t M, size_t N)
{
    TransposeJob job = {.x = x, .y = y, .M = M, .N = N, .keep = 0};
    vc_parallel_for(ctx->pool, N, nn_chunk_rows(M), transpose_rows, &job);
}

void nn_transpose_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, size_t M, size_t N)
{
    if (!dx)
        return;
    TransposeJob job = {.x = dy, .y = dx, .M = N, .N = M, .keep = 1};
    vc_parallel_for(ctx->pool, M, nn_chunk_rows(N), transpose_rows, &job);
}
