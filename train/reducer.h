// SPDX-License-Identifier: MIT
// Gradients of several processes added up while the backward pass still runs.
//
// The block of gradients is cut into buckets of neighbouring parameters. A bucket whose last gradient became final is
// sent off; all processes send them in one order, which is learned in the first step: the order in which rank 0's
// backward pass finished them. What is not ready by the end of the backward pass goes then. Sums are of the same bits
// everywhere. Threads: one, that of the TrainParallel.
#pragma once

#include "train/parallel.h"

typedef struct TrainReducer TrainReducer;

// bytes: least size of a bucket. NULL for a world of one.
TrainReducer *train_reducer_create(TrainParallel *p, NnParams *params, size_t bytes);
void train_reducer_destroy(TrainReducer **reducer); // NULL allowed; clears
size_t train_reducer_buckets(const TrainReducer *reducer);

// Before the backward pass whose gradients are to be added up (with accumulation: the last of a step), and after it. In
// between the tape tells which gradients are final. After the end params->grad is the SUM over the processes.
// All do nothing when reducer is NULL.
void train_reducer_begin(TrainReducer *reducer, NnTape *tape);
void train_reducer_end(TrainReducer *reducer, NnTape *tape);

double train_reducer_waited(const TrainReducer *reducer); // seconds in train_reducer_end so far
size_t train_reducer_early(const TrainReducer *reducer);  // buckets of the last step that left before its end
