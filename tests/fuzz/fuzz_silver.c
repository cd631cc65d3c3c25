// SPDX-License-Identifier: MIT
// Any bytes as annotated captions: refused, or captions whose heads lie inside.
#include "base/err.h"
#include "concepts/caption_silver.h"
#include "tests/fuzz/target.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("silver", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    VC_ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    Silver s;
    VcErr err = {0};
    if (silver_read(&s, path, &err)) {
        VC_ASSERT(s.caption_count > 0);
        for (size_t c = 0; c < s.caption_count; c++) {
            const SilverCaption *k = &s.captions[c];
            VC_ASSERT(k->count > 0 && k->begin + k->count <= s.token_count);
            for (size_t i = k->begin; i < k->begin + k->count; i++) {
                VC_ASSERT(s.heads[i] >= -1 && s.heads[i] < (int32_t)k->count && s.tokens[i].length > 0);
                VC_ASSERT(s.tags[i] < CAPTION_TAGS && s.roles[i] < CAPTION_ROLES && s.deps[i] < CAPTION_DEPS);
            }
        }
        silver_finish(&s);
    } else {
        VC_ASSERT(err.text[0]);
    }
    close(fd);
    return 0;
}
