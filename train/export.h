// SPDX-License-Identifier: MIT
// The finished model, for others to load. Threads: one at a time.
#pragma once

#include "train/model/model.h"
#include "train/vocabulary.h"

// RUN/model/: for clip the Hugging Face CLIP layout (config.json, model.safetensors, preprocessor_config.json and the
// tokenizer's files), else model.safetensors alone with the original's names. Written beside and renamed; an earlier
// export is replaced.
bool train_export(const TrainModel *model, const Bpe *bpe, const char *run, VcErr *err);
