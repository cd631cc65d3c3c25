// SPDX-License-Identifier: MIT
// What a workspace holds, counted. Threads: one workspace, one thread at a time.
#pragma once

#include "base/workspace.h"

enum { STATS_BINS = 20, STATS_TOP = 10, STATS_CAUSES = 32 };

typedef struct {
    char *text;
    int64_t count;
} StatsItem;

typedef struct {
    int64_t id;
    char *name, *uri, *licence; // licence: "" where none is known
    int64_t images, rejected, mined;
} StatsSource;

typedef struct {
    int64_t sources, images, stored, embedded, mined, rejected, captions, concepts, pairs; // pairs: image_concept rows
    int64_t bytes;                                                                         // of the stored JPEGs
    char *model;                                                                           // active one, or NULL
    StatsItem top[STATS_TOP]; // concepts by number of images
    size_t top_count;
    StatsItem causes[STATS_CAUSES]; // rejected images by extract_cause_name, most frequent first
    size_t cause_count;
    StatsSource *by_source;       // [sources], most images first
    double score_low, score_high; // edges of the histogram of all mined cosines
    int64_t score_bins[STATS_BINS];
    int64_t per_image[STATS_BINS]; // images with 0, 1, 2 ... captions; the last bin holds that many or more
} WorkspaceStats;

bool stats_collect(VcWorkspace *ws, WorkspaceStats *out, VcErr *err);
void stats_finish(WorkspaceStats *stats); // a zeroed struct is allowed
