// SPDX-License-Identifier: MIT
#include "index/writer.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "index/set.h"
#include "index/vix.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { MAX_SETTINGS = 1 << 20, MAX_PROGRESS = 1 << 30 };

struct IndexWriter {
    char *dir, *settings;
    MdsEntry form;    // columns, hashes and limit of every new entry
    VcStr config;     // the configuration inside each shard
    MdsIndex done;    // finished shards: those of index.json, then those of progress.jsonl
    size_t base;      // how many of them index.json has
    uint64_t records; // in finished shards
    IndexSetState state;
    bool noted;     // progress.jsonl exists
    int64_t *known; // image ids in finished shards, sorted
    size_t known_count, known_cap;
    // the shard being gathered
    VcStr body;
    uint32_t *ends; // end of record i in body
    int64_t *ids;
    uint32_t *crcs;
    size_t count, cap;
};

static char *file_path(const IndexWriter *w, const char *name)
{
    return vc_path_join(w->dir, name);
}

// ---- settings -------------------------------------------------------------------------------------------------

static void put_value(VcStr *out, const VcJson *v)
{
    size_t n;
    const char *text = vc_json_string(v, &n);
    if (v == NULL) {
        vc_str_put(out, "nothing");
    } else if (text != NULL) {
        vc_str_put_json(out, text, n, false);
    } else if (vc_json_is_number(v)) {
        vc_str_putf(out, "%.17g", vc_json_number(v, 0));
    } else {
        vc_str_put(out, vc_json_is_null(v) ? "null" : vc_json_bool(v, false) ? "true" : "false");
    }
}

static void compare_members(VcStr *out, const VcJson *a, const VcJson *b, bool only_missing)
{
    void *iter = NULL;
    const char *key;
    VcJson *value;
    while (vc_json_next_member(a, &iter, &key, &value)) {
        const VcJson *other = vc_json_member(b, key);
        if (only_missing && other != NULL)
            continue;
        VcStr then = {0}, now = {0};
        put_value(&then, only_missing ? other : value);
        put_value(&now, only_missing ? value : other);
        if (strcmp(vc_str_get(&then), vc_str_get(&now)) != 0) {
            vc_str_putf(out, "%s%s (%s then, %s now)", out->len > 0 ? ", " : "", key, vc_str_get(&then),
                        vc_str_get(&now));
        }
        vc_str_finish(&then);
        vc_str_finish(&now);
    }
}

// Settings are flat objects of numbers, strings and booleans.
static bool same_settings(const IndexWriter *w, const VcJson *then, VcErr *err)
{
    VcJson *now;
    if (!vc_json_parse(&now, w->settings, strlen(w->settings), "settings", err))
        return false;
    VcStr differences = {0};
    compare_members(&differences, then, now, false);
    compare_members(&differences, now, then, true);
    bool ok = differences.len == 0;
    if (!ok) {
        vc_fail(err, VC_ERR_USAGE,
                "the records in '%s' were made with other settings: %s; keep the settings, or make the set anew with "
                "--rebuild",
                w->dir, vc_str_get(&differences));
    }
    vc_str_finish(&differences);
    vc_json_destroy(&now);
    return ok;
}

static bool same_columns(const IndexWriter *w, const MdsEntry *e, VcErr *err)
{
    return mds_schema_equal(&w->form.schema, &e->schema) ||
           vc_fail(err, VC_ERR_USAGE,
                   "the records in '%s' have other columns; use the settings they were made with, or make the set anew "
                   "with --rebuild",
                   w->dir);
}

// ---- what is there already ------------------------------------------------------------------------------------

