// SPDX-License-Identifier: MIT
// One batch as the loader makes it and the models read it. Letters: B pairs, T caption tokens, K concept tokens,
// S pixels on a side. Threads: a batch belongs to one thread at a time.
#pragma once

#include "nn/nn.h"
#include "train/recipe.h"

#include <stddef.h>
#include <stdint.h>

enum { TRAIN_CONCEPT_TOKENS = 55 }; // most of a concept string, [CLS] included

typedef struct {
    size_t count;           // B
    size_t tokens;          // T: longest caption of the (global) batch
    size_t concept_tokens;  // K: longest concept string of the (global) batch, 0 without concepts
    nn_real *images;        // [B,3,S,S], normalised
    int32_t *ids;           // [B,T], padded
    int32_t *last;          // [B]: position of the last token of each caption (the end token of CLIP)
    nn_real *mask;          // [B,T]: 0, or -10000 on padding: added to attention scores
    int32_t *concepts;      // [B,K], padded
    nn_real *concept_mask;  // [B,K]
    int32_t *concept_last;  // [B]
    int32_t *group;         // [B]: first pair of the batch with the same caption
    uint64_t *records;      // [B]: record numbers, stand-ins for bad ones included
    const uint64_t *whole;  // records of the global batch that this is a rank's share of; borrowed
    size_t whole_count;     // 0: this batch is all of it
    int64_t *image_ids;     // [B]
    uint64_t epoch, number; // batch `number` of its epoch, from 0
    size_t skipped;         // bad records that another one stands for (data.on_bad skip)
} TrainBatch;

// Room for `rows` pairs of this recipe.
void train_batch_init(TrainBatch *batch, const TrainRecipe *recipe, size_t rows);
void train_batch_finish(TrainBatch *batch); // a zeroed batch is allowed
