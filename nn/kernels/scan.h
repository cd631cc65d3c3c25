// SPDX-License-Identifier: MIT
// Inner loops of a search through rows of vectors: a coarse score of every row from bytes, a fine one of few rows from
// float16. One readable reference in C, and vector forms that give the same bits at every level: nothing here depends
// on the processor.
//
// A row of bytes stands for x ~ scale q, q in -127..127. `width` is the row's length in bytes, a multiple of 64; what
// lies behind the vector's end is 0. Sums of products of bytes are whole numbers and exact up to width 65536.
// A row of nibbles stands for x ~ scale (2 u - 15), u in 0..15, half as long again: `width` is then its count of
// numbers, a multiple of NN_SCAN_NIBBLES. Of each 128 numbers, the first 64 are the low halves of 64 bytes, the others
// the high ones. "Turned" bytes are q + 128 as unsigned numbers: what the instructions for products of bytes take on
// their left.
//
// n, count and words may be 0; pointers need the alignment of their type only; nothing outside the given lengths is
// read or written. Threads: any; a call is one thread's.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    NN_SCAN_LANES = 32,    // queries of a panel
    NN_SCAN_STRIP = 12,    // rows that a tile works on at once: counts that are multiples of it are fastest
    NN_SCAN_ALIGN = 64,    // rows of bytes are multiples of it
    NN_SCAN_NIBBLES = 128, // and rows of nibbles of so many numbers
};

typedef struct NnScanKernels {
    const char *name; // "c", "avx2", "avx512", "avx512 vnni"

    // out[r] = sum_i row[r][i] query[i], i < width; row r begins at rows + r * stride. Exact.
    void (*dots_i8)(int32_t *out, const int8_t *rows, size_t stride, size_t count, const int8_t *query, size_t width);

    // out[r] = sum_i (2 u[r][i] - 15) query[i], i < width, of rows of nibbles; row r begins at rows + r * width / 2.
    // Exact.
    void (*dots_i4)(int32_t *out, const uint8_t *rows, size_t count, const int8_t *query, size_t width);

    // to[r][width] = rows[r] + 128. Exact.
    void (*turn_i8)(uint8_t *to, const int8_t *rows, size_t stride, size_t count, size_t width);
    // c[r][j] = sum over 4 words bytes of turned rows[r][4 i + b] panel[i][j][b], panel [words][NN_SCAN_LANES][4],
    // c [count][NN_SCAN_LANES]. With turned rows that is the product of the rows plus 128 times the sum of the query.
    void (*tile_i8)(int32_t *c, const uint8_t *rows, size_t stride, size_t count, const int8_t *panel, size_t words);
    // Bit j of hits[r]: (float)(c[r][j] - shift[j]) scale[r] + spread[r] gain[j] >= least[j], every operation rounded
    // by itself; shift, gain, least [NN_SCAN_LANES]. NaN anywhere: not set.
    void (*above)(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                  const int32_t *shift, const float *gain, const float *least);
    // The same for one query: bit r % 32 of hits[r / 32], bits past `count` are 0. hits [(count + 31) / 32].
    void (*above_one)(uint32_t *hits, const int32_t *c, const float *scale, const float *spread, size_t count,
                      float gain, float least);

    // out[r] = sum_i x[r][i] query[i] and norms[r] = sum_i x[r][i]^2 (norms may be NULL) over rows of n float16 at any
    // address, `stride` bytes apart. Products rounded to float, 32 sums (i mod 32) in the order of i, then added in
    // halves: 16, 8, 4, 2, 1. The same bits at every level.
    void (*dots_f16)(float *out, float *norms, const void *rows, size_t stride, size_t count, const float *query,
                     size_t n);
} NnScanKernels;

const NnScanKernels *nn_scan_kernels(void);                  // for vc_cpu_flags(); made once, never changed
const NnScanKernels *nn_scan_kernels_reference(void);        // plain C
void nn_scan_kernels_init(NnScanKernels *k, uint32_t flags); // VC_CPU_*

static inline size_t nn_scan_width(size_t n) // bytes of a row of n
{
    return (n + NN_SCAN_ALIGN - 1) / NN_SCAN_ALIGN * NN_SCAN_ALIGN;
}

// x[n] ~ scale q, q[width] rounded to nearest even, scale = largest |x| / 127. *error is at least the length of
// x - scale q, *length at least that of scale q. A row of zeros has scale, error and length 0; one with a NaN or an
// infinity scale NaN and q 0.
void nn_scan_quantize(int8_t *q, float *scale, float *error, float *length, const float *x, size_t n);
// x[width] ~ scale (2 u - 15): steps of a third of the root of the mean square, the best even ones for normal numbers
// (Max 1960), and the scale that leaves x - scale (2 u - 15) at right angles to x. *error is at least the length of
// that. Zeros and what is not finite as above.
void nn_scan_nibbles(uint8_t *row, float *scale, float *error, const float *x, size_t width);
// Query j of a panel: panel[i][lane] = q[4 i, 4 i + 4), width / 4 words. Returns 128 times the sum of q.
int32_t nn_scan_pack(int8_t *panel, size_t lane, const int8_t *q, size_t width);
