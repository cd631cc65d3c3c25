// SPDX-License-Identifier: MIT
#include "extract/image_reduced.h"

#include "base/mem.h"
#include "extract/jpeg.h"

#include <string.h>

bool extract_image_decode_reduced(ExtractReduced *out, const uint8_t *bytes, size_t n, int least)
{
    const char *kind = extract_image_sniff(bytes, n);
    *out = (ExtractReduced){0};
    if (kind == NULL || strcmp(kind, "jpeg") != 0)
        return false;
    ExtractJpegReader *reader = NULL;
    ExtractJpegInfo info;
    VcErr ignored = {0};
    if (extract_jpeg_open(&reader, &info, bytes, n, least, least, 0, &ignored) != EXTRACT_OK)
        return false;
    bool ok = info.eighths < 8 && info.full_width <= EXTRACT_MAX_SIDE && info.full_height <= EXTRACT_MAX_SIDE &&
              (int64_t)info.full_width * info.full_height <= EXTRACT_MAX_PIXELS;
    if (ok) {
        const size_t row = 3 * (size_t)info.width;
        out->image = (ExtractImage){
            .width = info.width, .height = info.height, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
        out->image.pixels = vc_alloc((size_t)info.height, row);
        out->full_width = info.full_width;
        out->full_height = info.full_height;
        out->whole = (ExtractBox){0, 0, info.full_width * info.eighths / 8.0, info.full_height * info.eighths / 8.0};
        for (int y = 0; ok && y < info.height; y++)
            ok = extract_jpeg_row(reader, out->image.pixels + (size_t)y * row, &ignored) == EXTRACT_OK;
        ok = ok && extract_jpeg_end(reader, &ignored) == EXTRACT_OK;
    }
    extract_jpeg_destroy(&reader);
    if (!ok) {
        extract_image_finish(&out->image);
        *out = (ExtractReduced){0};
    }
    return ok;
}
