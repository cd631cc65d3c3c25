// SPDX-License-Identifier: MIT
#include "train/model/bert.h"

#include "base/mem.h"

static const double bert_eps = 1e-12;

void train_bert_build(TrainModel *model, TrainBert *bert, const char *prefix, size_t layers)
{
    const TrainRecipe *r = model->recipe;
    size_t c = (size_t)r->text.width, f = (size_t)r->text.mlp;
    bert->shape = (TrainLayerShape){c, (size_t)r->text.heads, f, bert_eps, false};
    bert->count = layers;
    bert->layers = vc_arena_zalloc(model->arena, layers, sizeof *bert->layers);
    bert->words = train_add(model, prefix, "embeddings.word_embeddings.weight", NN_SHAPE(model->vocabulary, c));
    bert->positions =
        train_add(model, prefix, "embeddings.position_embeddings.weight", NN_SHAPE(TRAIN_BERT_POSITIONS, c));
    bert->types = train_add(model, prefix, "embeddings.token_type_embeddings.weight", NN_SHAPE(2, c));
    train_add_norm(model, prefix, "embeddings.LayerNorm", c, &bert->norm_w, &bert->norm_b);
    for (size_t i = 0; i < layers; i++) {
        TrainLayer *l = &bert->layers[i];
        VcStr at = {0};
        vc_str_putf(&at, "%s.encoder.layer.%zu", prefix, i);
        l->q_w = train_add(model, at.data, "attention.self.query.weight", NN_SHAPE(c, c));
        l->k_w = train_add(model, at.data, "attention.self.key.weight", NN_SHAPE(c, c));
        l->v_w = train_add(model, at.data, "attention.self.value.weight", NN_SHAPE(c, c));
        l->q_b = train_add(model, at.data, "attention.self.query.bias", NN_SHAPE(c));
        l->k_b = train_add(model, at.data, "attention.self.key.bias", NN_SHAPE(c));
        l->v_b = train_add(model, at.data, "attention.self.value.bias", NN_SHAPE(c));
        train_add_linear(model, at.data, "attention.output.dense", c, c, &l->out_w, &l->out_b);
        train_add_norm(model, at.data, "attention.output.LayerNorm", c, &l->ln1_w, &l->ln1_b);
        train_add_linear(model, at.data, "intermediate.dense", c, f, &l->fc1_w, &l->fc1_b);
        train_add_linear(model, at.data, "output.dense", f, c, &l->fc2_w, &l->fc2_b);
        train_add_norm(model, at.data, "output.LayerNorm", c, &l->ln2_w, &l->ln2_b);
        vc_str_finish(&at);
    }
}

void train_bert_init(TrainModel *model, const TrainBert *bert, uint64_t seed)
{
    train_init_normal(model, bert->words, 0.02, seed);
    train_init_normal(model, bert->positions, 0.02, seed);
    train_init_normal(model, bert->types, 0.02, seed);
    train_init_constant(model, bert->norm_w, 1);
    for (size_t i = 0; i < bert->count; i++) {
        const TrainLayer *l = &bert->layers[i];
        const size_t weights[] = {l->q_w, l->k_w, l->v_w, l->out_w, l->fc1_w, l->fc2_w};
        for (size_t w = 0; w < 6; w++)
            train_init_normal(model, weights[w], 0.02, seed);
        train_init_constant(model, l->ln1_w, 1);
        train_init_constant(model, l->ln2_w, 1);
    }
}

NnVar *train_bert_text(TrainModel *model, NnTape *t, const TrainBert *bert, const int32_t *ids, const float *mask,
                       size_t b, size_t tokens)
{
    NnVar *x = nn_embedding(t, train_var(model, t, bert->words), ids, b, tokens, TRAIN_BERT_PAD);
    x = nn_add(t, x, train_rows(model, t, bert->positions, tokens));
    x = nn_add(t, x, nn_reshape(t, train_rows(model, t, bert->types, 1), NN_SHAPE(bert->shape.width)));
    x = nn_layer_norm(t, x, train_var(model, t, bert->norm_w), train_var(model, t, bert->norm_b), bert_eps);
    for (size_t i = 0; i < bert->count; i++)
        x = train_post_layer(model, t, &bert->layers[i], &bert->shape, x, mask);
    return x;
}
