// SPDX-License-Identifier: MIT
#include "train/pixels.h"

#include "base/mem.h"

#include <string.h>

bool train_pixels_load(ExtractImage *out, const IndexRecord *record, VcErr *err)
{
    ExtractImage image = {0};
    if (record->image_form == INDEX_IMAGE_ENCODED) {
        if (!extract_image_decode(&image, record->image, record->image_bytes, err))
            return false;
    } else if (record->image_form == INDEX_IMAGE_Z) {
        uint32_t width, height, channels;
        if (!index_image_z_decode(record->image, record->image_bytes, &image.pixels, &width, &height, &channels, err))
            return false;
        image.width = (int)width;
        image.height = (int)height;
        image.channels = (int)channels;
        image.mode = channels == 1 ? EXTRACT_GRAY : EXTRACT_RGB;
    } else {
        image.width = (int)record->width;
        image.height = (int)record->height;
        image.channels = (int)record->channels;
        image.mode = record->channels == 1 ? EXTRACT_GRAY : EXTRACT_RGB;
        image.pixels = vc_alloc(record->image_bytes, 1);
        memcpy(image.pixels, record->image, record->image_bytes);
    }
    if (image.mode == EXTRACT_RGB && image.channels == 3) {
        *out = image;
        return true;
    }
    if (image.channels != 1 && record->image_form != INDEX_IMAGE_ENCODED) {
        extract_image_finish(&image);
        return vc_fail(err, VC_ERR_FORMAT, "pixels of %u channels; expected 1 or 3", record->channels);
    }
    extract_image_flatten(out, &image);
    extract_image_finish(&image);
    return true;
}
