// SPDX-License-Identifier: MIT
// The k best concepts of images by cosine, for vocabularies of any size.
//
// Products of bytes leave concepts out where a bound proves them out of the best k (concepts/coarse.h); the rest is
// scored from float16. So ids and scores are those of a float product over all concepts, and the same bits for any
// batch, order of images, number of threads and processor. Selection happens while the products are in the first
// cache: no array of scores exists. The rows are quantized with their mean taken away, which moves all scores of an
// image alike and makes the bound much tighter, for CLIP's vectors of texts all point one way.
//
// Memory: bytes for at most MINE_SLICE_BYTES of concepts; larger vocabularies are quantized again for every batch,
// slice by slice, so their batches should be large. Threads: one at a time; the work is spread over the pool.
#pragma once

#include "base/pool.h"
#include "concepts/coarse.h"

enum { MINE_SLICE_BYTES = 96 << 20 };

typedef struct MineTop MineTop;

// Concept i is row list[i] of `rows` (rising; NULL: row i). Both are borrowed. slice_bytes: MINE_SLICE_BYTES, or less
// in tests.
MineTop *mine_top_create(CoarseRows rows, const uint32_t *list, size_t count, size_t slice_bytes, VcPool *pool);
void mine_top_destroy(MineTop **top);      // NULL allowed; clears
size_t mine_top_batch(const MineTop *top); // a good number of images for one call

// images[n][dim], any length but zero and finite; false: one is not. ids[n][k]: numbers of concepts, falling score,
// equal ones by rising number; scores[n][k]: cosines. k up to the number of concepts.
bool mine_top_run(MineTop *top, const float *images, size_t n, size_t k, uint32_t *ids, float *scores);
uint64_t mine_top_fine(const MineTop *top); // concepts scored from float16 so far