static int compare_ids(const void *a, const void *b)
{
    int64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static bool learn_ids(IndexWriter *w, const MdsEntry *e, VcErr *err)
{
    VcMap vix = {0};
    char *path = vix_path(w->dir, e->raw.basename);
    bool ok = vc_map_open(&vix, path, err);
    if (ok && !vix_check(vix.data, vix.size, e, err))
        ok = vc_prefix(err, "'%s'", path);
    for (uint64_t i = 0; ok && i < e->samples; i++) {
        w->known = vc_grow(w->known, &w->known_cap, w->known_count + 1, sizeof *w->known);
        w->known[w->known_count++] = vix_id(vix.data, i);
    }
    vc_map_close(&vix);
    free(path);
    return ok;
}

static bool load_finished(IndexWriter *w, VcErr *err)
{
    char *index_path = file_path(w, "index.json"), *records_path = file_path(w, "records.json");
    VcJson *records = NULL;
    bool ok = true;
    if (!vc_exists(index_path))
        goto out;
    w->state = INDEX_SET_COMPLETE;
    uint64_t rebuilt;
    ok = set_read_index(&w->done, w->dir, err);
    if (ok && !vc_exists(records_path)) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     "'%s' was not made by 'vicha index' (it has no records.json); choose another "
                     "folder, or make the set anew with --rebuild",
                     w->dir);
    }
    ok = ok && vc_json_read_file(&records, records_path, MAX_SETTINGS, err) &&
         same_settings(w, vc_json_member(records, "settings"), err) && index_set_rebuild_vix(w->dir, &rebuilt, err);
    w->base = w->done.count;
    for (size_t i = 0; i < w->done.count && ok; i++) {
        const MdsEntry *e = &w->done.entries[i];
        if (e->compression != NULL)
            ok = vc_fail(err, VC_ERR_USAGE, "'%s' is packed: run 'vicha index --unpack %s' first", w->dir, w->dir);
        ok = ok && same_columns(w, e, err) && learn_ids(w, e, err);
        w->records += e->samples;
    }
out:
    vc_json_destroy(&records);
    free(index_path);
    free(records_path);
    return ok;
}

// Is the shard of this entry whole? (It was synced before it was noted; a copied workspace may still lack it.)
static bool shard_is_there(const IndexWriter *w, const MdsEntry *e)
{
    char *path = file_path(w, e->raw.basename), *side = vix_path(w->dir, e->raw.basename);
    uint64_t size = 0;
    VcErr ignored;
    bool there = vc_exists(path) && vc_exists(side) && vc_file_size(path, &size, &ignored) && size == e->raw.bytes;
    free(side);
    free(path);
    return there;
}

static void add_entry(IndexWriter *w, const MdsEntry *e)
{
    size_t n = w->done.count + 1;
    w->done.entries = vc_realloc(w->done.entries, n, sizeof *w->done.entries);
    w->done.entries[w->done.count++] = *e;
    w->done.total += e->samples;
    w->records += e->samples;
}

// The lines after the first: an entry each. Stops at the first that is not whole; *good: bytes of whole lines.
static bool load_lines(IndexWriter *w, const char *text, size_t n, size_t *good, VcErr *err)
{
    while (*good < n) {
        const char *line = text + *good, *newline = memchr(line, '\n', n - *good);
        VcJson *json;
        VcErr ignored;
        if (newline == NULL || !vc_json_parse(&json, line, (size_t)(newline - line), "progress.jsonl", &ignored))
            return true;
        MdsEntry e = {0};
        bool whole =
            mds_entry_parse(&e, vc_json_member(json, "entry"), "progress.jsonl", &ignored) && shard_is_there(w, &e);
        vc_json_destroy(&json);
        if (!whole || !same_columns(w, &e, err) || !learn_ids(w, &e, err)) {
            mds_entry_finish(&e);
            return !whole;
        }
        add_entry(w, &e);
        *good = (size_t)(newline - text) + 1;
    }
    return true;
}

static bool load_progress(IndexWriter *w, VcErr *err)
{
    char *path = file_path(w, "progress.jsonl"), *text = NULL;
    VcJson *head = NULL;
    size_t n = 0;
    bool ok = true;
    if (!vc_exists(path) || !(ok = vc_read_file(&text, &n, path, MAX_PROGRESS, err)))
        goto out;
    const char *newline = memchr(text, '\n', n);
    VcErr ignored;
    if (newline == NULL || !vc_json_parse(&head, text, (size_t)(newline - text), path, &ignored)) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged in its first line; make the set anew with --rebuild", path);
        goto out;
    }
    int64_t base = vc_json_int(vc_json_member(head, "base"), -1);
    if (base < 0 || (size_t)base != w->base) { // index.json was written, the notes were not yet removed
        ok = unlink(path) == 0 || vc_fail_errno(err, "cannot remove '%s'", path);
        goto out;
    }
    size_t good = (size_t)(newline - text) + 1;
    ok = same_settings(w, vc_json_member(head, "settings"), err) && load_lines(w, text, n, &good, err) &&
         (good == n || vc_write_file(path, text, good, err));
    w->state = INDEX_SET_PARTIAL;
    w->noted = true;
