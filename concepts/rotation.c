// SPDX-License-Identifier: MIT
#include "concepts/rotation.h"

#include "base/rng.h"

#include <math.h>
#include <stdint.h>

enum { ROUNDS = 3, SEED = 20220813 };

static void flip_signs(float *x, size_t n, uint64_t turn)
{
    for (size_t i = 0; i < n; i += 64) {
        const uint64_t bits = vc_mix_seed(SEED + turn, i / 64);
        for (size_t k = i; k < n && k < i + 64; k++)
            x[k] = bits >> (k - i) & 1 ? -x[k] : x[k];
    }
}

// Walsh and Hadamard's transform of x[n], n a power of two, divided by the root of n.
static void transform(float *x, size_t n)
{
    const float scale = (float)(1 / sqrt((double)n));
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t i = 0; i < n; i += 2 * half) {
            for (size_t k = i; k < i + half; k++) {
                const float a = x[k], b = x[k + half];
                x[k] = a + b;
                x[k + half] = a - b;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

void rotation_apply(float *x, size_t width)
{
    size_t part = 1;
    while (part <= width / 2)
        part *= 2;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        flip_signs(x, part, 2 * round);
        transform(x, part);
        if (part < width) {
            flip_signs(x + width - part, part, 2 * round + 1);
            transform(x + width - part, part);
        }
    }
}
