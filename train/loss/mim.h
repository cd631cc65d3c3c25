// SPDX-License-Identifier: MIT
// Masked image modelling (He et al., 2022; spec 3.8): what is predicted, and the loss. Letters: B images, N patches,
// P side of a patch, R hidden patches. Threads: as the tape.
#pragma once

#include "nn/nn.h"

// Pixels of patches rows[R] (numbers b*N + n) of images[B,3,S,S] in (row, column, channel) order, each patch
// standardised by its own mean and unbiased variance: [R,3PP] in the tape's memory.
const nn_real *train_mim_targets(NnTape *t, const nn_real *images, size_t b, size_t side, size_t patch,
                                 const int32_t *rows, size_t count);
// Mean over the patches of the mean square error. prediction[R,3PP].
NnVar *train_mim_loss(NnTape *t, NnVar *prediction, const nn_real *targets);
