// SPDX-License-Identifier: MIT
// Private to serve/: pieces of the report's HTML. Threads: any; a text belongs to one at a time.
#pragma once

#include "base/str.h"
#include "base/workspace.h"

typedef struct {
    const char *label;
    double value;
} ReportBar;

void report_number(VcStr *out, int64_t value);              // 1,234,567
void report_base64(VcStr *out, const void *data, size_t n); // RFC 4648, with padding
// Horizontal bars as SVG, the longest the whole width.
void report_bars(VcStr *out, const char *title, const ReportBar *bars, size_t count);
// Columns as SVG: bins over [low, high], or over 0, 1, 2... where low == high.
void report_columns(VcStr *out, const char *title, const int64_t *bins, size_t count, double low, double high);
// The picture of an image as <img> with its bytes inline, at most `side` pixels; nothing where none is stored.
void report_picture(VcStr *out, VcWorkspace *ws, int64_t image_id, int side, const char *words);
// Loss and recall of the run in `dir` as SVG, at most REPORT_POINTS points a curve, and its last numbers as a table.
bool report_run(VcStr *out, const char *dir, VcErr *err);
enum { REPORT_POINTS = 400 };
// Throughput and success over time of the last runs of extract, and a row for each; nothing where none was sampled.
bool report_extract(VcStr *out, VcWorkspace *ws, VcErr *err);
