// SPDX-License-Identifier: MIT
#include "concepts/clip_private.h"

#include "base/err.h"
#include "base/log.h"

#include <string.h>

// TEXT_ROWS: tokens a thread works on at a time. SLAB: texts whose ids are held at once.
enum { TEXT_ROWS = 384, SLAB = 8192 };

// Where a row of ids is pooled: the first end token, or the first of the largest ids (OpenAI's way, which older
// Hugging Face configurations keep by saying eos_token_id 2).
static size_t pooled_place(const ClipModel *m, const int32_t *ids, size_t n)
{
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == m->pool_id)
            return i;
        if (ids[i] > ids[best])
            best = i;
    }
    return m->pool_id >= 0 ? 0 : best;
}

// Texts of one slab: text i has the ids rows[i * L] .. of which the first lengths[i] count. In `order` they rise as
// words of ids do, equal ones once, so that texts that begin alike stand together: attention is causal, so what they
// begin with alike is the same for all, and is computed once. Groups are runs of `order` with at most TEXT_ROWS rows
// together (or one text).
typedef struct {
    const ClipModel *m;
    const int32_t *ids;
    size_t *lengths;
    size_t *order;       // [distinct]
    size_t *same_as;     // [n] place in order
    size_t *group_start; // [groups + 1]
    size_t distinct;
    float *vectors;   // [distinct][d]
    ClipWork **works; // one a thread, taken at its first group
    size_t work_rows;
    float *const *absmax; // one a thread, or NULL
} TextJob;

static const int32_t *ids_of(const TextJob *job, size_t text)
{
    return job->ids + text * job->m->info.context;
}

// Tokens that two texts begin with alike.
static size_t alike(const TextJob *job, size_t a, size_t b)
{
    const size_t most = job->lengths[a] < job->lengths[b] ? job->lengths[a] : job->lengths[b];
    const int32_t *x = ids_of(job, a), *y = ids_of(job, b);
    size_t k = 0;
    while (k < most && x[k] == y[k])
        k++;
    return k;
}

static int compare_texts(const void *a, const void *b, void *ctx)
{
    const TextJob *job = ctx;
    size_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    const size_t k = alike(job, x, y);
    if (k < job->lengths[x] && k < job->lengths[y])
        return ids_of(job, x)[k] < ids_of(job, y)[k] ? -1 : 1;
    if (job->lengths[x] != job->lengths[y])
        return job->lengths[x] < job->lengths[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

// Fills order, same_as and distinct.
static void sort_texts(TextJob *job, size_t n)
{
    for (size_t i = 0; i < n; i++)
        job->order[i] = i;
    qsort_r(job->order, n, sizeof *job->order, compare_texts, job);
    job->distinct = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t text = job->order[i];
        const size_t last = job->distinct > 0 ? job->order[job->distinct - 1] : text;
        const bool again = job->distinct > 0 && job->lengths[last] == job->lengths[text] &&
                           alike(job, last, text) == job->lengths[text];
        if (!again)
            job->order[job->distinct++] = text;
        job->same_as[text] = job->distinct - 1;
    }
}

// The rows that text `place` of the order adds to a group: all of the first one, else what it does not begin alike.
static size_t rows_of(const TextJob *job, size_t place, bool first)
{
    const size_t text = job->order[place];
    return job->lengths[text] - (first ? 0 : alike(job, job->order[place - 1], text));
}

static void encode_group(const TextJob *job, ClipWork *w, size_t start, size_t count)
{
    const ClipModel *m = job->m;
    const size_t width = m->info.text.width;
    ClipSequence *of = vc_arena_alloc(w->nn.scratch, count, sizeof *of);
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t text = job->order[start + i], length = job->lengths[text];
        const size_t own = rows_of(job, start + i, i == 0), shared = length - own;
        const int32_t *ids = ids_of(job, text);
        for (size_t k = shared; k < length; k++) {
            float *x = w->x + (rows + k - shared) * width;
            memcpy(x, m->tokens + (size_t)ids[k] * width, width * sizeof *x);
            w->nn.kernels->add(x, m->text_positions + k * width, width);
        }
        rows += own;
        // Pooled is the last: causal attention never looks further.
        of[i] = (ClipSequence){.length = length, .shared = shared, .first = rows - own, .pooled = rows - 1};
    }
    const ClipPacking packing = {count, of, true};
    for (size_t l = 0; l + 1 < m->info.text.layers; l++)
        clip_block(w, l, &packing, rows);
    clip_last_block(w, &packing, rows);
    clip_norm_rows(w, m->text_tower.last.kind, w->x, m->final, count);
    clip_layer(w, &m->text_tower.last, &w->h, count, job->vectors + start * m->info.dim, m->info.dim, false);
}

static void encode_groups(void *ctx, size_t begin, size_t end, size_t worker)
{
    const TextJob *job = ctx;
    if (job->works[worker] == NULL) {
        job->works[worker] = clip_work_take(job->m, false, job->work_rows, 0, job->m->info.context);
        job->works[worker]->absmax = job->absmax != NULL ? job->absmax[worker] : NULL;
    }
    ClipWork *w = job->works[worker];
    for (size_t g = begin; g < end; g++) {
        const VcArenaMark mark = vc_arena_mark(w->nn.scratch);
        encode_group(job, w, job->group_start[g], job->group_start[g + 1] - job->group_start[g]);
        vc_arena_release(w->nn.scratch, mark);
    }
}

