// SPDX-License-Identifier: MIT
#include "concepts/search.h"

#include "base/mem.h"
#include "base/str.h"
#include "concepts/store.h"
#include "concepts/vectors.h"
#include "nn/nn.h"

#include <math.h>

// --- names -----------------------------------------------------------------------------------------------------------

static bool lookup(VcWorkspace *ws, const char *sql, const char *text, int64_t *id, VcErr *err)
{
    VcStmt *stmt;
    *id = -1;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    vc_bind_text(stmt, 1, text);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row)
        *id = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok;
}

// Edits between two texts, at most `limit` + 1 (Levenshtein, bytes).
static size_t edits(const char *a, const char *b, size_t limit)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b), row[MAX + 1];
    if (n > MAX || m > MAX || (n > m ? n - m : m - n) > limit)
        return limit + 1;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = diagonal + 1 < best ? diagonal + 1 : best;
        }
    }
    return row[m];
}

// Up to three known concepts within two edits, or whose last word it is; the most frequent of the nearest first.
static bool unknown_concept(VcWorkspace *ws, const char *text, VcErr *err)
{
    enum { NEAR = 3, EDITS = 2, WORD = EDITS, FAR };
    char *near[NEAR] = {NULL};
    size_t distance[NEAR] = {FAR, FAR, FAR}, n = strlen(text);
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT text FROM concept ORDER BY concept_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const char *known = vc_column_text(stmt, 0);
        size_t length = strlen(known), limit = n < 4 ? 1 : EDITS, d = edits(text, known, limit);
        d = d > limit ? FAR : d;
        if (d == FAR && n && length > n && known[length - n - 1] == ' ' && strcmp(known + length - n, text) == 0)
            d = WORD;
        size_t at = NEAR;
        while (at > 0 && d < distance[at - 1])
            at--;
        if (at == NEAR)
            continue;
        free(near[NEAR - 1]);
        memmove(near + at + 1, near + at, (NEAR - 1 - at) * sizeof *near);
        memmove(distance + at + 1, distance + at, (NEAR - 1 - at) * sizeof *distance);
        near[at] = vc_strdup(known);
        distance[at] = d;
    }
    vc_stmt_finish(&stmt);
    VcStr list = {0};
    for (size_t i = 0; i < NEAR && near[i]; i++)
        vc_str_putf(&list, "%s'%s'", i ? ", " : "; near it are ", near[i]);
    if (ok) {
        vc_fail(err, VC_ERR_USAGE, "'%s' is no concept of this workspace%s; 'vicha concepts list' shows all", text,
                vc_str_get(&list));
    }
    vc_str_finish(&list);
    for (size_t i = 0; i < NEAR; i++)
        free(near[i]);
    return false;
}

bool search_find_concept(VcWorkspace *ws, const char *text, int64_t *concept_id, VcErr *err)
{
    static const char sql[] = "SELECT concept_id FROM concept WHERE text = ?1";
    if (!lookup(ws, sql, text, concept_id, err))
        return false;
    if (*concept_id < 0 && !lookup(ws, "SELECT concept_id FROM concept WHERE text = lower(?1)", text, concept_id, err))
        return false;
    return *concept_id >= 0 || unknown_concept(ws, text, err);
}

bool search_find_image(VcWorkspace *ws, const char *name, int64_t *image_id, VcErr *err)
{
    int64_t number;
    *image_id = -1;
    if (vc_parse_i64(name, &number) &&
        !lookup(ws, "SELECT image_id FROM image WHERE image_id = ?1", name, image_id, err))
        return false;
    if (*image_id < 0 &&
        !lookup(ws, "SELECT image_id FROM image WHERE key = ?1 ORDER BY image_id", name, image_id, err))
        return false;
    if (*image_id >= 0)
        return true;
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT image_id, key FROM image WHERE substr(key, -length(?1)) = ?1 ORDER BY image_id LIMIT 2",
                       err))
        return false;
    vc_bind_text(stmt, 1, name);
    int found = 0;
    bool row = true, ok = *name != 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (found++ == 0)
            *image_id = vc_column_int(stmt, 0);
    }
    vc_stmt_finish(&stmt);
    if (ok && found > 1) {
        return vc_fail(err, VC_ERR_USAGE,
                       "more than one image has a key that ends in '%s'; give more of it, or its number", name);
    }
    if (found == 0)
        return vc_fail(err, VC_ERR_USAGE, "there is no image '%s' in this workspace", name);
    return ok;
}

