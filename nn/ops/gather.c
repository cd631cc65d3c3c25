// SPDX-License-Identifier: MIT
// Rows by index: embedding look-up, the token at a position, permutations of patches.
#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    const NnKernels *kernels;
    const nn_real *x, *dy;
    const int32_t *index;
    nn_real *y, *dx;
    int32_t skip;
    size_t R, M, C;
} GatherJob;

static void forward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const GatherJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        VC_ASSERT(job->index[r] >= 0 && (size_t)job->index[r] < job->M);
        memcpy(job->y + r * job->C, job->x + (size_t)job->index[r] * job->C, job->C * sizeof *job->y);
    }
}

void nn_gather_forward(const NnContext *ctx, nn_real *y, const nn_real *x, const int32_t *index, size_t R, size_t M,
                       size_t C)
{
    GatherJob job = {.x = x, .index = index, .y = y, .M = M, .C = C};
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), forward_rows, &job);
}

// A row may be the target of many: each task owns columns, so every sum runs in the order of r.
static void backward_columns(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const GatherJob *job = arg;
    for (size_t r = 0; r < job->R; r++) {
        const int32_t id = job->index[r];
        if (id != job->skip)
            job->kernels->add(job->dx + (size_t)id * job->C + begin, job->dy + r * job->C + begin, end - begin);
    }
}

void nn_gather_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const int32_t *index, int32_t skip,
                        size_t R, size_t M, size_t C)
{
    enum { COLUMNS = 64 };
    if (!dx)
        return;
    GatherJob job = {.kernels = ctx->kernels, .dy = dy, .index = index, .dx = dx, .skip = skip, .R = R, .M = M, .C = C};
    vc_parallel_for(ctx->pool, C, COLUMNS, backward_columns, &job);
}
