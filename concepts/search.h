// SPDX-License-Identifier: MIT
// Names of a workspace: an image by its number or key, a concept by its text (query/engine.h asks questions).
//
// Threads: one workspace, one thread at a time.
#pragma once

#include "base/workspace.h"

// An image by its number, its key, or the end of its key that only one has.
bool search_find_image(VcWorkspace *ws, const char *name, int64_t *image_id, VcErr *err);
// Its stored vector: *out is [*dim], freed with free().
bool search_image_vector(VcWorkspace *ws, int64_t image_id, float **out, size_t *dim, VcErr *err);
// A concept's id by its text (lower-cased when there is none as written). An unknown one is an error that names the
// nearest known ones.
bool search_find_concept(VcWorkspace *ws, const char *text, int64_t *concept_id, VcErr *err);
