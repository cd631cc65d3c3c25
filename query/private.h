// SPDX-License-Identifier: MIT
// Private to query/: the engine's state, shared by its files. Threads: one engine, one thread at a time.
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "concepts/concepts.h"
#include "query/engine.h"
#include "query/evaluate.h"
#include "query/expression.h"
#include "query/select.h"

// A set of images as a bit for each vector row.
typedef struct {
    uint64_t *words; // [(rows + 63) / 64]
    size_t rows, count;
} RowSet;

typedef struct {
    char *key; // what the set is of, NULL: free
    RowSet set;
    uint64_t used; // tick of the last use
} CachedSet;

// A concept's list read from the tables, where there is no file of posting lists.
typedef struct {
    int64_t concept_id;
    PostingList list;
    uint32_t *rows;
    int16_t *scores;
} TableList;

// image_id of every caption, by caption_id; images NULL: not there.
typedef struct {
    uint32_t *images;
    size_t count;
    bool tried;
} CaptionMap;

typedef struct {
    int64_t caption, image;
} CaptionHit;
typedef struct {
    char *words; // NULL: empty
    CaptionHit *hits;
    size_t count;
} CaptionList;

enum { // statements kept prepared
    ST_VERSION,
    ST_IMAGE,
    ST_CAPTION,
    ST_CONCEPTS,
    ST_IMAGE_SCORES,
    ST_SOURCE,
    ST_FIND_CONCEPT,
    ST_CAPTION_IMAGE,
    ST_TAGGED,
    ST_COUNT
};

// What is known of the database as it is; thrown away when it changes.
typedef struct {
    bool known;
    bool ic_concept, ic_top, captions_indexed, rejected_index; // indexes that are there
    uint64_t stamp;
    PostingsReader *postings; // NULL: not there, or of another state
    // Rows and images.
    bool mapped;
    size_t rows;         // vector rows that an image names: [0, rows)
    const int64_t *ids;  // [rows] image_id, -1: none
    int64_t *own_ids;    // behind `ids` when it is not the file's
    int64_t *sorted_ids; // images with a row, rising; NULL: ids rise without a gap
    uint32_t *sorted_rows;
    size_t image_count;
    int64_t *rowless; // images that are not rejected and have no row, rising; read only where they are few
    size_t rowless_count;
    bool rowless_known, rowless_few;
    CaptionMap captions;
    CaptionList last_captions;
    RowSet dead; // rows without an image, or with a rejected one
    // Vectors.
    VectorsReader *vectors;
    Nearest *nearest;       // over `vectors`; with its cells once somebody asked for them
    float *scores, *scored; // [scored_rows] of all rows with the vector `scored`, NULL: none
    uint64_t scored_rows;
    ConceptsModel model;
    TableList *lists;
    size_t list_count, list_cap;
} EngineState;

typedef struct QueryShare QueryShare;

struct QueryEngine {
    VcWorkspace ws;
    QueryShare *share; // with the engines that were opened beside it
    VcPool *pool;
    int64_t version; // PRAGMA data_version that `state` belongs to
    EngineState state;
    CachedSet sets[QUERY_CACHED_SETS];
    uint64_t tick;
    VcStmt *statements[ST_COUNT];
};

// One call of query_run.
typedef struct {
    QueryEngine *engine;
    const QueryRequest *request;
    QueryPage *page;
    VcArena *memory; // the page's
    VcErr *err;
    QueryNode *root; // all concept expressions, NULL: none
    bool scored;     // root has scores
    QueryOrder order;
    bool has_after;
    Ranked after;         // from the cursor
    uint64_t hash;        // of the question
    int64_t *source_ids;  // of filter.sources
    size_t captions_done; // so many of filter.captions are looked at elsewhere
    QueryPart *parts;
    size_t part_cap;
} Question;

