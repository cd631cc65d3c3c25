// SPDX-License-Identifier: MIT
#include "concepts/clip_private.h"

#include "base/err.h"
#include "base/log.h"

#include <string.h>

// TEXT_ROWS: tokens a thread works on at a time. SLAB: texts whose ids are held at once.
enum { TEXT_ROWS = 256, SLAB = 2048 };

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

// Texts of one slab: text i has the ids rows[i * L] .. of which the first lengths[i] count; groups are runs of texts
// with at most TEXT_ROWS tokens together (or one text).
typedef struct {
    const ClipModel *m;
    const int32_t *ids;
    size_t *lengths;
    size_t *group_start; // [groups + 1]
    float *out;
    ClipWork *works;
    size_t work_rows;
} TextJob;

static void encode_group(const TextJob *job, ClipWork *w, size_t first, size_t count)
{
    const ClipModel *m = job->m;
    const ClipTower *t = &m->info.text;
    const size_t width = t->width;
    size_t pooled[TEXT_ROWS], rows = 0;
    for (size_t i = 0; i < count; i++) {
        const int32_t *ids = job->ids + (first + i) * m->info.context;
        const size_t length = job->lengths[first + i];
        for (size_t k = 0; k < length; k++)
            memcpy(w->x + (rows + k) * width, m->tokens + (size_t)ids[k] * width, width * sizeof *w->x);
        w->nn.kernels->add(w->x + rows * width, m->text_positions, length * width);
        pooled[i] = length - 1; // cut there: causal attention never looks further
        rows += length;
    }
    const ClipPacking packing = {count, job->lengths + first, true};
    for (size_t l = 0; l + 1 < t->layers; l++)
        clip_block(w, t, &m->text_blocks[l], &packing, rows);
    clip_last_block(w, t, &m->text_blocks[t->layers - 1], &packing, rows, pooled);
    clip_norm(w, w->h, w->x, m->final, count, width, t->eps);
    clip_linear(w, job->out + first * m->info.dim, w->h, m->text_projection, count, width, m->info.dim, false);
}

static void encode_groups(void *ctx, size_t begin, size_t end, size_t worker)
{
    const TextJob *job = ctx;
    ClipWork *w = &job->works[worker];
    if (w->block == NULL)
        clip_work_init(w, &job->m->info.text, job->work_rows, 0);
    for (size_t g = begin; g < end; g++)
        encode_group(job, w, job->group_start[g], job->group_start[g + 1] - job->group_start[g]);
}

// At most SLAB texts. Threads get groups of equal work: fewer tokens a group where there are few texts.
static void encode_slab(TextJob *job, VcPool *pool, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += job->lengths[i];
    const size_t threads = vc_pool_threads(pool), share = (total + threads - 1) / threads;
    const size_t most = share < TEXT_ROWS ? share : TEXT_ROWS;
    size_t groups = 0, rows = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || rows + job->lengths[i] > most) {
            job->group_start[groups++] = i;
            rows = 0;
        }
        rows += job->lengths[i];
    }
    job->group_start[groups] = n;
    vc_parallel_for(pool, groups, 1, encode_groups, job);
}

static void job_init(TextJob *job, const ClipModel *m, VcPool *pool, size_t n)
{
    const size_t slab = n < SLAB ? n : SLAB;
    *job = (TextJob){.m = m, .work_rows = TEXT_ROWS > m->info.context ? TEXT_ROWS : m->info.context};
    job->lengths = vc_alloc(slab, sizeof *job->lengths);
    job->group_start = vc_alloc(slab + 1, sizeof *job->group_start);
    job->works = vc_calloc(vc_pool_threads(pool), sizeof *job->works);
}

static void job_finish(TextJob *job, VcPool *pool)
{
    for (size_t i = 0; i < vc_pool_threads(pool); i++) {
        if (job->works[i].block != NULL)
            clip_work_finish(&job->works[i]);
    }
    free(job->works);
    free(job->lengths);
    free(job->group_start);
}

bool clip_encode_texts(const ClipModel *m, VcPool *pool, const char *const *texts, size_t n, float *out, VcErr *err)
{
    if (n == 0)
        return true;
    const size_t context = m->info.context;
    int32_t *ids = vc_alloc((n < SLAB ? n : SLAB) * context, sizeof *ids);
    BpeCache *cache = n > 64 ? bpe_cache_create() : NULL;
    TextJob job;
    job_init(&job, m, pool, n);
    job.ids = ids;
    bool ok = true;
    for (size_t start = 0; ok && start < n; start += SLAB) {
        const size_t count = n - start < SLAB ? n - start : SLAB;
        for (size_t i = 0; i < count; i++) {
            int32_t *row = ids + i * context;
            const char *text = texts[start + i];
            const size_t length = bpe_encode(m->bpe, cache, m->info.clean, text, strlen(text), row, context);
            job.lengths[i] = pooled_place(m, row, length) + 1;
        }
        job.out = out + start * m->info.dim;
        encode_slab(&job, pool, count);
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    job_finish(&job, pool);
    bpe_cache_destroy(&cache);
    free(ids);
    return ok;
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
    if (n == 0)
        return true;
    TextJob job;
    job_init(&job, m, pool, n);
    for (size_t start = 0; start < n; start += SLAB) {
        const size_t count = n - start < SLAB ? n - start : SLAB;
        job.ids = ids + start * context;
        for (size_t i = 0; i < count; i++)
            job.lengths[i] = pooled_place(m, job.ids + i * context, context) + 1;
        job.out = out + start * m->info.dim;
        encode_slab(&job, pool, count);
    }
    job_finish(&job, pool);
    return true;
}
