// SPDX-License-Identifier: MIT
// RUN/metrics.jsonl, one JSON object a line, and RUN/loss.svg drawn from it.
//
// Training lines: step, epoch, loss (mean since the line before), of an objective with parts also loss_NAME of each
// (without its weight) and alpha, lr, grad_norm, images_per_s, wait_share, rss_mib,
// seconds. Evaluation lines: step, epoch, eval_loss, eval_count, i2t_r1 i2t_r5 i2t_r10 t2i_r1 t2i_r5 t2i_r10 (percent),
// chance_r1 chance_r5 chance_r10. Threads: one at a time.
#pragma once

#include "base/err.h"
#include "train/events.h"
#include "train/model/model.h"
#include "train/train.h"

#include <stdint.h>
#include <stdio.h>

typedef struct {
    FILE *file;
    char *path;
    TrainEvents *events; // NULL: not wanted
} TrainMetrics;

typedef struct {
    uint64_t step, epoch;
    double loss, lr, grad_norm, images_per_s, wait_share, seconds;
    double sync_share; // of the time, waiting for the gradients of other processes
    size_t processes;
    double alpha;                          // weight of the teachers' targets in the last batch
    TrainLossPart parts[TRAIN_MAX_LOSSES]; // means since the line before, as loss
    size_t part_count;
} TrainLine;

// Opens for appending; tensorboard: RUN/tensorboard/ too (train/events.h). Lines of steps after `step` (a run that was
// killed after its last checkpoint) are dropped first.
bool train_metrics_open(TrainMetrics *m, const char *run, uint64_t step, bool tensorboard, VcErr *err);
bool train_metrics_close(TrainMetrics *m, VcErr *err); // a zeroed struct is allowed
bool train_metrics_log(TrainMetrics *m, const TrainLine *line, VcErr *err);
bool train_metrics_recall(TrainMetrics *m, uint64_t step, uint64_t epoch, const TrainRecall *recall, VcErr *err);
// Reads RUN/metrics.jsonl and writes RUN/loss.svg: loss of training (each line, and smoothed), loss and recall of
// evaluation.
bool train_metrics_plot(const char *run, const char *name, VcErr *err);
