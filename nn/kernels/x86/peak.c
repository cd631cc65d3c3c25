// SPDX-License-Identifier: MIT
// How fast this processor multiplies and adds floats when nothing has to be loaded: what a matrix product is held
// against.
#include "nn/kernels/kernels.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "nn/packed.h"

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

__attribute__((target("avx512f,avx512bf16"))) static double run_bf16(void)
{
    __m512 a[CHAINS];
    const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3c003c00), y = (__m512bh)_mm512_set1_epi32(0x3c013c01);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_dpbf16_ps(a[i], x, y);
    }
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    volatile float sink = _mm512_cvtss_f32(a[0]);
    (void)sink;
    return 2.0 * 32 * CHAINS * STEPS;
}

__attribute__((target("avx512f,avx512vnni"))) static double run_int8(void)
{
    __m512i a[CHAINS];
    const __m512i x = _mm512_set1_epi32(0x01020304), y = _mm512_set1_epi32(0x01ff0203);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_epi32(i);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_dpbusd_epi32(a[i], x, y);
    }
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_epi32(a[0], a[i]);
    volatile int sink = _mm512_cvtsi512_si32(a[0]);
    (void)sink;
    return 2.0 * 64 * CHAINS * STEPS;
}

__attribute__((target("avx2"))) static double run_madd(void)
{
    __m256i a[CHAINS];
    const __m256i x = _mm256_set1_epi32(0x00010002), y = _mm256_set1_epi32(0x00030004);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_epi32(i);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_xor_si256(x, a[i]), y));
    }
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm256_add_epi32(a[0], a[i]);
    volatile int sink = _mm256_cvtsi256_si32(a[0]);
    (void)sink;
    return 2.0 * 16 * CHAINS * STEPS;
}

// What a kind's kernels are made of; bfloat16 without its instructions runs as float, bytes as 16-bit numbers.
static double (*run_of(NnPackedKind kind, uint32_t flags))(void)
{
    if (kind == NN_PACKED_INT8 && (flags & VC_CPU_AVX512_VNNI) != 0)
        return run_int8;
    if (kind == NN_PACKED_INT8)
        return run_madd;
    if (kind == NN_PACKED_BF16 && (flags & VC_CPU_AVX512_BF16) != 0)
        return run_bf16;
    return (flags & VC_CPU_AVX512) != 0 ? run_avx512 : run_avx2;
}

double nn_peak_gops(NnPackedKind kind)
{
    const uint32_t flags = vc_cpu_flags();
    if ((flags & VC_CPU_AVX2) == 0)
        return 0;
    double (*const run)(void) = run_of(kind, flags);
    double best = 0;
    const double end = vc_now() + 0.02;
    do {
        const double start = vc_now();
        double done = 0;
        for (int i = 0; i < 16; i++)
            done += run();
        const double rate = done / (vc_now() - start) * 1e-9;
        best = rate > best ? rate : best;
    } while (vc_now() < end);
    return best;
}
#else
double nn_peak_gops(NnPackedKind kind)
{
    (void)kind;
    return 0;
}
#endif

double nn_peak_gflops(void)
{
    return nn_peak_gops(NN_PACKED_FP32);
}
