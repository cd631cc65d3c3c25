// SPDX-License-Identifier: MIT
// The order in which an epoch visits the records, and the state that resumes it exactly.
//
// The order depends only on (sizes of the shards, seed, epoch, window W), never on ranks or threads: the shards are
// permuted; each run of W shards (0: all) is a pool; each pool's records are permuted; the epoch is the pools in turn.
// One generator, vc_rng_seed(seed XOR (epoch + 1) * 0x9E3779B97F4A7C15), draws the shards' permutation, then each
// pool's, all Fisher-Yates from the last element down (vc_rng_shuffle).
//
// Memory: 8 bytes per record of the largest pool. Threads: an IndexOrder is used by one at a time.
#pragma once

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "index/reader.h"

#include <stddef.h>
#include <stdint.h>

typedef struct IndexOrder IndexOrder;

IndexOrder *index_order_create(const IndexReader *reader, uint64_t seed, uint64_t epoch, uint64_t window);
// The same from the sizes of the shards (copied).
IndexOrder *index_order_create_sizes(const uint64_t *sizes, size_t shards, uint64_t seed, uint64_t epoch,
                                     uint64_t window);
void index_order_destroy(IndexOrder **order); // NULL allowed; clears

uint64_t index_order_total(const IndexOrder *order);
// The record at `position` of [0, total). Fast when positions come in turn or lie in one pool.
uint64_t index_order_at(IndexOrder *order, uint64_t position);

// Whole batches of `global_batch` in an epoch: the rest is dropped.
uint64_t index_order_batches(const IndexOrder *order, uint64_t global_batch);
// Global batch b is positions b*G .. b*G+G-1; rank r of R takes the r-th slice of G/R of them. R must divide G, and b
// be below index_order_batches. Fills `records` with G/R record numbers.
void index_order_batch(IndexOrder *order, uint64_t b, uint64_t global_batch, uint64_t rank, uint64_t ranks,
                       uint64_t *records);

enum { INDEX_STATE_FORMAT = 1 };

// What a checkpoint keeps of the data position.
typedef struct {
    char fingerprint[65];
    uint64_t seed, epoch, window, global_batch, next_batch;
} IndexState;

void index_state_put(VcStr *out, const IndexState *state); // one JSON object
bool index_state_parse(IndexState *out, const VcJson *json, const char *what, VcErr *err);
// Refuses another fingerprint, window or global batch, each named with both values.
bool index_state_check(const IndexState *state, const char *fingerprint, uint64_t window, uint64_t global_batch,
                       VcErr *err);
