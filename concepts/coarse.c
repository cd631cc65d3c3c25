// SPDX-License-Identifier: MIT
#include "concepts/coarse.h"

#include "base/mem.h"
#include "nn/nn.h"

#include <math.h>

// What rounding to float may add to a coarse cosine, its bound and a fine score together.
static const float slack = 4e-6F;

// --- queries ---------------------------------------------------------------------------------------------------------

void coarse_queries_create(CoarseQueries *q, size_t room, size_t dim, float length)
{
    const size_t width = nn_scan_width(dim), panels = (room + NN_SCAN_LANES - 1) / NN_SCAN_LANES;
    *q = (CoarseQueries){.dim = dim, .width = width, .length = length, .room = room};
    q->unit = vc_alloc_aligned(room * dim, sizeof *q->unit);
    q->bytes = vc_alloc_aligned(room * width, 1);
    q->panels = room > COARSE_FEW ? vc_alloc_aligned(panels * NN_SCAN_LANES * width, 1) : NULL;
    q->scale = vc_alloc(room, sizeof *q->scale);
    q->blur = vc_alloc(room, sizeof *q->blur);
    q->base = vc_alloc(room, sizeof *q->base);
    q->shift = vc_alloc(panels * NN_SCAN_LANES, sizeof *q->shift);
}

void coarse_queries_destroy(CoarseQueries *q)
{
    free(q->unit);
    free(q->bytes);
    free(q->panels);
    free(q->scale);
    free(q->blur);
    free(q->base);
    free(q->shift);
    *q = (CoarseQueries){0};
}

static bool make_unit(float *unit, const float *x, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)x[i] * x[i];
    const double inverse = 1 / sqrt(sum);
    if (!isfinite(sum) || !(sum > 0) || !isfinite(inverse))
        return false;
    for (size_t i = 0; i < dim; i++)
        unit[i] = (float)(x[i] * inverse);
    return true;
}

bool coarse_queries_set(CoarseQueries *q, const float *x, size_t count)
{
    VC_ASSERT(count <= q->room);
    const size_t dim = q->dim, width = q->width, panel = NN_SCAN_LANES * width;
    q->count = count;
    if (q->panels) // lanes past the last query stay zero
        memset(q->panels, 0, (count + NN_SCAN_LANES - 1) / NN_SCAN_LANES * panel);
    memset(q->shift, 0, (count + NN_SCAN_LANES - 1) / NN_SCAN_LANES * NN_SCAN_LANES * sizeof *q->shift);
    for (size_t i = 0; i < count; i++) {
        float length;
        q->base[i] = 0;
        if (!make_unit(q->unit + i * dim, x + i * dim, dim))
            return false;
        nn_scan_quantize(q->bytes + i * width, &q->scale[i], &q->blur[i], &length, q->unit + i * dim, dim);
        if (q->panels) {
            q->shift[i] =
                nn_scan_pack(q->panels + i / NN_SCAN_LANES * panel, i % NN_SCAN_LANES, q->bytes + i * width, width);
        }
    }
    return true;
}

// --- picks -----------------------------------------------------------------------------------------------------------

void coarse_pick_begin(CoarsePick *p, size_t limit, float least)
{
    VC_ASSERT(limit > 0);
    const size_t room = limit > SIZE_MAX / 64 ? limit : limit * 4 < 256 ? 256 : limit * 4;
    if (p->room < 256 || p->room < room / 4 || p->room > 64 * room) {
        free(p->items);
        p->room = room < 4096 ? room : 4096; // grows where there are so many
        p->items = vc_alloc(p->room, sizeof *p->items);
    }
    p->count = 0;
    p->limit = limit;
    p->least = least;
}

void coarse_pick_finish(CoarsePick *p)
{
    free(p->items);
    *p = (CoarsePick){0};
}

static void swap(float *a, float *b)
{
    const float t = *a;
    *a = *b;
    *b = t;
}

