// SPDX-License-Identifier: MIT
#include "extract/thumbnail.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/image.h"
#include "extract/jpeg.h"
#include "extract/scale.h"
#include "extract/vips_rows.h"

#include <endian.h>
#include <math.h>
#include <string.h>

// While decoding a JPEG is reduced only to this many quarters of the wanted size: the rest is for the better kernel.
enum { REDUCE_MARGIN = 8 };

void extract_thumbnail_options_init(ExtractThumbnailOptions *options)
{
    *options = (ExtractThumbnailOptions){.size = 256,
                                         .fit = EXTRACT_FIT_SHORTEST,
                                         .quality = 90,
                                         .min_size = 2,
                                         .max_aspect = 100,
                                         .max_bytes = 32u << 20,
                                         .max_pixels = 100000000,
                                         .max_memory = 256u << 20,
                                         .cpu_seconds = 8};
}

// Judges the header; nothing has been decoded yet.
static ExtractCause check_limits(const ExtractHeader *h, const ExtractThumbnailOptions *o, VcErr *err)
{
    const uint64_t pixels = (uint64_t)h->width * h->height;
    const uint32_t lesser = h->width < h->height ? h->width : h->height;
    const uint32_t greater = h->width < h->height ? h->height : h->width;
    if (pixels > o->max_pixels) {
        vc_fail(err, VC_ERR_LIMIT, "%ux%u pixels are over the limit of %llu megapixels", h->width, h->height,
                (unsigned long long)(o->max_pixels / 1000000));
        return EXTRACT_TOO_LARGE;
    }
    if ((double)greater > o->max_aspect * (double)lesser) {
        vc_fail(err, VC_ERR_LIMIT, "%ux%u pixels are over the aspect of %g (--max-aspect)", h->width, h->height,
                o->max_aspect);
        return EXTRACT_ASPECT;
    }
    if ((int64_t)lesser < o->min_size) {
        vc_fail(err, VC_ERR_LIMIT, "%ux%u pixels are under the smallest side of %d (--min-size)", h->width, h->height,
                o->min_size);
        return EXTRACT_TOO_SMALL;
    }
    if (h->memory > o->max_memory) {
        vc_fail(err, VC_ERR_LIMIT, "decoding %ux%u pixels of this kind needs %llu MiB, over the limit of %llu",
                h->width, h->height, (unsigned long long)(h->memory >> 20), (unsigned long long)(o->max_memory >> 20));
        return EXTRACT_TOO_LARGE;
    }
    return EXTRACT_OK;
}

// Size of the whole picture after scaling, never larger than it is.
static void scaled_size(int width, int height, const ExtractThumbnailOptions *o, int *w, int *h)
{
    const int lesser = width < height ? width : height, greater = width < height ? height : width;
    double scale = 1;
    if (o->fit == EXTRACT_FIT_SHORTEST || o->fit == EXTRACT_FIT_CROP) {
        scale = (double)o->size / lesser;
    } else if (o->fit == EXTRACT_FIT_PAD) {
        scale = (double)o->size / greater;
    }
    if (scale > 1)
        scale = 1;
    *w = (int)lround(width * scale);
    *h = (int)lround(height * scale);
    *w = *w < 1 ? 1 : *w;
    *h = *h < 1 ? 1 : *h;
}

// --- rows of the original, whichever library they come from

typedef struct {
    ExtractJpegReader *jpeg; // one of the two
    ExtractVipsReader *vips;
    ExtractJpegInfo info;        // of jpeg
    int width, height;           // of the rows
    int full_width, full_height; // of the picture they are made from
    int orientation;
} Rows;

static ExtractCause rows_open_vips(Rows *r, const ExtractHeader *h, const uint8_t *bytes, size_t n,
                                   const ExtractThumbnailOptions *o, VcErr *err)
{
    ExtractVipsInfo info;
    ExtractCause cause = extract_vips_open(&r->vips, &info, h->format, bytes, n, o->cpu_seconds, err);
    if (cause != EXTRACT_OK)
        return cause;
    // The decoder has the last word on the size (HEIF turns its pictures), and that word is judged as well.
    const ExtractHeader again = {.width = (uint32_t)info.width, .height = (uint32_t)info.height};
    r->width = r->full_width = info.width;
    r->height = r->full_height = info.height;
    r->orientation = info.orientation;
    return check_limits(&again, o, err);
}

