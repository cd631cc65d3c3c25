// SPDX-License-Identifier: MIT
#include "query/private.h"

static bool fill_concepts(Question *q, QueryHit *hit)
{
    enum { MOST = 4096 };
    VcStmt *stmt = query_statement(q->engine, ST_CONCEPTS, q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, hit->image_id);
    QueryConcept *list = NULL;
    size_t n = 0, cap = 0;
    bool row = true, ok = true;
    while (n < MOST && (ok = vc_stmt_step(stmt, &row, q->err)) && row) {
        list = vc_grow(list, &cap, n + 1, sizeof *list);
        list[n++] = (QueryConcept){vc_column_int(stmt, 0), query_keep(q->memory, vc_column_text(stmt, 1)),
                                   (double)vc_column_int(stmt, 2) / 32767};
    }
    vc_stmt_reset(stmt);
    if (n > 0) {
        QueryConcept *kept = vc_arena_alloc(q->memory, n, sizeof *kept);
        memcpy(kept, list, n * sizeof *kept);
        hit->concepts = kept;
        hit->concept_count = n;
    }
    free(list);
    return ok;
}

static bool fill_caption(Question *q, QueryHit *hit)
{
    VcStmt *stmt = query_statement(q->engine, ST_CAPTION, q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, hit->image_id);
    bool row, ok = vc_stmt_step(stmt, &row, q->err);
    if (ok && row)
        hit->caption = query_keep(q->memory, vc_column_text(stmt, 0));
    vc_stmt_reset(stmt);
    return ok;
}

static bool fill(Question *q, const Ranked *r, QueryHit *hit, bool rejected_too, bool *gone)
{
    VcStmt *stmt = query_statement(q->engine, ST_IMAGE, q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, r->id);
    bool row, ok = vc_stmt_step(stmt, &row, q->err);
    *gone = ok && (!row || (!rejected_too && vc_column_int(stmt, 6) < 0));
    if (ok && !*gone) {
        const char *key = query_keep(q->memory, vc_column_text(stmt, 3));
        const char *source = query_keep(q->memory, vc_column_text(stmt, 4));
        const char *uri = query_keep(q->memory, vc_column_text(stmt, 8));
        *hit = (QueryHit){.image_id = r->id,
                          .row = vc_column_is_null(stmt, 0) ? -1 : vc_column_int(stmt, 0),
                          .score = r->score,
                          .width = vc_column_int(stmt, 1),
                          .height = vc_column_int(stmt, 2),
                          .key = key,
                          .source = source ? source : "",
                          .uri = uri ? uri : key,
                          .split = query_keep(q->memory, vc_column_text(stmt, 5)),
                          .concepts = NULL};
    }
    vc_stmt_reset(stmt);
    if (!ok || *gone)
        return ok;
    return (!(q->request->fields & QUERY_CAPTIONS) || fill_caption(q, hit)) &&
           (!(q->request->fields & QUERY_CONCEPTS) || fill_concepts(q, hit));
}

bool query_fill_hit(Question *q, const Ranked *r, QueryHit *hit, bool *gone)
{
    return fill(q, r, hit, false, gone);
}

bool query_image(QueryEngine *engine, int64_t image_id, QueryPage *page, VcErr *err)
{
    const QueryRequest request = {.fields = QUERY_CAPTIONS | QUERY_CONCEPTS, .limit = 1};
    *page = (QueryPage){.memory = vc_arena_create("query page")};
    Question q = {.engine = engine, .request = &request, .page = page, .memory = page->memory, .err = err};
    page->hits = vc_arena_zalloc(page->memory, 1, sizeof *page->hits);
    bool gone = false, ok = fill(&q, &(Ranked){0, image_id, -1}, page->hits, true, &gone);
    if (ok && gone)
        ok = vc_fail(err, VC_ERR_USAGE, "there is no image %lld in this workspace", (long long)image_id);
    page->count = page->matched = ok;
    page->matched_exact = true;
    if (!ok)
        query_page_finish(page);
    return ok;
}

bool query_complete(QueryEngine *engine, const char *prefix, size_t limit, QueryPage *page, VcErr *err)
{
    *page = (QueryPage){.memory = vc_arena_create("query completion")};
    page->hits = vc_arena_zalloc(page->memory, 1, sizeof *page->hits);
    QueryConcept *list = vc_arena_alloc(page->memory, limit + 1, sizeof *list);
    VcStmt *stmt = NULL;
    // The index on the text finds the beginning; "\xf4\x8f\xbf\xbf" is behind every text.
    bool row = true,
         ok = vc_db_prepare(engine->ws.db, &stmt,
                            "SELECT c.concept_id, c.text, coalesce(t.images, c.freq, 0) FROM concept c"
                            " LEFT JOIN concept_stat t USING(concept_id) WHERE c.text >= ?1 AND"
                            " c.text < ?1 || char(1114111) AND NOT c.removed ORDER BY 3 DESC, c.text LIMIT ?2",
                            err);
    if (ok) {
        vc_bind_text(stmt, 1, prefix);
        vc_bind_int(stmt, 2, (int64_t)limit);
    }
    size_t n = 0;
    while (ok && n < limit && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        list[n++] = (QueryConcept){vc_column_int(stmt, 0), query_keep(page->memory, vc_column_text(stmt, 1)),
                                   (double)vc_column_int(stmt, 2)};
    }
    vc_stmt_finish(&stmt);
    page->hits[0].concepts = list;
    page->hits[0].concept_count = n;
    if (!ok)
        query_page_finish(page);
    return ok;
}
