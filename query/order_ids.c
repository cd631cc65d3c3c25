// SPDX-License-Identifier: MIT
// Pages in an order that needs no vector row: by image_id, by bm25, by the number of the first matching caption. Images
// that were never embedded are part of them. Candidates come from one table in order; what is left of the filter is
// looked up image by image, and the work ends with the page.
#include "query/private.h"

#include <math.h>

// --- what is left of the filter, for one image -----------------------------------------------------------------------

typedef struct {
    Question *q;
    VcStmt *caption; // does a caption of image ?1 match ?2
    bool splits, sources, tags;
    size_t first_caption; // captions[first_caption ...] are still to be looked up
} Rest;

static bool begin_rest(Rest *rest, Question *q)
{
    *rest = (Rest){.q = q, .splits = true, .sources = true, .tags = true};
    return q->request->filter.captions.count == 0 ||
           (query_need_captions(q->engine, q->err) &&
            vc_db_prepare(q->engine->ws.db, &rest->caption,
                          "SELECT 1 FROM caption c CROSS JOIN caption_fts f ON f.rowid = c.caption_id"
                          " WHERE c.image_id = ?1 AND f.text MATCH ?2 LIMIT 1",
                          q->err));
}

static bool in_texts(const char *text, QueryTexts list)
{
    for (size_t i = 0; text && i < list.count; i++) {
        if (strcmp(text, list.items[i]) == 0)
            return true;
    }
    return false;
}

static bool pass_image(const Rest *rest, int64_t image_id, bool *pass)
{
    const QueryFilter *f = &rest->q->request->filter;
    VcStmt *stmt = query_statement(rest->q->engine, ST_IMAGE, rest->q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, image_id);
    bool row, ok = vc_stmt_step(stmt, &row, rest->q->err);
    *pass = ok && row && vc_column_int(stmt, 6) >= 0 && image_id != rest->q->request->exclude_image;
    if (*pass && rest->splits && f->splits.count)
        *pass = in_texts(vc_column_text(stmt, 5), f->splits);
    if (*pass && rest->sources && f->sources.count) {
        bool any = false;
        for (size_t i = 0; i < f->sources.count; i++)
            any = any || vc_column_int(stmt, 7) == rest->q->source_ids[i];
        *pass = any;
    }
    vc_stmt_reset(stmt);
    return ok;
}

static bool pass_tags(const Rest *rest, int64_t image_id, QueryTexts tags, bool wanted, bool *pass)
{
    bool ok = true;
    for (size_t i = 0; ok && *pass && i < tags.count; i++) {
        VcStmt *stmt = query_statement(rest->q->engine, ST_TAGGED, rest->q->err);
        if (!stmt)
            return false;
        vc_bind_text(stmt, 1, tags.items[i]);
        vc_bind_int(stmt, 2, image_id);
        bool row;
        ok = vc_stmt_step(stmt, &row, rest->q->err);
        *pass = ok && row == wanted;
        vc_stmt_reset(stmt);
    }
    return ok;
}

static bool pass_captions(const Rest *rest, int64_t image_id, bool *pass)
{
    QueryTexts words = rest->q->request->filter.captions;
    bool ok = true;
    for (size_t i = rest->first_caption; ok && *pass && i < words.count; i++) {
        vc_bind_int(rest->caption, 1, image_id);
        vc_bind_text(rest->caption, 2, words.items[i]);
        ok = vc_stmt_step(rest->caption, pass, rest->q->err);
        vc_stmt_reset(rest->caption);
        if (!ok)
            query_explain_caption(rest->q->err, words.items[i]);
    }
    return ok;
}

static bool holds(const QueryNode *node, const QueryConcept *list, size_t n)
{
    bool all = true, any = false;
    if (node->kind == QUERY_TERM) {
        for (size_t i = 0; i < n && !any; i++)
            any = list[i].concept_id == node->concept_id && list[i].score >= node->least;
        return any;
    }
    for (size_t i = 0; i < node->child_count; i++) {
        bool h = holds(node->children[i], list, n);
        all = all && h;
        any = any || h;
    }
    return node->kind == QUERY_AND ? all : node->kind == QUERY_OR ? any : !any;
}

static bool pass_concepts(const Rest *rest, int64_t image_id, bool *pass)
{
    enum { MOST = 4096 };
    if (!*pass || !rest->q->root)
        return true;
    VcStmt *stmt = query_statement(rest->q->engine, ST_IMAGE_SCORES, rest->q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, image_id);
    QueryConcept *list = NULL;
    size_t n = 0, cap = 0;
    bool row = true, ok = true;
    while (n < MOST && (ok = vc_stmt_step(stmt, &row, rest->q->err)) && row) {
        list = vc_grow(list, &cap, n + 1, sizeof *list);
        list[n++] = (QueryConcept){vc_column_int(stmt, 0), NULL, (double)vc_column_int(stmt, 1)};
    }
    vc_stmt_reset(stmt);
    *pass = ok && holds(rest->q->root, list, n);
    free(list);
    return ok;
}

