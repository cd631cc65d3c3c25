// SPDX-License-Identifier: MIT
#include "train/model/bert.h"

#include "base/mem.h"

static const double bert_eps = 1e-12;

// query, key, value weights one after the other, then their biases: block.c reads them as one matrix.
static void add_attention(NnParams *params, const char *at, const char *name, size_t c, size_t key_width,
                          size_t weights[3], size_t biases[3])
{
    static const char *const parts[] = {"query", "key", "value"};
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < 3; i++) {
            VcStr full = {0};
            vc_str_putf(&full, "%s.self.%s.%s", name, parts[i], pass ? "bias" : "weight");
            if (pass) {
                biases[i] = train_add(params, at, full.data, NN_SHAPE(c));
            } else {
                weights[i] = train_add(params, at, full.data, NN_SHAPE(c, i ? key_width : c));
            }
            vc_str_finish(&full);
        }
    }
}

static void build_layer(NnParams *params, TrainLayer *l, const TrainLayerShape *s, const char *prefix, size_t i,
                        size_t image_width)
{
    const size_t c = s->width;
    size_t w[3], b[3];
    VcStr at = {0};
    vc_str_putf(&at, "%s.encoder.layer.%zu", prefix, i);
    add_attention(params, at.data, "attention", c, c, w, b);
    l->q_w = w[0];
    l->k_w = w[1];
    l->v_w = w[2];
    l->q_b = b[0];
    l->k_b = b[1];
    l->v_b = b[2];
    train_add_linear(params, at.data, "attention.output.dense", c, c, &l->out_w, &l->out_b);
    train_add_norm(params, at.data, "attention.output.LayerNorm", c, &l->ln1_w, &l->ln1_b);
    if (l->cross) {
        add_attention(params, at.data, "crossattention", c, image_width, w, b);
        l->cq_w = w[0];
        l->ck_w = w[1];
        l->cv_w = w[2];
        l->cq_b = b[0];
        l->ck_b = b[1];
        l->cv_b = b[2];
        train_add_linear(params, at.data, "crossattention.output.dense", c, c, &l->co_w, &l->co_b);
        train_add_norm(params, at.data, "crossattention.output.LayerNorm", c, &l->cln_w, &l->cln_b);
    }
    train_add_linear(params, at.data, "intermediate.dense", c, s->mlp, &l->fc1_w, &l->fc1_b);
    train_add_linear(params, at.data, "output.dense", s->mlp, c, &l->fc2_w, &l->fc2_b);
    train_add_norm(params, at.data, "output.LayerNorm", c, &l->ln2_w, &l->ln2_b);
    vc_str_finish(&at);
}

void train_bert_build(TrainModel *model, NnParams *params, TrainBert *bert, const char *prefix, size_t layers,
                      size_t fusion, size_t image_width)
{
    const TrainRecipe *r = model->recipe;
    const size_t c = (size_t)r->text.width;
    *bert = (TrainBert){.count = layers, .fusion = fusion, .image_width = image_width};
    bert->shape = (TrainLayerShape){c, (size_t)r->text.heads, (size_t)r->text.mlp, bert_eps, false};
    bert->layers = vc_arena_zalloc(model->arena, layers, sizeof *bert->layers);
    bert->words = train_add(params, prefix, "embeddings.word_embeddings.weight", NN_SHAPE(model->vocabulary, c));
    bert->positions =
        train_add(params, prefix, "embeddings.position_embeddings.weight", NN_SHAPE((size_t)r->positions, c));
    bert->types = train_add(params, prefix, "embeddings.token_type_embeddings.weight", NN_SHAPE(2, c));
    train_add_norm(params, prefix, "embeddings.LayerNorm", c, &bert->norm_w, &bert->norm_b);
    for (size_t i = 0; i < layers; i++) {
        bert->layers[i].cross = i >= fusion;
        build_layer(params, &bert->layers[i], &bert->shape, prefix, i, image_width);
    }
}

void train_bert_build_head(NnParams *params, TrainBert *bert, const char *prefix)
{
    const size_t c = bert->shape.width, words = params->items[bert->words].shape.dim[0];
    bert->head = true;
    bert->head_bias = train_add(params, prefix, "predictions.bias", NN_SHAPE(words));
    train_add_linear(params, prefix, "predictions.transform.dense", c, c, &bert->head_w, &bert->head_b);
    train_add_norm(params, prefix, "predictions.transform.LayerNorm", c, &bert->head_norm_w, &bert->head_norm_b);
}

