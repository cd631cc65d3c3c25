// SPDX-License-Identifier: MIT
// What a file is, by its bytes alone, and what its header promises: read here, with every length checked, before any
// decoder of a library sees it. Accepts JPEG, PNG, GIF, WebP, TIFF, HEIF and AVIF. Threads: any.
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "extract/cause.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    EXTRACT_FORMAT_NONE,
    EXTRACT_FORMAT_JPEG,
    EXTRACT_FORMAT_PNG,
    EXTRACT_FORMAT_GIF,
    EXTRACT_FORMAT_WEBP,
    EXTRACT_FORMAT_TIFF,
    EXTRACT_FORMAT_HEIF,
    EXTRACT_FORMAT_AVIF
} ExtractFormat;

const char *extract_format_name(ExtractFormat format); // "jpeg", ...; "unknown" for FORMAT_NONE
// The static name of a media type that extract_sniff gives, NULL for any other.
const char *extract_format_mime(const char *mime);

typedef struct {
    ExtractFormat format;
    const char *mime;       // static; NULL for FORMAT_NONE
    uint32_t width, height; // as stored, before EXIF orientation; never 0 on success
    uint64_t memory;        // bytes a decoder must hold at once when it cannot work in strips; 0 when it can
    int orientation;        // EXIF 1..8 of a JPEG; 1 for the others, whose decoder tells
    bool four;              // JPEG with four components: CMYK or YCCK
    bool noise;             // PNG: has chunks that only carry text or other luggage (extract_png_strip)
} ExtractHeader;

// Reads the header and walks the container to its end. `out->format` and `mime` are set as soon as they are known,
// also on failure.
ExtractCause extract_sniff(ExtractHeader *out, const uint8_t *bytes, size_t n, VcErr *err);

// Unpacks the picture data of a PNG that extract_sniff accepted, without keeping it, and checks its length and its
// checksum: decoders stop at the last row and never look at it. Reads at most as much as the header promises.
ExtractCause extract_png_check(const uint8_t *bytes, size_t n, VcErr *err);

// Unpacks the picture data of the first frame of a GIF that extract_sniff accepted, without keeping it: every pixel of
// the frame must be there, and every code must be one that can be.
ExtractCause extract_gif_check(const uint8_t *bytes, size_t n, VcErr *err);

// A PNG without its text, time, histogram and private chunks, so that a decompression bomb in them is never opened.
// Only for bytes that extract_sniff accepted as PNG.
void extract_png_strip(VcStr *out, const uint8_t *bytes, size_t n);
