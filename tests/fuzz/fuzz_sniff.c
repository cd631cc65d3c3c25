// SPDX-License-Identifier: MIT
// Any bytes as an image: a cause with words, or a header that makes sense; a PNG that was accepted stays one without
// its luggage. No decoder of a library is called.
#include "base/mem.h"
#include "extract/sniff.h"
#include "tests/fuzz/target.h"

static void try_png(const uint8_t *data, size_t size, const ExtractHeader *header)
{
    VcErr err = {0};
    const ExtractCause cause = extract_png_check(data, size, &err);
    VC_ASSERT(cause == EXTRACT_OK || err.text[0]);
    VcStr stripped = {0};
    extract_png_strip(&stripped, data, size);
    ExtractHeader again;
    VC_ASSERT(stripped.len <= size);
    VC_ASSERT(extract_sniff(&again, (const uint8_t *)stripped.data, stripped.len, NULL) == EXTRACT_OK);
    VC_ASSERT(!again.noise && again.width == header->width && again.height == header->height);
    VC_ASSERT(extract_png_check((const uint8_t *)stripped.data, stripped.len, NULL) == cause);
    vc_str_finish(&stripped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ExtractHeader header;
    VcErr err = {0};
    const ExtractCause cause = extract_sniff(&header, data, size, &err);
    VC_ASSERT((cause == EXTRACT_OK) == (err.text[0] == 0));
    VC_ASSERT((header.format == EXTRACT_FORMAT_NONE) == (header.mime == NULL));
    if (cause == EXTRACT_OK)
        VC_ASSERT(header.width > 0 && header.height > 0);
    if (cause == EXTRACT_OK && header.format == EXTRACT_FORMAT_PNG)
        try_png(data, size, &header);
    if (cause == EXTRACT_OK && header.format == EXTRACT_FORMAT_GIF) {
        const ExtractCause checked = extract_gif_check(data, size, &err);
        VC_ASSERT((checked == EXTRACT_OK) == (err.text[0] == 0));
    }
    VC_ASSERT(header.orientation >= 1 && header.orientation <= 8);
    VC_ASSERT(extract_format_mime(header.mime ? header.mime : "") == header.mime);
    return 0;
}
