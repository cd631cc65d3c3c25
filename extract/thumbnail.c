// SPDX-License-Identifier: MIT
#include "extract/thumbnail.h"

#include "base/mem.h"
#include "base/str.h"
#include "extract/sniff.h"

#include <math.h>
#include <vips/vips.h>

void extract_thumbnail_options_init(ExtractThumbnailOptions *options)
{
    *options = (ExtractThumbnailOptions){.size = 256,
                                         .fit = EXTRACT_FIT_SHORTEST,
                                         .quality = 90,
                                         .min_size = 2,
                                         .max_aspect = 100,
                                         .max_bytes = 32u << 20,
                                         .max_pixels = 100000000,
                                         .max_memory = 256u << 20};
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
    if (o->fit == EXTRACT_FIT_SHORTEST || o->fit == EXTRACT_FIT_CROP)
        scale = (double)o->size / lesser;
    else if (o->fit == EXTRACT_FIT_PAD)
        scale = (double)o->size / greater;
    if (scale > 1)
        scale = 1;
    *w = (int)lround(width * scale);
    *h = (int)lround(height * scale);
    *w = *w < 1 ? 1 : *w;
    *h = *h < 1 ? 1 : *h;
}

// Replaces *image by the result of an operation on it.
static bool replace(VipsImage **image, VipsImage *next)
{
    g_object_unref(*image);
    *image = next;
    return true;
}

// Transparency on white, three 8-bit sRGB bands.
static bool to_rgb(VipsImage **image)
{
    VipsImage *next;
    if (vips_image_hasalpha(*image)) {
        VipsArrayDouble *white = vips_array_double_newv(1, 255.0);
        const int failed = vips_flatten(*image, &next, "background", white, NULL);
        vips_area_unref(VIPS_AREA(white));
        if (failed)
            return false;
        replace(image, next);
    }
    if ((*image)->Type != VIPS_INTERPRETATION_sRGB || (*image)->Bands != 3) {
        if (vips_colourspace(*image, &next, VIPS_INTERPRETATION_sRGB, NULL))
            return false;
        replace(image, next);
    }
    if ((*image)->BandFmt != VIPS_FORMAT_UCHAR) {
        if (vips_cast_uchar(*image, &next, NULL))
            return false;
        replace(image, next);
    }
    return (*image)->Bands == 3;
}

static bool to_fit(VipsImage **image, const ExtractThumbnailOptions *o)
{
    const int w = (*image)->Xsize, h = (*image)->Ysize;
    VipsImage *next;
    if (o->fit == EXTRACT_FIT_CROP && (w > o->size || h > o->size)) {
        const int cw = w < o->size ? w : o->size, ch = h < o->size ? h : o->size;
        return !vips_extract_area(*image, &next, (w - cw) / 2, (h - ch) / 2, cw, ch, NULL) && replace(image, next);
    }
    if (o->fit == EXTRACT_FIT_PAD && (w < o->size || h < o->size)) {
        VipsArrayDouble *white = vips_array_double_newv(1, 255.0);
        const int failed = vips_embed(*image, &next, (o->size - w) / 2, (o->size - h) / 2, o->size, o->size, "extend",
                                      VIPS_EXTEND_BACKGROUND, "background", white, NULL);
        vips_area_unref(VIPS_AREA(white));
        return !failed && replace(image, next);
    }
    return true;
}

