// SPDX-License-Identifier: MIT
// Batches ahead of the step: worker threads fill a ring of batches that the loop takes in order.
//
// What a batch holds depends on (records, recipe, epoch, number, share) alone, so any number of workers gives the same
// bytes, and a loader that starts at (epoch, batch) goes on exactly where another stopped. Epochs follow one another
// without a pause. Threads: one consumer.
//
// Data-parallel runs: recipe->batch pairs a rank, G = recipe->batch * ranks pairs a global batch. Global batch b is
// positions b*G .. b*G+G-1 of the epoch's order, rank r has the r-th slice of it. A row is the same whichever rank
// makes it, and all ranks pad captions and concept strings to the longest of the whole global batch: two ranks of B/2
// pairs compute on exactly the numbers of one process with B.
#pragma once

#include "train/sampler.h"

typedef struct TrainLoader TrainLoader;

// Which part of every global batch: rank `rank` of `ranks`. NULL where one is asked for: all of it, {0, 1}.
typedef struct {
    uint64_t rank, ranks;
} TrainShare;

// Starts recipe->workers threads at global batch `number` of `epoch`. data and bpe are borrowed. The training part must
// fill a global batch (train_data_check_batch).
TrainLoader *train_loader_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe,
                                 const TrainShare *share, uint64_t epoch, uint64_t number);
void train_loader_destroy(TrainLoader **loader); // stops the workers; NULL allowed

// The next batch, borrowed until the following call. False: a record of it could not be used.
bool train_loader_next(TrainLoader *loader, const TrainBatch **batch, VcErr *err);
double train_loader_waited(const TrainLoader *loader);    // seconds that train_loader_next had to wait so far
uint64_t train_loader_batches(const TrainLoader *loader); // whole global batches in an epoch
