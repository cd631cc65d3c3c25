// SPDX-License-Identifier: MIT
// The transformer both towers share: pre-norm blocks (Radford et al., 2021).
//
// Why embeddings are the same bits for any batch: layers run through nn_packed_linear, whose rows do not know each
// other; attention runs per sequence and head; all else works row by row.
#include "concepts/clip_private.h"

#include <math.h>
#include <string.h>

void clip_work_init(ClipWork *w, const ClipTower *tower, const ClipPackedTower *packed, size_t rows, size_t columns,
                    size_t keys)
{
    const size_t width = tower->width, mlp = tower->mlp, strip = CLIP_MLP_ROWS;
    const size_t in = width > columns ? width : columns, wide = in > mlp ? in : mlp;
    *w = (ClipWork){.tower = tower, .packed = packed, .rows = rows, .memory = vc_arena_create("clip rows")};
    nn_context_init(&w->nn, NULL);
    w->half = packed->half;
    w->row_words = w->half ? width / 2 : width;
    w->x = vc_arena_alloc(w->memory, rows * width, sizeof *w->x);
    w->qkv = vc_arena_alloc(w->memory, rows * 3 * width, sizeof *w->qkv);
    w->a = vc_arena_alloc(w->memory, rows * width, sizeof *w->a);
    w->f.data = vc_arena_alloc(w->memory, strip * ((mlp + 1) / 2), sizeof *w->f.data);
    w->keys = vc_arena_alloc(w->memory, keys * 2 * width, sizeof *w->keys);
    w->row = vc_arena_alloc(w->memory, wide, sizeof *w->row);
    w->panel = vc_arena_alloc(w->memory, packed->packed ? 0 : wide * NN_PANEL, sizeof *w->panel);
    w->h.data = vc_arena_alloc(w->memory, rows * in, sizeof *w->h.data);
    w->h.scale = vc_arena_alloc(w->memory, rows, sizeof *w->h.scale);
    w->h.zero = vc_arena_zalloc(w->memory, rows, sizeof *w->h.zero);
    w->g.data = vc_arena_alloc(w->memory, strip * mlp, sizeof *w->g.data);
    w->g.scale = vc_arena_alloc(w->memory, strip, sizeof *w->g.scale);
    w->g.zero = vc_arena_zalloc(w->memory, strip, sizeof *w->g.zero);
}

void clip_work_finish(ClipWork *w)
{
    nn_context_finish(&w->nn);
    vc_arena_destroy(&w->memory);
}

// ---- rows and layers ----

static void as(NnPackedRows *rows, NnPackedKind kind, size_t in)
{
    rows->kind = kind;
    rows->words = nn_packed_words(kind, in);
}

static NnPackedRows rows_from(const NnPackedRows *all, size_t r)
{
    return (NnPackedRows){all->kind, all->words, all->data + r * all->words, all->scale + r, all->zero + r};
}

static float *absmax_of(const ClipWork *w, size_t layer, size_t which)
{
    const size_t width = w->tower->width;
    return w->absmax == NULL ? NULL : w->absmax + layer * (3 * width + w->tower->mlp) + which * width;
}

static void gather_absmax(float *most, const float *x, size_t n)
{
    for (size_t i = 0; most != NULL && i < n; i++)
        most[i] = fabsf(x[i]) > most[i] ? fabsf(x[i]) : most[i];
}

static void norm_rows(ClipWork *w, NnPackedKind kind, const float *x, ClipNorm norm, size_t rows, float *most)
{
    const size_t width = w->tower->width;
    const float eps = (float)w->tower->eps;
    as(&w->h, kind, width);
    for (size_t r = 0; r < rows; r++, x += width) {
        float *row = kind == NN_PACKED_FP32 ? (float *)(void *)(w->h.data + r * width) : w->row;
        w->nn.kernels->layernorm(row, NULL, NULL, x, norm.gain, norm.bias, 1, width, eps);
        gather_absmax(most, row, width);
        if (kind != NN_PACKED_FP32)
            nn_packed_put(w->nn.kernels, &w->h, r, row, width, NULL);
    }
}

void clip_norm_rows(ClipWork *w, NnPackedKind kind, const float *x, ClipNorm norm, size_t rows)
{
    norm_rows(w, kind, x, norm, rows, NULL);
}

static void put_rows(ClipWork *w, NnPackedRows *to, NnPackedKind kind, const float *x, size_t rows, size_t in,
                     const float *columns, float *most)
{
    as(to, kind, in);
    for (size_t r = 0; r < rows; r++, x += in) {
        gather_absmax(most, x, in);
        nn_packed_put(w->nn.kernels, to, r, x, in, columns);
    }
}

void clip_layer(const ClipWork *w, const NnPacked *p, const NnPackedRows *x, size_t rows, float *y, size_t ldy,
                bool add)
{
    const NnPackedOut out = {.y = y, .ldy = ldy, .add = add};
    nn_packed_linear(w->nn.kernels, p, x, rows, &out, w->panel);
}