static bool passes(const Rest *rest, int64_t image_id, bool *pass)
{
    const QueryFilter *f = &rest->q->request->filter;
    return pass_image(rest, image_id, pass) && (!rest->tags || pass_tags(rest, image_id, f->tags, true, pass)) &&
           pass_tags(rest, image_id, f->not_tags, false, pass) && pass_concepts(rest, image_id, pass) &&
           pass_captions(rest, image_id, pass);
}

// --- the page --------------------------------------------------------------------------------------------------------

typedef struct {
    Question *q;
    size_t skip; // still to be passed over
    bool full;   // one more than the page was seen
    Ranked last;
} Output;

static Output begin_page(Question *q)
{
    q->page->hits = vc_arena_zalloc(q->memory, q->request->limit + 1, sizeof *q->page->hits);
    return (Output){.q = q, .skip = q->request->offset};
}

// The next image of the order, which passes all filters. *more: the page has room, or the count goes on.
static bool put(Output *out, const Ranked *r, bool *more)
{
    QueryPage *page = out->q->page;
    bool gone = false;
    *more = true;
    page->matched++;
    if (out->skip > 0) {
        out->skip--;
        return true;
    }
    if (page->count == out->q->request->limit) {
        if (!out->full)
            page->next = query_cursor_write(out->q->memory, out->q->order, &out->last, out->q->hash);
        out->full = true;
        *more = out->q->request->count;
        return true;
    }
    if (!query_fill_hit(out->q, r, &page->hits[page->count], &gone))
        return false;
    page->count += !gone;
    page->matched -= gone;
    out->last = *r;
    return true;
}

// --- by image_id -----------------------------------------------------------------------------------------------------

static void put_sources(VcStr *sql, const Question *q)
{
    size_t n = q->request->filter.sources.count;
    for (size_t i = 0; i < n; i++) {
        vc_str_putf(sql, "%s%lld%s", i ? ", " : " AND i.source_id IN (", (long long)q->source_ids[i],
                    i + 1 == n ? ")" : "");
    }
}

static bool prepare_ids(Question *q, Rest *rest, VcStmt **stmt)
{
    const QueryFilter *f = &q->request->filter;
    VcStr sql = {0};
    const char *id = "i.image_id";
    if (f->tags.count > 0) {
        vc_str_put(&sql, "SELECT t.image_id FROM tag t CROSS JOIN image i ON i.image_id = t.image_id"
                         " WHERE t.name = ?2 AND t.image_id > ?1");
        id = "t.image_id";
    } else if (f->splits.count > 0) {
        vc_str_put(&sql, "SELECT p.image_id FROM split p CROSS JOIN image i ON i.image_id = p.image_id"
                         " WHERE p.image_id > ?1 AND p.name IN (");
        for (size_t i = 0; i < f->splits.count; i++)
            vc_str_putf(&sql, "%s?%zu", i ? ", " : "", i + 2);
        vc_str_put(&sql, ")");
        id = "p.image_id";
        rest->splits = false;
    } else {
        vc_str_put(&sql, "SELECT i.image_id FROM image i WHERE i.image_id > ?1");
    }
    vc_str_put(&sql, " AND i.status >= 0");
    put_sources(&sql, q);
    vc_str_putf(&sql, " ORDER BY %s", id);
    bool ok = vc_db_prepare(q->engine->ws.db, stmt, sql.data, q->err);
    vc_str_finish(&sql);
    rest->sources = false;
    for (size_t i = 0; ok && f->tags.count == 0 && i < f->splits.count; i++)
        vc_bind_text(*stmt, (int)i + 2, f->splits.items[i]);
    if (ok && f->tags.count > 0)
        vc_bind_text(*stmt, 2, f->tags.items[0]);
    if (ok)
        vc_bind_int(*stmt, 1, q->has_after ? q->after.id : INT64_MIN);
    return ok;
}

