// SPDX-License-Identifier: MIT
// Shrinking of RGB pictures as their rows come out of a decoder: Lanczos (a = 3) stretched over the reduction, row
// by row and then down, 8 bits between the passes as Pillow does it, integer weights. Holds as many narrowed rows as
// one output row needs, never the picture. For the bytes of Pillow's bicubic see resample.h; this one is for storing
// photographs, and fast.
//
// Every instruction set gives the same bytes. Threads: any, a scaler by one.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct ExtractScaler ExtractScaler;

// Bytes that must be there behind the last row of an output: vector stores may touch them.
enum { EXTRACT_SCALER_SLACK = 64 };

// in_width x in_height rows will be pushed; the picture itself covers only extent_x x extent_y of them (real, at most
// the sizes: a decoder that reduces by eighths rounds up). `out` holds out_height rows of out_width x 3 bytes and the
// slack, is borrowed, and is full after the last push. All sizes are positive, out at most 65535 a side.
ExtractScaler *extract_scaler_create(int in_width, int in_height, double extent_x, double extent_y, int out_width,
                                     int out_height, uint8_t *out);
// Where the next source row goes: 3 * in_width bytes; then push.
uint8_t *extract_scaler_row(ExtractScaler *scaler);
void extract_scaler_push(ExtractScaler *scaler);
void extract_scaler_destroy(ExtractScaler **scaler); // NULL allowed; clears

// The two inner loops. out[i] = (half + sum over k < taps of weights[k] * rows[k][i]) >> bits, clamped, for i < n;
// taps is even; reads and writes up to 31 bytes past n.
typedef void ExtractDownFn(uint8_t *out, const uint8_t *const *rows, const int16_t *weights, int taps, int bits,
                           size_t n);
// out[3 i + c] = (half + sum over k < taps of weights[i * taps + k] * row[3 (first[i] + k) + c]) >> bits, clamped, for
// i < n; taps is a multiple of 4; reads up to 16 bytes past the last pixel used, writes one byte past the output.
typedef void ExtractAcrossFn(uint8_t *out, const uint8_t *row, const int *first, const int16_t *weights, int taps,
                             int bits, int n);
typedef struct {
    ExtractDownFn *down;
    ExtractAcrossFn *across;
} ExtractScaleKernels;

extern const ExtractScaleKernels extract_scale_plain;   // readable, and what the others must match
const ExtractScaleKernels *extract_scale_kernels(void); // the best of this processor
const ExtractScaleKernels *extract_scale_vector(void);  // scale_x86.c or scale_other.c: NULL without
