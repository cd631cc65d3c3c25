// SPDX-License-Identifier: MIT
// Neighbours in a transformer block as one op: docs/BACKWARD.md, 1 to 3, one after the other. Rows go through a few
// hundred at a time, so that what lies between the layers is still in a cache when the next one reads it; what is cheap
// (the activation, the norm) is made again in backward instead of being kept.
#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"
#include "nn/product.h"

enum { ROWS = 40 * NN_STRIP };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Rows [r, r+rows) of what goes into the first layer: x, or its norm, made in n. Each is made with its statistics,
// which are the same bits whenever it is made.
static const nn_real *input_of(const NnContext *ctx, const NnMlp *m, const NnMlpSaved *saved, nn_real *n,
                               const nn_real *x, size_t r, size_t rows)
{
    if (!m->g)
        return x + r * m->I;
    nn_layer_norm_forward(ctx, n, saved->mean + r, saved->rstd + r, x + r * m->I, m->g, m->b, m->eps, rows, m->I);
    return n;
}

void nn_mlp_forward(const NnContext *ctx, nn_real *y, const NnMlpSaved *saved, const nn_real *x, const NnMlp *m,
                    size_t R)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t most = least(ROWS, R);
    nn_real *g = vc_arena_alloc(ctx->scratch, most * m->F, sizeof *g);
    nn_real *n = m->g ? vc_arena_alloc(ctx->scratch, most * m->I, sizeof *n) : NULL;
    for (size_t r = 0; r < R; r += ROWS) {
        const size_t rows = least(ROWS, R - r), hidden = rows * m->F;
        nn_real *h = saved->h ? saved->h + r * m->F : g;
        nn_linear_forward(ctx, h, input_of(ctx, m, saved, n, x, r, rows), m->w1, m->b1, rows, m->I, m->F);
        if (m->quick) {
            nn_quick_gelu_forward(ctx, g, h, hidden);
        } else {
            nn_gelu_forward(ctx, g, h, hidden);
        }
        nn_linear_forward(ctx, y + r * m->O, g, m->w2, m->b2, rows, m->F, m->O);
    }
    vc_arena_release(ctx->scratch, mark);
}

typedef struct {
    void (*again)(nn_real *y, nn_real *d, const nn_real *x, size_t n);
    nn_real *g, *d;
    const nn_real *h;
} AgainJob;

static void again_chunk(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const AgainJob *job = arg;
    job->again(job->g + begin, job->d + begin, job->h + begin, end - begin);
}

// The gradient of the input, d[rows,F] being that of h. n is work memory.
static void input_grad(const NnContext *ctx, nn_real *dx, bool add_dx, const NnMlpGrads *grads, const nn_real *d,
                       nn_real *n, const nn_real *x, const NnMlpSaved *saved, const NnMlp *m, size_t rows)
{
    if (!m->g) {
        if (dx)
            nn_linear_input_grad(ctx, dx, add_dx, d, m->w1, rows, m->I, m->F);
        return;
    }
    nn_linear_input_grad(ctx, n, false, d, m->w1, rows, m->I, m->F);
    nn_layer_norm_backward(ctx, dx, grads->g, grads->b, n, x, saved->mean, saved->rstd, m->g, rows, m->I);
}

void nn_mlp_backward(const NnContext *ctx, nn_real *dx, bool add_dx, const NnMlpGrads *grads, const nn_real *dy,
                     const nn_real *x, const NnMlpSaved *saved, const NnMlp *m, size_t R)
{
    VC_ASSERT(add_dx || !m->g);
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t most = least(ROWS, R);
    nn_real *g = vc_arena_alloc(ctx->scratch, most * m->F, sizeof *g);
    nn_real *d = vc_arena_alloc(ctx->scratch, most * m->F, sizeof *d);
    nn_real *n = m->g ? vc_arena_alloc(ctx->scratch, most * m->I, sizeof *n) : NULL;
    for (size_t r = 0; r < R; r += ROWS) {
        const size_t rows = least(ROWS, R - r);
        const nn_real *out = dy + r * m->O;
        nn_linear_input_grad(ctx, d, false, out, m->w2, rows, m->F, m->O);
        AgainJob job = {m->quick ? ctx->kernels->quick_gelu_again : ctx->kernels->gelu_again, g, d,
                        saved->h + r * m->F};
        vc_parallel_for(ctx->pool, rows * m->F, NN_CHUNK, again_chunk, &job);
        nn_linear_backward(ctx, NULL, grads->w2, grads->b2, out, g, m->w2, rows, m->F, m->O);
        nn_linear_backward(ctx, NULL, grads->w1, grads->b1, d, input_of(ctx, m, saved, n, x, r, rows), m->w1, rows,
                           m->I, m->F);
        const NnMlpSaved here = {.mean = m->g ? saved->mean + r : NULL, .rstd = m->g ? saved->rstd + r : NULL};
        input_grad(ctx, dx ? dx + r * m->I : NULL, add_dx, grads, d, n, x + r * m->I, &here, m, rows);
    }
    vc_arena_release(ctx->scratch, mark);
}

// ---- layer norm, then a linear layer

void nn_norm_linear_forward(const NnContext *ctx, nn_real *y, nn_real *mean, nn_real *rstd, const nn_real *x,
                            const NnNormLinear *m, size_t R)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    nn_real *n = vc_arena_alloc(ctx->scratch, least(ROWS, R) * m->I, sizeof *n);
    for (size_t r = 0; r < R; r += ROWS) {
        const size_t rows = least(ROWS, R - r);
        nn_layer_norm_forward(ctx, n, mean + r, rstd + r, x + r * m->I, m->g, m->b, m->eps, rows, m->I);
        nn_linear_forward(ctx, y + r * m->O, n, m->w, m->bias, rows, m->I, m->O);
    }
    vc_arena_release(ctx->scratch, mark);
}

void nn_norm_linear_backward(const NnContext *ctx, nn_real *dx, const NnNormLinearGrads *grads, const nn_real *dy,
                             const nn_real *x, const nn_real *mean, const nn_real *rstd, const NnNormLinear *m,
                             size_t R)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t most = least(ROWS, R);
    nn_real *n = vc_arena_alloc(ctx->scratch, most * m->I, sizeof *n);
    nn_real *stats = vc_arena_alloc(ctx->scratch, 2 * most, sizeof *stats); // made again with n, to the same bits
    for (size_t r = 0; r < R; r += ROWS) {
        const size_t rows = least(ROWS, R - r);
        const nn_real *in = x + r * m->I, *out = dy + r * m->O;
        if (grads->w || grads->bias) {
            nn_layer_norm_forward(ctx, n, stats, stats + most, in, m->g, m->b, m->eps, rows, m->I);
            nn_linear_backward(ctx, NULL, grads->w, grads->bias, out, n, m->w, rows, m->I, m->O);
        }
        nn_linear_input_grad(ctx, n, false, out, m->w, rows, m->I, m->O);
        nn_layer_norm_backward(ctx, dx ? dx + r * m->I : NULL, grads->g, grads->b, n, in, mean + r, rstd + r, m->g,
                               rows, m->I);
    }
    vc_arena_release(ctx->scratch, mark);
}
