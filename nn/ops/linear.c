// SPDX-License-Identifier: MIT
// docs/BACKWARD.md, 1: y = x W^T + b, dx += dy W, dW += dy^T x, db += sum of the rows of dy.
#include "nn/ops/ops.h"
#include "nn/product.h"

void nn_linear_forward(const NnContext *ctx, nn_real *y, const nn_real *x, const nn_real *w, const nn_real *b, size_t R,
                       size_t I, size_t O)
{
    nn_product(ctx, &(NnProduct){.tb = NN_TRANSPOSED,
                                 .m = R,
                                 .n = O,
                                 .k = I,
                                 .a = x,
                                 .lda = I,
                                 .b = w,
                                 .ldb = I,
                                 .bias = b,
                                 .c = y,
                                 .ldc = O});
}

void nn_linear_input_grad(const NnContext *ctx, nn_real *dx, bool add, const nn_real *dy, const nn_real *w, size_t R,
                          size_t I, size_t O)
{
    nn_product(
        ctx, &(NnProduct){.m = R, .n = I, .k = O, .a = dy, .lda = O, .b = w, .ldb = I, .c = dx, .ldc = I, .add = add});
}

void nn_linear_backward(const NnContext *ctx, nn_real *dx, nn_real *dw, nn_real *db, const nn_real *dy,
                        const nn_real *x, const nn_real *w, size_t R, size_t I, size_t O)
{
    if (dx)
        nn_linear_input_grad(ctx, dx, true, dy, w, R, I, O);
    if (dw) {
        nn_product(ctx, &(NnProduct){.ta = NN_TRANSPOSED,
                                     .m = O,
                                     .n = I,
                                     .k = R,
                                     .a = dy,
                                     .lda = O,
                                     .b = x,
                                     .ldb = I,
                                     .c = dw,
                                     .ldc = I,
                                     .add = true});
    }
    if (db)
        nn_sum_rows(ctx, db, dy, R, O);
}
