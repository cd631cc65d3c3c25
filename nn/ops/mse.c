// SPDX-License-Identifier: MIT
// Mean square error over weighted rows: masked image modelling counts the hidden patches only.
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

typedef struct {
    const nn_real *x, *target, *weight;
    double *row_loss;
    nn_real *dx, factor; // factor = 2 dloss / (C sum of the weights)
    size_t C;
} MseJob;

static double total_weight(const nn_real *weight, size_t R)
{
    double sum = 0;
    for (size_t r = 0; r < R; r++)
        sum += weight ? (double)weight[r] : 1;
    return sum;
}

static void forward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const MseJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        double sum = 0;
        for (size_t i = r * job->C; i < (r + 1) * job->C; i++) {
            const double d = (double)job->x[i] - (double)job->target[i];
            sum += d * d;
        }
        job->row_loss[r] = sum / (double)job->C * (job->weight ? (double)job->weight[r] : 1);
    }
}

void nn_mse_forward(const NnContext *ctx, nn_real *loss, const nn_real *x, const nn_real *target, const nn_real *weight,
                    size_t R, size_t C)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    MseJob job = {.x = x, .target = target, .weight = weight, .C = C};
    job.row_loss = vc_arena_alloc(ctx->scratch, R, sizeof(double));
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), forward_rows, &job);
    double sum = 0;
    for (size_t r = 0; r < R; r++)
        sum += job.row_loss[r];
    const double total = total_weight(weight, R);
    *loss = total > 0 ? (nn_real)(sum / total) : 0;
    vc_arena_release(ctx->scratch, mark);
}

static void backward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const MseJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        const nn_real factor = job->factor * (job->weight ? job->weight[r] : 1);
        for (size_t i = r * job->C; i < (r + 1) * job->C; i++)
            job->dx[i] += factor * (job->x[i] - job->target[i]);
    }
}

void nn_mse_backward(const NnContext *ctx, nn_real *dx, nn_real dloss, const nn_real *x, const nn_real *target,
                     const nn_real *weight, size_t R, size_t C)
{
    const double total = total_weight(weight, R);
    if (!dx || !(total > 0))
        return;
    MseJob job = {.x = x, .target = target, .weight = weight, .dx = dx, .C = C};
    job.factor = (nn_real)(2 * (double)dloss / (total * (double)C));
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(C), backward_rows, &job);
}
