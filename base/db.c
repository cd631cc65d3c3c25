// SPDX-License-Identifier: MIT
#include "base/db.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <sqlite3.h>
#include <sys/stat.h>

struct VcDb {
    sqlite3 *handle;
    char *path;
    double deadline; // of guarded statements
    bool timed_out;
};

struct VcStmt {
    sqlite3_stmt *handle;
    VcDb *db;
};

static bool db_fail(VcDb *db, const char *doing, VcErr *err)
{
    int code = sqlite3_errcode(db->handle);
    const char *mend = code == SQLITE_BUSY   ? "; another process is writing to it: wait for it or stop it"
                       : code == SQLITE_FULL ? "; free some space and run the command again"
                                             : "";
    return vc_fail(err, VC_ERR_DB, "database '%s': %s: %s%s", db->path, doing, sqlite3_errmsg(db->handle), mend);
}

bool vc_db_exec(VcDb *db, const char *sql, VcErr *err)
{
    if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    char doing[160];
    snprintf(doing, sizeof doing, "%.150s", sql);
    return db_fail(db, doing, err);
}

static bool set_pragmas(VcDb *db, VcDbMode mode, bool fresh, VcErr *err)
{
    if (fresh && !vc_db_exec(db, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = NONE; PRAGMA encoding = 'UTF-8'", err))
        return false;
    struct stat st;
    long long map = stat(db->path, &st) == 0 ? (long long)st.st_size : 0;
    if (map > 8LL << 30)
        map = 8LL << 30;
    char sql[256];
    snprintf(sql, sizeof sql,
             "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; "
             "PRAGMA cache_size = %d; PRAGMA mmap_size = %lld;",
             mode == VC_DB_READ ? -65536 : -262144, map);
    if (!vc_db_exec(db, sql, err))
        return false;
    return !fresh || vc_db_exec(db, "PRAGMA journal_mode = WAL", err);
}

bool vc_db_open(VcDb **out, const char *path, VcDbMode mode, VcErr *err)
{
    *out = NULL;
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (!exists && mode != VC_DB_CREATE)
        return vc_fail(err, VC_ERR_IO, "there is no database '%s'; a stage such as 'vicha extract' makes it", path);
    int flags = mode == VC_DB_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (mode == VC_DB_CREATE)
        flags |= SQLITE_OPEN_CREATE;
    VcDb *db = vc_calloc(1, sizeof *db);
    db->path = vc_strdup(path);
    bool ok = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
    if (!ok) {
        // A NULL handle means no memory even for the message.
        vc_fail(err, VC_ERR_DB, "cannot open the database '%s': %s", path,
                db->handle ? sqlite3_errmsg(db->handle) : "out of memory");
    } else {
        sqlite3_extended_result_codes(db->handle, 0);
        ok = set_pragmas(db, mode, !exists || st.st_size == 0, err);
    }
    if (!ok) {
        vc_db_close(&db);
        return false;
    }
    *out = db;
    return true;
}

void vc_db_close(VcDb **db)
{
    if (!db || !*db)
        return;
    sqlite3_close_v2((*db)->handle);
    free((*db)->path);
    free(*db);
    *db = NULL;
}

const char *vc_db_path(const VcDb *db)
{
    return db->path;
}

bool vc_db_int(VcDb *db, const char *sql, int64_t otherwise, int64_t *out, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, sql, err))
        return false;
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok)
        *out = row && !vc_column_is_null(stmt, 0) ? vc_column_int(stmt, 0) : otherwise;
    vc_stmt_finish(&stmt);
    return ok;
}

bool vc_db_begin(VcDb *db, VcErr *err)
{
    return vc_db_exec(db, "BEGIN IMMEDIATE", err);
}

bool vc_db_commit(VcDb *db, VcErr *err)
{
    return vc_db_exec(db, "COMMIT", err);
}

void vc_db_rollback(VcDb *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

bool vc_db_prepare(VcDb *db, VcStmt **out, const char *sql, VcErr *err)
{
    *out = NULL;
    sqlite3_stmt *handle;
    if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL) != SQLITE_OK) {
        char doing[160];
        snprintf(doing, sizeof doing, "%.150s", sql);
        return db_fail(db, doing, err);
    }
    VcStmt *stmt = vc_alloc(1, sizeof *stmt);
    *stmt = (VcStmt){handle, db};
    *out = stmt;
    return true;
}

