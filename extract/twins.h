// SPDX-License-Identifier: MIT
// Measures in the database, and the look-up of an image that is there already: by its bytes, its pixels or its looks.
// Everything is in tables and indexes: memory does not grow with the set, and earlier runs count. Not for other
// folders.
//
// Looks: two hashes within 7 bits agree in at least one of four 16-bit parts but for one bit, so 4 x 17 look-ups in
// image_near find every candidate; hash, colours and proportions then decide (extract_looks_same). The hash of a
// picture without structure says nothing: such pictures are found by their first colour.
//
// Threads: one, the one that owns the workspace; inside its transaction.
#pragma once

#include "base/workspace.h"
#include "extract/job.h"

typedef struct ExtractTwins ExtractTwins;

// Makes the tables, and for `dedup` the index it needs, also over what earlier runs left without it.
bool extract_twins_open(ExtractTwins **out, VcWorkspace *ws, ExtractDedup dedup, VcErr *err);
// Is a stored image with another number the same? Then *twin is its number, and job's cause and words are set; else
// *twin is 0. Always 0 with dedup off.
bool extract_twins_find(ExtractTwins *twins, ExtractJob *job, int64_t *twin, VcErr *err);
// The measures of a stored image.
bool extract_twins_add(ExtractTwins *twins, const ExtractJob *job, VcErr *err);
void extract_twins_close(ExtractTwins **twins); // NULL allowed; clears
