// SPDX-License-Identifier: MIT
// Matrix products of the training step, from packed factors.
//
// A BLAS packs both factors anew for every tile that a thread takes; here the right factor is packed once for all, the
// left one once by the task that owns its rows, and the tiles between are kernels of this processor (nn/kernels). On a
// processor without AVX2, and in the double compilation, the BLAS of nn/gemm.h does the work.
//
// With ctx->precision NN_PRECISION_BF16 both factors are rounded to bfloat16 when they are packed; products of two of
// them are exact in float and are summed in float, so that a result is within 2^-8 x sum |a b| of the exact one. Every
// processor gives these roundings; how the sums round depends on it (nn/kernels: gemm_tile_bf16).
//
// A product is cut into tasks and its terms into blocks by its shape alone; the terms of a result are added in one
// order. So the result is the same bits for any number of threads. Threads: as the context.
#pragma once

#include "nn/context.h"
#include "nn/gemm.h"

#include <stdbool.h>

// C[M,N] = op(A)[M,K] op(B)[K,N], or C += with `add`; the letters and the lengths of rows are those of nn_gemm.
// bias[N], or NULL, is added to every row. C must not overlap A or B. M, N or K may be 0.
typedef struct {
    NnTranspose ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    const nn_real *a, *b, *bias;
    nn_real *c;
    bool add;
} NnProduct;
void nn_product(const NnContext *ctx, const NnProduct *p);
