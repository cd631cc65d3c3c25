// SPDX-License-Identifier: MIT
// Any bytes as response headers: limits hold whatever the lines are, and a wait is a number that makes sense.
#include "base/err.h"
#include "extract/headers.h"
#include "tests/fuzz/target.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ExtractHeaders h;
    extract_headers_begin(&h, "vicha");
    ExtractHeadersVerdict verdict = EXTRACT_HEADERS_OK;
    for (size_t at = 0; at < size && verdict == EXTRACT_HEADERS_OK;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        const size_t n = end ? (size_t)(end - data) + 1 - at : size - at;
        verdict = extract_headers_line(&h, (const char *)data + at, n, 1700000000);
        VC_ASSERT(h.status >= 0 && h.status <= 999);
        VC_ASSERT(h.retry_after >= -1 && h.retry_after < 1e13);
        VC_ASSERT(!h.complete || h.status >= 200);
        at += n;
        if (verdict == EXTRACT_HEADERS_OK)
            VC_ASSERT(h.answers <= EXTRACT_HEADER_ANSWERS && h.bytes <= EXTRACT_HEADER_BYTES && h.encodings <= 1);
    }
    extract_retry_after((const char *)data, size, 1700000000);
    return 0;
}
