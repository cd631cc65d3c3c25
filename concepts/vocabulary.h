// SPDX-License-Identifier: MIT
// The concept vocabulary of a workspace: counted over all captions in caption order, or given as a file.
//
// Order: falling count, ties by first sighting. The place in that order, from 0, is `concept.concept_id` and the row
// of the concept's vector. Threads: one workspace, one thread at a time; parsing itself is spread over a pool.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"

// Counts strings in memory that grows with the distinct ones only.
typedef struct VocabularyCounter VocabularyCounter;
typedef struct {
    const char *text; // borrowed from the counter
    int64_t count;    // sightings, from 1 (the original's stored counter is this minus 1)
    int kind;         // as given to _add
} VocabularyEntry;

enum { VOCABULARY_OBJECT = 0, VOCABULARY_ATTRIBUTE = 1, VOCABULARY_RELATION = 2 };

VocabularyCounter *vocabulary_counter_create(void);
void vocabulary_counter_destroy(VocabularyCounter **counter); // NULL allowed; clears
// The same text under two kinds is one entry with the kind of its first sighting: `concept.text` is unique.
void vocabulary_counter_add(VocabularyCounter *counter, const char *text, size_t n, int kind);
size_t vocabulary_counter_distinct(const VocabularyCounter *counter);
// Entries seen at least `min_count` times, falling count, ties by first sighting. *out is freed with free().
size_t vocabulary_counter_select(const VocabularyCounter *counter, int64_t min_count, VocabularyEntry **out);

typedef struct {
    // Kept when seen at least so often. ViCHA's own counter starts at 0 on the first sighting and keeps what is over
    // its threshold, so min_count = threshold + 2: its threshold 0 is 2, its threshold 2 is 4.
    int64_t min_count;
    bool attributes, relations; // count them too
    bool keep_pronouns;         // as the original does
    const char *file;           // a vocabulary of the user's instead: one concept a line, or a JSON list of strings
    VcPool *pool;               // NULL: this thread
} VocabularyOptions;

typedef struct {
    int64_t captions, sightings, distinct, kept;
    bool unchanged;       // nothing was done: the vocabulary of these captions and settings is there already
    bool dropped_vectors; // a vocabulary of before had vectors or mined concepts; they no longer hold and are gone
} VocabularyReport;

// Reads the captions of stored images, writes table `concept` in one transaction. No captions, or nothing frequent
// enough, is an error.
bool vocabulary_build(VcWorkspace *ws, const VocabularyOptions *options, VocabularyReport *report, VcErr *err);

// The settings of the vocabulary that the workspace has: *found, and either *from_file or the counting ones are filled.
bool vocabulary_settings(VcWorkspace *ws, VocabularyOptions *options, bool *from_file, bool *found, VcErr *err);
