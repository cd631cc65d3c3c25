// SPDX-License-Identifier: MIT
#include "query/sql.h"

#include "base/mem.h"

struct QuerySql {
    VcWorkspace *ws;
    VcStmt *stmt;
    double seconds;
    int64_t left;
    bool cut;
};

bool query_sql_begin(QuerySql **out, VcWorkspace *ws, const char *text, const QuerySqlLimits *limits, VcErr *err)
{
    enum { SECONDS = 10, ROWS = 10000 };
    QuerySql *sql = vc_calloc(1, sizeof *sql);
    *sql = (QuerySql){.ws = ws,
                      .seconds = limits && limits->seconds > 0 ? limits->seconds : SECONDS,
                      .left = limits && limits->rows > 0 ? limits->rows : ROWS};
    *out = NULL;
    vc_db_guard(ws->db, sql->seconds);
    if (!vc_db_prepare_one(ws->db, &sql->stmt, text, err)) {
        query_sql_end(&sql);
        return false;
    }
    *out = sql;
    return true;
}

bool query_sql_next(QuerySql *sql, bool *row, VcErr *err)
{
    *row = false;
    if (sql->cut)
        return true;
    bool ok = vc_stmt_step(sql->stmt, row, err);
    if (!ok && vc_db_timed_out(sql->ws->db)) {
        return vc_fail(err, VC_ERR_LIMIT,
                       "SQL: stopped after %.3g seconds; give it more with --timeout, or ask for less", sql->seconds);
    }
    if (!ok && err->code == VC_ERR_DB)
        err->code = VC_ERR_USAGE;
    if (ok && *row && sql->left-- == 0) {
        sql->cut = true;
        *row = false;
    }
    return ok;
}

VcStmt *query_sql_statement(QuerySql *sql)
{
    return sql->stmt;
}

bool query_sql_cut(const QuerySql *sql)
{
    return sql->cut;
}

void query_sql_end(QuerySql **sql)
{
    if (!sql || !*sql)
        return;
    vc_stmt_finish(&(*sql)->stmt);
    vc_db_unguard((*sql)->ws->db);
    free(*sql);
    *sql = NULL;
}
