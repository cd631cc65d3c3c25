// SPDX-License-Identifier: MIT
#include "nn/half.h"

#include "nn/kernels/kernels.h"

#include <string.h>

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float nn_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exponent = (h >> 10) & 31;
    uint32_t mantissa = h & 0x3ff;
    if (exponent == 31) {
        if (mantissa != 0)
            mantissa |= 0x200; // a signalling NaN becomes quiet, as the processor's own conversion does
        return from_bits(sign | 0x7f800000 | mantissa << 13);
    }
    if (exponent != 0)
        return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    if (mantissa == 0)
        return from_bits(sign);
    // Denormal: mantissa x 2^-24. Shift the leading one into the hidden place.
    uint32_t e = 113;
    while ((mantissa & 0x400) == 0) {
        mantissa <<= 1;
        e--;
    }
    return from_bits(sign | e << 23 | (mantissa & 0x3ff) << 13);
}

uint16_t nn_f32_to_f16(float f)
{
    const uint32_t u = to_bits(f);
    const uint32_t sign = (u >> 16) & 0x8000;
    const uint32_t a = u & 0x7fffffff;
    if (a > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((a >> 13) & 0x3ff));
    if (a >= 0x477ff000) // 65520 and more round to infinity
        return (uint16_t)(sign | 0x7c00);
    if (a >= 0x38800000) { // 2^-14: normal
        const uint32_t rounded = a + 0xfff + ((a >> 13) & 1);
        return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
    }
    if (a < 0x33000000) // below 2^-25 (the tie 2^-25 itself goes to even: 0, by the branch below)
        return (uint16_t)sign;
    // Denormal: the value in units of 2^-24, rounded to nearest even.
    const uint32_t shift = 126 - (a >> 23); // 14 .. 24
    const uint32_t m = (a & 0x7fffff) | 0x800000;
    const uint32_t half = 1u << (shift - 1);
    const uint32_t low = m & ((1u << shift) - 1);
    uint32_t q = m >> shift;
    if (low > half || (low == half && (q & 1) != 0))
        q++;
    return (uint16_t)(sign | q);
}

float nn_bf16_to_f32(uint16_t h)
{
    return from_bits((uint32_t)h << 16);
}

uint16_t nn_f32_to_bf16(float f)
{
    const uint32_t u = to_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

void nn_f16_to_f32_array(float *out, const void *in, size_t n)
{
    nn_kernels()->f16_to_f32(out, in, n);
}

void nn_f32_to_f16_array(void *out, const float *in, size_t n)
{
    nn_kernels()->f32_to_f16(out, in, n);
}

void nn_bf16_to_f32_array(float *out, const void *in, size_t n)
{
    nn_kernels()->bf16_to_f32(out, in, n);
}

void nn_f32_to_bf16_array(void *out, const float *in, size_t n)
{
    nn_kernels()->f32_to_bf16(out, in, n);
}
