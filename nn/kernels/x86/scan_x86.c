// SPDX-License-Identifier: MIT
#include "nn/kernels/x86/scan_x86.h"

#ifdef NN_HAVE_SCAN_X86
#include "base/cpu.h"

#include <immintrin.h>
#include <string.h>

#define AVX2   __attribute__((target("avx2,fma,f16c")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define VNNI   __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))

// ---- products of bytes ----------------------------------------------------------------------------------------------

// Without instructions for products of bytes: even and odd bytes as 16-bit numbers, whose products and sums of two
// are exact.
typedef struct {
    __m256i even, odd;
} Pairs256;

AVX2 static inline Pairs256 unsigned_avx2(__m256i v)
{
    return (Pairs256){_mm256_and_si256(v, _mm256_set1_epi16(255)), _mm256_srli_epi16(v, 8)};
}

AVX2 static inline Pairs256 signed_avx2(__m256i v)
{
    return (Pairs256){_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), _mm256_srai_epi16(v, 8)};
}

AVX2 static inline __m256i dot_avx2(__m256i sum, Pairs256 a, Pairs256 b)
{
    return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(a.even, b.even), _mm256_madd_epi16(a.odd, b.odd)));
}

AVX2 static inline int32_t sum_avx2(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}
#define BYTES_NAME(x)    x##_avx2
#define BYTES_TARGET     AVX2
#define INTS             __m256i
#define INT_LANES        8
#define STRIP            2
#define LEFT             Pairs256
#define RIGHT            Pairs256
#define I_LEFT(v)        unsigned_avx2(v)
#define I_RIGHT(v)       signed_avx2(v)
#define I_SPREAD(w)      _mm256_set1_epi32(w)
#define I_LOAD(p)        _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define I_STORE(p, v)    _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define I_ZERO()         _mm256_setzero_si256()
#define I_XOR(a, b)      _mm256_xor_si256(a, b)
#define I_AND(a, b)      _mm256_and_si256(a, b)
#define I_BYTES(x)       _mm256_set1_epi8((char)(x))
#define I_SIXTEENTH(v)   _mm256_srai_epi32(v, 4)
#define I_DOT(sum, a, b) dot_avx2(sum, a, b)
#define I_ADD(a, b)      _mm256_add_epi32(a, b)
#define I_SUM(v)         sum_avx2(v)
#include "nn/kernels/x86/scan_bytes_tmpl.h"

typedef struct {
    __m512i even, odd;
} Pairs512;

AVX512 static inline Pairs512 unsigned_avx512(__m512i v)
{
    return (Pairs512){_mm512_and_si512(v, _mm512_set1_epi16(255)), _mm512_srli_epi16(v, 8)};
}

AVX512 static inline Pairs512 signed_avx512(__m512i v)
{
    return (Pairs512){_mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8), _mm512_srai_epi16(v, 8)};
}

AVX512 static inline __m512i dot_avx512(__m512i sum, Pairs512 a, Pairs512 b)
{
    return _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_madd_epi16(a.even, b.even), _mm512_madd_epi16(a.odd, b.odd)));
}
#define BYTES_NAME(x)    x##_avx512
#define BYTES_TARGET     AVX512
#define INTS             __m512i
#define INT_LANES        16
#define STRIP            6
#define LEFT             Pairs512
#define RIGHT            Pairs512
#define I_LEFT(v)        unsigned_avx512(v)
#define I_RIGHT(v)       signed_avx512(v)
#define I_SPREAD(w)      _mm512_set1_epi32(w)
#define I_LOAD(p)        _mm512_loadu_si512(p)
#define I_STORE(p, v)    _mm512_storeu_si512(p, v)
#define I_ZERO()         _mm512_setzero_si512()
#define I_XOR(a, b)      _mm512_xor_si512(a, b)
#define I_AND(a, b)      _mm512_and_si512(a, b)
#define I_BYTES(x)       _mm512_set1_epi8((char)(x))
#define I_SIXTEENTH(v)   _mm512_srai_epi32(v, 4)
#define I_DOT(sum, a, b) dot_avx512(sum, a, b)
#define I_ADD(a, b)      _mm512_add_epi32(a, b)
#define I_SUM(v)         _mm512_reduce_add_epi32(v)
#include "nn/kernels/x86/scan_bytes_tmpl.h"

#define BYTES_NAME(x)    x##_vnni
#define BYTES_TARGET     VNNI
#define INTS             __m512i
#define INT_LANES        16
#define STRIP            NN_SCAN_STRIP
#define LEFT             __m512i
#define RIGHT            __m512i
#define I_LEFT(v)        (v)
#define I_RIGHT(v)       (v)
#define I_SPREAD(w)      _mm512_set1_epi32(w)
#define I_LOAD(p)        _mm512_loadu_si512(p)
#define I_STORE(p, v)    _mm512_storeu_si512(p, v)
#define I_ZERO()         _mm512_setzero_si512()
#define I_XOR(a, b)      _mm512_xor_si512(a, b)
#define I_AND(a, b)      _mm512_and_si512(a, b)
#define I_BYTES(x)       _mm512_set1_epi8((char)(x))
#define I_SIXTEENTH(v)   _mm512_srai_epi32(v, 4)
#define I_DOT(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#define I_ADD(a, b)      _mm512_add_epi32(a, b)
#define I_SUM(v)         _mm512_reduce_add_epi32(v)
#include "nn/kernels/x86/scan_bytes_tmpl.h"