// target: stored size before the picture is turned upright.
static void target_size(const Rows *r, const ExtractThumbnailOptions *o, int *w, int *h)
{
    int upright_w, upright_h;
    const bool turned = r->orientation >= 5;
    scaled_size(turned ? r->full_height : r->full_width, turned ? r->full_width : r->full_height, o, &upright_w,
                &upright_h);
    *w = turned ? upright_h : upright_w;
    *h = turned ? upright_w : upright_h;
}

static ExtractCause rows_open(Rows *r, const ExtractHeader *h, const uint8_t *bytes, size_t n,
                              const ExtractThumbnailOptions *o, VcErr *err)
{
    if (h->format != EXTRACT_FORMAT_JPEG || h->four)
        return rows_open_vips(r, h, bytes, n, o, err);
    r->orientation = h->orientation;
    r->full_width = (int)h->width;
    r->full_height = (int)h->height;
    int w, height;
    target_size(r, o, &w, &height);
    if (o->full_pixels) {
        w = r->full_width;
        height = r->full_height;
    } else {
        w = (w * REDUCE_MARGIN + 3) / 4;
        height = (height * REDUCE_MARGIN + 3) / 4;
    }
    const ExtractCause cause = extract_jpeg_open(&r->jpeg, &r->info, bytes, n, w, height, o->cpu_seconds, err);
    r->width = r->info.width;
    r->height = r->info.height;
    return cause;
}

static ExtractCause rows_next(Rows *r, uint8_t *row, VcErr *err)
{
    return r->jpeg ? extract_jpeg_row(r->jpeg, row, err) : extract_vips_row(r->vips, row, err);
}

static void rows_close(Rows *r)
{
    extract_jpeg_destroy(&r->jpeg);
    extract_vips_destroy(&r->vips);
}

// --- the small picture

// All rows through the hash and the scaler into `rgb`, w x h pixels.
static ExtractCause shrink(Rows *r, uint8_t *rgb, int w, int h, uint8_t hash[16], VcErr *err)
{
    const double eighths = r->jpeg ? r->info.eighths : 8;
    ExtractScaler *scaler = extract_scaler_create(r->width, r->height, r->full_width * eighths / 8,
                                                  r->full_height * eighths / 8, w, h, rgb);
    VcXxh128 *state = vc_xxh128_begin();
    const uint32_t size[2] = {htobe32((uint32_t)r->width), htobe32((uint32_t)r->height)};
    vc_xxh128_add(state, size, sizeof size);
    ExtractCause cause = EXTRACT_OK;
    for (int y = 0; cause == EXTRACT_OK && y < r->height; y++) {
        uint8_t *row = extract_scaler_row(scaler);
        cause = rows_next(r, row, err);
        if (cause != EXTRACT_OK)
            break;
        vc_xxh128_add(state, row, 3 * (size_t)r->width);
        extract_scaler_push(scaler);
    }
    if (cause == EXTRACT_OK && r->jpeg)
        cause = extract_jpeg_end(r->jpeg, err);
    vc_xxh128_end(&state, hash);
    extract_scaler_destroy(&scaler);
    return cause;
}

// The middle, or white around it: a new picture where the fit asks for one.
static void to_fit(ExtractImage *image, const ExtractThumbnailOptions *o)
{
    const int w = image->width, h = image->height, size = o->size;
    int to_w = w, to_h = h;
    if (o->fit == EXTRACT_FIT_CROP) {
        to_w = w < size ? w : size;
        to_h = h < size ? h : size;
    } else if (o->fit == EXTRACT_FIT_PAD) {
        to_w = to_h = size;
    }
    if (to_w == w && to_h == h)
        return;
    uint8_t *out = vc_alloc((size_t)to_w * (size_t)to_h, 3);
    memset(out, 255, 3 * (size_t)to_w * (size_t)to_h);
    const int copy_w = w < to_w ? w : to_w, copy_h = h < to_h ? h : to_h;
    const int from_x = (w - copy_w) / 2, from_y = (h - copy_h) / 2, x = (to_w - copy_w) / 2, y = (to_h - copy_h) / 2;
    for (int i = 0; i < copy_h; i++) {
        memcpy(out + 3 * ((size_t)(y + i) * (size_t)to_w + (size_t)x),
               image->pixels + 3 * ((size_t)(from_y + i) * (size_t)w + (size_t)from_x), 3 * (size_t)copy_w);
    }
    free(image->pixels);
    image->pixels = out;
    image->width = to_w;
    image->height = to_h;
}

