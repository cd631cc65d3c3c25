// SPDX-License-Identifier: MIT
// The home of MPI. Collectives are the non-blocking ones, so that a wait can notice an interrupt and a lost peer, and
// gradients travel while the backward pass computes. MPI_THREAD_FUNNELED: only the training thread calls.
#include "base/mem.h"
#include "train/parallel_impl.h"

#include <mpi.h>

#include <limits.h>
#include <stdlib.h>

struct ParallelWorld {
    MPI_Comm lines[2]; // by ParallelLine
    MPI_Request *requests;
    size_t count, cap; // slots; MPI_REQUEST_NULL: free
};

const char *parallel_launcher(void)
{
    static const char *const marks[][2] = {
        {"OMPI_COMM_WORLD_SIZE", "mpirun"}, {"PMIX_RANK", "a PMIx launcher"}, {"PMI_RANK", "a PMI launcher"}};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (getenv(marks[i][0]))
            return marks[i][1];
    }
    return NULL;
}

static bool check(int code, const char *what, VcErr *err)
{
    if (code == MPI_SUCCESS)
        return true;
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int n = 0;
    if (MPI_Error_string(code, text, &n) != MPI_SUCCESS)
        snprintf(text, sizeof text, "error %d", code);
    return vc_fail(err, VC_ERR_NET, "MPI cannot %s: %s (a process of the job may be lost)", what, text);
}

bool parallel_world_begin(ParallelWorld **out, size_t *rank, size_t *size, VcErr *err)
{
    int level, r, n;
    *out = NULL;
    if (!check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level), "start", err))
        return false;
    ParallelWorld *w = vc_calloc(1, sizeof *w);
    w->lines[0] = w->lines[1] = MPI_COMM_NULL;
    bool ok = check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "start", err) &&
              check(MPI_Comm_dup(MPI_COMM_WORLD, &w->lines[0]), "start", err) &&
              check(MPI_Comm_dup(MPI_COMM_WORLD, &w->lines[1]), "start", err) &&
              check(MPI_Comm_rank(MPI_COMM_WORLD, &r), "start", err) &&
              check(MPI_Comm_size(MPI_COMM_WORLD, &n), "start", err);
    if (ok && level < MPI_THREAD_FUNNELED)
        ok = vc_fail(err, VC_ERR_USAGE, "this MPI was built without threads (MPI_THREAD_FUNNELED)");
    if (!ok) {
        parallel_world_abort(&w);
        return false;
    }
    *rank = (size_t)r;
    *size = (size_t)n;
    *out = w;
    return true;
}

static void release(ParallelWorld **world)
{
    free((*world)->requests);
    free(*world);
    *world = NULL;
}

void parallel_world_end(ParallelWorld **world)
{
    MPI_Comm_free(&(*world)->lines[0]);
    MPI_Comm_free(&(*world)->lines[1]);
    release(world);
    MPI_Finalize();
}

void parallel_world_abort(ParallelWorld **world)
{
    release(world);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static size_t new_slot(ParallelWorld *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->requests[i] == MPI_REQUEST_NULL)
            return i;
    }
    w->requests = vc_grow(w->requests, &w->cap, w->count + 1, sizeof(MPI_Request));
    w->requests[w->count] = MPI_REQUEST_NULL;
    return w->count++;
}

static MPI_Datatype datatype(ParallelType type)
{
    return type == PARALLEL_F32 ? MPI_FLOAT : MPI_DOUBLE;
}

static size_t started(int code, size_t slot, const char *what, VcErr *err)
{
    return check(code, what, err) ? slot : SIZE_MAX;
}

size_t parallel_start_sum(ParallelWorld *w, ParallelLine line, ParallelType type, void *values, size_t n, VcErr *err)
{
    VC_ASSERT(n <= INT_MAX);
    size_t slot = new_slot(w);
    return started(
        MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, datatype(type), MPI_SUM, w->lines[line], &w->requests[slot]), slot,
        "add up numbers", err);
}

size_t parallel_start_scatter_sum(ParallelWorld *w, ParallelType type, const void *all, void *mine, size_t n,
                                  VcErr *err)
{
    VC_ASSERT(n <= INT_MAX);
    size_t slot = new_slot(w);
    return started(MPI_Ireduce_scatter_block(all, mine, (int)n, datatype(type), MPI_SUM, w->lines[PARALLEL_MAIN],
                                             &w->requests[slot]),
                   slot, "add up gradients", err);
}

size_t parallel_start_max(ParallelWorld *w, int64_t *values, size_t n, VcErr *err)
{
    VC_ASSERT(n <= INT_MAX);
    size_t slot = new_slot(w);
    return started(
        MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_INT64_T, MPI_MAX, w->lines[PARALLEL_MAIN], &w->requests[slot]),
        slot, "compare numbers", err);
}

size_t parallel_start_gather(ParallelWorld *w, const void *mine, size_t bytes, void *all, VcErr *err)
{
    VC_ASSERT(bytes <= INT_MAX);
    size_t slot = new_slot(w);
    return started(MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, w->lines[PARALLEL_MAIN],
                                  &w->requests[slot]),
                   slot, "gather values", err);
}

size_t parallel_start_share(ParallelWorld *w, void *data, size_t bytes, VcErr *err)
{
    VC_ASSERT(bytes <= INT_MAX);
    size_t slot = new_slot(w);
    return started(MPI_Ibcast(data, (int)bytes, MPI_BYTE, 0, w->lines[PARALLEL_MAIN], &w->requests[slot]), slot,
                   "share values", err);
}

bool parallel_done(ParallelWorld *w, size_t number, bool *done, VcErr *err)
{
    int flag = 0;
    int code = MPI_Test(&w->requests[number], &flag, MPI_STATUS_IGNORE);
    *done = flag != 0;
    return check(code, "hear from the other processes", err);
}
