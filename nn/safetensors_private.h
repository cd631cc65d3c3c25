// SPDX-License-Identifier: MIT
// The inside of a weight set, shared by the readers of its file formats. Internal to nn/.
#pragma once

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/safetensors.h"

typedef struct {
    char *path;
    VcMap map;
    VcJson *header; // safetensors: owns the names of its tensors
    VcArena *owned; // torch: owns the names, and the tensors that were not contiguous
} NnShard;

struct NnSafetensors {
    char *path;
    NnShard *shards;
    size_t shard_count, shard_cap;
    NnStored *tensors; // by name
    size_t count, cap;
};

// Reads one file, mapped by the reader, and appends its tensors.
typedef bool NnShardReader(NnSafetensors *st, const char *path, VcErr *err);
NnShard *nn_shard_add(NnSafetensors *st, const char *path); // valid until the next one is added
void nn_stored_add(NnSafetensors *st, NnStored tensor);
// A set from one file, or from an index (*.index.json) and its shards.
bool nn_set_open(NnSafetensors **out, const char *path, NnShardReader *read, VcErr *err);
