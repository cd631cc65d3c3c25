// SPDX-License-Identifier: MIT
// vectors/postings.bin: for every concept the images that have it, as sorted vector rows with scores; derived from
// image_concept, so that set expressions over concepts need no b-tree (docs/FORMATS.md, "Posting lists").
//
// The rule: the file is never the truth. It carries a stamp of the mined state it was made from; a reader is given the
// stamp of now and refuses another, and its caller asks the tables instead. Threads: a reader from any thread.
#pragma once

#include "base/workspace.h"

#include <stddef.h>
#include <stdint.h>

enum { POSTINGS_ABSENT = INT16_MIN }; // in a dense list: the image of this row does not have the concept

typedef struct {
    size_t count;          // images that have the concept
    const uint32_t *rows;  // [count] rising; NULL when dense
    const int16_t *scores; // [count], or [span] when dense: cosine * 32767
    size_t span;           // dense: rows the list covers
    int16_t best;          // highest score, POSTINGS_ABSENT without images
} PostingList;

typedef struct PostingsReader PostingsReader;

// What the mined concepts are now: run, statistics of every concept. 0 when nothing is mined or mining has not ended.
bool postings_stamp(VcWorkspace *ws, uint64_t *stamp, VcErr *err);

// Maps DIR/vectors/postings.bin and checks header and directory. *out is NULL, and the result true, where there is no
// such file or it has another stamp. A damaged file is an error (VC_ERR_FORMAT).
bool postings_open(PostingsReader **out, VcWorkspace *ws, uint64_t stamp, VcErr *err);
bool postings_open_file(PostingsReader **out, const char *path, VcErr *err); // whatever its stamp is
void postings_close(PostingsReader **r);                                     // NULL allowed; clears
uint64_t postings_rows(const PostingsReader *r);                             // rows the lists may name: [0, rows)
uint64_t postings_file_stamp(const PostingsReader *r);
PostingList postings_list(const PostingsReader *r, int64_t concept_id); // unknown: an empty list
// image_id of every row when the file was made, -1 for none; [rows].
const int64_t *postings_image_ids(const PostingsReader *r);
bool postings_ids_rise(const PostingsReader *r); // with the row, apart from -1
// Reads everything against its checksum and the rules above (rows rise and are in range).
bool postings_verify(const PostingsReader *r, VcErr *err);

// Writes the file anew from the tables, whole or not at all; nothing is done when it is there with the stamp of now,
// and without a mined state it is removed. The caller holds the workspace's writer lock.
bool postings_build(VcWorkspace *ws, VcErr *err);
