// SPDX-License-Identifier: MIT
// Masked language modelling with soft labels (spec 3.6). Letters: R selected positions, V words. Threads: as the tape.
#pragma once

#include "nn/nn.h"

// Mean over the rows of (1-alpha) CE(label) + alpha CE(softmax of the teacher). logits[R,V]; labels[R] by reference;
// teacher[R,V]: logits of the teacher, overwritten with the targets; NULL or alpha 0: hard labels alone. R > 0.
NnVar *train_mlm_loss(NnTape *t, NnVar *logits, const int32_t *labels, nn_real *teacher, double alpha);