// At most SLAB texts. Threads get groups of equal work: fewer rows a group where there are few texts.
static void encode_slab(TextJob *job, VcPool *pool, size_t n, float *out)
{
    const size_t dim = job->m->info.dim;
    sort_texts(job, n);
    size_t total = 0;
    for (size_t i = 0; i < job->distinct; i++)
        total += rows_of(job, i, i == 0);
    const size_t threads = vc_pool_threads(pool), share = (total + threads - 1) / threads;
    const size_t most = share < TEXT_ROWS ? share : TEXT_ROWS;
    size_t groups = 0, rows = 0;
    for (size_t i = 0; i < job->distinct; i++) {
        const size_t own = rows_of(job, i, i == 0);
        if (i == 0 || rows + own > most) {
            job->group_start[groups++] = i;
            rows = rows_of(job, i, true);
        } else {
            rows += own;
        }
    }
    job->group_start[groups] = job->distinct;
    vc_parallel_for(pool, groups, 1, encode_groups, job);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * dim, job->vectors + job->same_as[i] * dim, dim * sizeof *out);
}

static void job_init(TextJob *job, const ClipModel *m, VcPool *pool, size_t n)
{
    const size_t slab = n < SLAB ? n : SLAB;
    *job = (TextJob){.m = m, .work_rows = TEXT_ROWS > m->info.context ? TEXT_ROWS : m->info.context};
    job->lengths = vc_alloc(slab, sizeof *job->lengths);
    job->order = vc_alloc(slab, sizeof *job->order);
    job->same_as = vc_alloc(slab, sizeof *job->same_as);
    job->group_start = vc_alloc(slab + 1, sizeof *job->group_start);
    job->vectors = vc_alloc(slab * m->info.dim, sizeof *job->vectors);
    job->works = vc_calloc(vc_pool_threads(pool), sizeof *job->works);
}

static void job_finish(TextJob *job, VcPool *pool)
{
    for (size_t i = 0; i < vc_pool_threads(pool); i++)
        clip_work_give(job->m, job->works[i]);
    free(job->works);
    free(job->lengths);
    free(job->order);
    free(job->same_as);
    free(job->group_start);
    free(job->vectors);
}

static bool encode_texts(const ClipModel *m, VcPool *pool, const char *const *texts, size_t n, float *out,
                         float *const *absmax, VcErr *err)
{
    if (n == 0)
        return true;
    const size_t context = m->info.context;
    int32_t *ids = vc_alloc((n < SLAB ? n : SLAB) * context, sizeof *ids);
    BpeCache *cache = n > 64 ? bpe_cache_create() : NULL;
    TextJob job;
    job_init(&job, m, pool, n);
    job.ids = ids;
    job.absmax = absmax;
    bool ok = true;
    for (size_t start = 0; ok && start < n; start += SLAB) {
        const size_t count = n - start < SLAB ? n - start : SLAB;
        for (size_t i = 0; i < count; i++) {
            int32_t *row = ids + i * context;
            const char *text = texts[start + i];
            const size_t length = bpe_encode(m->bpe, cache, m->info.clean, text, strlen(text), row, context);
            job.lengths[i] = pooled_place(m, row, length) + 1;
        }
        encode_slab(&job, pool, count, out + start * m->info.dim);
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    job_finish(&job, pool);
    bpe_cache_destroy(&cache);
    free(ids);
    return ok;
}

bool clip_encode_texts(const ClipModel *m, VcPool *pool, const char *const *texts, size_t n, float *out, VcErr *err)
{
    return encode_texts(m, pool, texts, n, out, NULL, err);
}

void clip_measure_texts(const ClipModel *m, VcPool *pool, const char *const *texts, size_t n, float *const *absmax)
{
    VcErr ignored = {0}; // an interrupt: the caller will see it
    float *out = vc_alloc(n * m->info.dim, sizeof *out);
    encode_texts(m, pool, texts, n, out, absmax, &ignored);
    free(out);
}

static void encode_id_rows(const ClipModel *m, VcPool *pool, const int32_t *ids, size_t n, float *out,
                           float *const *absmax)
{
    const size_t context = m->info.context;
    TextJob job;
    job_init(&job, m, pool, n);
    job.absmax = absmax;
    for (size_t start = 0; start < n; start += SLAB) {
        const size_t count = n - start < SLAB ? n - start : SLAB;
        job.ids = ids + start * context;
        for (size_t i = 0; i < count; i++)
            job.lengths[i] = pooled_place(m, job.ids + i * context, context) + 1;
        encode_slab(&job, pool, count, out + start * m->info.dim);
    }
    job_finish(&job, pool);
}

void clip_measure_ids(const ClipModel *m, VcPool *pool, const int32_t *ids, size_t n, float *const *absmax)
{
    float *out = vc_alloc(n * m->info.dim, sizeof *out);
    encode_id_rows(m, pool, ids, n, out, absmax);
    free(out);
}

bool clip_encode_ids(const ClipModel *m, VcPool *pool, const int32_t *ids, size_t n, float *out, VcErr *err)
{
    const size_t context = m->info.context;
    for (size_t i = 0; i < n * context; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= m->info.vocabulary) {
            return vc_fail(err, VC_ERR_FORMAT, "id %d of text %zu is outside the vocabulary of %zu", (int)ids[i],
                           i / context, m->info.vocabulary);
        }
    }
    if (n > 0)
        encode_id_rows(m, pool, ids, n, out, NULL);
    return true;
}
