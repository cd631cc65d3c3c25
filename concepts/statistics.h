// SPDX-License-Identifier: MIT
// Statistics of mined concepts: which occur together, how well a vocabulary covers captions and images, and how two
// sets of images differ (two sources of a workspace, or two workspaces).
//
// Threads: one workspace, one thread at a time.
#pragma once

#include "base/workspace.h"

#include <stddef.h>

// --- together

typedef struct {
    char *a, *b;
    int64_t images, images_a, images_b;
    double pmi;  // log2 of images x N / (images_a x images_b), N images with concepts
    double npmi; // pmi / -log2(images / N): -1 never together, 0 independent, 1 always
} StatisticsPair;

typedef enum { STATISTICS_BY_IMAGES, STATISTICS_BY_PMI, STATISTICS_BY_NPMI } StatisticsOrder;

enum { STATISTICS_PAIR_CONCEPTS = 4096 };
// The first `limit` pairs of the STATISTICS_PAIR_CONCEPTS concepts of most images, or (concept not NULL) of that one
// with all others, that min_images images have both. Equal ones: more images, then by name.
bool statistics_pairs(VcWorkspace *ws, const char *concept, StatisticsOrder order, int64_t min_images, size_t limit,
                      StatisticsPair **out, size_t *count, VcErr *err);
// Fills table concept_pair: of each of those concepts the STATISTICS_PARTNERS others that most images have with it. One
// transaction. Mining ends with it.
enum { STATISTICS_PARTNERS = 64 };
bool statistics_pairs_store(VcWorkspace *ws, VcErr *err);
void statistics_pairs_free(StatisticsPair **pairs, size_t count);

// --- coverage

enum { STATISTICS_STEPS = 6 };
typedef struct {
    int64_t concepts, found, images;      // in the vocabulary; best of some image; images with concepts
    int64_t captions, covered_captions;   // read; with a concept of the vocabulary
    int64_t sightings, covered_sightings; // of concepts in captions; of those in the vocabulary
    int64_t matched_sightings,
        minable_sightings;                    // of covered ones: their image has it among its best; its image is mined
    int64_t step[STATISTICS_STEPS];           // the first 10, 100, ... concepts
    int64_t step_sightings[STATISTICS_STEPS]; // covered by them alone
} StatisticsCoverage;
// Parses all captions (as `vicha concepts parse` does by default).
bool statistics_coverage(VcWorkspace *ws, StatisticsCoverage *out, VcErr *err);

// --- two sets of images

typedef struct {
    int64_t images, captions, mined, rejected;
    double words;                            // of a caption, mean
    double width, height, score, best_score; // means: pixels; of all mined cosines; of each image's best
} StatisticsSet;

typedef struct {
    char *text;
    int64_t a, b;            // images that have it
    double share_a, share_b; // of the mined images
    double z;                // log odds ratio over its deviation: how surely the shares differ; > 0: more in b
} StatisticsShift;

typedef struct {
    StatisticsSet a, b;
    int64_t concepts_a, concepts_b, concepts_both; // that some image has
    int64_t same_images;                           // of a with the same bytes as one of b; -1 within a workspace
    double divergence;  // Jensen-Shannon, bits, of the distributions of mined concepts: 0 equal, 1 nothing in common
    bool same_model;    // vectors were compared
    double mean_cosine; // of the sets' mean vectors
    StatisticsShift *shifts; // by falling |z|
    size_t shift_count;
} StatisticsDiff;

// source_a, source_b: names of sources, NULL: the whole workspace. The workspaces may be the same one.
bool statistics_diff(VcWorkspace *a, const char *source_a, VcWorkspace *b, const char *source_b, StatisticsDiff *out,
                     VcErr *err);
void statistics_diff_finish(StatisticsDiff *diff); // a zeroed struct is allowed
