// SPDX-License-Identifier: MIT
#include "extract/vips_rows.h"

#include "base/clock.h"
#include "base/mem.h"
#include "extract/icc.h"

#include <string.h>
#include <vips/vips.h>

enum { STRIP = 32, PROFILE_LIMIT = 4 << 20 };

struct ExtractVipsReader {
    VipsImage *image; // sRGB, three 8-bit bands
    VipsRegion *region;
    const char *name; // of the format, for messages
    int y, strip_end; // next row; the region holds rows up to here
    double deadline;  // of vc_thread_time; 0: none
};

// The text of libvips is one buffer for all threads: it may belong to another image, so it is thrown away and the cause
// rests on the bytes alone.
static ExtractCause damaged(const char *name, VcErr *err)
{
    vips_error_clear();
    vc_fail(err, VC_ERR_FORMAT, "the %s data is damaged", name);
    return EXTRACT_CORRUPT;
}

// --- loading

// A loader by name: libvips does not choose. Its complaints about what it must invent are errors.
static VipsImage *load(ExtractFormat format, const uint8_t *bytes, size_t n)
{
    void *p = (void *)(uintptr_t)bytes; // libvips reads only, but asks for a plain pointer
    VipsImage *image = NULL;
    switch (format) {
    case EXTRACT_FORMAT_JPEG:
        vips_jpegload_buffer(p, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_WARNING, NULL);
        break;
    case EXTRACT_FORMAT_PNG:
        vips_pngload_buffer(p, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_WARNING, NULL);
        break;
    case EXTRACT_FORMAT_GIF:
        vips_gifload_buffer(p, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_WARNING, NULL);
        break;
    case EXTRACT_FORMAT_WEBP:
        vips_webpload_buffer(p, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_WARNING, NULL);
        break;
    case EXTRACT_FORMAT_TIFF:
        vips_tiffload_buffer(p, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_WARNING, NULL);
        break;
    case EXTRACT_FORMAT_HEIF:
    case EXTRACT_FORMAT_AVIF:
        vips_heifload_buffer(p, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_WARNING, NULL);
        break;
    case EXTRACT_FORMAT_NONE:
        break;
    }
    return image;
}

// --- colours

// Replaces *image by the result of an operation on it.
static bool replace(VipsImage **image, VipsImage *next)
{
    g_object_unref(*image);
    *image = next;
    return true;
}

static int colour_bands(const VipsImage *image)
{
    return image->Bands - (vips_image_hasalpha((VipsImage *)(uintptr_t)image) ? 1 : 0);
}

// Does the profile speak of as many channels as the picture has? (ICC.1: colour space at byte 16, signature at 36.)
static bool profile_fits(const uint8_t *icc, size_t n, int bands)
{
    if (n < 132 || n > PROFILE_LIMIT || memcmp(icc + 36, "acsp", 4) != 0)
        return false;
    return memcmp(icc + 16, bands == 1 ? "GRAY" : bands == 3 ? "RGB " : "CMYK", 4) == 0;
}

// The space of a tagged picture to sRGB. A profile that libvips cannot use is as good as none.
static bool manage(VipsImage **image)
{
    const void *icc = NULL;
    size_t n = 0;
    const int bands = colour_bands(*image);
    const bool cmyk = (*image)->Type == VIPS_INTERPRETATION_CMYK;
    const bool tagged = vips_image_get_typeof(*image, VIPS_META_ICC_NAME) != 0 &&
                        vips_image_get_blob(*image, VIPS_META_ICC_NAME, &icc, &n) == 0 &&
                        profile_fits(icc, n, cmyk ? 4 : bands);
    VipsImage *next = NULL;
    if ((!tagged && !cmyk) || (tagged && extract_icc_is_srgb(icc, n)))
        return true;
    const bool wide = (*image)->BandFmt == VIPS_FORMAT_USHORT;
    const int failed = vips_icc_transform(*image, &next, "srgb", "embedded", tagged, "input_profile",
                                          cmyk ? "cmyk" : "srgb", "depth", wide ? 16 : 8, NULL);
    if (failed) {
        vips_error_clear();
        return !cmyk;
    }
    return replace(image, next);
}

