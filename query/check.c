// SPDX-License-Identifier: MIT
#include "query/check.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/workspace.h"
#include "concepts/concepts.h"

typedef struct {
    VcWorkspace ws;
    QueryCheckFn say;
    void *ctx;
} Check;

static void report(Check *c, QueryState state, const char *check, const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static void report(Check *c, QueryState state, const char *check, const char *mend, const char *fmt, ...)
{
    VcStr text = {0};
    va_list ap;
    va_start(ap, fmt);
    vc_str_vputf(&text, fmt, ap);
    va_end(ap);
    c->say(c->ctx, state, check, text.data, mend);
    vc_str_finish(&text);
}

static bool number(Check *c, const char *sql, int64_t *out, VcErr *err)
{
    return vc_db_int(c->ws.db, sql, 0, out, err);
}

static bool check_pages(Check *c, VcErr *err)
{
    static const char mend[] = "go back to a copy; without one: sqlite3 vicha.db .recover | sqlite3 new.db";
    VcStmt *stmt = NULL;
    VcStr text = {0};
    bool row = true, ok = vc_db_prepare(c->ws.db, &stmt, "PRAGMA integrity_check(5)", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        vc_str_putf(&text, "%s%s", text.len ? "; " : "", vc_column_text(stmt, 0));
    vc_stmt_finish(&stmt);
    int64_t version = 0, orphans = 0;
    ok = ok && number(c, "PRAGMA user_version", &version, err) &&
         number(c, "SELECT count(*) FROM pragma_foreign_key_check", &orphans, err);
    bool whole = ok && strcmp(vc_str_get(&text), "ok") == 0;
    if (ok && !whole) {
        report(c, QUERY_BROKEN, "database", mend, "%.400s", text.data);
    } else if (ok && orphans > 0) {
        report(c, QUERY_BROKEN, "database", mend, "%lld rows name a row that is not there", (long long)orphans);
    } else if (ok) {
        report(c, QUERY_WHOLE, "database", NULL, "schema %lld, every page and index is whole", (long long)version);
    }
    vc_str_finish(&text);
    return ok;
}

// Bytes of a shard, under its final name or while it is written; 0: none.
static uint64_t shard_bytes(Check *c, int64_t shard)
{
    uint64_t size = 0;
    for (int i = 0; i < 2 && size == 0; i++) {
        char name[64];
        snprintf(name, sizeof name, "images/%05lld.tar%s", (long long)shard, i ? ".part" : "");
        char *path = vc_workspace_path(&c->ws, name);
        if (vc_exists(path) && !vc_file_size(path, &size, NULL))
            size = 0;
        free(path);
    }
    return size;
}

static bool check_pictures(Check *c, VcErr *err)
{
    VcStmt *stmt = NULL;
    int64_t stored = 0, bad = 0, first = -1;
    bool row = true, ok = vc_db_prepare(c->ws.db, &stmt,
                                        "SELECT shard, count(*), max(offset + bytes), min(offset), min(bytes) FROM"
                                        " image_file GROUP BY shard ORDER BY shard",
                                        err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t shard = vc_column_int(stmt, 0), end = vc_column_int(stmt, 2);
        stored += vc_column_int(stmt, 1);
        if (end < 0 || (uint64_t)end > shard_bytes(c, shard) || vc_column_int(stmt, 3) < 512 ||
            vc_column_int(stmt, 4) < 1) {
            first = bad++ == 0 ? shard : first;
        }
    }
    vc_stmt_finish(&stmt);
    if (ok && bad > 0) {
        report(c, QUERY_BROKEN, "pictures", "restore images/ from where it was copied from, or extract again",
               "%lld shards are missing or shorter than their pictures, the first is %05lld", (long long)bad,
               (long long)first);
    } else if (ok) {
        report(c, QUERY_WHOLE, "pictures", NULL, "%lld, all inside their shards", (long long)stored);
    }
    return ok;
}

// The file that leaves rows out of a search: a damaged one leaves out the wrong ones. Derived, and its checksums are
// renamed into place before it, so that a killed stage may leave the new ones beside the old file: nothing is lost.
static void check_bytes(Check *c, const VectorsReader *r, const char *model)
{
    char *path = concepts_vector_path(&c->ws, "image", model), *bytes_path = vectors_bytes_path(path);
    VectorsBytes *bytes = NULL;
    VcErr found = {0};
    if (!vectors_bytes_open(&bytes, bytes_path, r, &found) || (bytes && !vectors_bytes_verify(bytes, &found))) {
        report(c, QUERY_MENDED, "vector search", "'vicha index-vectors --again' makes its file anew", "%s", found.text);
    } else if (bytes) {
        report(c, QUERY_WHOLE, "vector search", NULL, "%llu rows as bytes, all with their checksums",
               (unsigned long long)vectors_bytes_rows(bytes));
    }
    vectors_bytes_close(&bytes);
    free(bytes_path);
    free(path);
}

static bool check_vectors(Check *c, const char *kind, VcErr *err)
{
    VectorsReader *r = NULL;
    ConceptsModel model = {0};
    VcErr found = {0};
    int64_t highest = -1, rows = 0;
    if (!concepts_active_model(&c->ws, &model, err))
        return false;
    bool ok = model.model_id < 0 || concepts_vector_rows(&c->ws, model.model_id, kind, &rows, err);
    concepts_model_finish(&model);
    if (!ok || rows == 0)
        return ok;
    bool image = strcmp(kind, "image") == 0;
    ok = !image || number(c, "SELECT max(row) FROM image", &highest, err);
    bool whole = concepts_open_vectors(&c->ws, kind, &r, &model, &found) && vectors_reader_verify(r, &found);
    char check[32];
    snprintf(check, sizeof check, "%s vectors", kind);
    if (ok && !whole) {
        report(c, QUERY_BROKEN, check, "'vicha concepts embed --replace' makes them anew", "%s", found.text);
    } else if (ok && highest >= rows) {
        report(c, QUERY_BROKEN, check, "'vicha concepts embed --replace' makes them anew",
               "an image points to row %lld of %lld", (long long)highest, (long long)rows);
    } else if (ok) {
        report(c, QUERY_WHOLE, check, NULL, "%lld rows, all with their checksums", (long long)rows);
        if (image)
            check_bytes(c, r, model.name);
    }
    vectors_reader_close(&r);
    concepts_model_finish(&model);
    return ok;
}

static bool check_concepts(Check *c, VcErr *err)
{
    int64_t pairs = 0, counted = 0, mined = 0, without = 0, runs = 0, finished = 0;
    bool ok = number(c, "SELECT count(*) FROM image_concept", &pairs, err) &&
              number(c, "SELECT sum(images) FROM concept_stat", &counted, err) &&
              number(c, "SELECT count(*) FROM image WHERE status = 2", &mined, err) &&
              number(c,
                     "SELECT count(*) FROM image i WHERE status = 2 AND NOT EXISTS(SELECT 1 FROM image_concept ic WHERE"
                     " ic.image_id = i.image_id)",
                     &without, err) &&
              number(c, "SELECT count(*) FROM run", &runs, err) &&
              number(c,
                     "SELECT finished IS NOT NULL FROM run WHERE run_id = (SELECT CAST(value AS INTEGER) FROM meta"
                     " WHERE key = 'active_run')",
                     &finished, err);
    if (!ok || runs == 0)
        return ok;
    if (without > 0) {
        report(c, QUERY_BROKEN, "concepts", "'vicha concepts mine' with another -k, and again with this one",
               "%lld images count as mined and have no concepts", (long long)without);
    } else if (!finished) {
        report(c, QUERY_MENDED, "concepts", "'vicha concepts mine' goes on where it stopped",
               "mining has not ended: %lld images are mined", (long long)mined);
    } else if (pairs != counted) {
        report(c, QUERY_BROKEN, "concepts", "'vicha concepts mine' with another -k, and again with this one",
               "the statistics count %lld concepts of images, the table has %lld", (long long)counted,
               (long long)pairs);
    } else {
        report(c, QUERY_WHOLE, "concepts", NULL, "%lld of %lld images, as the statistics count them", (long long)pairs,
               (long long)mined);
    }
    return true;
}

static bool check_lists(Check *c, VcErr *err)
{
    uint64_t stamp;
    PostingsReader *r = NULL;
    VcErr found = {0};
    if (!postings_stamp(&c->ws, &stamp, err) || stamp == 0)
        return stamp == 0;
    bool whole = postings_open(&r, &c->ws, stamp, &found) && (!r || postings_verify(r, &found));
    static const char mend[] = "remove vectors/postings.bin and run 'vicha concepts mine'; until then tables are asked";
    if (!whole) {
        report(c, QUERY_BROKEN, "lists", mend, "%s", found.text);
    } else if (!r) {
        report(c, QUERY_MENDED, "lists", "'vicha concepts mine' makes it",
               "vectors/postings.bin is not there or of another state: questions are slower");
    } else {
        report(c, QUERY_WHOLE, "lists", NULL, "posting lists of %llu rows are those of the tables",
               (unsigned long long)postings_rows(r));
    }
    postings_close(&r);
    return true;
}

static bool check_texts(Check *c, VcErr *err)
{
    int64_t tables = 0, indexed = 0, captions = 0;
    bool ok = number(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'caption_fts_docsize'", &tables, err) &&
              number(c, "SELECT count(*) FROM caption", &captions, err);
    if (!ok || tables == 0)
        return ok;
    ok = number(c, "SELECT count(*) FROM caption_fts_docsize", &indexed, err);
    if (ok && indexed != captions) {
        report(c, QUERY_MENDED, "full text", "'vicha extract' or 'vicha concepts mine' builds it at its end",
               "%lld of %lld captions are in the index", (long long)indexed, (long long)captions);
    } else if (ok) {
        report(c, QUERY_WHOLE, "full text", NULL, "%lld captions", (long long)indexed);
    }
    return ok;
}

bool query_check(const char *dir, QueryCheckFn say, void *ctx, VcErr *err)
{
    Check c = {.say = say, .ctx = ctx};
    if (!vc_workspace_open(&c.ws, dir, VC_DB_READ, err))
        return false;
    VcErr found = {0};
    // One state of the database for all of it.
    bool ok = vc_db_exec(c.ws.db, "BEGIN", &found) && check_pages(&c, &found) && check_pictures(&c, &found) &&
              check_vectors(&c, "image", &found) && check_vectors(&c, "concept", &found) &&
              check_concepts(&c, &found) && check_lists(&c, &found) && check_texts(&c, &found);
    if (!ok)
        report(&c, QUERY_BROKEN, "database", "go back to a copy", "%s", found.text);
    vc_db_rollback(c.ws.db);
    vc_workspace_close(&c.ws);
    return true;
}
