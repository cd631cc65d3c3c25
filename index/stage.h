// SPDX-License-Identifier: MIT
// The index stage: a mined workspace -> DIR/records, packed for training.
//
// Images go in the order of their ids. Only mined images (image.status 2) are taken, or with max_concepts 0 all that
// are stored; what cannot be is counted by cause and the stage ends with skipped > 0. With a `split` table every split
// has its own set in records/NAME; images in no split then belong to "train". Run twice: nothing to do. New images: new
// shards after the last. Changed settings: an error that names them (or start over with `rebuild`).
//
// Threads: one at a time.
#pragma once

#include "base/err.h"
#include "base/pool.h"
#include "base/workspace.h"

#include <stddef.h>
#include <stdint.h>

enum { INDEX_MAX_TOKENS = 512 }; // per caption, [CLS] included; per concept. Trainers cut further (25 and 55 in ViCHA).

typedef struct {
    const char *vocabulary; // vocab.txt
    uint64_t shard_size;    // bytes
    bool zlib;              // pixels in zlib streams (`image_z`) instead of the stored JPEG
    int64_t max_concepts;   // 0: images and captions alone, which need not be mined (to train a first CLIP on)
    const char *split;      // only this split; NULL: all
    bool rebuild;           // remove the sets first
    VcPool *pool;           // NULL: this thread
} IndexStageOptions;

typedef struct {
    uint64_t sets, records, shards, bytes;                   // in all sets of this run, now
    uint64_t added, tokens;                                  // by this run; tokens of captions
    uint64_t not_mined, no_caption, no_concepts, unreadable; // images left out, by cause
    uint64_t cut;                                            // captions over INDEX_MAX_TOKENS
} IndexStageReport;

// Finished shards are kept on failure, and the next run goes on after them.
bool index_stage_run(VcWorkspace *ws, const IndexStageOptions *options, IndexStageReport *report, VcErr *err);
// Folders with an index.json: `dir` itself, or its sub-directories. Freed with free() each, then the list.
bool index_find_sets(const char *dir, char ***out, size_t *count, VcErr *err);
