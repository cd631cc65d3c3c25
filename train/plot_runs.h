// SPDX-License-Identifier: MIT
// Several runs in one picture: their smoothed training losses and held-out recall over the steps. Threads: any.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

enum { TRAIN_MAX_PLOTTED = 16 };

// Reads RUN/metrics.jsonl of each (1 to TRAIN_MAX_PLOTTED) and appends the SVG to *out. `metric` NULL: "loss"; else a
// number of the training or evaluation lines, such as "loss_itm" or "t2i_r10". A run without such a number is an error.
bool train_plot_runs(VcStr *out, const char *const *runs, size_t count, const char *metric, VcErr *err);