// ---- which rows are good enough -------------------------------------------------------------------------------------

AVX2 static inline uint32_t above8_avx2(__m256i c, __m256 scale, __m256 spread, __m256 least)
{
    const __m256 score = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(c), scale), spread);
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(score, least, _CMP_GE_OQ));
}

AVX2 static void above_avx2(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                            const int32_t *shift, const float *gain, const float *least)
{
    for (size_t r = 0; r < count; r++) {
        const __m256 s = _mm256_set1_ps(scale[r]), w = _mm256_set1_ps(spread[r]);
        uint32_t bits = 0;
        for (size_t j = 0; j < NN_SCAN_LANES; j += 8) {
            const __m256i v =
                _mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(c + r * NN_SCAN_LANES + j)),
                                 _mm256_loadu_si256((const __m256i *)(const void *)(shift + j)));
            bits |= above8_avx2(v, s, _mm256_mul_ps(w, _mm256_loadu_ps(gain + j)), _mm256_loadu_ps(least + j)) << j;
        }
        hits[r] = bits;
    }
}

AVX2 static void above_one_avx2(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                                float gain, float least)
{
    size_t r = 0;
    const __m256 g = _mm256_set1_ps(gain), l = _mm256_set1_ps(least);
    for (; r + 32 <= count; r += 32) {
        uint32_t bits = 0;
        for (size_t j = r; j < r + 32; j += 8) {
            const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(c + j));
            bits |= above8_avx2(v, _mm256_loadu_ps(scale + j), _mm256_mul_ps(_mm256_loadu_ps(spread + j), g), l)
                    << (j - r);
        }
        hits[r / 32] = bits;
    }
    if (r < count)
        nn_scan_kernels_reference()->above_one(hits + r / 32, c + r, scale + r, spread + r, count - r, gain, least);
}

AVX512 static inline uint32_t above16_avx512(__m512i c, __m512 scale, __m512 spread, __m512 least)
{
    const __m512 score = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(c), scale), spread);
    return _mm512_cmp_ps_mask(score, least, _CMP_GE_OQ);
}

AVX512 static void above_avx512(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                                const int32_t *shift, const float *gain, const float *least)
{
    const __m512i shift_low = _mm512_loadu_si512(shift), shift_high = _mm512_loadu_si512(shift + 16);
    const __m512 gain_low = _mm512_loadu_ps(gain), gain_high = _mm512_loadu_ps(gain + 16);
    const __m512 least_low = _mm512_loadu_ps(least), least_high = _mm512_loadu_ps(least + 16);
    for (size_t r = 0; r < count; r++) {
        const __m512 s = _mm512_set1_ps(scale[r]), w = _mm512_set1_ps(spread[r]);
        const int32_t *row = c + r * NN_SCAN_LANES;
        const __m512i low = _mm512_sub_epi32(_mm512_loadu_si512(row), shift_low);
        const __m512i high = _mm512_sub_epi32(_mm512_loadu_si512(row + 16), shift_high);
        hits[r] = above16_avx512(low, s, _mm512_mul_ps(w, gain_low), least_low) |
                  above16_avx512(high, s, _mm512_mul_ps(w, gain_high), least_high) << 16;
    }
}

AVX512 static void above_one_avx512(uint32_t *hits, const int32_t *c, const float *scale, const float *spread,
                                    size_t count, float gain, float least)
{
    size_t r = 0;
    const __m512 g = _mm512_set1_ps(gain), l = _mm512_set1_ps(least);
    for (; r + 32 <= count; r += 32) {
        const uint32_t low = above16_avx512(_mm512_loadu_si512(c + r), _mm512_loadu_ps(scale + r),
                                            _mm512_mul_ps(_mm512_loadu_ps(spread + r), g), l);
        const uint32_t high = above16_avx512(_mm512_loadu_si512(c + r + 16), _mm512_loadu_ps(scale + r + 16),
                                             _mm512_mul_ps(_mm512_loadu_ps(spread + r + 16), g), l);
        hits[r / 32] = low | high << 16;
    }
    if (r < count)
        nn_scan_kernels_reference()->above_one(hits + r / 32, c + r, scale + r, spread + r, count - r, gain, least);
}

// ---- products of float16 and float ----------------------------------------------------------------------------------

enum { SUMS = 32 };

AVX2 static inline float add_halves_avx2(__m256 s) // the last three of the halvings
{
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    v = _mm_add_ss(v, _mm_shuffle_ps(v, v, 1));
    return _mm_cvtss_f32(v);
}

