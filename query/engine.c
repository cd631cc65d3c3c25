// SPDX-License-Identifier: MIT
#include "query/engine.h"

#include "query/private.h"

static const char *const statement_texts[ST_COUNT] = {
    [ST_VERSION] = "PRAGMA data_version",
    [ST_IMAGE] = ("SELECT i.row, i.width, i.height, i.key, s.name, p.name, i.status, i.source_id,"
                  " CASE WHEN i.key LIKE 'http%' THEN i.key ELSE s.uri || '/' || i.key END"
                  " FROM image i LEFT JOIN source s USING(source_id) LEFT JOIN split p ON p.image_id = i.image_id"
                  " WHERE i.image_id = ?1"),
    [ST_CAPTION] = "SELECT text FROM caption WHERE image_id = ?1 ORDER BY caption_id LIMIT 1",
    [ST_CONCEPTS] = ("SELECT ic.concept_id, c.text, ic.score FROM image_concept ic CROSS JOIN concept c"
                     " ON c.concept_id = ic.concept_id WHERE ic.image_id = ?1 ORDER BY ic.rank"),
    [ST_IMAGE_SCORES] = "SELECT concept_id, score FROM image_concept WHERE image_id = ?1 ORDER BY rank",
    [ST_FIND_CONCEPT] = "SELECT concept_id FROM concept WHERE text = ?1",
    [ST_CAPTION_IMAGE] = "SELECT image_id FROM caption WHERE caption_id = ?1",
    [ST_TAGGED] = "SELECT 1 FROM tag WHERE name = ?1 AND image_id = ?2",
    [ST_SOURCE] = "SELECT 1",
};

const char *query_keep(VcArena *memory, const char *text)
{
    if (!text)
        return NULL;
    size_t n = strlen(text) + 1;
    char *copy = vc_arena_alloc(memory, n, 1);
    memcpy(copy, text, n);
    return copy;
}

VcStmt *query_statement(QueryEngine *engine, int which, VcErr *err)
{
    VcStmt **stmt = &engine->statements[which];
    if (!*stmt && !vc_db_prepare(engine->ws.db, stmt, statement_texts[which], err))
        return NULL;
    vc_stmt_reset(*stmt);
    return *stmt;
}

void query_part(Question *q, double start, int64_t rows, const char *fmt, ...)
{
    VcStr text = {0};
    va_list ap;
    va_start(ap, fmt);
    vc_str_vputf(&text, fmt, ap);
    va_end(ap);
    q->parts = vc_grow(q->parts, &q->part_cap, q->page->part_count + 1, sizeof *q->parts);
    q->parts[q->page->part_count++] = (QueryPart){query_keep(q->memory, vc_str_get(&text)), rows, vc_now() - start};
    vc_str_finish(&text);
}

// --- opening, and noticing changes -----------------------------------------------------------------------------------

static bool open_engine(QueryEngine **out, const char *dir, VcPool *pool, QueryShare *share, VcErr *err)
{
    QueryEngine *engine = vc_calloc(1, sizeof *engine);
    engine->pool = pool;
    engine->version = -1;
    *out = NULL;
    if (!vc_workspace_open(&engine->ws, dir, VC_DB_READ, err)) {
        free(engine);
        return false;
    }
    engine->share = share ? query_share_join(share) : query_share_create();
    *out = engine;
    return true;
}

bool query_engine_open(QueryEngine **out, const char *dir, VcPool *pool, VcErr *err)
{
    return open_engine(out, dir, pool, NULL, err);
}

bool query_engine_open_beside(QueryEngine **out, QueryEngine *first, VcErr *err)
{
    return open_engine(out, first->ws.dir, first->pool, first->share, err);
}

VcWorkspace *query_engine_workspace(QueryEngine *engine)
{
    return &engine->ws;
}

