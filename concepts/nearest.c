// SPDX-License-Identifier: MIT
#include "concepts/nearest.h"

#include "base/mem.h"
#include "concepts/cells.h"
#include "concepts/coarse.h"
#include "concepts/vectors_i8.h"
#include "nn/nn.h"

#include <math.h>

enum {
    PIECE = 1024,    // rows a worker takes at once: divides a block
    GROUP = 64,      // queries that share a scan
    FEW_PERCENT = 2, // allowed rows below this share are scored one by one
    MANY = 16,       // a limit over a MANY-th of the rows: bytes would leave nothing out
};

struct Nearest {
    const VectorsReader *rows;
    CoarseRows fine; // the same
    VectorsBytes *bytes;
    Cells *cells;
};

bool nearest_open(Nearest **out, const VectorsReader *rows, const char *bytes_path, const char **notice, VcErr *err)
{
    *out = NULL;
    if (notice)
        *notice = NULL;
    if (vectors_reader_rows(rows) >= UINT32_MAX)
        return vc_fail(err, VC_ERR_LIMIT, "a search goes over fewer than 2^32 - 1 vectors");
    Nearest *n = vc_calloc(1, sizeof *n);
    n->rows = rows;
    n->fine = coarse_rows_of(rows);
    VcErr damaged = {0};
    const bool ok = !bytes_path || vectors_bytes_open(&n->bytes, bytes_path, rows, &damaged);
    if (notice && bytes_path && (!ok || !n->bytes)) {
        *notice = ok ? "there is no file of bytes for these vectors: float16 is scanned; 'vicha index-vectors' makes it"
                     : "the file of bytes is damaged: float16 is scanned; 'vicha index-vectors' makes it again";
    }
    *out = n;
    return true;
}

void nearest_close(Nearest **nearest)
{
    if (!nearest || !*nearest)
        return;
    vectors_bytes_close(&(*nearest)->bytes);
    cells_close(&(*nearest)->cells);
    free(*nearest);
    *nearest = NULL;
}

bool nearest_open_cells(Nearest *n, const char *path, VcErr *err)
{
    cells_close(&n->cells);
    if (!cells_open(&n->cells, path, n->rows, err))
        return false;
    return n->cells || vc_fail(err, VC_ERR_USAGE,
                               "there is no index of these vectors in '%s', or it was made from others; 'vicha "
                               "index-vectors --cells N' makes it",
                               path);
}

size_t nearest_cells(const Nearest *n)
{
    return n->cells ? cells_count(n->cells) : 0;
}

uint64_t nearest_byte_rows(const Nearest *n)
{
    return n->bytes ? vectors_bytes_rows(n->bytes) : 0;
}

// --- one group of queries --------------------------------------------------------------------------------------------

typedef struct {
    CoarsePick *picks; // [count] of one worker
    CoarseScratch scratch;
    size_t settle[COARSE_FEW]; // items of a pick from which on the best get their scores
    uint64_t fine;
} Worker;

typedef struct {
    const Nearest *n;
    const NearestQuestion *q;
    CoarseQueries queries, rotated; // rotated: the same where they are few, for nibbles
    float *rotated_units;           // [COARSE_FEW][rotated.dim]
    bool nibbles;
    Worker *workers;
    uint64_t rows, bytes; // rows in all; the first `bytes` of them by bytes
    uint32_t *list;       // the allowed rows, where they are few
    size_t listed;
    uint32_t *probes; // [count][probe] cells
    size_t probe;
    CoarsePick *picks; // [count], of all workers
    size_t *starts;    // [count + 1]: items of the picks, one behind the other
} Search;

// Scores of float16 rows [begin, begin + n), n up to COARSE_SCORES.
static void scan_fine(Search *s, Worker *w, uint64_t begin, size_t n)
{
    float scores[COARSE_SCORES];
    for (size_t i = 0; i < s->queries.count; i++) {
        coarse_scores(&s->n->fine, begin, n, s->queries.unit + i * s->queries.dim, scores);
        for (size_t r = 0; r < n; r++) {
            if (scores[r] >= w->picks[i].least && coarse_allowed(s->q->allowed, begin + r))
                coarse_pick_add(&w->picks[i], (CoarseItem){(uint32_t)(begin + r), scores[r], scores[r]});
        }
    }
    w->fine += n;
}

