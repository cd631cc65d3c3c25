// SPDX-License-Identifier: MIT
// A short check of the chosen kernels against the reference, for vicha doctor. The thorough one is
// tests/nn/check_kernels.c.
#include "nn/kernels/kernels.h"

#include "base/rng.h"

#include <string.h>

enum { N = 323, ROWS = 3, WIDTH = 101, KINDS = 8 }; // N: no multiple of any vector

typedef struct {
    nn_real x[N], dy[N], out[KINDS][N];
} Results;

static void run(const NnKernels *k, Results *r)
{
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (int i = 0; i < N; i++) {
        r->x[i] = (nn_real)(3 * vc_rng_normal(&rng));
        r->dy[i] = (nn_real)vc_rng_normal(&rng);
    }
    memset(r->out, 0, sizeof r->out);
    nn_real mean[ROWS], rstd[ROWS];
    uint16_t half[N];
    float wide[N];
    k->exp(r->out[0], r->x, N);
    k->gelu(r->out[1], r->x, N);
    k->gelu_backward(r->out[2], r->dy, r->x, N);
    k->quick_gelu(r->out[3], r->x, N);
    k->layernorm(r->out[4], mean, rstd, r->x, NULL, NULL, ROWS, WIDTH, (nn_real)1e-5);
    k->layernorm_backward(r->out[5], NULL, NULL, r->dy, r->x, mean, rstd, NULL, ROWS, WIDTH);
    k->softmax(r->out[6], r->x, ROWS, WIDTH);
    for (int i = 0; i < N; i++)
        wide[i] = (float)r->x[i];
    k->f32_to_f16(half, wide, N);
    k->f16_to_f32(wide, half, N);
    for (int i = 0; i < N; i++)
        r->out[7][i] = (nn_real)wide[i];
}

bool nn_kernels_check(const NnKernels *k, VcErr *err)
{
    static const char *const names[KINDS] = {
        "exp", "gelu", "gelu_backward", "quick_gelu", "layernorm", "layernorm_backward", "softmax", "f16"};
    Results want, got;
    run(nn_kernels_reference(), &want);
    run(k, &got);
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < N; i++) {
            const double w = (double)want.out[kind][i], g = (double)got.out[kind][i];
            if (!(fabs(w - g) <= 1e-5 * (1 + fabs(w)))) {
                return vc_fail(err, VC_ERR_FORMAT,
                               "kernel %s of level %s is wrong: element %d is %.9g and should be %.9g. Set VC_CPU=avx2 "
                               "or VC_CPU=none and report it",
                               names[kind], k->name, i, g, w);
            }
        }
    }
    return true;
}
