// SPDX-License-Identifier: MIT
// The paths that a user named as sources, as the files and folders that are listed: standard input is kept in the
// workspace, a folder of shards or lists stands for its files. Not for other folders.
#pragma once

#include "extract/stage.h"

typedef struct {
    char *path;
    bool standard_input; // `path` is the copy of it
} ExtractInput;

typedef struct {
    ExtractInput *items;
    size_t count, cap;
} ExtractInputs;

// "-" is copied to DIR/inputs/stdin, whole, before anything is listed: a stage that was killed, or that has to look at
// its source twice, cannot ask for it again. A folder without images of its own that holds .tar files, or else .tsv,
// .csv or .jsonl lists, is replaced by these in the order of their names. Anything else stays as it is.
bool extract_inputs_open(ExtractInputs *out, const VcWorkspace *ws, const ExtractOptions *options, VcErr *err);
void extract_inputs_finish(ExtractInputs *inputs); // a zeroed struct is allowed
