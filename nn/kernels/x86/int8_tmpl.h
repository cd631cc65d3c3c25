// SPDX-License-Identifier: MIT
// Tiles of products of bytes, once for each instruction set. The includer has defined
//   TILE(x)  the name with the set's suffix     TILE_TARGET  the function attribute
//   INTS, INT_LANES  a vector of 32-bit sums    TILE_ROWS    rows whose sums stay in registers
//   BYTES    four bytes of each lane, made ready by SIGNED(v) of the panel and UNSIGNED(w) of one word of a row
//   I_LOAD(p), I_STORE(p, v), I_ZERO()
//   I_DOT(sum, a, b)  sum + the four products of each lane; wraps, and is exact otherwise
// and all of these are undefined at the end.

TILE_TARGET static inline __attribute__((always_inline)) void TILE(tile)(int32_t *c, const uint32_t *a, size_t row,
                                                                         const uint32_t *panel, size_t words, int rows)
{
    INTS sum[TILE_ROWS][2];
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = I_ZERO();
    for (size_t i = 0; i < words; i++) {
        const BYTES u = SIGNED(I_LOAD(panel + i * NN_PANEL)), v = SIGNED(I_LOAD(panel + i * NN_PANEL + INT_LANES));
        for (int r = 0; r < rows; r++) {
            const BYTES x = UNSIGNED(a[(size_t)r * row + i]);
            sum[r][0] = I_DOT(sum[r][0], x, u);
            sum[r][1] = I_DOT(sum[r][1], x, v);
        }
    }
    for (int r = 0; r < rows; r++) {
        I_STORE(c + (size_t)r * NN_PANEL, sum[r][0]);
        I_STORE(c + (size_t)r * NN_PANEL + INT_LANES, sum[r][1]);
    }
}

#define CASE(n)                                 \
    case n:                                     \
        TILE(tile)(c, a, row, panel, words, n); \
        break;
TILE_TARGET static inline __attribute__((always_inline)) void
TILE(rows)(int32_t *c, const uint32_t *a, size_t row, const uint32_t *panel, size_t words, size_t rows)
{
    switch (rows) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
#if TILE_ROWS > 4
        CASE(5)
        CASE(6)
#endif
#if TILE_ROWS > 6
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
#endif
    }
}
#undef CASE

TILE_TARGET static void TILE(gemm_tile)(int32_t *c, const uint32_t *a, size_t row, const uint32_t *panel, size_t words,
                                        size_t rows)
{
    for (size_t j = 0; j < NN_PANEL; j += 2 * INT_LANES) {
        for (size_t r = 0; r < rows; r += TILE_ROWS) {
            TILE(rows)
            (c + r * NN_PANEL + j, a + r * row, row, panel + j, words, rows - r < TILE_ROWS ? rows - r : TILE_ROWS);
        }
    }
}
#undef TILE
#undef TILE_TARGET
#undef TILE_ROWS
#undef INTS
#undef INT_LANES
#undef BYTES
#undef SIGNED
#undef UNSIGNED
#undef I_LOAD
#undef I_STORE
#undef I_ZERO
#undef I_DOT
