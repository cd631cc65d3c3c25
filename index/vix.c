// SPDX-License-Identifier: MIT
#include "index/vix.h"

#include "base/crc32.h"
#include "base/hash.h"
#include "base/mem.h"

static const char magic[8] = {'V', 'C', 'V', 'I', 'X', 0, 0, 1};

char *vix_path(const char *dir, const char *basename)
{
    VcStr name = {0};
    vc_str_putf(&name, "%s.vix", basename);
    char *path = vc_path_join(dir, vc_str_get(&name));
    vc_str_finish(&name);
    return path;
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

void vix_put(VcStr *out, uint64_t size, uint64_t xxh64, const int64_t *ids, const uint32_t *crcs, uint32_t count)
{
    const uint32_t entry = VIX_ENTRY, zero = 0;
    size_t begin = out->len;
    vc_str_putn(out, magic, sizeof magic);
    vc_str_putn(out, &count, 4);
    vc_str_putn(out, &entry, 4);
    vc_str_putn(out, &size, 8);
    vc_str_putn(out, &xxh64, 8);
    for (uint32_t i = 0; i < count; i++) {
        vc_str_putn(out, &ids[i], 8);
        vc_str_putn(out, &crcs[i], 4);
        vc_str_putn(out, &zero, 4);
    }
    uint32_t crc = vc_crc32(out->data + begin, out->len - begin);
    vc_str_putn(out, &crc, 4);
}

bool vix_build(VcStr *out, const uint8_t *shard, const MdsEntry *entry, VcErr *err)
{
    uint32_t count = (uint32_t)entry->samples;
    int column = mds_schema_find(&entry->schema, "image_id");
    if (column >= 0 && entry->schema.columns[column].form.type != MDS_I64)
        column = -1;
    int64_t *ids = vc_alloc(count, sizeof *ids);
    uint32_t *crcs = vc_alloc(count, sizeof *crcs);
    bool ok = true;
    for (uint32_t i = 0; i < count && ok; i++) {
        const uint8_t *record = shard + shard_offset(shard, i);
        size_t n = shard_offset(shard, i + 1) - shard_offset(shard, i);
        MdsField fields[MDS_MAX_COLUMNS];
        ids[i] = -1;
        crcs[i] = vc_crc32(record, n);
        ok = mds_record_parse(&entry->schema, record, n, fields, err) || vc_prefix(err, "record %u", i);
        if (ok && column >= 0 && fields[column].size == 8)
            ids[i] = (int64_t)get64(fields[column].data);
    }
    if (ok)
        vix_put(out, entry->raw.bytes, vc_xxh64(shard, entry->raw.bytes), ids, crcs, count);
    free(crcs);
    free(ids);
    return ok;
}

bool vix_check(const uint8_t *data, size_t n, const MdsEntry *entry, VcErr *err)
{
    if (n < VIX_HEADER + 4 || memcmp(data, magic, 7) != 0)
        return vc_fail(err, VC_ERR_FORMAT, "is not a side index (wrong magic)");
    if (data[7] != 1)
        return vc_fail(err, VC_ERR_FORMAT, "has version %d; this program reads version 1", data[7]);
    uint32_t count = get32(data + 8), size = get32(data + 12);
    if (count != entry->samples || size != VIX_ENTRY || n != VIX_HEADER + (size_t)count * VIX_ENTRY + 4) {
        return vc_fail(err, VC_ERR_FORMAT, "counts %u entries of %u bytes in %zu bytes; the shard has %llu records",
                       count, size, n, (unsigned long long)entry->samples);
    }
    if (get32(data + n - 4) != vc_crc32(data, n - 4))
        return vc_fail(err, VC_ERR_FORMAT, "its own CRC does not match");
    if (get64(data + 16) != entry->raw.bytes) {
        return vc_fail(err, VC_ERR_FORMAT, "is for a shard of %llu bytes, index.json says %llu",
                       (unsigned long long)get64(data + 16), (unsigned long long)entry->raw.bytes);
    }
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)get64(data + 24));
    if (entry->raw.xxh64[0] != 0 && strcmp(hex, entry->raw.xxh64) != 0)
        return vc_fail(err, VC_ERR_FORMAT, "is for a shard with xxh64 %s, index.json says %s", hex, entry->raw.xxh64);
    return true;
}

int64_t vix_id(const uint8_t *data, uint64_t record)
{
    return (int64_t)get64(data + VIX_HEADER + VIX_ENTRY * record);
}

uint32_t vix_crc(const uint8_t *data, uint64_t record)
{
    return get32(data + VIX_HEADER + VIX_ENTRY * record + 8);
}

bool shard_check(const uint8_t *data, uint64_t size, const MdsEntry *entry, VcErr *err)
{
    if (size != entry->raw.bytes) {
        return vc_fail(err, VC_ERR_FORMAT, "has %llu bytes, index.json says %llu", (unsigned long long)size,
                       (unsigned long long)entry->raw.bytes);
    }
    uint32_t count = size >= 4 ? get32(data) : 0;
    if (size < 8 || count != entry->samples) {
        return vc_fail(err, VC_ERR_FORMAT, "holds %u records, index.json says %llu", count,
                       (unsigned long long)entry->samples);
    }
    uint64_t table_end = 8 + 4 * (uint64_t)count;
    if (table_end > size)
        return vc_fail(err, VC_ERR_FORMAT, "ends inside its table of offsets");
    if (shard_offset(data, 0) < table_end || shard_offset(data, 0) > size)
        return vc_fail(err, VC_ERR_FORMAT, "first offset %u is outside the shard", shard_offset(data, 0));
    for (uint32_t i = 0; i < count; i++) {
        if (shard_offset(data, i + 1) <= shard_offset(data, i)) {
            return vc_fail(err, VC_ERR_FORMAT, "record %u: offsets do not increase (%u, %u)", i, shard_offset(data, i),
                           shard_offset(data, i + 1));
        }
    }
    if (shard_offset(data, count) != size)
        return vc_fail(err, VC_ERR_FORMAT, "last offset %u is not the size of the file", shard_offset(data, count));
    return mds_config_check(entry, (const char *)data + table_end, shard_offset(data, 0) - table_end, err);
}

bool shard_check_hashes(const uint8_t *data, uint64_t size, const MdsFile *file, VcErr *err)
{
    char hex[41];
    if (file->xxh64[0] != 0) {
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)vc_xxh64(data, size));
        if (strcmp(hex, file->xxh64) != 0)
            return vc_fail(err, VC_ERR_FORMAT, "xxh64 is %s, index.json says %s", hex, file->xxh64);
    }
    if (file->sha1[0] != 0) {
        uint8_t digest[20];
        vc_sha1(data, size, digest);
        vc_hex(digest, sizeof digest, hex);
        if (strcmp(hex, file->sha1) != 0)
            return vc_fail(err, VC_ERR_FORMAT, "sha1 is %s, index.json says %s", hex, file->sha1);
    }
    return true;
}
