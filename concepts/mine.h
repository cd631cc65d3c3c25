// SPDX-License-Identifier: MIT
// The k best concepts of every image by cosine, into table image_concept.
//
// Scores are fp32 products of the stored unit vectors; equal scores go to the lower concept_id. Images go in the
// order of their vectors, in batches, each a transaction, so that a killed run goes on where it stopped.
// Threads: one workspace, one thread at a time; the work is spread over the pool.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"

// The k best of scores[n]: ids and their scores in falling order, equal ones by rising id. NaN counts as the lowest.
// k <= n; ids and best hold k.
void concepts_top_k(const float *scores, size_t n, size_t k, uint32_t *ids, float *best);

typedef struct {
    size_t k;             // fewer concepts than k: all of them
    const char *settings; // JSON object for run.settings, or NULL
    VcPool *pool;
} ConceptsMineOptions;

typedef struct {
    int64_t images;       // mined by this call
    int64_t images_total; // mined now
    int64_t concepts;
    size_t k; // really used
    double seconds;
} ConceptsMineReport;

bool concepts_mine(VcWorkspace *ws, const ConceptsMineOptions *options, ConceptsMineReport *report, VcErr *err);
