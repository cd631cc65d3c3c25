// SPDX-License-Identifier: MIT
// Finding images in a mined workspace: filters first (concepts, captions), then ranking.
//
// Threads: one workspace, one thread at a time.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"

typedef enum {
    SEARCH_CONCEPT,     // image has concept `text` among its mined ones
    SEARCH_NOT_CONCEPT, // it has not
    SEARCH_CAPTION,     // one of its captions matches the FTS5 expression `text`
} SearchTermKind;

typedef struct {
    SearchTermKind kind;
    const char *text;
} SearchTerm;

typedef struct {
    const SearchTerm *terms; // all must hold
    size_t term_count;
    const float *vector; // [dim] of the active model, any length; NULL: no vector ranking
    double min_score;    // lowest score that is still a hit
    bool has_min_score;
    int64_t exclude_image; // image_id left out (the one that --like names), or -1
    size_t limit;
    VcPool *pool;
} SearchQuery;

typedef struct {
    int64_t image_id;
    double score;                   // cosine with `vector`, else the mean cosine of the asked concepts, else 0
    char *key, *caption, *concepts; // "" when there is none; concepts: best first, comma and space between
} SearchHit;

typedef struct {
    SearchHit *hits; // best first, equal ones by image_id
    size_t count;
    int64_t matched; // images that pass the filters
    bool scored;     // scores mean something: a vector or a concept was asked for
} SearchResult;

bool search_run(VcWorkspace *ws, const SearchQuery *query, SearchResult *result, VcErr *err);
void search_result_finish(SearchResult *result); // a zeroed struct is allowed

// An image by its number, its key, or the end of its key that only one has.
bool search_find_image(VcWorkspace *ws, const char *name, int64_t *image_id, VcErr *err);
// Its stored vector: *out is [*dim], freed with free().
bool search_image_vector(VcWorkspace *ws, int64_t image_id, float **out, size_t *dim, VcErr *err);
// A concept's id by its text (lower-cased when there is none as written). An unknown one is an error that names the
// nearest known ones.
bool search_find_concept(VcWorkspace *ws, const char *text, int64_t *concept_id, VcErr *err);
