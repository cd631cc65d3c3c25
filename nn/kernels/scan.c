// SPDX-License-Identifier: MIT
// The reference of the search kernels, and the choice of a table.
#include "nn/kernels/scan.h"

#include "base/cpu.h"
#include "nn/half.h"
#include "nn/kernels/x86/scan_x86.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

static void dots_i8_c(int32_t *out, const int8_t *rows, size_t stride, size_t count, const int8_t *query, size_t width)
{
    for (size_t r = 0; r < count; r++) {
        const int8_t *row = rows + r * stride;
        int32_t sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += row[i] * query[i];
        out[r] = sum;
    }
}

// The number i of a row of nibbles.
static int nibble(const uint8_t *row, size_t i)
{
    const uint8_t two = row[i / NN_SCAN_NIBBLES * 64 + i % 64];
    return i % NN_SCAN_NIBBLES < 64 ? two & 15 : two >> 4;
}

static void dots_i4_c(int32_t *out, const uint8_t *rows, size_t count, const int8_t *query, size_t width)
{
    for (size_t r = 0; r < count; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += (2 * nibble(rows + r * width / 2, i) - 15) * query[i];
        out[r] = sum;
    }
}

static void turn_i8_c(uint8_t *to, const int8_t *rows, size_t stride, size_t count, size_t width)
{
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < width; i++)
            to[r * width + i] = (uint8_t)(rows[r * stride + i] + 128);
    }
}

static void tile_i8_c(int32_t *c, const uint8_t *rows, size_t stride, size_t count, const int8_t *panel, size_t words)
{
    memset(c, 0, count * NN_SCAN_LANES * sizeof *c);
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < words; i++) {
            const uint8_t *x = rows + r * stride + 4 * i;
            for (size_t j = 0; j < NN_SCAN_LANES; j++) {
                const int8_t *y = panel + (i * NN_SCAN_LANES + j) * 4;
                c[r * NN_SCAN_LANES + j] += x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3];
            }
        }
    }
}

static void above_c(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                    const int32_t *shift, const float *gain, const float *least)
{
    for (size_t r = 0; r < count; r++) {
        uint32_t bits = 0;
        for (size_t j = 0; j < NN_SCAN_LANES; j++) {
            const float score = (float)(c[r * NN_SCAN_LANES + j] - shift[j]) * scale[r] + spread[r] * gain[j];
            bits |= (uint32_t)(score >= least[j]) << j;
        }
        hits[r] = bits;
    }
}

static void above_one_c(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                        float gain, float least)
{
    for (size_t r = 0; r < count; r++) {
        const float score = (float)c[r] * scale[r] + spread[r] * gain;
        hits[r / 32] = (r % 32 ? hits[r / 32] : 0) | (uint32_t)(score >= least) << r % 32;
    }
}

enum { SUMS = 32 };

static float add_halves(float *s)
{
    for (size_t half = SUMS / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++)
            s[i] += s[i + half];
    }
    return s[0];
}

static void dots_f16_c(float *out, float *norms, const void *rows, size_t stride, size_t count, const float *query,
                       size_t n)
{
    for (size_t r = 0; r < count; r++) {
        const uint8_t *row = (const uint8_t *)rows + r * stride;
        float sum[SUMS] = {0}, norm[SUMS] = {0};
        for (size_t i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, row + 2 * i, sizeof half);
            const float x = nn_f16_to_f32(half);
            sum[i % SUMS] += x * query[i];
            norm[i % SUMS] += x * x;
        }
        out[r] = add_halves(sum);
        if (norms != NULL)
            norms[r] = add_halves(norm);
    }
}

static const NnScanKernels reference = {
    .name = "c",
    .dots_i8 = dots_i8_c,
    .dots_i4 = dots_i4_c,
    .turn_i8 = turn_i8_c,
    .tile_i8 = tile_i8_c,
    .above = above_c,
    .above_one = above_one_c,
    .dots_f16 = dots_f16_c,
};