// Transparency on white, three 8-bit sRGB bands.
static bool to_rgb(VipsImage **image)
{
    VipsImage *next;
    if (vips_image_hasalpha(*image)) {
        const bool wide = (*image)->BandFmt == VIPS_FORMAT_USHORT;
        VipsArrayDouble *white = vips_array_double_newv(1, wide ? 65535.0 : 255.0);
        const int failed = vips_flatten(*image, &next, "background", white, "max_alpha", wide ? 65535.0 : 255.0, NULL);
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

// --- reading

ExtractCause extract_vips_open(ExtractVipsReader **out, ExtractVipsInfo *info, ExtractFormat format,
                               const uint8_t *bytes, size_t n, double cpu_seconds, VcErr *err)
{
    *out = NULL;
    *info = (ExtractVipsInfo){0};
    ExtractVipsReader *r = vc_calloc(1, sizeof *r);
    r->name = extract_format_name(format);
    r->deadline = cpu_seconds > 0 ? vc_thread_time() + cpu_seconds : 0;
    r->image = load(format, bytes, n);
    ExtractCause cause = EXTRACT_OK;
    const VipsBandFormat band = r->image ? r->image->BandFmt : VIPS_FORMAT_NOTSET;
    if (!r->image) {
        cause = damaged(r->name, err);
    } else if (band != VIPS_FORMAT_UCHAR && band != VIPS_FORMAT_USHORT) {
        vc_fail(err, VC_ERR_FORMAT, "%s with samples other than 8 or 16 bits", r->name);
        cause = EXTRACT_UNSUPPORTED;
    } else {
        *info = (ExtractVipsInfo){r->image->Xsize, r->image->Ysize, vips_image_get_orientation(r->image)};
        if (manage(&r->image) && to_rgb(&r->image))
            r->region = vips_region_new(r->image);
        if (!r->region || r->image->Xsize != info->width || r->image->Ysize != info->height)
            cause = damaged(r->name, err);
    }
    if (cause == EXTRACT_OK) {
        *out = r;
    } else {
        extract_vips_destroy(&r);
    }
    return cause;
}

ExtractCause extract_vips_row(ExtractVipsReader *r, uint8_t *row, VcErr *err)
{
    VC_ASSERT(r->y < r->image->Ysize);
    if (r->y == r->strip_end) {
        if (r->deadline > 0 && vc_thread_time() > r->deadline) {
            vc_fail(err, VC_ERR_LIMIT, "decoding takes longer than an image may");
            return EXTRACT_TOO_SLOW;
        }
        const int left = r->image->Ysize - r->y, height = left < STRIP ? left : STRIP;
        const VipsRect strip = {0, r->y, r->image->Xsize, height};
        if (vips_region_prepare(r->region, &strip))
            return damaged(r->name, err);
        r->strip_end = r->y + height;
    }
    memcpy(row, VIPS_REGION_ADDR(r->region, 0, r->y), 3 * (size_t)r->image->Xsize);
    r->y++;
    return EXTRACT_OK;
}

void extract_vips_destroy(ExtractVipsReader **reader)
{
    if (!reader || !*reader)
        return;
    if ((*reader)->region)
        g_object_unref((*reader)->region);
    if ((*reader)->image)
        g_object_unref((*reader)->image);
    free(*reader);
    *reader = NULL;
}

// --- pixels of another decoder

// A copy in memory, tagged with the profile; one band of a grey picture.
static VipsImage *tagged_copy(const uint8_t *rgb, int width, int height, bool gray, const uint8_t *icc, size_t n)
{
    const size_t pixels = (size_t)width * (size_t)height;
    VipsImage *raw = vips_image_new_from_memory(rgb, 3 * pixels, width, height, 3, VIPS_FORMAT_UCHAR), *out = NULL;
    if (!raw)
        return NULL;
    if (gray) {
        vips_extract_band(raw, &out, 0, NULL);
    } else {
        vips_copy(raw, &out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL);
    }
    g_object_unref(raw);
    if (!out)
        return NULL;
    VipsImage *typed = NULL;
    vips_copy(out, &typed, "interpretation", gray ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB, NULL);
    g_object_unref(out);
    if (typed)
        vips_image_set_blob_copy(typed, VIPS_META_ICC_NAME, icc, n);
    return typed;
}

bool extract_vips_engine(uint8_t *rgb, int width, int height, bool gray, const uint8_t *icc, size_t icc_bytes)
{
    VipsImage *image = tagged_copy(rgb, width, height, gray, icc, icc_bytes);
    VipsRegion *region = NULL;
    const VipsRect all = {0, 0, width, height};
    if (image && manage(&image) && to_rgb(&image) && image->Xsize == width && image->Ysize == height)
        region = vips_region_new(image);
    // Into our own pixels only when all of it is there.
    const bool ok = region && !vips_region_prepare(region, &all);
    for (int y = 0; ok && y < height; y++)
        memcpy(rgb + 3 * (size_t)width * (size_t)y, VIPS_REGION_ADDR(region, 0, y), 3 * (size_t)width);
    vips_error_clear();
    if (region)
        g_object_unref(region);
    if (image)
        g_object_unref(image);
    return ok;
}

void extract_vips_to_srgb(uint8_t *rgb, int width, int height, bool gray, const uint8_t *icc, size_t icc_bytes)
{
    if (!profile_fits(icc, icc_bytes, gray ? 1 : 3) || extract_icc_is_srgb(icc, icc_bytes))
        return;
    if (gray || !extract_icc_to_srgb(rgb, (size_t)width * (size_t)height, icc, icc_bytes))
        extract_vips_engine(rgb, width, height, gray, icc, icc_bytes);
}
