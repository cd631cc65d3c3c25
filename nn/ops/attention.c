// SPDX-License-Identifier: MIT
// Scaled dot-product attention (Vaswani et al., 2017, eq. 1) in blocks, without the matrix of probabilities: forward
// keeps two numbers of a row, backward makes the rows again (FlashAttention-2: Dao, 2023). docs/BACKWARD.md, 5.
//
// A block is QUERIES queries of one head of one sample against up to KEYS keys. Its scores lie turned, s[key][query]:
// softmax then runs down columns, a vector of queries at a time, and every product of the block is a tile of the
// kernels with one factor read where it lies.
#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/ops.h"

#include <math.h>
#include <string.h>

enum { QUERIES = NN_PANEL, KEYS = 512, WORK = 1 << 16 };

typedef struct {
    const NnKernels *kernels;
    const NnAttention *a;
    const nn_real *q, *k, *v, *saved, *out, *dout;
    nn_real *o, *stats, *dq, *dk, *dv;
    nn_real *work; // work_size reals for each worker
    size_t work_size;
} AttentionJob;

// One block, and the work memory of its worker.
typedef struct {
    size_t b, h, s;                     // sample, head, whose keys
    size_t q0, queries, lanes;          // lanes: queries, rounded up to what the kernels take
    nn_real *turned, *turned_out;       // [D][QUERIES]: q and dout
    nn_real *rows, *rows_out;           // [D/32][QUERIES][32]: the same, straight, for backward
    nn_real *panels;                    // [D/32][Tk][32]: values (forward) or keys (backward) of the head
    nn_real *s_tile, *d_tile, *factors; // [KEYS][QUERIES]
    nn_real top[QUERIES], sum[QUERIES], rescale[QUERIES], delta[QUERIES];
} Block;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panels_of(size_t D)
{
    return (D + NN_PANEL - 1) / NN_PANEL;
}

// Heads of a sample for one task: neighbours share cache lines of the rows they write.
static size_t heads_per_task(const NnAttention *a)
{
    const size_t work = a->Tq * a->Tk;
    return work >= WORK ? 1 : least(WORK / (work ? work : 1), a->H);
}

static size_t source_of(const NnAttention *a, size_t b)
{
    return a->source ? (size_t)a->source[b] : b;
}

static void check_arguments(const NnAttention *a)
{
    VC_ASSERT(!a->causal || a->Tk >= a->Tq);
    VC_ASSERT(a->dropout >= 0 && a->dropout < 1);
    for (size_t b = 0; b < a->B && a->source; b++)
        VC_ASSERT(a->source[b] >= 0 && (size_t)a->source[b] < a->S);
}

static size_t block_work(const NnAttention *a, bool backward)
{
    const size_t tiles = (backward ? 2 : 1) + (a->dropout > 0 ? 1 : 0), d = panels_of(a->D);
    return tiles * least(KEYS, a->Tk) * QUERIES + (backward ? 2 : 1) * a->D * QUERIES +
           (backward ? 2 * d * QUERIES * NN_PANEL : 0) + d * a->Tk * NN_PANEL;
}

static Block block_in(const AttentionJob *job, size_t worker, bool backward)
{
    const NnAttention *a = job->a;
    const size_t tile = least(KEYS, a->Tk) * QUERIES, d = panels_of(a->D);
    nn_real *at = job->work + worker * job->work_size;
    Block k = {.s_tile = at, .turned = at + tile};
    at += tile + a->D * QUERIES;
    if (backward) {
        k.d_tile = at;
        k.turned_out = at + tile;
        k.rows = k.turned_out + a->D * QUERIES;
        k.rows_out = k.rows + d * QUERIES * NN_PANEL;
        at = k.rows_out + d * QUERIES * NN_PANEL;
    }
    k.panels = at;
    k.factors = at + d * a->Tk * NN_PANEL; // only there with dropout
    return k;
}

