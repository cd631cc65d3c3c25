// SPDX-License-Identifier: MIT
// docs/BACKWARD.md, 1: y = x W^T + b, dx += dy W, dW += dy^T x, db += sum of the rows of dy.
#include "nn/gemm.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    nn_real *y;
    const nn_real *b;
    size_t O;
} FillJob;

static void fill_bias(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const FillJob *job = arg;
    for (size_t r = begin; r < end; r++)
        memcpy(job->y + r * job->O, job->b, job->O * sizeof *job->b);
}

void nn_linear_forward(const NnContext *ctx, nn_real *y, const nn_real *x, const nn_real *w, const nn_real *b, size_t R,
                       size_t I, size_t O)
{
    // The product adds to the bias that lies there already: cheaper than a pass over y after it.
    if (b) {
        FillJob job = {.y = y, .b = b, .O = O};
        vc_parallel_for(ctx->pool, R, nn_chunk_rows(O), fill_bias, &job);
    }
    nn_gemm(ctx->pool, NN_PLAIN, NN_TRANSPOSED, R, O, I, 1, x, I, w, I, b ? 1 : 0, y, O);
}

void nn_linear_backward(const NnContext *ctx, nn_real *dx, nn_real *dw, nn_real *db, const nn_real *dy,
                        const nn_real *x, const nn_real *w, size_t R, size_t I, size_t O)
{
    if (dx)
        nn_gemm(ctx->pool, NN_PLAIN, NN_PLAIN, R, I, O, 1, dy, O, w, I, 1, dx, I);
    if (dw)
        nn_gemm(ctx->pool, NN_TRANSPOSED, NN_PLAIN, O, I, R, 1, dy, O, x, I, 1, dw, I);
    if (db)
        nn_sum_rows(ctx, db, dy, R, O);
}
