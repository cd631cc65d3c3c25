// SPDX-License-Identifier: MIT
// CLIP filtering of pairs, as ViCHA does it (spec 1.6): the cosine of a caption with its image, and which captions that
// leaves. Nothing is deleted: table caption_filter holds the score and a mark for each caption, and `vicha index`
// leaves marked ones out.
//
// Threads: one workspace, one thread at a time; encoding is spread over the pool.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"

typedef struct {
    // Each rule stands on its own; a caption stays when all of them keep it. Negative: no such rule.
    double keep;      // of all captions the best int(keep x N)
    double per_image; // of the captions of every image the best int(per_image x n), at least one unless `allow_none`
    bool allow_none;  // as the original: an image with one caption and per_image .5 loses it
    double min_score; // at least this
    bool has_min_score;
    bool reset;       // unmark all; no other rule
    bool dry_run;     // score, decide, report, but mark nothing
    const char *clip; // folder of the CLIP model that made the vectors; NULL: where it was then
    VcPool *pool;
} ConceptsFilterOptions;

enum { CONCEPTS_FILTER_BINS = 24 };
typedef struct {
    int64_t captions, scored;              // with an image vector; of these scored by this call
    int64_t kept, dropped, images_without; // images that lose all their captions
    double low, high;                      // the histogram's ends
    int64_t kept_bins[CONCEPTS_FILTER_BINS], dropped_bins[CONCEPTS_FILTER_BINS];
} ConceptsFilterReport;

// Embeds captions that have no score yet (in the order of their ids, committed in steps: a killed run goes on), then
// decides. Equal scores: the earlier caption first. Without image vectors, or with another model than theirs: an error.
bool concepts_filter(VcWorkspace *ws, const ConceptsFilterOptions *options, ConceptsFilterReport *report, VcErr *err);
