// SPDX-License-Identifier: MIT
// Element types, shapes and views. A tensor here is a description of memory that somebody else owns.
//
// Row-major, no strides: the last dimension is next to each other in memory. Threads: any.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { NN_MAX_RANK = 8 };

typedef enum {
    NN_F32, // the order is no file format: safetensors stores the names
    NN_F16,
    NN_BF16,
    NN_F64,
    NN_I32,
    NN_I64,
    NN_U8,
    NN_I8,
    NN_BOOL, // one byte, 0 or 1
    NN_I16,
    NN_U16,
    NN_U32,
    NN_U64,
    NN_DTYPES
} NnDtype;

// Rank 0 is a scalar: one element. A dimension may be 0: no elements.
typedef struct {
    size_t rank;
    size_t dim[NN_MAX_RANK];
} NnShape;

// NN_SHAPE(out, in): a value, usable as an argument. More than NN_MAX_RANK dimensions do not compile.
#define NN_SHAPE(...) ((NnShape){.rank = sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), .dim = {__VA_ARGS__}})
#define NN_SCALAR     ((NnShape){.rank = 0})

typedef struct {
    NnDtype dtype;
    NnShape shape;
    void *data; // not owned
} NnTensor;

size_t nn_dtype_size(NnDtype dtype);      // bytes of an element
const char *nn_dtype_name(NnDtype dtype); // as safetensors spells it: "F32", "BF16", "BOOL"
bool nn_dtype_parse(const char *name, NnDtype *out);

// Elements, and elements x size of one; false when the product does not fit in size_t.
bool nn_shape_count(const NnShape *shape, size_t *count);
bool nn_shape_bytes(const NnShape *shape, NnDtype dtype, size_t *bytes);
bool nn_shape_equal(const NnShape *a, const NnShape *b);
// "[768, 3, 16, 16]", "[]" for a scalar; returns `out`. Always terminated; cut when it does not fit.
enum { NN_SHAPE_TEXT = 192 }; // enough for any shape
const char *nn_shape_text(const NnShape *shape, char out[NN_SHAPE_TEXT]);
