// SPDX-License-Identifier: MIT
// Pages in the order of image_id, and selections without scores. Images that were never embedded are part of them.
// Candidates come from one table in order, and the work ends with the page; where much would have to be looked at, from
// the rows of a set.
#include "query/private.h"

// --- the page --------------------------------------------------------------------------------------------------------

QueryOutput query_output_begin(Question *q)
{
    q->page->hits = vc_arena_zalloc(q->memory, q->request->limit + 1, sizeof *q->page->hits);
    return (QueryOutput){.q = q, .skip = q->request->offset};
}

bool query_output_put(QueryOutput *out, const Ranked *r, bool *more)
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

static bool prepare_ids(Question *q, QuerySieve *sieve, VcStmt **stmt)
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
        sieve->splits = false;
    } else {
        vc_str_put(&sql, "SELECT i.image_id FROM image i WHERE i.image_id > ?1");
    }
    vc_str_put(&sql, " AND i.status >= 0");
    put_sources(&sql, q);
    vc_str_putf(&sql, " ORDER BY %s", id);
    bool ok = vc_db_prepare(q->engine->ws.db, stmt, sql.data, q->err);
    vc_str_finish(&sql);
    sieve->sources = false;
    for (size_t i = 0; ok && f->tags.count == 0 && i < f->splits.count; i++)
        vc_bind_text(*stmt, (int)i + 2, f->splits.items[i]);
    if (ok && f->tags.count > 0)
        vc_bind_text(*stmt, 2, f->tags.items[0]);
    if (ok)
        vc_bind_int(*stmt, 1, q->has_after ? q->after.id : INT64_MIN);
    return ok;
}

// Rows of the sieve's set and images without a row, merged by image_id. Rows are counted to the end, for that is quick;
// the others only while the page needs them or `count` is asked for.
static bool page_from_sets(QuerySieve *sieve, QueryOutput *out)
{
    Question *q = sieve->q;
    const EngineState *s = &q->engine->state;
    const int64_t *ids = s->sorted_ids ? s->sorted_ids : s->ids;
    size_t p = 0, r = 0, left_out = 0;
    bool ok = true, more = true;
    while (ok && (p < s->image_count || r < s->rowless_count)) {
        const bool plain = r == s->rowless_count || (p < s->image_count && ids[p] < s->rowless[r]);
        const int64_t id = plain ? ids[p] : s->rowless[r];
        bool pass = false;
        if (plain) {
            pass = query_sieve_holds(sieve, s->sorted_rows ? (int64_t)s->sorted_rows[p] : (int64_t)p);
            p++;
        } else {
            r++;
            left_out += !more;
            ok = !more || query_sieve_pass(sieve, id, &pass);
        }
        if (!ok || !pass)
            continue;
        if ((q->has_after && id <= q->after.id) || out->full) {
            q->page->matched++; // on a page before, or behind this one
        } else {
            ok = query_output_put(out, &(Ranked){0, id, -1}, &more);
        }
    }
    q->page->matched_exact = left_out == 0;
    return ok;
}

// In the order of the statement, until the page is full or the sieve had so much to do that it made sets (*sets).
static bool page_from_table(QuerySieve *sieve, VcStmt *stmt, bool look, QueryOutput *out, bool *sets)
{
    Question *q = sieve->q;
    bool ok = true, row = true, more = true;
    while (ok && more && (ok = vc_stmt_step(stmt, &row, q->err)) && row) {
        const Ranked r = {0, vc_column_int(stmt, 0), -1};
        bool pass = true;
        const bool by_tables = !sieve->sets;
        ok = !look || query_sieve_pass(sieve, r.id, &pass);
        if (ok && by_tables && sieve->sets) {
            ok = query_need_rowless(q->engine, q->err);
            *sets = ok && q->engine->state.rowless_few;
            if (!ok || *sets)
                return ok;
        }
        if (ok && pass)
            ok = query_output_put(out, &r, &more);
    }
    q->page->matched_exact = !row && !q->has_after;
    return ok;
}

bool query_page_by_id(Question *q)
{
    double start = vc_now();
    const QueryFilter *f = &q->request->filter;
    // Filters that the statement of prepare_ids does not hold yet.
    const bool look = f->tags.count > 1 || f->not_tags.count || f->captions.count || q->root ||
                      (f->tags.count && f->splits.count) || q->request->exclude_image > 0;
    QuerySieve sieve = {0};
    VcStmt *stmt = NULL;
    QueryOutput out = query_output_begin(q);
    bool ok = query_sieve_begin(&sieve, q) && prepare_ids(q, &sieve, &stmt), sets = false;
    if (ok && look && (q->request->count || q->request->offset > 0)) {
        ok = query_need_rowless(q->engine, q->err);
        sets = ok && q->engine->state.rowless_few;
        ok = ok && (!sets || query_sieve_make_sets(&sieve));
    }
    if (ok && !sets)
        ok = page_from_table(&sieve, stmt, look, &out, &sets);
    if (ok && sets) {
        q->page->matched = 0;
        q->page->next = NULL;
        q->page->count = 0;
        sieve.splits = sieve.sources = true; // of images without a row
        out = query_output_begin(q);
        ok = page_from_sets(&sieve, &out);
    }
    vc_stmt_finish(&stmt);
    query_sieve_finish(&sieve);
    query_part(q, start, (int64_t)q->page->count, "images in the order of their numbers, from %s",
               sets              ? "sets of rows"
               : f->tags.count   ? "table tag"
               : f->splits.count ? "table split"
                                 : "table image");
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

static bool read_ids(Question *q, QuerySieve *sieve, Ids *ids)
{
    VcStmt *stmt = NULL;
    bool by_words = q->request->filter.captions.count > 0, row = true;
    sieve->first_caption = by_words;
    bool ok = by_words ? query_need_captions(q->engine, q->err) &&
                             query_words_prepare(q,
                                                 "SELECT c.image_id FROM caption_fts f CROSS JOIN caption c"
                                                 " ON c.caption_id = f.rowid WHERE f.text MATCH ?1",
                                                 &stmt)
                       : prepare_ids(q, sieve, &stmt);
    while (ok && (ok = by_words ? query_words_step(q, stmt, &row) : vc_stmt_step(stmt, &row, q->err)) && row)
        add_id(ids, vc_column_int(stmt, 0));
    vc_stmt_finish(&stmt);
    return ok;
}

bool query_select_ids(Question *q, int64_t **ids, size_t *count)
{
    QuerySieve sieve = {0};
    Ids all = {0};
    bool ok = query_sieve_begin(&sieve, q) && read_ids(q, &sieve, &all);
    sort_unique(&all);
    const QueryFilter *f = &q->request->filter;
    bool look = f->captions.count || f->tags.count || f->not_tags.count || q->root;
    size_t kept = 0;
    for (size_t i = 0; ok && i < all.count; i++) {
        bool pass = true;
        ok = !look || query_sieve_pass(&sieve, all.items[i], &pass);
        if (pass)
            all.items[kept++] = all.items[i];
    }
    query_sieve_finish(&sieve);
    *ids = all.items;
    *count = kept;
    return ok;
}