out:
    vc_json_destroy(&head);
    free(text);
    free(path);
    return ok;
}

bool index_writer_open(IndexWriter **out, const IndexWriterOptions *o, VcErr *err)
{
    if (o->size_limit < 1024 || o->size_limit > UINT32_MAX) {
        return vc_fail(err, VC_ERR_USAGE, "a shard of at most %llu bytes; the limit is between 1 KiB and 4 GiB",
                       (unsigned long long)o->size_limit);
    }
    IndexWriter *w = vc_calloc(1, sizeof *w);
    w->dir = vc_strdup(o->dir);
    w->settings = vc_strdup(o->settings);
    w->form.hashes_json = vc_strdup(SET_HASHES);
    w->form.size_limit = o->size_limit;
    if (!mds_schema_make(&w->form.schema, o->names, o->encodings, o->columns, err) || !vc_make_dirs(o->dir, err) ||
        !load_finished(w, err) || !load_progress(w, err)) {
        index_writer_close(&w);
        return false;
    }
    mds_config_put(&w->config, &w->form);
    if (w->known_count > 0)
        qsort(w->known, w->known_count, sizeof *w->known, compare_ids);
    *out = w;
    return true;
}

void index_writer_close(IndexWriter **writer)
{
    if (writer == NULL || *writer == NULL)
        return;
    IndexWriter *w = *writer;
    mds_entry_finish(&w->form);
    mds_index_finish(&w->done);
    vc_str_finish(&w->config);
    vc_str_finish(&w->body);
    free(w->dir);
    free(w->settings);
    free(w->known);
    free(w->ends);
    free(w->ids);
    free(w->crcs);
    free(w);
    *writer = NULL;
}

IndexSetState index_writer_state(const IndexWriter *w)
{
    return w->state;
}

uint64_t index_writer_records(const IndexWriter *w)
{
    return w->records + w->count;
}

size_t index_writer_shards(const IndexWriter *w)
{
    return w->done.count;
}

uint64_t index_writer_bytes(const IndexWriter *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->done.count; i++)
        bytes += w->done.entries[i].raw.bytes;
    return bytes;
}

bool index_writer_has(const IndexWriter *w, int64_t image_id)
{
    return w->known_count > 0 && bsearch(&image_id, w->known, w->known_count, sizeof *w->known, compare_ids) != NULL;
}

// ---- shards ---------------------------------------------------------------------------------------------------

// Appends a line to progress.jsonl, which is made with its first line when absent, and syncs it.
static bool note(IndexWriter *w, const char *line, size_t n, VcErr *err)
{
    char *path = file_path(w, "progress.jsonl");
    bool ok = true;
    if (!w->noted) {
        VcStr head = {0};
        vc_str_putf(&head, "{\"base\": %zu, \"settings\": %s}\n", w->base, w->settings);
        ok = vc_write_file(path, head.data, head.len, err);
        vc_str_finish(&head);
        w->noted = ok;
    }
    int fd = ok ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (ok && fd < 0)
        ok = vc_fail_errno(err, "cannot open '%s'", path);
    ok = ok && vc_full_write(fd, line, n, path, err) && vc_sync_file(fd, path, err);
    if (fd >= 0 && close(fd) != 0 && ok)
        ok = vc_fail_errno(err, "cannot write '%s'", path);
    free(path);
    return ok;
}

static uint64_t shard_size(const IndexWriter *w)
{
    return 8 + 4 * (uint64_t)w->count + w->config.len + w->body.len;
}

static void put_shard(VcStr *out, const IndexWriter *w)
{
    uint32_t n = (uint32_t)w->count, first = (uint32_t)(8 + 4 * w->count + w->config.len);
    vc_str_putn(out, &n, 4);
    vc_str_putn(out, &first, 4);
    for (size_t i = 0; i < w->count; i++) {
        uint32_t end = first + w->ends[i];
        vc_str_putn(out, &end, 4);
    }
    vc_str_putn(out, w->config.data, w->config.len);
    vc_str_putn(out, w->body.data, w->body.len);
}

static bool copy_form(MdsEntry *e, const IndexWriter *w, VcErr *err)
{
    const char *names[MDS_MAX_COLUMNS], *encodings[MDS_MAX_COLUMNS];
    for (size_t i = 0; i < w->form.schema.count; i++) {
        names[i] = w->form.schema.columns[i].name;
        encodings[i] = w->form.schema.columns[i].encoding;
    }
    e->hashes_json = vc_strdup(w->form.hashes_json);
    e->size_limit = w->form.size_limit;
    e->samples = w->count;
    return mds_schema_make(&e->schema, names, encodings, w->form.schema.count, err);
}

