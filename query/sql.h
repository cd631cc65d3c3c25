// SPDX-License-Identifier: MIT
// SQL of a user: one read-only statement with limits.
//
// The rule: nothing is written, attached or loaded, whatever the text says. The connection is read-only, an authorizer
// refuses every action but reading, and the statement ends with an error at a time limit and with a notice at a row
// limit. Threads: one workspace, one thread at a time; the connection is guarded from query_sql_begin to query_sql_end.
#pragma once

#include "base/workspace.h"

typedef struct {
    double seconds; // 0: 10
    int64_t rows;   // 0: 10,000
} QuerySqlLimits;

typedef struct QuerySql QuerySql;

// Prepares exactly one statement. Errors are VC_ERR_USAGE with SQLite's words and the place.
bool query_sql_begin(QuerySql **out, VcWorkspace *ws, const char *sql, const QuerySqlLimits *limits, VcErr *err);
// The next row, read through vc_column_* of the statement. *row false: the end, or the limit (query_sql_cut).
bool query_sql_next(QuerySql *sql, bool *row, VcErr *err);
VcStmt *query_sql_statement(QuerySql *sql);
bool query_sql_cut(const QuerySql *sql); // there were more rows than the limit
void query_sql_end(QuerySql **sql);      // NULL allowed; clears
