// SPDX-License-Identifier: MIT
// One question to a workspace: filters first, then an order, then a page of it.
//
// The rule: filters never lower recall. Every filter becomes a set of images before anything is ranked, and the ranked
// list is the whole list with the other images left out.
//
// Orders. With a vector: by cosine, falling. Else with concepts: by the score of the expression (query/expression.h),
// falling. Else with captions: by bm25, the best first, while there are at most QUERY_RANKED_CAPTIONS matching captions
// (more cost too much: then by first matching caption, and QueryPage.notice says so). Else by image_id. Equal scores
// go by rising image_id, so an order is the same in every call and on every machine.
//
// Paging. QueryPage.next names where a page ended: score and image_id of its last image, not a count, so rows that
// are added or rejected in between neither repeat nor hide an image. QueryRequest.offset jumps instead, for scroll
// bars.
//
// Images that are rejected (image.status < 0) are never part of an answer.
//
// Threads: one engine, one thread at a time; an engine a thread. Engines only read; a stage may write meanwhile: each
// call sees one state of the database and notices a new one by itself.
#pragma once

#include "base/mem.h"
#include "base/pool.h"
#include "base/workspace.h"

enum {
    QUERY_MAX_LIMIT = 1000000,    // images a page
    QUERY_RANKED_CAPTIONS = 7000, // matching captions that are still ranked by bm25
    QUERY_CACHED_SETS = 32,       // sets of images an engine keeps (rows / 8 bytes each)
    QUERY_MAX_TERMS = 256,        // concepts of all expressions together
};

typedef struct QueryEngine QueryEngine;

// Opens DIR/vicha.db read-only. `pool` is borrowed for vector search; NULL: one thread.
bool query_engine_open(QueryEngine **out, const char *dir, VcPool *pool, VcErr *err);
// Another engine over the same workspace, for another thread: they map the posting lists once.
bool query_engine_open_beside(QueryEngine **out, QueryEngine *first, VcErr *err);
void query_engine_close(QueryEngine **engine); // NULL allowed; clears
// Reads now what the first questions would wait for: .1 s for 1,000,000 images and 4 bytes a caption. Again after the
// database has changed, the next question does.
bool query_engine_warm(QueryEngine *engine, VcErr *err);
VcWorkspace *query_engine_workspace(QueryEngine *engine); // the engine's own read-only connection, borrowed

typedef struct {
    const char *const *items;
    size_t count;
} QueryTexts;

// What an image must be. An empty list asks nothing. Texts are borrowed for the call.
typedef struct {
    QueryTexts with;     // concept expressions, all must hold: dog AND (beach OR "surf board" >= 0.25) NOT people
    QueryTexts without;  // concept expressions, none may hold
    QueryTexts captions; // FTS5 expressions: each is matched by a caption of the image
    QueryTexts splits;   // names, any of them
    QueryTexts sources;  // source names, any of them
    QueryTexts tags;     // all of them
    QueryTexts not_tags; // none of them
} QueryFilter;

enum { QUERY_CAPTIONS = 1, QUERY_CONCEPTS = 2 }; // what hits carry besides their row in table image

typedef struct {
    QueryFilter filter;
    const float *vector;   // [dim] of the active model, any length; NULL: no ranking by vector
    int64_t exclude_image; // image_id left out (the one that --like names), 0: none
    double min_score;      // lowest score of the order that is still a hit; only with vector or concepts
    bool has_min_score;
    bool exact;    // vectors: float16 alone, without pre-selection
    size_t probe;  // vectors: look into so many cells of the index only (vicha index-vectors --cells); 0: everywhere.
                   // The first page of an order without filters and lowest score; all else stays exact
    size_t limit;  // images of the page, 1 to QUERY_MAX_LIMIT
    size_t offset; // images of the order that are passed over; 0 with a cursor
    const char *cursor; // QueryPage.next of the page before, NULL or "": the first page
    unsigned fields;    // QUERY_CAPTIONS | QUERY_CONCEPTS
    bool count;         // QueryPage.matched is wanted exactly, whatever it costs
} QueryRequest;

typedef struct {
    int64_t concept_id;
    const char *text;
    double score; // cosine
} QueryConcept;

typedef struct {
    int64_t image_id, row; // row -1: not embedded
    double score;          // as the order says; 0 where there is none
    int64_t width, height; // of the source's picture, 0: unknown
    const char *key, *source, *uri;
    const char *split;            // NULL: none
    const char *caption;          // the first one, NULL: none. With QUERY_CAPTIONS
    const QueryConcept *concepts; // best first. With QUERY_CONCEPTS
    size_t concept_count;
} QueryHit;

typedef enum { QUERY_BY_ID, QUERY_BY_VECTOR, QUERY_BY_CONCEPTS, QUERY_BY_BM25, QUERY_BY_CAPTION } QueryOrder;

// One part of the work, for --explain: what was done, how many rows it gave (-1: no number), how long it took.
typedef struct {
    const char *what;
    int64_t rows;
    double seconds;
} QueryPart;

typedef struct {
    QueryHit *hits;
    size_t count;
    QueryOrder order;
    int64_t matched;    // images that pass the filters (and min_score, where the order has scores)
    bool matched_exact; // false: there are at least so many
    const char *notice; // something the asker should know, or NULL
    const char *next;   // cursor of the next page, NULL: this was the last
    const QueryPart *parts;
    size_t part_count;
    double seconds;
    VcArena *memory; // everything above lives in it
} QueryPage;

// Errors: VC_ERR_USAGE where the question cannot be understood (unknown concept, split, source or tag: the nearest are
// named; FTS5 syntax; a cursor of another question), with words for people. On failure the page is empty.
bool query_run(QueryEngine *engine, const QueryRequest *request, QueryPage *page, VcErr *err);
void query_page_finish(QueryPage *page); // a zeroed struct is allowed

// All images of the filter, in the order of image_id: the selection for exports. *ids is freed with free().
bool query_select(QueryEngine *engine, const QueryFilter *filter, int64_t **ids, size_t *count, VcErr *err);
// One hit by its number, with everything; rejected images too. An unknown number is VC_ERR_USAGE.
bool query_image(QueryEngine *engine, int64_t image_id, QueryPage *page, VcErr *err);
// How often each score occurs among the images of a concept: counts[n] of n equal steps from *low to *high (cosines).
// Without images all are 0. Rejected images count, as in concept_stat.
bool query_concept_scores(QueryEngine *engine, int64_t concept_id, double *low, double *high, int64_t *counts, size_t n,
                          VcErr *err);
// Concepts that begin with `prefix`, the most frequent first: for completion. Texts live in *page->memory; hits are
// empty and `concepts` of the one hit hold them with score = number of images.
bool query_complete(QueryEngine *engine, const char *prefix, size_t limit, QueryPage *page, VcErr *err);
