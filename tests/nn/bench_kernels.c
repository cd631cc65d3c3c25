// SPDX-License-Identifier: MIT
#include "tests/nn/bench_kernels.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"

#include <math.h>

enum { BENCH_ROWS = 64, BENCH_WIDTH = 768, BENCH_N = BENCH_ROWS * BENCH_WIDTH };
// The pads keep the arrays from falling on each other in the caches.
static float bench_a[BENCH_N + 80], bench_b[BENCH_N + 112], bench_c[BENCH_N + 176], bench_d[BENCH_N + 208],
    bench_stats[2][BENCH_ROWS];
static uint16_t bench_h[BENCH_N];

static void bench_call(const NnKernels *k, int what)
{
    static const NnAdamwStep step = {0.9999F, 3e-4F, 0.9F, 0.999F, 0.1F, 0.001F, 1.7F, 1e-8F, 1};
    switch (what) {
    case 0:
        k->exp(bench_b, bench_a, BENCH_N);
        break;
    case 1:
        k->gelu(bench_b, bench_a, BENCH_N);
        break;
    case 2:
        k->gelu_backward(bench_b, bench_c, bench_a, BENCH_N);
        break;
    case 3:
        k->quick_gelu(bench_b, bench_a, BENCH_N);
        break;
    case 4:
        k->quick_gelu_backward(bench_b, bench_c, bench_a, BENCH_N);
        break;
    case 5:
        k->layernorm(bench_b, bench_stats[0], bench_stats[1], bench_a, bench_c, bench_d, BENCH_ROWS, BENCH_WIDTH,
                     1e-5F);
        break;
    case 6:
        k->layernorm_backward(bench_b, bench_d, bench_d + BENCH_WIDTH, bench_c, bench_a, bench_stats[0], bench_stats[1],
                              bench_c, BENCH_ROWS, BENCH_WIDTH);
        break;
    case 7:
        k->softmax(bench_b, bench_a, BENCH_ROWS, BENCH_WIDTH);
        break;
    case 8:
        k->softmax_backward(bench_b, bench_c, bench_a, BENCH_ROWS, BENCH_WIDTH);
        break;
    case 9:
        bench_b[0] = k->log_sum_exp(bench_a, BENCH_N);
        break;
    case 10:
        bench_b[0] = k->dot(bench_a, bench_c, BENCH_N);
        break;
    case 11:
        k->add(bench_b, bench_a, BENCH_N);
        break;
    case 12:
        k->scale(bench_b, 0.999F, BENCH_N);
        break;
    case 13:
        k->axpy(bench_b, 0.1F, bench_a, BENCH_N);
        break;
    case 14:
        k->add_rows(bench_b, bench_a, BENCH_ROWS, BENCH_WIDTH);
        break;
    case 15:
        k->sum_rows(bench_b, bench_a, BENCH_ROWS, BENCH_WIDTH);
        break;
    case 16:
        k->adamw(bench_b, bench_c, bench_d, bench_a, BENCH_N, &step);
        break;
    case 17:
        k->f16_to_f32(bench_b, bench_h, BENCH_N);
        break;
    case 18:
        k->f32_to_f16(bench_h, bench_a, BENCH_N);
        break;
    case 19:
        k->bf16_to_f32(bench_b, bench_h, BENCH_N);
        break;
    case 20:
        k->f32_to_bf16(bench_h, bench_a, BENCH_N);
        break;
    case 21:
        k->round_bf16(bench_h, bench_a, BENCH_N);
        break;
    case 22:
        k->gelu_bf16(bench_h, bench_a, BENCH_N);
        break;
    case 23:
        k->quick_gelu_bf16(bench_h, bench_a, BENCH_N);
        break;
    default:
        VC_ASSERT(false);
    }
}

static double bench_one(const NnKernels *k, int what)
{
    double best = INFINITY;
    for (int run = 0; run < 7; run++) {
        VcRng rng;
        vc_rng_seed(&rng, 1);
        for (size_t i = 0; i < BENCH_N; i++) {
            bench_a[i] = (float)vc_rng_normal(&rng) * 3;
            bench_b[i] = bench_c[i] = bench_d[i] = fabsf((float)vc_rng_normal(&rng) * 3);
        }
        const double start = vc_now();
        int calls = 0;
        do {
            bench_call(k, what);
            calls++;
        } while (vc_now() - start < 0.003);
        const double ns = (vc_now() - start) / calls / BENCH_N * 1e9;
        best = ns < best ? ns : best;
    }
    return best;
}

void bench_kernels(const NnKernels *levels, size_t count)
{
    static const char *const names[] = {"exp",
                                        "gelu",
                                        "gelu_backward",
                                        "quick_gelu",
                                        "quick_gelu_backward",
                                        "layernorm",
                                        "layernorm_backward",
                                        "softmax",
                                        "softmax_backward",
                                        "log_sum_exp",
                                        "dot",
                                        "add",
                                        "scale",
                                        "axpy",
                                        "add_rows",
                                        "sum_rows",
                                        "adamw",
                                        "f16_to_f32",
                                        "f32_to_f16",
                                        "bf16_to_f32",
                                        "f32_to_bf16",
                                        "round_bf16",
                                        "gelu_bf16",
                                        "quick_gelu_bf16"};
    printf("%-20s %9s", "ns per element", "c");
    for (size_t l = 0; l < count; l++)
        printf(" %9s", levels[l].name);
    printf("\n");
    for (int what = 0; what < (int)(sizeof names / sizeof names[0]); what++) {
        printf("%-20s %9.3f", names[what], bench_one(nn_kernels_reference(), what));
        for (size_t l = 0; l < count; l++)
            printf(" %9.3f", bench_one(&levels[l], what));
        printf("\n");
    }
}
