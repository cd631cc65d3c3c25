// SPDX-License-Identifier: MIT
// The first slice of ViCHA's pretraining (arXiv 2208.13628): image tower with concept tokens, text encoder, projections
// and in-batch ITC with hard targets. Names are the original's. Momentum copies, queues, fusion layers, HITC, ITM, MLM
// and MIM belong to the whole objective and are not here; nothing stands in for them.
#include "base/mem.h"
#include "train/model/bert.h"
#include "train/model/vit.h"

#include <math.h>

typedef struct {
    TrainVit vit;
    TrainBert text, concepts;
    size_t kw_w, kw_b, vision_w, vision_b, text_w, text_b, temp;
} Vicha;

static void vicha_build(TrainModel *model)
{
    const TrainRecipe *r = model->recipe;
    size_t cv = (size_t)r->vision.width, ct = (size_t)r->text.width, e = (size_t)r->proj;
    Vicha *v = vc_arena_zalloc(model->arena, 1, sizeof *v);
    model->parts = v;
    train_vit_build(model, &v->vit, "visual_encoder");
    train_bert_build(model, &v->text, "text_encoder.bert", (size_t)r->text.layers);
    if (r->concepts) {
        train_bert_build(model, &v->concepts, "kw_encoder", (size_t)r->concept_layers);
        train_add_linear(model, "", "kw_proj", ct, cv, &v->kw_w, &v->kw_b);
    }
    train_add_linear(model, "", "vision_proj", cv, e, &v->vision_w, &v->vision_b);
    train_add_linear(model, "", "text_proj", ct, e, &v->text_w, &v->text_b);
    v->temp = train_add(model, "", "temp", NN_SCALAR); // decays, as in the original
}

static void init_default_linear(TrainModel *model, size_t w, size_t b, int64_t fan_in, uint64_t seed)
{
    train_init_uniform(model, w, 1 / sqrt((double)fan_in), seed);
    train_init_uniform(model, b, 1 / sqrt((double)fan_in), seed);
}

static void vicha_init(TrainModel *model, uint64_t seed)
{
    const TrainRecipe *r = model->recipe;
    const Vicha *v = model->parts;
    train_vit_init(model, &v->vit, seed);
    train_bert_init(model, &v->text, seed);
    if (r->concepts) {
        train_bert_init(model, &v->concepts, seed);
        init_default_linear(model, v->kw_w, v->kw_b, r->text.width, seed);
    }
    init_default_linear(model, v->vision_w, v->vision_b, r->vision.width, seed);
    init_default_linear(model, v->text_w, v->text_b, r->text.width, seed);
    train_init_constant(model, v->temp, r->init_temperature);
}

static void vicha_clamp(TrainModel *model)
{
    const Vicha *v = model->parts;
    nn_real *temp = model->params.value + model->params.items[v->temp].offset;
    *temp = *temp < NN_R(0.001) ? NN_R(0.001) : *temp > NN_R(0.5) ? NN_R(0.5) : *temp;
}

// Padding among the concept tokens is appended with the rest and seen by the ViT, as in the original (its T6).
static NnVar *vicha_images(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const Vicha *v = model->parts;
    NnVar *concepts = NULL;
    if (model->recipe->concepts && b->concept_tokens > 0) {
        concepts = train_bert_text(model, t, &v->concepts, b->concepts, b->concept_mask, b->count, b->concept_tokens);
        concepts = nn_linear(t, concepts, train_var(model, t, v->kw_w), train_var(model, t, v->kw_b));
    }
    NnVar *x = train_vit_class(model, t, &v->vit, b->images, b->count, concepts);
    return nn_l2_normalize(t, nn_linear(t, x, train_var(model, t, v->vision_w), train_var(model, t, v->vision_b)));
}

static NnVar *vicha_texts(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const Vicha *v = model->parts;
    NnVar *x = train_bert_text(model, t, &v->text, b->ids, b->mask, b->count, b->tokens);
    x = nn_linear(t, nn_token(t, x, 0), train_var(model, t, v->text_w), train_var(model, t, v->text_b));
    return nn_l2_normalize(t, x);
}

static NnVar *vicha_logits(TrainModel *model, NnTape *t, NnVar *similarity)
{
    const Vicha *v = model->parts;
    return nn_scale_by(t, similarity, train_var(model, t, v->temp), NN_SCALE_INVERSE);
}

static size_t vicha_costs(const TrainModel *model, TrainCost costs[TRAIN_MAX_PARTS])
{
    const TrainRecipe *r = model->recipe;
    const Vicha *v = model->parts;
    // 10 concept tokens on average: four concepts, with the start token (section 7.2 of the specification)
    double patches = (double)train_vit_patches(&v->vit), concepts = r->concepts ? 2.5 * (double)r->concept_draws : 0;
    double columns = 3 * (double)(r->patch * r->patch), tokens = (double)r->context;
    double cv = (double)r->vision.width, ct = (double)r->text.width, e = (double)r->proj;
    size_t n = 0;
    costs[n++] = (TrainCost){
        "image tower", "visual_encoder.",
        patches * cv * columns + (double)v->vit.count * train_layer_macs(&v->vit.shape, patches + 1 + concepts),
        patches * (columns + 4 * cv) + (double)v->vit.count * train_layer_kept(&v->vit.shape, patches + 1 + concepts)};
    costs[n++] =
        (TrainCost){"text encoder", "text_encoder.", (double)v->text.count * train_layer_macs(&v->text.shape, tokens),
                    (double)v->text.count * train_layer_kept(&v->text.shape, tokens) + 4 * tokens * ct};
    if (r->concepts) {
        costs[n++] = (TrainCost){"concept encoder", "kw_encoder.",
                                 (double)v->concepts.count * train_layer_macs(&v->concepts.shape, concepts),
                                 (double)v->concepts.count * train_layer_kept(&v->concepts.shape, concepts)};
        costs[n++] = (TrainCost){"concept projection", "kw_proj.", concepts * ct * cv, concepts * cv};
    }
    costs[n++] = (TrainCost){"image projection", "vision_proj.", cv * e, 2 * e};
    costs[n++] = (TrainCost){"text projection", "text_proj.", ct * e, 2 * e};
    costs[n++] = (TrainCost){"temperature", "temp", (double)r->batch * e, 3 * (double)r->batch};
    return n;
}

const TrainModelOps train_vicha_ops = {
    .name = "vicha-itc",
    .build = vicha_build,
    .init = vicha_init,
    .clamp = vicha_clamp,
    .images = vicha_images,
    .texts = vicha_texts,
    .logits = vicha_logits,
    .costs = vicha_costs,
};
