// SPDX-License-Identifier: MIT
// The reference of the kernels that matrix products (nn/product.h) and attention are made of.
#include "nn/kernels/products.h"

#include "nn/half.h"

#include <math.h>
#include <string.h>

void nn_gemm_pack_c(nn_real *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < width; j++)
            to[i * width + j] = j >= count ? 0 : turned ? x[j * ld + i] : x[i * ld + j];
    }
}

void nn_gemm_tile_c(nn_real *c, size_t ldc, const nn_real *a, size_t row, size_t step, const nn_real *panel, size_t k,
                    size_t rows, size_t columns, nn_real alpha, int add)
{
    for (size_t r = 0; r < rows; r++) {
        nn_real sum[NN_PANEL] = {0};
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < columns; j++)
                sum[j] += a[r * row + i * step] * panel[i * NN_PANEL + j];
        }
        for (size_t j = 0; j < columns; j++)
            c[r * ldc + j] = (add ? c[r * ldc + j] : 0) + alpha * sum[j];
    }
}

void nn_gemm_pack_bf16_c(uint32_t *to, size_t width, const nn_real *x, size_t ld, int turned, size_t count, size_t k)
{
    for (size_t i = 0; i < k; i += 2) {
        for (size_t j = 0; j < width; j++) {
            uint32_t pair = 0;
            for (size_t p = 0; p < 2 && i + p < k && j < count; p++) {
                const nn_real v = turned ? x[j * ld + i + p] : x[(i + p) * ld + j];
                pair |= (uint32_t)nn_f32_to_bf16((float)v) << (16 * p);
            }
            to[i / 2 * width + j] = pair;
        }
    }
}

static nn_real half_of(uint32_t pair, int which)
{
    return (nn_real)nn_bf16_to_f32((uint16_t)(pair >> (16 * which)));
}

void nn_gemm_tile_bf16_c(nn_real *c, size_t ldc, const uint32_t *a, size_t row, size_t step, const uint32_t *panel,
                         size_t k, size_t rows, size_t columns, nn_real alpha, int add)
{
    for (size_t r = 0; r < rows; r++) {
        nn_real sum[NN_PANEL] = {0};
        for (size_t i = 0; i < (k + 1) / 2; i++) {
            const uint32_t x = a[r * row + i * step];
            for (size_t j = 0; j < columns; j++) {
                const uint32_t y = panel[i * NN_PANEL + j];
                sum[j] += half_of(x, 0) * half_of(y, 0) + half_of(x, 1) * half_of(y, 1);
            }
        }
        for (size_t j = 0; j < columns; j++)
            c[r * ldc + j] = (add ? c[r * ldc + j] : 0) + alpha * sum[j];
    }
}

bool nn_quantize_scale(float low, float high, float nan, float *scale, int32_t *zero, float *inverse)
{
    const float range = high - low;
    *zero = 0;
    *inverse = 0;
    *scale = nan + (range <= 3e38F ? 0 : NAN);
    if (!(*scale == 0) || range < 1e-30F)
        return false;
    *scale = range / 255;
    *inverse = 255 / range;
    *zero = (int32_t)rintf(-low * *inverse);
    return true;
}

static float times(const float *x, const float *columns, size_t i)
{
    return columns == NULL ? x[i] : x[i] * columns[i];
}

void nn_quantize_rest(uint8_t *q, const float *x, const float *columns, size_t n, float inverse, int32_t zero)
{
    for (size_t i = 0; i < n; i++) {
        const float v = rintf(times(x, columns, i) * inverse) + (float)zero;
        q[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

void nn_quantize_c(uint8_t *q, float *scale, int32_t *zero, const float *x, const float *columns, size_t n)
{
    float low = 0, high = 0, nan = 0, inverse;
    for (size_t i = 0; i < n; i++) {
        const float v = times(x, columns, i);
        low = v < low ? v : low;
        high = v > high ? v : high;
        nan += v * 0;
    }
    if (nn_quantize_scale(low, high, nan, scale, zero, &inverse)) {
        nn_quantize_rest(q, x, columns, n, inverse, *zero);
    } else {
        memset(q, 0, n);
    }
}

void nn_gemm_tile_int8_c(int32_t *c, const uint32_t *a, size_t row, const uint32_t *panel, size_t words, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < NN_PANEL; j++) {
            int32_t sum = 0;
            for (size_t i = 0; i < words; i++) {
                uint8_t x[4];
                int8_t w[4];
                memcpy(x, &a[r * row + i], 4);
                memcpy(w, &panel[i * NN_PANEL + j], 4);
                for (int p = 0; p < 4; p++)
                    sum += x[p] * w[p];
            }
            c[r * NN_PANEL + j] = sum;
        }
    }
}

void nn_dequantize_c(float *y, const int32_t *c, const float *scale, const int32_t *zero, const float *width,
                     const int32_t *sums, const float *bias, size_t rows)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < NN_PANEL; j++) {
            const int64_t d = (int64_t)c[r * NN_PANEL + j] - (int64_t)zero[r] * sums[j];
            y[r * NN_PANEL + j] = (float)(int32_t)d * (scale[r] * width[j]) + bias[j];
        }
    }
}

void nn_attention_exp_c(nn_real *s, size_t keys, size_t lanes, const nn_real *mask, nn_real *top, nn_real *sum,
                        nn_real *rescale)
{
    for (size_t i = 0; i < lanes; i++) {
        nn_real most = top[i];
        for (size_t j = 0; j < keys; j++) {
            const nn_real x = s[j * NN_PANEL + i] + (mask ? mask[j] : 0);
            most = x > most ? x : most;
        }
        const nn_real shift = most == -(nn_real)INFINITY ? 0 : most;
        rescale[i] = (nn_real)exp((double)(top[i] - shift));
        double total = (double)sum[i] * (double)rescale[i];
        for (size_t j = 0; j < keys; j++) {
            nn_real *x = &s[j * NN_PANEL + i];
            *x = (nn_real)exp((double)(*x + (mask ? mask[j] : 0) - shift));
            total += (double)*x;
        }
        sum[i] = (nn_real)total;
        top[i] = most;
    }
}

void nn_attention_weights_c(nn_real *s, size_t keys, size_t lanes, const nn_real *mask, const nn_real *top,
                            const nn_real *scale)
{
    for (size_t j = 0; j < keys; j++, s += NN_PANEL) {
        for (size_t i = 0; i < lanes; i++)
            s[i] = (nn_real)exp((double)(s[i] + (mask ? mask[j] : 0) - top[i])) * scale[i];
    }
}

void nn_attention_slopes_c(nn_real *d, const nn_real *p, size_t keys, size_t lanes, const nn_real *delta)
{
    for (size_t j = 0; j < keys; j++, d += NN_PANEL, p += NN_PANEL) {
        for (size_t i = 0; i < lanes; i++)
            d[i] = p[i] * (d[i] - delta[i]);
    }
}
