// SPDX-License-Identifier: MIT
// Names in a question: concepts, sources, splits, tags. An unknown one is an error that names what there is.
#include "query/private.h"

// --- concepts --------------------------------------------------------------------------------------------------------

static bool look_up(Question *q, const char *text, int64_t *id)
{
    VcStmt *stmt = query_statement(q->engine, ST_FIND_CONCEPT, q->err);
    *id = -1;
    if (!stmt)
        return false;
    vc_bind_text(stmt, 1, text);
    bool row, ok = vc_stmt_step(stmt, &row, q->err);
    if (ok && row)
        *id = vc_column_int(stmt, 0);
    vc_stmt_reset(stmt);
    return ok;
}

static bool resolve(Question *q, QueryNode *node, size_t *terms)
{
    for (size_t i = 0; i < node->child_count; i++) {
        if (!resolve(q, node->children[i], terms))
            return false;
    }
    if (node->kind != QUERY_TERM || node->concept_id >= 0)
        return true;
    if (++*terms > QUERY_MAX_TERMS)
        return vc_fail(q->err, VC_ERR_USAGE, "too many concepts in one question (%d are allowed)", QUERY_MAX_TERMS);
    // search_find_concept lower-cases where it must, and names the nearest ones.
    return look_up(q, node->text, &node->concept_id) &&
           (node->concept_id >= 0 || search_find_concept(&q->engine->ws, node->text, &node->concept_id, q->err));
}

// An expression, or a concept whose whole text it is ("black and white", whatever its words are).
static bool read_expression(Question *q, const char *text, QueryNode **out)
{
    int64_t id;
    if (!look_up(q, text, &id))
        return false;
    if (id < 0)
        return query_expression_parse(out, text, q->memory, q->err);
    QueryNode *node = vc_arena_zalloc(q->memory, 1, sizeof *node);
    *node = (QueryNode){.kind = QUERY_TERM, .text = query_keep(q->memory, text), .concept_id = id, .least = INT32_MIN};
    *out = node;
    return true;
}

static QueryNode *negate(Question *q, QueryNode *node)
{
    if (node->kind == QUERY_NOT)
        return node->children[0];
    QueryNode *out = vc_arena_zalloc(q->memory, 1, sizeof *out);
    QueryNode **child = vc_arena_alloc(q->memory, 1, sizeof *child);
    *child = node;
    *out = (QueryNode){.kind = QUERY_NOT, .children = child, .child_count = 1, .concept_id = -1};
    return out;
}

static void add_part(QueryNode *all, QueryNode *node, size_t *cap)
{
    // An AND inside an AND is one with it: the mean is over all its concepts.
    size_t n = node->kind == QUERY_AND ? node->child_count : 1;
    all->children = vc_grow(all->children, cap, all->child_count + n, sizeof(*all->children));
    for (size_t i = 0; i < n; i++) {
        QueryNode *part = node->kind == QUERY_AND ? node->children[i] : node;
        bool known = false; // the same concept twice counts once
        for (size_t k = 0; k < all->child_count && !known; k++) {
            const QueryNode *other = all->children[k];
            known = part->kind == QUERY_TERM && other->kind == QUERY_TERM && part->concept_id == other->concept_id &&
                    part->least == other->least;
        }
        if (!known)
            all->children[all->child_count++] = part;
    }
}

bool query_compile(Question *q)
{
    const QueryFilter *f = &q->request->filter;
    QueryNode *all = vc_arena_zalloc(q->memory, 1, sizeof *all);
    *all = (QueryNode){.kind = QUERY_AND, .concept_id = -1};
    size_t cap = 0, terms = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < f->with.count + f->without.count; i++) {
        bool with = i < f->with.count;
        QueryNode *node = NULL;
        ok = read_expression(q, with ? f->with.items[i] : f->without.items[i - f->with.count], &node) &&
             resolve(q, node, &terms);
        if (ok)
            add_part(all, with ? node : negate(q, node), &cap);
    }
    QueryNode **owned = all->children;
    if (ok && all->child_count == 1) {
        q->root = all->children[0];
    } else if (ok && all->child_count > 1) {
        all->children = vc_arena_alloc(q->memory, all->child_count, sizeof *owned);
        memcpy(all->children, owned, all->child_count * sizeof(*owned));
        q->root = all;
    }
    free(owned);
    q->scored = query_expression_scored(q->root);
    return ok;
}

// --- sources, splits, tags -------------------------------------------------------------------------------------------

// ", 'a', 'b'": up to ten names a query gives, for an error's text.
static bool list_names(VcDb *db, const char *sql, VcStr *out, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(db, &stmt, sql, err);
    for (int n = 0; ok && n < 10 && (ok = vc_stmt_step(stmt, &row, err)) && row; n++)
        vc_str_putf(out, "%s'%s'", n ? ", " : "", vc_column_text(stmt, 0));
    vc_stmt_finish(&stmt);
    return ok;
}

static bool unknown(Question *q, const char *what, const char *name, const char *sql)
{
    VcStr names = {0};
    if (list_names(q->engine->ws.db, sql, &names, q->err)) {
        vc_fail(q->err, VC_ERR_USAGE, "this workspace has no %s '%.200s'%s%s", what, name,
                names.len ? "; there are " : "; it has none at all", vc_str_get(&names));
    }
    vc_str_finish(&names);
    return false;
}

static bool has_name(Question *q, const char *sql, const char *name, int64_t *id)
{
    VcStmt *stmt = NULL;
    bool row = false;
    *id = -1;
    bool ok = vc_db_prepare(q->engine->ws.db, &stmt, sql, q->err);
    if (ok) {
        vc_bind_text(stmt, 1, name);
        ok = vc_stmt_step(stmt, &row, q->err);
    }
    if (ok && row)
        *id = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok;
}

bool query_find_sources(Question *q)
{
    QueryTexts names = q->request->filter.sources;
    q->source_ids = vc_arena_alloc(q->memory, names.count + 1, sizeof *q->source_ids);
    for (size_t i = 0; i < names.count; i++) {
        // A name as it stands, or the end of one that only one source has ("captions.jsonl").
        if (!has_name(q, "SELECT source_id FROM source WHERE name = ?1", names.items[i], &q->source_ids[i]))
            return false;
        if (q->source_ids[i] < 0 &&
            !has_name(q,
                      "SELECT CASE WHEN count(*) = 1 THEN min(source_id) ELSE -1 END FROM source WHERE"
                      " substr(name, -length(?1)) = ?1 OR substr(uri, -length(?1)) = ?1",
                      names.items[i], &q->source_ids[i]))
            return false;
        if (q->source_ids[i] < 0)
            return unknown(q, "source", names.items[i], "SELECT name FROM source ORDER BY source_id");
    }
    return true;
}

bool query_check_names(Question *q)
{
    const QueryFilter *f = &q->request->filter;
    int64_t id;
    for (size_t i = 0; i < f->splits.count; i++) {
        if (!has_name(q, "SELECT image_id FROM split WHERE name = ?1 LIMIT 1", f->splits.items[i], &id))
            return false;
        if (id < 0)
            return unknown(q, "split", f->splits.items[i], "SELECT DISTINCT name FROM split ORDER BY name");
    }
    for (size_t i = 0; i < f->tags.count; i++) {
        if (!has_name(q, "SELECT image_id FROM tag WHERE name = ?1 LIMIT 1", f->tags.items[i], &id))
            return false;
        if (id < 0)
            return unknown(q, "tag", f->tags.items[i], "SELECT DISTINCT name FROM tag ORDER BY name");
    }
    return true;
}