void train_bert_init(TrainModel *model, const TrainBert *bert, uint64_t seed)
{
    train_init_normal(model, bert->words, 0.02, seed);
    train_init_normal(model, bert->positions, 0.02, seed);
    train_init_normal(model, bert->types, 0.02, seed);
    train_init_constant(model, bert->norm_w, 1);
    for (size_t i = 0; i < bert->count; i++) {
        const TrainLayer *l = &bert->layers[i];
        const size_t weights[] = {l->q_w,   l->k_w,  l->v_w,  l->out_w, l->fc1_w,
                                  l->fc2_w, l->cq_w, l->ck_w, l->cv_w,  l->co_w};
        for (size_t w = 0; w < (l->cross ? 10 : 6); w++)
            train_init_normal(model, weights[w], 0.02, seed);
        train_init_constant(model, l->ln1_w, 1);
        train_init_constant(model, l->ln2_w, 1);
        if (l->cross)
            train_init_constant(model, l->cln_w, 1);
    }
    if (bert->head) {
        train_init_normal(model, bert->head_w, 0.02, seed);
        train_init_constant(model, bert->head_norm_w, 1);
    }
}

static NnVar *embed(const TrainPass *p, const TrainBert *bert, const TrainText *text)
{
    NnTape *t = p->tape;
    NnVar *x = nn_embedding(t, train_var(p, bert->words), text->ids, text->count, text->tokens, TRAIN_BERT_PAD);
    x = nn_add(t, x, train_rows(p, bert->positions, text->tokens));
    x = nn_add(t, x, nn_reshape(t, train_rows(p, bert->types, 1), NN_SHAPE(bert->shape.width)));
    return nn_dropout(t, train_norm(p, x, bert->norm_w, bert->norm_b, bert_eps), p->dropout, p->rng);
}

static void tap(const TrainPass *p, const TrainTextTaps *taps, size_t state, NnVar *x)
{
    train_note_at(p->trace, "text_hidden", state, x);
    if (taps && state >= taps->first && state - taps->first < taps->count)
        taps->rows[state - taps->first] = nn_token(p->tape, x, 0);
}

NnVar *train_bert_text(const TrainPass *p, const TrainBert *bert, const TrainText *text, const TrainTextTaps *taps,
                       bool class_only)
{
    TrainChain chain = train_chain_begin(p, embed(p, bert, text));
    tap(p, taps, 0, chain.x);
    for (size_t i = 0; i < bert->fusion; i++) {
        const TrainLook look = {.mask = text->mask, .class_only = class_only && i + 1 == bert->fusion};
        train_chain_next(p, &chain, train_post_layer(p, &bert->layers[i], &bert->shape, chain.x, &look));
        tap(p, taps, i + 1, chain.x);
    }
    return chain.x;
}

TrainImages train_bert_images(const TrainPass *p, const TrainBert *bert, NnVar *images, const nn_real *mask)
{
    const size_t n = bert->count - bert->fusion;
    TrainImages made = {nn_tape_bytes(p->tape, n * sizeof *made.keys), mask};
    for (size_t i = 0; i < n; i++)
        made.keys[i] = train_cross_keys(p, &bert->layers[bert->fusion + i], images);
    return made;
}

NnVar *train_bert_fuse(const TrainPass *p, const TrainBert *bert, NnVar *x, const nn_real *mask,
                       const TrainImages *images, const int32_t *source, bool class_only)
{
    TrainChain chain = train_chain_begin(p, x);
    for (size_t i = bert->fusion; i < bert->count; i++) {
        const TrainLook look = {.mask = mask,
                                .keys = &images->keys[i - bert->fusion],
                                .source = source,
                                .image_mask = images->mask,
                                .class_only = class_only && i + 1 == bert->count};
        train_chain_next(p, &chain, train_post_layer(p, &bert->layers[i], &bert->shape, chain.x, &look));
    }
    return chain.x;
}

NnVar *train_bert_head(const TrainPass *p, const TrainBert *bert, NnVar *x)
{
    x = nn_gelu(p->tape, train_linear(p, x, bert->head_w, bert->head_b));
    x = train_norm(p, x, bert->head_norm_w, bert->head_norm_b, bert_eps);
    return nn_linear(p->tape, x, train_var(p, bert->words), train_var(p, bert->head_bias));
}