bool query_page_by_id(Question *q)
{
    double start = vc_now();
    const QueryFilter *f = &q->request->filter;
    Rest rest = {0};
    VcStmt *stmt = NULL;
    Output out = begin_page(q);
    q->order = QUERY_BY_ID;
    bool ok = begin_rest(&rest, q) && prepare_ids(q, &rest, &stmt), row = true, more = true;
    bool look = f->tags.count > 1 || f->not_tags.count || f->captions.count || q->root ||
                (f->tags.count && f->splits.count) || q->request->exclude_image > 0;
    while (ok && more && (ok = vc_stmt_step(stmt, &row, q->err)) && row) {
        Ranked r = {0, vc_column_int(stmt, 0), -1};
        bool pass = true;
        ok = !look || passes(&rest, r.id, &pass);
        if (ok && pass)
            ok = put(&out, &r, &more);
    }
    q->page->matched_exact = !row && !q->has_after;
    vc_stmt_finish(&stmt);
    vc_stmt_finish(&rest.caption);
    query_part(q, start, (int64_t)q->page->count, "images in the order of their numbers, from table %s",
               f->tags.count     ? "tag"
               : f->splits.count ? "split"
                                 : "image");
    return ok;
}

// --- by captions -----------------------------------------------------------------------------------------------------

static bool prepare_words(Question *q, const char *sql, VcStmt **stmt)
{
    const char *words = q->request->filter.captions.items[0];
    if (!vc_db_prepare(q->engine->ws.db, stmt, sql, q->err))
        return false;
    vc_bind_text(*stmt, 1, words);
    return true;
}

static bool step_words(Question *q, VcStmt *stmt, bool *row)
{
    return vc_stmt_step(stmt, row, q->err) || query_explain_caption(q->err, q->request->filter.captions.items[0]);
}

