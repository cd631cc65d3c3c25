// SPDX-License-Identifier: MIT
// Joining workspaces that extract made apart, on other machines or as parts of one list: rows are copied, shards are
// linked, pixels are not touched.
//
// The rule: an image is known by its source and its name there, so merging again, or merging a part that has grown,
// adds what is new and nothing twice. A part is one transaction; its shards have their final names before it commits.
// Threads: one, the one that owns `ws`.
#pragma once

#include "base/workspace.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    EXTRACT_LINK_HARD, // a second name of the same file: same file system
    EXTRACT_LINK_SOFT, // a symbolic link to the part's absolute path: the part must stay where it is
    EXTRACT_LINK_COPY,
} ExtractLink;

typedef struct {
    uint64_t parts, shards;    // joined; shards: linked by this run
    uint64_t images, captions; // new rows
    uint64_t stored, rejected; // results that were not here before
    uint64_t unfinished;       // images of parts in shards that are still written: they come with a later merge
    uint64_t without_vectors;  // parts with embeddings or mined concepts, which are not taken
    uint64_t total_stored, total_rejected, total_waiting; // in `ws` afterwards
} ExtractMergeReport;

// Sources are the same when their list has the same path or the same entries (extract_progress.chain). Numbers of
// images stay when they are free; shards get the next numbers in the order of `parts`. On failure the parts before are
// joined.
bool extract_merge(VcWorkspace *ws, const char *const *parts, size_t count, ExtractLink link,
                   ExtractMergeReport *report, VcErr *err);
