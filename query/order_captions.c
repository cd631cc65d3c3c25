// SPDX-License-Identifier: MIT
// Pages in an order of captions: by bm25, or by the number of the first caption that matches. Images that were never
// embedded are part of them.
#include "query/private.h"

#include <math.h>

bool query_words_prepare(Question *q, const char *sql, VcStmt **stmt)
{
    const char *words = q->request->filter.captions.items[0];
    if (!vc_db_prepare(q->engine->ws.db, stmt, sql, q->err))
        return false;
    vc_bind_text(*stmt, 1, words);
    return true;
}

bool query_words_step(Question *q, VcStmt *stmt, bool *row)
{
    return vc_stmt_step(stmt, row, q->err) || query_explain_caption(q->err, q->request->filter.captions.items[0]);
}

// Matching captions, counted up to one more than are ranked.
static bool count_captions(Question *q, int64_t *count)
{
    double start = vc_now();
    bool ok = query_count_captions(q->engine, q->request->filter.captions.items[0], QUERY_RANKED_CAPTIONS + 1, count,
                                   q->err) ||
              query_explain_caption(q->err, q->request->filter.captions.items[0]);
    query_part(q, start, *count, "captions counted, up to %d", QUERY_RANKED_CAPTIONS + 1);
    return ok;
}

// The words are the only condition.
static bool words_alone(const Question *q)
{
    const QueryFilter *f = &q->request->filter;
    return !q->root && q->request->exclude_image <= 0 && f->captions.count == 1 &&
           f->splits.count + f->sources.count + f->tags.count + f->not_tags.count == 0;
}

// --- by bm25 ---------------------------------------------------------------------------------------------------------

static int by_image(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : x->score > y->score ? -1 : x->score < y->score;
}

// The best caption of each image that matches, in order.
static bool read_ranked(Question *q, Ranked **items, size_t *count)
{
    VcStmt *stmt = NULL;
    size_t cap = 0, n = 0, kept = 0;
    const CaptionMap *map = &q->engine->state.captions;
    bool row = true, ok = query_words_prepare(q,
                                              map->images ? "SELECT f.rowid, f.rank FROM caption_fts f"
                                                            " WHERE f.text MATCH ?1"
                                                          : "SELECT c.image_id, f.rank FROM caption_fts f CROSS JOIN"
                                                            " caption c ON c.caption_id = f.rowid"
                                                            " WHERE f.text MATCH ?1",
                                              &stmt);
    while (ok && (ok = query_words_step(q, stmt, &row)) && row) {
        int64_t id = vc_column_int(stmt, 0);
        *items = vc_grow(*items, &cap, n + 1, sizeof **items);
        (*items)[n++] = (Ranked){-vc_column_double(stmt, 1), map->images ? query_caption_image(map, id) : id, -1};
    }
    vc_stmt_finish(&stmt);
    if (n > 1)
        qsort(*items, n, sizeof **items, by_image);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || (*items)[i].id != (*items)[i - 1].id)
            (*items)[kept++] = (*items)[i];
    }
    ranked_sort(*items, kept);
    *count = kept;
    return ok;
}

static bool page_by_bm25(Question *q, QuerySieve *sieve)
{
    enum { MANY = 1000 };
    double start = vc_now();
    Ranked *items = NULL;
    size_t n = 0, i = 0;
    QueryOutput out = query_output_begin(q);
    bool more = true, ok = read_ranked(q, &items, &n);
    query_part(q, start, (int64_t)n, "images by the bm25 of their best caption");
    start = vc_now();
    sieve->first_caption = 1;
    // Without another filter all are looked at, so that rejected images are not counted.
    const bool all = q->request->count || words_alone(q);
    if (ok && all && n > MANY)
        ok = query_sieve_make_sets(sieve);
    for (; ok && (more || all) && i < n; i++) {
        bool pass = true;
        ok = query_sieve_pass(sieve, items[i].id, &pass);
        if (!ok || !pass)
            continue;
        if ((q->has_after && !ranked_before(&q->after, &items[i])) || out.full) {
            q->page->matched++;
        } else {
            ok = query_output_put(&out, &items[i], &more);
        }
    }
    q->page->matched_exact = i == n && (more || all);
    free(items);
    query_part(q, start, (int64_t)q->page->count, "other filters and the page");
    return ok;
}

// --- by caption ------------------------------------------------------------------------------------------------------