const NnScanKernels *nn_scan_kernels_reference(void)
{
    return &reference;
}

void nn_scan_kernels_init(NnScanKernels *k, uint32_t flags)
{
    *k = reference;
#ifdef NN_HAVE_SCAN_X86
    nn_scan_kernels_init_x86(k, flags);
#else
    (void)flags;
#endif
}

// Filled once and only read afterwards.
static NnScanKernels chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    nn_scan_kernels_init(&chosen, vc_cpu_flags());
}

const NnScanKernels *nn_scan_kernels(void)
{
    pthread_once(&chosen_once, choose);
    return &chosen;
}

// Adding and taking away 1.5 * 2^23 leaves a float of small size rounded to nearest even.
static const float rounder = 12582912.0F;

void nn_scan_quantize(int8_t *q, float *scale, float *error, float *length, const float *x, size_t n)
{
    enum { PIECE = 64 };
    float top = 0, sound = 0;
    memset(q + n, 0, nn_scan_width(n) - n);
    for (size_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        top = a > top ? a : top;
        sound += x[i] * 0.0F;
    }
    *scale = *error = *length = 0;
    // What is smaller than this has no reciprocal; what is larger has no square.
    if (sound != 0 || top < 1e-18F || top > 1e18F) {
        *scale = sound != 0 || top != 0 ? NAN : 0;
        memset(q, 0, n);
        return;
    }
    const float inverse = 127.0F / top, step = top / 127.0F;
    double errors = 0, lengths = 0;
    for (size_t i = 0; i < n; i += PIECE) {
        const size_t end = n - i < PIECE ? n : i + PIECE;
        float e = 0, l = 0;
        for (size_t k = i; k < end; k++) {
            float v = (x[k] * inverse + rounder) - rounder;
            v = v > 127 ? 127 : v < -127 ? -127 : v;
            q[k] = (int8_t)v;
            const float near = v * step, rest = x[k] - near;
            e += rest * rest;
            l += near * near;
        }
        errors += e;
        lengths += l;
    }
    // A little more than what was added up in float: 64 terms, and the products' own rounding.
    *scale = step;
    *error = (float)(sqrt(errors) * 1.00001) + top * 1e-6F;
    *length = (float)(sqrt(lengths) * 1.00001);
}

void nn_scan_nibbles(uint8_t *row, float *scale, float *error, const float *x, size_t width)
{
    double square = 0;
    for (size_t i = 0; i < width; i++)
        square += (double)x[i] * x[i];
    const float step = (float)(0.3352 * sqrt(square / (double)(width ? width : 1)));
    *scale = *error = 0;
    memset(row, 0, width / 2);
    if (!(step > 1e-18F && step < 1e18F)) {
        *scale = square != 0 ? NAN : 0;
        return;
    }
    double product = 0, codes = 0; // of x and 2 u - 15; of 2 u - 15 and itself
    for (size_t i = 0; i < width; i++) {
        const float at = x[i] / step + 8;
        const int u = at < 0 ? 0 : at >= 15 ? 15 : (int)at;
        row[i / NN_SCAN_NIBBLES * 64 + i % 64] |= (uint8_t)(i % NN_SCAN_NIBBLES < 64 ? u : u << 4);
        product += (double)x[i] * (2 * u - 15);
        codes += (2 * u - 15) * (2 * u - 15);
    }
    // x (2 u - 15) is never negative, and positive somewhere.
    const double s = square / product, rest = s * s * codes - square;
    *scale = (float)s;
    *error = (float)(sqrt(rest > 0 ? rest : 0) * 1.00001 + sqrt(square) * 1e-6);
}

int32_t nn_scan_pack(int8_t *panel, size_t lane, const int8_t *q, size_t width)
{
    int32_t sum = 0;
    for (size_t i = 0; i < width / 4; i++)
        memcpy(panel + (i * NN_SCAN_LANES + lane) * 4, q + 4 * i, 4);
    for (size_t i = 0; i < width; i++)
        sum += q[i];
    return 128 * sum;
}
