// SPDX-License-Identifier: MIT
#include "base/workspace.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

// Schema version 1: docs/FORMATS.md explains every table. image_file, shard, image_origin and extract_progress are
// additions of ours to the published layout: where an image lies in the tar shards, how far a shard has been written,
// where in a source's tar an image begins, and how far a source has been listed.
static const char schema_1[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;"
    "CREATE TABLE model(model_id INTEGER PRIMARY KEY, name TEXT, dim INTEGER, weights_sha256 BLOB, preprocess TEXT,"
    "  UNIQUE(name, weights_sha256)) STRICT;"
    "CREATE TABLE source(source_id INTEGER PRIMARY KEY, name TEXT UNIQUE, uri TEXT, licence TEXT, added_at INTEGER)"
    "  STRICT;"
    "CREATE TABLE image(image_id INTEGER PRIMARY KEY, row INTEGER UNIQUE,"
    "  source_id INTEGER NOT NULL REFERENCES source, key TEXT NOT NULL, sha256 BLOB, phash INTEGER, width INTEGER,"
    "  height INTEGER, bytes INTEGER, mime TEXT, status INTEGER NOT NULL DEFAULT 0, error TEXT,"
    "  UNIQUE(source_id, key)) STRICT;"
    "CREATE TABLE image_file(image_id INTEGER PRIMARY KEY REFERENCES image ON DELETE CASCADE, shard INTEGER NOT NULL,"
    "  offset INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;"
    "CREATE TABLE shard(shard INTEGER PRIMARY KEY, images INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    "  finished INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE image_origin(image_id INTEGER PRIMARY KEY REFERENCES image ON DELETE CASCADE,"
    "  offset INTEGER NOT NULL) STRICT;"
    "CREATE TABLE extract_progress(source_id INTEGER PRIMARY KEY REFERENCES source, path TEXT NOT NULL UNIQUE,"
    "  settings TEXT NOT NULL, fingerprint TEXT NOT NULL, entries INTEGER NOT NULL, chain INTEGER NOT NULL,"
    "  merging INTEGER NOT NULL, complete INTEGER NOT NULL) STRICT;"
    "CREATE TABLE caption(caption_id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL REFERENCES image ON DELETE CASCADE,"
    "  kind TEXT, lang TEXT, text TEXT NOT NULL) STRICT;"
    "CREATE TABLE concept(concept_id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, freq INTEGER, pos TEXT,"
    "  removed INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE run(run_id INTEGER PRIMARY KEY, model_id INTEGER REFERENCES model, k INTEGER, template TEXT,"
    "  vocab_sha256 BLOB, started INTEGER, finished INTEGER, settings TEXT CHECK(json_valid(settings))) STRICT;"
    "CREATE TABLE image_concept(image_id INTEGER NOT NULL, rank INTEGER NOT NULL, concept_id INTEGER NOT NULL,"
    "  score INTEGER NOT NULL, PRIMARY KEY(image_id, rank)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE concept_stat(concept_id INTEGER PRIMARY KEY, images INTEGER, score_sum INTEGER, score_max INTEGER,"
    "  as_rank0 INTEGER) STRICT;"
    "CREATE TABLE concept_pair(a INTEGER, b INTEGER, images INTEGER, PRIMARY KEY(a, b)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE split(image_id INTEGER PRIMARY KEY REFERENCES image, name TEXT NOT NULL) STRICT;"
    "CREATE TABLE tag(image_id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY(name, image_id)) STRICT, WITHOUT "
    "ROWID;"
    "CREATE TABLE vector_file(model_id INTEGER, kind TEXT, file TEXT, rows INTEGER, sha256 BLOB,"
    "  PRIMARY KEY(model_id, kind)) STRICT, WITHOUT ROWID;"
    "CREATE VIEW v_image AS SELECT i.image_id, s.name AS source, i.key, i.width, i.height, i.status, i.error,"
    "  (SELECT text FROM caption c WHERE c.image_id = i.image_id ORDER BY caption_id LIMIT 1) AS caption,"
    "  (SELECT group_concat(text, ', ') FROM (SELECT c.text FROM image_concept ic JOIN concept c USING(concept_id)"
    "    WHERE ic.image_id = i.image_id ORDER BY ic.rank)) AS concepts,"
    "  CASE WHEN i.key LIKE 'http%' THEN i.key ELSE s.uri || '/' || i.key END AS link"
    "  FROM image i JOIN source s USING(source_id);"
    "CREATE VIEW v_concept AS SELECT c.concept_id, c.text, c.freq, c.pos, c.removed, t.images,"
    "  t.score_sum / 32767.0 / t.images AS score_mean, t.score_max / 32767.0 AS score_max, t.as_rank0"
    "  FROM concept c LEFT JOIN concept_stat t USING(concept_id);"
    "CREATE VIEW v_image_concept AS SELECT ic.image_id, ic.rank, c.text AS concept, ic.score / 32767.0 AS cosine"
    "  FROM image_concept ic JOIN concept c USING(concept_id);"
    "CREATE VIEW v_run AS SELECT r.run_id, m.name AS model, r.k, r.template, lower(hex(r.vocab_sha256)) AS vocabulary,"
    "  datetime(r.started, 'unixepoch') AS started, datetime(r.finished, 'unixepoch') AS finished, r.settings"
    "  FROM run r LEFT JOIN model m USING(model_id);"
    "CREATE INDEX caption_image ON caption(image_id);";

// Scripts from one schema to the next, each run in one transaction with its number. The first is schema_1 itself.
static const char *const migrations[VC_SCHEMA_VERSION + 1] = {
    // Rejected images that have a vector: every search leaves them out, and must not read all images to find them.
    [2] = "CREATE INDEX image_rejected ON image(row) WHERE status < 0 AND row IS NOT NULL;",
};

static const char mining_indexes[] =
    "CREATE UNIQUE INDEX IF NOT EXISTS ic_concept ON image_concept(concept_id, image_id, score);"
    "CREATE INDEX IF NOT EXISTS ic_top ON image_concept(concept_id, score DESC, image_id);";

static const char other_indexes[] = "CREATE INDEX IF NOT EXISTS image_sha ON image(sha256);"
                                    "CREATE INDEX IF NOT EXISTS image_phash ON image(phash);";

#define FTS_TRIGGERS(table, key)                                                                            \
    "CREATE TRIGGER IF NOT EXISTS " table "_ai AFTER INSERT ON " table " BEGIN"                             \
    "  INSERT INTO " table "_fts(rowid, text) VALUES(new." key ", new.text); END;"                          \
    "CREATE TRIGGER IF NOT EXISTS " table "_ad AFTER DELETE ON " table " BEGIN"                             \
    "  INSERT INTO " table "_fts(" table "_fts, rowid, text) VALUES('delete', old." key ", old.text); END;" \
    "CREATE TRIGGER IF NOT EXISTS " table "_au AFTER UPDATE OF text ON " table " BEGIN"                     \
    "  INSERT INTO " table "_fts(" table "_fts, rowid, text) VALUES('delete', old." key ", old.text);"      \
    "  INSERT INTO " table "_fts(rowid, text) VALUES(new." key ", new.text); END;"

// External content: rebuilt after a bulk load, kept in step by triggers after that.
static const char fts_tables[] =
    "CREATE VIRTUAL TABLE IF NOT EXISTS caption_fts USING fts5(text, content='caption', content_rowid='caption_id',"
    "  tokenize='unicode61 remove_diacritics 2');"
    "CREATE VIRTUAL TABLE IF NOT EXISTS concept_fts USING fts5(text, content='concept', content_rowid='concept_id',"
    "  tokenize='porter unicode61');"
    "INSERT INTO caption_fts(caption_fts) VALUES('rebuild');"
    "INSERT INTO concept_fts(concept_fts) VALUES('rebuild');" FTS_TRIGGERS("caption", "caption_id")
        FTS_TRIGGERS("concept", "concept_id");

char *vc_workspace_path(const VcWorkspace *ws, const char *name)
{
    return vc_path_join(ws->dir, name);
}

static bool create_schema(VcDb *db, VcErr *err)
{
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = 1;", VC_APPLICATION_ID);
    VcStr created = {0};
    vc_str_putf(&created, "INSERT INTO meta VALUES('tool', 'vicha " VICHA_VERSION "'), ('created', '%lld')",
                (long long)vc_unix_time());
    bool ok = vc_db_begin(db, err) && vc_db_exec(db, schema_1, err) && vc_db_exec(db, vc_str_get(&created), err) &&
              vc_db_exec(db, pragmas, err) && vc_db_commit(db, err);
    if (!ok)
        vc_db_rollback(db);
    vc_str_finish(&created);
    return ok;
}

// A whole copy beside the database, under its final name when it is complete.
static bool back_up(VcDb *db, int64_t version, VcErr *err)
{
    const char *off = getenv("VICHA_NO_BACKUP");
    if (off && strcmp(off, "1") == 0)
        return true;
    VcStr path = {0}, tmp = {0};
    VcStmt *stmt = NULL;
    vc_str_putf(&path, "%s.schema-%lld", vc_db_path(db), (long long)version);
    vc_str_putf(&tmp, "%s.tmp", path.data);
    unlink(tmp.data); // of a run that was killed
    bool ok = vc_db_prepare(db, &stmt, "VACUUM INTO ?1", err);
    if (ok) {
        vc_bind_text(stmt, 1, tmp.data);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    int fd = ok ? open(tmp.data, O_RDONLY | O_CLOEXEC) : -1;
    ok = ok && (fd >= 0 || vc_fail_errno(err, "cannot open '%s'", tmp.data)) && vc_sync_file(fd, tmp.data, err);
    if (fd >= 0)
        close(fd);
    if (ok && rename(tmp.data, path.data) != 0)
        ok = vc_fail_errno(err, "cannot put '%s' in place", path.data);
    ok = ok && vc_sync_parent(path.data, err);
    if (ok) {
        vc_info("the database goes from schema %lld to %d; a copy of it as it was is '%s'", (long long)version,
                VC_SCHEMA_VERSION, path.data);
    } else {
        vc_prefix(err, "cannot copy the database before changing its schema (VICHA_NO_BACKUP=1 does without a copy)");
        unlink(tmp.data);
    }
    vc_str_finish(&path);
    vc_str_finish(&tmp);
    return ok;
}

static bool migrate(VcDb *db, int64_t version, bool copy, VcErr *err)
{
    if (version < 1) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' has schema %lld, which no vicha made", vc_db_path(db),
                       (long long)version);
    }
    if (copy && version < VC_SCHEMA_VERSION && !back_up(db, version, err))
        return false;
    for (int64_t to = version + 1; to <= VC_SCHEMA_VERSION; to++) {
        char pragma[64];
        snprintf(pragma, sizeof pragma, "PRAGMA user_version = %lld", (long long)to);
        bool ok = vc_db_begin(db, err) && vc_db_exec(db, migrations[to], err) && vc_db_exec(db, pragma, err) &&
                  vc_db_commit(db, err);
        if (!ok) {
            vc_db_rollback(db);
            return vc_prefix(err, "cannot bring the database from schema %lld to %lld (it is as it was)",
                             (long long)to - 1, (long long)to);
        }
    }
    return true;
}

static bool check_version(VcDb *db, VcDbMode mode, VcErr *err)
{
    int64_t id, version, tables;
    if (!vc_db_int(db, "PRAGMA application_id", 0, &id, err) ||
        !vc_db_int(db, "PRAGMA user_version", 0, &version, err) ||
        !vc_db_int(db, "SELECT count(*) FROM sqlite_schema", 0, &tables, err))
        return false;
    if (id == 0 && version == 0 && tables == 0 && mode == VC_DB_CREATE)
        return create_schema(db, err) && migrate(db, 1, false, err);
    if (id != VC_APPLICATION_ID) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' is not a vicha database (its application id is %lld, expected %d); choose another folder",
                       vc_db_path(db), (long long)id, VC_APPLICATION_ID);
    }
    if (version > VC_SCHEMA_VERSION && mode != VC_DB_READ) {
        return vc_fail(
            err, VC_ERR_FORMAT,
            "'%s' was written by a newer vicha (schema %lld, this program knows %d): update vicha to write to "
            "it; this program only reads it",
            vc_db_path(db), (long long)version, VC_SCHEMA_VERSION);
    }
    if (version > VC_SCHEMA_VERSION) {
        vc_warn("'%s' was written by a newer vicha (schema %lld, this program knows %d); it is only read",
                vc_db_path(db), (long long)version, VC_SCHEMA_VERSION);
    }
    return mode == VC_DB_READ || migrate(db, version, true, err);
}

