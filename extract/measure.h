// SPDX-License-Identifier: MIT
// What is measured of every picture: perceptual hash, colours, blurriness, darkness, grey share. All are of the upright
// picture after shrinking and before --fit crops or pads it. Threads: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXTRACT_CELLS = 4 }; // the colours are means of EXTRACT_CELLS x EXTRACT_CELLS cells

typedef struct {
    // Signs of the 64 lowest frequencies but the mean of a 32 x 32 grey picture (cosine transform, against their
    // median). Survives other sizes, qualities and a little more light; pictures without structure all get 0.
    uint64_t phash;
    uint8_t colours[EXTRACT_CELLS * EXTRACT_CELLS * 3]; // RGB, rows of cells
    float blurriness; // 0..1: 1 / (1 + v / 100), v the variance of the grey picture's Laplacian; 1: nothing is sharp
    float darkness;   // 0..1: 1 - mean of grey / 255
    float grey;       // 0..1: share of pixels whose channels differ by at most 8
} ExtractMeasures;

// rgb: height rows of width x 3 bytes, both positive.
void extract_measure(ExtractMeasures *out, const uint8_t *rgb, int width, int height);

// Bits that differ.
int extract_hamming(uint64_t a, uint64_t b);
// Do two pictures look the same? Hashes within EXTRACT_NEAR_BITS, no cell's colour further than EXTRACT_NEAR_COLOUR,
// and sides in proportion to 3 %.
enum { EXTRACT_NEAR_BITS = 7, EXTRACT_NEAR_COLOUR = 20 };
bool extract_looks_same(const ExtractMeasures *a, int width_a, int height_a, const ExtractMeasures *b, int width_b,
                        int height_b);
