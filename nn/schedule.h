// SPDX-License-Identifier: MIT
// Learning rates. Threads: any; pure functions.
#pragma once

#include <stdint.h>

// ViCHA's (timm's cosine as its training scripts call it; spec 4.2):
//   t < warmup: start + t (peak - start) / warmup;  else with u = t - warmup:
//   min + (peak - min)/2 (1 + cos(pi u / epochs)), and min from u = epochs on.
typedef struct {
    double start, peak, min;
    uint64_t warmup; // units of 100 iterations of epoch 0, by ViCHA's use
    uint64_t epochs; // of the whole run
} NnVichaSchedule;
double nn_vicha_lr(const NnVichaSchedule *s, uint64_t t);
// The rate in force during an iteration (both from 0). In epoch 0, t is set to i/100 AFTER iteration i when i is a
// multiple of 100 and i <= 100 warmup; before epoch e >= 1 it is e + warmup, also where epoch 0 was too short to finish
// the warm-up.
double nn_vicha_lr_at(const NnVichaSchedule *s, uint64_t epoch, uint64_t iteration);

// By iterations: linear from peak/warmup to peak over the first `warmup` steps, then half a cosine down to `min` at
// step `total` - 1. Steps are counted from 0; later ones stay at min.
typedef struct {
    double peak, min;
    uint64_t warmup, total;
} NnCosineSchedule;
double nn_cosine_lr(const NnCosineSchedule *s, uint64_t step);