static void forget_state(QueryEngine *engine)
{
    EngineState *s = &engine->state;
    query_share_give_back(engine->share, &s->postings);
    nearest_close(&s->nearest);
    vectors_reader_close(&s->vectors);
    free(s->scores);
    free(s->scored);
    concepts_model_finish(&s->model);
    free(s->own_ids);
    free(s->sorted_ids);
    free(s->sorted_rows);
    free(s->rowless);
    query_captions_finish(s);
    query_set_finish(&s->dead);
    for (size_t i = 0; i < s->list_count; i++) {
        free(s->lists[i].rows);
        free(s->lists[i].scores);
    }
    free(s->lists);
    *s = (EngineState){0};
    query_forget_sets(engine);
}

void query_engine_close(QueryEngine **engine)
{
    if (!engine || !*engine)
        return;
    forget_state(*engine);
    for (int i = 0; i < ST_COUNT; i++)
        vc_stmt_finish(&(*engine)->statements[i]);
    vc_workspace_close(&(*engine)->ws);
    query_share_leave(&(*engine)->share);
    free(*engine);
    *engine = NULL;
}

static bool read_schema(QueryEngine *engine, VcErr *err)
{
    EngineState *s = &engine->state;
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(engine->ws.db, &stmt,
                                        "SELECT name FROM sqlite_schema WHERE name IN"
                                        " ('ic_concept', 'ic_top', 'caption_fts', 'image_rejected')",
                                        err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const char *name = vc_column_text(stmt, 0);
        s->ic_concept |= strcmp(name, "ic_concept") == 0;
        s->ic_top |= strcmp(name, "ic_top") == 0;
        s->captions_indexed |= strcmp(name, "caption_fts") == 0;
        s->rejected_index |= strcmp(name, "image_rejected") == 0;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// Inside the call's read transaction: is the database still the one that `state` describes?
static bool refresh(QueryEngine *engine, VcErr *err)
{
    VcStmt *stmt = query_statement(engine, ST_VERSION, err);
    bool row = false;
    if (!stmt || !vc_stmt_step(stmt, &row, err))
        return false;
    int64_t version = vc_column_int(stmt, 0);
    vc_stmt_reset(stmt);
    EngineState *s = &engine->state;
    // The lists come a moment after the commit that they belong to.
    if (s->known && version == engine->version &&
        (s->postings || !query_share_postings(engine->share, &engine->ws, s->stamp, &s->postings, NULL) ||
         !s->postings))
        return true;
    forget_state(engine);
    if (!read_schema(engine, err) || !postings_stamp(&engine->ws, &s->stamp, err))
        return false;
    VcErr damaged = {0};
    if (!query_share_postings(engine->share, &engine->ws, s->stamp, &s->postings, &damaged))
        vc_warn("%s; asking the tables instead ('vicha concepts mine' writes it anew)", damaged.text);
    engine->version = version;
    s->known = true;
    return true;
}

// --- rows and images -------------------------------------------------------------------------------------------------

static bool read_own_rows(QueryEngine *engine, size_t known, VcErr *err)
{
    EngineState *s = &engine->state;
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(engine->ws.db, &stmt,
                                        known > 0 ? "SELECT image_id, row FROM image WHERE row >= ?1"
                                                  : "SELECT image_id, row FROM image NOT INDEXED WHERE row >= ?1",
                                        err);
    if (ok)
        vc_bind_int(stmt, 1, (int64_t)known);
    size_t cap = 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t at = vc_column_int(stmt, 1);
        if (at >= UINT32_MAX) {
            ok = vc_fail(err, VC_ERR_DB, "image %lld points to vector %lld", (long long)vc_column_int(stmt, 0),
                         (long long)at);
            break;
        }
        if (!s->own_ids && known > 0) { // the file's part first
            s->own_ids = vc_grow(NULL, &cap, known * 2, sizeof *s->own_ids);
            memcpy(s->own_ids, s->ids, known * sizeof *s->own_ids);
        }
        s->own_ids = vc_grow(s->own_ids, &cap, (size_t)at + 1, sizeof *s->own_ids);
        for (; s->rows <= (size_t)at; s->rows++)
            s->own_ids[s->rows] = -1;
        s->own_ids[at] = vc_column_int(stmt, 0);
    }
    vc_stmt_finish(&stmt);
    if (s->own_ids)
        s->ids = s->own_ids;
    return ok;
}

typedef struct {
    int64_t id;
    uint32_t row;
} IdRow;

static int by_image(const void *a, const void *b)
{
    int64_t x = ((const IdRow *)a)->id, y = ((const IdRow *)b)->id;
    return x < y ? -1 : x > y;
}

// The way from image_id to row: the ids themselves where they rise without a gap, else a sorted copy.
static void sort_ids(EngineState *s)
{
    bool rising = true;
    for (size_t i = 0; i < s->rows; i++) {
        s->image_count += s->ids[i] >= 0;
        rising = rising && s->ids[i] >= 0 && (i == 0 || s->ids[i] > s->ids[i - 1]);
    }
    if (rising)
        return;
    IdRow *pairs = vc_alloc(s->image_count + 1, sizeof *pairs);
    size_t n = 0;
    for (size_t i = 0; i < s->rows; i++) {
        if (s->ids[i] >= 0)
            pairs[n++] = (IdRow){s->ids[i], (uint32_t)i};
    }
    qsort(pairs, n, sizeof *pairs, by_image);
    s->sorted_ids = vc_alloc(n + 1, sizeof *s->sorted_ids);
    s->sorted_rows = vc_alloc(n + 1, sizeof *s->sorted_rows);
    for (size_t i = 0; i < n; i++) {
        s->sorted_ids[i] = pairs[i].id;
        s->sorted_rows[i] = pairs[i].row;
    }
    free(pairs);
}

int64_t query_find_row(const QueryEngine *engine, int64_t image_id)
{
    const EngineState *s = &engine->state;
    const int64_t *ids = s->sorted_ids ? s->sorted_ids : s->ids;
    size_t low = 0, high = s->image_count;
    // Ids are often consecutive: the place is then known at once.
    if (high > 0 && image_id >= ids[0] && image_id - ids[0] < (int64_t)high && ids[image_id - ids[0]] == image_id)
        low = high = (size_t)(image_id - ids[0]);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (ids[mid] < image_id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low >= s->image_count || ids[low] != image_id)
        return -1;
    return s->sorted_rows ? (int64_t)s->sorted_rows[low] : (int64_t)low;
}

void query_mark_dead(QueryEngine *engine, size_t row)
{
    RowSet *dead = &engine->state.dead;
    if (row < dead->rows && !(dead->words[row / 64] >> (row % 64) & 1)) {
        dead->words[row / 64] |= UINT64_C(1) << (row % 64);
        dead->count++;
    }
}

static bool read_dead(QueryEngine *engine, VcErr *err)
{
    EngineState *s = &engine->state;
    s->dead = query_set_create(s->rows);
    for (size_t i = 0; i < s->rows; i++) {
        if (s->ids[i] < 0)
            query_mark_dead(engine, i);
    }
    VcStmt *stmt = NULL;
    bool row = true,
         ok = vc_db_prepare(engine->ws.db, &stmt,
                            s->rejected_index
                                ? "SELECT row FROM image INDEXED BY image_rejected WHERE status < 0 AND row IS NOT NULL"
                                : "SELECT row FROM image WHERE status < 0 AND row IS NOT NULL",
                            err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        query_mark_dead(engine, (size_t)vc_column_int(stmt, 0));
    vc_stmt_finish(&stmt);
    return ok;
}

bool query_need_rows(QueryEngine *engine, VcErr *err)
{
    EngineState *s = &engine->state;
    if (s->mapped)
        return true;
    size_t known = s->postings ? (size_t)postings_rows(s->postings) : 0;
    s->rows = known;
    s->ids = s->postings ? postings_image_ids(s->postings) : NULL;
    if (!read_own_rows(engine, known, err))
        return false;
    sort_ids(s);
    s->mapped = read_dead(engine, err);
    return s->mapped;
}

bool query_need_rowless(QueryEngine *engine, VcErr *err)
{
    enum { FEW = 20000 };
    EngineState *s = &engine->state;
    VcStmt *stmt = NULL;
    size_t cap = 0;
    if (s->rowless_known)
        return true;
    bool row = true,
         ok = query_need_rows(engine, err) &&
              vc_db_prepare(engine->ws.db, &stmt,
                            "SELECT image_id FROM image WHERE row IS NULL AND status >= 0 ORDER BY image_id LIMIT ?1",
                            err);
    if (ok)
        vc_bind_int(stmt, 1, FEW + 1);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        s->rowless = vc_grow(s->rowless, &cap, s->rowless_count + 1, sizeof *s->rowless);
        s->rowless[s->rowless_count++] = vc_column_int(stmt, 0);
    }
    vc_stmt_finish(&stmt);
    s->rowless_known = ok;
    s->rowless_few = ok && s->rowless_count <= FEW;
    return ok;
}

bool query_need_vectors(QueryEngine *engine, VcErr *err)
{
    EngineState *s = &engine->state;
    if (s->nearest)
        return true;
    if (!s->vectors && !concepts_open_vectors(&engine->ws, "image", &s->vectors, &s->model, err))
        return false;
    char *path = concepts_vector_path(&engine->ws, "image", s->model.name), *bytes = vectors_bytes_path(path);
    const bool ok = nearest_open(&s->nearest, s->vectors, bytes, NULL, err);
    free(bytes);
    free(path);
    return ok;
}

// --- lists of concepts -----------------------------------------------------------------------------------------------

static TableList *find_list(const EngineState *s, int64_t concept_id)
{
    for (size_t i = 0; i < s->list_count; i++) {
        if (s->lists[i].concept_id == concept_id)
            return &s->lists[i];
    }
    return NULL;
}

PostingList query_term_list(void *engine, const QueryNode *term)
{
    const EngineState *s = &((QueryEngine *)engine)->state;
    if (s->postings)
        return postings_list(s->postings, term->concept_id);
    const TableList *list = find_list(s, term->concept_id);
    return list ? list->list : (PostingList){.best = POSTINGS_ABSENT};
}

typedef struct {
    uint32_t row;
    int16_t score;
} RowScore;

static int by_row(const void *a, const void *b)
{
    uint32_t x = ((const RowScore *)a)->row, y = ((const RowScore *)b)->row;
    return x < y ? -1 : x > y;
}

static bool read_list(QueryEngine *engine, int64_t concept_id, VcErr *err)
{
    EngineState *s = &engine->state;
    VcStmt *stmt = NULL;
    RowScore *pairs = NULL;
    size_t n = 0, cap = 0;
    bool row = true,
         ok = vc_db_prepare(
             engine->ws.db, &stmt,
             s->ic_concept ? "SELECT image_id, score FROM image_concept INDEXED BY ic_concept WHERE concept_id = ?1"
                           : "SELECT image_id, score FROM image_concept WHERE concept_id = ?1",
             err);
    if (ok)
        vc_bind_int(stmt, 1, concept_id);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t at = query_find_row(engine, vc_column_int(stmt, 0)), score = vc_column_int(stmt, 1);
        if (at < 0)
            continue;
        pairs = vc_grow(pairs, &cap, n + 1, sizeof *pairs);
        pairs[n++] = (RowScore){(uint32_t)at, (int16_t)(score > INT16_MAX    ? INT16_MAX
                                                        : score < -INT16_MAX ? -INT16_MAX
                                                                             : score)};
    }
    vc_stmt_finish(&stmt);
    if (ok && s->sorted_rows && n > 1)
        qsort(pairs, n, sizeof *pairs, by_row);
    if (ok) {
        s->lists = vc_grow(s->lists, &s->list_cap, s->list_count + 1, sizeof *s->lists);
        TableList *list = &s->lists[s->list_count++];
        *list = (TableList){.concept_id = concept_id,
                            .rows = vc_alloc(n + 1, sizeof *list->rows),
                            .scores = vc_alloc(n + 1, sizeof *list->scores)};
        for (size_t i = 0; i < n; i++) {
            list->rows[i] = pairs[i].row;
            list->scores[i] = pairs[i].score;
        }
        list->list = (PostingList){.count = n, .rows = list->rows, .scores = list->scores};
    }
    free(pairs);
    return ok;
}

