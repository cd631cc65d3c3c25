// SPDX-License-Identifier: MIT
// Scaled dot-product attention (Vaswani et al., 2017, eq. 1), one sample and head at a time. docs/BACKWARD.md, 5.
#include "base/err.h"
#include "nn/gemm.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <math.h>
#include <string.h>

typedef struct {
    const NnKernels *kernels;
    const NnAttention *a;
    const nn_real *q, *k, *v, *saved_p, *dout;
    nn_real *o, *p, *dq, *dk, *dv;
    nn_real *work; // work_size reals for each worker
    size_t work_size;
} AttentionJob;

// A task is a few heads of one sample at least: neighbouring heads share cache lines of the rows they write.
static size_t heads_per_task(const NnAttention *a)
{
    const size_t heads = nn_chunk_rows(a->Tq * a->Tk);
    return heads < a->H ? heads : a->H;
}

static size_t source_of(const NnAttention *a, size_t b)
{
    return a->source ? (size_t)a->source[b] : b;
}

// p[Tq,Tk] = softmax(scale q k^T + mask) of head h of sample b.
static void head_probabilities(const AttentionJob *job, nn_real *p, size_t b, size_t h)
{
    const NnAttention *a = job->a;
    const size_t s = source_of(a, b);
    const nn_real *q = job->q + b * a->Tq * a->ldq + h * a->D;
    const nn_real *k = job->k + s * a->Tk * a->ldk + h * a->D;
    nn_gemm(NULL, NN_PLAIN, NN_TRANSPOSED, a->Tq, a->Tk, a->D, (nn_real)a->scale, q, a->ldq, k, a->ldk, 0, p, a->Tk);
    if (a->key_mask)
        job->kernels->add_rows(p, a->key_mask + s * a->Tk, a->Tq, a->Tk);
    for (size_t i = 0; i < a->Tq && a->causal; i++) {
        for (size_t j = i + a->Tk - a->Tq + 1; j < a->Tk; j++)
            p[i * a->Tk + j] = -(nn_real)INFINITY;
    }
    job->kernels->softmax(p, p, a->Tq, a->Tk);
}

// y[Tq,Tk] = x with the dropout of head h of sample b; y may be x.
static void drop_head(const NnAttention *a, nn_real *y, const nn_real *x, nn_real *factors, size_t b, size_t h)
{
    for (size_t i = 0; i < a->Tq; i++) {
        nn_dropout_factors(factors, a->dropout, vc_mix_seed(a->seed, (b * a->H + h) * a->Tq + i), a->Tk);
        for (size_t j = 0; j < a->Tk; j++)
            y[i * a->Tk + j] = x[i * a->Tk + j] * factors[j];
    }
}

static void check_sources(const NnAttention *a)
{
    for (size_t b = 0; b < a->B && a->source; b++)
        VC_ASSERT(a->source[b] >= 0 && (size_t)a->source[b] < a->S);
    VC_ASSERT(a->dropout >= 0 && a->dropout < 1);
}

static void forward_heads(void *arg, size_t begin, size_t end, size_t worker)
{
    const AttentionJob *job = arg;
    const NnAttention *a = job->a;
    for (size_t i = begin; i < end; i++) {
        const size_t b = i / a->H, h = i % a->H;
        nn_real *work = job->work + worker * job->work_size, *p = job->p ? job->p + i * a->Tq * a->Tk : work;
        head_probabilities(job, p, b, h);
        if (a->dropout > 0) {
            drop_head(a, work, p, work + a->Tq * a->Tk, b, h);
            p = work;
        }
        nn_gemm(NULL, NN_PLAIN, NN_PLAIN, a->Tq, a->D, a->Tk, 1, p, a->Tk,
                job->v + source_of(a, b) * a->Tk * a->ldv + h * a->D, a->ldv, 0, job->o + b * a->Tq * a->ldo + h * a->D,
                a->ldo);
    }
}

void nn_attention_forward(const NnContext *ctx, nn_real *o, nn_real *p, const nn_real *q, const nn_real *k,
                          const nn_real *v, const NnAttention *a)
{
    VC_ASSERT(!a->causal || a->Tk >= a->Tq);
    check_sources(a);
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    AttentionJob job = {.kernels = ctx->kernels, .a = a, .q = q, .k = k, .v = v, .o = o, .p = p};
    if (!p || a->dropout > 0) {
        job.work_size = (a->Tq + 1) * a->Tk;
        job.work = vc_arena_alloc(ctx->scratch, vc_pool_threads(ctx->pool) * job.work_size, sizeof(nn_real));
    }
    vc_parallel_for(ctx->pool, a->B * a->H, heads_per_task(a), forward_heads, &job);
    vc_arena_release(ctx->scratch, mark);
}

