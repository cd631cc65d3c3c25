// SPDX-License-Identifier: MIT
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/job.h"
#include "extract/twins.h"

#include <inttypes.h>

struct ExtractCommitter {
    VcWorkspace *ws;
    ExtractStore *store;
    ExtractTwins *twins;
    VcStmt *stored, *rejected, *captions, *columns;
    VcStr text, json, list;
};

bool extract_committer_open(ExtractCommitter **out, VcWorkspace *ws, const ExtractOptions *options, VcErr *err)
{
    ExtractCommitter *c = vc_calloc(1, sizeof *c);
    c->ws = ws;
    const ExtractStoreOptions store = {.shard_index = options->shard_index,
                                       .shard_count = options->shard_count,
                                       .shard_images = options->shard_images,
                                       .shard_bytes = options->shard_bytes};
    VcDb *db = ws->db;
    const bool ok =
        extract_twins_open(&c->twins, ws, options->dedup, err) && extract_store_open(&c->store, ws, &store, err) &&
        // An earlier note (a repaired caption) stays; an error of an earlier run does not.
        vc_db_prepare(db, &c->stored,
                      "UPDATE image SET sha256 = ?2, width = ?3, height = ?4, bytes = ?5, mime = ?6, status = 0,"
                      " error = CASE WHEN error LIKE 'note: %' THEN error END WHERE image_id = ?1",
                      err) &&
        vc_db_prepare(
            db, &c->rejected,
            "UPDATE image SET status = ?2, error = ?3, sha256 = ?4, mime = ?5, bytes = ?6 WHERE image_id = ?1", err) &&
        vc_db_prepare(db, &c->captions, "SELECT text FROM caption WHERE image_id = ? ORDER BY caption_id", err) &&
        vc_db_prepare(db, &c->columns, "SELECT columns FROM image_columns WHERE image_id = ?", err);
    if (ok) {
        *out = c;
    } else {
        extract_committer_close(&c);
    }
    return ok;
}

void extract_committer_close(ExtractCommitter **committer)
{
    if (!committer || !*committer)
        return;
    ExtractCommitter *c = *committer;
    vc_stmt_finish(&c->stored);
    vc_stmt_finish(&c->rejected);
    vc_stmt_finish(&c->captions);
    vc_stmt_finish(&c->columns);
    extract_twins_close(&c->twins);
    extract_store_close(&c->store);
    vc_str_finish(&c->text);
    vc_str_finish(&c->json);
    vc_str_finish(&c->list);
    free(c);
    *committer = NULL;
}

bool extract_committer_finish(ExtractCommitter *c, VcErr *err)
{
    return extract_store_finish(c->store, err);
}

// KEY.txt: a caption a line, so line ends inside one become spaces. c->list: the same as a JSON array.
static bool collect_captions(ExtractCommitter *c, int64_t image_id, VcErr *err)
{
    vc_str_clear(&c->text);
    vc_str_clear(&c->list);
    vc_str_putc(&c->list, '[');
    vc_bind_int(c->captions, 1, image_id);
    bool row;
    for (size_t i = 0;; i++) {
        if (!vc_stmt_step(c->captions, &row, err))
            return false;
        if (!row)
            break;
        const char *caption = vc_column_text(c->captions, 0);
        for (const char *p = caption; *p; p++)
            vc_str_putc(&c->text, *p == '\n' || *p == '\r' ? ' ' : *p);
        vc_str_putc(&c->text, '\n');
        if (i)
            vc_str_put(&c->list, ", ");
        vc_str_put_json(&c->list, caption, strlen(caption), false);
    }
    vc_str_putc(&c->list, ']');
    return true;
}

