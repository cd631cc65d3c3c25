// SPDX-License-Identifier: MIT
// Cross-entropy against labels and against distributions. docs/BACKWARD.md, 7 and 8.
#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

typedef struct {
    const NnKernels *kernels;
    const nn_real *logits, *targets; // targets NULL: hard labels
    const int32_t *labels;           // NULL: every row counts
    double *row_loss;
    nn_real *dlogits, *work; // work: V reals for each worker
    nn_real factor;          // dloss / counted rows
    size_t V;
} EntropyJob;

static bool counts(const EntropyJob *job, size_t r)
{
    return !job->labels || job->labels[r] != NN_IGNORE_LABEL;
}

static size_t count_rows(const EntropyJob *job, size_t R)
{
    size_t n = 0;
    for (size_t r = 0; r < R; r++) {
        n += counts(job, r);
        VC_ASSERT(job->targets || !counts(job, r) || (job->labels[r] >= 0 && (size_t)job->labels[r] < job->V));
    }
    return n;
}

// -sum_j t_j (x_j - lse), summed in double from the differences so that large logits do not cancel.
static void forward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const EntropyJob *job = arg;
    for (size_t r = begin; r < end; r++) {
        job->row_loss[r] = 0;
        if (!counts(job, r))
            continue;
        const nn_real *x = job->logits + r * job->V;
        const double lse = (double)job->kernels->log_sum_exp(x, job->V);
        if (!job->targets) {
            job->row_loss[r] = lse - (double)x[job->labels[r]];
            continue;
        }
        const nn_real *t = job->targets + r * job->V;
        double loss = 0;
        for (size_t j = 0; j < job->V; j++)
            loss += (double)t[j] * (lse - (double)x[j]);
        job->row_loss[r] = loss;
    }
}

static size_t forward(const NnContext *ctx, EntropyJob *job, nn_real *loss, size_t R)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t n = count_rows(job, R);
    job->row_loss = vc_arena_alloc(ctx->scratch, R, sizeof(double));
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(job->V), forward_rows, job);
    double sum = 0;
    for (size_t r = 0; r < R; r++)
        sum += job->row_loss[r];
    *loss = n ? (nn_real)(sum / (double)n) : 0;
    vc_arena_release(ctx->scratch, mark);
    return n;
}

// dx += factor (softmax(x) sum(t) - t); a hard label is the t of one 1.
static void backward_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    const EntropyJob *job = arg;
    nn_real *p = job->work + worker * job->V;
    for (size_t r = begin; r < end; r++) {
        if (!counts(job, r))
            continue;
        nn_real *dx = job->dlogits + r * job->V;
        job->kernels->softmax(p, job->logits + r * job->V, 1, job->V);
        if (!job->targets) {
            job->kernels->axpy(dx, job->factor, p, job->V);
            dx[job->labels[r]] -= job->factor;
            continue;
        }
        const nn_real *t = job->targets + r * job->V;
        double total = 0;
        for (size_t j = 0; j < job->V; j++)
            total += (double)t[j];
        for (size_t j = 0; j < job->V; j++)
            dx[j] += job->factor * ((nn_real)total * p[j] - t[j]);
    }
}

static void backward(const NnContext *ctx, EntropyJob *job, nn_real dloss, size_t R)
{
    const size_t n = count_rows(job, R);
    if (!n || !job->dlogits)
        return;
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    job->factor = dloss / (nn_real)n;
    job->work = vc_arena_alloc(ctx->scratch, vc_pool_threads(ctx->pool) * job->V, sizeof(nn_real));
    vc_parallel_for(ctx->pool, R, nn_chunk_rows(job->V), backward_rows, job);
    vc_arena_release(ctx->scratch, mark);
}

size_t nn_cross_entropy_forward(const NnContext *ctx, nn_real *loss, const nn_real *logits, const int32_t *labels,
                                size_t R, size_t V)
{
    EntropyJob job = {.kernels = ctx->kernels, .logits = logits, .labels = labels, .V = V};
    return forward(ctx, &job, loss, R);
}

void nn_cross_entropy_backward(const NnContext *ctx, nn_real *dlogits, nn_real dloss, const nn_real *logits,
                               const int32_t *labels, size_t R, size_t V)
{
    EntropyJob job = {.kernels = ctx->kernels, .logits = logits, .labels = labels, .dlogits = dlogits, .V = V};
    backward(ctx, &job, dloss, R);
}

size_t nn_soft_cross_entropy_forward(const NnContext *ctx, nn_real *loss, const nn_real *logits, const nn_real *targets,
                                     const int32_t *labels, size_t R, size_t V)
{
    EntropyJob job = {.kernels = ctx->kernels, .logits = logits, .targets = targets, .labels = labels, .V = V};
    return forward(ctx, &job, loss, R);
}

void nn_soft_cross_entropy_backward(const NnContext *ctx, nn_real *dlogits, nn_real dloss, const nn_real *logits,
                                    const nn_real *targets, const int32_t *labels, size_t R, size_t V)
{
    EntropyJob job = {
        .kernels = ctx->kernels, .logits = logits, .targets = targets, .labels = labels, .dlogits = dlogits, .V = V};
    backward(ctx, &job, dloss, R);
}
