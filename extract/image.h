// SPDX-License-Identifier: MIT
// Image bytes to pixels, exactly as Pillow gives them, and back to JPEG. With vips_rows.c the only home of libvips.
//
// The rule: pixels keep the file's own mode until somebody asks for RGB, because the two CLIP reference orders convert
// at different points. JPEG, PNG, GIF, WebP, TIFF and HEIF are read (the last four where libvips was built with
// them); every other loader of libvips is blocked, whatever the bytes claim to be.
//
// Threads: extract_image_init from any thread, any number of times; the rest from any thread, an image by one.
// A thread that decoded calls extract_image_thread_end before it ends.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    EXTRACT_GRAY,       // Pillow "L"
    EXTRACT_GRAY_ALPHA, // "LA"
    EXTRACT_RGB,        // "RGB"; also 16-bit RGB, of which Pillow keeps the high byte
    EXTRACT_RGBA,       // "RGBA"
    EXTRACT_CMYK,       // "CMYK", 0 = no ink
    EXTRACT_PALETTE,    // "P", expanded to RGBA: every pixel carries its palette colour and alpha
    EXTRACT_BILEVEL,    // "1", expanded to 0 and 255
    EXTRACT_GRAY16,     // "I;16": one uint16_t a pixel in the machine's byte order
} ExtractMode;

typedef struct ExtractImage {
    int width, height;
    int channels; // of `pixels`: 1, 2, 3 or 4; bytes a pixel is the same, but 2 for GRAY16 (channels 1)
    ExtractMode mode;
    int orientation; // EXIF 1..8, 1 where absent
    bool has_key;    // a transparent colour (PNG tRNS of a grey or RGB image): only conversion on white looks at it
    uint16_t key[3]; // as in the file; grey uses key[0]
    uint8_t *pixels; // height rows of width pixels, no padding
} ExtractImage;

// What a decode may cost. Pixels are counted before anything is allocated.
enum { EXTRACT_MAX_PIXELS = 178956970, EXTRACT_MAX_SIDE = 65535 }; // Pillow's own limit for an error is twice this

// Starts libvips: loaders blocked but the allowed ones, one thread inside, no cache, warnings into our log.
// Safe to call again.
bool extract_image_init(VcErr *err);
void extract_image_thread_end(void);

// Name of the container by its first bytes: "jpeg", "png", "gif", "webp", "tiff", "heif", or NULL for anything else.
const char *extract_image_sniff(const uint8_t *bytes, size_t n);

// Decodes the first frame of `bytes`. EXIF orientation is reported, not applied. No colour management. Truncated or
// damaged data is VC_ERR_FORMAT, too many pixels VC_ERR_LIMIT. Release with extract_image_finish.
bool extract_image_decode(ExtractImage *out, const uint8_t *bytes, size_t n, VcErr *err);
void extract_image_finish(ExtractImage *image); // a zeroed struct is allowed

// New RGB images from any mode. `flatten`: transparency is composited on white (transformers >= 5, the "hf" order);
// `drop`: it is left out, as Pillow's convert("RGB") does. `out` is new memory, also when `in` is RGB already.
void extract_image_flatten(ExtractImage *out, const ExtractImage *in);
void extract_image_drop(ExtractImage *out, const ExtractImage *in);
// Applies the EXIF orientation in place: mode kept, orientation 1 afterwards.
void extract_image_upright(ExtractImage *image);

// Encodes an RGB or GRAY image as baseline JPEG, 4:2:0 below quality 90, no metadata. *bytes is freed with free().
bool extract_image_encode_jpeg(const ExtractImage *image, int quality, uint8_t **bytes, size_t *n, VcErr *err);

// Draws an SVG of our own making at `scale` times its size, as PNG. *bytes is freed with free(). Not for SVG from
// outside, which no other function decodes. An error where libvips was built without librsvg.
bool extract_svg_to_png(const char *svg, size_t svg_n, double scale, uint8_t **bytes, size_t *n, VcErr *err);
