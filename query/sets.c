// SPDX-License-Identifier: MIT
// Filters as sets of vector rows. Each filter's set is kept until the database changes: the pages of one question, and
// questions that share a split, are built once.
#include "query/private.h"

RowSet query_set_create(size_t rows)
{
    return (RowSet){.words = vc_calloc(rows / 64 + 1, sizeof(uint64_t)), .rows = rows};
}

void query_set_finish(RowSet *set)
{
    free(set->words);
    *set = (RowSet){0};
}

void query_forget_sets(QueryEngine *engine)
{
    for (size_t i = 0; i < QUERY_CACHED_SETS; i++) {
        free(engine->sets[i].key);
        query_set_finish(&engine->sets[i].set);
        engine->sets[i] = (CachedSet){0};
    }
}

static void set_row(RowSet *set, int64_t row)
{
    if (row < 0 || (size_t)row >= set->rows)
        return;
    uint64_t bit = UINT64_C(1) << (row % 64);
    set->count += !(set->words[row / 64] & bit);
    set->words[row / 64] |= bit;
}

bool query_need_captions(QueryEngine *engine, VcErr *err)
{
    return engine->state.captions_indexed ||
           vc_fail(err, VC_ERR_USAGE,
                   "the captions of this workspace are not indexed yet; 'vicha concepts mine' builds the index");
}

// Is it one of SQLite's complaints about the words, and not about the disk?
bool query_explain_caption(VcErr *err, const char *words)
{
    const char *fts = strstr(err->text, "fts5: "), *column = strstr(err->text, "no such column: ");
    const char *quote = strstr(err->text, "unterminated string");
    if (!fts && !column && !quote)
        return false;
    char reason[200];
    if (column) {
        snprintf(reason, sizeof reason, "'%.100s:' would name a column, and captions have only 'text'", column + 16);
    } else {
        snprintf(reason, sizeof reason, "%s", fts ? fts + 6 : quote);
    }
    VcStr quoted = {0};
    for (const char *c = words; *c && quoted.len < 200; c++)
        vc_str_put(&quoted, *c == '"' ? "\"\"" : (char[]){*c, 0});
    vc_fail(
        err, VC_ERR_USAGE,
        "cannot understand --caption '%.200s' (%s). Words must all be there; write dog OR cat, dog NOT cat, "
        "\"a phrase\" in double quotes, surf* for a beginning, NEAR(dog ball, 5); other signs go into double quotes, "
        "as in --caption '\"%s\"'",
        words, reason, vc_str_get(&quoted));
    vc_str_finish(&quoted);
    return false;
}

// Rows of the images that a statement names in its first column.
static bool add_images(Question *q, VcStmt *stmt, const CaptionMap *map, RowSet *set)
{
    bool row = true, ok = true;
    while ((ok = vc_stmt_step(stmt, &row, q->err)) && row) {
        const int64_t id = vc_column_int(stmt, 0);
        set_row(set, query_find_row(q->engine, map ? query_caption_image(map, id) : id));
    }
    return ok;
}

typedef struct {
    const char *key, *sql; // ?1 is bound to `text`
    const char *text;
    int64_t number;        // bound instead of a NULL text
    const CaptionMap *map; // of the captions that the statement names, NULL: it names images
} SetSource;

// Adds one source of images to a set that is being built.
static bool add_source(Question *q, const SetSource *from, RowSet *set)
{
    VcStmt *stmt = NULL;
    bool ok = vc_db_prepare(q->engine->ws.db, &stmt, from->sql, q->err);
    if (ok && from->text) {
        vc_bind_text(stmt, 1, from->text);
    } else if (ok) {
        vc_bind_int(stmt, 1, from->number);
    }
    ok = ok && add_images(q, stmt, from->map, set);
    vc_stmt_finish(&stmt);
    return ok;
}

static CachedSet *find_set(QueryEngine *engine, const char *key)
{
    CachedSet *oldest = &engine->sets[0];
    for (size_t i = 0; i < QUERY_CACHED_SETS; i++) {
        CachedSet *c = &engine->sets[i];
        if (c->key && strcmp(c->key, key) == 0)
            return c;
        if (!c->key || (oldest->key && c->used < oldest->used))
            oldest = c;
    }
    free(oldest->key);
    query_set_finish(&oldest->set);
    *oldest = (CachedSet){0};
    return oldest;
}

