// SPDX-License-Identifier: MIT
// The transformer both towers share: pre-norm blocks (Radford et al., 2021).
//
// Why embeddings are the same bits for any batch: layers run through nn_rows_linear, whose rows do not know each other;
// attention runs per sequence and head; all else works row by row.
#include "concepts/clip_private.h"

#include <math.h>
#include <string.h>

void clip_work_init(ClipWork *w, const ClipTower *tower, size_t rows, size_t columns)
{
    const size_t wide = tower->mlp > columns ? tower->mlp : columns;
    nn_context_init(&w->nn, NULL);
    w->block = vc_alloc_aligned(rows * (6 * tower->width + wide), sizeof *w->block);
    float **const parts[] = {&w->x, &w->h, &w->q, &w->k, &w->v, &w->a, &w->f};
    for (size_t i = 0; i < 7; i++)
        *parts[i] = w->block + i * rows * tower->width;
}

void clip_work_finish(ClipWork *w)
{
    nn_context_finish(&w->nn);
    free(w->block);
    w->block = NULL;
}

void clip_linear(const ClipWork *w, float *y, const float *x, ClipLinear layer, size_t rows, size_t in, size_t out,
                 bool add)
{
    nn_rows_linear(&w->nn, y, x, layer.w, layer.b, rows, in, out, add);
}

void clip_norm(const ClipWork *w, float *y, const float *x, ClipNorm norm, size_t rows, size_t width, double eps)
{
    w->nn.kernels->layernorm(y, NULL, NULL, x, norm.gain, norm.bias, rows, width, (float)eps);
}

static void attend(ClipWork *w, const ClipTower *t, const ClipPacking *p, bool last_only, const size_t *pooled)
{
    const size_t depth = t->width / t->heads;
    NnAttention a = {.B = 1,
                     .H = t->heads,
                     .D = depth,
                     .ldq = t->width,
                     .ldk = t->width,
                     .ldv = t->width,
                     .ldo = t->width,
                     .scale = 1.0 / sqrt((double)depth),
                     .causal = p->causal};
    size_t row = 0;
    for (size_t i = 0; i < p->count; i++) {
        // The one query of a pooled row sees what stands before it; it is the last key then.
        a.Tq = last_only ? 1 : p->lengths[i];
        a.Tk = last_only && p->causal ? pooled[i] + 1 : p->lengths[i];
        const size_t at = (last_only ? i : row) * t->width;
        nn_attention_forward(&w->nn, w->a + at, NULL, w->q + at, w->k + row * t->width, w->v + row * t->width, &a);
        row += p->lengths[i];
    }
}

static void mlp(ClipWork *w, const ClipTower *t, const ClipBlock *b, size_t rows)
{
    clip_norm(w, w->h, w->x, b->norm2, rows, t->width, t->eps);
    clip_linear(w, w->f, w->h, b->fc1, rows, t->width, t->mlp, false);
    if (t->activation == CLIP_QUICK_GELU) {
        w->nn.kernels->quick_gelu(w->f, w->f, rows * t->mlp);
    } else {
        w->nn.kernels->gelu(w->f, w->f, rows * t->mlp);
    }
    clip_linear(w, w->x, w->f, b->fc2, rows, t->mlp, t->width, true);
}

void clip_block(ClipWork *w, const ClipTower *t, const ClipBlock *b, const ClipPacking *p, size_t rows)
{
    const size_t width = t->width;
    clip_norm(w, w->h, w->x, b->norm1, rows, width, t->eps);
    clip_linear(w, w->q, w->h, b->q, rows, width, width, false);
    clip_linear(w, w->k, w->h, b->k, rows, width, width, false);
    clip_linear(w, w->v, w->h, b->v, rows, width, width, false);
    attend(w, t, p, false, NULL);
    clip_linear(w, w->x, w->a, b->o, rows, width, width, true);
    mlp(w, t, b, rows);
}

// Row pooled[i] of every sequence moves to row i: always downwards or in place.
static void gather(float *rows, const ClipPacking *p, const size_t *pooled, size_t width)
{
    size_t row = 0;
    for (size_t i = 0; i < p->count; i++) {
        memmove(rows + i * width, rows + (row + pooled[i]) * width, width * sizeof *rows);
        row += p->lengths[i];
    }
}

void clip_last_block(ClipWork *w, const ClipTower *t, const ClipBlock *b, const ClipPacking *p, size_t rows,
                     const size_t *pooled)
{
    const size_t few = p->count, width = t->width;
    clip_norm(w, w->h, w->x, b->norm1, rows, width, t->eps);
    clip_linear(w, w->k, w->h, b->k, rows, width, width, false);
    clip_linear(w, w->v, w->h, b->v, rows, width, width, false);
    gather(w->h, p, pooled, width);
    gather(w->x, p, pooled, width);
    clip_linear(w, w->q, w->h, b->q, few, width, width, false);
    attend(w, t, p, true, pooled);
    clip_linear(w, w->x, w->a, b->o, few, width, width, true);
    mlp(w, t, b, few);
}
