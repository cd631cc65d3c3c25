// SPDX-License-Identifier: MIT
#include "index/reader.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/record.h"
#include "index/set.h"
#include "index/vix.h"

#include <stdatomic.h>

typedef struct {
    VcMap map, vix; // vix.data NULL: the shard has no side index
    RecordColumns columns;
} Shard;

struct IndexReader {
    char *dir;
    IndexReaderOptions options;
    VcCrc32Fn crc32;
    MdsIndex index;
    Shard *shards;
    uint64_t *first; // number of a shard's first record; index.count + 1 values
    _Atomic uint64_t bad;
};

static bool refuse_packed(const MdsEntry *e, const char *dir, VcErr *err)
{
    if (!set_check_codec(e, dir, err))
        return false;
    return e->compression == NULL ||
           vc_fail(err, VC_ERR_USAGE, "'%s' is packed for shipping (%s): run 'vicha index --unpack %s' first", dir,
                   e->compression, dir);
}

static bool open_shard(IndexReader *r, size_t i, VcErr *err)
{
    const MdsEntry *e = &r->index.entries[i];
    Shard *s = &r->shards[i];
    if (!refuse_packed(e, r->dir, err))
        return false;
    char *path = vc_path_join(r->dir, e->raw.basename), *side = vix_path(r->dir, e->raw.basename);
    bool ok = vc_map_open(&s->map, path, err);
    if (ok && (!shard_check(s->map.data, s->map.size, e, err) ||
               (r->options.hash && !shard_check_hashes(s->map.data, s->map.size, &e->raw, err))))
        ok = vc_prefix(err, "'%s'", path);
    if (ok && !r->options.any_columns && !record_columns_find(&s->columns, &e->schema, err))
        ok = vc_prefix(err, "'%s'", path);
    if (ok && vc_exists(side)) {
        ok = vc_map_open(&s->vix, side, err);
        if (ok && !vix_check(s->vix.data, s->vix.size, e, err))
            ok = vc_prefix(err, "'%s'", side);
    }
    free(side);
    free(path);
    return ok;
}

bool index_reader_open(IndexReader **out, const char *dir, const IndexReaderOptions *options, VcErr *err)
{
    MdsIndex index = {0};
    if (!set_read_index(&index, dir, err))
        return false;
    IndexReader *r = vc_calloc(1, sizeof *r);
    r->dir = vc_strdup(dir);
    if (options != NULL)
        r->options = *options;
    r->crc32 = vc_crc32_best();
    r->index = index;
    r->shards = vc_calloc(index.count + 1, sizeof *r->shards);
    r->first = vc_calloc(index.count + 1, sizeof *r->first);
    for (size_t i = 0; i < index.count; i++) {
        r->first[i + 1] = r->first[i] + index.entries[i].samples;
        if (!open_shard(r, i, err)) {
            index_reader_close(&r);
            return false;
        }
    }
    *out = r;
    return true;
}

void index_reader_close(IndexReader **reader)
{
    if (reader == NULL || *reader == NULL)
        return;
    IndexReader *r = *reader;
    for (size_t i = 0; i < r->index.count; i++) {
        vc_map_close(&r->shards[i].map);
        vc_map_close(&r->shards[i].vix);
    }
    free(r->shards);
    free(r->first);
    mds_index_finish(&r->index);
    free(r->dir);
    free(r);
    *reader = NULL;
}

uint64_t index_reader_total(const IndexReader *reader)
{
    return reader->index.total;
}

size_t index_reader_shards(const IndexReader *reader)
{
    return reader->index.count;
}

uint64_t index_reader_shard_total(const IndexReader *reader, size_t shard)
{
    VC_ASSERT(shard < reader->index.count);
    return reader->index.entries[shard].samples;
}

const char *index_reader_fingerprint(const IndexReader *reader)
{
    return reader->index.fingerprint;
}

const char *index_reader_dir(const IndexReader *reader)
{
    return reader->dir;
}