void vc_stmt_finish(VcStmt **stmt)
{
    if (!stmt || !*stmt)
        return;
    sqlite3_finalize((*stmt)->handle);
    free(*stmt);
    *stmt = NULL;
}

void vc_bind_int(VcStmt *stmt, int index, int64_t value)
{
    VC_ASSERT(sqlite3_bind_int64(stmt->handle, index, value) == SQLITE_OK);
}

void vc_bind_double(VcStmt *stmt, int index, double value)
{
    VC_ASSERT(sqlite3_bind_double(stmt->handle, index, value) == SQLITE_OK);
}

void vc_bind_text(VcStmt *stmt, int index, const char *text)
{
    vc_bind_textn(stmt, index, text, text ? strlen(text) : 0);
}

void vc_bind_textn(VcStmt *stmt, int index, const char *text, size_t n)
{
    int rc = text ? sqlite3_bind_text64(stmt->handle, index, text, n, SQLITE_TRANSIENT, SQLITE_UTF8)
                  : sqlite3_bind_null(stmt->handle, index);
    VC_ASSERT(rc == SQLITE_OK);
}

void vc_bind_blob(VcStmt *stmt, int index, const void *data, size_t n)
{
    int rc = data ? sqlite3_bind_blob64(stmt->handle, index, data, n, SQLITE_TRANSIENT)
                  : sqlite3_bind_null(stmt->handle, index);
    VC_ASSERT(rc == SQLITE_OK);
}

void vc_bind_null(VcStmt *stmt, int index)
{
    VC_ASSERT(sqlite3_bind_null(stmt->handle, index) == SQLITE_OK);
}

bool vc_stmt_step(VcStmt *stmt, bool *row, VcErr *err)
{
    VC_ASSERT(stmt);
    int rc = sqlite3_step(stmt->handle);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW)
        return true;
    bool ok = rc == SQLITE_DONE;
    if (!ok) {
        char doing[160];
        snprintf(doing, sizeof doing, "%.150s", sqlite3_sql(stmt->handle));
        db_fail(stmt->db, doing, err);
    }
    sqlite3_reset(stmt->handle);
    return ok;
}

void vc_stmt_reset(VcStmt *stmt)
{
    sqlite3_reset(stmt->handle);
    sqlite3_clear_bindings(stmt->handle);
}

bool vc_stmt_run(VcStmt *stmt, VcErr *err)
{
    bool row, ok;
    do {
        ok = vc_stmt_step(stmt, &row, err);
    } while (ok && row);
    sqlite3_clear_bindings(stmt->handle);
    return ok;
}

int vc_column_count(const VcStmt *stmt)
{
    return sqlite3_column_count(stmt->handle);
}

const char *vc_column_name(const VcStmt *stmt, int index)
{
    return sqlite3_column_name(stmt->handle, index);
}

int64_t vc_column_int(const VcStmt *stmt, int index)
{
    return sqlite3_column_int64(stmt->handle, index);
}

double vc_column_double(const VcStmt *stmt, int index)
{
    return sqlite3_column_double(stmt->handle, index);
}

const char *vc_column_text(const VcStmt *stmt, int index)
{
    return (const char *)sqlite3_column_text(stmt->handle, index);
}

const void *vc_column_blob(const VcStmt *stmt, int index, size_t *n)
{
    const void *data = sqlite3_column_blob(stmt->handle, index);
    *n = (size_t)sqlite3_column_bytes(stmt->handle, index);
    return data;
}

bool vc_column_is_null(const VcStmt *stmt, int index)
{
    return sqlite3_column_type(stmt->handle, index) == SQLITE_NULL;
}

VcColumnType vc_column_type(const VcStmt *stmt, int index)
{
    switch (sqlite3_column_type(stmt->handle, index)) {
    case SQLITE_INTEGER:
        return VC_COLUMN_INT;
    case SQLITE_FLOAT:
        return VC_COLUMN_REAL;
    case SQLITE_TEXT:
        return VC_COLUMN_TEXT;
    case SQLITE_BLOB:
        return VC_COLUMN_BLOB;
    default:
        return VC_COLUMN_NULL;
    }
}