bool search_image_vector(VcWorkspace *ws, int64_t image_id, float **out, size_t *dim, VcErr *err)
{
    VectorsReader *r = NULL;
    ConceptsModel model = {0};
    char sql[96];
    int64_t row = -1;
    snprintf(sql, sizeof sql, "SELECT row FROM image WHERE image_id = %lld", (long long)image_id);
    bool ok = concepts_open_vectors(ws, "image", &r, &model, err) && vc_db_int(ws->db, sql, -1, &row, err);
    if (ok && (row < 0 || (uint64_t)row >= vectors_reader_rows(r))) {
        ok = vc_fail(err, VC_ERR_USAGE, "image %lld has no vector: it was not embedded, or it was rejected",
                     (long long)image_id);
    }
    if (ok) {
        *dim = vectors_reader_dim(r);
        *out = vc_alloc(*dim, sizeof **out);
        vectors_reader_floats(r, (uint64_t)row, 1, *out);
    }
    vectors_reader_close(&r);
    concepts_model_finish(&model);
    return ok;
}

// --- filters ---------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t id, images;
} Wanted;

typedef struct {
    VcWorkspace *ws;
    const SearchQuery *query;
    Wanted *with; // concepts that must be there, the rarest first
    size_t with_count;
    int64_t *without;
    size_t without_count;
} Plan;

