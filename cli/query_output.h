// SPDX-License-Identifier: MIT
// Pages of images for people and programs: table, JSON lines, CSV, paths, a page of HTML. Threads: the main thread
// only.
#pragma once

#include "cli/terminal_picture.h"
#include "query/query.h"

#include <stdio.h>

typedef enum {
    CLI_FORMAT_TABLE,
    CLI_FORMAT_JSONL,
    CLI_FORMAT_CSV,
    CLI_FORMAT_PATHS,
    CLI_FORMAT_HTML,
} CliFormat;

bool cli_parse_format(const char *name, bool json, CliFormat *out, VcErr *err);

typedef struct {
    CliFormat format;
    size_t first;         // rank of the page's first image, from 1
    VcWorkspace *ws;      // for pictures
    CliPictures pictures; // of tables
    const char *title;    // of HTML
} CliHitsStyle;

// Writes the page to `out`. Pictures that cannot be read are left out of HTML with a warning.
void cli_print_hits(FILE *out, const QueryPage *page, const CliHitsStyle *style);
// What was done and how long it took, to standard error.
void cli_explain(const QueryPage *page);