AVX2 static inline __m256 halves8(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

AVX2 static void dots_f16_avx2(float *out, float *norms, const void *rows, size_t stride, size_t count,
                               const float *query, size_t n)
{
    const size_t whole = n / SUMS * SUMS, left = n - whole;
    float tail[SUMS] = {0};
    memcpy(tail, query + whole, left * sizeof *tail);
    for (size_t r = 0; r < count; r++) {
        const uint8_t *row = (const uint8_t *)rows + r * stride;
        uint8_t end[2 * SUMS] = {0};
        memcpy(end, row + 2 * whole, 2 * left);
        __m256 sum[4], norm[4];
        for (int p = 0; p < 4; p++)
            sum[p] = norm[p] = _mm256_setzero_ps();
        for (size_t i = 0; i <= whole; i += SUMS) {
            const uint8_t *h = i < whole ? row + 2 * i : end;
            const float *q = i < whole ? query + i : tail;
            for (int p = 0; p < 4; p++) {
                const __m256 x = halves8(h + (size_t)p * 16);
                sum[p] = _mm256_add_ps(sum[p], _mm256_mul_ps(x, _mm256_loadu_ps(q + (size_t)p * 8)));
                norm[p] = _mm256_add_ps(norm[p], _mm256_mul_ps(x, x));
            }
        }
        out[r] = add_halves_avx2(_mm256_add_ps(_mm256_add_ps(sum[0], sum[2]), _mm256_add_ps(sum[1], sum[3])));
        if (norms != NULL) {
            norms[r] = add_halves_avx2(_mm256_add_ps(_mm256_add_ps(norm[0], norm[2]), _mm256_add_ps(norm[1], norm[3])));
        }
    }
}

AVX512 static inline float add_halves_avx512(__m512 low, __m512 high)
{
    const __m512 s = _mm512_add_ps(low, high);
    return add_halves_avx2(_mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1)));
}

AVX512 static inline __m512 halves16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

AVX512 static void dots_f16_avx512(float *out, float *norms, const void *rows, size_t stride, size_t count,
                                   const float *query, size_t n)
{
    enum { AHEAD = 4096 };
    const size_t whole = n / SUMS * SUMS, left = n - whole;
    float tail[SUMS] = {0};
    memcpy(tail, query + whole, left * sizeof *tail);
    for (size_t r = 0; r < count; r++) {
        const uint8_t *row = (const uint8_t *)rows + r * stride;
        __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0, norm0 = sum0, norm1 = sum0;
        for (size_t i = 0; i < whole; i += SUMS) {
            __builtin_prefetch((const void *)((uintptr_t)row + 2 * i + AHEAD)); // only advice
            const __m512 x0 = halves16(row + 2 * i), x1 = halves16(row + 2 * i + 32);
            sum0 = _mm512_add_ps(sum0, _mm512_mul_ps(x0, _mm512_loadu_ps(query + i)));
            sum1 = _mm512_add_ps(sum1, _mm512_mul_ps(x1, _mm512_loadu_ps(query + i + 16)));
            norm0 = _mm512_add_ps(norm0, _mm512_mul_ps(x0, x0));
            norm1 = _mm512_add_ps(norm1, _mm512_mul_ps(x1, x1));
        }
        if (left > 0) {
            uint8_t end[2 * SUMS] = {0};
            memcpy(end, row + 2 * whole, 2 * left);
            const __m512 x0 = halves16(end), x1 = halves16(end + 32);
            sum0 = _mm512_add_ps(sum0, _mm512_mul_ps(x0, _mm512_loadu_ps(tail)));
            sum1 = _mm512_add_ps(sum1, _mm512_mul_ps(x1, _mm512_loadu_ps(tail + 16)));
            norm0 = _mm512_add_ps(norm0, _mm512_mul_ps(x0, x0));
            norm1 = _mm512_add_ps(norm1, _mm512_mul_ps(x1, x1));
        }
        out[r] = add_halves_avx512(sum0, sum1);
        if (norms != NULL)
            norms[r] = add_halves_avx512(norm0, norm1);
    }
}

void nn_scan_kernels_init_x86(NnScanKernels *k, uint32_t flags)
{
    if ((flags & VC_CPU_AVX512) != 0) {
        k->name = (flags & VC_CPU_AVX512_VNNI) != 0 ? "avx512 vnni" : "avx512";
        if ((flags & VC_CPU_AVX512_VNNI) != 0) {
            fill_vnni(k);
        } else {
            fill_avx512(k);
        }
        k->above = above_avx512;
        k->above_one = above_one_avx512;
        k->dots_f16 = dots_f16_avx512;
    } else if ((flags & VC_CPU_AVX2) != 0) {
        k->name = "avx2";
        fill_avx2(k);
        k->above = above_avx2;
        k->above_one = above_one_avx2;
        k->dots_f16 = dots_f16_avx2;
    }
}
#endif