// libvips shrinks while it loads; the exact size is asked for, so the scale is ours.
static VipsImage *load_scaled(const uint8_t *bytes, size_t n, const ExtractThumbnailOptions *o, ExtractThumbnail *out)
{
    // libvips does not write to the bytes, its type only cannot say so.
    void *data = (void *)(uintptr_t)bytes;
    VipsImage *header = vips_image_new_from_buffer(data, n, "", "access", VIPS_ACCESS_SEQUENTIAL, NULL);
    if (!header)
        return NULL;
    const bool swap = vips_image_get_orientation_swap(header);
    out->original_width = swap ? header->Ysize : header->Xsize;
    out->original_height = swap ? header->Xsize : header->Ysize;
    // Untagged pixels are sRGB already; sending them through a profile would only shift them.
    const bool tagged =
        vips_image_get_typeof(header, VIPS_META_ICC_NAME) != 0 || header->Type == VIPS_INTERPRETATION_CMYK;
    g_object_unref(header);
    int w, h;
    scaled_size(out->original_width, out->original_height, o, &w, &h);
    VipsImage *image;
    // Any complaint of libjpeg fails the image: rows it had to invent count as a warning only.
    const char *strict = "[fail_on=warning]";
    const int failed = tagged ? vips_thumbnail_buffer(data, n, &image, w, "height", h, "size", VIPS_SIZE_FORCE,
                                                      "option_string", strict, "export_profile", "srgb", NULL)
                              : vips_thumbnail_buffer(data, n, &image, w, "height", h, "size", VIPS_SIZE_FORCE,
                                                      "option_string", strict, NULL);
    return failed ? NULL : image;
}

static bool encode(VipsImage *image, int quality, ExtractThumbnail *out)
{
    void *buffer;
    size_t n;
    const VipsForeignSubsample subsample = quality >= 95 ? VIPS_FOREIGN_SUBSAMPLE_OFF : VIPS_FOREIGN_SUBSAMPLE_ON;
    if (vips_jpegsave_buffer(image, &buffer, &n, "Q", quality, "strip", TRUE, "subsample_mode", subsample, NULL))
        return false;
    // libvips hands out memory of GLib; ours is freed with free().
    out->jpeg = vc_alloc(n ? n : 1, 1);
    memcpy(out->jpeg, buffer, n);
    out->bytes = n;
    out->width = image->Xsize;
    out->height = image->Ysize;
    g_free(buffer);
    return true;
}

// The text of libvips is one buffer for all threads: it may belong to another image, so it is only looked at by people
// who ask for it (-v), and the cause rests on the bytes alone.
static ExtractCause decode_failed(const ExtractHeader *h, VcErr *err)
{
    vips_error_clear();
    vc_fail(err, VC_ERR_FORMAT, "the %s data is damaged (%ux%u pixels by its header)", h->mime + 6, h->width,
            h->height);
    return EXTRACT_CORRUPT;
}

ExtractCause extract_thumbnail(ExtractThumbnail *out, const uint8_t *bytes, size_t n,
                               const ExtractThumbnailOptions *options, VcErr *err)
{
    *out = (ExtractThumbnail){0};
    if (n > options->max_bytes) {
        vc_fail(err, VC_ERR_LIMIT, "%zu bytes are over the limit of %llu", n, (unsigned long long)options->max_bytes);
        return EXTRACT_TOO_LARGE;
    }
    ExtractHeader header;
    ExtractCause cause = extract_sniff(&header, bytes, n, err);
    out->mime = header.mime;
    // A header that is out of bounds is the better reason when the end is missing too.
    if (header.width && header.height && (cause == EXTRACT_OK || cause == EXTRACT_TRUNCATED)) {
        VcErr limit;
        const ExtractCause over = check_limits(&header, options, &limit);
        if (over != EXTRACT_OK) {
            if (err)
                *err = limit;
            cause = over;
        }
    }
    if (cause == EXTRACT_OK && header.format == EXTRACT_FORMAT_PNG)
        cause = extract_png_check(bytes, n, err);
    if (cause != EXTRACT_OK)
        return cause;
    VcStr stripped = {0};
    if (header.noise) {
        extract_png_strip(&stripped, bytes, n);
        bytes = (const uint8_t *)stripped.data;
        n = stripped.len;
    }
    VipsImage *image = load_scaled(bytes, n, options, out);
    if (!image || !to_rgb(&image) || !to_fit(&image, options) || !encode(image, options->quality, out))
        cause = decode_failed(&header, err);
    if (image)
        g_object_unref(image);
    vc_str_finish(&stripped);
    return cause;
}
