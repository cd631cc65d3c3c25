// SPDX-License-Identifier: MIT
#include "nn/tensor.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[NN_DTYPES] = {
    [NN_F32] = {"F32", 4},   [NN_F16] = {"F16", 2}, [NN_BF16] = {"BF16", 2}, [NN_F64] = {"F64", 8},
    [NN_I32] = {"I32", 4},   [NN_I64] = {"I64", 8}, [NN_U8] = {"U8", 1},     [NN_I8] = {"I8", 1},
    [NN_BOOL] = {"BOOL", 1}, [NN_I16] = {"I16", 2}, [NN_U16] = {"U16", 2},   [NN_U32] = {"U32", 4},
    [NN_U64] = {"U64", 8},
};

size_t nn_dtype_size(NnDtype dtype)
{
    VC_ASSERT(dtype >= 0 && dtype < NN_DTYPES);
    return dtypes[dtype].size;
}

const char *nn_dtype_name(NnDtype dtype)
{
    VC_ASSERT(dtype >= 0 && dtype < NN_DTYPES);
    return dtypes[dtype].name;
}

bool nn_dtype_parse(const char *name, NnDtype *out)
{
    for (int i = 0; i < NN_DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = (NnDtype)i;
            return true;
        }
    }
    return false;
}

bool nn_shape_count(const NnShape *shape, size_t *count)
{
    VC_ASSERT(shape->rank <= NN_MAX_RANK);
    size_t n = 1;
    // A zero anywhere makes the product zero, whatever overflows before it.
    for (size_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0) {
            *count = 0;
            return true;
        }
    }
    for (size_t i = 0; i < shape->rank; i++) {
        if (!vc_mul_size(n, shape->dim[i], &n))
            return false;
    }
    *count = n;
    return true;
}

bool nn_shape_bytes(const NnShape *shape, NnDtype dtype, size_t *bytes)
{
    size_t n;
    return nn_shape_count(shape, &n) && vc_mul_size(n, nn_dtype_size(dtype), bytes);
}

bool nn_shape_equal(const NnShape *a, const NnShape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]) == 0;
}

const char *nn_shape_text(const NnShape *shape, char out[NN_SHAPE_TEXT])
{
    size_t at = 1;
    out[0] = '[';
    for (size_t i = 0; i < shape->rank; i++)
        at += (size_t)snprintf(out + at, NN_SHAPE_TEXT - at, "%s%zu", i > 0 ? ", " : "", shape->dim[i]);
    VC_ASSERT(at + 2 <= NN_SHAPE_TEXT); // 8 x (20 digits + 2) + 3 fits
    out[at++] = ']';
    out[at] = 0;
    return out;
}
