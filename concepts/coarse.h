// SPDX-License-Identifier: MIT
// The best rows of many by cosine, found from bytes first. What mining and vector search share.
//
// The rule: bytes only leave rows out. A row r stands as scale q with |r - scale q| <= error, a query v as scale p with
// |v - scale p| <= blur, so the coarse cosine lies within
//     bound = error (1 + blur) + blur length      (length: of the longest scale q; Cauchy and Schwarz)
// of the true one. A row whose upper end is below k lower ends is not among the best k. All others are picked and
// scored finely from float16, so the answer is the float16 answer, to the last bit.
//
// Rows of nibbles are half as long, for few queries at once. They stand for rows without their mean, rotated
// (concepts/rotation.h), as the queries must be; a query's product with the mean is its `base`. Their `error` is not
// the length of what a row lost, which would leave little out, but what the product of that with a unit vector stays
// below save with a chance of 10^-11 (concepts/vectors_i8.h).
//
// Threads: blocks and queries are only read; a pick and a scratch belong to one thread at a time.
#pragma once

#include "base/err.h"
#include "concepts/vectors.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COARSE_ROWS = 96, // rows between two looks at the thresholds: 48 KiB of 512 dimensions
    COARSE_FEW = 4,   // so many queries go through a block one by one
};

// Rows next to each other: as nibbles alone, or as bytes, or turned (nn/kernels/scan.h), or both.
typedef struct {
    const int8_t *rows;         // [count][width], NULL with `turned` alone
    const uint8_t *turned;      // [count][width] or NULL
    const uint8_t *nibbles;     // [count][width / 2] or NULL
    const float *scale, *error; // [count]
    size_t count, width;
    uint32_t first;          // number of the first row, where they follow each other:
    const uint32_t *numbers; // [count] of the rows, or NULL
} CoarseBlock;

static inline uint32_t coarse_number(const CoarseBlock *b, size_t at)
{
    return b->numbers ? b->numbers[at] : b->first + (uint32_t)at;
}

// A row without a scale (not finite) gets an error that no bound leaves out.
static inline void coarse_never_left_out(float *scale, float *error)
{
    if (!(*scale >= 0)) {
        *scale = 0;
        *error = INFINITY;
    }
}

typedef struct {
    size_t count, dim, width;
    float *unit;         // [count][dim] queries of length 1
    int8_t *bytes;       // [count][width]
    int8_t *panels;      // [(count + 31) / 32][width / 4][32][4]; NULL where there are few queries
    float *scale, *blur; // [count]
    float *base;         // [count]: what is added to every coarse cosine, 0 unless the caller says more
    int32_t *shift;      // [count rounded up to 32]
    float length;        // as above: of the rows
    size_t room;         // queries there is memory for
} CoarseQueries;

// Memory for up to `room` queries of `dim` numbers; `length` is that of the rows, 1.01 for unit rows.
void coarse_queries_create(CoarseQueries *q, size_t room, size_t dim, float length);
void coarse_queries_destroy(CoarseQueries *q);
// The queries are x[count, dim], of any length but zero and finite; false: one of them is not.
bool coarse_queries_set(CoarseQueries *q, const float *x, size_t count);

// A row that may be among the best: its score is in [low, high], or both once it is known.
typedef struct {
    uint32_t row;
    float low, high;
} CoarseItem;

typedef struct {
    CoarseItem *items;
    size_t count, room, limit;
    float least; // what is below it cannot be among the best `limit`
} CoarsePick;

// limit: at least 1. Scores below `least` are not wanted.
void coarse_pick_begin(CoarsePick *p, size_t limit, float least);
void coarse_pick_add(CoarsePick *p, CoarseItem item);
void coarse_pick_prune(CoarsePick *p); // what cannot be among the best goes
// The `limit`-th highest upper end; -INFINITY: there are no more items.
float coarse_pick_promising(const CoarsePick *p);
// Scores of all items are known: the best `limit` stay, in falling order, equal ones by rising row.
void coarse_pick_sort(CoarsePick *p);
void coarse_pick_finish(CoarsePick *p);

typedef struct {
    uint8_t *turned; // [COARSE_ROWS][width]
    int32_t *sums;   // [COARSE_ROWS][32]
    uint32_t *hits;  // [COARSE_ROWS]
} CoarseScratch;

void coarse_scratch_create(CoarseScratch *s, size_t width);
void coarse_scratch_destroy(CoarseScratch *s);

// Offers the rows of a block to picks[0, n), which belong to the queries [from, from + n); from is a multiple of 32. n
// is at most COARSE_FEW for nibbles. allowed: bit row % 64 of word row / 64; NULL: all.
void coarse_scan(const CoarseBlock *b, const CoarseQueries *q, size_t from, size_t n, CoarsePick *picks,
                 const uint64_t *allowed, CoarseScratch *s);

// Float16 rows at equal distances.
typedef struct {
    const uint8_t *data;
    size_t stride, dim;
} CoarseRows;

CoarseRows coarse_rows_of(const VectorsReader *r); // borrowed from its map

// The fine score of row `row`: its cosine with unit[dim]. A row of zeros, or one that is not finite, has 0.
float coarse_score(const CoarseRows *rows, uint64_t row, const float *unit);
// The same for rows [begin, begin + n), n up to COARSE_SCORES.
enum { COARSE_SCORES = 256 };
void coarse_scores(const CoarseRows *rows, uint64_t begin, size_t n, const float *unit, float *scores);

static inline void coarse_prefetch(const CoarseRows *rows, uint64_t row)
{
    for (size_t i = 0; i < 2 * rows->dim; i += 64)
        __builtin_prefetch(rows->data + row * rows->stride + i);
}

static inline bool coarse_allowed(const uint64_t *allowed, uint64_t row)
{
    return allowed == NULL || (allowed[row / 64] >> row % 64 & 1) != 0;
}
