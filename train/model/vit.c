// SPDX-License-Identifier: MIT
#include "train/model/vit.h"

#include "base/mem.h"
#include "train/model/vision_init.h"

#include <math.h>
#include <string.h>

static const double vit_eps = 1e-6;

size_t train_vit_patches(const TrainVit *vit)
{
    return (vit->side / vit->patch) * (vit->side / vit->patch);
}

void train_vit_build_block(NnParams *params, TrainLayer *l, const TrainLayerShape *s, const char *prefix, size_t i)
{
    const size_t c = s->width, f = s->mlp;
    VcStr at = {0};
    vc_str_putf(&at, "%s.%zu", prefix, i);
    l->joined = true;
    train_add_norm(params, at.data, "norm1", c, &l->ln1_w, &l->ln1_b);
    train_add_linear(params, at.data, "attn.qkv", c, 3 * c, &l->q_w, &l->q_b);
    train_add_linear(params, at.data, "attn.proj", c, c, &l->out_w, &l->out_b);
    train_add_norm(params, at.data, "norm2", c, &l->ln2_w, &l->ln2_b);
    train_add_linear(params, at.data, "mlp.fc1", c, f, &l->fc1_w, &l->fc1_b);
    train_add_linear(params, at.data, "mlp.fc2", f, c, &l->fc2_w, &l->fc2_b);
    vc_str_finish(&at);
}

void train_vit_build(TrainModel *model, NnParams *params, TrainVit *vit, const char *prefix)
{
    const TrainRecipe *r = model->recipe;
    const size_t c = (size_t)r->vision.width;
    vit->shape = (TrainLayerShape){c, (size_t)r->vision.heads, (size_t)r->vision.mlp, vit_eps, false};
    vit->count = (size_t)r->vision.layers;
    vit->patch = (size_t)r->patch;
    vit->side = (size_t)r->image_size;
    vit->layers = vc_arena_zalloc(model->arena, vit->count, sizeof *vit->layers);
    vit->class_token = train_add(params, prefix, "cls_token", NN_SHAPE(1, 1, c));
    vit->positions = train_add(params, prefix, "pos_embed", NN_SHAPE(1, 1 + train_vit_patches(vit), c));
    vit->patch_w = train_add(params, prefix, "patch_embed.proj.weight", NN_SHAPE(c, 3, vit->patch, vit->patch));
    vit->patch_b = train_add(params, prefix, "patch_embed.proj.bias", NN_SHAPE(c));
    VcStr blocks = {0};
    vc_str_putf(&blocks, "%s.blocks", prefix);
    for (size_t i = 0; i < vit->count; i++)
        train_vit_build_block(params, &vit->layers[i], &vit->shape, blocks.data, i);
    vc_str_finish(&blocks);
    train_add_norm(params, prefix, "norm", c, &vit->norm_w, &vit->norm_b);
}

void train_vit_init_block(TrainModel *model, const TrainLayer *l, uint64_t seed)
{
    const size_t weights[] = {l->q_w, l->out_w, l->fc1_w, l->fc2_w};
    for (size_t w = 0; w < 4; w++)
        train_init_normal(model, weights[w], 0.02, seed);
    train_init_constant(model, l->ln1_w, 1);
    train_init_constant(model, l->ln2_w, 1);
}

// As clip.c's image tower: attention also starts larger than timm's 0.02, or Q^T K would be near zero, not near I.
static void init_structured(TrainModel *model, const TrainVit *vit, uint64_t seed)
{
    const double std = 1 / sqrt((double)vit->shape.width);
    train_init_dct_patches(model, vit->patch_w);
    train_init_constant(model, vit->patch_b, 0);
    train_init_grid_positions(model, vit->positions, 0.5);
    for (size_t i = 0; i < vit->count; i++) {
        train_init_normal(model, vit->layers[i].q_w, std, seed);
        train_init_normal(model, vit->layers[i].out_w, std, seed);
        train_init_mimetic_attention(model, &vit->layers[i], vit->shape.width);
    }
}

void train_vit_init(TrainModel *model, const TrainVit *vit, uint64_t seed)
{
    double fan_in = 3.0 * (double)(vit->patch * vit->patch);
    train_init_normal(model, vit->class_token, 0.02, seed);
    train_init_normal(model, vit->positions, 0.02, seed);
    train_init_uniform(model, vit->patch_w, 1 / sqrt(fan_in), seed);
    train_init_uniform(model, vit->patch_b, 1 / sqrt(fan_in), seed);
    for (size_t i = 0; i < vit->count; i++)
        train_vit_init_block(model, &vit->layers[i], seed);
    train_init_constant(model, vit->norm_w, 1);
    if (model->recipe->init == TRAIN_INIT_STRUCTURED)
        init_structured(model, vit, seed);
}

// Rows first .. first + count - 1 of the position table, [count,C].
static NnVar *positions(const TrainPass *p, const TrainVit *vit, size_t first, size_t count)
{
    const NnParamInfo *info = &p->params->items[vit->positions];
    const size_t c = vit->shape.width, at = info->offset + first * c;
    nn_real *grad = p->params->grad;
    return nn_leaf(p->tape, p->params->value + at, grad ? grad + at : NULL, NN_SHAPE(count, c));
}

NnVar *train_vit_patch_tokens(const TrainPass *p, const TrainVit *vit, const nn_real *images, size_t b)
{
    NnVar *x = nn_input(p->tape, images, NN_SHAPE(b, 3, vit->side, vit->side));
    x = nn_patch_embed(p->tape, x, train_var(p, vit->patch_w), train_var(p, vit->patch_b), vit->patch);
    return nn_add(p->tape, x, positions(p, vit, 1, train_vit_patches(vit)));
}

NnVar *train_vit_class_token(const TrainPass *p, const TrainVit *vit, bool with_position)
{
    NnVar *token = train_var(p, vit->class_token);
    return with_position ? nn_add(p->tape, token, positions(p, vit, 0, 1)) : token;
}

NnVar *train_vit_blocks(const TrainPass *p, const TrainVit *vit, NnVar *x, const nn_real *mask, const TrainTaps *taps)
{
    TrainChain chain = train_chain_begin(p, x);
    for (size_t i = 0; i < vit->count; i++) {
        train_chain_next(p, &chain, train_pre_block(p, &vit->layers[i], &vit->shape, chain.x, mask, false));
        train_note_at(p->trace, "image_block", i, chain.x);
        if (taps && i >= taps->first && i - taps->first < taps->count)
            taps->rows[i - taps->first] = nn_token(p->tape, chain.x, 0);
    }
    return train_norm(p, chain.x, vit->norm_w, vit->norm_b, vit_eps);
}

NnVar *train_vit_pooled(const TrainPass *p, const TrainVit *vit, NnVar *x, const nn_real *mask)
{
    const size_t b = x->shape.dim[0], last = vit->count - 1;
    TrainChain chain = train_chain_begin(p, x);
    for (size_t i = 0; i < last; i++)
        train_chain_next(p, &chain, train_pre_block(p, &vit->layers[i], &vit->shape, chain.x, mask, false));
    int32_t *at = nn_tape_alloc_ids(p->tape, b);
    memset(at, 0, b * sizeof *at);
    x = train_pre_block_pooled(p, &vit->layers[last], &vit->shape, chain.x, mask, at);
    return train_norm(p, x, vit->norm_w, vit->norm_b, vit_eps);
}
