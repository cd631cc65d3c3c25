// SPDX-License-Identifier: MIT
// The transformer both towers share: pre-norm blocks (Radford et al., 2021).
//
// Why embeddings are the same bits for any batch: every product is run on a multiple of CLIP_ROWS rows, so that each
// row goes through the BLAS's full inner tile and never through the code for what is left over, whose sums may be
// ordered otherwise. Where a weight matrix is so small that the BLAS might choose another method for few rows than for
// many (its "small matrix" kernels, up to 10^6 multiply-adds), exactly CLIP_ROWS rows go into every call.
// Attention runs per sequence and head. tests/concepts/test_clip.c holds this to the bit.
#include "concepts/clip_private.h"

#include <math.h>
#include <string.h>

enum { SMALL_WEIGHT = 1 << 17 }; // 16 x this is beyond the limit above

void clip_work_init(ClipWork *w, const ClipTower *tower, size_t rows, size_t columns)
{
    const size_t padded = clip_pad_rows(rows), wide = tower->mlp > columns ? tower->mlp : columns;
    nn_context_init(&w->nn, NULL);
    w->block = vc_alloc_aligned(padded * (6 * tower->width + wide), sizeof *w->block);
    memset(w->block, 0, padded * (6 * tower->width + wide) * sizeof *w->block); // padding rows stay numbers
    float **const parts[] = {&w->x, &w->h, &w->q, &w->k, &w->v, &w->a, &w->f};
    for (size_t i = 0; i < 7; i++)
        *parts[i] = w->block + i * padded * tower->width;
}

void clip_work_finish(ClipWork *w)
{
    nn_context_finish(&w->nn);
    free(w->block);
    w->block = NULL;
}

void clip_linear(const ClipWork *w, float *y, const float *x, ClipLinear layer, size_t rows, size_t in, size_t out,
                 float beta)
{
    const size_t step = in * out <= SMALL_WEIGHT ? CLIP_ROWS : rows;
    for (size_t r = 0; r < rows; r += step)
        nn_gemm(NULL, NN_PLAIN, NN_TRANSPOSED, step, out, in, 1.0F, x + r * in, in, layer.w, in, beta, y + r * out,
                out);
    if (layer.b != NULL)
        w->nn.kernels->add_rows(y, layer.b, rows, out);
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
    clip_linear(w, w->f, w->h, b->fc1, rows, t->width, t->mlp, 0);
    if (t->activation == CLIP_QUICK_GELU)
        w->nn.kernels->quick_gelu(w->f, w->f, rows * t->mlp);
    else
        w->nn.kernels->gelu(w->f, w->f, rows * t->mlp);
    clip_linear(w, w->x, w->f, b->fc2, rows, t->mlp, t->width, 1);
}

void clip_block(ClipWork *w, const ClipTower *t, const ClipBlock *b, const ClipPacking *p, size_t rows)
{
    const size_t padded = clip_pad_rows(rows), width = t->width;
    clip_norm(w, w->h, w->x, b->norm1, padded, width, t->eps);
    clip_linear(w, w->q, w->h, b->q, padded, width, width, 0);
    clip_linear(w, w->k, w->h, b->k, padded, width, width, 0);
    clip_linear(w, w->v, w->h, b->v, padded, width, width, 0);
    attend(w, t, p, false, NULL);
    clip_linear(w, w->x, w->a, b->o, padded, width, width, 1);
    mlp(w, t, b, padded);
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
    const size_t padded = clip_pad_rows(rows), few = clip_pad_rows(p->count), width = t->width;
    clip_norm(w, w->h, w->x, b->norm1, padded, width, t->eps);
    clip_linear(w, w->k, w->h, b->k, padded, width, width, 0);
    clip_linear(w, w->v, w->h, b->v, padded, width, width, 0);
    gather(w->h, p, pooled, width);
    gather(w->x, p, pooled, width);
    clip_linear(w, w->q, w->h, b->q, few, width, width, 0);
    attend(w, t, p, true, pooled);
    clip_linear(w, w->x, w->a, b->o, few, width, width, 1);
    mlp(w, t, b, few);
}
