// SPDX-License-Identifier: MIT
#include "train/reducer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "train/parallel_impl.h"

#include <stdlib.h>

typedef struct {
    size_t offset, size;     // in params->grad
    size_t members, missing; // parameters in it; those whose gradient is not final yet
    size_t request;
} Bucket;

struct TrainReducer {
    TrainParallel *p;
    NnParams *params;
    Bucket *buckets;
    size_t count, cap;
    size_t *bucket_of;        // parameter -> bucket
    size_t *order;            // in which buckets leave
    size_t sent;              // of them in this step
    size_t *seen, seen_count; // order in which they became final in the first step
    bool learned;
    double waited;
    size_t early;
};

static bool travels(const NnParamInfo *info)
{
    return !(info->flags & NN_PARAM_FROZEN);
}

// From the last parameter down, as the backward pass goes.
static void cut(TrainReducer *r, size_t least)
{
    const NnParams *params = r->params;
    bool open = false;
    for (size_t i = params->count; i-- > 0;) {
        const NnParamInfo *info = &params->items[i];
        if (!travels(info)) {
            open = false; // buckets are contiguous
            continue;
        }
        if (!open) {
            r->buckets = vc_grow(r->buckets, &r->cap, r->count + 1, sizeof *r->buckets);
            r->buckets[r->count++] = (Bucket){.offset = info->offset + info->size};
        }
        Bucket *b = &r->buckets[r->count - 1];
        b->size += b->offset - info->offset;
        b->offset = info->offset;
        b->members++;
        r->bucket_of[i] = r->count - 1;
        open = b->size < least;
    }
}

TrainReducer *train_reducer_create(TrainParallel *p, NnParams *params, size_t bytes)
{
    if (train_parallel_size(p) == 1)
        return NULL;
    TrainReducer *r = vc_calloc(1, sizeof *r);
    r->p = p;
    r->params = params;
    r->bucket_of = vc_calloc(params->count + 1, sizeof *r->bucket_of);
    cut(r, bytes / sizeof(nn_real));
    r->order = vc_calloc(r->count + 1, sizeof *r->order);
    r->seen = vc_calloc(r->count + 1, sizeof *r->seen);
    for (size_t i = 0; i < r->count; i++)
        r->order[i] = i;
    return r;
}

void train_reducer_destroy(TrainReducer **reducer)
{
    TrainReducer *r = *reducer;
    if (!r)
        return;
    free(r->buckets);
    free(r->bucket_of);
    free(r->order);
    free(r->seen);
    free(r);
    *reducer = NULL;
}

size_t train_reducer_buckets(const TrainReducer *reducer)
{
    return reducer ? reducer->count : 0;
}

// Sends what may leave: in order, as far as it is final, or (all) the rest.
static void send(TrainReducer *r, bool all)
{
    while (r->sent < r->count) {
        Bucket *b = &r->buckets[r->order[r->sent]];
        ParallelWorld *w = parallel_world(r->p);
        if (!w || (b->missing > 0 && !all))
            return;
        VcErr err = {0};
        b->request =
            parallel_start_sum(w, PARALLEL_GRADIENTS, parallel_real, r->params->grad + b->offset, b->size, &err);
        if (b->request == SIZE_MAX) {
            parallel_fail(r->p, &err);
            return;
        }
        r->sent++;
    }
}

static void final_gradient(void *user, size_t index)
{
    TrainReducer *r = user;
    Bucket *b = &r->buckets[r->bucket_of[index]];
    VC_ASSERT(b->missing > 0);
    if (--b->missing == 0 && !r->learned)
        r->seen[r->seen_count++] = r->bucket_of[index];
    send(r, false);
    r->early = r->sent;
    // The library moves messages only while it is called.
    ParallelWorld *w = parallel_world(r->p);
    for (size_t i = 0; w && i < r->sent; i++) {
        Bucket *under_way = &r->buckets[r->order[i]];
        VcErr err = {0};
        bool done;
        if (under_way->request == SIZE_MAX)
            continue;
        if (!parallel_done(w, under_way->request, &done, &err)) {
            parallel_fail(r->p, &err);
            return;
        }
        if (done)
            under_way->request = SIZE_MAX;
        break; // one call moves all
    }
}

void train_reducer_begin(TrainReducer *r, NnTape *tape)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++) {
        r->buckets[i].missing = r->buckets[i].members;
        r->buckets[i].request = SIZE_MAX;
    }
    r->sent = r->early = r->seen_count = 0;
    nn_tape_on_ready(tape, final_gradient, r);
}

// Buckets that never became final (parameters no op read) come last, in their old order.
static void learn_order(TrainReducer *r)
{
    size_t n = r->seen_count;
    for (size_t i = 0; i < r->count; i++) {
        if (r->buckets[i].missing > 0)
            r->seen[n++] = i;
    }
    VC_ASSERT(n == r->count);
    train_parallel_share(r->p, r->seen, n * sizeof *r->seen);
    memcpy(r->order, r->seen, n * sizeof *r->order);
    r->learned = true;
}

void train_reducer_end(TrainReducer *r, NnTape *tape)
{
    if (!r)
        return;
    nn_tape_on_ready(tape, NULL, NULL);
    double start = vc_now();
    send(r, true);
    for (size_t i = 0; i < r->sent && parallel_world(r->p); i++) {
        Bucket *b = &r->buckets[r->order[i]];
        if (b->request != SIZE_MAX)
            parallel_finish(r->p, b->request, false, NULL);
    }
    r->waited += vc_now() - start;
    if (!r->learned && parallel_world(r->p))
        learn_order(r);
}

double train_reducer_waited(const TrainReducer *reducer)
{
    return reducer ? reducer->waited : 0;
}

size_t train_reducer_early(const TrainReducer *reducer)
{
    return reducer ? reducer->early : 0;
}
