// SPDX-License-Identifier: MIT
// RUN/checkpoint.best.safetensors: the model with the best recall on held-out pairs so far, under the names users load;
// its metadata has "step" and "mean_recall" (the mean of both directions at 1, 5 and 10, percent, as the paper's
// r_mean). Threads: one at a time.
#pragma once

#include "train/model/model.h"
#include "train/train.h"

double train_mean_recall(const TrainRecall *recall);
// Writes the file, whole or not at all, when there is none yet or `recall` is better than that of the file.
bool train_best_update(const char *run, const TrainModel *model, uint64_t step, const TrainRecall *recall, VcErr *err);
bool train_best_clear(const char *run, VcErr *err);
