// SPDX-License-Identifier: MIT
// Private to nn/kernels: the plain C entries of products.c, as kernels.h describes them.
#pragma once

#include "nn/kernels/kernels.h"

void nn_gemm_pack_c(nn_real *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k);
void nn_gemm_tile_c(nn_real *c, size_t ldc, const nn_real *a, size_t row, size_t step, const nn_real *panel, size_t k,
                    size_t rows, size_t columns, nn_real alpha, int add);
void nn_gemm_pack_bf16_c(uint32_t *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k);
void nn_gemm_tile_bf16_c(nn_real *c, size_t ldc, const uint32_t *a, size_t row, size_t step, const uint32_t *panel,
                         size_t k, size_t rows, size_t columns, nn_real alpha, int add);
