// SPDX-License-Identifier: MIT
// Private to the training of the caption parser: scores on the captions that were left out of it.
#pragma once

#include "concepts/caption_silver.h"
#include "concepts/caption_train.h"

// Fills the scores of `report` from every holdout-th caption. `packed` is the model file.
bool caption_train_score(const Silver *silver, size_t holdout, const void *packed, size_t n, CaptionTrainReport *report,
                         VcErr *err);
