// SPDX-License-Identifier: MIT
// Any bytes as a source; the first one says which kind. It is refused with words, or every entry has a key and captions
// that are UTF-8, and the stream ends.
#include "base/mem.h"
#include "base/str.h"
#include "extract/source.h"
#include "tests/fuzz/target.h"

#include <unistd.h>

static const char *extension(uint8_t kind)
{
    switch (kind) {
    case 'C':
        return "csv";
    case 'L':
        return "jsonl";
    case 'J':
        return "json";
    case 'A':
        return "tar";
    default:
        return "tsv";
    }
}

// A tar's own bytes come back for every image that it names, or there are words.
static void check_member(const char *path, int64_t offset)
{
    uint8_t *bytes = NULL;
    size_t n = 0;
    VcErr err = {0};
    if (extract_tar_member(path, offset, 1 << 20, &bytes, &n, &err))
        free(bytes);
    else
        VC_ASSERT(err.text[0]);
}

static void check_entry(const ExtractEntry *e)
{
    VC_ASSERT(e->key && e->key[0]);
    VC_ASSERT(!e->problem || (e->caption_count == 0 && e->problem[0]));
    VC_ASSERT(!e->problem || (!e->shape && !e->second_key && !e->fields && !e->concepts && !e->second_concepts));
    const char *const more[] = {e->shape, e->kind, e->second_key, e->fields, e->concepts, e->second_concepts};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        VC_ASSERT(!more[i] || (more[i][0] && vc_utf8_valid(more[i], strlen(more[i]))));
    for (size_t i = 0; i < e->caption_count; i++)
        VC_ASSERT(e->captions[i][0] && vc_utf8_valid(e->captions[i], strlen(e->captions[i])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char path[64];
    snprintf(path, sizeof path, "/tmp/vicha-fuzz-%d.%s", (int)getpid(), extension(data[0]));
    FILE *file = fopen(path, "wbe"); // not vc_write_file, which waits for the disk
    VC_ASSERT(file && fwrite(data + 1, 1, size - 1, file) == size - 1 && fclose(file) == 0);
    const ExtractSourceOptions options = {0};
    ExtractSource *source = NULL;
    VcErr err = {0};
    if (extract_source_open(&source, path, &options, &err)) {
        ExtractEntry entry;
        bool more = true;
        // Each entry takes a byte at least; COCO reads the file twice.
        for (size_t i = 0; more; i++) {
            VC_ASSERT(i < 2 * size + 8);
            if (!extract_source_next(source, &entry, &more, &err))
                break;
            if (more)
                check_entry(&entry);
            if (more && entry.offset >= 0 && !extract_source_is_packed(source))
                check_member(path, entry.offset);
        }
    } else {
        VC_ASSERT(err.text[0] && !source);
    }
    extract_source_close(&source);
    unlink(path);
    return 0;
}
