// SPDX-License-Identifier: MIT
// A build without MPI: there is no world of several processes, and whoever starts one is told.
#include "base/str.h"
#include "train/parallel_impl.h"

#include <stdlib.h>

const char *parallel_launcher(void)
{
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");
    size = size ? size : getenv("PMI_SIZE");
    int64_t count;
    return size && vc_parse_i64(size, &count) && count > 1 ? "a launcher of several processes" : NULL;
}

bool parallel_world_begin(ParallelWorld **out, size_t *rank, size_t *size, VcErr *err)
{
    *out = NULL;
    *rank = 0;
    *size = 1;
    return vc_fail(err, VC_ERR_USAGE,
                   "%s started this program, which was built without MPI: the processes would write over each other's "
                   "files; build with -Dmpi=enabled (libopenmpi-dev), or start one process",
                   parallel_launcher());
}

void parallel_world_end(ParallelWorld **world)
{
    *world = NULL;
}

void parallel_world_abort(ParallelWorld **world)
{
    *world = NULL;
}

// Never reached: no world, no calls.
static size_t nothing(void)
{
    VC_ASSERT(!"a world of one");
    return SIZE_MAX;
}

size_t parallel_start_sum(ParallelWorld *w, ParallelLine line, ParallelType type, void *values, size_t n, VcErr *err)
{
    (void)w, (void)line, (void)type, (void)values, (void)n, (void)err;
    return nothing();
}

size_t parallel_start_scatter_sum(ParallelWorld *w, ParallelType type, const void *all, void *mine, size_t n,
                                  VcErr *err)
{
    (void)w, (void)type, (void)all, (void)mine, (void)n, (void)err;
    return nothing();
}

size_t parallel_start_max(ParallelWorld *w, int64_t *values, size_t n, VcErr *err)
{
    (void)w, (void)values, (void)n, (void)err;
    return nothing();
}

size_t parallel_start_gather(ParallelWorld *w, const void *mine, size_t bytes, void *all, VcErr *err)
{
    (void)w, (void)mine, (void)bytes, (void)all, (void)err;
    return nothing();
}

size_t parallel_start_share(ParallelWorld *w, void *data, size_t bytes, VcErr *err)
{
    (void)w, (void)data, (void)bytes, (void)err;
    return nothing();
}

bool parallel_done(ParallelWorld *w, size_t number, bool *done, VcErr *err)
{
    (void)w, (void)number, (void)err;
    *done = true;
    return nothing() == 0;
}