bool query_need_lists(QueryEngine *engine, const QueryNode *root, VcErr *err)
{
    if (!root || engine->state.postings)
        return true;
    for (size_t i = 0; i < root->child_count; i++) {
        if (!query_need_lists(engine, root->children[i], err))
            return false;
    }
    return root->kind != QUERY_TERM || find_list(&engine->state, root->concept_id) ||
           read_list(engine, root->concept_id, err);
}

// --- asking ----------------------------------------------------------------------------------------------------------

static bool choose_order(Question *q)
{
    const QueryRequest *r = q->request;
    if (r->limit < 1 || r->limit > QUERY_MAX_LIMIT) {
        return vc_fail(q->err, VC_ERR_USAGE, "a page of %zu images cannot be asked for (1 to %d)", r->limit,
                       QUERY_MAX_LIMIT);
    }
    bool cursor = r->cursor && *r->cursor;
    if (cursor && r->offset > 0)
        return vc_fail(q->err, VC_ERR_USAGE, "give either a cursor or an offset, not both");
    if (!query_compile(q) || !query_find_sources(q) || (r->vector && !query_need_vectors(q->engine, q->err)))
        return false;
    q->order = r->vector                      ? QUERY_BY_VECTOR
               : q->scored                    ? QUERY_BY_CONCEPTS
               : r->filter.captions.count > 0 ? QUERY_BY_BM25
                                              : QUERY_BY_ID;
    // Which of the orders of captions it is shows itself when they are counted; a cursor remembers it.
    if (q->order == QUERY_BY_BM25 && cursor && r->cursor[0] == '1')
        q->order = r->cursor[1] == 't' ? QUERY_BY_CAPTION : QUERY_BY_BM25;
    size_t dim = r->vector ? vectors_reader_dim(q->engine->state.vectors) : 0;
    q->hash = query_hash(r, QUERY_BY_ID, dim);
    q->has_after = cursor;
    return !cursor || query_cursor_read(r->cursor, q->order, q->hash, &q->after, q->err);
}

