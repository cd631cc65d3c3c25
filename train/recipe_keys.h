// SPDX-License-Identifier: MIT
// The table of recipe keys and what must fit together: for recipe*.c only. Threads: any; read-only.
#pragma once

#include "train/recipe.h"

typedef enum { KEY_INT, KEY_REAL, KEY_BOOL, KEY_STRING, KEY_CHOICE, KEY_PATHS, KEY_REALS } RecipeKeyType;

// A row of the key table. `initial` is the default as JSON text, so that defaults pass through the same checks.
typedef struct {
    const char *path; // "section.key" or "key"; rows of one section stand together
    RecipeKeyType type;
    size_t offset;
    const char *initial;
    double min, max;
    const char *choices; // KEY_CHOICE: names separated by '|', in the order of the enum
    bool habit;          // does not change the numbers of a run: left out of the fingerprint
    const char *help;
} RecipeKey;

// A default that an objective has in place of the table's.
typedef struct {
    int64_t objective; // TrainObjective
    const char *path, *initial;
} RecipeDefault;

extern const RecipeDefault recipe_own_defaults[];
extern const size_t recipe_own_default_count;
extern const RecipeKey recipe_keys[];
extern const size_t recipe_key_count;

// After all values are set: fills in what 0 leaves open, and refuses what does not fit together.
bool recipe_check(TrainRecipe *recipe, VcErr *err);
