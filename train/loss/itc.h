// SPDX-License-Identifier: MIT
// Image-text contrastive loss inside a batch (InfoNCE in both directions), hard targets.
//
// Equal captions: two images with the same words are not negatives of each other, and the model cannot tell their texts
// apart. With `share` the target of a row is spread evenly over all pairs with its caption (one-hot where captions
// differ); without, it is one-hot as in CLIP. Momentum teachers and queues (spec of ViCHA, 3.3) extend `logits` by
// columns: that is the reason why targets are made here and not in the models. Threads: as the tape.
#pragma once

#include "nn/nn.h"

// logits[B,B]: image i against text j, already scaled. group[B]: first row with the same caption. Returns the scalar
// (CE(rows) + CE(columns)) / 2, means over the batch.
NnVar *train_itc_loss(NnTape *t, NnVar *logits, const int32_t *group, bool share);
