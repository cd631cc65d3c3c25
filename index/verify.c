// SPDX-License-Identifier: MIT
#include "index/reader.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/gzip.h"
#include "index/record.h"
#include "index/set.h"
#include "index/vix.h"

typedef struct {
    const char *dir;
    IndexOnBad on_bad;
    int32_t vocabulary;
    IndexVerifyReport *report;
    IndexBadFn bad;
    void *ctx;
} Verify;

// A record (or a whole shard, counted with all its records) that fails: stop, or count and go on.
static bool found_bad(const Verify *v, uint64_t records, const VcErr *reason, VcErr *err)
{
    if (v->on_bad == INDEX_BAD_STOP) {
        if (err != NULL)
            *err = *reason;
        return false;
    }
    v->report->bad += records;
    if (v->on_bad == INDEX_BAD_LIST && v->bad != NULL)
        v->bad(v->ctx, reason->text);
    return true;
}

static bool check_record(const Verify *v, const MdsEntry *e, const RecordColumns *columns, const uint8_t *shard,
                         const uint8_t *vix, uint64_t i, VcErr *err)
{
    const uint8_t *data = shard + shard_offset(shard, i);
    size_t n = shard_offset(shard, i + 1) - shard_offset(shard, i);
    if (vix != NULL && vc_crc32(data, n) != vix_crc(vix, i))
        return vc_fail(err, VC_ERR_FORMAT, "its CRC is not the one in the side index");
    if (columns == NULL) {
        MdsField fields[MDS_MAX_COLUMNS];
        return mds_record_parse(&e->schema, data, n, fields, err);
    }
    IndexRecord r;
    if (!record_decode(&e->schema, columns, data, n, v->vocabulary, &r, err))
        return false;
    if (vix != NULL && vix_id(vix, i) != r.image_id) {
        return vc_fail(err, VC_ERR_FORMAT, "image_id %lld is not the %lld of the side index", (long long)r.image_id,
                       (long long)vix_id(vix, i));
    }
    if (r.image_form == INDEX_IMAGE_Z) {
        uint8_t *pixels;
        uint32_t w, h, c;
        if (!index_image_z_decode(r.image, r.image_bytes, &pixels, &w, &h, &c, err))
            return false;
        free(pixels);
    }
    v->report->tokens += r.caption_ids.count;
    v->report->concepts += r.concept_ids.count;
    return true;
}

static bool check_records(const Verify *v, const MdsEntry *e, const char *path, const uint8_t *shard,
                          const uint8_t *vix, VcErr *err)
{
    RecordColumns columns;
    VcErr reason;
    bool ours = record_columns_find(&columns, &e->schema, &reason); // a set with other columns has only MDS's own rules
    for (uint64_t i = 0; i < e->samples; i++) {
        if (vc_interrupted())
            return vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        if (check_record(v, e, ours ? &columns : NULL, shard, vix, i, &reason))
            continue;
        vc_prefix(&reason, "'%s' record %llu", path, (unsigned long long)i);
        if (!found_bad(v, 1, &reason, err))
            return false;
    }
    return true;
}

// The plain bytes of a shard: its map, or its gzip form inflated into `inflated`.
static bool shard_bytes(const Verify *v, const MdsEntry *e, VcMap *map, VcStr *inflated, const uint8_t **data,
                        VcErr *err)
{
    const MdsFile *file = e->compression != NULL ? &e->zip : &e->raw;
    char *path = vc_path_join(v->dir, file->basename);
    bool ok = vc_map_open(map, path, err);
    if (ok && map->size != file->bytes) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' has %zu bytes, index.json says %llu", path, map->size,
                     (unsigned long long)file->bytes);
    } else if (ok && !shard_check_hashes(map->data, map->size, file, err)) {
        ok = vc_prefix(err, "'%s'", path);
    }
    *data = map->data;
    if (ok && e->compression != NULL) {
        ok = gzip_inflate(inflated, map->data, map->size, e->raw.bytes, err) &&
             shard_check_hashes((const uint8_t *)inflated->data, inflated->len, &e->raw, err);
        if (!ok)
            vc_prefix(err, "'%s'", path);
        *data = (const uint8_t *)inflated->data;
    }
    free(path);
    return ok;
}

static bool open_vix(const Verify *v, const MdsEntry *e, VcMap *vix, VcErr *err)
{
    char *path = vix_path(v->dir, e->raw.basename);
    bool ok = true;
    if (vc_exists(path)) {
        ok = vc_map_open(vix, path, err) && (vix_check(vix->data, vix->size, e, err) || vc_prefix(err, "'%s'", path));
    } else {
        v->report->unchecked++;
    }
    free(path);
    return ok;
}

static bool verify_shard(const Verify *v, const MdsEntry *e, VcErr *err)
{
    VcMap map = {0}, vix = {0};
    VcStr inflated = {0};
    const uint8_t *data = NULL;
    VcErr reason;
    char *path = vc_path_join(v->dir, e->raw.basename);
    bool ok = true, readable = shard_bytes(v, e, &map, &inflated, &data, &reason);
    if (readable && !shard_check(data, e->raw.bytes, e, &reason))
        readable = vc_prefix(&reason, "'%s'", path);
    if (readable)
        readable = open_vix(v, e, &vix, &reason);
    if (readable) {
        ok = check_records(v, e, path, data, vix.data, err);
    } else {
        ok = found_bad(v, e->samples, &reason, err);
    }
    v->report->shards++;
    v->report->records += e->samples;
    v->report->bytes += map.size;
    free(path);
    vc_map_close(&map);
    vc_map_close(&vix);
    vc_str_finish(&inflated);
    return ok;
}

bool index_verify(const char *dir, IndexOnBad on_bad, int32_t vocabulary, IndexVerifyReport *report, IndexBadFn bad,
                  void *ctx, VcErr *err)
{
    MdsIndex index = {0};
    if (!set_read_index(&index, dir, err))
        return false;
    *report = (IndexVerifyReport){0};
    const Verify v = {dir, on_bad, vocabulary, report, bad, ctx};
    bool ok = true;
    for (size_t i = 0; i < index.count && ok; i++) {
        const MdsEntry *e = &index.entries[i];
        ok = set_check_codec(e, dir, err);
        report->packed |= e->compression != NULL;
        ok = ok && verify_shard(&v, e, err);
    }
    mds_index_finish(&index);
    return ok;
}
