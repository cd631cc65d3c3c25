// SPDX-License-Identifier: MIT
// Captions to JSON lines of what is in them, on many threads: shared by vicha parse and vicha bench parse.
//
// Threads: the main thread only; the work is spread over the pool.
#pragma once

#include "base/pool.h"
#include "base/str.h"
#include "concepts/concepts.h"

typedef struct {
    bool pronouns, attributes, relations;
    const char *parser; // a model's file; NULL: the one in the program
} ParseChoice;

typedef struct ParseLines ParseLines;
ParseLines *cli_parse_lines_create(const ParseChoice *choice, VcPool *pool, VcErr *err); // NULL: the model is unusable
void cli_parse_lines_destroy(ParseLines **lines);                                        // NULL allowed; clears

// Adds a caption (copied). True when there are enough for cli_parse_lines_run.
bool cli_parse_lines_add(ParseLines *lines, const char *caption, size_t n);
// Parses what was added and forgets it. Answers stand in *out [*count] in the order of the captions, each several
// lines; borrowed until the next call.
void cli_parse_lines_run(ParseLines *lines, const VcStr **out, size_t *count);
