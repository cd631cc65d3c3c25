// SPDX-License-Identifier: MIT
// The loops of scale.c in AVX2: two taps in one multiply-add of 16-bit pairs.
#include "base/cpu.h"
#include "extract/scale.h"

#include <immintrin.h>
#include <string.h>

VC_TARGET("avx2")
static void down_avx2(uint8_t *out, const uint8_t *const *rows, const int16_t *weights, int taps, int bits, size_t n)
{
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(bits);
    for (size_t i = 0; i < n; i += 32) {
        __m256i s0 = half, s1 = half, s2 = half, s3 = half; // columns 0-3|16-19, 4-7|20-23, 8-11|24-27, 12-15|28-31
        for (int k = 0; k < taps; k += 2) {
            int32_t pair;
            memcpy(&pair, weights + k, sizeof pair);
            const __m256i w = _mm256_set1_epi32(pair);
            const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(rows[k] + i));
            const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(rows[k + 1] + i));
            const __m256i lo = _mm256_unpacklo_epi8(a, b), hi = _mm256_unpackhi_epi8(a, b);
            s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(_mm256_unpacklo_epi8(lo, zero), w));
            s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(_mm256_unpackhi_epi8(lo, zero), w));
            s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(_mm256_unpacklo_epi8(hi, zero), w));
            s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(_mm256_unpackhi_epi8(hi, zero), w));
        }
        const __m256i p = _mm256_packs_epi32(_mm256_sra_epi32(s0, shift), _mm256_sra_epi32(s1, shift));
        const __m256i q = _mm256_packs_epi32(_mm256_sra_epi32(s2, shift), _mm256_sra_epi32(s3, shift));
        _mm256_storeu_si256((__m256i *)(void *)(out + i), _mm256_packus_epi16(p, q));
    }
}

VC_TARGET("avx2")
static void across_avx2(uint8_t *out, const uint8_t *row, const int *first, const int16_t *weights, int taps, int bits,
                        int n)
{
    // Four pixels of three bytes: pixels 0 and 1 in the low lane, 2 and 3 in the high one, as 16-bit pairs a channel.
    const __m256i spread = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                                            -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i lanes = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m128i half = _mm_set1_epi32(1 << (bits - 1)), shift = _mm_cvtsi32_si128(bits);
    for (int i = 0; i < n; i++, weights += taps, out += 3) {
        const uint8_t *src = row + 3 * (size_t)first[i];
        __m256i sum = _mm256_setzero_si256();
        for (int k = 0; k < taps; k += 4, src += 12) {
            const __m128i w4 = _mm_loadl_epi64((const __m128i *)(const void *)(weights + k));
            const __m256i w = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(w4), lanes);
            const __m256i p = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)src));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(p, spread), w));
        }
        __m128i v = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        v = _mm_sra_epi32(_mm_add_epi32(v, half), shift);
        v = _mm_packs_epi32(v, v);
        v = _mm_packus_epi16(v, v);
        const int32_t four = _mm_cvtsi128_si32(v);
        memcpy(out, &four, sizeof four); // the fourth byte belongs to the next pixel, which follows
    }
}

const ExtractScaleKernels *extract_scale_vector(void)
{
    static const ExtractScaleKernels avx2 = {down_avx2, across_avx2};
    return vc_cpu_flags() & VC_CPU_AVX2 ? &avx2 : NULL;
}