// One writer at a time. The lock dies with the process, so a killed stage leaves nothing to clean up.
static bool take_lock(VcWorkspace *ws, VcErr *err)
{
    char *path = vc_workspace_path(ws, "vicha.lock");
    ws->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    bool ok = ws->lock >= 0;
    if (!ok) {
        vc_fail_errno(err, "cannot create '%s'", path);
    } else if (flock(ws->lock, LOCK_EX | LOCK_NB) != 0) {
        ok = errno == EWOULDBLOCK
                 ? vc_fail(err, VC_ERR_USAGE, "another vicha command is writing to the workspace '%s'; wait for it",
                           ws->dir)
                 : vc_fail_errno(err, "cannot lock '%s'", path);
    }
    free(path);
    return ok;
}

bool vc_workspace_open(VcWorkspace *ws, const char *dir, VcDbMode mode, VcErr *err)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    *ws = (VcWorkspace){.dir = vc_strndup(dir, n), .lock = -1};
    char *path = vc_workspace_path(ws, "vicha.db");
    bool ok = mode != VC_DB_CREATE || vc_make_dirs(ws->dir, err);
    if (ok && mode != VC_DB_CREATE && !vc_exists(path)) {
        ok = vc_fail(err, VC_ERR_IO, "'%s' is no workspace: it has no vicha.db; 'vicha extract -w %s SOURCE' makes one",
                     ws->dir, ws->dir);
    }
    ok = ok && (mode == VC_DB_READ || take_lock(ws, err)) && vc_db_open(&ws->db, path, mode, err) &&
         check_version(ws->db, mode, err);
    free(path);
    if (!ok)
        vc_workspace_close(ws);
    return ok;
}

