// SPDX-License-Identifier: MIT
// Inner loops behind a table of function pointers: one readable reference in C for all, and vector forms where they
// pay.
//
// The table of this processor is nn_kernels(); nn_kernels_init fills one for any set of flags (tests walk down the
// levels). With -DNN_DOUBLE only the reference exists. tests/nn/check_kernels.c holds every entry at every level to the
// reference within the bound that stands beside it here. Bounds: "ulp" counts float steps at the reference's value
// (which is computed in double and rounded once); "rel" is relative to the largest magnitude of the row.
// What they share: n may be 0; pointers need the alignment of their type only; nothing outside [0, n) is read or
// written; NaN in gives NaN out where the value depends on it; denormals are kept. A kernel takes one thread: ops cut
// the work. Sums run in a fixed order for a given level and n, so the same call gives the same bits.
//
// Letters: R rows, C width of a row, rows next to each other. "y += " adds, all others overwrite. Outputs may be the
// same buffer as an input only where it says "in place".
//
// Threads: any.
#pragma once

#include "base/err.h"
#include "nn/real.h"

#include <stddef.h>
#include <stdint.h>

enum {
    NN_PANEL = 32, // columns of a packed panel of the right factor
    NN_STRIP = 12  // rows of a packed strip of the left factor
};

// AdamW (Loshchilov & Hutter, 2019) for one group at one step t, with the bias corrections folded in.
typedef struct {
    nn_real keep;                       // 1 - lr x weight decay
    nn_real step;                       // lr / (1 - beta1^t)
    nn_real beta1, beta2, rest1, rest2; // rest = 1 - beta, rounded once: 1 - 0.999f is off by 1.3e-5
    nn_real inv_sqrt_c2;                // 1 / sqrt(1 - beta2^t)
    nn_real eps;
    nn_real grad_scale; // g is multiplied by this first (clipping, accumulation); 1 for none
} NnAdamwStep;

