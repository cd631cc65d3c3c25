// SPDX-License-Identifier: MIT
// From a row of the workspace to the columns of a record. Inside index/ only.
// Threads: a Gather belongs to one thread; gather_pack_images spreads its work over a pool.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"
#include "extract/extract.h"
#include "index/mds.h"
#include "index/tokenizer_wordpiece.h"

#include <stddef.h>
#include <stdint.h>

enum { GATHER_MAX_COLUMNS = 12 };

typedef struct {
    bool captions; // the column with all captions: some image has several
    bool zlib;     // image_z instead of image
    int64_t max_concepts;
} GatherOptions;

// Names and encodings of the columns, sorted; returns how many.
size_t gather_columns(const GatherOptions *options, const char *names[GATHER_MAX_COLUMNS],
                      const char *encodings[GATHER_MAX_COLUMNS]);

typedef struct Gather Gather;

// Loads the concept vocabulary and its tokens. `ws` and `wp` are used until gather_close.
bool gather_open(Gather **out, VcWorkspace *ws, const Wordpiece *wp, const GatherOptions *options, VcErr *err);
void gather_close(Gather **gather); // NULL allowed; clears

typedef enum { GATHER_OK, GATHER_NO_CAPTION, GATHER_NO_CONCEPTS, GATHER_UNREADABLE } GatherState;

// One record to be.
typedef struct {
    int64_t image_id, width, height;
    GatherState state;
    char reason[300]; // of UNREADABLE
    uint8_t *image;   // the stored JPEG, freed by gather_row_finish
    size_t image_bytes;
    VcStr caption, captions, caption_ids, caption_lens, concept_ids, concept_lens, concept_scores, concept_tokens;
    VcStr concepts, image_z;
    int32_t size[2];
    uint64_t tokens, cut; // caption tokens; captions over INDEX_MAX_TOKENS
} GatherRow;

// Fills `row` (zeroed or used before) for an image. False on what stops the run; a bad image is a state.
bool gather_row(Gather *g, int64_t image_id, int64_t width, int64_t height, GatherRow *row, VcErr *err);
// With zlib: decodes and packs the pixels of n rows; a JPEG that cannot be decoded becomes UNREADABLE.
void gather_pack_images(const Gather *g, VcPool *pool, GatherRow *rows, size_t n);
// The columns of a row as views into it, in the order of gather_columns.
void gather_fields(const Gather *g, const GatherRow *row, MdsField fields[GATHER_MAX_COLUMNS]);
void gather_row_finish(GatherRow *row);
