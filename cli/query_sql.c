// SPDX-License-Identifier: MIT
#include "cli/query_sql.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/table.h"

#include <math.h>

// A value as text; blobs as lower-case digits.
static void put_value(VcStr *out, const VcStmt *stmt, int i)
{
    size_t n;
    const uint8_t *blob;
    switch (vc_column_type(stmt, i)) {
    case VC_COLUMN_BLOB:
        blob = vc_column_blob(stmt, i, &n);
        for (size_t k = 0; k < n; k++)
            vc_str_putf(out, "%02x", blob[k]);
        break;
    case VC_COLUMN_NULL:
        break;
    default:
        vc_str_put(out, vc_column_text(stmt, i));
    }
}

static void put_json_value(VcStr *out, const VcStmt *stmt, int i)
{
    VcColumnType type = vc_column_type(stmt, i);
    VcStr text = {0};
    put_value(&text, stmt, i);
    if (type == VC_COLUMN_NULL || (type == VC_COLUMN_REAL && !isfinite(vc_column_double(stmt, i)))) {
        vc_str_put(out, "null");
    } else if (type == VC_COLUMN_INT || type == VC_COLUMN_REAL) {
        vc_str_put(out, vc_str_get(&text));
    } else {
        vc_str_put_json(out, vc_str_get(&text), text.len, false);
    }
    vc_str_finish(&text);
}

static void put_row(VcStr *out, const VcStmt *stmt, CliFormat format)
{
    int n = vc_column_count(stmt);
    for (int i = 0; i < n; i++) {
        if (format == CLI_FORMAT_JSONL) {
            const char *name = vc_column_name(stmt, i);
            vc_str_put(out, i ? ", " : "{");
            vc_str_put_json(out, name, strlen(name), false);
            vc_str_put(out, ": ");
            put_json_value(out, stmt, i);
            continue;
        }
        VcStr text = {0};
        put_value(&text, stmt, i);
        if (format == CLI_FORMAT_CSV) {
            vc_str_put(out, i ? "," : "");
            cli_put_csv(out, vc_str_get(&text));
        } else if (i == 0) {
            vc_str_put(out, vc_str_get(&text));
        }
        vc_str_finish(&text);
    }
    vc_str_put(out, format == CLI_FORMAT_JSONL ? "}\n" : format == CLI_FORMAT_CSV ? "\r\n" : "\n");
}

static CliTable begin_table(const VcStmt *stmt)
{
    int n = vc_column_count(stmt);
    CliTable t = {.column_count = (size_t)(n < CLI_TABLE_COLUMNS ? n : CLI_TABLE_COLUMNS)};
    for (size_t i = 0; i < t.column_count; i++)
        t.columns[i] = (CliColumn){vc_column_name(stmt, (int)i), false, true};
    return t;
}

static bool print_rows(QuerySql *sql, CliFormat format, VcErr *err)
{
    VcStmt *stmt = query_sql_statement(sql);
    VcStr text = {0};
    CliTable t = begin_table(stmt);
    bool row = true, ok = true;
    int64_t n = 0;
    for (int i = 0; format == CLI_FORMAT_CSV && i < vc_column_count(stmt); i++) {
        vc_str_put(&text, i ? "," : "");
        cli_put_csv(&text, vc_column_name(stmt, i));
    }
    vc_str_put(&text, format == CLI_FORMAT_CSV ? "\r\n" : "");
    for (; (ok = query_sql_next(sql, &row, err)) && row; n++) {
        for (size_t i = 0; format == CLI_FORMAT_TABLE && i < t.column_count; i++) {
            VcStr cell = {0};
            put_value(&cell, stmt, (int)i);
            cli_table_put(&t, vc_str_get(&cell));
            vc_str_finish(&cell);
        }
        if (format != CLI_FORMAT_TABLE)
            put_row(&text, stmt, format);
        if (text.len > 1 << 16) {
            fwrite(text.data, 1, text.len, stdout);
            vc_str_clear(&text);
        }
    }
    fwrite(vc_str_get(&text), 1, text.len, stdout);
    vc_str_finish(&text);
    if (format == CLI_FORMAT_TABLE)
        cli_table_end(&t, stdout, ok && n > 0 ? cli_terminal_width() : 0);
    if (ok && format == CLI_FORMAT_TABLE && vc_column_count(stmt) > CLI_TABLE_COLUMNS) {
        vc_info("the first %d of %d columns; --format csv or jsonl shows all", CLI_TABLE_COLUMNS,
                vc_column_count(stmt));
    }
    if (ok && query_sql_cut(sql))
        vc_info("stopped after %lld rows; --rows allows more", (long long)n);
    return ok;
}

bool cli_run_sql(VcWorkspace *ws, const char *text, const QuerySqlLimits *limits, CliFormat format, VcErr *err)
{
    QuerySql *sql = NULL;
    if (format == CLI_FORMAT_HTML)
        return vc_fail(err, VC_ERR_USAGE, "--sql has no pictures; use --format table, jsonl, csv or paths");
    if (!query_sql_begin(&sql, ws, text, limits, err))
        return false;
    bool ok = print_rows(sql, format, err);
    query_sql_end(&sql);
    return ok;
}