static bool describe(ExtractCommitter *c, const ExtractJob *job, VcErr *err)
{
    char hex[65];
    vc_hex(job->sha256, 32, hex);
    const ExtractThumbnail *t = &job->thumbnail;
    vc_str_clear(&c->json);
    vc_str_putf(&c->json, "{\"key\": \"%09" PRId64 "\", \"%s\": ", job->image_id,
                extract_is_url(job->key) ? "url" : "path");
    vc_str_put_json(&c->json, job->key, strlen(job->key), false);
    vc_str_putf(&c->json,
                ", \"sha256\": \"%s\", \"mime\": \"%s\", \"original_bytes\": %zu, \"original_width\": %d,"
                " \"original_height\": %d, \"width\": %d, \"height\": %d, \"captions\": ",
                hex, t->mime, job->n, t->original_width, t->original_height, t->width, t->height);
    vc_str_putn(&c->json, c->list.data, c->list.len);
    bool row;
    vc_bind_int(c->columns, 1, job->image_id);
    if (!vc_stmt_step(c->columns, &row, err))
        return false;
    if (row)
        vc_str_putf(&c->json, ", \"columns\": %s", vc_column_text(c->columns, 0));
    vc_stmt_reset(c->columns);
    vc_str_put(&c->json, "}\n");
    return true;
}

static bool write_stored(ExtractCommitter *c, const ExtractJob *job, VcErr *err)
{
    if (!collect_captions(c, job->image_id, err) || !describe(c, job, err))
        return false;
    const ExtractThumbnail *t = &job->thumbnail;
    const ExtractRecord record = {.image_id = job->image_id,
                                  .jpeg = t->jpeg,
                                  .jpeg_bytes = t->bytes,
                                  .text = vc_str_get(&c->text),
                                  .text_bytes = c->text.len,
                                  .json = c->json.data,
                                  .json_bytes = c->json.len};
    vc_bind_int(c->stored, 1, job->image_id);
    vc_bind_blob(c->stored, 2, job->sha256, 32);
    vc_bind_int(c->stored, 3, t->original_width);
    vc_bind_int(c->stored, 4, t->original_height);
    vc_bind_int(c->stored, 5, (int64_t)job->n);
    vc_bind_text(c->stored, 6, t->mime);
    return extract_store_add(c->store, &record, err) && vc_stmt_run(c->stored, err) &&
           extract_twins_add(c->twins, job, err);
}

static bool write_rejected(ExtractCommitter *c, const ExtractJob *job, VcErr *err)
{
    static const uint8_t none[32];
    vc_bind_int(c->rejected, 1, job->image_id);
    vc_bind_int(c->rejected, 2, job->cause);
    vc_bind_text(c->rejected, 3, job->err.text);
    const bool hashed = memcmp(job->sha256, none, 32) != 0;
    vc_bind_blob(c->rejected, 4, hashed ? job->sha256 : NULL, 32);
    vc_bind_text(c->rejected, 5, job->thumbnail.mime);
    if (hashed) {
        vc_bind_int(c->rejected, 6, (int64_t)job->n);
    } else {
        vc_bind_null(c->rejected, 6);
    }
    return vc_stmt_run(c->rejected, err);
}

// One transaction: jobs from *at on, until the shard is full.
static bool commit_some(ExtractCommitter *c, ExtractJob *const *jobs, size_t count, size_t *at, VcErr *err)
{
    if (!vc_db_begin(c->ws->db, err))
        return false;
    bool ok = true;
    for (; ok && *at < count && !extract_store_full(c->store); ++*at) {
        ExtractJob *job = jobs[*at];
        int64_t twin;
        if (job->cause == EXTRACT_OK)
            ok = extract_twins_find(c->twins, job, &twin, err);
        ok = ok && (job->cause == EXTRACT_OK ? write_stored(c, job, err) : write_rejected(c, job, err));
    }
    if (ok && extract_store_sync(c->store, err) && vc_db_commit(c->ws->db, err))
        return extract_store_committed(c->store, err);
    vc_db_rollback(c->ws->db);
    extract_store_rolled_back(c->store);
    return false;
}

bool extract_commit(ExtractCommitter *c, ExtractJob *const *jobs, size_t count, VcErr *err)
{
    bool ok = true;
    for (size_t at = 0; ok && at < count;)
        ok = commit_some(c, jobs, count, &at, err);
    return ok;
}
