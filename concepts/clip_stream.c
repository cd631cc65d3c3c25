// SPDX-License-Identifier: MIT
#include "concepts/clip_stream.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "concepts/clip_private.h"
#include "extract/extract.h"

#include <pthread.h>
#include <string.h>

typedef struct {
    size_t count;
    int64_t *ids;   // [piece]
    VcErr *errors;  // [piece]
    float *vectors; // [piece][d]; those of good pictures stand at the head
    bool done;
} Piece;

// A ring: pieces head..taken are with threads or done, taken..tail wait. The numbers only grow.
struct ClipStream {
    ClipStreamOptions o;
    size_t piece, depth;
    Piece *ring;
    size_t head, taken, tail;
    bool closed;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pthread_t *threads;
    size_t started;
    ClipStreamTimes times;
};

typedef struct {
    ClipStream *s;
    size_t worker;
} Worker;

// The pictures of one piece on this thread: pixels[piece][3][s][s] is scratch.
static void run_piece(ClipStream *s, Piece *p, size_t worker, float *pixels, ClipStreamTimes *times)
{
    const ClipInfo *info = clip_info(s->o.model);
    const size_t each = 3 * info->image_size * info->image_size;
    size_t good = 0;
    const double start = vc_now();
    for (size_t i = 0; i < p->count; i++) {
        uint8_t *bytes = NULL;
        size_t n = 0;
        p->errors[i] = (VcErr){0};
        good += s->o.read(s->o.ctx, worker, p->ids[i], &bytes, &n, &p->errors[i]) &&
                clip_preprocess_as(s->o.model, s->o.how, bytes, n, pixels + good * each, &p->errors[i]);
        free(bytes);
    }
    const double decoded = vc_now();
    clip_encode_images(s->o.model, NULL, pixels, good, p->vectors);
    times->read_seconds += decoded - start;
    times->encode_seconds += vc_now() - decoded;
}

static void *worker_main(void *arg)
{
    Worker w = *(Worker *)arg;
    free(arg);
    ClipStream *s = w.s;
    const size_t side = clip_info(s->o.model)->image_size;
    float *pixels = vc_alloc_aligned(s->piece * 3 * side * side, sizeof *pixels);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->taken == s->tail && !s->closed)
            pthread_cond_wait(&s->work, &s->lock);
        if (s->closed)
            break;
        Piece *p = &s->ring[s->taken++ % s->depth];
        pthread_mutex_unlock(&s->lock);
        ClipStreamTimes times = {0};
        run_piece(s, p, w.worker, pixels, &times);
        pthread_mutex_lock(&s->lock);
        p->done = true;
        s->times.read_seconds += times.read_seconds;
        s->times.encode_seconds += times.encode_seconds;
        pthread_cond_signal(&s->done);
    }
    pthread_mutex_unlock(&s->lock);
    free(pixels);
    extract_image_thread_end();
    return NULL;
}

static void make_ring(ClipStream *s)
{
    const size_t dim = clip_info(s->o.model)->dim;
    s->ring = vc_calloc(s->depth, sizeof *s->ring);
    for (size_t i = 0; i < s->depth; i++) {
        s->ring[i].ids = vc_alloc(s->piece, sizeof *s->ring[i].ids);
        s->ring[i].errors = vc_calloc(s->piece, sizeof *s->ring[i].errors);
        s->ring[i].vectors = vc_alloc(s->piece * dim, sizeof *s->ring[i].vectors);
    }
}

// No more than a thread's share of n pictures; 0: no limit.
static void limit_piece(ClipStream *s, uint64_t n)
{
    const uint64_t share = (n + s->o.threads - 1) / s->o.threads;
    if (n > 0 && share < s->piece)
        s->piece = (size_t)share;
}

bool clip_stream_open(ClipStream **out, const ClipStreamOptions *options, VcErr *err)
{
    ClipStream *s = vc_calloc(1, sizeof *s);
    s->o = *options;
    VC_ASSERT(s->o.threads > 0);
    s->piece = clip_images_at_a_time(s->o.model);
    limit_piece(s, s->o.expected);
    limit_piece(s, s->o.batch);
    s->depth = s->o.threads * CLIP_STREAM_AHEAD;
    make_ring(s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->done, NULL);
    s->threads = vc_calloc(s->o.threads, sizeof *s->threads);
    for (; s->started < s->o.threads; s->started++) {
        Worker *w = vc_alloc(1, sizeof *w);
        *w = (Worker){s, s->started};
        if (pthread_create(&s->threads[s->started], NULL, worker_main, w) != 0) {
            free(w);
            clip_stream_close(&s);
            return vc_fail(err, VC_ERR_LIMIT, "cannot start %zu threads; give fewer with --threads", options->threads);
        }
    }
    *out = s;
    return true;
}

size_t clip_stream_piece(const ClipStream *s)
{
    return s->piece;
}

bool clip_stream_put(ClipStream *s, const int64_t *ids, size_t n)
{
    VC_ASSERT(n > 0 && n <= s->piece);
    if (s->tail - s->head == s->depth)
        return false;
    Piece *p = &s->ring[s->tail % s->depth];
    p->count = n;
    p->done = false;
    memcpy(p->ids, ids, n * sizeof *ids);
    pthread_mutex_lock(&s->lock);
    s->tail++;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return true;
}

size_t clip_stream_next(ClipStream *s, ClipStreamItem *items)
{
    if (s->head == s->tail)
        return 0;
    Piece *p = &s->ring[s->head % s->depth];
    pthread_mutex_lock(&s->lock);
    while (!p->done)
        pthread_cond_wait(&s->done, &s->lock);
    pthread_mutex_unlock(&s->lock);
    s->head++; // nobody puts into it before the caller, who is the one that puts
    const float *vector = p->vectors;
    for (size_t i = 0; i < p->count; i++) {
        const bool good = p->errors[i].code == VC_OK;
        items[i] = (ClipStreamItem){p->ids[i], good ? vector : NULL, &p->errors[i]};
        vector += good ? clip_info(s->o.model)->dim : 0;
    }
    return p->count;
}

ClipStreamTimes clip_stream_times(ClipStream *s)
{
    pthread_mutex_lock(&s->lock);
    const ClipStreamTimes times = s->times;
    pthread_mutex_unlock(&s->lock);
    return times;
}

void clip_stream_close(ClipStream **stream)
{
    ClipStream *s = *stream;
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->started; i++)
        pthread_join(s->threads[i], NULL);
    pthread_cond_destroy(&s->done);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    for (size_t i = 0; i < s->depth; i++) {
        free(s->ring[i].ids);
        free(s->ring[i].errors);
        free(s->ring[i].vectors);
    }
    free(s->ring);
    free(s->threads);
    free(s);
    *stream = NULL;
}
