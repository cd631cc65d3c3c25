// SPDX-License-Identifier: MIT
// The recipes of train/recipes/, which are part of the program (and installed as files to copy from). Threads: any.
#pragma once

#include <stddef.h>

typedef struct {
    const char *name; // "vicha-small"
    const char *text; // the JSON file
} TrainBuiltin;

// All of them; *count receives how many.
const TrainBuiltin *train_builtins(size_t *count);
const TrainBuiltin *train_builtin_find(const char *name); // NULL: no such recipe
