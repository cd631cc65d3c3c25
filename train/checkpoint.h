// SPDX-License-Identifier: MIT
// Checkpoints: RUN/checkpoints/step-NNNNNNNN/ with model.safetensors (weights, teachers and queues under the names
// users load), optimizer.safetensors (both moments, NAME.exp_avg and NAME.exp_avg_sq), state.json (position, settings'
// fingerprints) and checkpoint.xxh64 (sums of the three, as `xxh64sum -c` reads them).
//
// A checkpoint is written beside and renamed: it is there whole or not at all, and the one before is removed only after
// that. Loading checks every byte against the sums. All randomness of a run is a function of (seed, epoch, record), so
// position, weights and moments are the whole state: going on gives the bits of a run that was never stopped.
// Threads: one at a time a run.
#pragma once

#include "index/index.h"
#include "train/model/model.h"

typedef struct {
    uint64_t step;                      // optimizer steps done
    IndexState data;                    // next batch
    double loss_sum;                    // of the batches since the last line of metrics.jsonl
    double part_sums[TRAIN_MAX_LOSSES]; // the same of the parts of the loss, in the model's order
    uint64_t loss_count;
    uint64_t recipe, tokenizer; // fingerprints
    double seconds;             // of training so far
} TrainState;

// keep: newest checkpoints that stay, the new one included.
bool train_checkpoint_save(const char *run, const TrainState *state, const TrainModel *model, size_t keep, VcErr *err);
// Path and step of the newest checkpoint of `run`; *path is NULL when there is none, else freed with free().
bool train_checkpoint_newest(const char *run, char **path, uint64_t *step, VcErr *err);
// Checks the sums and reads the position alone; then weights and moments. A damaged, incomplete or foreign checkpoint
// is an error that names the file and what to do.
bool train_checkpoint_state(const char *path, TrainState *state, VcErr *err);
bool train_checkpoint_load(const char *path, TrainModel *model, VcErr *err);
// Removes every checkpoint of the run.
bool train_checkpoint_clear(const char *run, VcErr *err);
