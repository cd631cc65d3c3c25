// SPDX-License-Identifier: MIT
#include "nn/kernels/x86/kernels_x86.h"

#ifdef NN_HAVE_X86
#include "base/cpu.h"
#include "nn/kernels/products.h"

#include <immintrin.h>
#include <string.h>

// ---- AVX2: the kernels follow their vectors ------------------------------------------------------------------------
#include "nn/kernels/x86/vec_avx2.h"
// (the order counts)
#include "nn/kernels/x86/kernels_tmpl.h"
// (the order counts)
#include "nn/kernels/x86/attention_tmpl.h"
#include "nn/kernels/x86/pack_tmpl.h"
#include "nn/kernels/x86/quant_tmpl.h"

#define HALF(x)     x##_avx2
#define HALF_TARGET TARGET
#include "nn/kernels/x86/pack_bf16_tmpl.h"

#define HALF(x)            x##_avx2
#define HALF_TARGET        TARGET
#define HALF_STORE(p, v)   store_bf16_avx2(p, v)
#define HALF_QUICK_GELU(v) quick_gelu_v_avx2(v)
#include "nn/kernels/x86/half_tmpl.h"

#define TILE(x)          x##_avx2
#define TILE_TARGET      TARGET
#define WORD             float
#define WORD_TERMS       1
#define WORDS            __m256
#define W_LOAD(p)        _mm256_loadu_ps(p)
#define W_SET(w)         _mm256_set1_ps(w)
#define W_FMA(a, b, sum) _mm256_fmadd_ps(a, b, sum)
#include "nn/kernels/x86/gemm_tmpl.h"

// bfloat16 without instructions for it: the halves of a word are floats once they stand in the upper 16 bits.
TARGET static inline __m256 fma_pairs_avx2(__m256i a, __m256i b, __m256 sum)
{
    const __m256i high = _mm256_set1_epi32((int)0xffff0000u);
    sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)),
                          sum);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(a, high)),
                           _mm256_castsi256_ps(_mm256_and_si256(b, high)), sum);
}
#define TILE(x)          x##_bf16_avx2
#define TILE_TARGET      TARGET
#define WORD             uint32_t
#define WORD_TERMS       2
#define WORDS            __m256i
#define W_LOAD(p)        _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define W_SET(w)         _mm256_set1_epi32((int)(w))
#define W_FMA(a, b, sum) fma_pairs_avx2(a, b, sum)
#include "nn/kernels/x86/gemm_tmpl.h"

// Products of bytes without instructions for them: the even and the odd bytes as 16-bit numbers, whose products and
// sums of pairs are exact.
typedef struct {
    __m256i even, odd;
} Bytes256;

TARGET static inline Bytes256 signed_avx2(__m256i v)
{
    return (Bytes256){_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), _mm256_srai_epi16(v, 8)};
}

TARGET static inline Bytes256 unsigned_avx2(uint32_t w)
{
    const __m256i v = _mm256_set1_epi32((int)w);
    return (Bytes256){_mm256_and_si256(v, _mm256_set1_epi16(255)), _mm256_srli_epi16(v, 8)};
}

TARGET static inline __m256i byte_dot_avx2(__m256i sum, Bytes256 a, Bytes256 b)
{
    return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(a.even, b.even), _mm256_madd_epi16(a.odd, b.odd)));
}
#define TILE(x)          x##_int8_avx2
#define TILE_TARGET      TARGET
#define TILE_ROWS        4
#define INTS             __m256i
#define INT_LANES        8
#define BYTES            Bytes256
#define SIGNED(v)        signed_avx2(v)
#define UNSIGNED(w)      unsigned_avx2(w)
#define I_LOAD(p)        _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define I_STORE(p, v)    _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define I_ZERO()         _mm256_setzero_si256()
#define I_DOT(sum, a, b) byte_dot_avx2(sum, a, b)
#include "nn/kernels/x86/int8_tmpl.h"

// AVX-VNNI: the processors with it and without AVX-512 (Alder Lake, 2021).
#define TILE(x)          x##_int8_avxvnni
#define TILE_TARGET      __attribute__((target("avx2,fma,f16c,avxvnni")))
#define TILE_ROWS        6
#define INTS             __m256i
#define INT_LANES        8
#define BYTES            __m256i
#define SIGNED(v)        (v)
#define UNSIGNED(w)      _mm256_set1_epi32((int)(w))
#define I_LOAD(p)        _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define I_STORE(p, v)    _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define I_ZERO()         _mm256_setzero_si256()
#define I_DOT(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#include "nn/kernels/x86/int8_tmpl.h"
#include "nn/kernels/x86/vec_undef.h"