// Where its score is not known yet.
static void score_item(const Search *s, Worker *w, size_t query, CoarseItem *item)
{
    if (item->low == item->high)
        return;
    item->low = item->high = coarse_score(&s->n->fine, item->row, s->queries.unit + query * s->queries.dim);
    w->fine++;
}

// The scores of the most promising items leave many others out.
static void settle(const Search *s, Worker *w, size_t query, CoarsePick *p)
{
    coarse_pick_prune(p);
    const float promising = coarse_pick_promising(p);
    for (size_t k = 0; promising > -INFINITY && k < p->count; k++) {
        if (p->items[k].high >= promising)
            score_item(s, w, query, &p->items[k]);
    }
    coarse_pick_prune(p);
}

// Thresholds that rise early keep the picks short: settled again when there are twice as many items.
static void settle_more(const Search *s, Worker *w)
{
    for (size_t i = 0; i < s->queries.count; i++) {
        if (w->picks[i].count >= w->settle[i]) {
            settle(s, w, i, &w->picks[i]);
            w->settle[i] = 2 * w->picks[i].count;
        }
    }
}

static bool any_allowed(const uint64_t *allowed, uint64_t begin, uint64_t end)
{
    for (uint64_t i = begin / 64; allowed && i <= (end - 1) / 64; i++) {
        if (allowed[i] != 0)
            return true;
    }
    return allowed == NULL;
}

static void scan_piece(void *ctx, size_t first, size_t last, size_t worker)
{
    Search *s = ctx;
    Worker *w = &s->workers[worker];
    for (size_t p = first; p < last; p++) {
        const uint64_t begin = (uint64_t)p * PIECE, end = begin + PIECE < s->rows ? begin + PIECE : s->rows;
        if (!any_allowed(s->q->allowed, begin, end))
            continue;
        const uint64_t bytes = end < s->bytes ? end : s->bytes < begin ? begin : s->bytes;
        if (bytes > begin) {
            const size_t n = (size_t)(bytes - begin);
            const CoarseBlock b =
                s->nibbles ? vectors_bytes_nibbles(s->n->bytes, begin, n) : vectors_bytes_block(s->n->bytes, begin, n);
            coarse_scan(&b, s->nibbles ? &s->rotated : &s->queries, 0, s->queries.count, w->picks, s->q->allowed,
                        &w->scratch);
            if (s->nibbles)
                settle_more(s, w);
        }
        for (uint64_t at = bytes; at < end; at += COARSE_SCORES)
            scan_fine(s, w, at, end - at < COARSE_SCORES ? (size_t)(end - at) : COARSE_SCORES);
    }
}

static void score_listed(void *ctx, size_t begin, size_t end, size_t worker)
{
    Search *s = ctx;
    for (size_t i = begin; i < end; i++)
        scan_fine(s, &s->workers[worker], s->list[i], 1);
}

static void find_probes(void *ctx, size_t begin, size_t end, size_t worker)
{
    Search *s = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        cells_nearest(s->n->cells, s->queries.unit + i * s->queries.dim, s->probe, s->probes + i * s->probe);
}

static void scan_probes(void *ctx, size_t begin, size_t end, size_t worker)
{
    Search *s = ctx;
    Worker *w = &s->workers[worker];
    for (size_t i = begin; i < end; i++) {
        const size_t query = i / s->probe;
        const CoarseBlock b = cells_block(s->n->cells, s->probes[i]);
        coarse_scan(&b, &s->queries, query, 1, &w->picks[query], s->q->allowed, &w->scratch);
    }
}

