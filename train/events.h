// SPDX-License-Identifier: MIT
// TensorBoard event files: RUN/tensorboard/events.out.tfevents.0.vicha, made from the lines of metrics.jsonl.
//
// A file is a sequence of TFRecords (length, its masked CRC-32C, data, its masked CRC-32C), each an Event message of
// protocol buffers: wall time, step, and for every number of a line a scalar: "train/loss", "eval/t2i_r10", ... The
// file is made anew from metrics.jsonl when a run starts or goes on, so it never holds steps that were taken back, and
// grows with the run from there. Threads: one at a time.
#pragma once

#include "base/json.h"

typedef struct TrainEvents TrainEvents;

// Writes what RUN/metrics.jsonl holds so far (it may be missing) and leaves the file open.
bool train_events_open(TrainEvents **out, const char *run, VcErr *err);
// One more line, as an object.
bool train_events_add(TrainEvents *events, const VcJson *line, VcErr *err);
bool train_events_close(TrainEvents **events, VcErr *err); // NULL allowed; clears

// Masked CRC-32C (Castagnoli) of n bytes, as TFRecord files have it.
uint32_t train_masked_crc32c(const void *data, size_t n);