// engine.c
VcStmt *query_statement(QueryEngine *engine, int which, VcErr *err); // reset, NULL on failure
bool query_need_rows(QueryEngine *engine, VcErr *err);               // state.rows, ids, dead
bool query_need_rowless(QueryEngine *engine, VcErr *err);            // state.rowless
bool query_need_vectors(QueryEngine *engine, VcErr *err);
int64_t query_find_row(const QueryEngine *engine, int64_t image_id); // -1: it has none
void query_mark_dead(QueryEngine *engine, size_t row);
PostingList query_term_list(void *engine, const QueryNode *term);
// Loads what query_term_list will be asked for.
bool query_need_lists(QueryEngine *engine, const QueryNode *root, VcErr *err);
void query_part(Question *q, double start, int64_t rows, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
const char *query_keep(VcArena *memory, const char *text); // a copy in the arena; NULL stays

// share.c. Threads: any.
QueryShare *query_share_create(void);
QueryShare *query_share_join(QueryShare *share);
void query_share_leave(QueryShare **share); // clears; everything was given back
// As postings_open; *out goes back to query_share_give_back.
bool query_share_postings(QueryShare *share, VcWorkspace *ws, uint64_t stamp, PostingsReader **out, VcErr *err);
void query_share_give_back(QueryShare *share, PostingsReader **reader); // clears; NULL inside allowed

// sets.c
RowSet query_set_create(size_t rows);
void query_set_finish(RowSet *set);
// The images that pass captions, splits, sources, tags and are not dead. *all: there is no such condition, `out` is
// empty. Otherwise *out is the caller's.
bool query_allowed(Question *q, RowSet *out, bool *all);
void query_forget_sets(QueryEngine *engine);
// Words for an FTS5 error; the error is in q->err already.
bool query_explain_caption(VcErr *err, const char *words);
bool query_need_captions(QueryEngine *engine, VcErr *err); // captions are indexed, else VC_ERR_USAGE

// Also the concepts of q->root and the image left out.
bool query_allowed_with_concepts(Question *q, RowSet *out, bool *all);

// captions.c
void query_captions_finish(EngineState *state);
int64_t query_caption_image(const CaptionMap *map, int64_t caption_id); // -1: there is no such caption
bool query_count_captions(QueryEngine *engine, const char *words, int64_t most, int64_t *count, VcErr *err);
bool query_warm_captions(QueryEngine *engine, VcErr *err); // reads the map where it may pay
// *out is NULL where so few match that it does not pay, or there are too many captions.
bool query_caption_map(QueryEngine *engine, const char *words, const CaptionMap **out, VcErr *err);
// Of the first of filter.captions. Borrowed until the next call.
bool query_caption_list(Question *q, const CaptionList **out);

// sieve.c: does an image pass the filters?
typedef struct {
    Question *q;
    VcStmt *caption;      // does a caption of image ?1 match ?2
    bool splits, sources; // are to be looked up
    size_t first_caption; // captions[first_caption ...] are to be looked up
    size_t tested;
    bool sets, all; // rows are tested by sets; all of them pass
    RowSet allowed;
} QuerySieve;
bool query_sieve_begin(QuerySieve *sieve, Question *q);
bool query_sieve_make_sets(QuerySieve *sieve); // at once; else they are made after some hundreds of images
bool query_sieve_holds(const QuerySieve *sieve, int64_t row); // with sets
bool query_sieve_pass(QuerySieve *sieve, int64_t image_id, bool *pass);
void query_sieve_finish(QuerySieve *sieve);

// names.c
bool query_compile(Question *q);      // root and scored, ids looked up
bool query_find_sources(Question *q); // source_ids
bool query_check_names(Question *q);  // splits and tags exist

// A page that is being filled in order.
typedef struct {
    Question *q;
    size_t skip; // still to be passed over
    bool full;   // one more than the page was seen
    Ranked last;
} QueryOutput;
QueryOutput query_output_begin(Question *q);
// The next image of the order, which passes all filters. *more: the page has room, or the count goes on.
bool query_output_put(QueryOutput *out, const Ranked *r, bool *more);
// Statements over caption_fts with the first of filter.captions as ?1; an error explains the words.
bool query_words_prepare(Question *q, const char *sql, VcStmt **stmt);
bool query_words_step(Question *q, VcStmt *stmt, bool *row);

// order_rows.c: pages in the order of a score over vector rows; order_ids.c: of image_id; order_captions.c.
bool query_page_by_vector(Question *q);
bool query_page_by_concepts(Question *q);
bool query_page_by_id(Question *q);
bool query_page_by_captions(Question *q);
// All images that pass, rising; *ids is the caller's, also on failure.
bool query_select_rows(Question *q, int64_t **ids, size_t *count); // scored expressions
bool query_select_ids(Question *q, int64_t **ids, size_t *count);  // the rest

// vector.c: the best `best->limit` of the allowed rows (NULL: all) by cosine with the request's vector [dim]; *matched:
// rows that may be hits and have at least the lowest score. With `probe` and a first page: of so many cells.
// histogram [QUERY_VECTOR_BINS]: the rows of each score are counted instead; bin b begins at the cosine
// b / (QUERY_VECTOR_BINS / 2) - 1.
enum { QUERY_VECTOR_BINS = 1 << 16 };
bool query_scan_vectors(Question *q, const RowSet *allowed, size_t probe, Selection *best, uint32_t *histogram,
                        int64_t *matched);
double query_least_score(const QueryRequest *r); // -INFINITY: any

// hits.c: *gone: the image is rejected or not there any more; *hit is untouched then.
bool query_fill_hit(Question *q, const Ranked *r, QueryHit *hit, bool *gone);

// cursor.c
const char *query_cursor_write(VcArena *memory, QueryOrder order, const Ranked *last, uint64_t hash);
bool query_cursor_read(const char *cursor, QueryOrder order, uint64_t hash, Ranked *after, VcErr *err);
uint64_t query_hash(const QueryRequest *request, QueryOrder order, size_t dim);
