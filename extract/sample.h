// SPDX-License-Identifier: MIT
// Throughput and success over time: tables extract_run and extract_sample (docs/FORMATS.md), which `vicha report`
// draws, and stats.json. Not for other folders, which read the tables with SQL.
//
// Threads: one, the one that owns the workspace.
#pragma once

#include "extract/stage.h"

typedef struct ExtractSampler ExtractSampler;

// A new run. A sample is taken about once a second; runs of more than ten minutes take them further apart, so that a
// week is a few thousand.
bool extract_sampler_open(ExtractSampler **out, VcWorkspace *ws, VcErr *err);
// Takes one when it is time, or `last`: the run has ended. NULL sampler: nothing. Between transactions.
bool extract_sampler_tick(ExtractSampler *sampler, const ExtractReport *report, bool last, VcErr *err);
void extract_sampler_close(ExtractSampler **sampler); // NULL allowed; clears

// DIR/stats.json: whole or not at all.
bool extract_write_stats(const VcWorkspace *ws, const ExtractReport *report, VcErr *err);
