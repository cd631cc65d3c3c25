// SPDX-License-Identifier: MIT
#include "train/cache.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct TrainCache {
    _Atomic(TrainPixels *) *items;
    uint64_t records;
    size_t limit;
    atomic_size_t used;
};

TrainCache *train_cache_create(uint64_t records, size_t limit)
{
    TrainCache *c = vc_calloc(1, sizeof *c);
    c->records = limit > 0 ? records : 0;
    c->limit = limit;
    c->items = vc_calloc(c->records + 1, sizeof *c->items);
    return c;
}

void train_cache_destroy(TrainCache **cache)
{
    TrainCache *c = *cache;
    if (!c)
        return;
    for (uint64_t i = 0; i < c->records; i++)
        free(atomic_load(&c->items[i]));
    free(c->items);
    free(c);
    *cache = NULL;
}

const TrainPixels *train_cache_find(TrainCache *c, uint64_t record)
{
    return record < c->records ? atomic_load_explicit(&c->items[record], memory_order_acquire) : NULL;
}

void train_cache_keep(TrainCache *c, uint64_t record, const uint8_t *pixels, int width, int height)
{
    size_t bytes = 3 * (size_t)width * (size_t)height, whole = sizeof(TrainPixels) + bytes;
    if (record >= c->records)
        return;
    if (atomic_fetch_add(&c->used, whole) + whole > c->limit) {
        atomic_fetch_sub(&c->used, whole);
        return;
    }
    TrainPixels *made = vc_alloc(whole, 1), *none = NULL;
    made->width = width;
    made->height = height;
    memcpy(made->pixels, pixels, bytes);
    if (!atomic_compare_exchange_strong(&c->items[record], &none, made)) { // another thread was first
        free(made);
        atomic_fetch_sub(&c->used, whole);
    }
}
