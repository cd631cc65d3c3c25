// SPDX-License-Identifier: MIT
// Private to query/: concept expressions over posting lists.
//
// Two ways, the same answer: a scan goes over all rows in chunks and computes every node as an array of scores, so its
// cost does not depend on what the lists hold; a probe goes over the rows of the shortest list that an AND demands (or
// of a small set of allowed rows) and searches the others. Threads: one evaluation, one thread.
#pragma once

#include "concepts/concepts.h"
#include "query/expression.h"
#include "query/select.h"

enum { EVALUATE_BINS = 1 << 16 }; // bin b: stored scores (cosine * 32767) in [b - 32768, b - 32767)

typedef struct {
    const QueryNode *root;                                 // NULL: every row, without a score
    PostingList (*list)(void *ctx, const QueryNode *term); // of a TERM
    void *ctx;
    size_t rows;             // [0, rows)
    const uint64_t *allowed; // a bit a row, NULL: all; bits behind `rows` are 0
    size_t allowed_count;    // set bits
    const int64_t *ids;      // [rows] image_id, -1: the row has no image (and is left out)
    bool whole;              // no allowed row has id -1: counting needs no look at the ids
    double least;            // lowest score that is kept, -INFINITY: all
    uint32_t *histogram;     // [EVALUATE_BINS] or NULL: how many rows that hold have a score in each bin is added
    enum { EVALUATE_AUTO, EVALUATE_SCAN, EVALUATE_PROBE } way; // tests set it
} Evaluation;

typedef struct {
    int64_t matched; // rows that hold, with at least the lowest score
    bool probed;
    bool scored; // the expression has scores (it is not all NOT)
} EvaluationResult;

// Adds every matching image with its score (cosine, 0 without one) to `best` (NULL: nothing) and sets its bit in
// `bits` (NULL: nothing).
EvaluationResult query_evaluate(const Evaluation *e, Selection *best, uint64_t *bits);
bool query_expression_scored(const QueryNode *node);