static bool answer(Question *q)
{
    double start = vc_now();
    if (!refresh(q->engine, q->err) || !choose_order(q))
        return false;
    if (q->root)
        query_part(q, start, -1, "understood: %s", query_expression_text(q->root, q->memory));
    q->page->order = q->order;
    bool ok = false;
    switch (q->order) {
    case QUERY_BY_VECTOR:
        ok = query_page_by_vector(q);
        break;
    case QUERY_BY_CONCEPTS:
        ok = query_page_by_concepts(q);
        break;
    case QUERY_BY_BM25:
    case QUERY_BY_CAPTION:
        ok = query_page_by_captions(q);
        break;
    case QUERY_BY_ID:
        ok = query_page_by_id(q);
        break;
    }
    q->page->order = q->order;
    if (ok && q->request->has_min_score && q->order != QUERY_BY_VECTOR && q->order != QUERY_BY_CONCEPTS)
        q->page->notice = "the lowest score was not looked at: it needs a text, a likeness or a concept";
    // A name that nothing has is an error, and is only looked for when nothing was found.
    return ok && (q->page->matched > 0 || q->has_after || query_check_names(q));
}

bool query_run(QueryEngine *engine, const QueryRequest *request, QueryPage *page, VcErr *err)
{
    double start = vc_now();
    *page = (QueryPage){.memory = vc_arena_create("query page")};
    Question q = {.engine = engine, .request = request, .page = page, .memory = page->memory, .err = err};
    // One state of the database for the whole call.
    bool ok = vc_db_exec(engine->ws.db, "BEGIN", err);
    if (ok) {
        ok = answer(&q);
        vc_db_rollback(engine->ws.db);
    }
    QueryPart *parts = vc_arena_alloc(page->memory, page->part_count + 1, sizeof *parts);
    if (q.parts)
        memcpy(parts, q.parts, page->part_count * sizeof *parts);
    free(q.parts);
    page->parts = parts;
    page->seconds = vc_now() - start;
    if (!ok)
        query_page_finish(page);
    return ok;
}