// ---- AVX-512 -------------------------------------------------------------------------------------------------------
#include "nn/kernels/x86/vec_avx512.h"
// (the order counts)
#include "nn/kernels/x86/kernels_tmpl.h"
// (the order counts)
#include "nn/kernels/x86/attention_tmpl.h"
#include "nn/kernels/x86/pack_tmpl.h"
#include "nn/kernels/x86/quant_tmpl.h"

#define HALF(x)     x##_avx512
#define HALF_TARGET TARGET
#include "nn/kernels/x86/pack_bf16_tmpl.h"

// x / (1 + 2^(-1.702 log2(e) x)): 2^r by a polynomial of relative error 3e-6 on [-1/2, 1/2], the quotient to 14 bits.
// The bounds on t give 0 and x where the power over- or underflows; NaN stays.
TARGET static inline __m512 rough_quick_gelu_avx512(__m512 x)
{
    __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(-2.45546696F));
    t = _mm512_max_ps(_mm512_set1_ps(-200), _mm512_min_ps(_mm512_set1_ps(200), t));
    const __m512 n = V_ROUND(t), r = _mm512_sub_ps(t, n);
    __m512 p = _mm512_set1_ps(0.00957009F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.055917863F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.24024746F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.6931218F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.9999993F));
    const __m512 under = _mm512_add_ps(_mm512_scalef_ps(p, n), _mm512_set1_ps(1));
    return _mm512_mul_ps(x, _mm512_rcp14_ps(under));
}
#define HALF(x)            x##_avx512
#define HALF_TARGET        TARGET
#define HALF_STORE(p, v)   store_bf16_avx512(p, v)
#define HALF_QUICK_GELU(v) rough_quick_gelu_avx512(v)
#include "nn/kernels/x86/half_tmpl.h"

#define TILE(x)          x##_avx512
#define TILE_TARGET      TARGET
#define WORD             float
#define WORD_TERMS       1
#define WORDS            __m512
#define W_LOAD(p)        _mm512_loadu_ps(p)
#define W_SET(w)         _mm512_set1_ps(w)
#define W_FMA(a, b, sum) _mm512_fmadd_ps(a, b, sum)
#include "nn/kernels/x86/gemm_tmpl.h"

TARGET static inline __m512 fma_pairs_avx512(__m512i a, __m512i b, __m512 sum)
{
    const __m512i high = _mm512_set1_epi32((int)0xffff0000u);
    sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)),
                          sum);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, high)),
                           _mm512_castsi512_ps(_mm512_and_si512(b, high)), sum);
}
#define TILE(x)          x##_bf16_avx512
#define TILE_TARGET      TARGET
#define WORD             uint32_t
#define WORD_TERMS       2
#define WORDS            __m512i
#define W_LOAD(p)        _mm512_loadu_si512(p)
#define W_SET(w)         _mm512_set1_epi32((int)(w))
#define W_FMA(a, b, sum) fma_pairs_avx512(a, b, sum)
#include "nn/kernels/x86/gemm_tmpl.h"

typedef struct {
    __m512i even, odd;
} Bytes512;

TARGET static inline Bytes512 signed_avx512(__m512i v)
{
    return (Bytes512){_mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8), _mm512_srai_epi16(v, 8)};
}

TARGET static inline Bytes512 unsigned_avx512(uint32_t w)
{
    const __m512i v = _mm512_set1_epi32((int)w);
    return (Bytes512){_mm512_and_si512(v, _mm512_set1_epi16(255)), _mm512_srli_epi16(v, 8)};
}

TARGET static inline __m512i byte_dot_avx512(__m512i sum, Bytes512 a, Bytes512 b)
{
    return _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_madd_epi16(a.even, b.even), _mm512_madd_epi16(a.odd, b.odd)));
}
#define TILE(x)          x##_int8_avx512
#define TILE_TARGET      TARGET
#define TILE_ROWS        12
#define INTS             __m512i
#define INT_LANES        16
#define BYTES            Bytes512
#define SIGNED(v)        signed_avx512(v)
#define UNSIGNED(w)      unsigned_avx512(w)
#define I_LOAD(p)        _mm512_loadu_si512(p)
#define I_STORE(p, v)    _mm512_storeu_si512(p, v)
#define I_ZERO()         _mm512_setzero_si512()
#define I_DOT(sum, a, b) byte_dot_avx512(sum, a, b)
#include "nn/kernels/x86/int8_tmpl.h"

