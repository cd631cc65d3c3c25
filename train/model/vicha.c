// SPDX-License-Identifier: MIT
#include "train/model/vicha.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

bool vicha_fuses(const TrainRecipe *recipe)
{
    return recipe->loss_itm > 0 || recipe->loss_mlm > 0;
}

size_t vicha_mim_keep(const TrainRecipe *r)
{
    const int64_t side = r->image_size / r->patch;
    return (size_t)((double)(side * side) * (1 - r->mim_ratio));
}

// ---- parameters

static void build_net(TrainModel *model, NnParams *params, VichaNet *net, const char *ending)
{
    const TrainRecipe *r = model->recipe;
    const size_t cv = (size_t)r->vision.width, ct = (size_t)r->text.width, e = (size_t)r->proj;
    char name[48];
    snprintf(name, sizeof name, "visual_encoder%s", ending);
    train_vit_build(model, params, &net->vit, name);
    snprintf(name, sizeof name, "vision_proj%s", ending);
    train_add_linear(params, "", name, cv, e, &net->vision_w, &net->vision_b);
    snprintf(name, sizeof name, "text_encoder%s.bert", ending);
    train_bert_build(model, params, &net->text, name, (size_t)r->text.layers, (size_t)r->fusion_layer, cv);
    if (r->loss_mlm > 0) {
        snprintf(name, sizeof name, "text_encoder%s.cls", ending);
        train_bert_build_head(params, &net->text, name);
    }
    snprintf(name, sizeof name, "text_proj%s", ending);
    train_add_linear(params, "", name, ct, e, &net->text_w, &net->text_b);
    if (!r->concepts)
        return;
    snprintf(name, sizeof name, "kw_encoder%s", ending);
    const size_t layers = (size_t)r->concept_layers;
    train_bert_build(model, params, &net->concepts, name, layers, layers, cv);
    snprintf(name, sizeof name, "kw_proj%s", ending);
    train_add_linear(params, "", name, ct, cv, &net->kw_w, &net->kw_b);
}

static void build_levels(TrainModel *model, Vicha *v)
{
    const TrainRecipe *r = model->recipe;
    v->levels = (size_t)r->hitc_levels;
    size_t *all = vc_arena_zalloc(model->arena, 4 * v->levels, sizeof *all);
    v->image_level_w = all;
    v->image_level_b = all + v->levels;
    v->text_level_w = all + 2 * v->levels;
    v->text_level_b = all + 3 * v->levels;
    const size_t e = (size_t)r->proj;
    char name[48];
    for (size_t i = 0; i < v->levels; i++) {
        snprintf(name, sizeof name, "vision_proj_hidden.%zu", i);
        train_add_linear(&model->params, "", name, (size_t)r->vision.width, e, &v->image_level_w[i],
                         &v->image_level_b[i]);
    }
    for (size_t i = 0; i < v->levels; i++) {
        snprintf(name, sizeof name, "text_proj_hidden.%zu", i);
        train_add_linear(&model->params, "", name, (size_t)r->text.width, e, &v->text_level_w[i], &v->text_level_b[i]);
    }
}

static void build_decoder(TrainModel *model, Vicha *v)
{
    const TrainRecipe *r = model->recipe;
    NnParams *p = &model->params;
    const size_t cv = (size_t)r->vision.width, d = (size_t)r->decoder.width, pixels = 3 * (size_t)(r->patch * r->patch);
    v->decoder_shape = (TrainLayerShape){d, (size_t)r->decoder.heads, (size_t)r->decoder.mlp, 1e-6, false};
    v->decoder_count = (size_t)r->decoder.layers;
    v->decoder = vc_arena_zalloc(model->arena, v->decoder_count, sizeof *v->decoder);
    train_add_linear(p, "", "mae_proj", d, pixels, &v->pixels_w, &v->pixels_b);
    v->mask_token = train_add(p, "", "mask_token", NN_SHAPE(1, 1, d));
    train_add_linear(p, "", "decoder_embed", cv, d, &v->embed_w, &v->embed_b);
    for (size_t i = 0; i < v->decoder_count; i++)
        train_vit_build_block(p, &v->decoder[i], &v->decoder_shape, "decoder_blocks", i);
    train_add_norm(p, "", "decoder_norm", d, &v->decoder_norm_w, &v->decoder_norm_b);
    v->decoder_positions =
        nn_params_add(p, "decoder_pos_embed", NN_SHAPE(1, 1 + train_vit_patches(&v->student.vit), d), NN_PARAM_FROZEN);
}

static void vicha_build(TrainModel *model)
{
    const TrainRecipe *r = model->recipe;
    NnParams *p = &model->params;
    Vicha *v = vc_arena_zalloc(model->arena, 1, sizeof *v);
    model->parts = v;
    build_net(model, p, &v->student, "");
    v->twins = p->count;
    if (r->momentum)
        build_net(model, &model->momentum, &v->teacher, "_m");
    if (r->loss_itm > 0)
        train_add_linear(p, "", "itm_head", (size_t)r->text.width, 2, &v->itm_w, &v->itm_b);
    if (r->loss_hitc > 0)
        build_levels(model, v);
    if (r->loss_mim > 0)
        build_decoder(model, v);
    v->temp = train_add(p, "", "temp", NN_SCALAR); // decays, as in the original
    for (size_t i = 0; i < model->momentum.count; i++) {
        VC_ASSERT(model->momentum.count == v->twins && model->momentum.items[i].offset == p->items[i].offset &&
                  model->momentum.items[i].size == p->items[i].size);
    }
}

static void init_linear(TrainModel *model, size_t w, size_t b, uint64_t seed)
{
    const double bound = 1 / sqrt((double)model->params.items[w].shape.dim[1]);
    train_init_uniform(model, w, bound, seed);
    train_init_uniform(model, b, bound, seed);
}

