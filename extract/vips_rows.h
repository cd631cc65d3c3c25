// SPDX-License-Identifier: MIT
// Rows of every format but plain JPEG, and colour management, through libvips: PNG, WebP, GIF (first frame), TIFF
// (first page), HEIF/AVIF and CMYK JPEG. Formats that allow it are decoded in strips as their rows are asked for; no
// thread is started. With image.c the home of libvips.
//
// Threads: any, a reader by one. extract_image_init comes first.
#pragma once

#include "base/err.h"
#include "extract/cause.h"
#include "extract/sniff.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int width, height; // of the rows, before orientation
    int orientation;   // EXIF 1..8
} ExtractVipsInfo;

typedef struct ExtractVipsReader ExtractVipsReader;

// bytes are borrowed until destroy. The pixels are sRGB on white, 8 bits: a profile is applied only where one is
// embedded (or the picture is CMYK). cpu_seconds as in jpeg.h.
ExtractCause extract_vips_open(ExtractVipsReader **out, ExtractVipsInfo *info, ExtractFormat format,
                               const uint8_t *bytes, size_t n, double cpu_seconds, VcErr *err);
// The next row: 3 * info.width bytes.
ExtractCause extract_vips_row(ExtractVipsReader *reader, uint8_t *row, VcErr *err);
void extract_vips_destroy(ExtractVipsReader **reader); // NULL allowed; clears

// RGB pixels in the space of `icc` to sRGB, in place. A profile that cannot be used, or that is not of RGB (of grey
// where `gray`), leaves them as they are.
void extract_vips_to_srgb(uint8_t *rgb, int width, int height, bool gray, const uint8_t *icc, size_t icc_bytes);
// The same by libvips alone, without the short ways of icc.h. False when it could not.
bool extract_vips_engine(uint8_t *rgb, int width, int height, bool gray, const uint8_t *icc, size_t icc_bytes);