// Matching captions, counted up to one more than are ranked.
static bool count_captions(Question *q, int64_t *count)
{
    double start = vc_now();
    char sql[160];
    VcStmt *stmt = NULL;
    bool row = false;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT 1 FROM caption_fts f WHERE f.text MATCH ?1 LIMIT %d)",
             QUERY_RANKED_CAPTIONS + 1);
    bool ok = prepare_words(q, sql, &stmt) && step_words(q, stmt, &row);
    *count = ok && row ? vc_column_int(stmt, 0) : 0;
    vc_stmt_finish(&stmt);
    query_part(q, start, *count, "captions counted, up to %d", QUERY_RANKED_CAPTIONS + 1);
    return ok;
}

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
    bool row = true, ok = prepare_words(q,
                                        "SELECT c.image_id, f.rank FROM caption_fts f CROSS JOIN caption c"
                                        " ON c.caption_id = f.rowid WHERE f.text MATCH ?1",
                                        &stmt);
    while (ok && (ok = step_words(q, stmt, &row)) && row) {
        *items = vc_grow(*items, &cap, n + 1, sizeof **items);
        (*items)[n++] = (Ranked){-vc_column_double(stmt, 1), vc_column_int(stmt, 0), -1};
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

static bool page_by_bm25(Question *q, Rest *rest)
{
    double start = vc_now();
    Ranked *items = NULL;
    size_t n = 0, i = 0;
    Output out = begin_page(q);
    bool more = true, ok = read_ranked(q, &items, &n);
    query_part(q, start, (int64_t)n, "images by the bm25 of their best caption");
    start = vc_now();
    rest->first_caption = 1;
    for (; ok && more && i < n; i++) {
        bool pass = true;
        if (q->has_after && !ranked_before(&q->after, &items[i]))
            continue;
        ok = passes(rest, items[i].id, &pass);
        if (ok && pass)
            ok = put(&out, &items[i], &more);
    }
    q->page->matched_exact = i == n && more && !q->has_after;
    // Without another filter every one of them is a hit.
    const QueryFilter *f = &q->request->filter;
    if (ok && !q->root && q->request->exclude_image <= 0 && f->captions.count == 1 &&
        f->splits.count + f->sources.count + f->tags.count + f->not_tags.count == 0) {
        q->page->matched = (int64_t)n;
        q->page->matched_exact = true;
    }
    free(items);
    query_part(q, start, (int64_t)q->page->count, "other filters, image by image, and the page");
    return ok;
}

// Has the image a matching caption before this one? Then it was shown there.
static bool is_first(Question *q, VcStmt *earlier, int64_t image_id, int64_t caption_id, bool *first)
{
    bool row = false;
    vc_bind_int(earlier, 2, image_id);
    vc_bind_int(earlier, 3, caption_id);
    bool ok = step_words(q, earlier, &row);
    *first = !row;
    if (row) { // back to the start, the words stay
        vc_stmt_reset(earlier);
        vc_bind_text(earlier, 1, q->request->filter.captions.items[0]);
    }
    return ok;
}

static bool page_by_caption(Question *q, Rest *rest)
{
    double start = vc_now();
    VcStmt *stmt = NULL, *earlier = NULL;
    Output out = begin_page(q);
    rest->first_caption = 1;
    bool row = true, more = true,
         ok = prepare_words(q,
                            "SELECT f.rowid, c.image_id FROM caption_fts f CROSS JOIN caption c"
                            " ON c.caption_id = f.rowid WHERE f.text MATCH ?1 AND f.rowid > ?2 ORDER BY f.rowid",
                            &stmt) &&
              prepare_words(q,
                            "SELECT 1 FROM caption c CROSS JOIN caption_fts f ON f.rowid = c.caption_id"
                            " WHERE c.image_id = ?2 AND c.caption_id < ?3 AND f.text MATCH ?1 LIMIT 1",
                            &earlier);
    if (ok)
        vc_bind_int(stmt, 2, q->has_after ? q->after.id : INT64_MIN);
    while (ok && more && (ok = step_words(q, stmt, &row)) && row) {
        int64_t caption = vc_column_int(stmt, 0), image = vc_column_int(stmt, 1);
        bool pass = false;
        ok = is_first(q, earlier, image, caption, &pass);
        if (ok && pass)
            ok = passes(rest, image, &pass);
        if (!ok || !pass)
            continue;
        // The cursor is the caption's number, the hit the image.
        Ranked last = out.last;
        ok = put(&out, &(Ranked){0, image, -1}, &more);
        out.last = out.full ? last : (Ranked){0, caption, -1};
    }
    q->page->matched_exact = !row && !q->has_after;
    vc_stmt_finish(&stmt);
    vc_stmt_finish(&earlier);
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
    Rest rest = {0};
    bool ok = query_need_captions(q->engine, q->err) && begin_rest(&rest, q);
    // A cursor goes on in the order of its page.
    if (ok && !q->has_after) {
        int64_t count = 0;
        ok = count_captions(q, &count);
        if (count > QUERY_RANKED_CAPTIONS)
            q->order = q->request->filter.tags.count ? QUERY_BY_ID : QUERY_BY_CAPTION;
    }
    ok = ok && (q->order == QUERY_BY_ID        ? query_page_by_id(q)
                : q->order == QUERY_BY_CAPTION ? page_by_caption(q, &rest)
                                               : page_by_bm25(q, &rest));
    vc_stmt_finish(&rest.caption);
    return ok;
}

// --- all of them -----------------------------------------------------------------------------------------------------

typedef struct {
    int64_t *items;
    size_t count, cap;
} Ids;

static void add_id(Ids *ids, int64_t id)
{
    ids->items = vc_grow(ids->items, &ids->cap, ids->count + 1, sizeof *ids->items);
    ids->items[ids->count++] = id;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void sort_unique(Ids *ids)
{
    size_t kept = 0;
    if (ids->count > 1)
        qsort(ids->items, ids->count, sizeof *ids->items, by_number);
    for (size_t i = 0; i < ids->count; i++) {
        if (i == 0 || ids->items[i] != ids->items[i - 1])
            ids->items[kept++] = ids->items[i];
    }
    ids->count = kept;
}

static bool read_ids(Question *q, Rest *rest, Ids *ids)
{
    VcStmt *stmt = NULL;
    bool by_words = q->request->filter.captions.count > 0, row = true;
    rest->first_caption = by_words;
    bool ok = by_words ? query_need_captions(q->engine, q->err) &&
                             prepare_words(q,
                                           "SELECT c.image_id FROM caption_fts f CROSS JOIN caption c"
                                           " ON c.caption_id = f.rowid WHERE f.text MATCH ?1",
                                           &stmt)
                       : prepare_ids(q, rest, &stmt);
    while (ok && (ok = by_words ? step_words(q, stmt, &row) : vc_stmt_step(stmt, &row, q->err)) && row)
        add_id(ids, vc_column_int(stmt, 0));
    vc_stmt_finish(&stmt);
    return ok;
}

bool query_select_ids(Question *q, int64_t **ids, size_t *count)
{
    Rest rest = {0};
    Ids all = {0};
    bool ok = begin_rest(&rest, q) && read_ids(q, &rest, &all);
    sort_unique(&all);
    const QueryFilter *f = &q->request->filter;
    bool look = f->captions.count || f->tags.count || f->not_tags.count || q->root;
    size_t kept = 0;
    for (size_t i = 0; ok && i < all.count; i++) {
        bool pass = true;
        ok = !look || passes(&rest, all.items[i], &pass);
        if (pass)
            all.items[kept++] = all.items[i];
    }
    vc_stmt_finish(&rest.caption);
    *ids = all.items;
    *count = kept;
    return ok;
}
