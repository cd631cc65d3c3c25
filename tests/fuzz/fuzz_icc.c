// SPDX-License-Identifier: MIT
// Any bytes as an ICC profile: pixels stay pixels, and what is sRGB leaves them alone to a level.
#include "base/err.h"
#include "extract/icc.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t rgb[3 * 17], before[3 * 17];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (uint8_t)(i * 37);
    memcpy(before, rgb, sizeof rgb);
    const bool same = extract_icc_is_srgb(data, size), done = extract_icc_to_srgb(rgb, 17, data, size);
    VC_ASSERT(done || memcmp(rgb, before, sizeof rgb) == 0);
    VC_ASSERT(!same || done);
    for (size_t i = 0; same && i < sizeof rgb; i++)
        VC_ASSERT(abs(rgb[i] - before[i]) <= 3);
    return 0;
}
