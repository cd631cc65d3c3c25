// SPDX-License-Identifier: MIT
// First values of a model from published weights.
//
// A source is "PATH" or "PART=PATH". PATH is a folder (Hugging Face or timm layout, a checkpoint, an export, a run), a
// .safetensors, .bin, .pt or .pth file, an index of shards, or a name in the local hub cache. PART says what it may
// fill: "visual" (the image tower), "text" (text and concept encoders), "concepts" (the concept encoder); without one,
// all that its names fit. Of several sources for one parameter the last that fits wins.
//
// Layouts are told apart by their names (train/import_names.h). A BERT fills text and fusion layers by number (the
// cross-attention of the fusion layers keeps its first values, as in ALBEF), the MLM head where it has one, and the
// concept encoder from its first layers. q, k and v of a Hugging Face ViT are joined. Position tables of another grid
// are interpolated, a distillation token is left out. Momentum copies (NAME_m.) that no source has are set to their
// students.
#pragma once

#include "base/str.h"
#include "train/model/model.h"

// Fills model->params and says in the log, part by part, what was loaded and what was not; the same in full, as one
// JSON object, is written to RUN/init.json (run may be NULL). A source that cannot be read, or of which nothing fits,
// is an error; a parameter that no source has is not.
bool train_import(TrainModel *model, const char *const *sources, size_t count, const char *run, VcErr *err);
