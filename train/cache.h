// SPDX-License-Identifier: MIT
// Decoded pixels of records, kept in memory up to a limit: small images are decoded once, not once an epoch.
// What is kept changes no result, only time. Threads: any number.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct TrainCache TrainCache;

typedef struct {
    int width, height;
    uint8_t pixels[]; // RGB rows without padding
} TrainPixels;

TrainCache *train_cache_create(uint64_t records, size_t limit); // limit in bytes; 0 keeps nothing
void train_cache_destroy(TrainCache **cache);                   // NULL allowed; clears

// The pixels of a record, valid until the cache is destroyed, or NULL.
const TrainPixels *train_cache_find(TrainCache *cache, uint64_t record);
// Keeps a copy when there is room for it.
void train_cache_keep(TrainCache *cache, uint64_t record, const uint8_t *pixels, int width, int height);
