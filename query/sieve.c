// SPDX-License-Identifier: MIT
// Does an image pass what is left of a filter? A few images are looked up one by one; for many, the filters become sets
// of rows once and are looked at as bits.
#include "query/private.h"

// So many images are looked up one by one, in some 5 to 10 us each, before sets are made.
enum { ENOUGH = 1000 };

bool query_sieve_begin(QuerySieve *s, Question *q)
{
    *s = (QuerySieve){.q = q, .splits = true, .sources = true};
    return q->request->filter.captions.count == 0 ||
           (query_need_captions(q->engine, q->err) &&
            vc_db_prepare(q->engine->ws.db, &s->caption,
                          "SELECT 1 FROM caption c CROSS JOIN caption_fts f ON f.rowid = c.caption_id"
                          " WHERE c.image_id = ?1 AND f.text MATCH ?2 LIMIT 1",
                          q->err));
}

void query_sieve_finish(QuerySieve *s)
{
    vc_stmt_finish(&s->caption);
    query_set_finish(&s->allowed);
    *s = (QuerySieve){0};
}

// --- one image by the tables -----------------------------------------------------------------------------------------

static bool in_texts(const char *text, QueryTexts list)
{
    for (size_t i = 0; text && i < list.count; i++) {
        if (strcmp(text, list.items[i]) == 0)
            return true;
    }
    return false;
}

static bool pass_image(const QuerySieve *s, int64_t image_id, bool *pass)
{
    const QueryFilter *f = &s->q->request->filter;
    VcStmt *stmt = query_statement(s->q->engine, ST_IMAGE, s->q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, image_id);
    bool row, ok = vc_stmt_step(stmt, &row, s->q->err);
    *pass = ok && row && vc_column_int(stmt, 6) >= 0 && image_id != s->q->request->exclude_image;
    if (*pass && s->splits && f->splits.count)
        *pass = in_texts(vc_column_text(stmt, 5), f->splits);
    if (*pass && s->sources && f->sources.count) {
        bool any = false;
        for (size_t i = 0; i < f->sources.count; i++)
            any = any || vc_column_int(stmt, 7) == s->q->source_ids[i];
        *pass = any;
    }
    vc_stmt_reset(stmt);
    return ok;
}

static bool pass_tags(const QuerySieve *s, int64_t image_id, QueryTexts tags, bool wanted, bool *pass)
{
    bool ok = true;
    for (size_t i = 0; ok && *pass && i < tags.count; i++) {
        VcStmt *stmt = query_statement(s->q->engine, ST_TAGGED, s->q->err);
        if (!stmt)
            return false;
        vc_bind_text(stmt, 1, tags.items[i]);
        vc_bind_int(stmt, 2, image_id);
        bool row;
        ok = vc_stmt_step(stmt, &row, s->q->err);
        *pass = ok && row == wanted;
        vc_stmt_reset(stmt);
    }
    return ok;
}

static bool pass_captions(const QuerySieve *s, int64_t image_id, bool *pass)
{
    QueryTexts words = s->q->request->filter.captions;
    bool ok = true;
    for (size_t i = s->first_caption; ok && *pass && i < words.count; i++) {
        vc_bind_int(s->caption, 1, image_id);
        vc_bind_text(s->caption, 2, words.items[i]);
        ok = vc_stmt_step(s->caption, pass, s->q->err);
        vc_stmt_reset(s->caption);
        if (!ok)
            query_explain_caption(s->q->err, words.items[i]);
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

static bool pass_concepts(const QuerySieve *s, int64_t image_id, bool *pass)
{
    enum { MOST = 4096 };
    if (!*pass || !s->q->root)
        return true;
    VcStmt *stmt = query_statement(s->q->engine, ST_IMAGE_SCORES, s->q->err);
    if (!stmt)
        return false;
    vc_bind_int(stmt, 1, image_id);
    QueryConcept *list = NULL;
    size_t n = 0, cap = 0;
    bool row = true, ok = true;
    while (n < MOST && (ok = vc_stmt_step(stmt, &row, s->q->err)) && row) {
        list = vc_grow(list, &cap, n + 1, sizeof *list);
        list[n++] = (QueryConcept){vc_column_int(stmt, 0), NULL, (double)vc_column_int(stmt, 1)};
    }
    vc_stmt_reset(stmt);
    *pass = ok && holds(s->q->root, list, n);
    free(list);
    return ok;
}

static bool passes(const QuerySieve *s, int64_t image_id, bool *pass)
{
    const QueryFilter *f = &s->q->request->filter;
    return pass_image(s, image_id, pass) && pass_tags(s, image_id, f->tags, true, pass) &&
           pass_tags(s, image_id, f->not_tags, false, pass) && pass_concepts(s, image_id, pass) &&
           pass_captions(s, image_id, pass);
}

// --- many images by sets ---------------------------------------------------------------------------------------------

bool query_sieve_make_sets(QuerySieve *s)
{
    if (s->sets)
        return true;
    s->q->captions_done = s->first_caption;
    bool ok = query_allowed_with_concepts(s->q, &s->allowed, &s->all);
    s->q->captions_done = 0;
    s->sets = ok;
    return ok;
}

bool query_sieve_holds(const QuerySieve *s, int64_t row)
{
    return s->all || (s->allowed.words[row / 64] >> (row % 64) & 1);
}

bool query_sieve_pass(QuerySieve *s, int64_t image_id, bool *pass)
{
    if (!s->sets && ++s->tested > ENOUGH && !query_sieve_make_sets(s))
        return false;
    const int64_t row = s->sets ? query_find_row(s->q->engine, image_id) : -1;
    if (row < 0)
        return passes(s, image_id, pass);
    *pass = query_sieve_holds(s, row);
    return true;
}
