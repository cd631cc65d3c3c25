// SPDX-License-Identifier: MIT
#include "base/rng.h"

#include "base/err.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void vc_rng_seed(VcRng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix64(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t vc_rng_u64(VcRng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t vc_rng_below(VcRng *rng, uint64_t n)
{
    VC_ASSERT(n > 0);
    __extension__ typedef unsigned __int128 u128;
    u128 m = (u128)vc_rng_u64(rng) * n;
    if ((uint64_t)m < n) {
        uint64_t reject_below = -n % n;
        while ((uint64_t)m < reject_below)
            m = (u128)vc_rng_u64(rng) * n;
    }
    return (uint64_t)(m >> 64);
}

double vc_rng_uniform(VcRng *rng)
{
    return (double)(vc_rng_u64(rng) >> 11) * 0x1p-53;
}

double vc_rng_normal(VcRng *rng)
{
    double u = 1.0 - vc_rng_uniform(rng), v = vc_rng_uniform(rng); // u in (0,1]: the logarithm is finite
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void vc_rng_shuffle(VcRng *rng, void *items, size_t n, size_t size)
{
    uint8_t *p = items;
    for (size_t i = n; i > 1; i--) {
        size_t j = vc_rng_below(rng, i);
        if (j == i - 1)
            continue;
        uint8_t *a = p + (i - 1) * size, *b = p + j * size;
        for (size_t k = 0; k < size; k++) {
            uint8_t t = a[k];
            a[k] = b[k];
            b[k] = t;
        }
    }
}

uint64_t vc_mix_seed(uint64_t seed, uint64_t index)
{
    uint64_t state = seed;
    uint64_t mixed = splitmix64(&state) ^ index;
    return splitmix64(&mixed);
}
