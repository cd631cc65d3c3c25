// SPDX-License-Identifier: MIT
// A JPEG decoded at 1/2, 1/4 or 1/8 of its size, for a smaller picture made from it: the decoder then transforms only
// the low frequencies, which is several times as fast. Threads: any.
#pragma once

#include "extract/image.h"
#include "extract/resample.h"

typedef struct {
    ExtractImage image; // RGB; released with extract_image_finish
    ExtractBox whole;   // where the whole picture lies in it: its last row and column may be part of a pixel
    int full_width, full_height;
} ExtractReduced;

// The smallest of these that leaves at least `least` pixels each way. False, and nothing to release, where that is the
// whole size, and for all but a whole RGB or grey JPEG: extract_image_decode then says what there is to say.
bool extract_image_decode_reduced(ExtractReduced *out, const uint8_t *bytes, size_t n, int least);