static void score_items(void *ctx, size_t begin, size_t end, size_t worker)
{
    Search *s = ctx;
    size_t query = 0;
    for (size_t i = begin; i < end; i++) {
        while (i >= s->starts[query + 1])
            query++;
        score_item(s, &s->workers[worker], query, &s->picks[query].items[i - s->starts[query]]);
    }
}

static void merge(Search *s, size_t threads)
{
    const size_t count = s->queries.count;
    for (size_t i = 0; i < count; i++) {
        CoarsePick *p = &s->picks[i];
        coarse_pick_begin(p, s->q->limit, s->q->least);
        for (size_t t = 0; t < threads; t++) {
            const CoarsePick *part = &s->workers[t].picks[i];
            p->least = part->least > p->least ? part->least : p->least;
        }
        for (size_t t = 0; t < threads; t++) {
            const CoarsePick *part = &s->workers[t].picks[i];
            for (size_t k = 0; k < part->count; k++)
                coarse_pick_add(p, part->items[k]);
        }
        settle(s, &s->workers[0], i, p);
        s->starts[i + 1] = s->starts[i] + p->count;
    }
    vc_parallel_for(s->q->pool, s->starts[count], 32, score_items, s);
}

static void keep_hits(const Search *s, NearestAnswer *answer, size_t from)
{
    for (size_t i = 0; i < s->queries.count; i++) {
        CoarsePick *p = &s->picks[i];
        p->least = s->q->least;
        coarse_pick_sort(p);
        answer->found[from + i] = p->count;
        for (size_t k = 0; k < p->count; k++)
            answer->hits[(from + i) * answer->stride + k] = (NearestHit){p->items[k].row, p->items[k].low};
    }
}

// Few queries are bound by the memory that the rows take, many by the products: few go by nibbles.
static bool set_queries(Search *s, const float *x, size_t count)
{
    const size_t dim = s->queries.dim, wide = s->rotated.dim;
    s->nibbles = s->bytes > 0 && count <= COARSE_FEW;
    if (!coarse_queries_set(&s->queries, x, count))
        return false;
    if (!s->nibbles)
        return true;
    for (size_t i = 0; i < count; i++)
        vectors_nibbles_query(s->rotated_units + i * wide, s->queries.unit + i * dim, dim);
    const bool ok = coarse_queries_set(&s->rotated, s->rotated_units, count);
    for (size_t i = 0; i < count; i++)
        s->rotated.base[i] = vectors_nibbles_base(s->n->bytes, s->queries.unit + i * dim);
    return ok;
}

static void search_group(Search *s, NearestAnswer *answer, size_t from)
{
    const size_t threads = vc_pool_threads(s->q->pool);
    for (size_t t = 0; t < threads; t++) {
        memset(s->workers[t].settle, 0, sizeof s->workers[t].settle);
        for (size_t i = 0; i < s->queries.count; i++)
            coarse_pick_begin(&s->workers[t].picks[i], s->q->limit, s->q->least);
    }
    if (s->list) {
        vc_parallel_for(s->q->pool, s->listed, 64, score_listed, s);
    } else if (s->probes) {
        vc_parallel_for(s->q->pool, s->queries.count, 1, find_probes, s);
        vc_parallel_for(s->q->pool, s->queries.count * s->probe, 2, scan_probes, s);
    } else {
        vc_parallel_for(s->q->pool, (size_t)((s->rows + PIECE - 1) / PIECE), 1, scan_piece, s);
    }
    merge(s, threads);
    keep_hits(s, answer, from);
}

static uint64_t count_allowed(const uint64_t *allowed, uint64_t rows)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < rows / 64; i++)
        n += (uint64_t)__builtin_popcountll(allowed[i]);
    if (rows % 64)
        n += (uint64_t)__builtin_popcountll(allowed[rows / 64] & ((1ULL << rows % 64) - 1));
    return n;
}

static void list_allowed(Search *s, uint64_t n)
{
    s->list = vc_alloc((size_t)n + 1, sizeof *s->list);
    for (uint64_t i = 0; i < (s->rows + 63) / 64; i++) {
        for (uint64_t bits = s->q->allowed[i]; bits != 0; bits &= bits - 1) {
            const uint64_t row = i * 64 + (uint64_t)__builtin_ctzll(bits);
            if (row < s->rows)
                s->list[s->listed++] = (uint32_t)row;
        }
    }
}

