// SPDX-License-Identifier: MIT
// Vectors of 8 floats for kernels_tmpl.h: Haswell (2013), Zen (2017) and later. Undefined again by vec_undef.h.
#define NAME(x)   x##_avx2
#define TARGET    __attribute__((target("avx2,fma,f16c")))
#define LANES     8
#define V         __m256
#define VD        __m256d
#define MASK      __m256i
#define V_SET(x)  _mm256_set1_ps(x)
#define V_ZERO()  _mm256_setzero_ps()
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_STORE   _mm256_storeu_ps
// The first n lanes, n < LANES.
#define MASK_FIRST(n)       _mm256_loadu_si256((const __m256i *)(const void *)(mask_words + LANES - (n)))
#define V_LOADM(m, p)       _mm256_maskload_ps(p, m) // 0 in the other lanes
#define V_STOREM(p, m, v)   _mm256_maskstore_ps(p, m, v)
#define V_KEEP(m, v)        _mm256_and_ps(_mm256_castsi256_ps(m), v)       // 0 in the other lanes
#define V_ELSE(m, v, e)     _mm256_blendv_ps(e, v, _mm256_castsi256_ps(m)) // e in the other lanes
#define V_NEGATIVE(x, a, b) _mm256_blendv_ps(b, a, x)                      // x < 0 ? a : b
#define V_ADD(a, b)         _mm256_add_ps(a, b)
#define V_SUB(a, b)         _mm256_sub_ps(a, b)
#define V_MUL(a, b)         _mm256_mul_ps(a, b)
#define V_DIV(a, b)         _mm256_div_ps(a, b)
#define V_SQRT(a)           _mm256_sqrt_ps(a)
#define V_MAX(a, b)         _mm256_max_ps(a, b)       // b where either is NaN
#define V_MIN(a, b)         _mm256_min_ps(a, b)       // b where either is NaN
#define V_FMA(a, b, c)      _mm256_fmadd_ps(a, b, c)  // a b + c
#define V_FMS(a, b, c)      _mm256_fmsub_ps(a, b, c)  // a b - c
#define V_NFMA(a, b, c)     _mm256_fnmadd_ps(a, b, c) // c - a b
#define V_ABS(a)            _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a)
#define V_ROUND(a)          _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define D_ZERO()            _mm256_setzero_pd()
#define D_ADD(a, b)         _mm256_add_pd(a, b)
#define D_FMA(a, b, c)      _mm256_fmadd_pd(a, b, c)
#define D_LOW(v)            _mm256_cvtps_pd(_mm256_castps256_ps128(v))
#define D_HIGH(v)           _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))

static const int32_t mask_words[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

// v x 2^n in two steps, so that a denormal result is rounded once; |n| <= 252, n integral.
TARGET static inline V NAME(scale2)(V v, V n)
{
    const __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
    const __m256i bias = _mm256_set1_epi32(127);
    v = _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}

TARGET static inline double NAME(sum_d)(VD v)
{
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

TARGET static inline float NAME(sum_v)(V v)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

TARGET static inline float NAME(max_v)(V v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

TARGET static inline V NAME(load_f16)(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

TARGET static inline void NAME(store_f16)(uint8_t *p, V v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

TARGET static inline V NAME(load_bf16)(const uint8_t *p)
{
    const __m256i h = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(h, 16));
}

TARGET static inline void NAME(store_bf16)(uint8_t *p, V v)
{
    const __m256i u = _mm256_castps_si256(v), high = _mm256_srli_epi32(u, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd)), 16);
    const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i h = _mm256_blendv_epi8(rounded, quiet, nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(h, h), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(packed));
}

// 0 where v is -inf.
TARGET static inline V NAME(zero_if_lowest)(V v)
{
    return _mm256_andnot_ps(_mm256_cmp_ps(v, _mm256_set1_ps(-INFINITY), _CMP_EQ_OQ), v);
}

// Whole numbers 0..255 to bytes.
TARGET static inline void NAME(store_u8)(uint8_t *p, V v)
{
    const __m256i n = _mm256_cvtps_epi32(v), two = _mm256_packs_epi32(n, n); // 0 1 2 3 0 1 2 3 | 4 5 6 7 4 5 6 7
    const __m256i one = _mm256_packus_epi16(two, two);
    const uint32_t words[2] = {(uint32_t)_mm256_cvtsi256_si32(one), (uint32_t)_mm256_extract_epi32(one, 4)};
    memcpy(p, words, sizeof words);
}

// c - zero sums, as floats.
TARGET static inline V NAME(centred)(const int32_t *c, const int32_t *sums, int32_t zero)
{
    const __m256i off =
        _mm256_mullo_epi32(_mm256_loadu_si256((const __m256i *)(const void *)sums), _mm256_set1_epi32(zero));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)(const void *)c), off));
}
