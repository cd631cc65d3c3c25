// SPDX-License-Identifier: MIT
// Batches ahead of the step: worker threads fill a ring of batches that the loop takes in order.
//
// What a batch holds depends on (records, recipe, epoch, number) alone, so any number of workers gives the same bytes,
// and a loader that starts at (epoch, batch) goes on exactly where another stopped. Epochs follow one another without a
// pause. Threads: one consumer.
#pragma once

#include "train/sampler.h"

typedef struct TrainLoader TrainLoader;

// Starts recipe->workers threads at batch `number` of `epoch`. data and bpe are borrowed.
TrainLoader *train_loader_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe, uint64_t epoch,
                                 uint64_t number);
void train_loader_destroy(TrainLoader **loader); // stops the workers; NULL allowed

// The next batch, borrowed until the following call. False: a record of it could not be used.
bool train_loader_next(TrainLoader *loader, const TrainBatch **batch, VcErr *err);
double train_loader_waited(const TrainLoader *loader);    // seconds that train_loader_next had to wait so far
uint64_t train_loader_batches(const TrainLoader *loader); // whole batches in an epoch
