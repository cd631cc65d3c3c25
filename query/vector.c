// SPDX-License-Identifier: MIT
#include "query/private.h"

#include <math.h>

enum {
    PIECE = 32768,         // rows scored between two looks at the interrupt flag
    KEPT_SCORES = 8 << 20, // rows whose scores are kept: 32 MiB
};

typedef struct {
    CoarseRows rows;
    const float *query; // [dim], unit
    const uint64_t *allowed;
    uint64_t base;
    float *scores; // [PIECE]
} Scan;

static bool has_row(const uint64_t *allowed, uint64_t row)
{
    return !allowed || (allowed[row / 64] >> (row % 64) & 1);
}

static void score_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Scan *s = ctx;
    (void)worker;
    if (!s->allowed)
        coarse_scores(&s->rows, s->base + begin, end - begin, s->query, s->scores + begin);
    for (size_t i = begin; s->allowed && i < end; i++) {
        if (has_row(s->allowed, s->base + i))
            s->scores[i] = coarse_score(&s->rows, s->base + i, s->query);
    }
}

// The first page without a least score: rows are left out by their nibbles or bytes where there are such. Other rows
// than these may be looked at where the last of the page ties with many: then *done is false.
static bool first_page(const Question *question, const RowSet *allowed, size_t probe, Selection *best, int64_t *matched,
                       bool *done)
{
    enum { TIES = 16 }; // hits behind the page, which tie in the order of rows and not of images
    QueryEngine *engine = question->engine;
    const EngineState *state = &engine->state;
    const size_t words = (state->rows + 63) / 64;
    uint64_t *bits = vc_calloc(words + 1, sizeof *bits);
    *matched = 0;
    for (size_t i = 0; i < words; i++) {
        bits[i] = allowed ? allowed->words[i] : UINT64_MAX;
        bits[i] &= state->dead.words ? ~state->dead.words[i] : UINT64_MAX;
        if (i == words - 1 && state->rows % 64)
            bits[i] &= (UINT64_C(1) << state->rows % 64) - 1;
        *matched += __builtin_popcountll(bits[i]);
    }
    NearestQuestion q = {.vectors = question->request->vector,
                         .count = 1,
                         .limit = best->limit + TIES,
                         .allowed = bits,
                         .least = -INFINITY,
                         .exact = question->request->exact,
                         .probe = probe,
                         .pool = engine->pool};
    NearestAnswer a = {0};
    const bool ok = nearest_find(state->nearest, &q, &a, question->err);
    *done = ok && (a.found[0] < q.limit || a.hits[best->limit - 1].score > a.hits[q.limit - 1].score);
    for (size_t i = 0; *done && i < a.found[0]; i++)
        selection_add(best, a.hits[i].score, state->ids[a.hits[i].row], (int64_t)a.hits[i].row);
    nearest_answer_finish(&a);
    free(bits);
    return ok;
}

// The index of cells, opened when it is first asked for.
static bool need_cells(QueryEngine *engine, VcErr *err)
{
    EngineState *s = &engine->state;
    if (nearest_cells(s->nearest) > 0)
        return true;
    char *vectors = concepts_vector_path(&engine->ws, "image", s->model.name), *path = cells_path(vectors);
    const bool ok = nearest_open_cells(s->nearest, path, err);
    free(path);
    free(vectors);
    return ok;
}

// Where the scores of all rows go: kept for the next page of the same vector, or NULL where they would be too many or
// most are not asked for. *known: they are there already.
static float *kept_scores(Question *q, uint64_t rows, const RowSet *allowed, bool *known)
{
    EngineState *s = &q->engine->state;
    const size_t dim = vectors_reader_dim(s->vectors);
    *known = false;
    if (rows > KEPT_SCORES || (allowed && allowed->count < rows / 50))
        return NULL;
    if (s->scores && s->scored_rows == rows && memcmp(s->scored, q->request->vector, dim * sizeof *s->scored) == 0) {
        *known = true;
        return s->scores;
    }
    free(s->scores);
    free(s->scored);
    s->scores = vc_alloc(rows + 1, sizeof *s->scores);
    s->scored = vc_alloc(dim, sizeof *s->scored);
    memcpy(s->scored, q->request->vector, dim * sizeof *s->scored);
    s->scored_rows = 0; // until all are there
    return s->scores;
}

static size_t bin_of(double score)
{
    const double at = (score + 1) * (QUERY_VECTOR_BINS / 2.0);
    return at <= 0 ? 0 : at >= QUERY_VECTOR_BINS - 1 ? QUERY_VECTOR_BINS - 1 : (size_t)at;
}

// Scores of all rows, piece by piece: into `best`, or counted in `histogram`.
static bool scan_all(Question *q, Scan *s, uint64_t rows, const RowSet *allowed, Selection *best, uint32_t *histogram,
                     int64_t *matched)
{
    EngineState *state = &q->engine->state;
    const double least = query_least_score(q->request);
    bool known, ok = true;
    float *kept = kept_scores(q, rows, allowed, &known), *piece = kept ? NULL : vc_alloc(PIECE, sizeof *piece);
    const uint64_t *bits = allowed ? allowed->words : NULL;
    s->allowed = kept ? NULL : bits;
    *matched = 0;
    for (s->base = 0; ok && s->base < rows; s->base += PIECE) {
        size_t n = rows - s->base < PIECE ? (size_t)(rows - s->base) : PIECE;
        s->scores = kept ? kept + s->base : piece;
        if (!known)
            vc_parallel_for(q->engine->pool, n, COARSE_SCORES, score_chunk, s);
        for (size_t i = 0; i < n; i++) {
            uint64_t row = s->base + i;
            if (!has_row(bits, row) || state->ids[row] < 0 || s->scores[i] < least)
                continue;
            ++*matched;
            if (histogram) {
                histogram[bin_of(s->scores[i])]++;
            } else {
                selection_add(best, s->scores[i], state->ids[row], (int64_t)row);
            }
        }
        if (vc_interrupted())
            ok = vc_fail(q->err, VC_ERR_CANCELLED, "interrupted");
    }
    if (ok && kept)
        state->scored_rows = rows;
    free(piece);
    return ok;
}

bool query_scan_vectors(Question *q, const RowSet *allowed, size_t probe, Selection *best, uint32_t *histogram,
                        int64_t *matched)
{
    QueryEngine *engine = q->engine;
    if (!query_need_vectors(engine, q->err) || (q->request->probe > 0 && !need_cells(engine, q->err)))
        return false;
    const EngineState *state = &engine->state;
    uint64_t rows = vectors_reader_rows(state->vectors);
    bool done = false;
    // Who asks for a later page goes on asking: then the scores of all rows are made once.
    if (!histogram && query_least_score(q->request) == -INFINITY && !best->has_after && q->request->offset == 0 &&
        state->rows <= rows) {
        if (!first_page(q, allowed, probe, best, matched, &done) || done)
            return done;
    }
    rows = rows < state->rows ? rows : state->rows;
    Scan s = {.rows = coarse_rows_of(state->vectors)};
    float *unit = vc_alloc(s.rows.dim, sizeof *unit);
    memcpy(unit, q->request->vector, s.rows.dim * sizeof *unit);
    concepts_normalize(unit, 1, s.rows.dim);
    s.query = unit;
    const bool ok = scan_all(q, &s, rows, allowed, best, histogram, matched);
    free(unit);
    return ok;
}