// Has the image a matching caption before this one? Then it was shown there.
static bool is_first(Question *q, VcStmt *earlier, int64_t image_id, int64_t caption_id, bool *first)
{
    bool row = false;
    vc_bind_int(earlier, 2, image_id);
    vc_bind_int(earlier, 3, caption_id);
    bool ok = query_words_step(q, earlier, &row);
    *first = !row;
    if (row) { // back to the start, the words stay
        vc_stmt_reset(earlier);
        vc_bind_text(earlier, 1, q->request->filter.captions.items[0]);
    }
    return ok;
}

// One image of the order that passes.
static bool put_caption(QueryOutput *out, int64_t image, int64_t caption, bool *more)
{
    // The cursor is the caption's number, the hit the image.
    const Ranked last = out->last;
    const bool ok = query_output_put(out, &(Ranked){0, image, -1}, more);
    out->last = out->full ? last : (Ranked){0, caption, -1};
    return ok;
}

// The page alone: matching captions as they come, no further than it needs.
static bool page_from_table(Question *q, QuerySieve *sieve, QueryOutput *out)
{
    VcStmt *stmt = NULL, *earlier = NULL;
    bool row = true, more = true,
         ok = query_words_prepare(q,
                                  "SELECT f.rowid, c.image_id FROM caption_fts f CROSS JOIN caption c"
                                  " ON c.caption_id = f.rowid WHERE f.text MATCH ?1 AND f.rowid > ?2 ORDER BY f.rowid",
                                  &stmt) &&
              query_words_prepare(q,
                                  "SELECT 1 FROM caption c CROSS JOIN caption_fts f ON f.rowid = c.caption_id"
                                  " WHERE c.image_id = ?2 AND c.caption_id < ?3 AND f.text MATCH ?1 LIMIT 1",
                                  &earlier);
    if (ok)
        vc_bind_int(stmt, 2, q->has_after ? q->after.id : INT64_MIN);
    while (ok && more && (ok = query_words_step(q, stmt, &row)) && row) {
        int64_t caption = vc_column_int(stmt, 0), image = vc_column_int(stmt, 1);
        bool pass = false;
        ok = is_first(q, earlier, image, caption, &pass);
        if (ok && pass)
            ok = query_sieve_pass(sieve, image, &pass);
        if (ok && pass)
            ok = put_caption(out, image, caption, &more);
    }
    q->page->matched_exact = !row && !q->has_after;
    vc_stmt_finish(&stmt);
    vc_stmt_finish(&earlier);
    return ok;
}

// Any place of the order, and the number of all: from the list of all hits, which is kept for the next page.
static bool page_from_list(Question *q, QuerySieve *sieve, QueryOutput *out)
{
    const CaptionList *list;
    bool ok = query_caption_list(q, &list) && query_sieve_make_sets(sieve), more = true;
    for (size_t i = 0; ok && i < list->count; i++) {
        const CaptionHit *h = &list->hits[i];
        bool pass;
        ok = query_sieve_pass(sieve, h->image, &pass);
        if (!ok || !pass)
            continue;
        if ((q->has_after && h->caption <= q->after.id) || out->full) {
            q->page->matched++;
        } else {
            ok = put_caption(out, h->image, h->caption, &more);
        }
    }
    q->page->matched_exact = true;
    return ok;
}

static bool page_by_caption(Question *q, QuerySieve *sieve)
{
    double start = vc_now();
    QueryOutput out = query_output_begin(q);
    sieve->first_caption = 1;
    const bool list = q->request->count || q->request->offset > 0 || !words_alone(q);
    const bool ok = list ? page_from_list(q, sieve, &out) : page_from_table(q, sieve, &out);
    VcStr notice = {0};
    vc_str_putf(&notice,
                "more than %d captions match: they are shown in their own order and not by bm25; more words, a concept "
                "or a text would rank them",
                QUERY_RANKED_CAPTIONS);
    q->page->notice = query_keep(q->memory, notice.data);
    vc_str_finish(&notice);
    query_part(q, start, (int64_t)q->page->count, "images in the order of their first matching caption");
    return ok;
}

bool query_page_by_captions(Question *q)
{
    QuerySieve sieve = {0};
    bool ok = query_need_captions(q->engine, q->err) && query_sieve_begin(&sieve, q);
    // A cursor goes on in the order of its page.
    if (ok && !q->has_after) {
        int64_t count = 0;
        ok = count_captions(q, &count);
        if (count > QUERY_RANKED_CAPTIONS)
            q->order = QUERY_BY_CAPTION;
    }
    ok = ok && (q->order == QUERY_BY_CAPTION ? page_by_caption(q, &sieve) : page_by_bm25(q, &sieve));
    query_sieve_finish(&sieve);
    return ok;
}
