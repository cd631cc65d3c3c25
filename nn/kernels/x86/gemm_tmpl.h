// SPDX-License-Identifier: MIT
// Tiles of matrix products, once for each instruction set and kind of number. The includer has defined the vectors of
// vec_*.h and
//   TILE(x)  the name with the set's and the kind's suffix     TILE_TARGET  the function attribute
//   WORD     WORD_TERMS terms of a row or column               WORDS        a vector of them
//   W_LOAD(p), W_SET(w)  a vector of words, one word in all    W_FMA(a, b, sum)  sum + a b in float
// and all of these are undefined at the end.

// ROWS x 2 vectors of sums stay in registers, beside two vectors of the panel and a broadcast.
#define ROWS (LANES == 16 ? 12 : 6)

// NOLINTNEXTLINE(readability-function-size): the tile's own list of arguments
TILE_TARGET static inline __attribute__((always_inline)) void TILE(tile)(float *c, size_t ldc, const WORD *a,
                                                                         size_t row, size_t step, const WORD *panel,
                                                                         size_t k, size_t columns, float alpha, int add,
                                                                         int rows, int vectors)
{
    V sum[ROWS][2];
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = V_ZERO();
    for (size_t i = 0; i < k; i++) {
        const WORDS u = W_LOAD(panel + i * NN_PANEL);
        const WORDS v = vectors == 2 ? W_LOAD(panel + i * NN_PANEL + LANES) : u;
        for (int r = 0; r < rows; r++) {
            const WORDS x = W_SET(a[(size_t)r * row + i * step]);
            sum[r][0] = W_FMA(x, u, sum[r][0]);
            if (vectors == 2)
                sum[r][1] = W_FMA(x, v, sum[r][1]);
        }
    }
    const V scale = V_SET(alpha);
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < vectors; j++) {
            float *out = c + (size_t)r * ldc + j * LANES;
            const size_t left = columns - (size_t)j * LANES;
            const V s = V_MUL(sum[r][j], scale);
            if (left >= LANES) {
                V_STORE(out, add ? V_ADD(V_LOAD(out), s) : s);
            } else {
                const MASK m = MASK_FIRST(left);
                V_STOREM(out, m, add ? V_ADD(V_LOADM(m, out), s) : s);
            }
        }
    }
}

// Each number of rows and of vectors has code of its own.
#define CASE(n)                                                                    \
    case n:                                                                        \
        if (columns > LANES) {                                                     \
            TILE(tile)(c, ldc, a, row, step, panel, k, columns, alpha, add, n, 2); \
        } else {                                                                   \
            TILE(tile)(c, ldc, a, row, step, panel, k, columns, alpha, add, n, 1); \
        }                                                                          \
        break;
TILE_TARGET static inline __attribute__((always_inline)) void TILE(rows)(float *c, size_t ldc, const WORD *a,
                                                                         size_t row, size_t step, const WORD *panel,
                                                                         size_t k, size_t rows, size_t columns,
                                                                         float alpha, int add)
{
    switch (rows) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
#if LANES == 16
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
}
#undef CASE

TILE_TARGET static inline __attribute__((always_inline)) void TILE(block)(float *c, size_t ldc, const WORD *a,
                                                                          size_t row, size_t step, const WORD *panel,
                                                                          size_t k, size_t rows, size_t columns,
                                                                          float alpha, int add)
{
    for (size_t j = 0; j < columns; j += 2 * LANES) {
        const size_t n = columns - j < 2 * LANES ? columns - j : 2 * LANES;
        for (size_t r = 0; r < rows; r += ROWS) {
            TILE(rows)
            (c + r * ldc + j, ldc, a + r * row, row, step, panel + j, k, rows - r < ROWS ? rows - r : ROWS, n, alpha,
             add);
        }
    }
}

TILE_TARGET static void TILE(gemm_tile)(float *c, size_t ldc, const WORD *a, size_t row, size_t step, const WORD *panel,
                                        size_t k, size_t rows, size_t columns, float alpha, int add)
{
    const size_t words = (k + WORD_TERMS - 1) / WORD_TERMS;
    if (row == 1) {
        TILE(block)(c, ldc, a, 1, step, panel, words, rows, columns, alpha, add);
    } else {
        TILE(block)(c, ldc, a, row, 1, panel, words, rows, columns, alpha, add);
    }
}
#undef ROWS
#undef TILE
#undef TILE_TARGET
#undef WORD
#undef WORD_TERMS
#undef WORDS
#undef W_LOAD
#undef W_SET
#undef W_FMA
