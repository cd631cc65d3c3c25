// SPDX-License-Identifier: MIT
// A linear layer whose every row is the same bits whatever rows stand beside it.
//
// A BLAS does not promise that: OpenBLAS adds the terms of a row in another order at another place in the batch
// (measured on 0.3.21: its Haswell kernels do so for every shape, its SkylakeX kernels where a small product takes
// another way than a large one). Inference needs it: the embedding of an image must not depend on its batch.
// Weights are packed panel by panel as they are used, so they may lie in a file's map. Threads: any, one thread each.
#pragma once

#include "nn/context.h"

// y[R,O] = x[R,I] w[O,I]^T + b[O]; add: y += instead. b may be NULL. Rows lie one after the other. The terms of an
// element are added in blocks of NN_ROWS_BLOCK, so bits depend on its row, its weights and the kernels alone.
enum { NN_ROWS_BLOCK = 256 };
void nn_rows_linear(const NnContext *ctx, nn_real *y, const nn_real *x, const nn_real *w, const nn_real *b, size_t R,
                    size_t I, size_t O, bool add);