static ExtractCause make(ExtractThumbnail *out, Rows *r, const ExtractThumbnailOptions *o, VcErr *err)
{
    ExtractImage image = {.mode = EXTRACT_RGB, .channels = 3, .orientation = r->orientation};
    target_size(r, o, &image.width, &image.height);
    image.pixels = vc_alloc(3 * (size_t)image.width * (size_t)image.height + EXTRACT_SCALER_SLACK, 1);
    const bool turned = r->orientation >= 5;
    out->original_width = turned ? r->full_height : r->full_width;
    out->original_height = turned ? r->full_width : r->full_height;
    ExtractCause cause = shrink(r, image.pixels, image.width, image.height, out->pixel_hash, err);
    if (cause == EXTRACT_OK) {
        if (r->info.icc)
            extract_vips_to_srgb(image.pixels, image.width, image.height, r->info.gray, r->info.icc, r->info.icc_bytes);
        extract_image_upright(&image);
        extract_measure(&out->measures, image.pixels, image.width, image.height);
        to_fit(&image, o);
        out->width = image.width;
        out->height = image.height;
        if (!extract_jpeg_encode(image.pixels, image.width, image.height, o->quality, &out->jpeg, &out->bytes, err))
            cause = EXTRACT_CORRUPT;
    }
    extract_image_finish(&image);
    return cause;
}

// Header and container: what can be known without a decoder of a library.
static ExtractCause judge(ExtractHeader *h, const uint8_t *bytes, size_t n, const ExtractThumbnailOptions *o,
                          VcErr *err)
{
    if (n > o->max_bytes) {
        vc_fail(err, VC_ERR_LIMIT, "%zu bytes are over the limit of %llu", n, (unsigned long long)o->max_bytes);
        return EXTRACT_TOO_LARGE;
    }
    ExtractCause cause = extract_sniff(h, bytes, n, err);
    // A header that is out of bounds is the better reason when the end is missing too, and one that would be a bomb in
    // any case.
    if (h->width && h->height && (cause == EXTRACT_OK || cause == EXTRACT_TRUNCATED || cause == EXTRACT_CORRUPT)) {
        VcErr limit;
        const ExtractCause over = check_limits(h, o, &limit);
        if (over != EXTRACT_OK && (cause != EXTRACT_CORRUPT || over == EXTRACT_TOO_LARGE)) {
            if (err)
                *err = limit;
            cause = over;
        }
    }
    if (cause == EXTRACT_OK && h->format == EXTRACT_FORMAT_PNG)
        cause = extract_png_check(bytes, n, err);
    if (cause == EXTRACT_OK && h->format == EXTRACT_FORMAT_GIF)
        cause = extract_gif_check(bytes, n, err);
    return cause;
}

ExtractCause extract_thumbnail(ExtractThumbnail *out, const uint8_t *bytes, size_t n,
                               const ExtractThumbnailOptions *options, VcErr *err)
{
    *out = (ExtractThumbnail){0};
    ExtractHeader header = {0};
    ExtractCause cause = judge(&header, bytes, n, options, err);
    out->mime = header.mime;
    if (cause != EXTRACT_OK)
        return cause;
    VcStr stripped = {0};
    if (header.noise) {
        extract_png_strip(&stripped, bytes, n);
        bytes = (const uint8_t *)stripped.data;
        n = stripped.len;
    }
    Rows rows = {0};
    cause = rows_open(&rows, &header, bytes, n, options, err);
    if (cause == EXTRACT_OK)
        cause = make(out, &rows, options, err);
    rows_close(&rows);
    vc_str_finish(&stripped);
    return cause;
}