static int by_images(const void *a, const void *b)
{
    const Wanted *x = a, *y = b;
    if (x->images != y->images)
        return x->images < y->images ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool make_plan(Plan *plan, VcErr *err)
{
    const SearchQuery *q = plan->query;
    plan->with = vc_calloc(q->term_count + 1, sizeof *plan->with);
    plan->without = vc_calloc(q->term_count + 1, sizeof *plan->without);
    for (size_t i = 0; i < q->term_count; i++) {
        const SearchTerm *t = &q->terms[i];
        int64_t id, images;
        if (t->kind == SEARCH_CAPTION)
            continue;
        if (!search_find_concept(plan->ws, t->text, &id, err))
            return false;
        if (t->kind == SEARCH_NOT_CONCEPT) {
            plan->without[plan->without_count++] = id;
            continue;
        }
        char sql[96];
        snprintf(sql, sizeof sql, "SELECT images FROM concept_stat WHERE concept_id = %lld", (long long)id);
        if (!vc_db_int(plan->ws->db, sql, 0, &images, err))
            return false;
        bool known = false;
        for (size_t k = 0; k < plan->with_count; k++)
            known = known || plan->with[k].id == id;
        if (!known)
            plan->with[plan->with_count++] = (Wanted){id, images};
    }
    qsort(plan->with, plan->with_count, sizeof *plan->with, by_images);
    return true;
}

static void finish_plan(Plan *plan)
{
    free(plan->with);
    free(plan->without);
}

// "FROM ... WHERE ..." over image i: driven by the rarest concept, the others looked up in it. Only numbers go into the
// text; the words of --caption are bound from ?1 on.
static void put_filter(VcStr *sql, const Plan *plan)
{
    size_t captions = 0;
    if (plan->with_count) {
        for (size_t k = 0; k < plan->with_count; k++)
            vc_str_putf(sql, "%s image_concept c%zu", k ? " CROSS JOIN" : "FROM", k);
        vc_str_put(sql, " CROSS JOIN image i WHERE i.image_id = c0.image_id");
        for (size_t k = 0; k < plan->with_count; k++) {
            vc_str_putf(sql, " AND c%zu.concept_id = %lld", k, (long long)plan->with[k].id);
            if (k)
                vc_str_putf(sql, " AND c%zu.image_id = c0.image_id", k);
        }
    } else {
        vc_str_put(sql, "FROM image i WHERE i.status >= 0");
    }
    for (size_t k = 0; k < plan->without_count; k++) {
        vc_str_putf(
            sql, " AND NOT EXISTS(SELECT 1 FROM image_concept n WHERE n.concept_id = %lld AND n.image_id = i.image_id)",
            (long long)plan->without[k]);
    }
    // A caption's place in the vocabulary of words is found once, not for every image.
    for (size_t k = 0; k < plan->query->term_count; k++) {
        if (plan->query->terms[k].kind == SEARCH_CAPTION) {
            vc_str_putf(sql,
                        " AND i.image_id IN (SELECT t.image_id FROM caption_fts f CROSS JOIN caption t"
                        " ON t.caption_id = f.rowid WHERE f.text MATCH ?%zu)",
                        ++captions);
        }
    }
    if (plan->query->exclude_image >= 0)
        vc_str_putf(sql, " AND i.image_id <> %lld", (long long)plan->query->exclude_image);
}

static bool explain_caption(const char *words, VcErr *err)
{
    if (strstr(err->text, "no such table")) {
        return vc_fail(err, VC_ERR_USAGE,
                       "the captions of this workspace are not indexed yet; 'vicha concepts mine' builds the index");
    }
    // SQLite's own words stand last.
    char reason[200];
    const char *tail = strrchr(err->text, ':'), *fts = strstr(err->text, "fts5: ");
    snprintf(reason, sizeof reason, "%s", fts ? fts + 6 : tail ? tail + 2 : err->text);
    return vc_fail(err, VC_ERR_USAGE,
                   "cannot understand --caption '%s' (%s). Words must all be there; write dog OR cat, dog NOT cat, "
                   "\"a phrase\" in double quotes, surf* for a beginning; put other signs in double quotes",
                   words, reason);
}

static bool prepare(const Plan *plan, const char *sql, VcStmt **stmt, VcErr *err)
{
    const char *words = "";
    bool ok = vc_db_prepare(plan->ws->db, stmt, sql, err);
    int at = 0;
    for (size_t k = 0; k < plan->query->term_count; k++) {
        if (plan->query->terms[k].kind == SEARCH_CAPTION) {
            words = plan->query->terms[k].text;
            if (ok)
                vc_bind_text(*stmt, ++at, words);
        }
    }
    return ok || (*words && explain_caption(words, err));
}

static bool step(const Plan *plan, VcStmt *stmt, bool *row, VcErr *err)
{
    if (vc_stmt_step(stmt, row, err))
        return true;
    for (size_t k = 0; k < plan->query->term_count; k++) {
        if (plan->query->terms[k].kind == SEARCH_CAPTION)
            return explain_caption(plan->query->terms[k].text, err);
    }
    return false;
}

// --- the best n ------------------------------------------------------------------------------------------------------

typedef struct {
    double score;
    int64_t key; // image_id or row
} Ranked;

typedef struct {
    Ranked *items; // sorted: falling score, rising key
    size_t count, limit;
} Best;

static bool before(Ranked a, Ranked b)
{
    return a.score > b.score || (a.score == b.score && a.key < b.key);
}

static void best_add(Best *b, Ranked r)
{
    if (b->limit == 0 || (b->count == b->limit && !before(r, b->items[b->count - 1])))
        return;
    size_t at = b->count < b->limit ? b->count++ : b->limit - 1;
    while (at > 0 && before(r, b->items[at - 1])) {
        b->items[at] = b->items[at - 1];
        at--;
    }
    b->items[at] = r;
}

// Without a vector: the mean cosine of the asked concepts, or the order of the images.
static bool rank_by_concepts(const Plan *plan, Best *best, int64_t *matched, VcErr *err)
{
    VcStr sql = {0};
    vc_str_put(&sql, "SELECT i.image_id, ");
    for (size_t k = 0; k < plan->with_count; k++)
        vc_str_putf(&sql, "%sc%zu.score", k ? " + " : "", k);
    vc_str_put(&sql, plan->with_count ? " " : "0 ");
    put_filter(&sql, plan);
    VcStmt *stmt = NULL;
    bool row = true, ok = prepare(plan, sql.data, &stmt, err);
    const SearchQuery *q = plan->query;
    while (ok && (ok = step(plan, stmt, &row, err)) && row) {
        double n = plan->with_count ? (double)plan->with_count : 1;
        Ranked r = {(double)vc_column_int(stmt, 1) / (32767.0 * n), vc_column_int(stmt, 0)};
        if (q->has_min_score && r.score < q->min_score)
            continue;
        ++*matched;
        best_add(best, r);
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

enum { SCAN_ROWS = 512 };

typedef struct {
    const VectorsReader *r;
    const float *query;  // [dim], unit
    const uint8_t *bits; // rows that pass
    size_t dim;
    float *scores; // [rows of this piece]
    uint64_t base;
    float **scratch; // [threads][dim]
} Scan;

static float dot(const float *a, const float *b, size_t n)
{
    float part[16] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t k = 0; k < 16; k++)
            part[k] += a[i + k] * b[i + k];
    }
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (size_t k = 0; k < 16; k++)
        sum += part[k];
    return sum;
}

static void scan_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Scan *s = ctx;
    for (size_t i = begin; i < end; i++) {
        uint64_t row = s->base + i;
        if (!(s->bits[row / 8] >> (row % 8) & 1))
            continue;
        float *x = s->scratch[worker];
        vectors_reader_floats(s->r, row, 1, x);
        float norm = sqrtf(dot(x, x, s->dim));
        s->scores[i] = norm > 0 ? dot(x, s->query, s->dim) / norm : 0;
    }
}

