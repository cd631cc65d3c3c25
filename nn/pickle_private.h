// SPDX-License-Identifier: MIT
// The inside of the pickle machine, shared by pickle.c (stack, program) and pickle_calls.c (names and calls).
#pragma once

#include "nn/pickle.h"

typedef struct {
    NnPickle *out;
    const uint8_t *data, *at, *end;
    const char *path;
    uint32_t *stack, *marks, *memo; // indexes of values; heights of the stack; UINT32_MAX where a memo is not set
    size_t depth, stack_cap, mark_count, mark_cap, memo_count, memo_cap;
    size_t references; // items of all containers
    VcErr *err;
} NnPickleMachine;

// Errors, always false: the program is malformed; it asks for something by this name; it makes too much.
bool nn_pickle_broken(NnPickleMachine *m, const char *what);
bool nn_pickle_refuse(NnPickleMachine *m, const char *name);
bool nn_pickle_too_large(NnPickleMachine *m);

bool nn_pickle_push(NnPickleMachine *m, uint32_t value);
bool nn_pickle_push_new(NnPickleMachine *m, NnPickleValue value);
// The same for a value that owns its items: they are freed on failure.
bool nn_pickle_push_items(NnPickleMachine *m, NnPickleValue value, const uint32_t *items, size_t n);
bool nn_pickle_pop(NnPickleMachine *m, uint32_t *index);
bool nn_pickle_take_line(NnPickleMachine *m, const char **line, size_t *n); // of the old text operations

bool nn_pickle_push_name(NnPickleMachine *m, const char *module, size_t module_n, const char *name, size_t name_n);
bool nn_pickle_global(NnPickleMachine *m);
bool nn_pickle_stack_global(NnPickleMachine *m);
bool nn_pickle_reduce(NnPickleMachine *m);
bool nn_pickle_persistent(NnPickleMachine *m);
