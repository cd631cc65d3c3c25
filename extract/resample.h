// SPDX-License-Identifier: MIT
// Resampling with the bytes of Pillow 12: antialiased bicubic (a = -0.5) in 22-bit fixed point, horizontal pass, 8-bit
// intermediate, vertical pass; and nearest neighbour.
//
// Both take a source box in real coordinates and give a window of the scaled picture: only the rows and columns that
// the window needs are computed, so that a centre crop of a large photograph costs little more than the crop.
// Threads: any.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    double left, top, right, bottom; // in source pixels, 0 <= left < right <= width; whole image: 0, 0, width, height
} ExtractBox;

typedef struct {
    int x, y, width, height; // inside the scaled picture
} ExtractWindow;

// src: height rows of width pixels of `channels` (1..4) bytes. The box is scaled to out_width x out_height, of which
// `window` is written to `out` (window.height rows of window.width pixels). Colour channels are plain: for RGBA and LA
// use extract_resample_alpha. All sizes are positive and the window lies inside the output; else VC_ASSERT.
void extract_resample(uint8_t *out, const uint8_t *src, int width, int height, int channels, ExtractBox box,
                      int out_width, int out_height, ExtractWindow window);
// The same for 2 (LA) or 4 (RGBA) channels: premultiplied, resampled, divided again, as Pillow's resize does.
void extract_resample_alpha(uint8_t *out, const uint8_t *src, int width, int height, int channels, ExtractBox box,
                            int out_width, int out_height, ExtractWindow window);
// One 16-bit channel ("I;16"): in double, rounded to 16 bits between the passes.
void extract_resample_16(uint16_t *out, const uint16_t *src, int width, int height, ExtractBox box, int out_width,
                         int out_height, ExtractWindow window);
// Nearest neighbour of pixels of `bytes` bytes each.
void extract_nearest(uint8_t *out, const uint8_t *src, int width, int height, int bytes, ExtractBox box, int out_width,
                     int out_height, ExtractWindow window);
