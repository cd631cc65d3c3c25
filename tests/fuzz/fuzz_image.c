// SPDX-License-Identifier: MIT
// Any bytes through the exact decoder: an error or a picture whose sizes agree with its pixels.
#include "extract/extract.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    VcErr err = {0};
    ExtractImage im, rgb;
    VC_ASSERT(extract_image_init(&err));
    if (!extract_image_decode(&im, data, size, &err)) {
        VC_ASSERT(err.code != VC_OK && err.text[0] != '\0');
        return 0;
    }
    VC_ASSERT(im.width > 0 && im.height > 0 && (int64_t)im.width * im.height <= EXTRACT_MAX_PIXELS);
    extract_image_upright(&im);
    extract_image_flatten(&rgb, &im);
    extract_image_finish(&rgb);
    extract_image_finish(&im);
    return 0;
}
