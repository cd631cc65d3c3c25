// SPDX-License-Identifier: MIT
// The answer of one SQL statement, printed. Threads: the main thread only.
#pragma once

#include "cli/query_output.h"

// Rows as a table, JSON lines (an object a row), CSV, or (paths) the first column alone.
bool cli_run_sql(VcWorkspace *ws, const char *sql, const QuerySqlLimits *limits, CliFormat format, VcErr *err);
