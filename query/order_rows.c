// SPDX-License-Identifier: MIT
// Pages in the order of a score over vector rows: by cosine with a vector, or by concepts.
#include "query/private.h"

#include <math.h>

enum { DEEP = 2000 }; // an offset from which the place is found by counting

// Turns the best of a selection into hits. *again: images were gone, and the page has to be made anew without them.
static bool fill_page(Question *q, Selection *best, size_t skip, bool *again)
{
    QueryPage *page = q->page;
    size_t limit = q->request->limit, room = best->count < limit ? best->count : limit;
    double start = vc_now();
    page->count = 0;
    page->hits = vc_arena_zalloc(q->memory, room + 1, sizeof *page->hits);
    *again = false;
    const Ranked *last = NULL;
    for (size_t i = 0; i < best->count; i++) {
        bool gone = false;
        // Images that are passed over are looked at too, so that those that are gone do not count.
        if (i >= skip && page->count == limit) {
            page->next = last ? query_cursor_write(q->memory, q->order, last, q->hash) : NULL;
            break;
        }
        if (i < skip)
            continue;
        if (!query_fill_hit(q, &best->items[i], &page->hits[page->count], &gone))
            return false;
        if (gone) {
            query_mark_dead(q->engine, (size_t)best->items[i].row);
            *again = true;
            continue;
        }
        last = &best->items[i];
        page->count++;
    }
    query_part(q, start, (int64_t)page->count, "images, captions and concepts of the page");
    return true;
}

double query_least_score(const QueryRequest *r)
{
    return r->has_min_score ? r->min_score : -INFINITY;
}

static Evaluation evaluation(Question *q, const RowSet *allowed)
{
    const EngineState *s = &q->engine->state;
    return (Evaluation){.root = q->root,
                        .list = query_term_list,
                        .ctx = q->engine,
                        .rows = s->rows,
                        .allowed = allowed ? allowed->words : NULL,
                        .allowed_count = allowed ? allowed->count : 0,
                        .ids = s->ids,
                        .whole = true, // rows without an image are dead, and not allowed
                        .least = -INFINITY};
}

static void drop_row(RowSet *set, int64_t row)
{
    if (row >= 0 && (size_t)row < set->rows && (set->words[row / 64] >> (row % 64) & 1)) {
        set->words[row / 64] &= ~(UINT64_C(1) << (row % 64));
        set->count--;
    }
}

static RowSet everything(const EngineState *s)
{
    RowSet set = query_set_create(s->rows);
    for (size_t i = 0; i < s->rows; i++)
        set.words[i / 64] |= UINT64_C(1) << (i % 64);
    set.count = s->rows;
    return set;
}

// --- by concepts -----------------------------------------------------------------------------------------------------

// One concept and nothing else: the index ic_top holds its images in the order that is wanted.
static bool is_top_query(const Question *q)
{
    const QueryFilter *f = &q->request->filter;
    const EngineState *s = &q->engine->state;
    return q->root->kind == QUERY_TERM && s->ic_top && q->request->offset == 0 && q->request->exclude_image <= 0 &&
           q->request->limit <= 10000 &&
           f->captions.count + f->splits.count + f->sources.count + f->tags.count + f->not_tags.count == 0;
}

static int least_stored(const Question *q)
{
    int least = q->root->least;
    if (q->request->has_min_score) {
        double wanted = ceil(q->request->min_score * 32767 - 1e-9);
        if (wanted > least)
            least = wanted > INT16_MAX + 1 ? INT16_MAX + 1 : (int)wanted;
    }
    return least;
}

// With rejected images among them, or none.
static bool count_alive(Question *q, bool *counted)
{
    int64_t rejected = 0;
    RowSet allowed;
    bool all;
    *counted = false;
    if (q->engine->state.rejected_index &&
        !vc_db_int(q->engine->ws.db,
                   "SELECT 1 FROM image INDEXED BY image_rejected WHERE status < 0 AND row IS NOT NULL LIMIT 1", 0,
                   &rejected, q->err))
        return false;
    if (!rejected)
        return true;
    if (!query_allowed(q, &allowed, &all))
        return false;
    const bool ok = query_need_lists(q->engine, q->root, q->err);
    if (ok) {
        Evaluation e = evaluation(q, all ? NULL : &allowed);
        e.least = query_least_score(q->request);
        q->page->matched = query_evaluate(&e, NULL, NULL).matched;
        *counted = true;
    }
    query_set_finish(&allowed);
    return ok;
}

// Matching images: the statistics know it, unless images are rejected or a lowest score is asked for.
static bool count_top(Question *q, int least)
{
    char sql[160];
    bool counted;
    if (!count_alive(q, &counted))
        return false;
    q->page->matched_exact = true;
    if (counted)
        return true;
    if (least <= -INT16_MAX) {
        snprintf(sql, sizeof sql, "SELECT images FROM concept_stat WHERE concept_id = %lld",
                 (long long)q->root->concept_id);
    } else {
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM image_concept INDEXED BY ic_top WHERE concept_id = %lld AND score >= %d",
                 (long long)q->root->concept_id, least);
    }
    return vc_db_int(q->engine->ws.db, sql, 0, &q->page->matched, q->err);
}

