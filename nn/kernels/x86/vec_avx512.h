// SPDX-License-Identifier: MIT
// Vectors of 16 floats for kernels_tmpl.h: Skylake-X (2017), Zen 4 (2022) and later. Undefined again by vec_undef.h.
#define NAME(x)             x##_avx512
#define TARGET              __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define LANES               16
#define V                   __m512
#define VD                  __m512d
#define MASK                __mmask16
#define V_SET(x)            _mm512_set1_ps(x)
#define V_ZERO()            _mm512_setzero_ps()
#define V_LOAD(p)           _mm512_loadu_ps(p)
#define V_STORE             _mm512_storeu_ps
#define MASK_FIRST(n)       ((__mmask16)((1u << (n)) - 1u))
#define V_LOADM(m, p)       _mm512_maskz_loadu_ps(m, p)
#define V_STOREM(p, m, v)   _mm512_mask_storeu_ps(p, m, v)
#define V_KEEP(m, v)        _mm512_maskz_mov_ps(m, v)
#define V_ELSE(m, v, e)     _mm512_mask_mov_ps(e, m, v)
#define V_NEGATIVE(x, a, b) _mm512_mask_mov_ps(b, _mm512_movepi32_mask(_mm512_castps_si512(x)), a)
#define V_ADD(a, b)         _mm512_add_ps(a, b)
#define V_SUB(a, b)         _mm512_sub_ps(a, b)
#define V_MUL(a, b)         _mm512_mul_ps(a, b)
#define V_DIV(a, b)         _mm512_div_ps(a, b)
#define V_SQRT(a)           _mm512_sqrt_ps(a)
#define V_MAX(a, b)         _mm512_max_ps(a, b)
#define V_MIN(a, b)         _mm512_min_ps(a, b)
#define V_FMA(a, b, c)      _mm512_fmadd_ps(a, b, c)
#define V_FMS(a, b, c)      _mm512_fmsub_ps(a, b, c)
#define V_NFMA(a, b, c)     _mm512_fnmadd_ps(a, b, c)
#define V_ABS(a)            _mm512_abs_ps(a)
#define V_ROUND(a)          _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define D_ZERO()            _mm512_setzero_pd()
#define D_ADD(a, b)         _mm512_add_pd(a, b)
#define D_FMA(a, b, c)      _mm512_fmadd_pd(a, b, c)
#define D_LOW(v)            _mm512_cvtps_pd(_mm512_castps512_ps256(v))
#define D_HIGH(v)           _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))

TARGET static inline V NAME(scale2)(V v, V n)
{
    return _mm512_scalef_ps(v, n);
}

TARGET static inline double NAME(sum_d)(VD v)
{
    return _mm512_reduce_add_pd(v);
}

TARGET static inline float NAME(sum_v)(V v)
{
    return _mm512_reduce_add_ps(v);
}

TARGET static inline float NAME(max_v)(V v)
{
    return _mm512_reduce_max_ps(v);
}

TARGET static inline V NAME(load_f16)(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

TARGET static inline void NAME(store_f16)(uint8_t *p, V v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

TARGET static inline V NAME(load_bf16)(const uint8_t *p)
{
    const __m512i h = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(h, 16));
}

// Not vcvtneps2bf16: it flushes denormals.
TARGET static inline void NAME(store_bf16)(uint8_t *p, V v)
{
    const __m512i u = _mm512_castps_si512(v), high = _mm512_srli_epi32(u, 16);
    const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd)), 16);
    const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const __m512i h = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(h));
}

TARGET static inline V NAME(zero_if_lowest)(V v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ), v);
}

// Whole numbers 0..255 to bytes.
TARGET static inline void NAME(store_u8)(uint8_t *p, V v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)));
}

// c - zero sums, as floats.
TARGET static inline V NAME(centred)(const int32_t *c, const int32_t *sums, int32_t zero)
{
    const __m512i off = _mm512_mullo_epi32(_mm512_loadu_si512(sums), _mm512_set1_epi32(zero));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(c), off));
}