bool query_select(QueryEngine *engine, const QueryFilter *filter, int64_t **ids, size_t *count, VcErr *err)
{
    const QueryRequest request = {.filter = *filter, .limit = 1};
    QueryPage page = {.memory = vc_arena_create("query selection")};
    Question q = {.engine = engine, .request = &request, .page = &page, .memory = page.memory, .err = err};
    *ids = NULL;
    *count = 0;
    bool ok = vc_db_exec(engine->ws.db, "BEGIN", err);
    if (ok) {
        ok = refresh(engine, err) && query_compile(&q) && query_find_sources(&q) &&
             (q.scored ? query_select_rows(&q, ids, count) : query_select_ids(&q, ids, count)) &&
             (*count > 0 || query_check_names(&q));
        vc_db_rollback(engine->ws.db);
    }
    free(q.parts);
    vc_arena_destroy(&page.memory);
    if (!ok) {
        free(*ids);
        *ids = NULL;
        *count = 0;
    }
    return ok;
}

bool query_engine_warm(QueryEngine *engine, VcErr *err)
{
    if (!vc_db_exec(engine->ws.db, "BEGIN", err))
        return false;
    const bool ok = refresh(engine, err) && query_need_rows(engine, err) && query_warm_captions(engine, err);
    vc_db_rollback(engine->ws.db);
    return ok;
}

