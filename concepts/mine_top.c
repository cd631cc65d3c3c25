// SPDX-License-Identifier: MIT
#include "concepts/mine_top.h"

#include "base/mem.h"
#include "concepts/vectors_private.h"
#include "nn/nn.h"

#include <math.h>

enum {
    CHUNK = 256,         // images that a worker takes through all concepts: 128 KiB of 512 dimensions
    QUANTIZE = 256,      // concepts quantized at once
    BATCH = 1024,        // images of a call; with several slices:
    BATCH_SLICED = 4096, // picks take 6 to 48 KiB an image
};

typedef struct {
    CoarseQueries queries;
    CoarseScratch scratch;
    float *work; // [dim]
    float length;
    uint64_t fine;
} Worker;

struct MineTop {
    CoarseRows rows;
    const uint32_t *list;
    size_t count, dim, width;
    VcPool *pool;
    float *mean; // [dim]
    // The slice that is quantized now: concepts [first, first + sliced).
    size_t first, sliced, slice;
    int8_t *bytes;
    float *scale, *error;
    Worker *workers;
    // One call.
    const float *images;
    size_t n, k, chunk;
    CoarsePick *picks; // [n]
    size_t pick_room;
    uint32_t *ids;
    float *scores;
    bool *bad; // [threads]
    bool last;
};

static uint64_t row_of(const MineTop *t, size_t concept)
{
    return t->list ? t->list[concept] : concept;
}

static void unit_row(const MineTop *t, size_t concept, float *x)
{
    nn_f16_to_f32_array(x, t->rows.data + row_of(t, concept) * t->rows.stride, t->dim);
    vectors_unit(x, t->dim);
}

// Any vector would do; the mean of some thousand concepts is near that of all.
static void find_mean(MineTop *t)
{
    enum { SAMPLE = 4096 };
    double *sum = vc_calloc(t->dim, sizeof *sum);
    float *x = t->workers[0].work;
    const size_t step = t->count / SAMPLE + 1;
    size_t n = 0;
    for (size_t i = 0; i < t->count; i += step, n++) {
        unit_row(t, i, x);
        for (size_t k = 0; k < t->dim; k++)
            sum[k] += x[k];
    }
    for (size_t k = 0; k < t->dim; k++) {
        const float mean = n ? (float)(sum[k] / (double)n) : 0;
        t->mean[k] = isfinite(mean) ? mean : 0;
    }
    free(sum);
}

static void quantize_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    MineTop *t = ctx;
    Worker *w = &t->workers[worker];
    for (size_t i = begin; i < end; i++) {
        float length;
        unit_row(t, t->first + i, w->work);
        for (size_t k = 0; k < t->dim; k++)
            w->work[k] -= t->mean[k];
        nn_scan_quantize(t->bytes + i * t->width, &t->scale[i], &t->error[i], &length, w->work, t->dim);
        coarse_never_left_out(&t->scale[i], &t->error[i]);
        // The difference itself was rounded.
        t->error[i] += 1e-7F;
        w->length = length > w->length ? length : w->length;
    }
}

static void make_slice(MineTop *t, size_t first)
{
    if (t->sliced && t->first == first)
        return;
    t->first = first;
    t->sliced = t->count - first < t->slice ? t->count - first : t->slice;
    vc_parallel_for(t->pool, t->sliced, QUANTIZE, quantize_chunk, t);
}

MineTop *mine_top_create(CoarseRows rows, const uint32_t *list, size_t count, size_t slice_bytes, VcPool *pool)
{
    VC_ASSERT(count > 0 && count < UINT32_MAX);
    MineTop *t = vc_calloc(1, sizeof *t);
    *t = (MineTop){.rows = rows, .list = list, .count = count, .dim = rows.dim, .pool = pool};
    t->width = nn_scan_width(rows.dim);
    const size_t fit = slice_bytes / t->width / COARSE_ROWS * COARSE_ROWS;
    t->slice = fit < COARSE_ROWS ? COARSE_ROWS : fit;
    t->slice = t->slice > count ? count : t->slice;
    t->bytes = vc_alloc_aligned(t->slice * t->width, 1);
    t->scale = vc_alloc(t->slice, sizeof *t->scale);
    t->error = vc_alloc(t->slice, sizeof *t->error);
    t->mean = vc_alloc(t->dim, sizeof *t->mean);
    const size_t threads = vc_pool_threads(pool);
    t->workers = vc_calloc(threads, sizeof *t->workers);
    t->bad = vc_calloc(threads, sizeof *t->bad);
    for (size_t i = 0; i < threads; i++) {
        t->workers[i].work = vc_alloc(t->dim, sizeof(float));
        coarse_scratch_create(&t->workers[i].scratch, t->width);
        coarse_queries_create(&t->workers[i].queries, CHUNK, t->dim, 0);
    }
    find_mean(t);
    make_slice(t, 0);
    return t;
}