// to[D/32][rows][32] = x[rows, D].
static void pack(const AttentionJob *job, nn_real *to, const nn_real *x, size_t ld, size_t rows)
{
    for (size_t d = 0; d < job->a->D; d += NN_PANEL)
        job->kernels->gemm_pack(to + d * rows, NN_PANEL, x + d, ld, 0, least(NN_PANEL, job->a->D - d), rows);
}

// The queries from q0 on of head h of sample b.
static void set_block(const AttentionJob *job, Block *k, size_t b, size_t h, size_t q0)
{
    const NnAttention *a = job->a;
    k->b = b;
    k->h = h;
    k->s = source_of(a, b);
    k->q0 = q0;
    k->queries = least(QUERIES, a->Tq - q0);
    k->lanes = k->queries <= QUERIES / 2 ? QUERIES / 2 : QUERIES;
    job->kernels->gemm_pack(k->turned, NN_PANEL, job->q + (b * a->Tq + q0) * a->ldq + h * a->D, a->ldq, 1, k->queries,
                            a->D);
}

// Keys that any query of the block sees.
static size_t keys_of(const NnAttention *a, const Block *k)
{
    return a->causal ? k->q0 + k->queries + a->Tk - a->Tq : a->Tk;
}

// s[key][query] of keys [j0, j0+keys), scaled; what a causal query does not see is -inf.
static void scores(const AttentionJob *job, Block *k, size_t j0, size_t keys)
{
    const NnAttention *a = job->a;
    const nn_real *from = job->k + (k->s * a->Tk + j0) * a->ldk + k->h * a->D;
    job->kernels->gemm_tile(k->s_tile, QUERIES, from, a->ldk, 1, k->turned, a->D, keys, k->lanes, (nn_real)a->scale, 0);
    const size_t seen = k->q0 + a->Tk - a->Tq; // last key of the block's first query
    for (size_t j = seen + 1 > j0 ? seen + 1 : j0; a->causal && j < j0 + keys; j++) {
        for (size_t i = 0; i < least(j - seen, k->lanes); i++)
            k->s_tile[(j - j0) * QUERIES + i] = -(nn_real)INFINITY;
    }
}

static const nn_real *mask_of(const NnAttention *a, const Block *k, size_t j0)
{
    return a->key_mask ? a->key_mask + k->s * a->Tk + j0 : NULL;
}

// The factors of dropout of this block and these keys: drawn for whole rows, from a stream of their own.
static void draw(const NnAttention *a, Block *k, size_t j0, size_t keys)
{
    const uint64_t blocks = (a->Tq + QUERIES - 1) / QUERIES, tiles = (a->Tk + KEYS - 1) / KEYS;
    const uint64_t number = ((k->b * a->H + k->h) * blocks + k->q0 / QUERIES) * tiles + j0 / KEYS;
    nn_dropout_factors(k->factors, a->dropout, vc_mix_seed(a->seed, number), keys * QUERIES);
}

static void drop(const Block *k, nn_real *tile, size_t keys)
{
    for (size_t i = 0; i < keys * QUERIES; i++)
        tile[i] *= k->factors[i];
}

// ---- forward

