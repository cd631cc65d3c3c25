// SPDX-License-Identifier: MIT
// Weight files: https://huggingface.co/docs/safetensors (8 bytes little-endian header length, JSON header, data).
//
// The reader maps files and believes nothing: header length, every offset, dtype x shape products, duplicate names,
// overlaps and gaps are checked at open, so that a view handed out later always lies in the file. Tensors may lie at
// any address (the format does not align): use the loaders, or a view when it says it is aligned.
// A sharded checkpoint (model.safetensors.index.json with a weight_map) reads like one file.
// A file that is cut short by another program WHILE it is mapped raises SIGBUS, as with any map.
//
// Threads: an opened set is read-only and may be used by any number.
#pragma once

#include "nn/tensor.h"

enum { NN_SAFETENSORS_MAX_HEADER = 100000000 }; // bytes, the limit of the reference implementation

typedef struct NnSafetensors NnSafetensors;

// One tensor as stored. Everything is borrowed from the set.
typedef struct {
    const char *name;
    const char *file; // the shard it lies in, for messages
    NnDtype dtype;
    NnShape shape;
    size_t count;        // elements
    size_t bytes;        // count x size of dtype
    const uint8_t *data; // any alignment; not NULL, also when bytes is 0
} NnStored;

// `path` is a .safetensors file, or an index (*.index.json) whose shards lie beside it.
bool nn_safetensors_open(NnSafetensors **out, const char *path, VcErr *err);
// DIR/STEM.safetensors, or DIR/STEM.safetensors.index.json with its shards ("model", "open_clip_model").
bool nn_safetensors_open_dir(NnSafetensors **out, const char *dir, const char *stem, VcErr *err);
void nn_safetensors_close(NnSafetensors **set); // NULL allowed; clears
// Gives the memory of the maps back; what is read again comes from the files. NULL allowed.
void nn_safetensors_drop(const NnSafetensors *st);

const char *nn_safetensors_path(const NnSafetensors *st); // what was opened
size_t nn_safetensors_count(const NnSafetensors *st);
const NnStored *nn_safetensors_at(const NnSafetensors *st, size_t index);       // in order of name (strcmp)
const NnStored *nn_safetensors_find(const NnSafetensors *st, const char *name); // NULL when absent
const char *nn_safetensors_metadata(const NnSafetensors *st, const char *key);  // of __metadata__; NULL when absent

// The loaders convert and copy. A missing tensor, another shape or a dtype that cannot become the wanted one is a
// VC_ERR_FORMAT that names file, tensor, what was expected and what was found. `out` holds as many elements as
// `shape` says and is untouched on failure.
// f32/f64: from F32, F16, BF16, F64 (f64 -> f32 rounds to nearest even).
bool nn_safetensors_load_f32(const NnSafetensors *st, const char *name, NnShape shape, float *out, VcErr *err);
bool nn_safetensors_load_f64(const NnSafetensors *st, const char *name, NnShape shape, double *out, VcErr *err);
// i64/i32: from any integer type or BOOL; a value that does not fit is an error.
bool nn_safetensors_load_i64(const NnSafetensors *st, const char *name, NnShape shape, int64_t *out, VcErr *err);
bool nn_safetensors_load_i32(const NnSafetensors *st, const char *name, NnShape shape, int32_t *out, VcErr *err);
// The stored bytes; dtype and shape must be exactly these (checkpoints, which must resume to the same bits).
bool nn_safetensors_load_raw(const NnSafetensors *st, const char *name, NnDtype dtype, NnShape shape, void *out,
                             VcErr *err);
// Without a copy: *view points into the map where the tensor is F32 and lies at a multiple of 4, else it is NULL and
// the caller loads instead. Missing or of another shape: an error as above.
bool nn_safetensors_view_f32(const NnSafetensors *st, const char *name, NnShape shape, const float **view, VcErr *err);

#ifdef NN_DOUBLE
#define nn_safetensors_load_real nn_safetensors_load_f64
#else
#define nn_safetensors_load_real nn_safetensors_load_f32
#endif

typedef struct {
    const char *name;
    NnDtype dtype;
    NnShape shape;
    const void *data; // NULL allowed for no elements
} NnToStore;

typedef struct {
    const char *key, *value;
} NnMetadata;

typedef enum {
    NN_STORE_SORTED, // by element size downwards, then name, as the reference does: every tensor is aligned
    NN_STORE_GIVEN,  // as listed
} NnStoreOrder;

// Writes the file whole or not at all. Names are not empty, unique, UTF-8 and not "__metadata__" (VC_ASSERT for the
// last; the others are errors). The same input gives the same bytes. metadata may be NULL with count 0.
bool nn_safetensors_write(const char *path, const NnToStore *tensors, size_t count, const NnMetadata *metadata,
                          size_t metadata_count, NnStoreOrder order, VcErr *err);
