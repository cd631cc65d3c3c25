// SPDX-License-Identifier: MIT
// The number type of nn/: float in the program, double in the second compilation (-DNN_DOUBLE) that the gradient
// tests link, so that central differences can be held to 1e-6. Everything of nn/ that computes is written with nn_real.
//
// A constant with a fraction is written NN_R(0.5); functions of the C library through the nn_ names below.
#pragma once

#include <math.h>

#ifdef NN_DOUBLE
typedef double nn_real;
#define NN_R(x) (x)
#define nn_sqrt sqrt
#define nn_exp  exp
#define nn_log  log
#define nn_erf  erf
#define nn_tanh tanh
#define nn_fabs fabs
#define nn_fmax fmax
#else
typedef float nn_real;
#define NN_R(x) ((float)(x))
#define nn_sqrt sqrtf
#define nn_exp  expf
#define nn_log  logf
#define nn_erf  erff
#define nn_tanh tanhf
#define nn_fabs fabsf
#define nn_fmax fmaxf
#endif
