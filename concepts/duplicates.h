// SPDX-License-Identifier: MIT
// Near duplicates among the stored images: by bytes, by perceptual hash, by embedding; and images that are like no
// other.
//
// The rule: images are taken in the order of preference (more pixels, more bytes, lower number); each one that is not
// marked yet keeps its place and marks those later ones that are near enough to itself. So every marked image is near
// the one that is kept for it, never only near a neighbour's neighbour, and the result does not depend on threads.
// Nothing is deleted: table `duplicate` holds the marks, and marked images have the tag "duplicate", which exports and
// records leave out. Threads: one workspace, one thread at a time.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"

#include <stddef.h>

typedef enum { DUPLICATE_EXACT, DUPLICATE_PERCEPTUAL, DUPLICATE_EMBEDDING, DUPLICATE_WAYS } DuplicateWay;

typedef struct {
    bool ways[DUPLICATE_WAYS];
    int bits;          // hashes that differ in at most so many of 64 bits (and shapes by at most 3 %); 0 to 32
    double min_cosine; // of the image vectors, at least this
    VcPool *pool;
} DuplicatesOptions;

typedef struct {
    int64_t image_id, kept; // `kept` is not marked itself
    DuplicateWay way;
    double distance; // bits, or 1 - cosine; 0 for exact
} Duplicate;

typedef struct {
    Duplicate *items; // by kept, then by image_id
    size_t count;
    int64_t images, kept;                 // looked at; of these not marked
    int64_t without_hash, without_vector; // left out of that comparison
    int64_t by_way[DUPLICATE_WAYS];
} Duplicates;

// The perceptual way needs image.phash, the embedding way image vectors: without any, VC_ERR_USAGE. Comparing
// embeddings takes images^2 / 2 products; memory is a block of vectors.
bool duplicates_find(VcWorkspace *ws, const DuplicatesOptions *options, Duplicates *out, VcErr *err);
void duplicates_finish(Duplicates *duplicates); // a zeroed struct is allowed

// Takes the place of all marks before; `count` 0 removes all.
bool duplicates_mark(VcWorkspace *ws, const Duplicate *items, size_t count, VcErr *err);
bool duplicates_marked(VcWorkspace *ws, int64_t *count, VcErr *err);

// --- images like no other

typedef struct {
    int64_t image_id;
    double nearest; // mean cosine with its nearest neighbours
} Outlier;

enum { OUTLIER_NEIGHBOURS = 8, OUTLIER_SAMPLE = 20000 };
// The n images whose nearest neighbours are furthest: mean cosine with OUTLIER_NEIGHBOURS of at most OUTLIER_SAMPLE
// images (all, or a sample that depends on the number of images alone). *out is freed with free(); *count <= n.
bool duplicates_outliers(VcWorkspace *ws, VcPool *pool, size_t n, Outlier **out, size_t *count, VcErr *err);
