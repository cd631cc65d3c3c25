// SPDX-License-Identifier: MIT
// Listing: a source's entries become rows of source, image, caption and split. Not for other folders.
//
// The rule: a batch of rows and the position they reach are one transaction, and a position is only trusted when the
// entries before it are still the same (a chained hash). A source that only grew goes on where it ended; one that
// changed in its middle is merged: images by name, captions by their words.
#pragma once

#include "extract/inputs.h"
#include "extract/source.h"
#include "extract/stage.h"

typedef struct {
    int64_t source_id;
    bool tar, packed; // packed: `root` is compressed and has to be unpacked before its members can be read
    bool unpacked;    // `root` is the unpacked copy
    char *root;       // for relative keys; the tar itself for a tar. Freed with free()
} ExtractListed;

// Makes the tables that came after the first schema. Once, before the first source.
bool extract_list_prepare(VcWorkspace *ws, VcErr *err);
// The full-text index follows the captions; a meta row makes a rebuild that a kill prevented happen later.
bool extract_index_captions(VcWorkspace *ws, VcErr *err);
// Lists one source into `ws`; `before`: images of the run's earlier sources, for options->limit. *images: rows it has.
bool extract_list(VcWorkspace *ws, const ExtractInput *input, const ExtractOptions *options, uint64_t before,
                  ExtractListed *out, uint64_t *images, ExtractReport *report, VcErr *err);
