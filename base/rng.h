// SPDX-License-Identifier: MIT
// Random numbers: xoshiro256** seeded through SplitMix64 (Blackman & Vigna, 2018). The same seed gives the same
// numbers on every machine. Threads: a VcRng belongs to one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t s[4];
} VcRng;

void vc_rng_seed(VcRng *rng, uint64_t seed);
uint64_t vc_rng_u64(VcRng *rng);
uint64_t vc_rng_below(VcRng *rng, uint64_t n); // uniform in [0,n), n > 0, without bias (Lemire, 2019)
double vc_rng_uniform(VcRng *rng);             // [0,1), 53 bits
double vc_rng_normal(VcRng *rng);              // N(0,1), Box-Muller, one value a call: no hidden state
void vc_rng_shuffle(VcRng *rng, void *items, size_t n, size_t size); // Fisher-Yates from the last element down
// A seed of its own for stream `index` of `seed`: independent of the order in which streams are made.
uint64_t vc_mix_seed(uint64_t seed, uint64_t index);