const MdsIndex *index_reader_index(const IndexReader *reader)
{
    return &reader->index;
}

bool index_reader_has_crc(const IndexReader *reader)
{
    for (size_t i = 0; i < reader->index.count; i++) {
        if (reader->shards[i].vix.data == NULL)
            return false;
    }
    return true;
}

// The shard that holds record i.
static size_t find_shard(const IndexReader *r, uint64_t i)
{
    VC_ASSERT(i < r->index.total);
    size_t low = 0, high = r->index.count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (r->first[middle] <= i) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool prefix_record(const IndexReader *r, size_t shard, uint64_t record, VcErr *err)
{
    return vc_prefix(err, "'%s/%s' record %llu", r->dir, r->index.entries[shard].raw.basename,
                     (unsigned long long)record);
}

// Bytes of record i, CRC checked when asked for. *shard and *local: where it is.
static bool record_bytes(const IndexReader *r, uint64_t i, const uint8_t **data, size_t *n, size_t *shard,
                         uint64_t *local, VcErr *err)
{
    *shard = find_shard(r, i);
    const Shard *s = &r->shards[*shard];
    *local = i - r->first[*shard];
    uint32_t begin = shard_offset(s->map.data, *local), end = shard_offset(s->map.data, *local + 1);
    if (begin >= end || end > s->map.size) // checked at open; here again because the file is shared
        return vc_fail(err, VC_ERR_FORMAT, "its offsets changed since the set was opened");
    *data = s->map.data + begin;
    *n = end - begin;
    if (r->options.crc && s->vix.data != NULL && r->crc32(*data, *n) != vix_crc(s->vix.data, *local))
        return vc_fail(err, VC_ERR_FORMAT, "its CRC is not the one in the side index");
    return true;
}

bool index_reader_get(const IndexReader *r, uint64_t i, IndexRecord *record, VcErr *err)
{
    VC_ASSERT(!r->options.any_columns);
    const uint8_t *data = NULL;
    size_t n = 0, shard = 0;
    uint64_t local = 0;
    if (!record_bytes(r, i, &data, &n, &shard, &local, err) ||
        !record_decode(&r->index.entries[shard].schema, &r->shards[shard].columns, data, n, r->options.vocabulary,
                       record, err))
        return prefix_record(r, shard, local, err);
    return true;
}

bool index_reader_take(IndexReader *r, uint64_t i, IndexRecord *record, bool *usable, VcErr *err)
{
    VcErr reason;
    *usable = index_reader_get(r, i, record, &reason);
    if (*usable)
        return true;
    if (r->options.on_bad == INDEX_BAD_STOP) {
        if (err != NULL)
            *err = reason;
        return false;
    }
    atomic_fetch_add_explicit(&r->bad, 1, memory_order_relaxed);
    if (r->options.on_bad == INDEX_BAD_LIST)
        vc_warn("%s", reason.text);
    return true;
}

uint64_t index_reader_bad(const IndexReader *reader)
{
    return atomic_load_explicit(&reader->bad, memory_order_relaxed);
}

bool index_reader_fields(const IndexReader *r, uint64_t i, const MdsSchema **schema, MdsField *fields, VcErr *err)
{
    const uint8_t *data = NULL;
    size_t n = 0, shard = 0;
    uint64_t local = 0;
    if (!record_bytes(r, i, &data, &n, &shard, &local, err) ||
        !mds_record_parse(&r->index.entries[shard].schema, data, n, fields, err))
        return prefix_record(r, shard, local, err);
    *schema = &r->index.entries[shard].schema;
    return true;
}

bool index_reader_find(const IndexReader *r, int64_t image_id, uint64_t *i)
{
    for (size_t s = 0; s < r->index.count; s++) {
        for (uint64_t k = 0; k < r->index.entries[s].samples && r->shards[s].vix.data != NULL; k++) {
            if (vix_id(r->shards[s].vix.data, k) == image_id) {
                *i = r->first[s] + k;
                return true;
            }
        }
    }
    return false;
}
