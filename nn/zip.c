// SPDX-License-Identifier: MIT
// APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (ends), 4.5.3 (zip64).
#include "nn/zip.h"

#include "base/mem.h"

#include <string.h>

enum {
    END_SIZE = 22,
    END64_SIZE = 56,
    LOCATOR_SIZE = 20,
    ENTRY_SIZE = 46,
    LOCAL_SIZE = 30,
    MAX_COMMENT = 65535,
    ENCRYPTED = 1,
};

typedef struct {
    const uint8_t *data;
    size_t n;
    const char *path;
    VcErr *err;
} Archive;

static uint64_t number(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static bool signed_as(const uint8_t *p, uint8_t third, uint8_t fourth)
{
    return p[0] == 'P' && p[1] == 'K' && p[2] == third && p[3] == fourth;
}

static bool damaged(const Archive *a, const char *what)
{
    return vc_fail(a->err, VC_ERR_FORMAT, "'%s' is a damaged or cut zip archive: %s", a->path, what);
}

// Where the directory lies.
static bool read_end(const Archive *a, size_t *offset, size_t *size, uint64_t *count)
{
    size_t at = a->n < END_SIZE ? SIZE_MAX : a->n - END_SIZE;
    const size_t lowest = a->n > END_SIZE + MAX_COMMENT ? a->n - END_SIZE - MAX_COMMENT : 0;
    while (at != SIZE_MAX && !(signed_as(a->data + at, 5, 6) && number(a->data + at + 20, 2) == a->n - END_SIZE - at))
        at = at > lowest ? at - 1 : SIZE_MAX;
    if (at == SIZE_MAX)
        return damaged(a, "its directory is missing at the end");
    const uint8_t *end = a->data + at;
    *count = number(end + 10, 2);
    uint64_t bytes = number(end + 12, 4), begin = number(end + 16, 4);
    if (at >= LOCATOR_SIZE && signed_as(end - LOCATOR_SIZE, 6, 7)) {
        const uint64_t end64 = number(end - LOCATOR_SIZE + 8, 8);
        if (end64 > at - LOCATOR_SIZE || at - LOCATOR_SIZE - end64 < END64_SIZE || !signed_as(a->data + end64, 6, 6))
            return damaged(a, "its zip64 end points nowhere");
        *count = number(a->data + end64 + 32, 8);
        bytes = number(a->data + end64 + 40, 8);
        begin = number(a->data + end64 + 48, 8);
        at = (size_t)end64;
    }
    if (begin > at || bytes > at - begin)
        return damaged(a, "its directory lies outside the file");
    if (*count > NN_ZIP_MAX_ENTRIES || *count > bytes / ENTRY_SIZE)
        return damaged(a, "its directory counts more entries than it has room for");
    *offset = (size_t)begin;
    *size = (size_t)bytes;
    return true;
}

// Sizes and offset of 0xffffffff stand in the zip64 extra field, in this order.
static bool read_extra(const Archive *a, const uint8_t *extra, size_t n, uint64_t *values[3])
{
    while (n >= 4) {
        const uint64_t id = number(extra, 2), size = number(extra + 2, 2);
        if (size > n - 4)
            return damaged(a, "an extra field is longer than its entry");
        size_t at = 0;
        for (int i = 0; id == 1 && i < 3; i++) {
            if (*values[i] != UINT32_MAX)
                continue;
            if (at + 8 > size)
                return damaged(a, "a zip64 field is too short");
            *values[i] = number(extra + 4 + at, 8);
            at += 8;
        }
        extra += 4 + size;
        n -= 4 + (size_t)size;
    }
    return true;
}

// The bytes of the entry whose local header is at `offset`; they end before the directory begins.
static bool place(const Archive *a, const char *name, uint64_t offset, uint64_t size, size_t directory, NnZipEntry *out)
{
    if (offset > directory || directory - offset < LOCAL_SIZE || !signed_as(a->data + offset, 3, 4)) {
        return vc_fail(a->err, VC_ERR_FORMAT, "'%s' is a damaged zip archive: entry '%.200s' points nowhere", a->path,
                       name);
    }
    const uint8_t *local = a->data + offset;
    const uint64_t skip = LOCAL_SIZE + number(local + 26, 2) + number(local + 28, 2);
    if (skip > directory - offset || size > directory - offset - skip) {
        return vc_fail(a->err, VC_ERR_FORMAT,
                       "'%s' is a damaged zip archive: entry '%.200s' of %llu bytes ends outside of it", a->path, name,
                       (unsigned long long)size);
    }
    *out = (NnZipEntry){name, local + skip, (size_t)size};
    return true;
}

// Reads the entry at p, of which `left` bytes of directory are left; *used: its length there.
static bool read_entry(const Archive *a, const uint8_t *p, size_t left, size_t directory, char **names, NnZipEntry *out,
                       size_t *used)
{
    if (left < ENTRY_SIZE || !signed_as(p, 1, 2))
        return damaged(a, "its directory is broken");
    const size_t name_n = (size_t)number(p + 28, 2), extra_n = (size_t)number(p + 30, 2);
    *used = ENTRY_SIZE + name_n + extra_n + (size_t)number(p + 32, 2);
    if (*used > left)
        return damaged(a, "its directory is cut short");
    char *name = *names;
    memcpy(name, p + ENTRY_SIZE, name_n);
    name[name_n] = '\0';
    *names += name_n + 1;
    if (strlen(name) != name_n)
        return damaged(a, "a name holds a zero byte");
    uint64_t stored = number(p + 20, 4), size = number(p + 24, 4), offset = number(p + 42, 4);
    if (!read_extra(a, p + ENTRY_SIZE + name_n, extra_n, (uint64_t *[3]){&size, &stored, &offset}))
        return false;
    if ((number(p + 8, 2) & ENCRYPTED) != 0 || number(p + 10, 2) != 0 || stored != size) {
        *out = (NnZipEntry){.name = name};
        return true;
    }
    return place(a, name, offset, size, directory, out);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const NnZipEntry *)a)->name, ((const NnZipEntry *)b)->name);
}

bool nn_zip_open(NnZip *zip, const uint8_t *data, size_t n, const char *path, VcErr *err)
{
    *zip = (NnZip){0};
    const Archive a = {data, n, path, err};
    size_t directory = 0, size = 0;
    uint64_t count = 0;
    if (!read_end(&a, &directory, &size, &count))
        return false;
    zip->entries = vc_calloc((size_t)count + 1, sizeof *zip->entries);
    zip->names = vc_alloc(size + 1, 1); // a name and its end are shorter than the entry
    char *names = zip->names;
    bool ok = true;
    for (size_t at = 0, used; ok && zip->count < count; zip->count += ok, at += used) {
        used = 0;
        ok = read_entry(&a, data + directory + at, size - at, directory, &names, &zip->entries[zip->count], &used);
    }
    if (ok && zip->count > 0)
        qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
    for (size_t i = 1; ok && i < zip->count; i++) {
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) == 0)
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' has two entries '%.200s'", path, zip->entries[i].name);
    }
    if (!ok)
        nn_zip_close(zip);
    return ok;
}

void nn_zip_close(NnZip *zip)
{
    free(zip->entries);
    free(zip->names);
    *zip = (NnZip){0};
}

const NnZipEntry *nn_zip_find(const NnZip *zip, const char *name)
{
    const NnZipEntry key = {.name = name};
    return zip->count > 0 ? bsearch(&key, zip->entries, zip->count, sizeof *zip->entries, by_name) : NULL;
}
