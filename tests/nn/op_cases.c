// SPDX-License-Identifier: MIT
#include "op_cases.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>

// ---- small deterministic helpers of the builders

static int32_t *ids(NnTape *t, size_t n, size_t below)
{
    int32_t *id = nn_tape_alloc_ids(t, n);
    for (size_t i = 0; i < n; i++)
        id[i] = (int32_t)((i * 7 + i * i * 3 + 1) % below);
    return id;
}

// Every third row is not counted.
static int32_t *labels(NnTape *t, size_t n, size_t below)
{
    int32_t *label = ids(t, n, below);
    for (size_t i = 2; i < n; i += 3)
        label[i] = NN_IGNORE_LABEL;
    return label;
}

static nn_real *wave(NnTape *t, size_t n, double low, double high)
{
    nn_real *x = nn_tape_alloc(t, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (nn_real)(low + (high - low) * (double)(i * 37 % 101) / 100);
    return x;
}

// Hides the last keys of every second sample.
static nn_real *key_mask(NnTape *t, size_t B, size_t Tk)
{
    nn_real *mask = nn_tape_alloc(t, B * Tk);
    for (size_t i = 0; i < B * Tk; i++)
        mask[i] = i / Tk % 2 && i % Tk >= Tk - Tk / 3 ? -10000 : 0;
    return mask;
}

// ---- builders

static NnVar *linear(NnTape *t, NnVar *const *x)
{
    return nn_linear(t, x[0], x[1], x[2]);
}

static NnVar *linear_no_bias(NnTape *t, NnVar *const *x)
{
    return nn_linear(t, x[0], x[1], NULL);
}

static NnVar *matmul_nt(NnTape *t, NnVar *const *x)
{
    return nn_matmul_nt(t, x[0], x[1]);
}

static NnVar *matmul_self(NnTape *t, NnVar *const *x)
{
    return nn_matmul_nt(t, x[0], x[0]);
}

static NnVar *transpose(NnTape *t, NnVar *const *x)
{
    return nn_transpose(t, x[0]);
}

static NnVar *layer_norm(NnTape *t, NnVar *const *x)
{
    return nn_layer_norm(t, x[0], x[1], x[2], 1e-6);
}

static NnVar *gelu(NnTape *t, NnVar *const *x)
{
    return nn_gelu(t, x[0]);
}

static NnVar *quick_gelu(NnTape *t, NnVar *const *x)
{
    return nn_quick_gelu(t, x[0]);
}

static NnVar *norm_linear(NnTape *t, NnVar *const *x)
{
    return nn_norm_linear(t, x[0], x[1], x[2], 1e-6, x[3], x[4]);
}

static NnVar *mlp(NnTape *t, NnVar *const *x)
{
    return nn_mlp(t, x[0], x[1], x[2], x[3], x[4], false);
}

static NnVar *norm_mlp(NnTape *t, NnVar *const *x)
{
    return nn_norm_mlp(t, x[0], x[2], x[3], 1e-6, x[1], x[4], x[1], x[4], false); // a square matrix, twice
}

static NnVar *mlp_quick(NnTape *t, NnVar *const *x)
{
    NnVar *y = nn_mlp(t, x[0], x[1], x[2], x[3], x[4], true);
    return nn_mlp(t, nn_add(t, x[0], y), x[1], x[2], x[3], x[4], true); // gradients meet in x and in the weights
}

// The sum in the memory of what a layer made; beside it sums of what nobody may take.
static NnVar *residual(NnTape *t, NnVar *const *x)
{
    VcRng rng;
    vc_rng_seed(&rng, 7);
    NnVar *y = nn_residual(t, x[0], nn_linear(t, x[0], x[1], NULL), 0, NULL);
    y = nn_residual(t, y, nn_linear(t, y, x[1], NULL), 0.3, &rng);
    y = nn_residual(t, y, x[0], 0.3, &rng);
    NnVar *kept = nn_softmax(t, y);
    return nn_residual(t, y, kept, 0, NULL);
}

static NnVar *softmax(NnTape *t, NnVar *const *x)
{
    return nn_softmax(t, x[0]);
}

static NnVar *attention(NnTape *t, NnVar *const *x)
{
    return nn_attention(t, x[0], x[1], x[2], 2, NULL, false);
}

static NnVar *attention_masked(NnTape *t, NnVar *const *x)
{
    return nn_attention(t, x[0], x[1], x[2], 3, key_mask(t, x[1]->shape.dim[0], x[1]->shape.dim[1]), false);
}

static NnVar *attention_causal(NnTape *t, NnVar *const *x)
{
    return nn_attention(t, x[0], x[1], x[2], 1, NULL, true);
}

static NnVar *attention_shared(NnTape *t, NnVar *const *x)
{
    return nn_attention(t, x[0], x[1], x[1], 2, NULL, false); // keys are the values
}

static NnVar *attention_packed(NnTape *t, NnVar *const *x)
{
    return nn_attention_qkv(t, x[0], 2, key_mask(t, x[0]->shape.dim[0], x[0]->shape.dim[1]), true);
}

// Keys and values in one tensor, shared by samples out of order; one of them has no reader.
static NnVar *attention_source(NnTape *t, NnVar *const *x)
{
    const size_t B = x[0]->shape.dim[0], S = x[1]->shape.dim[0];
    int32_t *source = nn_tape_alloc_ids(t, B);
    for (size_t b = 0; b < B; b++)
        source[b] = (int32_t)(b * 2 % (S - 1));
    return nn_attend(t, x[0], x[1], NULL,
                     &(NnAttentionHow){.heads = 2, .key_mask = key_mask(t, S, x[1]->shape.dim[1]), .source = source});
}

static NnVar *attention_dropout(NnTape *t, NnVar *const *x)
{
    VcRng rng;
    vc_rng_seed(&rng, 5);
    return nn_attend(t, x[0], NULL, NULL, &(NnAttentionHow){.heads = 2, .dropout = 0.3, .rng = &rng});
}

// More keys than a tile holds, more queries than a block, with all that can be asked for at once.
static NnVar *attention_long(NnTape *t, NnVar *const *x)
{
    VcRng rng;
    vc_rng_seed(&rng, 6);
    const nn_real *mask = key_mask(t, x[1]->shape.dim[0], x[1]->shape.dim[1]);
    return nn_attend(t, x[0], x[1], NULL,
                     &(NnAttentionHow){.heads = 1, .key_mask = mask, .causal = true, .dropout = 0.3, .rng = &rng});
}

static NnVar *embedding(NnTape *t, NnVar *const *x)
{
    const size_t V = x[0]->shape.dim[0];
    return nn_embedding(t, x[0], ids(t, 3 * V, V), 3, V, -1);
}

static NnVar *gather(NnTape *t, NnVar *const *x)
{
    const size_t R = x[0]->size / x[0]->shape.dim[x[0]->shape.rank - 1];
    return nn_gather(t, x[0], ids(t, 2 * R + 1, R), 2 * R + 1);
}

static NnVar *token(NnTape *t, NnVar *const *x)
{
    return nn_token(t, x[0], 1);
}

static NnVar *token_at(NnTape *t, NnVar *const *x)
{
    return nn_token_at(t, x[0], ids(t, x[0]->shape.dim[0], x[0]->shape.dim[1]));
}

static NnVar *patch_embed(NnTape *t, NnVar *const *x)
{
    return nn_patch_embed(t, x[0], x[1], x[2], x[1]->shape.dim[2]);
}

static NnVar *add(NnTape *t, NnVar *const *x)
{
    return nn_add(t, x[0], x[1]);
}

static NnVar *add_twice(NnTape *t, NnVar *const *x)
{
    return nn_add(t, nn_add(t, x[0], x[0]), x[0]);
}

// Gradients that are handed over instead of copied must not be shared by two readers.
static NnVar *add_diamond(NnTape *t, NnVar *const *x)
{
    NnVar *a = nn_scale(t, x[0], 2), *b = nn_add(t, a, a), *c = nn_add(t, a, b);
    return nn_add(t, nn_add(t, b, c), nn_gelu(t, a));
}

static NnVar *concat(NnTape *t, NnVar *const *x)
{
    return nn_concat(t, (NnVar *[]){x[0], x[1], x[2]}, 3);
}

static NnVar *l2_normalize(NnTape *t, NnVar *const *x)
{
    return nn_l2_normalize(t, x[0]);
}

static NnVar *dropout(NnTape *t, NnVar *const *x)
{
    VcRng rng;
    vc_rng_seed(&rng, 5);
    return nn_dropout(t, nn_dropout(t, x[0], 0.3, &rng), 0.1, &rng);
}

static NnVar *scale(NnTape *t, NnVar *const *x)
{
    return nn_scale(t, x[0], -1.75);
}

static NnVar *scale_by(NnTape *t, NnVar *const *x)
{
    return nn_scale_by(t, x[0], x[1], NN_SCALE_BY);
}

static NnVar *scale_exp(NnTape *t, NnVar *const *x)
{
    return nn_scale_by(t, x[0], x[1], NN_SCALE_EXP);
}

static NnVar *scale_inverse(NnTape *t, NnVar *const *x)
{
    return nn_scale_by(t, x[0], x[1], NN_SCALE_INVERSE);
}

static NnVar *cross_entropy(NnTape *t, NnVar *const *x)
{
    return nn_cross_entropy(t, x[0], labels(t, x[0]->shape.dim[0], x[0]->shape.dim[1]));
}

static NnVar *soft_cross_entropy(NnTape *t, NnVar *const *x)
{
    return nn_soft_cross_entropy(t, x[0], wave(t, x[0]->size, 0, 1), NULL);
}

static NnVar *soft_cross_entropy_some(NnTape *t, NnVar *const *x)
{
    return nn_soft_cross_entropy(t, x[0], wave(t, x[0]->size, 0, 1), labels(t, x[0]->shape.dim[0], x[0]->shape.dim[1]));
}

static NnVar *mse(NnTape *t, NnVar *const *x)
{
    return nn_mse(t, x[0], wave(t, x[0]->size, -1, 1), NULL);
}

static NnVar *mse_weighted(NnTape *t, NnVar *const *x)
{
    return nn_mse(t, x[0], wave(t, x[0]->size, -1, 1), wave(t, x[0]->size, 0, 1));
}

static NnVar *sum(NnTape *t, NnVar *const *x)
{
    return nn_sum(t, x[0]);
}

static NnVar *mean(NnTape *t, NnVar *const *x)
{
    return nn_mean(t, x[0]);
}

static NnVar *weighted_sum(NnTape *t, NnVar *const *x)
{
    return nn_weighted_sum(t, (NnVar *[]){nn_mean(t, x[0]), nn_sum(t, x[1]), nn_mean(t, x[0])},
                           (const double[]){0.5, -2, 3}, 3);
}

// [B,T,C] seen as rows of heads and back.
static NnVar *reshape(NnTape *t, NnVar *const *x)
{
    NnVar *y = nn_reshape(t, nn_scale(t, x[0], 3), NN_SHAPE(x[0]->size));
    return nn_add(t, nn_gelu(t, y), y);
}

// What is not on the way to the loss, and what is detached, must not disturb.
static NnVar *detach(NnTape *t, NnVar *const *x)
{
    NnVar *y = nn_gelu(t, x[0]);
    nn_scale(t, nn_softmax(t, y), 7); // leads nowhere
    return nn_add(t, nn_scale(t, y, 2), nn_input(t, wave(t, y->size, -1, 1), y->shape));
}

// Two passes of one pre-norm block with the same weights, a class token, residual joins and a tied output matrix.
static NnVar *composite(NnTape *t, NnVar *const *p)
{
    NnVar *x = nn_concat(t, (NnVar *[]){p[1], p[0]}, 2);
    for (int pass = 0; pass < 2; pass++) {
        NnVar *h = nn_layer_norm(t, x, p[4], p[5], 1e-5);
        x = nn_add(t, x, nn_attention_qkv(t, nn_linear(t, h, p[2], NULL), 2, NULL, pass == 1));
        h = nn_layer_norm(t, x, p[4], p[5], 1e-5);
        x = nn_add(t, x, nn_quick_gelu(t, nn_linear(t, h, p[3], p[5])));
    }
    NnVar *feature = nn_l2_normalize(t, nn_token(t, x, 0));
    NnVar *logits = nn_scale(t, nn_matmul_nt(t, feature, p[3]), 4);
    return nn_cross_entropy(t, logits, ids(t, logits->shape.dim[0], logits->shape.dim[1]));
}

#define SHAPE1(a) \
    {             \
        1,        \
        {         \
            a     \
        }         \
    }
#define SHAPE2(a, b) \
    {                \
        2,           \
        {            \
            a, b     \
        }            \
    }
#define SHAPE3(a, b, c) \
    {                   \
        3,              \
        {               \
            a, b, c     \
        }               \
    }
#define SHAPE4(a, b, c, d) \
    {                      \
        4,                 \
        {                  \
            a, b, c, d     \
        }                  \
    }
#define FD(s, b)     .step = (s), .bound = (b)
#define VALUES(s, o) .scale = (s), .offset = (o)
#define ONE(s, l)    .leaves = 1, .small = {s}, .large = {l}

const OpCase op_cases[] = {
    {"linear",
     linear,
     3,
     {SHAPE3(2, 3, 5), SHAPE2(4, 5), SHAPE1(4)},
     {SHAPE3(13, 57, 67), SHAPE2(131, 67), SHAPE1(131)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 0)},
    {"linear_many_rows",
     linear,
     3,
     {SHAPE2(150, 3), SHAPE2(2, 3), SHAPE1(2)},
     {SHAPE2(1001, 17), SHAPE2(4200, 17), SHAPE1(4200)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 0)},
    {"linear_no_bias",
     linear_no_bias,
     2,
     {SHAPE2(3, 5), SHAPE2(4, 5)},
     {SHAPE2(700, 65), SHAPE2(33, 65)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 0)},
    {"matmul_nt",
     matmul_nt,
     2,
     {SHAPE2(3, 5), SHAPE2(4, 5)},
     {SHAPE2(65, 129), SHAPE2(63, 129)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 0)},
    {"matmul_self", matmul_self, ONE(SHAPE2(4, 3), SHAPE2(65, 129)), FD(1e-3, 1e-9), 5e-6, VALUES(1, 0)},
    {"transpose", transpose, ONE(SHAPE2(3, 4), SHAPE2(301, 203)), FD(1e-3, 1e-9), 0, VALUES(1, 0)},
    {"layer_norm",
     layer_norm,
     3,
     {SHAPE3(2, 3, 7), SHAPE1(7), SHAPE1(7)},
     {SHAPE3(5, 50, 129), SHAPE1(129), SHAPE1(129)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0.5)},
    {"layer_norm_many_rows",
     layer_norm,
     3,
     {SHAPE2(150, 5), SHAPE1(5), SHAPE1(5)},
     {SHAPE2(1003, 37), SHAPE1(37), SHAPE1(37)},
     FD(1e-5, 1e-7),
     5e-6,
     VALUES(1, 0.5)},
    {"gelu", gelu, ONE(SHAPE1(60), SHAPE1(50001)), FD(1e-5, 1e-8), 2e-6, VALUES(2, 0)},
    {"quick_gelu", quick_gelu, ONE(SHAPE1(60), SHAPE1(50001)), FD(1e-5, 1e-8), 2e-6, VALUES(2, 0)},
    {"norm_linear",
     norm_linear,
     5,
     {SHAPE3(2, 3, 7), SHAPE1(7), SHAPE1(7), SHAPE2(5, 7), SHAPE1(5)},
     {SHAPE3(7, 80, 65), SHAPE1(65), SHAPE1(65), SHAPE2(33, 65), SHAPE1(33)},
     FD(1e-5, 1e-7),
     1e-5,
     VALUES(1, 0.5)},
    {"mlp",
     mlp,
     5,
     {SHAPE3(2, 3, 4), SHAPE2(6, 4), SHAPE1(6), SHAPE2(5, 6), SHAPE1(5)},
     {SHAPE3(7, 70, 33), SHAPE2(65, 33), SHAPE1(65), SHAPE2(40, 65), SHAPE1(40)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"norm_mlp",
     norm_mlp,
     5,
     {SHAPE3(2, 3, 7), SHAPE2(7, 7), SHAPE1(7), SHAPE1(7), SHAPE1(7)},
     {SHAPE3(7, 80, 33), SHAPE2(33, 33), SHAPE1(33), SHAPE1(33), SHAPE1(33)},
     FD(1e-5, 1e-7),
     2e-5,
     VALUES(0.5, 0.5)},
    {"mlp_quick",
     mlp_quick,
     5,
     {SHAPE2(5, 4), SHAPE2(6, 4), SHAPE1(6), SHAPE2(4, 6), SHAPE1(4)},
     {SHAPE2(501, 33), SHAPE2(65, 33), SHAPE1(65), SHAPE2(33, 65), SHAPE1(33)},
     FD(1e-5, 1e-6),
     2e-5,
     VALUES(0.5, 0)},
    {"residual",
     residual,
     2,
     {SHAPE2(5, 4), SHAPE2(4, 4)},
     {SHAPE2(501, 65), SHAPE2(65, 65)},
     FD(1e-5, 1e-8),
     2e-5,
     VALUES(0.3, 0)},
    {"softmax", softmax, ONE(SHAPE2(5, 7), SHAPE2(501, 77)), FD(1e-5, 1e-8), 2e-6, VALUES(2, 0)},
    {"attention",
     attention,
     3,
     {SHAPE3(2, 3, 4), SHAPE3(2, 5, 4), SHAPE3(2, 5, 4)},
     {SHAPE3(5, 33, 34), SHAPE3(5, 47, 34), SHAPE3(5, 47, 34)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"attention_masked",
     attention_masked,
     3,
     {SHAPE3(2, 3, 6), SHAPE3(2, 5, 6), SHAPE3(2, 5, 6)},
     {SHAPE3(6, 65, 96), SHAPE3(6, 50, 96), SHAPE3(6, 50, 96)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"attention_causal",
     attention_causal,
     3,
     {SHAPE3(2, 3, 4), SHAPE3(2, 5, 4), SHAPE3(2, 5, 4)},
     {SHAPE3(3, 33, 16), SHAPE3(3, 47, 16), SHAPE3(3, 47, 16)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"attention_shared",
     attention_shared,
     2,
     {SHAPE3(2, 3, 4), SHAPE3(2, 5, 4)},
     {SHAPE3(3, 33, 16), SHAPE3(3, 47, 16)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"attention_packed", attention_packed, ONE(SHAPE3(2, 4, 12), SHAPE3(9, 50, 192)), FD(1e-5, 1e-8), 5e-6,
     VALUES(1, 0)},
    {"attention_source",
     attention_source,
     2,
     {SHAPE3(5, 3, 4), SHAPE3(4, 6, 8)},
     {SHAPE3(11, 33, 96), SHAPE3(6, 50, 192)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"attention_dropout", attention_dropout, ONE(SHAPE3(2, 4, 12), SHAPE3(9, 50, 192)), FD(1e-5, 1e-8), 5e-6,
     VALUES(1, 0)},
    {"attention_long",
     attention_long,
     2,
     {SHAPE3(1, 35, 1), SHAPE3(1, 530, 2)},
     {SHAPE3(2, 49, 66), SHAPE3(2, 1100, 132)},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(1, 0)},
    {"embedding", embedding, ONE(SHAPE2(6, 5), SHAPE2(501, 130)), FD(1e-3, 1e-9), 1e-6, VALUES(1, 0)},
    {"gather", gather, ONE(SHAPE3(2, 3, 5), SHAPE3(20, 30, 130)), FD(1e-3, 1e-9), 1e-6, VALUES(1, 0)},
    {"token", token, ONE(SHAPE3(3, 4, 5), SHAPE3(64, 17, 130)), FD(1e-3, 1e-9), 0, VALUES(1, 0)},
    {"token_at", token_at, ONE(SHAPE3(3, 4, 5), SHAPE3(64, 17, 130)), FD(1e-3, 1e-9), 0, VALUES(1, 0)},
    {"patch_embed",
     patch_embed,
     3,
     {SHAPE4(2, 3, 6, 6), SHAPE4(4, 3, 3, 3), SHAPE1(4)},
     {SHAPE4(7, 3, 40, 40), SHAPE4(65, 3, 8, 8), SHAPE1(65)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 0)},
    {"add",
     add,
     2,
     {SHAPE2(3, 5), SHAPE2(3, 5)},
     {SHAPE2(301, 129), SHAPE2(301, 129)},
     FD(1e-3, 1e-9),
     1e-6,
     VALUES(1, 0)},
    {"add_rows",
     add,
     2,
     {SHAPE3(4, 3, 5), SHAPE3(1, 3, 5)},
     {SHAPE3(33, 65, 129), SHAPE2(65, 129)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 0)},
    {"add_twice", add_twice, ONE(SHAPE2(3, 5), SHAPE2(301, 129)), FD(1e-3, 1e-9), 1e-6, VALUES(1, 0)},
    {"add_diamond", add_diamond, ONE(SHAPE2(3, 5), SHAPE2(301, 129)), FD(1e-5, 1e-8), 2e-6, VALUES(1, 0)},
    {"concat",
     concat,
     3,
     {SHAPE3(1, 1, 5), SHAPE3(3, 4, 5), SHAPE3(3, 2, 5)},
     {SHAPE3(1, 3, 129), SHAPE3(33, 20, 129), SHAPE3(33, 7, 129)},
     FD(1e-3, 1e-9),
     2e-6,
     VALUES(1, 0)},
    {"l2_normalize", l2_normalize, ONE(SHAPE2(5, 7), SHAPE2(301, 129)), FD(1e-5, 1e-8), 2e-6, VALUES(1, 0)},
    {"dropout", dropout, ONE(SHAPE2(5, 20), SHAPE2(301, 129)), FD(1e-3, 1e-9), 1e-6, VALUES(1, 0)},
    {"scale", scale, ONE(SHAPE2(5, 7), SHAPE2(301, 129)), FD(1e-3, 1e-9), 1e-6, VALUES(1, 0)},
    {"scale_by", scale_by, 2, {SHAPE2(5, 7), {0}}, {SHAPE2(301, 129), SHAPE1(1)}, FD(1e-3, 1e-9), 5e-6, VALUES(1, 0)},
    {"scale_exp", scale_exp, 2, {SHAPE2(5, 7), {0}}, {SHAPE2(301, 129), {0}}, FD(1e-5, 1e-8), 5e-6, VALUES(1, 0)},
    {"scale_inverse",
     scale_inverse,
     2,
     {SHAPE2(5, 7), {0}},
     {SHAPE2(301, 129), {0}},
     FD(1e-5, 1e-8),
     5e-6,
     VALUES(0.2, 2)},
    {"cross_entropy", cross_entropy, ONE(SHAPE2(7, 5), SHAPE2(301, 1003)), FD(1e-5, 1e-8), 5e-6, VALUES(2, 0)},
    {"soft_cross_entropy", soft_cross_entropy, ONE(SHAPE2(7, 5), SHAPE2(301, 1003)), FD(1e-5, 1e-8), 5e-6,
     VALUES(2, 0)},
    {"soft_cross_entropy_some", soft_cross_entropy_some, ONE(SHAPE2(7, 5), SHAPE2(301, 1003)), FD(1e-5, 1e-8), 5e-6,
     VALUES(2, 0)},
    {"mse", mse, ONE(SHAPE2(7, 5), SHAPE2(301, 103)), FD(1e-4, 1e-8), 5e-6, VALUES(1, 0)},
    {"mse_weighted", mse_weighted, ONE(SHAPE2(7, 5), SHAPE2(301, 103)), FD(1e-4, 1e-8), 5e-6, VALUES(1, 0)},
    {"sum", sum, ONE(SHAPE2(7, 5), SHAPE2(301, 103)), FD(1e-3, 1e-9), 5e-6, VALUES(1, 1)},
    {"mean", mean, ONE(SHAPE2(7, 5), SHAPE2(301, 103)), FD(1e-3, 1e-9), 5e-6, VALUES(1, 1)},
    {"weighted_sum",
     weighted_sum,
     2,
     {SHAPE2(7, 5), SHAPE1(3)},
     {SHAPE2(301, 103), SHAPE1(40000)},
     FD(1e-3, 1e-9),
     5e-6,
     VALUES(1, 1)},
    {"reshape", reshape, ONE(SHAPE3(2, 3, 4), SHAPE3(20, 30, 41)), FD(1e-5, 1e-8), 2e-6, VALUES(1, 0)},
    {"detach", detach, ONE(SHAPE3(2, 3, 4), SHAPE3(20, 30, 41)), FD(1e-5, 1e-8), 2e-6, VALUES(1, 0)},
    {"composite",
     composite,
     6,
     {SHAPE3(3, 3, 8), SHAPE3(1, 1, 8), SHAPE2(24, 8), SHAPE2(8, 8), SHAPE1(8), SHAPE1(8)},
     {SHAPE3(17, 36, 64), SHAPE3(1, 1, 64), SHAPE2(192, 64), SHAPE2(64, 64), SHAPE1(64), SHAPE1(64)},
     FD(1e-5, 1e-7),
     1e-4,
     VALUES(0.3, 0)},
};
const size_t op_case_count = sizeof op_cases / sizeof op_cases[0];

static nn_real *draw(VcRng *rng, size_t n, double scale_of, double offset)
{
    nn_real *x = vc_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (nn_real)(float)(offset + scale_of * vc_rng_normal(rng)); // the same numbers in both precisions
    return x;
}

static double *as_double(const nn_real *x, size_t n)
{
    double *out = vc_alloc(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = (double)x[i];
    return out;
}

void op_case_run(OpRun *run, const OpCase *c, bool large, VcPool *pool, uint64_t seed)
{
    NnContext ctx;
    nn_context_init(&ctx, pool);
    NnTape *t = nn_tape_create(&ctx);
    VcRng rng;
    vc_rng_seed(&rng, seed);
    nn_real *value[OP_MAX_LEAVES], *grad[OP_MAX_LEAVES];
    NnVar *leaf[OP_MAX_LEAVES];
    for (size_t i = 0; i < c->leaves; i++) {
        const NnShape shape = large ? c->large[i] : c->small[i];
        size_t size = 0;
        nn_shape_count(&shape, &size);
        value[i] = draw(&rng, size, c->scale, c->offset);
        grad[i] = vc_calloc(size, sizeof *grad[i]);
        leaf[i] = nn_leaf(t, value[i], grad[i], shape);
    }
    NnVar *y = c->build(t, leaf);
    nn_real *dy = draw(&rng, y->size, 1, 0);
    *run = (OpRun){.count = 1 + c->leaves, .size[0] = y->size, .values[0] = as_double(y->value, y->size)};
    nn_backward_from(t, y, dy);
    for (size_t i = 0; i < c->leaves; i++) {
        run->size[1 + i] = leaf[i]->size;
        run->values[1 + i] = as_double(grad[i], leaf[i]->size);
        free(value[i]);
        free(grad[i]);
    }
    free(dy);
    nn_tape_destroy(&t);
    nn_context_finish(&ctx);
}

void op_run_finish(OpRun *run)
{
    for (size_t i = 0; i < run->count; i++)
        free(run->values[i]);
    *run = (OpRun){0};
}