// One of q, k and v into w->qkv, `at` W numbers from the left.
static void layer_qkv(const ClipWork *w, const NnPacked *p, size_t rows, size_t at)
{
    const size_t width = w->tower->width;
    const NnPackedRows half = {.words = 3 * w->row_words, .data = w->qkv};
    NnPackedOut out = {.half = &half, .at = at * width};
    if (!w->half)
        out = (NnPackedOut){.y = (float *)(void *)w->qkv + at * width, .ldy = 3 * width};
    nn_packed_linear(w->nn.kernels, p, &w->h, rows, &out, w->panel);
}

// ---- blocks ----

// Bytes of the rows behind the activation, from where they stand as bfloat16.
static void put_wide(ClipWork *w, size_t rows, const float *columns)
{
    const size_t wide = w->tower->mlp;
    as(&w->g, NN_PACKED_INT8, wide);
    for (size_t r = 0; r < rows; r++) {
        w->nn.kernels->bf16_to_f32(w->row, w->f.data + r * w->f.words, wide);
        nn_packed_put(w->nn.kernels, &w->g, r, w->row, wide, columns);
    }
}

// Rows at a time: blocks of equal size, whole strips but for the last.
static size_t mlp_rows(size_t rows)
{
    VC_ASSERT(rows > 0);
    const size_t blocks = (rows + CLIP_MLP_ROWS - 1) / CLIP_MLP_ROWS, each = (rows + blocks - 1) / blocks;
    return (each + NN_STRIP - 1) / NN_STRIP * NN_STRIP;
}

static void mlp(ClipWork *w, size_t l, size_t rows)
{
    const ClipPackedBlock *b = &w->packed->blocks[l];
    const size_t width = w->tower->width, wide = w->tower->mlp, most = mlp_rows(rows);
    const NnPackedKind kind = b->fc1.kind;
    const NnKernels *k = w->nn.kernels;
    const bool quick = w->tower->activation == CLIP_QUICK_GELU;
    const NnActivation activation = {quick ? k->quick_gelu : k->gelu, quick ? k->quick_gelu_bf16 : k->gelu_bf16};
    norm_rows(w, kind, w->x, b->norm2, rows, absmax_of(w, l, 2));
    for (size_t r = 0; r < rows; r += most) {
        const size_t n = rows - r < most ? rows - r : most;
        const NnPackedRows h = rows_from(&w->h, r);
        NnPackedRows *half = kind == NN_PACKED_INT8 ? &w->f : &w->g;
        as(half, kind == NN_PACKED_FP32 ? kind : NN_PACKED_BF16, wide);
        NnPackedOut out = {.half = half, .activation = activation};
        if (kind == NN_PACKED_FP32)
            out = (NnPackedOut){.y = (float *)(void *)w->g.data, .ldy = wide, .activation = activation};
        for (size_t i = 0; i < n && kind != NN_PACKED_FP32; i++)
            half->data[(i + 1) * half->words - 1] = 0; // what stands behind an odd width
        nn_packed_linear(k, &b->fc1, &h, n, &out, w->panel);
        if (kind == NN_PACKED_INT8)
            put_wide(w, n, b->fc2_columns);
        for (size_t i = 0; i < n && w->absmax != NULL; i++)
            gather_absmax(absmax_of(w, l, 3), (const float *)(const void *)(w->g.data + i * wide), wide);
        clip_layer(w, &b->fc2, &w->g, n, w->x + r * width, width, true);
    }
}

void clip_block(ClipWork *w, size_t l, const ClipPacking *p, size_t rows)
{
    const ClipPackedBlock *b = &w->packed->blocks[l];
    const size_t width = w->tower->width;
    norm_rows(w, b->q.kind, w->x, b->norm1, rows, absmax_of(w, l, 0));
    layer_qkv(w, &b->q, rows, 0);
    layer_qkv(w, &b->kv, rows, 1);
    clip_attend(w, p, false);
    put_rows(w, &w->h, b->o.kind, w->a, rows, width, b->o_columns, absmax_of(w, l, 1));
    clip_layer(w, &b->o, &w->h, rows, w->x, width, true);
    mlp(w, l, rows);
}

// The pooled rows of x and of h move to the head: downwards or in place, for they rise.
static void gather(ClipWork *w, const ClipPacking *p)
{
    const size_t width = w->tower->width;
    for (size_t i = 0; i < p->count; i++) {
        const size_t from = p->of[i].pooled;
        memmove(w->x + i * width, w->x + from * width, width * sizeof *w->x);
        memmove(w->h.data + i * w->h.words, w->h.data + from * w->h.words, w->h.words * sizeof *w->h.data);
        w->h.scale[i] = w->h.scale[from];
        w->h.zero[i] = w->h.zero[from];
    }
}

void clip_last_block(ClipWork *w, const ClipPacking *p, size_t rows)
{
    const size_t l = w->tower->layers - 1, few = p->count, width = w->tower->width;
    const ClipPackedBlock *b = &w->packed->blocks[l];
    norm_rows(w, b->q.kind, w->x, b->norm1, rows, absmax_of(w, l, 0));
    layer_qkv(w, &b->kv, rows, 1);
    gather(w, p);
    layer_qkv(w, &b->q, few, 0);
    clip_attend(w, p, true);
    put_rows(w, &w->h, b->o.kind, w->a, few, width, b->o_columns, absmax_of(w, l, 1));
    clip_layer(w, &b->o, &w->h, few, w->x, width, true);
    mlp(w, l, few);
}