static void forward_block(const AttentionJob *job, Block *k)
{
    const NnAttention *a = job->a;
    const NnKernels *fn = job->kernels;
    nn_real *o = job->o + (k->b * a->Tq + k->q0) * a->ldo + k->h * a->D;
    for (size_t i = 0; i < QUERIES; i++) {
        k->top[i] = -(nn_real)INFINITY;
        k->sum[i] = 0;
    }
    const size_t all = keys_of(a, k);
    for (size_t j0 = 0; j0 < all; j0 += KEYS) {
        const size_t keys = least(KEYS, all - j0);
        scores(job, k, j0, keys);
        fn->attention_exp(k->s_tile, keys, k->lanes, mask_of(a, k, j0), k->top, k->sum, k->rescale);
        if (a->dropout > 0) {
            draw(a, k, j0, keys);
            drop(k, k->s_tile, keys);
        }
        for (size_t i = 0; i < k->queries && j0 > 0; i++)
            fn->scale(o + i * a->ldo, k->rescale[i], a->D);
        for (size_t d = 0; d < a->D; d += NN_PANEL) {
            fn->gemm_tile(o + d, a->ldo, k->s_tile, 1, QUERIES, k->panels + d * a->Tk + j0 * NN_PANEL, keys, k->queries,
                          least(NN_PANEL, a->D - d), 1, j0 > 0);
        }
    }
    nn_real *stats = job->stats ? job->stats + 2 * ((k->b * a->H + k->h) * a->Tq + k->q0) : NULL;
    for (size_t i = 0; i < k->queries; i++) {
        const nn_real scale = 1 / k->sum[i];
        fn->scale(o + i * a->ldo, scale, a->D);
        if (stats) {
            stats[2 * i] = k->top[i];
            stats[2 * i + 1] = scale;
        }
    }
}

static void forward_heads(void *arg, size_t begin, size_t end, size_t worker)
{
    const AttentionJob *job = arg;
    const NnAttention *a = job->a;
    Block k = block_in(job, worker, false);
    for (size_t i = begin; i < end; i++) {
        const size_t b = i / a->H, h = i % a->H;
        pack(job, k.panels, job->v + source_of(a, b) * a->Tk * a->ldv + h * a->D, a->ldv, a->Tk);
        for (size_t q0 = 0; q0 < a->Tq; q0 += QUERIES) {
            set_block(job, &k, b, h, q0);
            forward_block(job, &k);
        }
    }
}

void nn_attention_forward(const NnContext *ctx, nn_real *o, nn_real *stats, const nn_real *q, const nn_real *k,
                          const nn_real *v, const NnAttention *a)
{
    check_arguments(a);
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    AttentionJob job = {.kernels = ctx->kernels, .a = a, .q = q, .k = k, .v = v, .o = o, .stats = stats};
    job.work_size = block_work(a, false);
    job.work = vc_arena_alloc(ctx->scratch, vc_pool_threads(ctx->pool) * job.work_size, sizeof(nn_real));
    vc_parallel_for(ctx->pool, a->B * a->H, heads_per_task(a), forward_heads, &job);
    vc_arena_release(ctx->scratch, mark);
}

// ---- backward

// Keys [j0, j0+keys): with f the factors of the dropout, p the probabilities: dv += (f p)^T do; ds = p (f (do v^T) -
// delta); dq += scale ds k; dk += scale ds^T q.
static void backward_tile(const AttentionJob *job, Block *k, size_t j0, size_t keys)
{
    const NnAttention *a = job->a;
    const NnKernels *fn = job->kernels;
    const size_t at_k = (k->s * a->Tk + j0) * a->ldk + k->h * a->D, at_v = (k->s * a->Tk + j0) * a->ldv + k->h * a->D;
    const nn_real scale = (nn_real)a->scale;
    scores(job, k, j0, keys);
    fn->attention_weights(k->s_tile, keys, k->lanes, mask_of(a, k, j0), k->top, k->sum);
    fn->gemm_tile(k->d_tile, QUERIES, job->v + at_v, a->ldv, 1, k->turned_out, a->D, keys, k->lanes, 1, 0);
    if (a->dropout > 0) {
        draw(a, k, j0, keys);
        drop(k, k->d_tile, keys);
    }
    fn->attention_slopes(k->d_tile, k->s_tile, keys, k->lanes, k->delta);
    if (a->dropout > 0)
        drop(k, k->s_tile, keys);
    for (size_t d = 0; d < a->D; d += NN_PANEL) {
        const size_t columns = least(NN_PANEL, a->D - d);
        if (job->dv) {
            fn->gemm_tile(job->dv + at_v + d, a->ldv, k->s_tile, QUERIES, 1, k->rows_out + d * QUERIES, k->queries,
                          keys, columns, 1, 1);
        }
        if (job->dk) {
            fn->gemm_tile(job->dk + at_k + d, a->ldk, k->d_tile, QUERIES, 1, k->rows + d * QUERIES, k->queries, keys,
                          columns, scale, 1);
        }
        if (job->dq) {
            fn->gemm_tile(job->dq + (k->b * a->Tq + k->q0) * a->ldq + k->h * a->D + d, a->ldq, k->d_tile, 1, QUERIES,
                          k->panels + d * a->Tk + j0 * NN_PANEL, keys, k->queries, columns, scale, 1);
        }
    }
}

