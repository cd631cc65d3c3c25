// SPDX-License-Identifier: MIT
// Unit length of rows. docs/BACKWARD.md, 6.
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <math.h>

static const double smallest_norm = 1e-12;

typedef struct {
    const NnKernels *kernels;
    const nn_real *x, *dy, *saved_y, *saved_norm;
    nn_real *y, *norm, *dx;
    size_t C;
} NormJob;

static void forward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const NormJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        const nn_real *x = job->x + r * job->C;
        double sum = 0; // in double: rows of 1e-20 have a norm too
        for (size_t c = 0; c < job->C; c++)
            sum += (double)x[c] * (double)x[c];
        const double norm = fmax(sqrt(sum), smallest_norm);
        for (size_t c = 0; c < job->C; c++)
            job->y[r * job->C + c] = (nn_real)((double)x[c] / norm);
        job->norm[r] = (nn_real)norm;
    }
}

void nn_l2_normalize_forward(const NnContext *ctx, nn_real *y, nn_real *norm, const nn_real *x, size_t R, size_t C)
{
    NormJob job = {.x = x, .y = y, .norm = norm, .C = C};
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), forward_rows, &job);
}

// dx += (dy - y (y . dy)) / norm; where the norm was clamped, y is x / 1e-12 and only dy / 1e-12 is left.
static void backward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const NormJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        const nn_real *dy = job->dy + r * job->C, *y = job->saved_y + r * job->C, norm = job->saved_norm[r];
        const bool clamped = norm <= (nn_real)smallest_norm;
        const nn_real along = clamped ? 0 : job->kernels->dot(y, dy, job->C);
        for (size_t c = 0; c < job->C; c++)
            job->dx[r * job->C + c] += (dy[c] - along * y[c]) / norm;
    }
}

void nn_l2_normalize_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *y,
                              const nn_real *norm, size_t R, size_t C)
{
    if (!dx)
        return;
    NormJob job = {.kernels = ctx->kernels, .dy = dy, .saved_y = y, .saved_norm = norm, .dx = dx, .C = C};
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), backward_rows, &job);
}