// --- SQL of strangers ------------------------------------------------------------------------------------------------

static bool one_of(const char *word, const char *const *list)
{
    for (; word && *list; list++) {
        if (sqlite3_stricmp(word, *list) == 0)
            return true;
    }
    return false;
}

static int authorize(void *ctx, int action, const char *a, const char *b, const char *c, const char *d)
{
    static const char *const pragmas[] = {"table_info",      "table_xinfo",      "table_list",    "index_list",
                                          "index_info",      "index_xinfo",      "function_list", "collation_list",
                                          "compile_options", "foreign_key_list", "database_list", NULL};
    static const char *const functions[] = {"load_extension", "fts3_tokenizer", "writefile", "readfile", "edit", NULL};
    (void)ctx;
    (void)c;
    (void)d;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return one_of(b, functions) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_PRAGMA: // with its argument only where that names a table
        return one_of(a, pragmas) ? SQLITE_OK : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

static int out_of_time(void *ctx)
{
    VcDb *db = ctx;
    db->timed_out |= vc_now() > db->deadline;
    return db->timed_out || vc_interrupted() != 0;
}

void vc_db_guard(VcDb *db, double seconds)
{
    enum { STEPS = 4000, VALUE = 64 << 20 }; // STEPS of SQLite's machine between two looks at the clock: below 1 ms
    db->deadline = vc_now() + seconds;
    db->timed_out = false;
    sqlite3_set_authorizer(db->handle, authorize, db);
    sqlite3_progress_handler(db->handle, STEPS, out_of_time, db);
    sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, VALUE);
}

void vc_db_unguard(VcDb *db)
{
    sqlite3_set_authorizer(db->handle, NULL, NULL);
    sqlite3_progress_handler(db->handle, 0, NULL, NULL);
    sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, 1000000000);
}

bool vc_db_timed_out(const VcDb *db)
{
    return db->timed_out;
}

bool vc_db_prepare_one(VcDb *db, VcStmt **out, const char *sql, VcErr *err)
{
    *out = NULL;
    sqlite3_stmt *handle = NULL, *second = NULL;
    const char *tail = sql;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &handle, &tail);
    if (code == SQLITE_OK && handle) {
        // Comments and semicolons may follow, another statement may not.
        while (code == SQLITE_OK && !second && *tail)
            code = sqlite3_prepare_v2(db->handle, tail, -1, &second, &tail);
        sqlite3_finalize(second);
        if (second || code != SQLITE_OK) {
            sqlite3_finalize(handle);
            return vc_fail(err, VC_ERR_USAGE, "only one SQL statement at a time");
        }
    }
    if (code != SQLITE_OK) {
        int at = sqlite3_error_offset(db->handle);
        bool denied = code == SQLITE_AUTH;
        vc_fail(err, VC_ERR_USAGE, "SQL: %s%s%s%.40s%s", denied ? "only reading is allowed: " : "",
                sqlite3_errmsg(db->handle), at >= 0 ? " at '" : "", at >= 0 ? sql + at : "", at >= 0 ? "'" : "");
        return false;
    }
    if (!handle)
        return vc_fail(err, VC_ERR_USAGE, "there is no SQL statement in '%.100s'", sql);
    // VACUUM asks no authorizer when it is prepared.
    if (!sqlite3_stmt_readonly(handle) || sqlite3_column_count(handle) == 0) {
        sqlite3_finalize(handle);
        return vc_fail(err, VC_ERR_USAGE, "SQL: only reading is allowed: '%.100s' gives no rows", sql);
    }
    VcStmt *stmt = vc_alloc(1, sizeof *stmt);
    *stmt = (VcStmt){handle, db};
    *out = stmt;
    return true;
}

int64_t vc_db_last_id(VcDb *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t vc_db_changes(VcDb *db)
{
    return sqlite3_changes(db->handle);
}

const char *vc_db_library_version(void)
{
    return sqlite3_libversion();
}
