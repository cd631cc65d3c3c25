// SPDX-License-Identifier: MIT
#include "concepts/clip_private.h"

#include "base/err.h"

#include <string.h>

// Rows of activations a thread works on: enough for full speed of the products (more leaves the cache).
enum { IMAGE_ROWS = 200, MAX_IMAGES = 8 };

static size_t grid_of(const ClipModel *m)
{
    return m->info.image_size / m->info.patch;
}

static size_t tokens_of(const ClipModel *m)
{
    return 1 + grid_of(m) * grid_of(m);
}

size_t clip_images_at_a_time(const ClipModel *m)
{
    const size_t fit = IMAGE_ROWS / tokens_of(m);
    return fit < 1 ? 1 : fit > MAX_IMAGES ? MAX_IMAGES : fit;
}

static ClipWork *take_work(const ClipModel *m, size_t images)
{
    return clip_work_take(m, true, images * tokens_of(m), 3 * m->info.patch * m->info.patch, 0);
}

// What the convolution sees at patch (x, y): channel by channel, columns[3 * P * P].
static void patch_columns(const ClipModel *m, float *columns, const float *pixels, size_t x, size_t y)
{
    const size_t s = m->info.image_size, p = m->info.patch;
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < p; i++, columns += p)
            memcpy(columns, pixels + (c * s + y * p + i) * s + x * p, p * sizeof *columns);
    }
}

// w->x becomes the residual stream of n images before the first block: class token and patches plus positions,
// normalised.
static void embed(const ClipModel *m, ClipWork *w, const float *pixels, size_t n)
{
    const size_t s = m->info.image_size, p = m->info.patch, width = m->info.image.width, grid = grid_of(m);
    const size_t patches = grid * grid, tokens = patches + 1, columns = 3 * p * p;
    const NnPacked *first = &m->image_tower.first;
    w->h.kind = first->kind;
    w->h.words = first->words;
    for (size_t i = 0; i < n * patches; i++) {
        const float *image = pixels + i / patches * 3 * s * s;
        patch_columns(m, w->row, image, i % patches % grid, i % patches / grid);
        nn_packed_put(w->nn.kernels, &w->h, i, w->row, columns, NULL);
    }
    clip_layer(w, first, &w->h, n * patches, w->a, width, false);
    for (size_t i = 0; i < n; i++) {
        float *x = w->x + i * tokens * width;
        memcpy(x, m->class_token, width * sizeof *x);
        memcpy(x + width, w->a + i * patches * width, patches * width * sizeof *x);
        w->nn.kernels->add(x, m->image_positions, tokens * width);
    }
    w->nn.kernels->layernorm(w->x, NULL, NULL, w->x, m->pre.gain, m->pre.bias, n * tokens, width,
                             (float)m->info.image.eps);
}

static void encode_chunk(const ClipModel *m, ClipWork *w, const float *pixels, size_t n, float *out)
{
    const ClipTower *t = &m->info.image;
    const size_t tokens = tokens_of(m);
    ClipSequence of[MAX_IMAGES];
    for (size_t i = 0; i < n; i++)
        of[i] = (ClipSequence){.length = tokens, .first = i * tokens, .pooled = i * tokens};
    const ClipPacking packing = {n, of, false};
    embed(m, w, pixels, n);
    for (size_t l = 0; l + 1 < t->layers; l++)
        clip_block(w, l, &packing, n * tokens);
    clip_last_block(w, &packing, n * tokens);
    clip_norm_rows(w, m->image_tower.last.kind, w->x, m->post, n);
    clip_layer(w, &m->image_tower.last, &w->h, n, out, m->info.dim, false);
}

typedef struct {
    const ClipModel *m;
    const float *pixels;
    float *out;
    ClipWork **works; // one a thread, taken at its first chunk
    size_t chunk;
    float *const *absmax; // one a thread, or NULL
} ImageJob;

static void encode_range(void *ctx, size_t begin, size_t end, size_t worker)
{
    const ImageJob *job = ctx;
    const size_t s = job->m->info.image_size;
    if (job->works[worker] == NULL) {
        job->works[worker] = take_work(job->m, job->chunk);
        job->works[worker]->absmax = job->absmax != NULL ? job->absmax[worker] : NULL;
    }
    encode_chunk(job->m, job->works[worker], job->pixels + begin * 3 * s * s, end - begin,
                 job->out + begin * job->m->info.dim);
}

static void encode_images(const ClipModel *m, VcPool *pool, const float *pixels, size_t n, float *out,
                          float *const *absmax)
{
    if (n == 0)
        return;
    const size_t threads = vc_pool_threads(pool), most = clip_images_at_a_time(m), share = (n + threads - 1) / threads;
    ImageJob job = {m, pixels, out, vc_calloc(threads, sizeof(ClipWork *)), share < most ? share : most, absmax};
    vc_parallel_for(pool, n, job.chunk, encode_range, &job);
    for (size_t i = 0; i < threads; i++)
        clip_work_give(m, job.works[i]);
    free(job.works);
}

void clip_encode_images(const ClipModel *m, VcPool *pool, const float *pixels, size_t n, float *out)
{
    encode_images(m, pool, pixels, n, out, NULL);
}

void clip_measure_images(const ClipModel *m, VcPool *pool, const float *pixels, size_t n, float *const *absmax)
{
    float *out = vc_alloc(n * m->info.dim, sizeof *out);
    encode_images(m, pool, pixels, n, out, absmax);
    free(out);
}

void clip_image_hidden(const ClipModel *m, const float *pixels, size_t n, float *hidden)
{
    const ClipTower *t = &m->info.image;
    const size_t s = m->info.image_size, tokens = tokens_of(m), stream = tokens * t->width;
    const ClipSequence whole = {.length = tokens};
    const ClipPacking one = {1, &whole, false};
    ClipWork *w = take_work(m, 1);
    for (size_t i = 0; i < n; i++) {
        embed(m, w, pixels + i * 3 * s * s, 1);
        for (size_t l = 0;; l++) {
            memcpy(hidden + (l * n + i) * stream, w->x, stream * sizeof *hidden);
            if (l == t->layers)
                break;
            clip_block(w, l, &one, tokens);
        }
    }
    clip_work_give(m, w);
}
