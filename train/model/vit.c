// SPDX-License-Identifier: MIT
#include "train/model/vit.h"

#include "base/mem.h"

#include <math.h>

static const double vit_eps = 1e-6;

size_t train_vit_patches(const TrainVit *vit)
{
    return (vit->side / vit->patch) * (vit->side / vit->patch);
}

void train_vit_build(TrainModel *model, TrainVit *vit, const char *prefix)
{
    const TrainRecipe *r = model->recipe;
    size_t c = (size_t)r->vision.width, f = (size_t)r->vision.mlp;
    vit->shape = (TrainLayerShape){c, (size_t)r->vision.heads, f, vit_eps, false};
    vit->count = (size_t)r->vision.layers;
    vit->patch = (size_t)r->patch;
    vit->side = (size_t)r->image_size;
    vit->layers = vc_arena_zalloc(model->arena, vit->count, sizeof *vit->layers);
    vit->class_token = train_add(model, prefix, "cls_token", NN_SHAPE(1, 1, c));
    vit->positions = train_add(model, prefix, "pos_embed", NN_SHAPE(1, 1 + train_vit_patches(vit), c));
    vit->patch_w = train_add(model, prefix, "patch_embed.proj.weight", NN_SHAPE(c, 3, vit->patch, vit->patch));
    vit->patch_b = train_add(model, prefix, "patch_embed.proj.bias", NN_SHAPE(c));
    for (size_t i = 0; i < vit->count; i++) {
        TrainLayer *l = &vit->layers[i];
        VcStr at = {0};
        vc_str_putf(&at, "%s.blocks.%zu", prefix, i);
        l->joined = true;
        train_add_norm(model, at.data, "norm1", c, &l->ln1_w, &l->ln1_b);
        train_add_linear(model, at.data, "attn.qkv", c, 3 * c, &l->q_w, &l->q_b);
        train_add_linear(model, at.data, "attn.proj", c, c, &l->out_w, &l->out_b);
        train_add_norm(model, at.data, "norm2", c, &l->ln2_w, &l->ln2_b);
        train_add_linear(model, at.data, "mlp.fc1", c, f, &l->fc1_w, &l->fc1_b);
        train_add_linear(model, at.data, "mlp.fc2", f, c, &l->fc2_w, &l->fc2_b);
        vc_str_finish(&at);
    }
    train_add_norm(model, prefix, "norm", c, &vit->norm_w, &vit->norm_b);
}

void train_vit_init(TrainModel *model, const TrainVit *vit, uint64_t seed)
{
    double fan_in = 3.0 * (double)(vit->patch * vit->patch);
    train_init_normal(model, vit->class_token, 0.02, seed);
    train_init_normal(model, vit->positions, 0.02, seed);
    train_init_uniform(model, vit->patch_w, 1 / sqrt(fan_in), seed);
    train_init_uniform(model, vit->patch_b, 1 / sqrt(fan_in), seed);
    for (size_t i = 0; i < vit->count; i++) {
        const TrainLayer *l = &vit->layers[i];
        const size_t weights[] = {l->q_w, l->out_w, l->fc1_w, l->fc2_w};
        for (size_t w = 0; w < 4; w++)
            train_init_normal(model, weights[w], 0.02, seed);
        train_init_constant(model, l->ln1_w, 1);
        train_init_constant(model, l->ln2_w, 1);
    }
    train_init_constant(model, vit->norm_w, 1);
}

NnVar *train_vit_class(TrainModel *model, NnTape *t, const TrainVit *vit, const float *images, size_t b, NnVar *more)
{
    size_t c = vit->shape.width, n = 1 + train_vit_patches(vit);
    NnVar *x = nn_input(t, images, NN_SHAPE(b, 3, vit->side, vit->side));
    x = nn_patch_embed(t, x, train_var(model, t, vit->patch_w), train_var(model, t, vit->patch_b), vit->patch);
    x = nn_concat(t, (NnVar *[]){train_var(model, t, vit->class_token), x}, 2);
    x = nn_add(t, x, nn_reshape(t, train_var(model, t, vit->positions), NN_SHAPE(n, c)));
    if (more)
        x = nn_concat(t, (NnVar *[]){x, more}, 2);
    for (size_t i = 0; i + 1 < vit->count; i++)
        x = train_pre_block(model, t, &vit->layers[i], &vit->shape, x, NULL, false);
    int32_t *at = nn_tape_alloc_ids(t, b);
    memset(at, 0, b * sizeof *at);
    x = train_pre_block_pooled(model, t, &vit->layers[vit->count - 1], &vit->shape, x, NULL, at);
    return nn_layer_norm(t, x, train_var(model, t, vit->norm_w), train_var(model, t, vit->norm_b), vit_eps);
}
