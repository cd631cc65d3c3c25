// SPDX-License-Identifier: MIT
// PyTorch checkpoints (.bin, .pt, .pth as torch.save writes them since 1.6: a zip archive), and weight files of either
// format behind one view.
//
// The pickle inside runs no code: what is no tensor, number, text or plain container is refused by its name
// (nn/pickle.h). Tensors are views into the file's map; those whose strides are not row-major (a transpose, a slice of
// columns) are copied, all together at most as many bytes as the file has. Old checkpoints (a bare pickle), TorchScript
// archives, compressed archives and big-endian ones are refused with what to do.
//
// Names: the file's dict is followed through "state_dict", "model", "model_state_dict" or "module" where the outer dict
// holds no tensor itself; other nesting is joined with dots; a "module." that all names begin with
// (DataParallel) is dropped. What is no tensor (an epoch, a learning rate) is passed over.
// Threads, errors: as nn/safetensors.h.
#pragma once

#include "nn/safetensors.h"

// `path` is a checkpoint, or an index (pytorch_model.bin.index.json) whose shards lie beside it.
bool nn_torch_open(NnSafetensors **out, const char *path, VcErr *err);

// A weight file of either format, told apart by its first bytes (an index: by its name).
bool nn_weights_open(NnSafetensors **out, const char *path, VcErr *err);
// DIR/STEM.safetensors, DIR/STEM.safetensors.index.json, else DIR/TORCH_STEM.bin or DIR/TORCH_STEM.bin.index.json
// ("model", "pytorch_model"; "open_clip_model", "open_clip_pytorch_model").
bool nn_weights_open_dir(NnSafetensors **out, const char *dir, const char *stem, const char *torch_stem, VcErr *err);
// The path that nn_weights_open_dir opens, or NULL; freed with free().
char *nn_weights_find(const char *dir, const char *stem, const char *torch_stem);