void mine_top_destroy(MineTop **top)
{
    MineTop *t = top ? *top : NULL;
    if (!t)
        return;
    for (size_t i = 0; i < vc_pool_threads(t->pool); i++) {
        free(t->workers[i].work);
        coarse_scratch_destroy(&t->workers[i].scratch);
        coarse_queries_destroy(&t->workers[i].queries);
    }
    for (size_t i = 0; i < t->pick_room; i++)
        coarse_pick_finish(&t->picks[i]);
    free(t->picks);
    free(t->workers);
    free(t->bad);
    free(t->bytes);
    free(t->scale);
    free(t->error);
    free(t->mean);
    free(t);
    *top = NULL;
}

size_t mine_top_batch(const MineTop *t)
{
    return t->slice < t->count ? BATCH_SLICED : BATCH;
}

uint64_t mine_top_fine(const MineTop *t)
{
    uint64_t fine = 0;
    for (size_t i = 0; i < vc_pool_threads(t->pool); i++)
        fine += t->workers[i].fine;
    return fine;
}

// Fine scores of what was picked for image `i`, and its best k.
static void finish_image(MineTop *t, Worker *w, size_t i, const float *unit)
{
    CoarsePick *p = &t->picks[i];
    coarse_pick_prune(p);
    for (size_t c = 0; c < p->count; c++) {
        if (c + 1 < p->count)
            coarse_prefetch(&t->rows, row_of(t, p->items[c + 1].row));
        p->items[c].low = p->items[c].high = coarse_score(&t->rows, row_of(t, p->items[c].row), unit);
    }
    w->fine += p->count;
    p->least = -INFINITY;
    coarse_pick_sort(p);
    for (size_t c = 0; c < t->k; c++) {
        t->ids[i * t->k + c] = p->items[c].row;
        t->scores[i * t->k + c] = p->items[c].low;
    }
}

static void scan_images(void *ctx, size_t begin, size_t end, size_t worker)
{
    MineTop *t = ctx;
    Worker *w = &t->workers[worker];
    if (!coarse_queries_set(&w->queries, t->images + begin * t->dim, end - begin)) {
        t->bad[worker] = true;
        return;
    }
    const CoarseBlock b = {.rows = t->bytes,
                           .scale = t->scale,
                           .error = t->error,
                           .count = t->sliced,
                           .width = t->width,
                           .first = (uint32_t)t->first};
    w->queries.length = 0;
    for (size_t i = 0; i < vc_pool_threads(t->pool); i++)
        w->queries.length = fmaxf(w->queries.length, t->workers[i].length);
    coarse_scan(&b, &w->queries, 0, end - begin, t->picks + begin, NULL, &w->scratch);
    for (size_t i = begin; t->last && i < end; i++)
        finish_image(t, w, i, w->queries.unit + (i - begin) * t->dim);
}

bool mine_top_run(MineTop *t, const float *images, size_t n, size_t k, uint32_t *ids, float *scores)
{
    VC_ASSERT(k <= t->count);
    const size_t threads = vc_pool_threads(t->pool), share = (n + threads - 1) / threads;
    if (n == 0 || k == 0)
        return true;
    t->images = images;
    t->n = n;
    t->k = k;
    t->ids = ids;
    t->scores = scores;
    t->chunk = (share + NN_SCAN_LANES - 1) / NN_SCAN_LANES * NN_SCAN_LANES;
    t->chunk = t->chunk > CHUNK ? CHUNK : t->chunk;
    if (n > t->pick_room) {
        t->picks = vc_realloc(t->picks, n, sizeof *t->picks);
        memset(t->picks + t->pick_room, 0, (n - t->pick_room) * sizeof *t->picks);
        t->pick_room = n;
    }
    for (size_t i = 0; i < n; i++)
        coarse_pick_begin(&t->picks[i], k, -INFINITY);
    bool good = true;
    for (size_t first = 0; good && first < t->count; first += t->slice) {
        make_slice(t, first);
        t->last = first + t->slice >= t->count;
        vc_parallel_for(t->pool, n, t->chunk, scan_images, t);
        for (size_t i = 0; i < threads; i++) {
            good = good && !t->bad[i];
            t->bad[i] = false;
        }
    }
    return good;
}