// delta = rowsum(p dp) = do . o: no row of p is needed for it.
static void backward_block(const AttentionJob *job, Block *k)
{
    const NnAttention *a = job->a;
    const size_t row = k->b * a->Tq + k->q0, at_o = row * a->ldo + k->h * a->D;
    const nn_real *stats = job->saved + 2 * ((k->b * a->H + k->h) * a->Tq + k->q0);
    for (size_t i = 0; i < QUERIES; i++) {
        const bool real = i < k->queries;
        k->top[i] = real ? stats[2 * i] : 0;
        k->sum[i] = real ? stats[2 * i + 1] : 0;
        k->delta[i] = real ? job->kernels->dot(job->dout + at_o + i * a->ldo, job->out + at_o + i * a->ldo, a->D) : 0;
    }
    job->kernels->gemm_pack(k->turned_out, NN_PANEL, job->dout + at_o, a->ldo, 1, k->queries, a->D);
    for (size_t d = 0; d < a->D; d += NN_PANEL) {
        const size_t columns = least(NN_PANEL, a->D - d);
        job->kernels->gemm_pack(k->rows_out + d * QUERIES, NN_PANEL, job->dout + at_o + d, a->ldo, 0, columns,
                                k->queries);
        job->kernels->gemm_pack(k->rows + d * QUERIES, NN_PANEL, job->q + row * a->ldq + k->h * a->D + d, a->ldq, 0,
                                columns, k->queries);
    }
    const size_t all = keys_of(a, k);
    for (size_t j0 = 0; j0 < all; j0 += KEYS)
        backward_tile(job, k, j0, least(KEYS, all - j0));
}

// A task owns heads of sources: those who share keys add to their gradients one after the other.
static void backward_heads(void *arg, size_t begin, size_t end, size_t worker)
{
    const AttentionJob *job = arg;
    const NnAttention *a = job->a;
    Block k = block_in(job, worker, true);
    for (size_t i = begin; i < end; i++) {
        const size_t s = i / a->H, h = i % a->H;
        pack(job, k.panels, job->k + s * a->Tk * a->ldk + h * a->D, a->ldk, a->Tk);
        for (size_t b = a->source ? 0 : s; b < (a->source ? a->B : s + 1); b++) {
            for (size_t q0 = 0; q0 < a->Tq && source_of(a, b) == s; q0 += QUERIES) {
                set_block(job, &k, b, h, q0);
                backward_block(job, &k);
            }
        }
    }
}

void nn_attention_backward(const NnContext *ctx, nn_real *dq, nn_real *dk, nn_real *dv, const nn_real *dout,
                           const nn_real *o, const nn_real *stats, const nn_real *q, const nn_real *k, const nn_real *v,
                           const NnAttention *a)
{
    if (!dq && !dk && !dv)
        return;
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    AttentionJob job = {.kernels = ctx->kernels,
                        .a = a,
                        .q = q,
                        .k = k,
                        .v = v,
                        .saved = stats,
                        .out = o,
                        .dout = dout,
                        .dq = dq,
                        .dk = dk,
                        .dv = dv,
                        .work_size = block_work(a, true)};
    job.work = vc_arena_alloc(ctx->scratch, vc_pool_threads(ctx->pool) * job.work_size, sizeof(nn_real));
    vc_parallel_for(ctx->pool, (a->source ? a->S : a->B) * a->H, heads_per_task(a), backward_heads, &job);
    vc_arena_release(ctx->scratch, mark);
}
