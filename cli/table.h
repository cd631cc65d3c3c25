// SPDX-License-Identifier: MIT
// Tables for people: aligned columns, UTF-8 widths, cut with an ellipsis where a terminal ends. Text from outside is
// made harmless: control and direction characters are shown as escapes.
//
// Threads: the main thread only.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>

enum { CLI_TABLE_COLUMNS = 10 };

typedef struct {
    const char *name; // heading; borrowed; all empty: no line of headings
    bool right;       // numbers
    bool shrink;      // may be cut to make the line fit
} CliColumn;

typedef struct {
    CliColumn columns[CLI_TABLE_COLUMNS];
    size_t column_count;
    char **cells; // row by row, owned
    size_t cell_count, cell_cap;
} CliTable; // begins as a zeroed struct with its columns set

void cli_table_put(CliTable *t, const char *text); // the next cell
void cli_table_putf(CliTable *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Prints and frees. width 0: nothing is cut.
void cli_table_end(CliTable *t, FILE *out, size_t width);

// Columns of the terminal behind standard output ($COLUMNS wins); 0 when it is no terminal.
size_t cli_terminal_width(void);
// Appends `text` with tabs and line ends as spaces, other control and direction characters as \xNN or \u{NNNN}, and
// bytes that are not UTF-8 as U+FFFD.
void cli_put_safe(VcStr *out, const char *text, size_t n);
size_t cli_text_width(const char *text); // columns
// Appends `text` as a CSV field: quoted where it must be (RFC 4180).
void cli_put_csv(VcStr *out, const char *text);