void vc_workspace_close(VcWorkspace *ws)
{
    vc_db_close(&ws->db);
    if (ws->dir && ws->lock >= 0)
        close(ws->lock);
    free(ws->dir);
    *ws = (VcWorkspace){.lock = -1};
}

bool vc_meta_get(VcWorkspace *ws, const char *key, char **out, VcErr *err)
{
    *out = NULL;
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, "SELECT value FROM meta WHERE key = ?1", err))
        return false;
    vc_bind_text(stmt, 1, key);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row && !vc_column_is_null(stmt, 0))
        *out = vc_strdup(vc_column_text(stmt, 0));
    vc_stmt_finish(&stmt);
    return ok;
}

bool vc_meta_set(VcWorkspace *ws, const char *key, const char *value, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, "INSERT INTO meta VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2", err))
        return false;
    vc_bind_text(stmt, 1, key);
    vc_bind_text(stmt, 2, value);
    bool ok = vc_stmt_run(stmt, err);
    vc_stmt_finish(&stmt);
    return ok;
}

bool vc_workspace_build_indexes(VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(ws->db, mining_indexes, err) && vc_db_exec(ws->db, other_indexes, err) &&
           vc_db_exec(ws->db, "PRAGMA analysis_limit = 1000; ANALYZE; PRAGMA optimize", err);
}

bool vc_workspace_drop_mining_indexes(VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(ws->db, "DROP INDEX IF EXISTS ic_concept; DROP INDEX IF EXISTS ic_top", err);
}

bool vc_workspace_rebuild_fts(VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(ws->db, fts_tables, err);
}
