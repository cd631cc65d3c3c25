// SPDX-License-Identifier: MIT
#include "index/set.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "index/reader.h"

enum { MAX_INDEX_BYTES = 1 << 30 };

bool set_read_index(MdsIndex *out, const char *dir, VcErr *err)
{
    char *path = vc_path_join(dir, "index.json"), *progress = vc_path_join(dir, "progress.jsonl"), *text = NULL;
    size_t n;
    bool ok = false;
    if (!vc_exists(path)) {
        vc_fail(err, VC_ERR_IO,
                vc_exists(progress) ? "'%s' is missing: the set is not finished; run 'vicha index' again"
                                    : "'%s' is missing: not a record set",
                path);
    } else {
        ok = vc_read_file(&text, &n, path, MAX_INDEX_BYTES, err) && mds_index_parse(out, text, n, path, err);
    }
    free(text);
    free(progress);
    free(path);
    return ok;
}

bool set_write_index(const MdsIndex *index, const char *dir, VcErr *err)
{
    VcStr text = {0};
    char *path = vc_path_join(dir, "index.json");
    mds_index_put(&text, index);
    bool ok = vc_write_file(path, text.data, text.len, err);
    vc_str_finish(&text);
    free(path);
    return ok;
}

bool set_check_codec(const MdsEntry *e, const char *dir, VcErr *err)
{
    if (e->compression == NULL ||
        (strncmp(e->compression, "gz", 2) == 0 && (e->compression[2] == 0 || e->compression[2] == ':')))
        return true;
    return vc_fail(err, VC_ERR_FORMAT,
                   "'%s' is compressed with '%.40s', which this program does not read; decompress its shards with the "
                   "tool that wrote them",
                   dir, e->compression);
}

void set_hash_file(MdsFile *f, const uint8_t *data, uint64_t n)
{
    char text[160];
    uint8_t digest[20];
    vc_sha1(data, n, digest);
    vc_hex(digest, sizeof digest, f->sha1);
    snprintf(f->xxh64, sizeof f->xxh64, "%016llx", (unsigned long long)vc_xxh64(data, n));
    snprintf(text, sizeof text, "{\"sha1\": \"%s\", \"xxh64\": \"%s\"}", f->sha1, f->xxh64);
    free(f->hashes_json);
    f->hashes_json = vc_strdup(text);
    f->bytes = n;
}

static int64_t records_number(const char *dir, const char *key, int64_t otherwise)
{
    VcErr ignored;
    VcJson *json = NULL;
    char *path = vc_path_join(dir, "records.json");
    int64_t found = otherwise;
    if (vc_exists(path) && vc_json_read_file(&json, path, 1 << 20, &ignored))
        found = vc_json_int(vc_json_member(json, key), otherwise);
    vc_json_destroy(&json);
    free(path);
    return found;
}

int32_t index_set_vocabulary(const char *dir)
{
    const int64_t size = records_number(dir, "vocabulary_size", 0);
    return size > 0 && size <= INT32_MAX ? (int32_t)size : 0;
}

int32_t index_set_mask_id(const char *dir)
{
    const int64_t id = records_number(dir, "mask_id", -1);
    return id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
}
