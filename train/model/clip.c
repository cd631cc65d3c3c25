// SPDX-License-Identifier: MIT
// CLIP (Radford et al., 2021) with Hugging Face's parameter names: what is trained here is loaded by `--clip`.
#include "base/mem.h"
#include "train/loss/itc.h"
#include "train/model/block.h"
#include "train/model/vision_init.h"

#include <math.h>

typedef struct {
    TrainLayerShape shape;
    TrainLayer *layers;
    size_t count;
} Tower;

typedef struct {
    Tower vision, text;
    size_t class_embedding, patch_w, vision_positions, pre_w, pre_b, post_w, post_b;
    size_t words, text_positions, final_w, final_b;
    size_t vision_projection, text_projection, logit_scale;
} Clip;

static void add_tower(TrainModel *model, Tower *tower, const TrainTower *size, const char *prefix)
{
    size_t c = (size_t)size->width, f = (size_t)size->mlp;
    tower->shape = (TrainLayerShape){c, (size_t)size->heads, f, 1e-5, model->recipe->activation == TRAIN_QUICK_GELU};
    tower->count = (size_t)size->layers;
    tower->layers = vc_arena_zalloc(model->arena, tower->count, sizeof *tower->layers);
    for (size_t i = 0; i < tower->count; i++) {
        TrainLayer *l = &tower->layers[i];
        VcStr at = {0};
        vc_str_putf(&at, "%s.encoder.layers.%zu", prefix, i);
        l->q_w = train_add(&model->params, at.data, "self_attn.q_proj.weight", NN_SHAPE(c, c));
        l->k_w = train_add(&model->params, at.data, "self_attn.k_proj.weight", NN_SHAPE(c, c));
        l->v_w = train_add(&model->params, at.data, "self_attn.v_proj.weight", NN_SHAPE(c, c));
        l->q_b = train_add(&model->params, at.data, "self_attn.q_proj.bias", NN_SHAPE(c));
        l->k_b = train_add(&model->params, at.data, "self_attn.k_proj.bias", NN_SHAPE(c));
        l->v_b = train_add(&model->params, at.data, "self_attn.v_proj.bias", NN_SHAPE(c));
        train_add_linear(&model->params, at.data, "self_attn.out_proj", c, c, &l->out_w, &l->out_b);
        train_add_norm(&model->params, at.data, "layer_norm1", c, &l->ln1_w, &l->ln1_b);
        train_add_norm(&model->params, at.data, "layer_norm2", c, &l->ln2_w, &l->ln2_b);
        train_add_linear(&model->params, at.data, "mlp.fc1", c, f, &l->fc1_w, &l->fc1_b);
        train_add_linear(&model->params, at.data, "mlp.fc2", f, c, &l->fc2_w, &l->fc2_b);
        vc_str_finish(&at);
    }
}

static size_t patch_count(const TrainRecipe *r)
{
    size_t side = (size_t)(r->image_size / r->patch);
    return side * side;
}

static void clip_build(TrainModel *model)
{
    const TrainRecipe *r = model->recipe;
    Clip *clip = vc_arena_zalloc(model->arena, 1, sizeof *clip);
    model->parts = clip;
    size_t cv = (size_t)r->vision.width, ct = (size_t)r->text.width, e = (size_t)r->proj, p = (size_t)r->patch;

    clip->class_embedding = train_add(&model->params, "vision_model.embeddings", "class_embedding", NN_SHAPE(cv));
    clip->patch_w =
        train_add(&model->params, "vision_model.embeddings", "patch_embedding.weight", NN_SHAPE(cv, 3, p, p));
    clip->vision_positions = train_add(&model->params, "vision_model.embeddings", "position_embedding.weight",
                                       NN_SHAPE(1 + patch_count(r), cv));
    train_add_norm(&model->params, "vision_model", "pre_layrnorm", cv, &clip->pre_w, &clip->pre_b); // their spelling
    add_tower(model, &clip->vision, &r->vision, "vision_model");
    train_add_norm(&model->params, "vision_model", "post_layernorm", cv, &clip->post_w, &clip->post_b);

    clip->words =
        train_add(&model->params, "text_model.embeddings", "token_embedding.weight", NN_SHAPE(model->vocabulary, ct));
    clip->text_positions = train_add(&model->params, "text_model.embeddings", "position_embedding.weight",
                                     NN_SHAPE((size_t)r->context, ct));
    add_tower(model, &clip->text, &r->text, "text_model");
    train_add_norm(&model->params, "text_model", "final_layer_norm", ct, &clip->final_w, &clip->final_b);

    clip->vision_projection = train_add(&model->params, "", "visual_projection.weight", NN_SHAPE(e, cv));
    clip->text_projection = train_add(&model->params, "", "text_projection.weight", NN_SHAPE(e, ct));
    // The scale is no weight to shrink: without decay, as in OpenAI's and open_clip's groups.
    clip->logit_scale = nn_params_add(&model->params, "logit_scale", NN_SCALAR, 0);
}

