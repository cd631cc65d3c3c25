// SPDX-License-Identifier: MIT
#include "query/private.h"

#include <math.h>

enum { PIECE = 32768 }; // rows scored between two looks at the interrupt flag

typedef struct {
    const VectorsReader *reader;
    const float *query; // [dim], unit
    size_t dim;
    const uint64_t *allowed;
    uint64_t base;
    float *scores;   // [PIECE]
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

static bool has_row(const uint64_t *allowed, uint64_t row)
{
    return !allowed || (allowed[row / 64] >> (row % 64) & 1);
}

static void score_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Scan *s = ctx;
    float *x = s->scratch[worker];
    for (size_t i = begin; i < end; i++) {
        if (!has_row(s->allowed, s->base + i))
            continue;
        vectors_reader_floats(s->reader, s->base + i, 1, x);
        float norm = sqrtf(dot(x, x, s->dim));
        s->scores[i] = norm > 0 ? dot(x, s->query, s->dim) / norm : 0;
    }
}

bool query_scan_vectors(QueryEngine *engine, const float *vector, const RowSet *allowed, double least, bool exact,
                        Selection *best, int64_t *matched, VcErr *err)
{
    (void)exact;
    if (!query_need_vectors(engine, err))
        return false;
    const EngineState *state = &engine->state;
    Scan s = {.reader = state->vectors,
              .dim = vectors_reader_dim(state->vectors),
              .allowed = allowed ? allowed->words : NULL};
    size_t threads = vc_pool_threads(engine->pool);
    float *unit = vc_alloc(s.dim, sizeof *unit);
    memcpy(unit, vector, s.dim * sizeof *unit);
    concepts_normalize(unit, 1, s.dim);
    s.query = unit;
    s.scores = vc_alloc(PIECE, sizeof *s.scores);
    s.scratch = vc_alloc(threads, sizeof *s.scratch);
    for (size_t i = 0; i < threads; i++)
        s.scratch[i] = vc_alloc(s.dim, sizeof(float));
    *matched = 0;
    uint64_t rows = vectors_reader_rows(state->vectors);
    rows = rows < state->rows ? rows : state->rows;
    bool ok = true;
    for (s.base = 0; ok && s.base < rows; s.base += PIECE) {
        size_t n = rows - s.base < PIECE ? (size_t)(rows - s.base) : PIECE;
        vc_parallel_for(engine->pool, n, 512, score_chunk, &s);
        for (size_t i = 0; i < n; i++) {
            uint64_t row = s.base + i;
            if (!has_row(s.allowed, row) || state->ids[row] < 0 || s.scores[i] < least)
                continue;
            ++*matched;
            selection_add(best, s.scores[i], state->ids[row], (int64_t)row);
        }
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    for (size_t i = 0; i < threads; i++)
        free(s.scratch[i]);
    free(s.scratch);
    free(s.scores);
    free(unit);
    return ok;
}
