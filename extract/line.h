// SPDX-License-Identifier: MIT
// The line of images under way: pending ones are started in the order of image_id, come back in any, and are committed
// in that order again, so that the same input gives the same shards whoever was faster. Not for other folders.
//
// The rule: nothing overtakes, and nothing waits for long in memory. What is finished behind an image that is not goes
// to the journal (journal.h), where also a killed run's successor finds it.
#pragma once

#include "base/progress.h"
#include "extract/journal.h"

typedef struct {
    VcWorkspace *ws;
    const ExtractOptions *options;
    ExtractReport *report;
    const ExtractListed *sources; // in the order of source_id
    size_t source_count;
    const char *filter; // SQL on `i`, a row of image: which images are this run's
} ExtractWork;

// " FROM image i ... WHERE ... AND ": the filter follows.
extern const char extract_pending_sql[];
// Whose image it is; the work has it.
const ExtractListed *extract_work_source(const ExtractWork *work, int64_t source_id);
void extract_work_sort(ExtractListed *sources, size_t count);

// All pending images, until there are none or an interrupt; count: how many there are, for the progress line.
bool extract_line_run(const ExtractWork *work, uint64_t count, VcErr *err);
