// SPDX-License-Identifier: MIT
// Packing in bfloat16, once for each way to round. The includer has defined NAME and TARGET of vec_*.h and
//   HALF(x)  the name with the set's suffix, HALF_TARGET  the function attribute; both are undefined at the end
//   HALF(pairs4)(x)         8 floats of one row: 4 words
//   HALF(pairs8)(x, y)      8 words of x[i], y[i]

HALF_TARGET static inline __attribute__((always_inline)) void
HALF(pack_bf16)(uint32_t *to, size_t width, const float *x, size_t ld, int turned, size_t count, size_t k)
{
    const size_t deep = k / 8 * 8, two = k / 2 * 2;
    size_t i = 0;
    if (turned) {
        const size_t whole = count / 4 * 4;
        for (size_t j = 0; j < whole; j += 4) {
            const float *from = x + j * ld;
            for (i = 0; i < deep; i += 8, from += 8) {
                NAME(turn4)
                ((float *)(void *)(to + i / 2 * width + j), width, HALF(pairs4)(from), HALF(pairs4)(from + ld),
                 HALF(pairs4)(from + 2 * ld), HALF(pairs4)(from + 3 * ld));
            }
        }
        nn_kernels_reference()->gemm_pack_bf16(to + deep / 2 * width, width, x + deep, ld, 1, count, k - deep);
        if (whole < width && deep > 0) {
            // The columns beside those turned above: packed apart, then laid in place.
            for (i = 0; i < deep; i += 2) {
                uint32_t rest[NN_PANEL];
                nn_kernels_reference()->gemm_pack_bf16(rest, width - whole, x + whole * ld + i, ld, 1, count - whole,
                                                       2);
                memcpy(to + i / 2 * width + whole, rest, (width - whole) * sizeof *to);
            }
        }
        return;
    }
    for (i = 0; i < two; i += 2) {
        const float *from = x + i * ld;
        uint32_t *row = to + i / 2 * width;
        size_t j = 0;
        for (; j + 8 <= count; j += 8) {
            const __m256i words = HALF(pairs8)(_mm256_loadu_ps(from + j), _mm256_loadu_ps(from + ld + j));
            _mm256_storeu_si256((__m256i *)(void *)(row + j), words);
        }
        if (j + 4 <= count) {
            const __m256i words = HALF(pairs8)(_mm256_zextps128_ps256(_mm_loadu_ps(from + j)),
                                               _mm256_zextps128_ps256(_mm_loadu_ps(from + ld + j)));
            _mm_storeu_si128((__m128i *)(void *)(row + j), _mm256_castsi256_si128(words));
            j += 4;
        }
        if (j < width)
            nn_kernels_reference()->gemm_pack_bf16(row + j, width - j, from + j, ld, 0, count - j, 2);
    }
    if (two < k)
        nn_kernels_reference()->gemm_pack_bf16(to + two / 2 * width, width, x + two * ld, ld, 0, count, 1);
}

HALF_TARGET static void HALF(gemm_pack_bf16)(uint32_t *to, size_t width, const float *x, size_t ld, int turned,
                                             size_t count, size_t k)
{
    if (width == NN_PANEL) {
        HALF(pack_bf16)(to, NN_PANEL, x, ld, turned, count, k);
    } else {
        HALF(pack_bf16)(to, NN_STRIP, x, ld, turned, count, k);
    }
}
#undef HALF
#undef HALF_TARGET
