// SPDX-License-Identifier: MIT
// AdamW (Loshchilov & Hutter, 2019) in the order of torch.optim.AdamW, over one block of parameters.
// Threads: inside over the pool of the context; every number is updated by itself, so any number gives the same bits.
#pragma once

#include "nn/tape.h"

typedef struct {
    double beta1, beta2, eps;
    double weight_decay; // of parameters with NN_PARAM_DECAY; decoupled: p is multiplied by 1 - lr x decay first
} NnAdamw;
NnAdamw nn_adamw_default(void); // 0.9, 0.999, 1e-8, 0.02

// Step number t (1 for the first) with the gradients in params->grad, each multiplied by grad_scale first:
//   p *= 1 - lr wd;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps).
// Gradients are dense: a parameter with zero gradient decays and moves with its old moments all the same. Frozen ones
// are left alone. params must have been allocated with moments.
void nn_adamw_step(const NnContext *ctx, NnParams *params, const NnAdamw *adamw, double lr, uint64_t t,
                   double grad_scale);

// Euclidean norm of all gradients together.
double nn_grad_norm(const NnContext *ctx, const NnParams *params);
// The grad_scale that keeps the norm at or under max_norm, as torch.nn.utils.clip_grad_norm_: min(1, max/(norm+1e-6)).
// max_norm <= 0: 1, no clipping. A norm that is not finite gives 0 or NaN: look at it before stepping.
double nn_clip_scale(double norm, double max_norm);

// A momentum copy: m[n] = keep m + (1 - keep) p.
void nn_ema(const NnContext *ctx, nn_real *m, const nn_real *p, double keep, size_t n);
