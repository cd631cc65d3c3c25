// SPDX-License-Identifier: MIT
// JPEG rows in and out through libjpeg-turbo, the only home of it.
//
// The rule: a picture is whole or it is rejected. libjpeg goes on after damage and fills what is missing with grey;
// every complaint that touches pixels ends the decode here. Rows are RGB (also of a grey JPEG), upsampled and
// transformed as Pillow's libjpeg does it, so that the same scan always gives the same bytes. CMYK is not read here
// (thumbnail.c gives it to libvips, which manages its colours).
//
// Threads: any, a reader by one.
#pragma once

#include "base/err.h"
#include "extract/cause.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int width, height; // of the rows that come: the picture reduced by eighths/8, rounded up
    int full_width, full_height;
    int eighths;        // 8, 4, 2 or 1: the reductions that are as fast as they are small
    bool gray;          // one component
    const uint8_t *icc; // the whole embedded profile, or NULL; owned by the reader
    size_t icc_bytes;
} ExtractJpegInfo;

typedef struct ExtractJpegReader ExtractJpegReader;

// Reads the header of `bytes` (borrowed until destroy), chooses the smallest reduction that leaves at least
// least_width x least_height pixels, and starts. `cpu_seconds`: what the thread may spend on this picture from now on;
// 0: no limit. On failure *out is NULL and the cause is returned.
ExtractCause extract_jpeg_open(ExtractJpegReader **out, ExtractJpegInfo *info, const uint8_t *bytes, size_t n,
                               int least_width, int least_height, double cpu_seconds, VcErr *err);
// The next row: 3 * info.width bytes.
ExtractCause extract_jpeg_row(ExtractJpegReader *reader, uint8_t *row, VcErr *err);
// After the last row: what follows in the file up to its end marker.
ExtractCause extract_jpeg_end(ExtractJpegReader *reader, VcErr *err);
void extract_jpeg_destroy(ExtractJpegReader **reader); // NULL allowed; clears

// RGB rows to a baseline JPEG without metadata: 4:2:0 up to quality 95, 4:4:4 above, standard Huffman tables.
// *bytes is freed with free().
bool extract_jpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **bytes, size_t *n,
                         VcErr *err);