// OpenAI's initial values: attention by width, outputs of a block also by depth.
static void init_tower(TrainModel *model, const Tower *tower, uint64_t seed)
{
    double c = (double)tower->shape.width, attention = 1 / sqrt(c), hidden = 1 / sqrt(2 * c);
    double output = attention / sqrt(2 * (double)tower->count);
    for (size_t i = 0; i < tower->count; i++) {
        const TrainLayer *l = &tower->layers[i];
        train_init_normal(model, l->q_w, attention, seed);
        train_init_normal(model, l->k_w, attention, seed);
        train_init_normal(model, l->v_w, attention, seed);
        train_init_normal(model, l->out_w, output, seed);
        train_init_normal(model, l->fc1_w, hidden, seed);
        train_init_normal(model, l->fc2_w, output, seed);
        train_init_constant(model, l->ln1_w, 1);
        train_init_constant(model, l->ln2_w, 1);
    }
}

static void clip_init(TrainModel *model, uint64_t seed)
{
    const Clip *clip = model->parts;
    double vision = 1 / sqrt((double)clip->vision.shape.width), text = 1 / sqrt((double)clip->text.shape.width);
    size_t fan_in = 3 * (size_t)(model->recipe->patch * model->recipe->patch);
    train_init_normal(model, clip->class_embedding, vision, seed);
    if (model->recipe->init == TRAIN_INIT_STRUCTURED) {
        train_init_dct_patches(model, clip->patch_w);
        train_init_grid_positions(model, clip->vision_positions, 0.5);
    } else {
        train_init_normal(model, clip->patch_w, 1 / sqrt((double)fan_in), seed);
        train_init_normal(model, clip->vision_positions, vision, seed);
    }
    train_init_normal(model, clip->words, 0.02, seed);
    train_init_normal(model, clip->text_positions, 0.01, seed);
    train_init_normal(model, clip->vision_projection, vision, seed);
    train_init_normal(model, clip->text_projection, text, seed);
    train_init_constant(model, clip->pre_w, 1);
    train_init_constant(model, clip->post_w, 1);
    train_init_constant(model, clip->final_w, 1);
    train_init_constant(model, clip->logit_scale, -log(model->recipe->init_temperature));
    init_tower(model, &clip->vision, seed);
    init_tower(model, &clip->text, seed);
    for (size_t i = 0; model->recipe->init == TRAIN_INIT_STRUCTURED && i < clip->vision.count; i++)
        train_init_mimetic_attention(model, &clip->vision.layers[i], clip->vision.shape.width);
}

// The paper clips the scale at 100 so that training stays stable; 0 keeps it from turning the loss around.
static void clip_clamp(TrainModel *model)
{
    const Clip *clip = model->parts;
    nn_real *scale = model->params.value + model->params.items[clip->logit_scale].offset;
    nn_real most = (nn_real)log(100);
    *scale = *scale > most ? most : *scale < 0 ? 0 : *scale;
}

static NnVar *clip_images(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const Clip *clip = model->parts;
    const TrainRecipe *r = model->recipe;
    const TrainPass p = {.tape = t, .params = &model->params};
    size_t s = (size_t)r->image_size, c = clip->vision.shape.width;
    NnVar *x = nn_input(t, b->images, NN_SHAPE(b->count, 3, s, s));
    x = nn_patch_embed(t, x, train_var(&p, clip->patch_w), NULL, (size_t)r->patch);
    NnVar *head = nn_reshape(t, train_var(&p, clip->class_embedding), NN_SHAPE(1, 1, c));
    x = nn_concat(t, (NnVar *[]){head, x}, 2);
    x = nn_add(t, x, train_var(&p, clip->vision_positions));
    x = train_norm(&p, x, clip->pre_w, clip->pre_b, 1e-5);
    TrainChain chain = train_chain_begin(&p, x);
    size_t last = clip->vision.count - 1;
    for (size_t i = 0; i < last; i++) {
        train_chain_next(&p, &chain,
                         train_pre_block(&p, &clip->vision.layers[i], &clip->vision.shape, chain.x, NULL, false));
    }
    int32_t *at = nn_tape_alloc_ids(t, b->count);
    memset(at, 0, b->count * sizeof *at);
    x = train_pre_block_pooled(&p, &clip->vision.layers[last], &clip->vision.shape, chain.x, NULL, at);
    x = train_norm(&p, x, clip->post_w, clip->post_b, 1e-5);
    return nn_l2_normalize(t, nn_linear(t, x, train_var(&p, clip->vision_projection), NULL));
}