// With d the factors of the dropout: dv += (d p)^T do; dp = d (do v^T); ds = p (dp - rowsum(p dp)); dq += scale ds k;
// dk += scale ds^T q.
static void backward_head(const AttentionJob *job, nn_real *dp, size_t b, size_t h)
{
    const NnAttention *a = job->a;
    const nn_real scale = (nn_real)a->scale;
    const size_t scores = a->Tq * a->Tk, s = source_of(a, b);
    const size_t at_q = b * a->Tq * a->ldq + h * a->D, at_k = s * a->Tk * a->ldk + h * a->D;
    const size_t at_v = s * a->Tk * a->ldv + h * a->D, at_o = b * a->Tq * a->ldo + h * a->D;
    const nn_real *p = job->saved_p + (b * a->H + h) * scores, *dropped = p, *dout = job->dout + at_o;
    nn_real *ds = dp + scores, *factors = ds + scores;
    if (job->dv) {
        if (a->dropout > 0) {
            drop_head(a, ds, p, factors, b, h);
            dropped = ds;
        }
        nn_gemm(NULL, NN_TRANSPOSED, NN_PLAIN, a->Tk, a->D, a->Tq, 1, dropped, a->Tk, dout, a->ldo, 1, job->dv + at_v,
                a->ldv);
    }
    if (!job->dq && !job->dk)
        return;
    nn_gemm(NULL, NN_PLAIN, NN_TRANSPOSED, a->Tq, a->Tk, a->D, 1, dout, a->ldo, job->v + at_v, a->ldv, 0, dp, a->Tk);
    if (a->dropout > 0)
        drop_head(a, dp, dp, factors, b, h);
    memset(ds, 0, scores * sizeof *ds);
    job->kernels->softmax_backward(ds, dp, p, a->Tq, a->Tk);
    if (job->dq) {
        nn_gemm(NULL, NN_PLAIN, NN_PLAIN, a->Tq, a->D, a->Tk, scale, ds, a->Tk, job->k + at_k, a->ldk, 1,
                job->dq + at_q, a->ldq);
    }
    if (job->dk) {
        nn_gemm(NULL, NN_TRANSPOSED, NN_PLAIN, a->Tk, a->D, a->Tq, scale, ds, a->Tk, job->q + at_q, a->ldq, 1,
                job->dk + at_k, a->ldk);
    }
}

// A task owns heads of sources: those who share keys add to their gradients one after the other.
static void backward_heads(void *arg, size_t begin, size_t end, size_t worker)
{
    const AttentionJob *job = arg;
    const NnAttention *a = job->a;
    nn_real *work = job->work + worker * job->work_size;
    for (size_t i = begin; i < end; i++) {
        const size_t s = i / a->H, h = i % a->H;
        if (!a->source) {
            backward_head(job, work, s, h);
            continue;
        }
        for (size_t b = 0; b < a->B; b++) {
            if ((size_t)a->source[b] == s)
                backward_head(job, work, b, h);
        }
    }
}

void nn_attention_backward(const NnContext *ctx, nn_real *dq, nn_real *dk, nn_real *dv, const nn_real *dout,
                           const nn_real *p, const nn_real *q, const nn_real *k, const nn_real *v, const NnAttention *a)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    AttentionJob job = {.kernels = ctx->kernels,
                        .a = a,
                        .q = q,
                        .k = k,
                        .v = v,
                        .saved_p = p,
                        .dout = dout,
                        .dq = dq,
                        .dk = dk,
                        .dv = dv,
                        .work_size = (2 * a->Tq + 1) * a->Tk};
    job.work = vc_arena_alloc(ctx->scratch, vc_pool_threads(ctx->pool) * job.work_size, sizeof(nn_real));
    vc_parallel_for(ctx->pool, (a->source ? a->S : a->B) * a->H, heads_per_task(a), backward_heads, &job);
    vc_arena_release(ctx->scratch, mark);
}
