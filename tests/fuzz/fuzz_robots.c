// SPDX-License-Identifier: MIT
// Any bytes as a robots.txt and as an X-Robots-Tag: a delay within its bounds, and an answer that does not depend on
// how the path is escaped. The first line is the path, the rest the file.
#include "base/err.h"
#include "base/str.h"
#include "extract/robots.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    const size_t line = end ? (size_t)(end - data) : 0;
    VcStr path = {0}, escaped = {0};
    vc_str_putc(&path, '/');
    vc_str_putc(&escaped, '/');
    for (size_t i = 0; i < line && data[i]; i++) {
        vc_str_putc(&path, text[i]);
        // Bytes that mean themselves are the same in either form.
        if ((data[i] >= 'a' && data[i] <= 'z') || data[i] > 0x80) {
            vc_str_putf(&escaped, "%%%02x", data[i]);
        } else {
            vc_str_putc(&escaped, text[i]);
        }
    }
    ExtractRobots *robots = extract_robots_parse(text + line, size - line, "vicha");
    const double delay = extract_robots_delay(robots);
    VC_ASSERT(delay >= 0 && delay <= 3600);
    // Two hex digits behind a '%' of the text itself would change their meaning.
    const bool allowed = extract_robots_allow(robots, path.data);
    if (!strchr(path.data, '%'))
        VC_ASSERT(allowed == extract_robots_allow(robots, escaped.data));
    extract_robots_free(&robots);
    VC_ASSERT(extract_robots_allow(robots, path.data));
    extract_robots_tag(text, size, "vicha");
    char token[16];
    extract_robots_token(path.data + 1, token, sizeof token);
    VC_ASSERT(strlen(token) < sizeof token);
    vc_str_finish(&path);
    vc_str_finish(&escaped);
    return 0;
}