// The k-th largest of x[n], k from 0; x is put in another order (Hoare's selection, middle of three).
// NOLINTBEGIN(clang-analyzer-core.UndefinedBinaryOperatorResult): the callers fill x
static float kth_largest(float *x, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (x[middle] > x[low])
            swap(&x[middle], &x[low]);
        if (x[high] > x[low])
            swap(&x[high], &x[low]);
        if (x[high] > x[middle])
            swap(&x[high], &x[middle]);
        const float pivot = x[middle];
        size_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i <= j) {
                swap(&x[i], &x[j]);
                i++;
                if (j == 0)
                    break;
                j--;
            }
        }
        if (k <= j && j < high) {
            high = j;
        } else if (k >= i) {
            low = i;
        } else {
            return pivot;
        }
    }
    return x[k];
}
// NOLINTEND(clang-analyzer-core.UndefinedBinaryOperatorResult)

// The `limit`-th highest lower or upper end; there are as many items.
static float kth_end(const CoarsePick *p, bool upper)
{
    float stack[1024], *ends = p->count <= 1024 ? stack : vc_alloc(p->count, sizeof *ends);
    for (size_t i = 0; i < p->count; i++)
        ends[i] = upper ? p->items[i].high : p->items[i].low;
    const float end = kth_largest(ends, p->count, p->limit - 1);
    if (ends != stack)
        free(ends);
    return end;
}

float coarse_pick_promising(const CoarsePick *p)
{
    return p->count > p->limit ? kth_end(p, true) : -INFINITY;
}

void coarse_pick_prune(CoarsePick *p)
{
    if (p->count > p->limit) {
        const float least = kth_end(p, false);
        p->least = least > p->least ? least : p->least;
    }
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        p->items[kept] = p->items[i];
        kept += p->items[i].high >= p->least;
    }
    p->count = kept;
}

void coarse_pick_add(CoarsePick *p, CoarseItem item)
{
    if (!(item.high >= p->least))
        return;
    if (p->count == p->room) {
        coarse_pick_prune(p);
        if (p->count > p->room / 2) {
            p->room *= 2;
            p->items = vc_realloc(p->items, p->room, sizeof *p->items);
        }
        if (!(item.high >= p->least))
            return;
    }
    p->items[p->count++] = item;
}

