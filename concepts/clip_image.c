// SPDX-License-Identifier: MIT
#include "concepts/clip_private.h"

#include "base/err.h"

#include <string.h>

// Rows of activations a thread works on: enough for full speed of the products (more leaves the cache).
enum { IMAGE_ROWS = 400, MAX_IMAGES = 8 };

static size_t grid_of(const ClipModel *m)
{
    return m->info.image_size / m->info.patch;
}

static size_t tokens_of(const ClipModel *m)
{
    return 1 + grid_of(m) * grid_of(m);
}

static size_t images_per_chunk(const ClipModel *m)
{
    const size_t fit = IMAGE_ROWS / tokens_of(m);
    return fit < 1 ? 1 : fit > MAX_IMAGES ? MAX_IMAGES : fit;
}

static void init_work(const ClipModel *m, ClipWork *w, size_t images)
{
    clip_work_init(w, &m->info.image, images * tokens_of(m), 3 * m->info.patch * m->info.patch);
}

// columns[patches][3 * P * P] of one image: what the convolution sees at each patch, channel by channel.
static void patch_columns(const ClipModel *m, float *columns, const float *pixels)
{
    const size_t s = m->info.image_size, p = m->info.patch, g = grid_of(m);
    for (size_t y = 0; y < g; y++) {
        for (size_t x = 0; x < g; x++) {
            for (size_t c = 0; c < 3; c++) {
                for (size_t i = 0; i < p; i++, columns += p)
                    memcpy(columns, pixels + (c * s + y * p + i) * s + x * p, p * sizeof *columns);
            }
        }
    }
}

// w->x becomes the residual stream of n images before the first block: class token and patches plus positions,
// normalised.
static void embed(const ClipModel *m, ClipWork *w, const float *pixels, size_t n)
{
    const size_t s = m->info.image_size, p = m->info.patch, width = m->info.image.width;
    const size_t patches = grid_of(m) * grid_of(m), tokens = patches + 1, columns = 3 * p * p;
    for (size_t i = 0; i < n; i++)
        patch_columns(m, w->f + i * patches * columns, pixels + i * 3 * s * s);
    clip_linear(w, w->h, w->f, m->patch, n * patches, columns, width, false);
    for (size_t i = 0; i < n; i++) {
        float *x = w->x + i * tokens * width;
        memcpy(x, m->class_token, width * sizeof *x);
        memcpy(x + width, w->h + i * patches * width, patches * width * sizeof *x);
        w->nn.kernels->add(x, m->image_positions, tokens * width);
    }
    clip_norm(w, w->x, w->x, m->pre, n * tokens, width, m->info.image.eps);
}

static void encode_chunk(const ClipModel *m, ClipWork *w, const float *pixels, size_t n, float *out)
{
    const ClipTower *t = &m->info.image;
    const size_t tokens = tokens_of(m);
    size_t lengths[MAX_IMAGES], first[MAX_IMAGES] = {0};
    for (size_t i = 0; i < n; i++)
        lengths[i] = tokens;
    const ClipPacking packing = {n, lengths, false};
    embed(m, w, pixels, n);
    for (size_t l = 0; l + 1 < t->layers; l++)
        clip_block(w, t, &m->image_blocks[l], &packing, n * tokens);
    clip_last_block(w, t, &m->image_blocks[t->layers - 1], &packing, n * tokens, first);
    clip_norm(w, w->h, w->x, m->post, n, t->width, t->eps);
    clip_linear(w, out, w->h, m->image_projection, n, t->width, m->info.dim, false);
}

typedef struct {
    const ClipModel *m;
    const float *pixels;
    float *out;
    ClipWork *works; // one a thread, made at its first chunk
    size_t chunk;
} ImageJob;

static void encode_range(void *ctx, size_t begin, size_t end, size_t worker)
{
    const ImageJob *job = ctx;
    const size_t s = job->m->info.image_size;
    ClipWork *w = &job->works[worker];
    if (w->block == NULL)
        init_work(job->m, w, job->chunk);
    encode_chunk(job->m, w, job->pixels + begin * 3 * s * s, end - begin, job->out + begin * job->m->info.dim);
}

void clip_encode_images(const ClipModel *m, VcPool *pool, const float *pixels, size_t n, float *out)
{
    if (n == 0)
        return;
    const size_t threads = vc_pool_threads(pool), most = images_per_chunk(m), share = (n + threads - 1) / threads;
    ImageJob job = {m, pixels, out, vc_calloc(threads, sizeof(ClipWork)), share < most ? share : most};
    vc_parallel_for(pool, n, job.chunk, encode_range, &job);
    for (size_t i = 0; i < threads; i++) {
        if (job.works[i].block != NULL)
            clip_work_finish(&job.works[i]);
    }
    free(job.works);
}

void clip_image_hidden(const ClipModel *m, const float *pixels, size_t n, float *hidden)
{
    const ClipTower *t = &m->info.image;
    const size_t s = m->info.image_size, tokens = tokens_of(m), stream = tokens * t->width;
    const ClipPacking one = {1, &tokens, false};
    ClipWork w = {0};
    init_work(m, &w, 1);
    for (size_t i = 0; i < n; i++) {
        embed(m, &w, pixels + i * 3 * s * s, 1);
        for (size_t l = 0;; l++) {
            memcpy(hidden + (l * n + i) * stream, w.x, stream * sizeof *hidden);
            if (l == t->layers)
                break;
            clip_block(&w, t, &m->image_blocks[l], &one, tokens);
        }
    }
    clip_work_finish(&w);
}
