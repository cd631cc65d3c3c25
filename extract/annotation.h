// SPDX-License-Identifier: MIT
// What an annotation holds besides a picture and captions: tables annotation and given_concepts, made with their
// first row. Not for other folders, which read them with SQL (docs/FORMATS.md).
//
// Threads: one, the one that lists.
#pragma once

#include "base/workspace.h"
#include "extract/source.h"

typedef struct ExtractAnnotations ExtractAnnotations;

ExtractAnnotations *extract_annotations_create(VcWorkspace *ws);    // ws is used until it is destroyed
void extract_annotations_destroy(ExtractAnnotations **annotations); // NULL allowed; clears

// Is this very annotation (shape, words and fields) known of the image? Asked only when sources are merged.
bool extract_annotations_known(ExtractAnnotations *annotations, int64_t image_id, const ExtractEntry *entry,
                               bool *known, VcErr *err);
// The entry's captions are rows first_caption and following of `caption`; second_image: 0, or that of second_key.
bool extract_annotations_add(ExtractAnnotations *annotations, int64_t first_caption, int64_t second_image,
                             const ExtractEntry *entry, VcErr *err);
// kwords of an image; those that were given last stay.
bool extract_annotations_concepts(ExtractAnnotations *annotations, int64_t image_id, const char *concepts, VcErr *err);