static bool top_page(Question *q)
{
    double start = vc_now();
    const QueryRequest *r = q->request;
    VcStmt *stmt = NULL;
    QueryPage *page = q->page;
    int least = least_stored(q), highest = q->has_after ? (int)lround(q->after.score * 32767) : INT16_MAX;
    bool row = true, ok = vc_db_prepare(q->engine->ws.db, &stmt,
                                        "SELECT image_id, score FROM image_concept INDEXED BY ic_top"
                                        " WHERE concept_id = ?1 AND score <= ?2 AND score >= ?3"
                                        " ORDER BY score DESC, image_id",
                                        q->err);
    if (ok) {
        vc_bind_int(stmt, 1, q->root->concept_id);
        vc_bind_int(stmt, 2, highest);
        vc_bind_int(stmt, 3, least);
    }
    page->hits = vc_arena_zalloc(q->memory, r->limit + 1, sizeof *page->hits);
    Ranked last = {0};
    while (ok && (ok = vc_stmt_step(stmt, &row, q->err)) && row) {
        Ranked at = {(double)vc_column_int(stmt, 1) / 32767, vc_column_int(stmt, 0), -1};
        bool gone = false;
        if (q->has_after && !ranked_before(&q->after, &at))
            continue;
        if (page->count == r->limit) {
            page->next = query_cursor_write(q->memory, q->order, &last, q->hash);
            break;
        }
        ok = query_fill_hit(q, &at, &page->hits[page->count], &gone);
        if (ok && !gone) {
            last = at;
            page->count++;
        }
    }
    vc_stmt_finish(&stmt);
    query_part(q, start, (int64_t)page->count, "best images of one concept, by index ic_top");
    return ok && count_top(q, least);
}

// Takes the image that the question leaves out from the set.
static void leave_out(Question *q, RowSet *allowed, bool *all)
{
    if (q->request->exclude_image <= 0)
        return;
    if (*all)
        *allowed = everything(&q->engine->state);
    *all = false;
    drop_row(allowed, query_find_row(q->engine, q->request->exclude_image));
}

bool query_allowed_with_concepts(Question *q, RowSet *out, bool *all)
{
    RowSet allowed;
    QueryEngine *engine = q->engine;
    if (!query_allowed(q, &allowed, all))
        return false;
    if (!query_need_lists(engine, q->root, q->err)) {
        query_set_finish(&allowed);
        return false;
    }
    if (q->root) {
        double start = vc_now();
        RowSet hits = query_set_create(engine->state.rows);
        Evaluation e = evaluation(q, *all ? NULL : &allowed);
        hits.count = (size_t)query_evaluate(&e, NULL, hits.words).matched;
        query_set_finish(&allowed);
        allowed = hits;
        *all = false;
        query_part(q, start, (int64_t)hits.count, "set of images with the concepts");
    }
    leave_out(q, &allowed, all);
    *out = allowed;
    return true;
}

// Far down in an order scores are counted first, so that only the images from the page's own score on are sorted.
// The page begins in bin - 1 of histogram [bins], *skip images behind the bin's upper end; 0: behind the last image.
static size_t find_bin(const Question *q, const uint32_t *histogram, size_t bins, size_t *skip)
{
    size_t above = 0, bin = bins;
    while (bin > 0 && above + histogram[bin - 1] <= q->request->offset)
        above += histogram[--bin];
    if (bin > 0)
        *skip = q->request->offset - above;
    return bin;
}

// *after is in front of the page.
static bool find_concept_place(Question *q, Ranked *after, size_t *skip)
{
    RowSet allowed;
    bool all;
    double start = vc_now();
    if (!query_allowed(q, &allowed, &all))
        return false;
    leave_out(q, &allowed, &all);
    const bool ok = query_need_lists(q->engine, q->root, q->err);
    if (ok) {
        Evaluation e = evaluation(q, all ? NULL : &allowed);
        e.least = query_least_score(q->request);
        e.histogram = vc_calloc(EVALUATE_BINS, sizeof *e.histogram);
        EvaluationResult r = query_evaluate(&e, NULL, NULL);
        const size_t bin = find_bin(q, e.histogram, EVALUATE_BINS, skip);
        *after = (Ranked){bin > 0 ? ((double)bin - EVALUATE_BINS / 2.0) / 32767 : -INFINITY, INT64_MAX, -1};
        free(e.histogram);
        query_part(q, start, r.matched, "scores counted, to find the page's place");
    }
    query_set_finish(&allowed);
    return ok;
}

static bool find_vector_place(Question *q, Ranked *after, size_t *skip)
{
    RowSet allowed;
    bool all;
    if (!query_allowed_with_concepts(q, &allowed, &all))
        return false;
    double start = vc_now();
    int64_t counted;
    uint32_t *histogram = vc_calloc(QUERY_VECTOR_BINS, sizeof *histogram);
    const bool ok = query_scan_vectors(q, all ? NULL : &allowed, 0, NULL, histogram, &counted);
    if (ok) {
        const size_t bin = find_bin(q, histogram, QUERY_VECTOR_BINS, skip);
        *after = (Ranked){bin > 0 ? (double)bin / (QUERY_VECTOR_BINS / 2.0) - 1 : -INFINITY, INT64_MAX, -1};
        query_part(q, start, counted, "scores counted, to find the page's place");
    }
    free(histogram);
    query_set_finish(&allowed);
    return ok;
}

