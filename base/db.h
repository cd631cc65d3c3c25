// SPDX-License-Identifier: MIT
// SQLite (the one place that includes it): a connection with our pragmas, statements, transactions.
//
// Threads: one connection, one thread at a time. Errors name the database, the statement and SQLite's own words.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct VcDb VcDb;
typedef struct VcStmt VcStmt; // owned by the connection that prepared it, until vc_stmt_finish

typedef enum { VC_DB_READ, VC_DB_WRITE, VC_DB_CREATE } VcDbMode;

// CREATE makes the file with page_size 8192 and WAL when it does not exist. Pragmas as docs/FORMATS.md says.
bool vc_db_open(VcDb **out, const char *path, VcDbMode mode, VcErr *err);
void vc_db_close(VcDb **db);
const char *vc_db_path(const VcDb *db);

bool vc_db_exec(VcDb *db, const char *sql, VcErr *err); // any number of statements, rows dropped
// First column of the first row of a query without parameters; `otherwise` where there is no row or NULL.
bool vc_db_int(VcDb *db, const char *sql, int64_t otherwise, int64_t *out, VcErr *err);

bool vc_db_begin(VcDb *db, VcErr *err); // BEGIN IMMEDIATE
bool vc_db_commit(VcDb *db, VcErr *err);
void vc_db_rollback(VcDb *db); // allowed without a transaction

bool vc_db_prepare(VcDb *db, VcStmt **out, const char *sql, VcErr *err);
void vc_stmt_finish(VcStmt **stmt); // NULL allowed; clears

// Parameters are numbered from 1. Text and blobs are copied. A NULL text or blob binds SQL NULL.
void vc_bind_int(VcStmt *stmt, int index, int64_t value);
void vc_bind_double(VcStmt *stmt, int index, double value);
void vc_bind_text(VcStmt *stmt, int index, const char *text);
void vc_bind_textn(VcStmt *stmt, int index, const char *text, size_t n);
void vc_bind_blob(VcStmt *stmt, int index, const void *data, size_t n);
void vc_bind_null(VcStmt *stmt, int index);

// One step: *row says whether there is one. At the end, or on an error, the statement is reset and its bindings stay.
bool vc_stmt_step(VcStmt *stmt, bool *row, VcErr *err);
void vc_stmt_reset(VcStmt *stmt); // reset early, bindings cleared
// Step to the end, rows dropped, then reset with bindings cleared: for INSERT, UPDATE, DELETE.
bool vc_stmt_run(VcStmt *stmt, VcErr *err);

// Columns are numbered from 0; text and blobs are borrowed until the next step or reset.
int vc_column_count(const VcStmt *stmt);
const char *vc_column_name(const VcStmt *stmt, int index);
int64_t vc_column_int(const VcStmt *stmt, int index);
double vc_column_double(const VcStmt *stmt, int index);
const char *vc_column_text(const VcStmt *stmt, int index); // NULL for SQL NULL
const void *vc_column_blob(const VcStmt *stmt, int index, size_t *n);
bool vc_column_is_null(const VcStmt *stmt, int index);

typedef enum { VC_COLUMN_NULL, VC_COLUMN_INT, VC_COLUMN_REAL, VC_COLUMN_TEXT, VC_COLUMN_BLOB } VcColumnType;
VcColumnType vc_column_type(const VcStmt *stmt, int index); // of this row's value

// SQL of strangers. While a connection is guarded, only statements that read can be prepared (no ATTACH, no PRAGMA but
// the ones that describe tables, no loading of extensions), no value is longer than 64 MiB, and a statement ends with
// an error `seconds` after this call, or when the program is interrupted. Statements of before are not to be used.
void vc_db_guard(VcDb *db, double seconds);
void vc_db_unguard(VcDb *db);
bool vc_db_timed_out(const VcDb *db); // the guard ended a statement
// Prepares exactly one statement: a second one behind it, or none, is VC_ERR_USAGE, and so is what SQLite refuses.
bool vc_db_prepare_one(VcDb *db, VcStmt **out, const char *sql, VcErr *err);

int64_t vc_db_last_id(VcDb *db);
int64_t vc_db_changes(VcDb *db); // rows of the last INSERT, UPDATE or DELETE
const char *vc_db_library_version(void);
