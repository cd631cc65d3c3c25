// SPDX-License-Identifier: MIT
#include "train/parallel_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct TrainParallel {
    ParallelWorld *world;
    size_t rank, size;
    double timeout;
    bool failed;
    VcErr error; // the first failure
};

bool train_parallel_begin(TrainParallel **out, double timeout, VcErr *err)
{
    *out = NULL;
    if (!parallel_launcher())
        return true;
    ParallelWorld *world;
    size_t rank, size;
    if (!parallel_world_begin(&world, &rank, &size, err))
        return false;
    TrainParallel *p = vc_calloc(1, sizeof *p);
    *p = (TrainParallel){.world = world, .rank = rank, .size = size, .timeout = timeout};
    *out = p;
    return true;
}

void train_parallel_end(TrainParallel **p, bool clean)
{
    if (!*p)
        return;
    if (clean && !(*p)->failed) {
        parallel_world_end(&(*p)->world);
    } else {
        parallel_world_abort(&(*p)->world);
    }
    free(*p);
    *p = NULL;
}

size_t train_parallel_rank(const TrainParallel *p)
{
    return p ? p->rank : 0;
}

size_t train_parallel_size(const TrainParallel *p)
{
    return p ? p->size : 1;
}

bool train_parallel_check(const TrainParallel *p, VcErr *err)
{
    if (!p || !p->failed)
        return true;
    if (err)
        *err = p->error;
    return false;
}

// ---- waiting

ParallelWorld *parallel_world(TrainParallel *p)
{
    return p && !p->failed && p->size > 1 ? p->world : NULL;
}

void parallel_fail(TrainParallel *p, const VcErr *err)
{
    if (!p->failed)
        p->error = *err;
    p->failed = true;
}

// First without sleeping, as messages of one machine take microseconds; then leaving the processor to those who
// compute.
static void pause_after(unsigned tries)
{
    if (tries < 100) {
        sched_yield();
    } else {
        nanosleep(&(struct timespec){0, tries < 2000 ? 20000 : 200000}, NULL);
    }
}

void parallel_finish(TrainParallel *p, size_t number, bool patient, const VcErr *err)
{
    if (number == SIZE_MAX) {
        parallel_fail(p, err);
        return;
    }
    VcErr failure = {0};
    double start = vc_now();
    bool done = false;
    for (unsigned tries = 0; !done; tries++) {
        if (!parallel_done(p->world, number, &done, &failure)) {
            parallel_fail(p, &failure);
            return;
        }
        if (!done && !patient && tries % 256 == 255 && vc_now() - start > p->timeout) {
            vc_fail(&failure, VC_ERR_NET,
                    "process %zu of %zu waited %.0f s for the others: one of them is lost or stands still", p->rank,
                    p->size, p->timeout);
            parallel_fail(p, &failure);
            return;
        }
        if (!done)
            pause_after(tries);
    }
}

void train_parallel_wait(TrainParallel *p)
{
    ParallelWorld *w = parallel_world(p);
    VcErr err = {0};
    int64_t nothing = 0;
    if (w)
        parallel_finish(p, parallel_start_max(w, &nothing, 1, &err), true, &err);
}

// ---- small collectives

void train_parallel_max(TrainParallel *p, int64_t *values, size_t n)
{
    ParallelWorld *w = parallel_world(p);
    VcErr err = {0};
    if (w)
        parallel_finish(p, parallel_start_max(w, values, n, &err), false, &err);
}

void train_parallel_gather(TrainParallel *p, const void *mine, size_t bytes, void *all)
{
    ParallelWorld *w = parallel_world(p);
    VcErr err = {0};
    if (w) {
        parallel_finish(p, parallel_start_gather(w, mine, bytes, all, &err), false, &err);
        return;
    }
    for (size_t r = 0; r < train_parallel_size(p); r++)
        memcpy((char *)all + r * bytes, mine, bytes);
}

// Gathered and added by rank: the order of the sum is ours, not the library's.
void train_parallel_sum(TrainParallel *p, double *values, size_t n)
{
    if (!parallel_world(p))
        return;
    double *all = vc_calloc(p->size * n, sizeof *all);
    train_parallel_gather(p, values, n * sizeof *values, all);
    for (size_t i = 0; i < n; i++) {
        values[i] = 0;
        for (size_t r = 0; r < p->size; r++)
            values[i] += all[r * n + i];
    }
    free(all);
}

void train_parallel_share(TrainParallel *p, void *data, size_t bytes)
{
    enum { PIECE = 1 << 28 };
    for (size_t at = 0; at < bytes; at += PIECE) {
        ParallelWorld *w = parallel_world(p);
        VcErr err = {0};
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        if (w)
            parallel_finish(p, parallel_start_share(w, (char *)data + at, n, &err), true, &err);
    }
}

bool train_parallel_agree(TrainParallel *p, bool ok, VcErr *err)
{
    if (!parallel_world(p))
        return ok && train_parallel_check(p, err);
    VcErr mine = {0}, *all = vc_calloc(p->size, sizeof *all);
    if (!ok)
        mine = err ? *err : (VcErr){.code = VC_ERR_IO};
    train_parallel_gather(p, &mine, sizeof mine, all);
    size_t first = 0;
    while (first < p->size && all[first].code == VC_OK)
        first++;
    bool agreed = train_parallel_check(p, err) && first == p->size;
    if (first < p->size && !p->failed && err) {
        *err = all[first];
        if (first > 0)
            vc_prefix(err, "process %zu", first);
    }
    free(all);
    return agreed;
}

// ---- gathering on the tape

typedef struct {
    TrainParallel *p;
    nn_real *mine; // [B,..]
    size_t size;   // of it
} Gathered;

static void gather_back(void *user, const nn_real *dy, nn_real *dx)
{
    const Gathered *g = user;
    ParallelWorld *w = parallel_world(g->p);
    VcErr err = {0};
    if (!w)
        return;
    parallel_finish(g->p, parallel_start_scatter_sum(w, parallel_real, dy, g->mine, g->size, &err), false, &err);
    for (size_t i = 0; i < g->size; i++)
        dx[i] += g->mine[i];
}

NnVar *train_parallel_gather_var(TrainParallel *p, NnTape *t, NnVar *x)
{
    if (train_parallel_size(p) == 1)
        return x;
    NnShape shape = x->shape;
    shape.dim[0] *= p->size;
    nn_real *all = nn_tape_alloc(t, x->size * p->size);
    train_parallel_gather(p, x->value, x->size * sizeof(nn_real), all);
    void *place = nn_tape_alloc(t, (sizeof(Gathered) + sizeof(nn_real) - 1) / sizeof(nn_real));
    Gathered *g = place; // in the tape's memory, which lives until its reset
    *g = (Gathered){p, nn_tape_alloc(t, x->size), x->size};
    return nn_custom(t, x, all, shape, gather_back, g);
}
