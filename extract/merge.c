// SPDX-License-Identifier: MIT
#include "extract/merge.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

typedef struct {
    VcWorkspace *ws;
    const char *dir; // of the part
    ExtractLink link;
    ExtractMergeReport *report;
} Merge;

static bool exec(const Merge *m, VcErr *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool exec(const Merge *m, VcErr *err, const char *fmt, ...)
{
    VcStr sql = {0};
    va_list ap;
    va_start(ap, fmt);
    vc_str_vputf(&sql, fmt, ap);
    va_end(ap);
    const bool ok = vc_db_exec(m->ws->db, sql.data, err);
    vc_str_finish(&sql);
    return ok;
}

static bool count_rows(const Merge *m, const char *sql, uint64_t *add, VcErr *err)
{
    int64_t n;
    if (!vc_db_int(m->ws->db, sql, 0, &n, err))
        return false;
    *add += (uint64_t)n;
    return true;
}

// --- the part

static bool attach(const Merge *m, VcErr *err)
{
    char *path = vc_path_join(m->dir, "vicha.db");
    VcStmt *stmt = NULL;
    bool ok = vc_exists(path) || vc_fail(err, VC_ERR_USAGE, "'%s' is no workspace: it has no vicha.db", m->dir);
    ok = ok && vc_db_prepare(m->ws->db, &stmt, "ATTACH ?1 AS part", err);
    if (ok) {
        vc_bind_text(stmt, 1, path);
        ok = vc_stmt_run(stmt, err);
        vc_stmt_finish(&stmt);
    }
    int64_t id = 0, version = 0;
    ok = ok && vc_db_int(m->ws->db, "PRAGMA part.application_id", 0, &id, err) &&
         vc_db_int(m->ws->db, "PRAGMA part.user_version", 0, &version, err);
    if (ok && (id != VC_APPLICATION_ID || version > VC_SCHEMA_VERSION)) {
        ok = vc_fail(err, VC_ERR_FORMAT,
                     "'%s' is no vicha database that this program knows (application id %lld, "
                     "schema %lld)",
                     path, (long long)id, (long long)version);
        vc_db_exec(m->ws->db, "DETACH part", NULL);
    }
    free(path);
    return ok;
}

// The columns that a table has on both sides, without `except` (names in quotes, commas between), each after `prefix`.
static bool common_columns(const Merge *m, const char *table, const char *except, const char *prefix, VcStr *out,
                           VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(&sql,
                "SELECT name FROM pragma_table_info('%s', 'main') WHERE name IN (SELECT name FROM"
                " pragma_table_info('%s', 'part')) AND name NOT IN (%s)",
                table, table, except);
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_prepare(m->ws->db, &stmt, sql.data, err);
    vc_str_clear(out);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        vc_str_putf(out, ", %s\"%s\"", prefix, vc_column_text(stmt, 0));
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

// --- sources

static bool add_source(const Merge *m, int64_t part_id, VcErr *err)
{
    return exec(m, err,
                "INSERT INTO main.source(name, uri, licence, added_at) SELECT name || CASE WHEN EXISTS(SELECT 1 FROM"
                "  main.source WHERE name = p.name) THEN ' (' || (SELECT max(source_id) + 1 FROM main.source) || ')'"
                "  ELSE '' END, uri, licence, added_at FROM part.source p WHERE source_id = %" PRId64 ";"
                "INSERT INTO temp.source_map VALUES(%" PRId64 ", last_insert_rowid());"
                "INSERT OR IGNORE INTO main.extract_progress(source_id, path, settings, fingerprint, entries, chain,"
                "  merging, complete) SELECT (SELECT main_id FROM temp.source_map WHERE part_id = %" PRId64 "), path,"
                "  settings, fingerprint, entries, chain, merging, complete FROM part.extract_progress"
                "  WHERE source_id = %" PRId64,
                part_id, part_id, part_id, part_id);
}

static bool map_sources(const Merge *m, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool ok = exec(m, err,
                   "DROP TABLE IF EXISTS temp.source_map;"
                   "CREATE TEMP TABLE source_map(part_id INTEGER PRIMARY KEY, main_id INTEGER NOT NULL)") &&
              vc_db_prepare(m->ws->db, &stmt,
                            "SELECT s.source_id, (SELECT q.source_id FROM part.extract_progress p JOIN"
                            " main.extract_progress q ON q.path = p.path OR (q.entries = p.entries AND"
                            " q.chain = p.chain AND p.entries > 0) WHERE p.source_id = s.source_id"
                            " ORDER BY q.path = p.path DESC LIMIT 1) FROM part.source s ORDER BY s.source_id",
                            err);
    bool row;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t id = vc_column_int(stmt, 0);
        ok = vc_column_is_null(stmt, 1) ? add_source(m, id, err)
                                        : exec(m, err, "INSERT INTO temp.source_map VALUES(%" PRId64 ", %" PRId64 ")",
                                               id, vc_column_int(stmt, 1));
    }
    vc_stmt_finish(&stmt);
    // A list of which the part knows more entries has been read that far here too.
    return ok && exec(m, err,
                      "UPDATE main.extract_progress AS q SET (settings, fingerprint, entries, chain, merging, complete)"
                      " = (SELECT settings, fingerprint, entries, chain, merging, complete FROM part.extract_progress p"
                      "    WHERE p.path = q.path) WHERE EXISTS(SELECT 1 FROM part.extract_progress p WHERE"
                      " p.path = q.path AND p.entries > q.entries)");
}

// --- images

// temp.image_map: every image of the part and its number here; `fresh`: there was no such image.
static bool map_images(const Merge *m, VcErr *err)
{
    if (!exec(m, err,
              "DROP TABLE IF EXISTS temp.image_map;"
              "CREATE TEMP TABLE image_map(part_id INTEGER PRIMARY KEY, main_id INTEGER, fresh INTEGER NOT NULL);"
              "INSERT INTO temp.image_map SELECT p.image_id, i.image_id, i.image_id IS NULL FROM part.image p"
              "  JOIN temp.source_map s ON s.part_id = p.source_id"
              "  LEFT JOIN main.image i ON i.source_id = s.main_id AND i.key = p.key ORDER BY p.image_id"))
        return false;
    // Numbers stay when none of them is taken, so that KEY in a shard is the number in the database.
    int64_t taken, shift = 0;
    if (!vc_db_int(m->ws->db,
                   "SELECT EXISTS(SELECT 1 FROM temp.image_map x JOIN main.image i ON i.image_id = x.part_id WHERE"
                   " x.fresh)",
                   0, &taken, err))
        return false;
    if (taken &&
        !vc_db_int(m->ws->db,
                   "SELECT (SELECT max(image_id) FROM main.image) + 1 - (SELECT min(part_id) FROM temp.image_map"
                   " WHERE fresh)",
                   0, &shift, err))
        return false;
    return exec(m, err, "UPDATE temp.image_map SET main_id = part_id + %" PRId64 " WHERE fresh", shift) &&
           count_rows(m, "SELECT count(*) FROM temp.image_map WHERE fresh", &m->report->images, err);
}

// New rows, and results for images that had none. An image that was embedded there is new here.
static bool copy_images(const Merge *m, VcErr *err)
{
    static const char own[] = "'image_id', 'row', 'source_id', 'key', 'status'";
    VcStr names = {0}, values = {0};
    bool ok = common_columns(m, "image", own, "", &names, err) && common_columns(m, "image", own, "p.", &values, err);
    ok = ok && exec(m, err,
                    "INSERT INTO main.image(image_id, source_id, key, status%s) SELECT x.main_id, s.main_id, p.key,"
                    " min(p.status, 0)%s FROM temp.image_map x JOIN part.image p ON p.image_id = x.part_id"
                    " JOIN temp.source_map s ON s.part_id = p.source_id WHERE x.fresh ORDER BY x.main_id",
                    names.data, values.data);
    // `unset`: nothing is known here of what became of it.
    ok = ok && exec(m, err,
                    "DROP TABLE IF EXISTS temp.unset;"
                    "CREATE TEMP TABLE unset AS SELECT x.part_id, x.main_id FROM temp.image_map x JOIN main.image i ON"
                    "  i.image_id = x.main_id LEFT JOIN main.image_file f ON f.image_id = x.main_id"
                    "  WHERE NOT x.fresh AND i.status = 0 AND f.image_id IS NULL;"
                    "CREATE UNIQUE INDEX temp.unset_part ON unset(part_id)");
    ok = ok && count_rows(m,
                          "SELECT count(*) FROM temp.image_map x JOIN part.image p ON p.image_id = x.part_id"
                          " WHERE p.status < 0 AND (x.fresh OR x.part_id IN (SELECT part_id FROM temp.unset))",
                          &m->report->rejected, err);
    ok = ok && exec(m, err,
                    "UPDATE main.image AS i SET (status%s) = (SELECT min(p.status, 0)%s FROM part.image p JOIN"
                    " temp.unset u ON u.part_id = p.image_id WHERE u.main_id = i.image_id) WHERE i.image_id IN (SELECT"
                    " u.main_id FROM temp.unset u JOIN part.image p ON p.image_id = u.part_id LEFT JOIN part.image_file"
                    " f ON f.image_id = u.part_id WHERE p.status < 0 OR f.image_id IS NOT NULL)",
                    names.data, values.data);
    vc_str_finish(&names);
    vc_str_finish(&values);
    return ok;
}

// Captions of new images as they are; of known ones those that are not there yet. Numbers are shifted, so the order and
// what points to them stay.
static bool copy_captions(const Merge *m, VcErr *err)
{
    int64_t shift, annotated, there;
    if (!vc_db_int(m->ws->db,
                   "SELECT coalesce((SELECT max(caption_id) FROM main.caption), 0) + 1 -"
                   " coalesce((SELECT min(caption_id) FROM part.caption), 1)",
                   0, &shift, err) ||
        !vc_db_int(m->ws->db, "SELECT count(*) FROM part.sqlite_schema WHERE name = 'annotation'", 0, &annotated,
                   err) ||
        !vc_db_int(m->ws->db, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'annotation'", 0, &there, err))
        return false;
    if (!exec(m, err,
              "DROP TABLE IF EXISTS temp.caption_map;"
              "CREATE TEMP TABLE caption_map(part_id INTEGER PRIMARY KEY);"
              "INSERT INTO temp.caption_map SELECT c.caption_id FROM part.caption c JOIN temp.image_map x ON"
              "  x.part_id = c.image_id WHERE x.fresh OR NOT EXISTS(SELECT 1 FROM main.caption d WHERE"
              "  d.image_id = x.main_id AND d.text = c.text AND d.kind IS c.kind);"
              "INSERT INTO main.caption(caption_id, image_id, kind, lang, text) SELECT c.caption_id + %" PRId64
              ", x.main_id, c.kind, c.lang, c.text FROM temp.caption_map k JOIN part.caption c ON"
              "  c.caption_id = k.part_id JOIN temp.image_map x ON x.part_id = c.image_id ORDER BY c.caption_id",
              shift) ||
        !count_rows(m, "SELECT count(*) FROM temp.caption_map", &m->report->captions, err))
        return false;
    if (!annotated)
        return true;
    return (there || exec(m, err,
                          "CREATE TABLE main.annotation(caption_id INTEGER PRIMARY KEY REFERENCES caption"
                          "  ON DELETE CASCADE, captions INTEGER NOT NULL, second_image INTEGER REFERENCES image,"
                          "  shape TEXT NOT NULL, fields TEXT CHECK(json_valid(fields))) STRICT")) &&
           exec(m, err,
                "INSERT INTO main.annotation(caption_id, captions, second_image, shape, fields) SELECT a.caption_id +"
                " %" PRId64 ", a.captions, x.main_id, a.shape, a.fields FROM part.annotation a JOIN temp.caption_map k"
                " ON k.part_id = a.caption_id LEFT JOIN temp.image_map x ON x.part_id = a.second_image",
                shift);
}

static bool copy_side_table(const Merge *m, const char *table, const char *sql, VcErr *err)
{
    VcStr names = {0}, values = {0};
    int64_t there = 0;
    VcStmt *stmt = NULL;
    bool row = false, ok = vc_db_prepare(m->ws->db, &stmt, "SELECT 1 FROM main.sqlite_schema WHERE name = ?", err);
    if (ok) {
        vc_bind_text(stmt, 1, table);
        ok = vc_stmt_step(stmt, &row, err);
        there = row;
        vc_stmt_finish(&stmt);
    }
    ok = ok && (there || vc_db_exec(m->ws->db, sql, err)) && common_columns(m, table, "'image_id'", "", &names, err) &&
         common_columns(m, table, "'image_id'", "t.", &values, err) &&
         exec(m, err,
              "INSERT OR IGNORE INTO main.\"%s\"(image_id%s) SELECT x.main_id%s FROM part.\"%s\" t JOIN temp.image_map"
              " x ON x.part_id = t.image_id",
              table, vc_str_get(&names), vc_str_get(&values), table);
    vc_str_finish(&names);
    vc_str_finish(&values);
    return ok;
}

// Every table of which a row belongs to an image by `image_id`, but what later stages computed: those are done again.
static bool copy_side_tables(const Merge *m, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_prepare(m->ws->db, &stmt,
                                 "SELECT s.name, s.sql FROM part.sqlite_schema s WHERE s.type = 'table' AND s.name NOT"
                                 " IN ('image', 'image_file', 'caption', 'image_concept') AND EXISTS(SELECT 1 FROM"
                                 " pragma_table_info(s.name, 'part') WHERE name = 'image_id') AND s.sql LIKE"
                                 " 'CREATE TABLE %' ORDER BY s.name",
                                 err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        char *table = vc_strdup(vc_column_text(stmt, 0)), *sql = vc_strdup(vc_column_text(stmt, 1));
        ok = copy_side_table(m, table, sql, err);
        free(table);
        free(sql);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// --- shards

static bool link_shard(const Merge *m, const char *from, const char *to, VcErr *err)
{
    if (unlink(to) != 0 && errno != ENOENT) // left by a merge that was killed: no row knows it
        return vc_fail_errno(err, "cannot remove '%s'", to);
    if (m->link == EXTRACT_LINK_COPY)
        return vc_copy_file(from, to, err);
    char *target = realpath(from, NULL);
    bool ok = target || vc_fail_errno(err, "cannot find the shard '%s'", from);
    if (target && (m->link == EXTRACT_LINK_HARD ? link(target, to) : symlink(target, to)) != 0) {
        vc_fail_errno(err, "cannot link '%s' to '%s'", from, to);
        ok = vc_prefix(err, errno == EXDEV ? "another file system (use --link soft or --link copy)" : "merging");
    }
    free(target);
    return ok;
}

static bool add_shard(const Merge *m, int64_t number, VcErr *err)
{
    int64_t next;
    if (!vc_db_int(m->ws->db, "SELECT max(shard) + 1 FROM main.shard", 0, &next, err))
        return false;
    char from_name[64], to_name[64];
    snprintf(from_name, sizeof from_name, "images/%05" PRId64 ".tar", number);
    snprintf(to_name, sizeof to_name, "images/%05" PRId64 ".tar", next);
    char *from = vc_path_join(m->dir, from_name), *to = vc_workspace_path(m->ws, to_name);
    const bool ok = link_shard(m, from, to, err) &&
                    exec(m, err,
                         "INSERT INTO main.image_file(image_id, shard, offset, bytes) SELECT x.main_id, %" PRId64
                         ", f.offset, f.bytes FROM part.image_file f JOIN temp.image_map x ON x.part_id = f.image_id"
                         " LEFT JOIN main.image_file k ON k.image_id = x.main_id WHERE f.shard = %" PRId64
                         " AND k.image_id IS NULL AND (SELECT status FROM main.image i WHERE i.image_id = x.main_id)"
                         " >= 0",
                         next, number) &&
                    exec(m, err,
                         "INSERT INTO main.shard(shard, images, bytes, finished) SELECT %" PRId64 ", (SELECT count(*)"
                         " FROM main.image_file WHERE shard = %" PRId64 "), bytes, 1 FROM part.shard WHERE shard = "
                         "%" PRId64,
                         next, next, number);
    free(from);
    free(to);
    m->report->shards += ok;
    return ok;
}

// Shards that hold at least one image which has no file here.
static bool add_shards(const Merge *m, VcErr *err)
{
    VcStmt *stmt = NULL;
    char *folder = vc_workspace_path(m->ws, "images");
    static const char missing[] = " FROM part.image_file f JOIN part.shard s USING(shard) JOIN temp.image_map x ON"
                                  " x.part_id = f.image_id LEFT JOIN main.image_file k ON k.image_id = x.main_id"
                                  " JOIN main.image i ON i.image_id = x.main_id WHERE k.image_id IS NULL"
                                  " AND i.status >= 0 AND s.finished = ";
    VcStr sql = {0};
    vc_str_putf(&sql, "SELECT count(*)%s0", missing);
    bool ok = vc_make_dirs(folder, err) && count_rows(m, sql.data, &m->report->unfinished, err);
    vc_str_clear(&sql);
    vc_str_putf(&sql, "SELECT count(*)%s1", missing);
    ok = ok && count_rows(m, sql.data, &m->report->stored, err);
    vc_str_clear(&sql);
    vc_str_putf(&sql, "SELECT DISTINCT f.shard%s1 ORDER BY f.shard", missing);
    // The list first: what is missing changes with every shard that is added.
    ok = ok && exec(m, err, "DROP TABLE IF EXISTS temp.shards; CREATE TEMP TABLE shards AS %s", sql.data) &&
         vc_db_prepare(m->ws->db, &stmt, "SELECT shard FROM temp.shards ORDER BY shard", err);
    bool row;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        ok = add_shard(m, vc_column_int(stmt, 0), err);
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    char *inside = vc_path_join(folder, "x");
    ok = ok && vc_sync_parent(inside, err);
    free(inside);
    free(folder);
    return ok;
}

// --- all of it

static bool merge_part(const Merge *m, VcErr *err)
{
    VcDb *db = m->ws->db;
    if (!attach(m, err))
        return false;
    int64_t later = 0;
    bool ok = vc_db_begin(db, err);
    ok = ok && map_sources(m, err) && map_images(m, err) && copy_images(m, err) && copy_captions(m, err) &&
         copy_side_tables(m, err) && add_shards(m, err) &&
         vc_db_int(db, "SELECT EXISTS(SELECT 1 FROM part.vector_file) OR EXISTS(SELECT 1 FROM part.image_concept)", 0,
                   &later, err);
    if (!(ok && vc_db_commit(db, err))) {
        vc_db_rollback(db);
        ok = vc_prefix(err, "cannot join '%s'", m->dir);
    }
    m->report->parts += ok;
    m->report->without_vectors += ok && later;
    return vc_db_exec(db, "DETACH part", ok ? err : NULL) && ok;
}

static bool is_same(const VcWorkspace *ws, const char *part)
{
    char *a = realpath(ws->dir, NULL), *b = realpath(part, NULL);
    const bool same = a && b && strcmp(a, b) == 0;
    free(a);
    free(b);
    return same;
}

bool extract_merge(VcWorkspace *ws, const char *const *parts, size_t count, ExtractLink link,
                   ExtractMergeReport *report, VcErr *err)
{
    *report = (ExtractMergeReport){0};
    bool ok = vc_db_exec(ws->db, "PRAGMA synchronous = FULL", err) && extract_list_prepare(ws, err);
    for (size_t i = 0; ok && i < count; i++) {
        const Merge m = {.ws = ws, .dir = parts[i], .link = link, .report = report};
        if (vc_interrupted()) {
            ok = vc_fail(err, VC_ERR_CANCELLED,
                         "interrupted; %" PRIu64 " parts are joined, run the same command to go "
                         "on",
                         report->parts);
        } else if (is_same(ws, parts[i])) {
            ok = vc_fail(err, VC_ERR_USAGE, "'%s' is the workspace that the others are joined into", parts[i]);
        } else {
            ok = merge_part(&m, err);
        }
    }
    const Merge m = {.ws = ws, .report = report};
    return ok && extract_index_captions(ws, err) &&
           count_rows(&m, "SELECT count(*) FROM image_file", &report->total_stored, err) &&
           count_rows(&m, "SELECT count(*) FROM image WHERE status < 0", &report->total_rejected, err) &&
           count_rows(&m,
                      "SELECT count(*) FROM image LEFT JOIN image_file f USING(image_id) WHERE status >= 0 AND"
                      " f.image_id IS NULL",
                      &report->total_waiting, err);
}
