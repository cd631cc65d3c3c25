// SPDX-License-Identifier: MIT
// Products of bytes for the search kernels, once for each instruction set. The includer has defined
//   BYTES_NAME(x)  the name with the set's suffix      BYTES_TARGET    the function attribute
//   INTS, INT_LANES  a vector of int32 and its length  STRIP           rows of a tile in registers
//   LEFT, RIGHT    what a product takes: unsigned bytes on the left, signed ones on the right
//   I_LEFT(v), I_RIGHT(v)  made of a vector            I_SPREAD(w)     a vector of one word
//   I_LOAD(p), I_STORE(p, v), I_ZERO(), I_XOR(a, b), I_AND(a, b)
//   I_BYTES(x)  a vector of bytes x   I_SIXTEENTH(v)  every word divided by 16
//   I_DOT(sum, left, right)  sum + four products a word   I_ADD(a, b)   I_SUM(v)  all words added
// and all of these are undefined at the end.

// `count` is a constant where this is used, so each number of rows has code of its own.
BYTES_TARGET static inline __attribute__((always_inline)) void
BYTES_NAME(strip)(int32_t *c, const uint8_t *rows, size_t stride, const int8_t *panel, size_t words, int count)
{
    enum { PARTS = NN_SCAN_LANES / INT_LANES };
    INTS sum[STRIP][PARTS];
    for (int r = 0; r < count; r++) {
        for (int p = 0; p < PARTS; p++)
            sum[r][p] = I_ZERO();
    }
    for (size_t i = 0; i < words; i++) {
        const int8_t *at = panel + i * NN_SCAN_LANES * 4;
        RIGHT right[PARTS];
        for (int p = 0; p < PARTS; p++)
            right[p] = I_RIGHT(I_LOAD(at + (size_t)p * INT_LANES * 4));
        for (int r = 0; r < count; r++) {
            int32_t word;
            memcpy(&word, rows + (size_t)r * stride + 4 * i, sizeof word);
            const LEFT left = I_LEFT(I_SPREAD(word));
            for (int p = 0; p < PARTS; p++)
                sum[r][p] = I_DOT(sum[r][p], left, right[p]);
        }
    }
    for (int r = 0; r < count; r++) {
        for (int p = 0; p < PARTS; p++)
            I_STORE(c + r * NN_SCAN_LANES + p * INT_LANES, sum[r][p]);
    }
}

BYTES_TARGET static void BYTES_NAME(tile_i8)(int32_t *c, const uint8_t *rows, size_t stride, size_t count,
                                             const int8_t *panel, size_t words)
{
    size_t r = 0;
    for (; r + STRIP <= count; r += STRIP)
        BYTES_NAME(strip)(c + r * NN_SCAN_LANES, rows + r * stride, stride, panel, words, STRIP);
    for (; r < count; r++)
        BYTES_NAME(strip)(c + r * NN_SCAN_LANES, rows + r * stride, stride, panel, words, 1);
}

BYTES_TARGET static void BYTES_NAME(dots_i8)(int32_t *out, const int8_t *rows, size_t stride, size_t count,
                                             const int8_t *query, size_t width)
{
    enum { STEP = INT_LANES * 4, AHEAD = 4096 };
    const INTS turn = I_BYTES(0x80);
    int32_t shift = 0;
    for (size_t i = 0; i < width; i++)
        shift += query[i];
    shift *= 128;
    for (size_t r = 0; r < count; r++) {
        const int8_t *row = rows + r * stride;
        INTS even = I_ZERO(), odd = I_ZERO();
        for (size_t i = 0; i < width; i += 2 * STEP) {
            if (i % 64 == 0) // only advice: the address may lie anywhere
                __builtin_prefetch((const void *)((uintptr_t)row + i + AHEAD));
            if (STEP == 64) // the step's other line
                __builtin_prefetch((const void *)((uintptr_t)row + i + STEP + AHEAD));
            even = I_DOT(even, I_LEFT(I_XOR(I_LOAD(row + i), turn)), I_RIGHT(I_LOAD(query + i)));
            if (i + STEP < width)
                odd = I_DOT(odd, I_LEFT(I_XOR(I_LOAD(row + i + STEP), turn)), I_RIGHT(I_LOAD(query + i + STEP)));
        }
        out[r] = I_SUM(I_ADD(even, odd)) - shift;
    }
}

// `count` is a constant here too. Sums of the low halves, and 16 times those of the high ones.
BYTES_TARGET static inline __attribute__((always_inline)) void
BYTES_NAME(nibbles)(int32_t *out, const uint8_t *rows, const int8_t *query, size_t width, int32_t shift, int count)
{
    enum { STEP = INT_LANES * 4, AHEAD = 4096, MOST = 2 };
    INTS low[MOST], high[MOST];
    for (int r = 0; r < count; r++)
        low[r] = high[r] = I_ZERO();
    for (size_t i = 0; i < width / 2; i += STEP) {
        const int8_t *q = query + i / 64 * 64 + i; // of byte i's low half; that of the high one is 64 behind
        const RIGHT first = I_RIGHT(I_LOAD(q)), second = I_RIGHT(I_LOAD(q + 64));
        for (int r = 0; r < count; r++) {
            const uint8_t *at = rows + (size_t)r * width / 2 + i;
            if (i % 64 == 0)
                __builtin_prefetch((const void *)((uintptr_t)at + AHEAD)); // only advice
            const INTS two = I_LOAD(at);
            low[r] = I_DOT(low[r], I_LEFT(I_AND(two, I_BYTES(0x0f))), first);
            high[r] = I_DOT(high[r], I_LEFT(I_AND(two, I_BYTES(0xf0))), second);
        }
    }
    for (int r = 0; r < count; r++)
        out[r] = 2 * I_SUM(I_ADD(low[r], I_SIXTEENTH(high[r]))) - shift;
}

BYTES_TARGET static void BYTES_NAME(dots_i4)(int32_t *out, const uint8_t *rows, size_t count, const int8_t *query,
                                             size_t width)
{
    int32_t shift = 0;
    for (size_t i = 0; i < width; i++)
        shift += query[i];
    size_t r = 0;
    for (; r + 2 <= count; r += 2)
        BYTES_NAME(nibbles)(out + r, rows + r * width / 2, query, width, 15 * shift, 2);
    for (; r < count; r++)
        BYTES_NAME(nibbles)(out + r, rows + r * width / 2, query, width, 15 * shift, 1);
}

BYTES_TARGET static void BYTES_NAME(turn_i8)(uint8_t *to, const int8_t *rows, size_t stride, size_t count, size_t width)
{
    const INTS turn = I_BYTES(0x80);
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < width; i += INT_LANES * 4)
            I_STORE(to + r * width + i, I_XOR(I_LOAD(rows + r * stride + i), turn));
    }
}

BYTES_TARGET static void BYTES_NAME(fill)(NnScanKernels *k)
{
    k->tile_i8 = BYTES_NAME(tile_i8);
    k->dots_i8 = BYTES_NAME(dots_i8);
    k->dots_i4 = BYTES_NAME(dots_i4);
    k->turn_i8 = BYTES_NAME(turn_i8);
}

#undef BYTES_NAME
#undef BYTES_TARGET
#undef INTS
#undef INT_LANES
#undef STRIP
#undef LEFT
#undef RIGHT
#undef I_LEFT
#undef I_RIGHT
#undef I_SPREAD
#undef I_LOAD
#undef I_STORE
#undef I_ZERO
#undef I_XOR
#undef I_AND
#undef I_BYTES
#undef I_SIXTEENTH
#undef I_DOT
#undef I_ADD
#undef I_SUM
