// SPDX-License-Identifier: MIT
// How fast this processor multiplies and adds floats when nothing has to be loaded: what a matrix product is held
// against.
#include "nn/kernels/kernels.h"

#include "base/clock.h"
#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

// More chains than latency x units of any processor (4 x 2), and registers for them.
enum { CHAINS = 12, STEPS = 4096 };

__attribute__((target("avx2,fma"))) static double run_avx2(void)
{
    __m256 a[CHAINS];
    const __m256 x = _mm256_set1_ps(0.999F), y = _mm256_set1_ps(0.001F);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_fmadd_ps(a[i], x, y);
    }
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    volatile float sink = _mm256_cvtss_f32(a[0]); // the work must not be dropped
    (void)sink;
    return 2.0 * 8 * CHAINS * STEPS;
}

__attribute__((target("avx512f"))) static double run_avx512(void)
{
    __m512 a[CHAINS];
    const __m512 x = _mm512_set1_ps(0.999F), y = _mm512_set1_ps(0.001F);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    }
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    volatile float sink = _mm512_cvtss_f32(a[0]);
    (void)sink;
    return 2.0 * 16 * CHAINS * STEPS;
}

double nn_peak_gflops(void)
{
    const uint32_t flags = vc_cpu_flags();
    if ((flags & VC_CPU_AVX2) == 0)
        return 0;
    double best = 0;
    const double end = vc_now() + 0.02;
    do {
        const double start = vc_now();
        double done = 0;
        for (int i = 0; i < 16; i++)
            done += (flags & VC_CPU_AVX512) != 0 ? run_avx512() : run_avx2();
        const double rate = done / (vc_now() - start) * 1e-9;
        best = rate > best ? rate : best;
    } while (vc_now() < end);
    return best;
}
#else
double nn_peak_gflops(void)
{
    return 0;
}
#endif
