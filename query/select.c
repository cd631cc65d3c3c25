// SPDX-License-Identifier: MIT
#include "query/select.h"

#include "base/err.h"
#include "base/mem.h"

#include <math.h>

// Room for this many more than asked for: the best are picked out only when it is used up. Little, so that the
// threshold rises early.
enum { SPARE = 256 };

void selection_begin(Selection *s, size_t limit)
{
    VC_ASSERT(limit > 0);
    s->limit = limit;
    s->count = s->cap = 0;
    s->items = NULL;
    s->threshold = -INFINITY;
}

static void swap(Ranked *a, Ranked *b)
{
    Ranked t = *a;
    *a = *b;
    *b = t;
}

// Puts the n best first, in any order (quickselect, middle of three as pivot; ids differ, so no two are equal).
static void pick(Ranked *x, size_t count, size_t n)
{
    size_t low = 0, high = count; // [low, high) still mixed
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2, last = high - 1;
        if (ranked_before(&x[mid], &x[low]))
            swap(&x[mid], &x[low]);
        if (ranked_before(&x[last], &x[low]))
            swap(&x[last], &x[low]);
        if (ranked_before(&x[mid], &x[last]))
            swap(&x[mid], &x[last]); // the middle one is last now
        size_t at = low;
        for (size_t i = low; i < last; i++) {
            if (ranked_before(&x[i], &x[last]))
                swap(&x[i], &x[at++]);
        }
        swap(&x[at], &x[last]);
        if (at == n || at + 1 == n)
            return;
        if (at < n) {
            low = at + 1;
        } else {
            high = at;
        }
    }
}

static void compact(Selection *s)
{
    pick(s->items, s->count, s->limit);
    s->count = s->limit;
    double worst = INFINITY;
    for (size_t i = 0; i < s->count; i++)
        worst = s->items[i].score < worst ? s->items[i].score : worst;
    s->threshold = worst;
}

void selection_add(Selection *s, double score, int64_t id, int64_t row)
{
    Ranked r = {score, id, row};
    if (score < s->threshold || (s->has_after && !ranked_before(&s->after, &r)))
        return;
    if (s->count == s->limit + s->limit / 2 + SPARE)
        compact(s);
    s->items = vc_grow(s->items, &s->cap, s->count + 1, sizeof *s->items);
    s->items[s->count++] = r;
}

static int compare(const void *a, const void *b)
{
    return ranked_before(a, b) ? -1 : ranked_before(b, a) ? 1 : 0;
}

void ranked_sort(Ranked *items, size_t count)
{
    if (count > 1)
        qsort(items, count, sizeof *items, compare);
}

void selection_sort(Selection *s)
{
    if (s->count > s->limit)
        compact(s);
    ranked_sort(s->items, s->count);
}

void selection_finish(Selection *s)
{
    free(s->items);
    *s = (Selection){0};
}
