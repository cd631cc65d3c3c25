// SPDX-License-Identifier: MIT
//
// The archive form of a set and back, and missing side indexes. The new files come first, then index.json by rename,
// then the old files go: whenever this is stopped, index.json names files that are there, and running again finishes.
#include "index/writer.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/gzip.h"
#include "index/set.h"
#include "index/vix.h"

#include <errno.h>
#include <unistd.h>

// Removes the file of the form that is not in use, if it is there.
static bool remove_other(const char *dir, const char *basename, VcErr *err)
{
    char *path = vc_path_join(dir, basename);
    bool ok = unlink(path) == 0 || errno == ENOENT || vc_fail_errno(err, "cannot remove '%s'", path);
    free(path);
    return ok;
}

static void set_text(char **to, const char *text)
{
    char *copy = text != NULL ? vc_strdup(text) : NULL;
    free(*to);
    *to = copy;
}

static bool pack_shard(const char *dir, MdsEntry *e, int level, VcErr *err)
{
    VcMap map = {0};
    VcStr packed = {0}, name = {0};
    char *path = vc_path_join(dir, e->raw.basename), *target = NULL;
    bool ok = vc_map_open(&map, path, err);
    if (ok && (!shard_check(map.data, map.size, e, err) || !shard_check_hashes(map.data, map.size, &e->raw, err)))
        ok = vc_prefix(err, "'%s'", path);
    ok = ok && gzip_deflate(&packed, map.data, map.size, level, err);
    if (ok) {
        vc_str_putf(&name, "%s.gz", e->raw.basename);
        target = vc_path_join(dir, vc_str_get(&name));
        ok = vc_write_file(target, packed.data, packed.len, err);
    }
    if (ok) {
        char compression[16];
        snprintf(compression, sizeof compression, "gz:%d", level);
        set_text(&e->compression, compression);
        set_text(&e->hashes_json, SET_HASHES);
        set_hash_file(&e->raw, map.data, map.size);
        set_text(&e->zip.basename, vc_str_get(&name));
        set_hash_file(&e->zip, (const uint8_t *)packed.data, packed.len);
    }
    free(target);
    free(path);
    vc_str_finish(&name);
    vc_str_finish(&packed);
    vc_map_close(&map);
    return ok;
}

bool index_set_pack(const char *dir, int level, uint64_t *done, VcErr *err)
{
    *done = 0;
    MdsIndex index = {0};
    if (level < 1 || level > 9)
        return vc_fail(err, VC_ERR_USAGE, "gzip level %d; levels are 1 to 9", level);
    if (!set_read_index(&index, dir, err))
        return false;
    bool ok = true;
    for (size_t i = 0; i < index.count && ok; i++) {
        MdsEntry *e = &index.entries[i];
        ok = set_check_codec(e, dir, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        if (ok && e->compression == NULL) {
            ok = pack_shard(dir, e, level, err);
            *done += ok;
        }
    }
    ok = ok && (*done == 0 || set_write_index(&index, dir, err));
    for (size_t i = 0; i < index.count && ok; i++)
        ok = remove_other(dir, index.entries[i].raw.basename, err);
    mds_index_finish(&index);
    return ok;
}

static bool unpack_shard(const char *dir, MdsEntry *e, VcErr *err)
{
    VcMap map = {0};
    VcStr plain = {0};
    char *path = vc_path_join(dir, e->zip.basename), *target = vc_path_join(dir, e->raw.basename);
    bool ok = vc_map_open(&map, path, err);
    if (ok && map.size != e->zip.bytes) {
        ok = vc_fail(err, VC_ERR_FORMAT, "has %zu bytes, index.json says %llu", map.size,
                     (unsigned long long)e->zip.bytes) ||
             vc_prefix(err, "'%s'", path);
    } else if (ok && !(shard_check_hashes(map.data, map.size, &e->zip, err) &&
                       gzip_inflate(&plain, map.data, map.size, e->raw.bytes, err) &&
                       shard_check_hashes((const uint8_t *)plain.data, plain.len, &e->raw, err) &&
                       shard_check((const uint8_t *)plain.data, plain.len, e, err))) {
        ok = vc_prefix(err, "'%s'", path);
    }
    ok = ok && vc_write_file(target, plain.data, plain.len, err);
    free(target);
    free(path);
    vc_str_finish(&plain);
    vc_map_close(&map);
    return ok;
}

bool index_set_unpack(const char *dir, uint64_t *done, VcErr *err)
{
    *done = 0;
    MdsIndex index = {0};
    if (!set_read_index(&index, dir, err))
        return false;
    bool ok = true;
    char **old = vc_calloc(index.count + 1, sizeof *old); // gzip files to remove once index.json is written
    for (size_t i = 0; i < index.count && ok; i++) {
        MdsEntry *e = &index.entries[i];
        ok = set_check_codec(e, dir, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        if (!ok)
            break;
        if (e->compression == NULL) { // what an interrupted run may have left
            VcStr name = {0};
            vc_str_putf(&name, "%s.gz", e->raw.basename);
            old[i] = vc_strdup(vc_str_get(&name));
            vc_str_finish(&name);
            continue;
        }
        ok = unpack_shard(dir, e, err);
        *done += ok;
        old[i] = vc_strdup(e->zip.basename);
        set_text(&e->compression, NULL);
        set_text(&e->zip.basename, NULL);
    }
    ok = ok && (*done == 0 || set_write_index(&index, dir, err));
    for (size_t i = 0; i < index.count && ok; i++)
        ok = remove_other(dir, old[i], err);
    for (size_t i = 0; i < index.count; i++)
        free(old[i]);
    free(old);
    mds_index_finish(&index);
    return ok;
}

static bool rebuild_one(const char *dir, const MdsEntry *e, const char *side, VcErr *err)
{
    VcMap map = {0};
    VcStr vix = {0};
    char *path = vc_path_join(dir, e->raw.basename);
    bool ok = vc_map_open(&map, path, err);
    if (ok && (!shard_check(map.data, map.size, e, err) || !shard_check_hashes(map.data, map.size, &e->raw, err) ||
               !vix_build(&vix, map.data, e, err)))
        ok = vc_prefix(err, "'%s'", path);
    ok = ok && vc_write_file(side, vix.data, vix.len, err);
    vc_str_finish(&vix);
    vc_map_close(&map);
    free(path);
    return ok;
}

bool index_set_rebuild_vix(const char *dir, uint64_t *done, VcErr *err)
{
    *done = 0;
    MdsIndex index = {0};
    if (!set_read_index(&index, dir, err))
        return false;
    bool ok = true;
    for (size_t i = 0; i < index.count && ok; i++) {
        const MdsEntry *e = &index.entries[i];
        char *side = vix_path(dir, e->raw.basename);
        if (e->compression == NULL && !vc_exists(side)) {
            ok = rebuild_one(dir, e, side, err);
            *done += ok;
        }
        free(side);
    }
    mds_index_finish(&index);
    return ok;
}
