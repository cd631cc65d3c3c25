// SPDX-License-Identifier: MIT
// Bytes of any allowed image to a small upright sRGB JPEG without metadata, and what is measured on the way.
//
// The rule: format, size, aspect and memory are judged from the header by our own reader (sniff.h) before a decoder
// sees the bytes. JPEG rows come from libjpeg-turbo (jpeg.h), all others and CMYK from libvips (vips_rows.h), a row at
// a time into one resampling kernel (scale.h); no more of the original is held than its format forces. Never enlarges.
// Transparency goes on white, a tagged colour space to sRGB, 16 bits to 8.
//
// Threads: any, an image by one; call extract_image_init once before and extract_image_thread_end as a thread ends.
#pragma once

#include "base/err.h"
#include "extract/cause.h"
#include "extract/measure.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    EXTRACT_FIT_SHORTEST, // short side = size
    EXTRACT_FIT_CROP,     // the same, then the middle size x size
    EXTRACT_FIT_PAD,      // long side = size, then white to size x size
    EXTRACT_FIT_KEEP,     // no resize
} ExtractFit;

typedef struct {
    int size; // pixels
    ExtractFit fit;
    int quality;         // JPEG, 1..100; 4:2:0 up to 95
    int min_size;        // shortest side accepted, pixels of the original
    double max_aspect;   // long side / short side accepted
    uint64_t max_bytes;  // of the file
    uint64_t max_pixels; // of the original
    uint64_t max_memory; // bytes a decoder may need for formats that cannot be read in strips
    double cpu_seconds;  // of the thread, for one image; 0: no limit
    bool full_pixels;    // never reduce while decoding, so that pixel hashes compare across formats
} ExtractThumbnailOptions;
// size 256, shortest, quality 90, min 2, aspect 100, 32 MiB, 100 megapixels, 256 MiB, 8 s.
void extract_thumbnail_options_init(ExtractThumbnailOptions *options);

typedef struct {
    uint8_t *jpeg; // freed with free()
    size_t bytes;
    int width, height;                   // stored
    int original_width, original_height; // upright
    const char *mime;                    // of the original; static; NULL when the bytes are no known format
    // XXH3-128 of the decoded RGB rows before shrinking and their size, in the machine's orientation of the file. The
    // same scan with other metadata gives the same; so does the same picture in another lossless format, as long as
    // the JPEG decoder did not reduce (see full_pixels; up to twice the stored size it never does).
    uint8_t pixel_hash[16];
    ExtractMeasures measures;
} ExtractThumbnail;

// EXTRACT_OK, or the cause; *err then says what exactly (its code does not matter to callers).
ExtractCause extract_thumbnail(ExtractThumbnail *out, const uint8_t *bytes, size_t n,
                               const ExtractThumbnailOptions *options, VcErr *err);