// The set of all images of the sources together, from the cache or new. Borrowed until the next call.
static bool union_of(Question *q, const char *what, const SetSource *from, size_t count, const RowSet **out)
{
    double start = vc_now();
    VcStr key = {0};
    for (size_t i = 0; i < count; i++)
        vc_str_putf(&key, "%s %s %lld\n", from[i].key, from[i].text ? from[i].text : "", (long long)from[i].number);
    CachedSet *cached = find_set(q->engine, vc_str_get(&key));
    bool known = cached->key != NULL, ok = true;
    if (!known) {
        RowSet set = query_set_create(q->engine->state.rows);
        for (size_t i = 0; ok && i < count; i++)
            ok = add_source(q, &from[i], &set);
        if (ok) {
            cached->set = set;
            cached->key = vc_strdup(vc_str_get(&key));
        } else {
            query_set_finish(&set);
        }
    }
    vc_str_finish(&key);
    if (!ok)
        return false;
    cached->used = ++q->engine->tick;
    *out = &cached->set;
    query_part(q, start, (int64_t)cached->set.count, "set of %s%s", what, known ? " (kept from before)" : "");
    return true;
}

static void keep_common(RowSet *all, const RowSet *set, bool inside)
{
    all->count = 0;
    for (size_t w = 0; w <= all->rows / 64; w++) {
        all->words[w] &= inside ? set->words[w] : ~set->words[w];
        all->count += (size_t)__builtin_popcountll(all->words[w]);
    }
}

static bool by_captions(Question *q, RowSet *all)
{
    QueryTexts words = q->request->filter.captions;
    for (size_t i = q->captions_done; i < words.count; i++) {
        const RowSet *set;
        const CaptionMap *map;
        char what[120];
        snprintf(what, sizeof what, "images whose caption matches %.80s", words.items[i]);
        if (!query_need_captions(q->engine, q->err))
            return false;
        if (!query_caption_map(q->engine, words.items[i], &map, q->err))
            return query_explain_caption(q->err, words.items[i]);
        const SetSource from = {"caption",
                                map ? "SELECT f.rowid FROM caption_fts f WHERE f.text MATCH ?1"
                                    : "SELECT c.image_id FROM caption_fts f CROSS JOIN caption c"
                                      " ON c.caption_id = f.rowid WHERE f.text MATCH ?1",
                                words.items[i], 0, map};
        if (!union_of(q, what, &from, 1, &set))
            return query_explain_caption(q->err, words.items[i]);
        keep_common(all, set, true);
    }
    return true;
}

static bool by_splits(Question *q, RowSet *all)
{
    QueryTexts names = q->request->filter.splits;
    if (names.count == 0)
        return true;
    SetSource *from = vc_arena_alloc(q->memory, names.count, sizeof *from);
    for (size_t i = 0; i < names.count; i++)
        from[i] = (SetSource){"split", "SELECT image_id FROM split WHERE name = ?1", names.items[i], 0, NULL};
    const RowSet *set;
    if (!union_of(q, "images of the splits", from, names.count, &set))
        return false;
    keep_common(all, set, true);
    return true;
}

static bool by_sources(Question *q, RowSet *all)
{
    size_t count = q->request->filter.sources.count;
    if (count == 0)
        return true;
    SetSource *from = vc_arena_alloc(q->memory, count, sizeof *from);
    for (size_t i = 0; i < count; i++) { // the index on (source_id, key) holds the image_id
        from[i] =
            (SetSource){"source", "SELECT image_id FROM image WHERE source_id = ?1", NULL, q->source_ids[i], NULL};
    }
    const RowSet *set;
    if (!union_of(q, "images of the sources", from, count, &set))
        return false;
    keep_common(all, set, true);
    return true;
}

static bool by_tags(Question *q, RowSet *all, QueryTexts names, bool inside)
{
    for (size_t i = 0; i < names.count; i++) {
        const RowSet *set;
        char what[120];
        snprintf(what, sizeof what, "images tagged %.80s", names.items[i]);
        const SetSource from = {"tag", "SELECT image_id FROM tag WHERE name = ?1", names.items[i], 0, NULL};
        if (!union_of(q, what, &from, 1, &set))
            return false;
        keep_common(all, set, inside);
    }
    return true;
}

bool query_allowed(Question *q, RowSet *out, bool *all)
{
    const QueryFilter *f = &q->request->filter;
    if (!query_need_rows(q->engine, q->err))
        return false;
    const EngineState *s = &q->engine->state;
    *out = (RowSet){0};
    *all = s->dead.count == 0 && f->captions.count - q->captions_done + f->splits.count + f->sources.count +
                                         f->tags.count + f->not_tags.count ==
                                     0;
    if (*all)
        return true;
    *out = query_set_create(s->rows);
    for (size_t w = 0; w < s->rows / 64; w++)
        out->words[w] = UINT64_MAX;
    if (s->rows % 64)
        out->words[s->rows / 64] = (UINT64_C(1) << (s->rows % 64)) - 1;
    keep_common(out, &s->dead, false);
    bool ok = by_captions(q, out) && by_splits(q, out) && by_sources(q, out) && by_tags(q, out, f->tags, true) &&
              by_tags(q, out, f->not_tags, false);
    if (!ok)
        query_set_finish(out);
    return ok;
}
