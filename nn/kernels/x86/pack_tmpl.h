// SPDX-License-Identifier: MIT
// Packing of the factors of matrix products, once for each instruction set (vec_*.h).

// Turns 4 x 4 words at a time with the shuffles every x86-64 has: to[i][j] = from[j][i].
TARGET static inline void NAME(turn4)(float *to, size_t width, __m128 a, __m128 b, __m128 c, __m128 d)
{
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + width, b);
    _mm_storeu_ps(to + 2 * width, c);
    _mm_storeu_ps(to + 3 * width, d);
}

TARGET static inline __attribute__((always_inline)) void NAME(pack)(float *to, size_t width, const float *x, size_t ld,
                                                                    int turned, size_t count, size_t k)
{
    if (!turned) {
        for (size_t i = 0; i < k; i++, to += width, x += ld) {
            if (count == width) {
                for (size_t j = 0; j < width; j++)
                    to[j] = x[j];
            } else {
                for (size_t j = 0; j < width; j++)
                    to[j] = j < count ? x[j] : 0;
            }
        }
        return;
    }
    const size_t whole = count / 4 * 4, deep = k / 4 * 4;
    for (size_t j = 0; j < whole; j += 4) {
        const float *from = x + j * ld;
        for (size_t i = 0; i < deep; i += 4, from += 4) {
            NAME(turn4)
            (to + i * width + j, width, _mm_loadu_ps(from), _mm_loadu_ps(from + ld), _mm_loadu_ps(from + 2 * ld),
             _mm_loadu_ps(from + 3 * ld));
        }
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = i < deep ? whole : 0; j < width; j++)
            to[i * width + j] = j < count ? x[j * ld + i] : 0;
    }
}

TARGET static void NAME(gemm_pack)(float *to, size_t width, const float *x, size_t ld, int turned, size_t count,
                                   size_t k)
{
    if (width == NN_PANEL) {
        NAME(pack)(to, NN_PANEL, x, ld, turned, count, k);
    } else {
        NAME(pack)(to, NN_STRIP, x, ld, turned, count, k);
    }
}

// Floats to bfloat16 in the high halves of their words, rounded to nearest even; a NaN stays one.
TARGET static inline __m256i NAME(round_bf16)(__m256 v)
{
    const __m256i u = _mm256_castps_si256(v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd));
    const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}

// 8 floats of one row: 4 words of pairs.
TARGET static inline __m128 NAME(pairs4)(const float *x)
{
    const __m256i h = _mm256_srli_epi32(NAME(round_bf16)(_mm256_loadu_ps(x)), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(h, h), 0x08);
    return _mm_castsi128_ps(_mm256_castsi256_si128(packed));
}

// Columns side by side: the first terms in the low halves of 8 words, the second in the high ones.
TARGET static inline __m256i NAME(pairs8)(__m256 first, __m256 second)
{
    return _mm256_blend_epi16(_mm256_srli_epi32(NAME(round_bf16)(first), 16), NAME(round_bf16)(second), 0xaa);
}