static void begin_search(Search *s, size_t group, size_t dim, size_t threads)
{
    const size_t wide = vectors_nibbles_width(dim);
    coarse_queries_create(&s->queries, group, dim, 1.01F);
    coarse_queries_create(&s->rotated, COARSE_FEW, wide, 1.25F); // nibbles are longer than the row: by 1 % mostly
    s->rotated_units = vc_alloc(COARSE_FEW * wide, sizeof *s->rotated_units);
    s->workers = vc_calloc(threads, sizeof *s->workers);
    for (size_t t = 0; t < threads; t++) {
        s->workers[t].picks = vc_calloc(group, sizeof(CoarsePick));
        coarse_scratch_create(&s->workers[t].scratch, s->queries.width);
    }
    s->picks = vc_calloc(group, sizeof *s->picks);
    s->starts = vc_calloc(group + 1, sizeof *s->starts);
}

static void end_search(Search *s, size_t group, size_t threads)
{
    for (size_t t = 0; t < threads; t++) {
        for (size_t i = 0; i < group; i++)
            coarse_pick_finish(&s->workers[t].picks[i]);
        free(s->workers[t].picks);
        coarse_scratch_destroy(&s->workers[t].scratch);
    }
    for (size_t i = 0; i < group; i++)
        coarse_pick_finish(&s->picks[i]);
    free(s->workers);
    free(s->picks);
    free(s->starts);
    free(s->list);
    free(s->probes);
    free(s->rotated_units);
    coarse_queries_destroy(&s->queries);
    coarse_queries_destroy(&s->rotated);
}

bool nearest_find(const Nearest *n, const NearestQuestion *q, NearestAnswer *answer, VcErr *err)
{
    VC_ASSERT(q->limit > 0);
    const size_t threads = vc_pool_threads(q->pool), group = q->count < GROUP ? q->count : GROUP;
    const size_t dim = vectors_reader_dim(n->rows);
    Search s = {.n = n, .q = q, .rows = vectors_reader_rows(n->rows)};
    const uint64_t allowed = q->allowed ? count_allowed(q->allowed, s.rows) : s.rows;
    *answer = (NearestAnswer){.stride = q->limit < allowed ? q->limit : (size_t)allowed};
    answer->found = vc_calloc(q->count + 1, sizeof *answer->found);
    answer->hits = vc_alloc(q->count * answer->stride + 1, sizeof *answer->hits);
    s.bytes = n->bytes && !q->exact && q->limit < allowed / MANY ? vectors_bytes_rows(n->bytes) : 0;
    if (q->count == 0 || allowed == 0)
        return true;
    if (q->allowed && allowed < s.rows / 100 * FEW_PERCENT)
        list_allowed(&s, allowed);
    if (!s.list && q->probe > 0 && n->cells && !q->exact) {
        s.probe = q->probe < cells_count(n->cells) ? q->probe : cells_count(n->cells);
        s.probes = vc_alloc(group * s.probe, sizeof *s.probes);
    }
    begin_search(&s, group, dim, threads);
    bool ok = true;
    for (size_t from = 0; ok && from < q->count; from += GROUP) {
        const size_t count = q->count - from < GROUP ? q->count - from : GROUP;
        ok = set_queries(&s, q->vectors + from * dim, count) ||
             vc_fail(err, VC_ERR_USAGE, "a vector to search with is zero or not finite: it has no direction");
        if (ok)
            search_group(&s, answer, from);
    }
    for (size_t t = 0; t < threads; t++)
        answer->fine += s.workers[t].fine;
    end_search(&s, group, threads);
    if (!ok)
        nearest_answer_finish(answer);
    return ok;
}

void nearest_answer_finish(NearestAnswer *answer)
{
    free(answer->hits);
    free(answer->found);
    *answer = (NearestAnswer){0};
}
