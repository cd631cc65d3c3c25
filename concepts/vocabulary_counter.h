// SPDX-License-Identifier: MIT
// Counting strings, for the vocabulary: memory grows with the distinct ones only.
//
// Threads: one counter, one thread at a time.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct VocabularyCounter VocabularyCounter;

enum { VOCABULARY_OBJECT = 0, VOCABULARY_ATTRIBUTE = 1, VOCABULARY_RELATION = 2 };

// Why an entry is not in the vocabulary.
typedef enum {
    VOCABULARY_KEPT,
    VOCABULARY_RARE,   // seen too seldom
    VOCABULARY_STOP,   // in the stop list
    VOCABULARY_SHORT,  // fewer characters than allowed
    VOCABULARY_LONG,   // more
    VOCABULARY_PLURAL, // counted with its singular
    VOCABULARY_CAUSES
} VocabularyCause;

typedef struct {
    const char *text; // borrowed from the counter
    int64_t count;    // sightings, from 1 (the original's stored counter is this minus 1)
    int kind;         // as given to _add
    VocabularyCause cause;
} VocabularyEntry;

VocabularyCounter *vocabulary_counter_create(void);
void vocabulary_counter_destroy(VocabularyCounter **counter); // NULL allowed; clears
// The same text under two kinds is one entry with the kind of its first sighting: `concept.text` is unique.
void vocabulary_counter_add(VocabularyCounter *counter, const char *text, size_t n, int kind);
void vocabulary_counter_add_times(VocabularyCounter *counter, const char *text, size_t n, int kind, int64_t times);
bool vocabulary_counter_has(const VocabularyCounter *counter, const char *text, size_t n);
size_t vocabulary_counter_distinct(const VocabularyCounter *counter);

// Adds the count of every plural to its singular where that was seen too ("dogs" to "dog", "ice cream cones" to "ice
// cream cone", "men" to "man"); the plural's cause becomes PLURAL. Objects only.
void vocabulary_counter_merge_plurals(VocabularyCounter *counter);

typedef struct {
    int64_t min_count;
    const VocabularyCounter *stop; // texts to leave out; NULL none
    size_t min_length, max_length; // characters; max_length 0: no bound
} VocabularyRules;

// All entries, the kept ones first: falling count, ties by first sighting; then the others in the same order. Returns
// how many are kept, *out [vocabulary_counter_distinct] is freed with free().
size_t vocabulary_counter_choose(const VocabularyCounter *counter, const VocabularyRules *rules, VocabularyEntry **out);
// The same with min_count alone.
size_t vocabulary_counter_select(const VocabularyCounter *counter, int64_t min_count, VocabularyEntry **out);
