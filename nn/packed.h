// SPDX-License-Identifier: MIT
// Linear layers whose weights are packed once, for inference: y = act(x W^T + b) in float, bfloat16 or bytes.
//
// A BLAS packs the weights at every call; here panels of NN_PANEL columns are made once, in the numbers the kernels
// multiply. What comes behind the product (bias, activation, adding to the residual stream, rounding for the next
// layer) is done on a tile of NN_STRIP rows while it is in the first cache.
//   float     sums in the order of the terms
//   bfloat16  weights and rows rounded to nearest even, products exact, sums in float
//   bytes     weights: -127..127 with a scale for each output; rows: 0..255 with a scale and a zero of their own
//             (kernels.h, quantize); sums in whole numbers, exact. `columns` shifts range between the two: the rows
//             are divided, the weights multiplied by it (Xiao et al., "SmoothQuant", 2023, eq. 3).
// A row of y is the same bits whatever rows stand beside it. Threads: packed weights are only read; a call is one
// thread's.
//
// Letters: R rows, I inputs, O outputs.
#pragma once

#include "base/err.h"
#include "base/pool.h"
#include "nn/kernels/kernels.h"

#include <stdbool.h>

typedef enum { NN_PACKED_FP32, NN_PACKED_BF16, NN_PACKED_INT8 } NnPackedKind;

// Weights w[out][in], times `factor`; b[out] or NULL, times `factor`. Layers side by side have several parts.
typedef struct {
    const float *w, *b;
    size_t out;
    float factor;
} NnPackedPart;
enum { NN_PACKED_PARTS = 3, NN_PACKED_MAX_IN = 65536 }; // sums of more products of bytes might not fit

typedef struct {
    NnPackedKind kind;
    size_t in, out, words; // words: 32-bit words of a row of I inputs
    uint32_t *data;        // [panels][words][NN_PANEL]; NULL: float, packed panel by panel as it is used
    float *bias;           // [panels * NN_PANEL]
    float *width;          // bytes: scale of each output; int32 sums: of its weights
    int32_t *sums;         // all three are parts of one block
    NnPackedPart parts[NN_PACKED_PARTS];
    size_t count;
} NnPacked;

// columns[I]: factor of each input's weights, or NULL. `now` false keeps a float layer as views of the parts. pool may
// be NULL. A weight that is no number is VC_ERR_FORMAT; nothing is left to finish then.
bool nn_packed_init(NnPacked *p, VcPool *pool, NnPackedKind kind, const NnPackedPart *parts, size_t count, size_t in,
                    const float *columns, bool now, VcErr *err);
void nn_packed_finish(NnPacked *p); // also of a zeroed one
size_t nn_packed_bytes(const NnPacked *p);

size_t nn_packed_words(NnPackedKind kind, size_t in);

// Multiply-adds of one thread in this kind's numbers when nothing has to be loaded, 1e9 a second (two each), measured
// in 20 ms with the instructions the kernels of vc_cpu_flags() use; 0 where there are no vectors.
double nn_peak_gops(NnPackedKind kind);

// Rows as a layer of `kind` reads them: [R][words], and for bytes a scale and a zero each.
typedef struct {
    NnPackedKind kind;
    size_t words;
    uint32_t *data;
    float *scale;
    int32_t *zero;
} NnPackedRows;
// Row r of `to` from x[in]; columns[in] multiplies first, of bytes alone, or NULL.
void nn_packed_put(const NnKernels *k, NnPackedRows *to, size_t r, const float *x, size_t in, const float *columns);

// Of the kernels: gelu and gelu_bf16, quick_gelu and quick_gelu_bf16. NULL: none.
typedef struct {
    void (*real)(nn_real *y, const nn_real *x, size_t n);
    void (*half)(void *y, const float *x, size_t n);
} NnActivation;

// Where y goes: float rows y[R][ldy], `add`: to what is there; or, y NULL, rows of bfloat16, `at` numbers from the
// left.
typedef struct {
    float *y;
    size_t ldy;
    bool add;
    NnActivation activation;
    const NnPackedRows *half;
    size_t at;
} NnPackedOut;
// panel: [words][NN_PANEL] of scratch, needed where p->data is NULL.
void nn_packed_linear(const NnKernels *k, const NnPacked *p, const NnPackedRows *x, size_t rows, const NnPackedOut *out,
                      float *panel);
