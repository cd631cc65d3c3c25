// SPDX-License-Identifier: MIT
// Finished images that wait for an earlier one, kept on the disk instead of in memory: images/waiting-NNNNNN. A run
// that was stopped or killed finds them there and does not fetch or decode them again. Not for other folders.
//
// The rule: the journal is never believed, only used. A record that is not whole (SHA-like check over all of it), or
// was made by another version or with other settings, is as if it were not there: its image is done again. Files are
// written from front to end once, never appended to by a later run, and removed when no image waits in them any more.
// Threads: one, the one that owns the workspace.
#pragma once

#include "extract/job.h"

typedef struct ExtractJournal ExtractJournal;

// Reads what a killed run left. `settings`: a text that differs when results would. `forget`: remove it all instead.
bool extract_journal_open(ExtractJournal **out, const VcWorkspace *ws, const char *settings, bool forget, VcErr *err);
// A result: everything of `job` but its source. *place stands for it until it is dropped or this process ends.
bool extract_journal_put(ExtractJournal *journal, const ExtractJob *job, uint64_t *place, VcErr *err);
bool extract_journal_sync(ExtractJournal *journal, VcErr *err);
// The place of an image's result that a killed run left; false when there is none.
bool extract_journal_find(const ExtractJournal *journal, int64_t image_id, uint64_t *place);
// Reads a result back; *job is new, done, without source. Damage that came after it was written is an error.
bool extract_journal_get(ExtractJournal *journal, uint64_t place, ExtractJob **job, VcErr *err);
void extract_journal_drop(ExtractJournal *journal, uint64_t place); // it is committed
uint64_t extract_journal_bytes(const ExtractJournal *journal);      // on the disk now
// `remove`: everything in it is committed or unwanted. Else the next run finds it.
void extract_journal_close(ExtractJournal **journal, bool remove); // NULL allowed; clears
