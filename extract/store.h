// SPDX-License-Identifier: MIT
// The image store: WebDataset tar shards images/NNNNN.tar with KEY.jpg, KEY.txt, KEY.json, where KEY is the image's
// number in nine digits. Headers carry no time and no user, so the same images in the same order give the same bytes.
//
// The rule: bytes first, then the row. A batch is appended to NNNNN.tar.part and synced before the caller's transaction
// commits; what lies beyond the committed length after a crash is cut off. A shard gets its final name when it is
// whole. Threads: one at a time, the one that owns the workspace.
#pragma once

#include "base/str.h"
#include "base/workspace.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t shard_index, shard_count;  // this process writes the shards with number % count == index
    uint64_t shard_images, shard_bytes; // a shard is finished when it holds so many
} ExtractStoreOptions;

typedef struct {
    int64_t image_id;
    const uint8_t *jpeg;
    size_t jpeg_bytes;
    const char *text, *json; // KEY.txt and KEY.json
    size_t text_bytes, json_bytes;
} ExtractRecord;

typedef struct ExtractStore ExtractStore;

// Repairs what a killed run left: cuts the unfinished shard to its committed length, finishes a rename.
bool extract_store_open(ExtractStore **out, VcWorkspace *ws, const ExtractStoreOptions *options, VcErr *err);
// Adds to the batch and writes the row of image_file. Inside the caller's transaction.
bool extract_store_add(ExtractStore *store, const ExtractRecord *record, VcErr *err);
// With the batch the shard holds as much as it may: sync, commit and extract_store_committed come next. So where a
// shard ends does not depend on how the images were cut into batches.
bool extract_store_full(const ExtractStore *store);
// Puts the batch on the disk. Call it right before the transaction commits; on failure roll the transaction back.
bool extract_store_sync(ExtractStore *store, VcErr *err);
// After the commit: finishes the shard if it is full. Between transactions.
bool extract_store_committed(ExtractStore *store, VcErr *err);
// Forgets the batch, after a rollback.
void extract_store_rolled_back(ExtractStore *store);
// Finishes the open shard, if it holds anything, under its final name.
bool extract_store_finish(ExtractStore *store, VcErr *err);
void extract_store_close(ExtractStore **store); // NULL allowed; clears; leaves an unfinished shard for the next run

// Appends a member of such a tar: header, data, and zeros up to the next block. Two zero blocks end a tar.
void extract_tar_put(VcStr *out, int64_t image_id, const char *suffix, const void *data, size_t n);