static void init_decoder(TrainModel *model, const Vicha *v, uint64_t seed)
{
    init_linear(model, v->embed_w, v->embed_b, seed);
    init_linear(model, v->pixels_w, v->pixels_b, seed);
    for (size_t i = 0; i < v->decoder_count; i++) {
        const TrainLayer *l = &v->decoder[i];
        init_linear(model, l->q_w, l->q_b, seed);
        init_linear(model, l->out_w, l->out_b, seed);
        init_linear(model, l->fc1_w, l->fc1_b, seed);
        init_linear(model, l->fc2_w, l->fc2_b, seed);
        train_init_constant(model, l->ln1_w, 1);
        train_init_constant(model, l->ln2_w, 1);
    }
    train_init_constant(model, v->decoder_norm_w, 1);
    const size_t grid = v->student.vit.side / v->student.vit.patch;
    nn_sincos_positions(model->params.value + model->params.items[v->decoder_positions].offset, grid,
                        v->decoder_shape.width);
}

static void vicha_init(TrainModel *model, uint64_t seed)
{
    const TrainRecipe *r = model->recipe;
    const Vicha *v = model->parts;
    const VichaNet *net = &v->student;
    train_vit_init(model, &net->vit, seed);
    train_bert_init(model, &net->text, seed);
    if (r->concepts) {
        train_bert_init(model, &net->concepts, seed);
        init_linear(model, net->kw_w, net->kw_b, seed);
    }
    init_linear(model, net->vision_w, net->vision_b, seed);
    init_linear(model, net->text_w, net->text_b, seed);
    if (r->loss_itm > 0)
        init_linear(model, v->itm_w, v->itm_b, seed);
    for (size_t i = 0; i < v->levels; i++) {
        init_linear(model, v->image_level_w[i], v->image_level_b[i], seed);
        init_linear(model, v->text_level_w[i], v->text_level_b[i], seed);
    }
    if (r->loss_mim > 0)
        init_decoder(model, v, seed);
    train_init_constant(model, v->temp, r->init_temperature);
}

static void vicha_clamp(TrainModel *model)
{
    const Vicha *v = model->parts;
    nn_real *temp = model->params.value + model->params.items[v->temp].offset;
    *temp = *temp < NN_R(0.001) ? NN_R(0.001) : *temp > NN_R(0.5) ? NN_R(0.5) : *temp;
}

// ---- towers

NnVar *vicha_concepts(const TrainPass *p, const VichaNet *net, const TrainBatch *b)
{
    if (net->concepts.shape.width == 0 || b->concept_tokens == 0)
        return NULL;
    const TrainText text = {b->concepts, b->concept_mask, b->count, b->concept_tokens};
    TrainPass quiet = *p;
    quiet.trace = NULL;
    return train_linear(p, train_bert_text(&quiet, &net->concepts, &text, NULL, false), net->kw_w, net->kw_b);
}

NnVar *vicha_image_tokens(const TrainPass *p, const VichaNet *net, NnVar *patches, NnVar *concepts)
{
    NnVar *class_token = train_vit_class_token(p, &net->vit, true);
    return nn_concat(p->tape, (NnVar *[]){class_token, patches, concepts}, concepts ? 3 : 2);
}

// By default padding among the concept tokens is seen with the rest, as in the original (T6).
const nn_real *vicha_image_mask(const TrainModel *model, NnTape *t, const TrainBatch *b)
{
    if (!model->recipe->hide_concept_padding || b->concept_tokens == 0)
        return NULL;
    const Vicha *v = model->parts;
    const size_t before = 1 + train_vit_patches(&v->student.vit), all = before + b->concept_tokens;
    nn_real *mask = nn_tape_alloc(t, b->count * all);
    for (size_t i = 0; i < b->count; i++) {
        memset(mask + i * all, 0, before * sizeof *mask);
        memcpy(mask + i * all + before, b->concept_mask + i * b->concept_tokens, b->concept_tokens * sizeof *mask);
    }
    return mask;
}

static NnVar *vicha_images(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const Vicha *v = model->parts;
    const TrainPass p = {.tape = t, .params = &model->params};
    NnVar *patches = train_vit_patch_tokens(&p, &v->student.vit, b->images, b->count);
    NnVar *x = vicha_image_tokens(&p, &v->student, patches, vicha_concepts(&p, &v->student, b));
    x = train_vit_pooled(&p, &v->student.vit, x, vicha_image_mask(model, t, b));
    return nn_l2_normalize(t, train_linear(&p, x, v->student.vision_w, v->student.vision_b));
}

static NnVar *vicha_texts(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const Vicha *v = model->parts;
    const TrainPass p = {.tape = t, .params = &model->params};
    const TrainText text = {b->ids, b->mask, b->count, b->tokens};
    NnVar *x = train_bert_text(&p, &v->student.text, &text, NULL, true);
    x = train_linear(&p, nn_token(t, x, 0), v->student.text_w, v->student.text_b);
    return nn_l2_normalize(t, x);
}

static NnVar *vicha_logits(TrainModel *model, NnTape *t, NnVar *similarity)
{
    const Vicha *v = model->parts;
    return nn_scale_by(t, similarity, nn_param(t, &model->params, v->temp), NN_SCALE_INVERSE);
}

const TrainModelOps train_vicha_ops = {
    .name = "vicha",
    .build = vicha_build,
    .init = vicha_init,
    .clamp = vicha_clamp,
    .loss = vicha_loss,
    .advance = vicha_advance,
    .images = vicha_images,
    .texts = vicha_texts,
    .logits = vicha_logits,
    .parts = vicha_parts,
    .costs = vicha_costs,
};