static bool filter_bits(const Plan *plan, uint64_t rows, uint8_t *bits, VcErr *err)
{
    VcStr sql = {0};
    vc_str_put(&sql, "SELECT i.row ");
    put_filter(&sql, plan);
    vc_str_put(&sql, " AND i.row IS NOT NULL");
    VcStmt *stmt = NULL;
    bool row = true, ok = prepare(plan, sql.data, &stmt, err);
    while (ok && (ok = step(plan, stmt, &row, err)) && row) {
        uint64_t r = (uint64_t)vc_column_int(stmt, 0);
        if (r < rows)
            bits[r / 8] |= (uint8_t)(1u << (r % 8));
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

static bool rank_by_vector(const Plan *plan, const VectorsReader *r, Best *best, int64_t *matched, VcErr *err)
{
    const SearchQuery *q = plan->query;
    size_t dim = vectors_reader_dim(r), threads = vc_pool_threads(q->pool);
    uint64_t rows = vectors_reader_rows(r);
    enum { PIECE = SCAN_ROWS * 64 };
    float *unit = vc_alloc(dim, sizeof *unit);
    memcpy(unit, q->vector, dim * sizeof *unit);
    concepts_normalize(unit, 1, dim);
    uint8_t *bits = vc_calloc(rows / 8 + 1, 1);
    Scan scan = {.r = r, .query = unit, .bits = bits, .dim = dim, .scores = vc_alloc(PIECE, sizeof(float))};
    scan.scratch = vc_calloc(threads, sizeof *scan.scratch);
    for (size_t i = 0; i < threads; i++)
        scan.scratch[i] = vc_alloc(dim, sizeof(float));
    bool ok = filter_bits(plan, rows, bits, err);
    for (scan.base = 0; ok && scan.base < rows; scan.base += PIECE) {
        size_t n = rows - scan.base < PIECE ? (size_t)(rows - scan.base) : PIECE;
        vc_parallel_for(q->pool, n, SCAN_ROWS, scan_chunk, &scan);
        for (size_t i = 0; i < n; i++) {
            uint64_t row = scan.base + i;
            if (!(bits[row / 8] >> (row % 8) & 1) || (q->has_min_score && scan.scores[i] < q->min_score))
                continue;
            ++*matched;
            best_add(best, (Ranked){scan.scores[i], (int64_t)row});
        }
    }
    for (size_t i = 0; i < threads; i++)
        free(scan.scratch[i]);
    free(scan.scratch);
    free(scan.scores);
    free(bits);
    free(unit);
    return ok;
}

// --- hits ------------------------------------------------------------------------------------------------------------

static bool fill_hit(VcWorkspace *ws, bool by_row, Ranked r, SearchHit *hit, VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(
        &sql,
        "SELECT image_id, key, coalesce(caption, ''), coalesce(concepts, '') FROM v_image WHERE image_id = %s%lld%s",
        by_row ? "(SELECT image_id FROM image WHERE row = " : "", (long long)r.key, by_row ? ")" : "");
    VcStmt *stmt = NULL;
    bool row = false, ok = vc_db_prepare(ws->db, &stmt, sql.data, err) && vc_stmt_step(stmt, &row, err);
    if (ok && !row)
        ok = vc_fail(err, VC_ERR_DB, "no image has number or vector %lld", (long long)r.key);
    if (ok) {
        *hit = (SearchHit){vc_column_int(stmt, 0), r.score, vc_strdup(vc_column_text(stmt, 1)),
                           vc_strdup(vc_column_text(stmt, 2)), vc_strdup(vc_column_text(stmt, 3))};
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

bool search_run(VcWorkspace *ws, const SearchQuery *query, SearchResult *result, VcErr *err)
{
    *result = (SearchResult){0};
    Plan plan = {.ws = ws, .query = query};
    Best best = {.limit = query->limit};
    VectorsReader *r = NULL;
    ConceptsModel model = {0};
    bool ok = make_plan(&plan, err) && (!query->vector || concepts_open_vectors(ws, "image", &r, &model, err));
    // No more can be found than there are images: a huge -n costs nothing.
    int64_t images = 0;
    ok = ok && vc_db_int(ws->db, "SELECT count(*) FROM image", 0, &images, err);
    if ((uint64_t)images < best.limit)
        best.limit = (size_t)images;
    best.items = vc_alloc(best.limit + 1, sizeof *best.items);
    ok = ok && (query->vector ? rank_by_vector(&plan, r, &best, &result->matched, err)
                              : rank_by_concepts(&plan, &best, &result->matched, err));
    if (ok) {
        result->scored = query->vector || plan.with_count > 0;
        result->hits = vc_calloc(best.count + 1, sizeof *result->hits);
    }
    for (size_t i = 0; ok && i < best.count; i++) {
        ok = fill_hit(ws, query->vector != NULL, best.items[i], &result->hits[i], err);
        result->count += ok;
    }
    free(best.items);
    vectors_reader_close(&r);
    concepts_model_finish(&model);
    finish_plan(&plan);
    if (!ok)
        search_result_finish(result);
    return ok;
}

void search_result_finish(SearchResult *result)
{
    for (size_t i = 0; i < result->count; i++) {
        free(result->hits[i].key);
        free(result->hits[i].caption);
        free(result->hits[i].concepts);
    }
    free(result->hits);
    *result = (SearchResult){0};
}
