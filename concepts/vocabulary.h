// SPDX-License-Identifier: MIT
// The concept vocabulary of a workspace: counted over all captions in caption order, or given as a file.
//
// Order: falling count, ties by first sighting. The place in that order, from 0, is `concept.concept_id` and the row
// of the concept's vector. Threads: one workspace, one thread at a time; parsing itself is spread over a pool.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"
#include "concepts/vocabulary_counter.h"

typedef enum {
    VOCABULARY_CASE_REFERENCE, // concepts in lower case, attributes and relations as written: as the original counts
    VOCABULARY_CASE_LOWER,     // all in lower case
    VOCABULARY_CASE_KEEP       // all as written
} VocabularyCase;

typedef struct {
    // Kept when seen at least so often. ViCHA's own counter starts at 0 on the first sighting and keeps what is over
    // its threshold, so min_count = threshold + 2: its threshold 0 is 2, its threshold 2 is 4.
    int64_t min_count;
    bool attributes, relations; // count them too
    bool keep_pronouns;         // as the original does
    VocabularyCase letter_case;
    bool merge_plurals;       // count "dogs" as "dog" where both are seen (the original does not)
    const char *parser;       // a caption model's file; NULL: the one in the program
    const char *const *files; // vocabularies of the user's (files, or workspaces) instead of counting, without repeats
    size_t file_count;        //   sorted by their counts if all have them, else in the order of the files
    const char *const *merge; // files with counts, or other workspaces: their counts are added to those here
    size_t merge_count;
    const char *split;              // count only captions of images of this split; NULL: of all
    const char *stop;               // a file of concepts to leave out
    int64_t min_length, max_length; // characters; 0: no bound
    const char *cut;                // a file for what was left out: concept, count, cause
    VcPool *pool;                   // NULL: this thread
} VocabularyOptions;

typedef struct {
    int64_t captions, sightings, distinct, kept;
    int64_t cut[VOCABULARY_CAUSES]; // by cause, of the distinct ones
    const char *task;               // counted are texts of a task alone, whose concepts come from elsewhere: their kind
    bool unchanged;                 // nothing was done: the vocabulary of these captions and settings is there already
    bool dropped_vectors; // a vocabulary of before had vectors or mined concepts; they no longer hold and are gone
} VocabularyReport;

// Reads the captions of stored images (of NLVR2 its sentences; questions, hypotheses and expressions only where there
// is nothing else, see report->task), writes table `concept` in one transaction. No captions, or nothing frequent
// enough, is an error.
bool vocabulary_build(VcWorkspace *ws, const VocabularyOptions *options, VocabularyReport *report, VcErr *err);

// The settings of the vocabulary that the workspace has: *found, and either the counting ones are filled or *fixed: it
// came from files, or with settings that are not stored, and can only be kept as it is.
bool vocabulary_settings(VcWorkspace *ws, VocabularyOptions *options, bool *fixed, bool *found, VcErr *err);
