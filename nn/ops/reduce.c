// SPDX-License-Identifier: MIT
// Sums whose order depends on the shape alone: partial results of fixed chunks, joined in order by one thread.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    const nn_real *x;
    nn_real *dx, value;
    double *partial;
} SumJob;

static void sum_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const SumJob *job = arg;
    double sum = 0;
    for (size_t i = begin; i < end; i++)
        sum += (double)job->x[i];
    job->partial[begin / NN_CHUNK] = sum;
}

double nn_sum_forward(const NnContext *ctx, const nn_real *x, size_t n)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t chunks = nn_chunk_count(n, NN_CHUNK);
    SumJob job = {.x = x, .partial = vc_arena_alloc(ctx->scratch, chunks, sizeof(double))};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, sum_chunk, &job);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++)
        sum += job.partial[i];
    vc_arena_release(ctx->scratch, mark);
    return sum;
}

static void sum_back_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const SumJob *job = arg;
    for (size_t i = begin; i < end; i++)
        job->dx[i] += job->value;
}

void nn_sum_backward(const NnContext *ctx, nn_real *dx, nn_real dsum, size_t n)
{
    if (!dx)
        return;
    SumJob job = {.dx = dx, .value = dsum};
    vc_parallel_for(ctx->pool, n, NN_CHUNK, sum_back_chunk, &job);
}

typedef struct {
    const NnKernels *kernels;
    const nn_real *x;
    nn_real *out; // [C], or the partial sums [chunks, C]
    size_t R, C;
} RowsJob;

// Few long rows (a position table repeated over the batch): every task sums all rows of its columns.
static void sum_columns(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const RowsJob *job = arg;
    for (size_t r = 0; r < job->R; r++)
        job->kernels->add(job->out + begin, job->x + r * job->C + begin, end - begin);
}

// Many short rows (a bias): every task sums its rows to a partial result of its own.
static void sum_some_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const RowsJob *job = arg;
    nn_real *out = job->out + begin / NN_SUM_CHUNK_ROWS * job->C;
    memset(out, 0, job->C * sizeof *out);
    job->kernels->sum_rows(out, job->x + begin * job->C, end - begin, job->C);
}

void nn_sum_rows(const NnContext *ctx, nn_real *out, const nn_real *x, size_t R, size_t C)
{
    enum { COLUMNS = 2048 };
    RowsJob job = {.kernels = ctx->kernels, .x = x, .out = out, .R = R, .C = C};
    if (C >= 2 * COLUMNS || R <= NN_SUM_CHUNK_ROWS) {
        vc_parallel_for(ctx->pool, C, COLUMNS, sum_columns, &job);
        return;
    }
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t chunks = nn_chunk_count(R, NN_SUM_CHUNK_ROWS);
    job.out = vc_arena_alloc(ctx->scratch, chunks * C, sizeof(nn_real));
    vc_parallel_for(ctx->pool, R, NN_SUM_CHUNK_ROWS, sum_some_rows, &job);
    ctx->kernels->sum_rows(out, job.out, chunks, C);
    vc_arena_release(ctx->scratch, mark);
}