// Padding stands behind the end token, and attention is causal: it changes nothing, so the batch is as long as its
// longest caption.
static NnVar *clip_texts(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const Clip *clip = model->parts;
    const TrainPass p = {.tape = t, .params = &model->params};
    NnVar *x = nn_embedding(t, train_var(&p, clip->words), b->ids, b->count, b->tokens, -1);
    x = nn_add(t, x, train_rows(&p, clip->text_positions, b->tokens));
    TrainChain chain = train_chain_begin(&p, x);
    size_t last = clip->text.count - 1;
    for (size_t i = 0; i < last; i++) {
        train_chain_next(&p, &chain,
                         train_pre_block(&p, &clip->text.layers[i], &clip->text.shape, chain.x, NULL, true));
    }
    x = train_pre_block_pooled(&p, &clip->text.layers[last], &clip->text.shape, chain.x, b->mask, b->last);
    x = train_norm(&p, x, clip->final_w, clip->final_b, 1e-5);
    return nn_l2_normalize(t, nn_linear(t, x, train_var(&p, clip->text_projection), NULL));
}

static NnVar *clip_logits(TrainModel *model, NnTape *t, NnVar *similarity)
{
    const Clip *clip = model->parts;
    return nn_scale_by(t, similarity, nn_param(t, &model->params, clip->logit_scale), NN_SCALE_EXP);
}

static void clip_loss(TrainModel *model, NnTape *t, const TrainBatch *b, const TrainStep *step, TrainLoss *out)
{
    (void)step;
    NnVar *images = clip_images(model, t, b), *texts = clip_texts(model, t, b);
    const size_t n = b->count, rank = train_parallel_rank(model->world), size = train_parallel_size(model->world);
    const bool share = model->recipe->duplicates == TRAIN_DUPLICATES_SHARE;
    const TrainPairs pairs = {rank * n, size * n, share ? train_model_groups(model, t, b) : NULL};
    NnVar *rows = clip_logits(model, t, nn_matmul_nt(t, images, train_parallel_gather_var(model->world, t, texts)));
    // With one process the same numbers turned round; with several, our texts against everybody's images.
    NnVar *columns =
        size == 1 ? nn_transpose(t, rows)
                  : clip_logits(model, t, nn_matmul_nt(t, texts, train_parallel_gather_var(model->world, t, images)));
    out->total = train_pair_losses(t, rows, columns, &pairs);
    out->parts[0] = (TrainLossPart){"itc", (double)out->total->value[0], 1};
    out->count = 1;
}

static size_t clip_parts(const TrainModel *model, TrainPart parts[TRAIN_MAX_PARTS])
{
    (void)model;
    static const TrainPart all[] = {{"image tower", "vision_model."},
                                    {"text tower", "text_model."},
                                    {"image projection", "visual_projection."},
                                    {"text projection", "text_projection."},
                                    {"logit scale", "logit_scale"}};
    memcpy(parts, all, sizeof all);
    return sizeof all / sizeof *all;
}

static size_t clip_costs(const TrainModel *model, TrainCost costs[TRAIN_MAX_PARTS])
{
    const Clip *clip = model->parts;
    const TrainRecipe *r = model->recipe;
    double patches = (double)patch_count(r), cv = (double)r->vision.width, ct = (double)r->text.width;
    double tokens = (double)r->context, e = (double)r->proj;
    double image = patches * cv * 3 * (double)(r->patch * r->patch) +
                   (double)clip->vision.count * train_layer_macs(&clip->vision.shape, patches + 1);
    double text = (double)clip->text.count * train_layer_macs(&clip->text.shape, tokens);
    double loss = (cv + ct) * e + (double)r->batch * e;
    costs[0] = (TrainCost){"image tower",
                           image,
                           0,
                           image,
                           0,
                           patches * (3 * (double)(r->patch * r->patch) + 4 * cv) +
                               (double)clip->vision.count * train_layer_kept(&clip->vision.shape, patches + 1)};
    costs[1] = (TrainCost){
        "text tower", text, 0,
        text,         0,    (double)clip->text.count * train_layer_kept(&clip->text.shape, tokens) + 2 * tokens * ct};
    costs[2] = (TrainCost){"contrastive loss", loss, 0, loss, 0, 4 * e + 3 * (double)r->batch};
    return 3;
}

const TrainModelOps train_clip_ops = {
    .name = "clip",
    .build = clip_build,
    .init = clip_init,
    .clamp = clip_clamp,
    .loss = clip_loss,
    .images = clip_images,
    .texts = clip_texts,
    .logits = clip_logits,
    .parts = clip_parts,
    .costs = clip_costs,
};
