// SPDX-License-Identifier: MIT
// Shared by the ways of finding duplicates. Not for other folders.
#pragma once

#include "concepts/duplicates.h"

typedef struct {
    int64_t id, width, height, bytes, row; // row: of the vector, or -1
    uint64_t sha, phash;
    bool has_sha, has_phash, marked;
    DuplicateWay way;
    size_t kept; // of a marked one: place of the image it is near to, always before its own
    double distance;
} DuplicateImage;

// In the order of preference.
typedef struct {
    DuplicateImage *images;
    size_t count;
} DuplicateImages;

void duplicates_put(DuplicateImages *set, size_t kept, size_t image, DuplicateWay way, double distance);
bool duplicates_looks_alike(const DuplicateImage *a, const DuplicateImage *b); // sides in proportion to 3 %
bool duplicates_by_embedding(VcWorkspace *ws, const DuplicatesOptions *options, DuplicateImages *set,
                             int64_t *without_vector, VcErr *err);
