// SPDX-License-Identifier: MIT
// A model as named tensors of a file: parameters, teachers, queues with their pointer, all under the original's names
// (image_queue and text_queue [E,Q], queue_ptr [1] as int64). Threads: one at a time.
#pragma once

#include "train/model/model.h"

// Everything a model holds. The list and what had to be turned round for the file lie in `arena`; the rest points into
// the model. Returns their number.
size_t train_model_tensors(const TrainModel *model, VcArena *arena, NnToStore **out);
// Reads parameters, teachers and queues, each exactly as train_model_tensors gives it.
bool train_model_read(TrainModel *model, const NnSafetensors *st, VcErr *err);
// The queues alone; a model without any reads nothing.
bool train_model_read_queues(TrainModel *model, const NnSafetensors *st, VcErr *err);
