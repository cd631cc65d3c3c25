// SPDX-License-Identifier: MIT
// The part of Python's pickle format that a PyTorch weight file needs, as a machine that runs no code. Internal to nn/.
//
// A pickle is a program that may name any function of Python and call it. This machine knows a fixed list of names
// (storages, element types, OrderedDict, the three functions that rebuild a tensor) and knows what they mean itself;
// any other name ends the reading with an error that says it. Protocols 2 to 5. Values: None, bool, int, float, str,
// tuple, list, dict, storages and tensors. Values lie in one array and refer to each other by index.
//
// Memory: at most NN_PICKLE_MAX_VALUES values and as many references, whatever the program says. Threads: any.
#pragma once

#include "nn/tensor.h"

enum {
    NN_PICKLE_MAX_BYTES = 64 << 20,
    NN_PICKLE_MAX_VALUES = 4 << 20,
};

typedef enum {
    NN_PICKLE_NONE,
    NN_PICKLE_BOOL,
    NN_PICKLE_INT,
    NN_PICKLE_REAL,
    NN_PICKLE_TEXT,
    NN_PICKLE_TUPLE,
    NN_PICKLE_LIST,
    NN_PICKLE_DICT,    // items: key, value, key, value
    NN_PICKLE_STORAGE, // items: its key in the archive (text)
    NN_PICKLE_TENSOR,  // items: storage, offset (int), sizes (tuple), strides (tuple)
    NN_PICKLE_NAME,    // one of the list above, as `name`
} NnPickleKind;

typedef struct {
    uint8_t kind;        // NnPickleKind
    uint8_t name;        // NN_PICKLE_NAME: index in the machine's table
    uint8_t dtype;       // NnDtype of a storage (untyped: U8), a tensor, or a name of one
    uint32_t count, cap; // of items, or bytes of text
    union {
        int64_t integer;  // INT, BOOL; elements of a STORAGE are in `integer` of its second item
        double real;      // REAL
        const char *text; // TEXT: `count` bytes of UTF-8 in the pickle, not terminated
        uint32_t *items;  // owned
    };
} NnPickleValue;

typedef struct {
    NnPickleValue *values;
    size_t count, cap;
    uint32_t root;
} NnPickle;

// Runs the n bytes at `data`, which must outlive *out; `path` names the file in errors. On failure nothing is left.
bool nn_pickle_read(NnPickle *out, const uint8_t *data, size_t n, const char *path, VcErr *err);
void nn_pickle_finish(NnPickle *pickle);

// The value of a text key, or NULL; `dict` must be a DICT.
const NnPickleValue *nn_pickle_member(const NnPickle *pickle, const NnPickleValue *dict, const char *key);