bool query_concept_scores(QueryEngine *engine, int64_t concept_id, double *low, double *high, int64_t *counts, size_t n,
                          VcErr *err)
{
    const QueryNode term = {.kind = QUERY_TERM, .concept_id = concept_id};
    int least = INT16_MAX, most = POSTINGS_ABSENT;
    memset(counts, 0, n * sizeof *counts);
    *low = *high = 0;
    if (!vc_db_exec(engine->ws.db, "BEGIN", err))
        return false;
    const bool ok = refresh(engine, err) && query_need_rows(engine, err) && query_need_lists(engine, &term, err);
    const PostingList list = ok ? query_term_list(engine, &term) : (PostingList){.count = 0};
    const size_t scores = list.rows ? list.count : list.count ? list.span : 0;
    for (size_t i = 0; i < scores; i++) {
        if (list.scores[i] == POSTINGS_ABSENT)
            continue;
        least = list.scores[i] < least ? list.scores[i] : least;
        most = list.scores[i] > most ? list.scores[i] : most;
    }
    for (size_t i = 0; i < scores; i++) {
        if (list.scores[i] != POSTINGS_ABSENT)
            counts[(size_t)(list.scores[i] - least) * n / (size_t)(most - least + 1)]++;
    }
    if (most >= least) {
        *low = (double)least / 32767;
        *high = (double)most / 32767;
    }
    vc_db_rollback(engine->ws.db);
    return ok;
}

void query_page_finish(QueryPage *page)
{
    vc_arena_destroy(&page->memory);
    *page = (QueryPage){0};
}