typedef bool (*RankFn)(Question *q, Selection *best);

// A page of whatever `rank` selects. Images that turn out to be gone are left out in another pass.
static bool make_page(Question *q, RankFn rank)
{
    const QueryRequest *r = q->request;
    bool again = true, ok = true;
    for (int pass = 0; ok && again && pass < 8; pass++) {
        Selection best = {.has_after = q->has_after, .after = q->after};
        size_t most = query_need_rows(q->engine, q->err) ? q->engine->state.rows : 0;
        size_t skip = r->offset;
        if (skip > DEEP) {
            best.has_after = true;
            ok = q->order == QUERY_BY_VECTOR ? find_vector_place(q, &best.after, &skip)
                                             : find_concept_place(q, &best.after, &skip);
        }
        size_t want = skip > SIZE_MAX - r->limit - 1 ? SIZE_MAX : skip + r->limit + 1;
        selection_begin(&best, want > most ? most + 1 : want);
        ok = ok && rank(q, &best);
        if (ok) {
            selection_sort(&best);
            ok = fill_page(q, &best, skip, &again);
        }
        selection_finish(&best);
    }
    return ok;
}

static bool rank_by_concepts(Question *q, Selection *best)
{
    RowSet allowed;
    bool all;
    if (!query_allowed(q, &allowed, &all))
        return false;
    leave_out(q, &allowed, &all);
    double start = vc_now();
    const bool ok = query_need_lists(q->engine, q->root, q->err);
    if (ok) {
        Evaluation e = evaluation(q, all ? NULL : &allowed);
        e.least = query_least_score(q->request);
        EvaluationResult result = query_evaluate(&e, best, NULL);
        q->page->matched = result.matched;
        q->page->matched_exact = true;
        query_part(q, start, result.matched, "concepts, by %s%s",
                   result.probed ? "searching the other lists" : "a pass over all rows",
                   q->engine->state.postings ? "" : " (lists read from the tables: there is no vectors/postings.bin)");
    }
    query_set_finish(&allowed);
    return ok;
}

bool query_page_by_concepts(Question *q)
{
    if (is_top_query(q)) {
        // Rejected images are few or none; only where some are, the count has to look.
        return top_page(q);
    }
    return make_page(q, rank_by_concepts);
}

// --- by vector -------------------------------------------------------------------------------------------------------

// Cells answer questions that leave no image out; a filter could leave nothing in the cells that are near.
static size_t usable_probe(Question *q)
{
    const QueryRequest *r = q->request;
    const QueryFilter *f = &r->filter;
    const bool filtered =
        q->root || r->has_min_score || q->has_after || r->offset > 0 || r->exact ||
        f->captions.count + f->splits.count + f->sources.count + f->tags.count + f->not_tags.count > 0;
    if (r->probe > 0 && filtered) {
        q->page->notice =
            "the cells were not used: with a filter, a lowest score or behind the first page the answer is exact";
    }
    return filtered ? 0 : r->probe;
}

static bool rank_by_vector(Question *q, Selection *best)
{
    RowSet allowed;
    bool all;
    if (!query_allowed_with_concepts(q, &allowed, &all))
        return false;
    double start = vc_now();
    const size_t probe = usable_probe(q);
    bool ok = query_scan_vectors(q, all ? NULL : &allowed, probe, best, NULL, &q->page->matched);
    q->page->matched_exact = true;
    if (probe > 0 && ok) {
        query_part(q, start, q->page->matched, "vectors, of which those in the nearest %zu of %zu cells were compared",
                   probe, nearest_cells(q->engine->state.nearest));
    } else {
        query_part(q, start, q->page->matched, "vectors compared");
    }
    query_set_finish(&allowed);
    return ok;
}

bool query_page_by_vector(Question *q)
{
    return make_page(q, rank_by_vector);
}

// --- all of them -----------------------------------------------------------------------------------------------------

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

bool query_select_rows(Question *q, int64_t **ids, size_t *count)
{
    RowSet hits;
    bool all;
    if (!query_allowed_with_concepts(q, &hits, &all))
        return false;
    VC_ASSERT(!all); // there are concepts
    const EngineState *s = &q->engine->state;
    size_t n = 0;
    *ids = vc_alloc(hits.count + 1, sizeof **ids);
    for (size_t w = 0; w <= s->rows / 64; w++) {
        for (uint64_t left = hits.words[w]; left; left &= left - 1)
            (*ids)[n++] = s->ids[w * 64 + (size_t)__builtin_ctzll(left)];
    }
    if (n > 1)
        qsort(*ids, n, sizeof **ids, by_number);
    *count = n;
    query_set_finish(&hits);
    return true;
}