#define TILE(x)          x##_int8_vnni
#define TILE_TARGET      __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define TILE_ROWS        12
#define INTS             __m512i
#define INT_LANES        16
#define BYTES            __m512i
#define SIGNED(v)        (v)
#define UNSIGNED(w)      _mm512_set1_epi32((int)(w))
#define I_LOAD(p)        _mm512_loadu_si512(p)
#define I_STORE(p, v)    _mm512_storeu_si512(p, v)
#define I_ZERO()         _mm512_setzero_si512()
#define I_DOT(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#include "nn/kernels/x86/int8_tmpl.h"

// With the instructions for pairs; their rounding flushes denormals.
#define TARGET_DOT __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
TARGET_DOT static inline __m128 pairs4_dot(const float *x)
{
    return _mm_castsi128_ps((__m128i)_mm256_cvtneps_pbh(_mm256_loadu_ps(x)));
}

TARGET_DOT static inline __m256i pairs8_dot(__m256 first, __m256 second)
{
    const __m256i order = _mm256_setr_epi16(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    return _mm256_permutexvar_epi16(order, (__m256i)_mm256_cvtne2ps_pbh(second, first));
}
#define HALF(x)     x##_dot
#define HALF_TARGET TARGET_DOT
#include "nn/kernels/x86/pack_bf16_tmpl.h"

TARGET_DOT static inline void store_bf16_dot(uint8_t *p, __m512 v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh(v));
}
#define HALF(x)            x##_dot
#define HALF_TARGET        TARGET_DOT
#define HALF_STORE(p, v)   store_bf16_dot(p, v)
#define HALF_QUICK_GELU(v) rough_quick_gelu_avx512(v)
#include "nn/kernels/x86/half_tmpl.h"

#define TILE(x)          x##_bf16_dot
#define TILE_TARGET      TARGET_DOT
#define WORD             uint32_t
#define WORD_TERMS       2
#define WORDS            __m512i
#define W_LOAD(p)        _mm512_loadu_si512(p)
#define W_SET(w)         _mm512_set1_epi32((int)(w))
#define W_FMA(a, b, sum) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
#include "nn/kernels/x86/gemm_tmpl.h"
#include "nn/kernels/x86/vec_undef.h"

void nn_kernels_init_x86(NnKernels *k, uint32_t flags)
{
    if ((flags & VC_CPU_AVX512) != 0) {
        fill_avx512(k);
        k->gemm_pack = gemm_pack_avx512;
        k->gemm_tile = gemm_tile_avx512;
        const bool pairs = (flags & VC_CPU_AVX512_BF16) != 0;
        k->gemm_pack_bf16 = pairs ? gemm_pack_bf16_dot : gemm_pack_bf16_avx512;
        k->gemm_tile_bf16 = pairs ? gemm_tile_bf16_dot : gemm_tile_bf16_avx512;
        k->round_bf16 = pairs ? to_bf16_dot : to_bf16_avx512;
        k->gelu_bf16 = pairs ? gelu_bf16_dot : gelu_bf16_avx512;
        k->quick_gelu_bf16 = pairs ? quick_gelu_bf16_dot : quick_gelu_bf16_avx512;
        k->quantize = quantize_avx512;
        k->dequantize = dequantize_avx512;
        k->gemm_tile_int8 = (flags & VC_CPU_AVX512_VNNI) != 0 ? gemm_tile_int8_vnni : gemm_tile_int8_avx512;
        k->attention_exp = attention_exp_avx512;
        k->attention_weights = attention_weights_avx512;
        k->attention_slopes = attention_slopes_avx512;
        k->name = "avx512";
    } else if ((flags & VC_CPU_AVX2) != 0) {
        fill_avx2(k);
        k->gemm_pack = gemm_pack_avx2;
        k->gemm_tile = gemm_tile_avx2;
        k->gemm_pack_bf16 = gemm_pack_bf16_avx2;
        k->gemm_tile_bf16 = gemm_tile_bf16_avx2;
        k->round_bf16 = to_bf16_avx2;
        k->gelu_bf16 = gelu_bf16_avx2;
        k->quick_gelu_bf16 = quick_gelu_bf16_avx2;
        k->quantize = quantize_avx2;
        k->dequantize = dequantize_avx2;
        k->gemm_tile_int8 = (flags & VC_CPU_AVX_VNNI) != 0 ? gemm_tile_int8_avxvnni : gemm_tile_int8_avx2;
        k->attention_exp = attention_exp_avx2;
        k->attention_weights = attention_weights_avx2;
        k->attention_slopes = attention_slopes_avx2;
        k->name = "avx2";
    }
}
#endif
