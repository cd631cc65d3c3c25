// SPDX-License-Identifier: MIT
// The rows of a vector file nearest to given vectors by cosine: the exact answer, at the speed of the memory.
//
// With a file of bytes beside the float16 one (concepts/vectors_i8.h) rows are left out by their bytes where a bound
// proves that they cannot be in the answer, for few queries by their nibbles where that is certain save with a chance
// of 10^-11 a hit; what remains is scored from float16. Without it, or with `exact`, float16 alone is read. The hits
// and the bits of their scores are the same all ways, for any number of threads, whatever queries are asked together
// and on every processor.
//
// Filters are applied first and never lower recall: few allowed rows are scored one by one, else all rows are scanned
// and the bit is looked at.
//
// Threads: an open Nearest is only read; each call uses its own pool.
#pragma once

#include "base/pool.h"
#include "concepts/vectors.h"

typedef struct Nearest Nearest;

// rows: borrowed. bytes_path: the file of bytes, or NULL; one that is absent, stale or damaged is done without (and
// *notice, a static text or NULL, says so). More than 2^32 - 2 rows are an error.
bool nearest_open(Nearest **out, const VectorsReader *rows, const char *bytes_path, const char **notice, VcErr *err);
// Opens a file of cells beside it, for questions with `probe`: VC_ERR_USAGE where there is none of these rows.
bool nearest_open_cells(Nearest *n, const char *cells_path, VcErr *err);
size_t nearest_cells(const Nearest *n);       // 0: none open
void nearest_close(Nearest **n);              // NULL allowed; clears
uint64_t nearest_byte_rows(const Nearest *n); // rows that have bytes

typedef struct {
    uint64_t row;
    float score; // cosine
} NearestHit;

typedef struct {
    const float *vectors; // [count][dim], any length
    size_t count;
    size_t limit;            // hits of a query, at least 1
    const uint64_t *allowed; // bit row % 64 of word row / 64; NULL: all
    float least;             // lowest score that is a hit; -INFINITY: any
    bool exact;              // float16 alone
    size_t probe;            // look into so many cells only, 0: everywhere. Then the answer is no longer exact
    VcPool *pool;            // may be NULL
} NearestQuestion;

typedef struct {
    NearestHit *hits; // [count][limit], falling score, equal ones by rising row; freed by nearest_answer_finish
    size_t *found;    // [count]
    size_t stride;    // hits of query i begin at hits + i * stride
    uint64_t fine;    // float16 rows scored
} NearestAnswer;

// A query that is zero or not finite is VC_ERR_USAGE.
bool nearest_find(const Nearest *n, const NearestQuestion *q, NearestAnswer *answer, VcErr *err);
void nearest_answer_finish(NearestAnswer *answer); // a zeroed one is allowed
