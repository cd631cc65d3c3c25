// SPDX-License-Identifier: MIT
// Image bytes to the model's input, in the two orders of the references (concepts/clip.h).
#include "concepts/clip.h"
#include "concepts/clip_private.h"

#include "base/mem.h"
#include "extract/extract.h"

#include <math.h>

// The short side becomes s, the long one is truncated.
static void target_size(int width, int height, int s, int *w, int *h)
{
    *w = width <= height ? s : (int)((double)((int64_t)s * width) / height);
    *h = width <= height ? (int)((double)((int64_t)s * height) / width) : s;
}

// Where the centre crop of s begins: floor in the hf order, half to even in the other.
static int crop_offset(int n, int s, ClipLayout order)
{
    return order == CLIP_LAYOUT_HF ? (n - s) / 2 : (int)nearbyint((n - s) / 2.0);
}

// Resizes `in` so that the short side is s and cuts the middle s x s out, mode kept, as Pillow's resize does it for
// that mode. `out` is new memory.
static void resize_crop(ExtractImage *out, const ExtractImage *in, int s, ClipLayout order)
{
    int w, h;
    target_size(in->width, in->height, s, &w, &h);
    const ExtractWindow window = {crop_offset(w, s, order), crop_offset(h, s, order), s, s};
    const ExtractBox box = {0, 0, in->width, in->height};
    const size_t bytes = in->mode == EXTRACT_GRAY16 ? 2 : (size_t)in->channels;
    *out = *in;
    out->width = out->height = s;
    out->pixels = vc_alloc((size_t)s * (size_t)s, bytes);
    if (in->mode == EXTRACT_PALETTE || in->mode == EXTRACT_BILEVEL) {
        extract_nearest(out->pixels, in->pixels, in->width, in->height, in->channels, box, w, h, window);
    } else if (in->mode == EXTRACT_GRAY16) {
        extract_resample_16((uint16_t *)(void *)out->pixels, (const uint16_t *)(const void *)in->pixels, in->width,
                            in->height, box, w, h, window);
    } else if (in->mode == EXTRACT_RGBA || in->mode == EXTRACT_GRAY_ALPHA) {
        extract_resample_alpha(out->pixels, in->pixels, in->width, in->height, in->channels, box, w, h, window);
    } else {
        extract_resample(out->pixels, in->pixels, in->width, in->height, in->channels, box, w, h, window);
    }
}

// The crop from a JPEG decoded at a part of its size; false: there is none to be had.
static bool crop_reduced(ExtractImage *out, ClipPreprocess how, int s, const uint8_t *bytes, size_t n)
{
    ExtractReduced r;
    const int least = s * CLIP_REDUCED_SIDES > CLIP_REDUCED_LEAST ? s * CLIP_REDUCED_SIDES : CLIP_REDUCED_LEAST;
    if (!extract_image_decode_reduced(&r, bytes, n, least))
        return false;
    int w, h;
    target_size(r.full_width, r.full_height, s, &w, &h);
    const ExtractWindow window = {crop_offset(w, s, how.order), crop_offset(h, s, how.order), s, s};
    *out = r.image;
    out->width = out->height = s;
    out->pixels = vc_alloc((size_t)s * (size_t)s, 3);
    extract_resample(out->pixels, r.image.pixels, r.image.width, r.image.height, 3, r.whole, w, h, window);
    extract_image_finish(&r.image);
    return true;
}

bool clip_crop(ExtractImage *out, ClipPreprocess how, int s, const uint8_t *bytes, size_t n, VcErr *err)
{
    ExtractImage decoded, crop;
    if (how.reduced && !how.upright && crop_reduced(out, how, s, bytes, n))
        return true;
    if (!extract_image_decode(&decoded, bytes, n, err))
        return false;
    // A side of 1 beside one of thousands would be enlarged to s x (s * thousands) if it were computed whole; only the
    // window is, but its index arithmetic must fit an int.
    if ((int64_t)(decoded.width > decoded.height ? decoded.width : decoded.height) * s > INT32_MAX / 4) {
        extract_image_finish(&decoded);
        return vc_fail(err, VC_ERR_LIMIT, "image is too large for a crop of %d", s);
    }
    if (how.upright)
        extract_image_upright(&decoded);
    if (how.order == CLIP_LAYOUT_HF) {
        ExtractImage rgb;
        extract_image_flatten(&rgb, &decoded);
        resize_crop(out, &rgb, s, how.order);
        extract_image_finish(&rgb);
    } else {
        resize_crop(&crop, &decoded, s, how.order);
        extract_image_drop(out, &crop);
        extract_image_finish(&crop);
    }
    extract_image_finish(&decoded);
    return true;
}

bool clip_preprocess_as(const ClipModel *m, ClipPreprocess how, const uint8_t *bytes, size_t n, float *pixels,
                        VcErr *err)
{
    const size_t s = m->info.image_size;
    ExtractImage crop;
    if (!clip_crop(&crop, how, (int)s, bytes, n, err))
        return false;
    for (size_t c = 0; c < 3; c++) {
        float value[256]; // in this order of operations, each rounded to float, as both references do
        for (int u = 0; u < 256; u++)
            value[u] = ((float)u / 255.0F - m->info.mean[c]) / m->info.std[c];
        for (size_t i = 0; i < s * s; i++)
            pixels[c * s * s + i] = value[crop.pixels[3 * i + c]];
    }
    extract_image_finish(&crop);
    return true;
}

ClipPreprocess clip_preprocess_of(const ClipModel *m)
{
    return (ClipPreprocess){.order = m->info.layout};
}

ClipPreprocess clip_preprocess_at(const ClipModel *m, ClipPrecision precision)
{
    return (ClipPreprocess){.order = m->info.layout, .reduced = precision != CLIP_FP32};
}

bool clip_preprocess(const ClipModel *m, const uint8_t *bytes, size_t n, float *pixels, VcErr *err)
{
    return clip_preprocess_as(m, clip_preprocess_of(m), bytes, n, pixels, err);
}