static bool flush_shard(IndexWriter *w, VcErr *err)
{
    VcStr shard = {0}, vix = {0}, line = {0};
    MdsEntry e = {0};
    char name[32], *path = NULL, *side = NULL;
    snprintf(name, sizeof name, "shard.%05zu.mds", w->done.count);
    put_shard(&shard, w);
    bool ok = copy_form(&e, w, err);
    e.raw.basename = vc_strdup(name);
    set_hash_file(&e.raw, (const uint8_t *)shard.data, shard.len);
    vix_put(&vix, shard.len, vc_xxh64(shard.data, shard.len), w->ids, w->crcs, (uint32_t)w->count);
    path = file_path(w, name);
    side = vix_path(w->dir, name);
    ok = ok && vc_write_file(path, shard.data, shard.len, err) && vc_write_file(side, vix.data, vix.len, err);
    vc_str_put(&line, "{\"entry\": ");
    mds_entry_put(&line, &e);
    vc_str_putf(&line, ", \"last\": %lld}\n", (long long)w->ids[w->count - 1]);
    ok = ok && note(w, line.data, line.len, err);
    if (ok) {
        add_entry(w, &e);
        w->count = 0;
        vc_str_clear(&w->body);
    } else {
        mds_entry_finish(&e);
    }
    free(side);
    free(path);
    vc_str_finish(&line);
    vc_str_finish(&vix);
    vc_str_finish(&shard);
    return ok;
}

static void grow(IndexWriter *w)
{
    if (w->count < w->cap)
        return;
    size_t cap = w->cap;
    w->ends = vc_grow(w->ends, &cap, w->count + 1, sizeof *w->ends);
    cap = w->cap;
    w->ids = vc_grow(w->ids, &cap, w->count + 1, sizeof *w->ids);
    cap = w->cap;
    w->crcs = vc_grow(w->crcs, &cap, w->count + 1, sizeof *w->crcs);
    w->cap = cap;
}

bool index_writer_add(IndexWriter *w, int64_t image_id, const MdsField *fields, VcErr *err)
{
    uint64_t size = 4 * (uint64_t)w->form.schema.variable;
    for (size_t i = 0; i < w->form.schema.count; i++)
        size += fields[i].size;
    if (w->count > 0 && shard_size(w) + size + 4 > w->form.size_limit && !flush_shard(w, err))
        return false;
    size_t begin = w->body.len;
    if (shard_size(w) + size + 4 > UINT32_MAX) {
        return vc_fail(err, VC_ERR_LIMIT, "image %lld: a record of %llu bytes does not fit a shard",
                       (long long)image_id, (unsigned long long)size);
    }
    if (!mds_record_put(&w->body, &w->form.schema, fields, err))
        return vc_prefix(err, "image %lld", (long long)image_id);
    grow(w);
    w->ends[w->count] = (uint32_t)w->body.len;
    w->ids[w->count] = image_id;
    w->crcs[w->count] = vc_crc32(w->body.data + begin, w->body.len - begin);
    w->count++;
    return true;
}

bool index_writer_commit(IndexWriter *w, const char *provenance, VcErr *err)
{
    if (w->count > 0 && !flush_shard(w, err))
        return false;
    if (w->done.count == 0)
        return vc_fail(err, VC_ERR_USAGE, "there is no record to write to '%s'", w->dir);
    VcStr text = {0};
    vc_str_putf(&text, "{\"settings\": %s,\n \"records\": %llu, \"shards\": %zu%s%s}\n", w->settings,
                (unsigned long long)w->records, w->done.count, provenance != NULL ? ",\n " : "",
                provenance != NULL ? provenance : "");
    char *records = file_path(w, "records.json"), *progress = file_path(w, "progress.jsonl");
    bool ok = vc_write_file(records, text.data, text.len, err) && set_write_index(&w->done, w->dir, err);
    if (ok && unlink(progress) != 0 && errno != ENOENT)
        ok = vc_fail_errno(err, "cannot remove '%s'", progress);
    if (ok) {
        w->noted = false;
        w->base = w->done.count;
        w->state = INDEX_SET_COMPLETE;
    }
    vc_str_finish(&text);
    free(progress);
    free(records);
    return ok;
}
