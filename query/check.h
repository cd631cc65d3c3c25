// SPDX-License-Identifier: MIT
// Is a workspace whole? What `vicha doctor -w` asks. Nothing is changed.
//
// Threads: one call, one thread.
#pragma once

#include "base/err.h"

typedef enum {
    QUERY_WHOLE,  // as it should be
    QUERY_MENDED, // it works, and something derived is missing or a stage has not ended
    QUERY_BROKEN,
} QueryState;

// One line of the report: a check's name, what was found, and what to do (NULL: nothing).
typedef void (*QueryCheckFn)(void *ctx, QueryState state, const char *check, const char *text, const char *mend);

// Reads the whole database, every vector file and the place of every stored picture. False only where the workspace
// cannot be opened.
bool query_check(const char *dir, QueryCheckFn say, void *ctx, VcErr *err);
