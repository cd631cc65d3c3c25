// SPDX-License-Identifier: MIT
// Any bytes through all of it: a cause with words, or a small JPEG whose sizes and measures make sense.
#include "extract/extract.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    VcErr err = {0};
    VC_ASSERT(extract_image_init(&err));
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    o.size = 16;
    o.max_pixels = 1 << 20;
    o.max_memory = 32 << 20;
    ExtractThumbnail t;
    const ExtractCause cause = extract_thumbnail(&t, data, size, &o, &err);
    if (cause != EXTRACT_OK) {
        VC_ASSERT(err.text[0] && !t.jpeg);
        return 0;
    }
    VC_ASSERT(t.jpeg && t.bytes > 100 && t.mime && t.width > 0 && t.height > 0);
    VC_ASSERT(t.width <= t.original_width && t.height <= t.original_height);
    const ExtractMeasures *m = &t.measures;
    VC_ASSERT(m->blurriness >= 0 && m->blurriness <= 1 && m->darkness >= 0 && m->darkness <= 1 && m->grey >= 0 &&
              m->grey <= 1);
    free(t.jpeg);
    return 0;
}
