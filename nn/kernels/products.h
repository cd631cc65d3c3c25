// SPDX-License-Identifier: MIT
// Private to nn/kernels: the plain C entries of products.c, for matrix products and attention, as kernels.h describes
// them.
#pragma once

#include "nn/kernels/kernels.h"

#include <stdbool.h>

void nn_gemm_pack_c(nn_real *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k);
void nn_gemm_tile_c(nn_real *c, size_t ldc, const nn_real *a, size_t row, size_t step, const nn_real *panel, size_t k,
                    size_t rows, size_t columns, nn_real alpha, int add);
void nn_gemm_pack_bf16_c(uint32_t *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k);
void nn_gemm_tile_bf16_c(nn_real *c, size_t ldc, const uint32_t *a, size_t row, size_t step, const uint32_t *panel,
                         size_t k, size_t rows, size_t columns, nn_real alpha, int add);
void nn_quantize_c(uint8_t *q, float *scale, int32_t *zero, const float *x, const float *columns, size_t n);
void nn_gemm_tile_int8_c(int32_t *c, const uint32_t *a, size_t row, const uint32_t *panel, size_t words, size_t rows);
void nn_dequantize_c(float *y, const int32_t *c, const float *scale, const int32_t *zero, const float *width,
                     const int32_t *sums, const float *bias, size_t rows);
// What nn_quantize_c does once the row's limits are known: for rows, and for what is left of them behind whole vectors.
bool nn_quantize_scale(float low, float high, float nan, float *scale, int32_t *zero, float *inverse);
void nn_quantize_rest(uint8_t *q, const float *x, const float *columns, size_t n, float inverse, int32_t zero);
void nn_attention_exp_c(nn_real *s, size_t keys, size_t lanes, const nn_real *mask, nn_real *top, nn_real *sum,
                        nn_real *rescale);
void nn_attention_weights_c(nn_real *s, size_t keys, size_t lanes, const nn_real *mask, const nn_real *top,
                            const nn_real *scale);
void nn_attention_slopes_c(nn_real *d, const nn_real *p, size_t keys, size_t lanes, const nn_real *delta);
