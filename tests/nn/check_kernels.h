// SPDX-License-Identifier: MIT
// What the checks of kernels share: where they stand, inputs between closed pages, comparison within a bound.
#pragma once

#include "nn/kernels/kernels.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/support/guard.h"

#include <math.h>

// Where an entry stands: the kernels under test, and what was found.
typedef struct {
    const NnKernels *ref, *k;
    VcRng rng;
    double worst; // largest error in units of the bound
    bool failed;
    char why[300];
} Check;

enum { WIDTHS = 30 };
extern const size_t widths[WIDTHS]; // lengths around the vectors' sizes

double ulp_of(double x); // distance of floats at |x|
__attribute__((format(printf, 2, 3))) void fail(Check *c, const char *fmt, ...);
// |got - want| within `bound`, NaN where and only where it should be.
void compare(Check *c, const char *what, size_t n, size_t i, float want, float got, double bound);

typedef enum { PLAIN, WIDE, SPECIAL, INPUTS } Input; // SPECIAL: NaN, infinities, denormals among plain ones
float random_float(VcRng *rng, Input input);

// A guarded array of n floats, ending or beginning at a closed page.
typedef struct {
    Guard guard;
    float *x;
} Floats;
Floats floats(size_t n, bool at_end);
Floats random_floats(Check *c, size_t n, bool at_end, Input input);
Floats copy_floats(const Floats *from, bool at_end);
void done(Check *c, Floats *f); // looks beside it, frees it

// check_kernels_rows.c
void check_layernorm(Check *c);
void check_layernorm_backward(Check *c);
void check_softmax(Check *c);
void check_softmax_backward(Check *c);
void check_log_sum_exp(Check *c);
void check_dot(Check *c);
void check_panels(Check *c);
// check_kernels_products.c
void check_gemm_pack(Check *c);
void check_gemm_tile(Check *c);
void check_attention(Check *c);
// check_kernels_bytes.c
void check_quantize(Check *c);
void check_int8(Check *c);