typedef struct NnKernels {
    const char *name; // "c", "avx2", "avx512"

    // y = exp(x). In place. 2 ulp; overflow to inf, underflow through the denormals to 0.
    void (*exp)(nn_real *y, const nn_real *x, size_t n);

    // y = x Phi(x), Phi the normal distribution (the exact erf form). In place. 8 ulp + 1e-37.
    void (*gelu)(nn_real *y, const nn_real *x, size_t n);
    // dx += dy (Phi(x) + x phi(x)). Error of the term: 5e-7 x |dy|.
    void (*gelu_backward)(nn_real *dx, const nn_real *dy, const nn_real *x, size_t n);
    // y = gelu(x), the same bits as gelu gives, and d *= its slope at x. y may be x. Error of d: 5e-7 x |d|.
    void (*gelu_again)(nn_real *y, nn_real *d, const nn_real *x, size_t n);
    // y = x sigmoid(1.702 x). In place. 5 ulp + 2e-37.
    void (*quick_gelu)(nn_real *y, const nn_real *x, size_t n);
    // dx += dy s (1 + 1.702 x (1 - s)), s = sigmoid(1.702 x). Error of the term: 5e-7 x |dy|.
    void (*quick_gelu_backward)(nn_real *dx, const nn_real *dy, const nn_real *x, size_t n);

    void (*quick_gelu_again)(nn_real *y, nn_real *d, const nn_real *x, size_t n); // as gelu_again

    // y[r] = (x[r] - mean) rstd gain + bias, biased variance, rstd = 1/sqrt(var + eps). gain and bias [C], each may be
    // NULL (1, 0). mean and rstd [R] are written for backward; both may be NULL. In place. Sums in double:
    // y within 4e-7 x (largest |y - bias| of the row) + 1 ulp, also where the mean is far larger than the spread.
    void (*layernorm)(nn_real *y, nn_real *mean, nn_real *rstd, const nn_real *x, const nn_real *gain,
                      const nn_real *bias, size_t rows, size_t width, nn_real eps);
    // dx[r] += rstd (h - mean(h) - xhat mean(h xhat)), h = dy gain; dgain += sum_r dy xhat; dbias += sum_r dy.
    // Each of dx, dgain, dbias may be NULL; gain NULL is 1. 1e-6 rel.
    void (*layernorm_backward)(nn_real *dx, nn_real *dgain, nn_real *dbias, const nn_real *dy, const nn_real *x,
                               const nn_real *mean, const nn_real *rstd, const nn_real *gain, size_t rows,
                               size_t width);

    // y[r] = exp(x[r] - max) / sum. In place. -inf entries give 0; a row of only -inf gives NaN.
    // (4 + |x - max|) ulp + 1e-37: the difference is rounded to float before its exponential.
    void (*softmax)(nn_real *y, const nn_real *x, size_t rows, size_t width);
    // dx[r] += y (dy - sum(dy y)). 1e-6 rel to the largest |dy| of the row times y. In place is not allowed.
    void (*softmax_backward)(nn_real *dx, const nn_real *dy, const nn_real *y, size_t rows, size_t width);
    // max + log(sum exp(x - max)), in double. 2e-7 + 1 ulp. -inf for n = 0 or only -inf.
    nn_real (*log_sum_exp)(const nn_real *x, size_t n);

    void (*add)(nn_real *y, const nn_real *x, size_t n);             // y += x. Exact.
    void (*scale)(nn_real *y, nn_real a, size_t n);                  // y *= a. Exact.
    void (*axpy)(nn_real *y, nn_real a, const nn_real *x, size_t n); // y += a x, product rounded first. Exact.
    void (*add_rows)(nn_real *y, const nn_real *bias, size_t rows, size_t width); // y[r] += bias [C]. Exact.
    // out[C] += sum_r x[r], rows in order, each added as a float. Exact.
    void (*sum_rows)(nn_real *out, const nn_real *x, size_t rows, size_t width);
    nn_real (*dot)(const nn_real *a, const nn_real *b, size_t n); // sum in double, 1 ulp + 1e-15 x sum |a b|

    // nn/rows.h. panel[k][NN_PANEL] = w[columns][k] turned, columns past `columns` are 0; w has rows of ldw. Exact.
    void (*pack_panel)(nn_real *panel, const nn_real *w, size_t ldw, size_t columns, size_t k);
    // y[r][j] = (add ? y[r][j] : 0) + sum over k of x[r][k] panel[k][j] for j < columns <= NN_PANEL. The terms of an
    // element are added in the order of k from 0 on, the sum to y last: bits depend on its row and column alone, not
    // on `rows`, `columns` or its place. (k + 1) 6e-8 x sum |x panel|, + 1 ulp of y.
    void (*panel_product)(nn_real *y, size_t ldy, const nn_real *x, size_t ldx, const nn_real *panel, size_t rows,
                          size_t columns, size_t k, int add);

    // nn/product.h. to[k][width] of x; turned: to[i][j] = x[j*ld + i], else x[i*ld + j]; columns from `count` on are 0.
    // width is NN_PANEL or NN_STRIP. Exact.
    void (*gemm_pack)(nn_real *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k);
    // c[r][j] = (add ? c[r][j] : 0) + alpha sum_i a[r*row + i*step] panel[i][j] for r < rows, j < columns <= NN_PANEL,
    // terms in the order of i from 0 on; row or step is 1 (a packed strip: 1 and NN_STRIP). Only these a and c are
    // touched; a panel is read whole. (k + 2) 6e-8 x sum |a panel| |alpha|, + 1 ulp of c.
    void (*gemm_tile)(nn_real *c, size_t ldc, const nn_real *a, size_t row, size_t step, const nn_real *panel, size_t k,
                      size_t rows, size_t columns, nn_real alpha, int add);
    // The same in bfloat16, rounded to nearest even when packed, two terms next to each other in one word (the first in
    // its low half; the last of an odd k beside a 0): to[(k+1)/2][width]. Exact but for denormals, which may become 0.
    void (*gemm_pack_bf16)(uint32_t *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k);
    // Products exact, sums in float, in an order and with roundings that differ between levels; the bound of gemm_tile.
    // row and step count words.
    void (*gemm_tile_bf16)(nn_real *c, size_t ldc, const uint32_t *a, size_t row, size_t step, const uint32_t *panel,
                           size_t k, size_t rows, size_t columns, nn_real alpha, int add);

    // nn/packed.h. y = bfloat16(x), bfloat16(gelu(x)), bfloat16(quick_gelu(x)): a relative error of 2^-8 + 1e-4, +
    // 1e-36; denormals may become 0. An element's bits do not depend on its place or n.
    void (*round_bf16)(void *y, const float *x, size_t n);
    void (*gelu_bf16)(void *y, const float *x, size_t n);
    void (*quick_gelu_bf16)(void *y, const float *x, size_t n);
    // One row to bytes, x times columns[n] first where they are not NULL: x ~ scale (q - zero), 0 always exactly a q;
    // scale = (max - min) / 255 over the row and 0. A row with a NaN or an infinity has scale NaN and q 0, one whose
    // spread is below 1e-30 scale 0 and q 0. Exact: the same bits at every level.
    void (*quantize)(uint8_t *q, float *scale, int32_t *zero, const float *x, const float *columns, size_t n);
    // c[r][j] = sum over `words` words i of the four products of a[r*row + i] (bytes 0..255) and panel[i][j] (bytes
    // -128..127), j < NN_PANEL; rows of c lie NN_PANEL apart. Exact as long as the sums fit.
    void (*gemm_tile_int8)(int32_t *c, const uint32_t *a, size_t row, const uint32_t *panel, size_t words, size_t rows);
    // y[r][j] = (c[r][j] - zero[r] sums[j]) (scale[r] width[j]) + bias[j], j < NN_PANEL, every operation rounded by
    // itself; the difference in whole numbers. Exact.
    void (*dequantize)(float *y, const int32_t *c, const float *scale, const int32_t *zero, const float *width,
                       const int32_t *sums, const float *bias, size_t rows);

    // nn/ops/attention.c. Tiles of scores s[keys][NN_PANEL], one column a query; only the first `lanes` columns are
    // computed, lanes 16 or 32. mask[keys] is added to the rows first, or NULL.
    // Softmax so far: top = max(top, column), s = exp(s - top), rescale = exp(old top - top), sum = sum rescale +
    // column; top, sum, rescale [NN_PANEL]. -inf entries give 0, also where all are. s: (4 + |s - top|) ulp + 1e-37;
    // sum: (keys + 6) 6e-8 rel.
    void (*attention_exp)(nn_real *s, size_t keys, size_t lanes, const nn_real *mask, nn_real *top, nn_real *sum,
                          nn_real *rescale);
    // s = exp(s - top) scale: what attention_exp gave, times scale[NN_PANEL], to the same bits.
    void (*attention_weights)(nn_real *s, size_t keys, size_t lanes, const nn_real *mask, const nn_real *top,
                              const nn_real *scale);
    // d = p (d - delta[NN_PANEL]). Exact.
    void (*attention_slopes)(nn_real *d, const nn_real *p, size_t keys, size_t lanes, const nn_real *delta);

    // m = beta1 m + rest1 g; v = beta2 v + rest2 g^2; p = keep p - step m / (sqrt(v) inv_sqrt_c2 + eps), every
    // operation rounded by itself. Exact: the same bits at every level.
    void (*adamw)(nn_real *p, nn_real *m, nn_real *v, const nn_real *g, size_t n, const NnAdamwStep *s);

    // nn/half.h; float whatever nn_real is. Exact.
    void (*f16_to_f32)(float *out, const void *in, size_t n);
    void (*f32_to_f16)(void *out, const float *in, size_t n);
    void (*bf16_to_f32)(float *out, const void *in, size_t n);
    void (*f32_to_bf16)(void *out, const float *in, size_t n);
} NnKernels;

const NnKernels *nn_kernels(void);           // for vc_cpu_flags(); made once, never changed
const NnKernels *nn_kernels_reference(void); // plain C
// flags: VC_CPU_*; sets the reference first, then what the flags allow.
void nn_kernels_init(NnKernels *k, uint32_t flags);

// A short check of a table against the reference: microseconds. vicha doctor; tests use check_kernels.
bool nn_kernels_check(const NnKernels *k, VcErr *err);

// Float multiply-adds of one thread when nothing has to be loaded, GFLOP/s, measured in 20 ms at the widest vectors of
// vc_cpu_flags(); 0 where there are none. A matrix product reaches 80 to 95 per cent of it.
double nn_peak_gflops(void);
