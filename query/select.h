// SPDX-License-Identifier: MIT
// Private to query/: the best of many scored images, in the order "falling score, rising image_id". Threads: one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    double score;
    int64_t id;  // image_id
    int64_t row; // its vector row, or what else the caller wants to know
} Ranked;

// A before B in the order.
static inline bool ranked_before(const Ranked *a, const Ranked *b)
{
    return a->score > b->score || (a->score == b->score && a->id < b->id);
}

typedef struct {
    Ranked *items;
    size_t count, cap, limit;
    bool has_after;
    Ranked after;     // only what comes behind it is kept
    double threshold; // a score below it cannot get in any more; -INFINITY while there is room
} Selection;

// Keeps the best `limit` (at least 1) of what is added.
void selection_begin(Selection *s, size_t limit);
void selection_add(Selection *s, double score, int64_t id, int64_t row);
void selection_sort(Selection *s); // items[0, count) are the best in order
void selection_finish(Selection *s);

void ranked_sort(Ranked *items, size_t count);