static int by_score(const void *a, const void *b)
{
    const CoarseItem *x = a, *y = b;
    if (x->low != y->low)
        return x->low > y->low ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

void coarse_pick_sort(CoarsePick *p)
{
    coarse_pick_prune(p);
    qsort(p->items, p->count, sizeof *p->items, by_score);
    if (p->count > p->limit)
        p->count = p->limit;
}

// --- scan ------------------------------------------------------------------------------------------------------------

void coarse_scratch_create(CoarseScratch *s, size_t width)
{
    s->turned = vc_alloc_aligned(COARSE_ROWS * width, 1);
    s->sums = vc_alloc_aligned((size_t)COARSE_ROWS * NN_SCAN_LANES, sizeof *s->sums);
    s->hits = vc_alloc_aligned(COARSE_ROWS, sizeof *s->hits);
}

void coarse_scratch_destroy(CoarseScratch *s)
{
    free(s->turned);
    free(s->sums);
    free(s->hits);
    *s = (CoarseScratch){0};
}

static void offer(CoarsePick *p, const CoarseBlock *b, const CoarseQueries *q, size_t query, size_t at, int32_t sum)
{
    const float score = (float)sum * b->scale[at] * q->scale[query] + q->base[query];
    const float bound = b->error[at] * (1 + q->blur[query]) + q->blur[query] * q->length + slack;
    coarse_pick_add(p, (CoarseItem){coarse_number(b, at), score - bound, score + bound});
}

// What a sum of products, times the row's scale, must reach with the row's error times *gain: high >= pick's least,
// divided by the query's scale.
static float threshold(const CoarseQueries *q, size_t query, const CoarsePick *p, float *gain)
{
    *gain = (1 + q->blur[query]) / q->scale[query];
    const float least = p->least - q->base[query] - q->blur[query] * q->length - 2 * slack;
    return least / q->scale[query];
}

static void scan_one(const CoarseBlock *b, const CoarseQueries *q, size_t query, size_t begin, size_t count,
                     CoarsePick *p, const uint64_t *allowed, CoarseScratch *s)
{
    const NnScanKernels *k = nn_scan_kernels();
    float gain;
    const float least = threshold(q, query, p, &gain);
    const int8_t *bytes = q->bytes + query * q->width;
    if (b->nibbles) {
        k->dots_i4(s->sums, b->nibbles + begin * b->width / 2, count, bytes, b->width);
    } else {
        k->dots_i8(s->sums, b->rows + begin * b->width, b->width, count, bytes, b->width);
    }
    k->above_one(s->hits, s->sums, b->scale + begin, b->error + begin, count, gain, least);
    for (size_t w = 0; w < (count + 31) / 32; w++) {
        for (uint32_t bits = s->hits[w]; bits != 0; bits &= bits - 1) {
            const size_t r = w * 32 + (size_t)__builtin_ctz(bits);
            if (coarse_allowed(allowed, coarse_number(b, begin + r)))
                offer(p, b, q, query, begin + r, s->sums[r]);
        }
    }
}

// Queries [from, from + n) of one panel, n <= 32; turned: the rows' bytes.
static void scan_panel(const CoarseBlock *b, const CoarseQueries *q, size_t from, size_t n, size_t begin, size_t count,
                       const uint8_t *turned, CoarsePick *picks, const uint64_t *allowed, CoarseScratch *s)
{
    const NnScanKernels *k = nn_scan_kernels();
    float gain[NN_SCAN_LANES], least[NN_SCAN_LANES];
    for (size_t j = 0; j < NN_SCAN_LANES; j++) {
        gain[j] = 0;
        least[j] = INFINITY; // no query
        if (j < n)
            least[j] = threshold(q, from + j, &picks[j], &gain[j]);
    }
    k->tile_i8(s->sums, turned, b->width, count, q->panels + from * q->width, b->width / 4);
    k->above(s->hits, s->sums, b->scale + begin, b->error + begin, count, q->shift + from, gain, least);
    for (size_t r = 0; r < count; r++) {
        if (s->hits[r] == 0 || !coarse_allowed(allowed, coarse_number(b, begin + r)))
            continue;
        for (uint32_t bits = s->hits[r]; bits != 0; bits &= bits - 1) {
            const size_t j = (size_t)__builtin_ctz(bits);
            offer(&picks[j], b, q, from + j, begin + r, s->sums[r * NN_SCAN_LANES + j] - q->shift[from + j]);
        }
    }
}

void coarse_scan(const CoarseBlock *b, const CoarseQueries *q, size_t from, size_t n, CoarsePick *picks,
                 const uint64_t *allowed, CoarseScratch *s)
{
    VC_ASSERT(!b->nibbles || n <= COARSE_FEW);
    for (size_t begin = 0; begin < b->count; begin += COARSE_ROWS) {
        const size_t count = b->count - begin < COARSE_ROWS ? b->count - begin : COARSE_ROWS;
        if (b->nibbles || (b->rows && (n <= COARSE_FEW || !q->panels))) {
            for (size_t i = 0; i < n; i++)
                scan_one(b, q, from + i, begin, count, &picks[i], allowed, s);
            continue;
        }
        const uint8_t *turned = b->turned ? b->turned + begin * b->width : s->turned;
        if (!b->turned)
            nn_scan_kernels()->turn_i8(s->turned, b->rows + begin * b->width, b->width, count, b->width);
        for (size_t at = 0; at < n; at += NN_SCAN_LANES) {
            const size_t lanes = n - at < NN_SCAN_LANES ? n - at : NN_SCAN_LANES;
            scan_panel(b, q, from + at, lanes, begin, count, turned, picks + at, allowed, s);
        }
    }
}

// --- fine scores -----------------------------------------------------------------------------------------------------

CoarseRows coarse_rows_of(const VectorsReader *r)
{
    return (CoarseRows){(const uint8_t *)vectors_reader_data(r), vectors_reader_row_bytes(r), vectors_reader_dim(r)};
}

void coarse_scores(const CoarseRows *rows, uint64_t begin, size_t n, const float *unit, float *scores)
{
    float norms[COARSE_SCORES];
    VC_ASSERT(n <= COARSE_SCORES);
    nn_scan_kernels()->dots_f16(scores, norms, rows->data + begin * rows->stride, rows->stride, n, unit, rows->dim);
    for (size_t i = 0; i < n; i++)
        scores[i] = norms[i] > 0 && norms[i] < INFINITY ? scores[i] / sqrtf(norms[i]) : 0;
}

float coarse_score(const CoarseRows *rows, uint64_t row, const float *unit)
{
    float score;
    coarse_scores(rows, row, 1, unit, &score);
    return score;
}
