// SPDX-License-Identifier: MIT
#include "train/model/block.h"

#include "base/mem.h"

#include <string.h>

size_t train_add(NnParams *params, const char *prefix, const char *name, NnShape shape)
{
    VcStr full = {0};
    vc_str_putf(&full, "%s%s%s", prefix, *prefix ? "." : "", name);
    bool decay = shape.rank != 1 && !vc_has_suffix(full.data, ".bias");
    size_t index = nn_params_add(params, full.data, shape, decay ? NN_PARAM_DECAY : 0);
    vc_str_finish(&full);
    return index;
}

static size_t add_part(NnParams *params, const char *prefix, const char *name, const char *part, NnShape shape)
{
    VcStr full = {0};
    vc_str_putf(&full, "%s.%s", name, part);
    size_t index = train_add(params, prefix, full.data, shape);
    vc_str_finish(&full);
    return index;
}

void train_add_norm(NnParams *params, const char *prefix, const char *name, size_t width, size_t *w, size_t *b)
{
    *w = add_part(params, prefix, name, "weight", NN_SHAPE(width));
    *b = add_part(params, prefix, name, "bias", NN_SHAPE(width));
}

void train_add_linear(NnParams *params, const char *prefix, const char *name, size_t in, size_t out, size_t *w,
                      size_t *b)
{
    *w = add_part(params, prefix, name, "weight", NN_SHAPE(out, in));
    if (b)
        *b = add_part(params, prefix, name, "bias", NN_SHAPE(out));
}

NnVar *train_var(const TrainPass *p, size_t index)
{
    return nn_param(p->tape, p->params, index);
}

// `count` numbers from the start of a parameter, which may run on into those that lie behind it.
static NnVar *view(const TrainPass *p, size_t offset, NnShape shape)
{
    NnParams *params = p->params;
    return nn_leaf(p->tape, params->value + offset, params->grad ? params->grad + offset : NULL, shape);
}

static NnVar *view_of(const TrainPass *p, size_t index, NnShape shape)
{
    return view(p, p->params->items[index].offset, shape);
}

NnVar *train_rows(const TrainPass *p, size_t index, size_t rows)
{
    const NnParamInfo *info = &p->params->items[index];
    VC_ASSERT(info->shape.rank == 2 && rows <= info->shape.dim[0]);
    return view_of(p, index, NN_SHAPE(rows, info->shape.dim[1]));
}

NnVar *train_linear(const TrainPass *p, NnVar *x, size_t w, size_t b)
{
    return nn_linear(p->tape, x, train_var(p, w), train_var(p, b));
}

NnVar *train_norm(const TrainPass *p, NnVar *x, size_t w, size_t b, double eps)
{
    return nn_layer_norm(p->tape, x, train_var(p, w), train_var(p, b), eps);
}

// Does parameter b follow a in memory without padding between them?
static bool follows(const NnParams *params, size_t a, size_t b)
{
    return params->items[b].offset == params->items[a].offset + params->items[a].size;
}

static NnVar *mlp(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x)
{
    return nn_mlp(p->tape, x, train_var(p, l->fc1_w), train_var(p, l->fc1_b), train_var(p, l->fc2_w),
                  train_var(p, l->fc2_b), s->quick);
}

// Of a pre-LN block: the norm comes first.
static NnVar *norm_mlp(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x)
{
    return nn_norm_mlp(p->tape, x, train_var(p, l->ln2_w), train_var(p, l->ln2_b), s->eps, train_var(p, l->fc1_w),
                       train_var(p, l->fc1_b), train_var(p, l->fc2_w), train_var(p, l->fc2_b), s->quick);
}

// x + y without dropout; y is what a layer has just made.
static NnVar *plus(const TrainPass *p, NnVar *x, NnVar *y)
{
    return nn_residual(p->tape, x, y, 0, NULL);
}

// Self-attention over x before its output projection. Dropout is BERT's: 0 for pre-LN blocks.
static NnVar *self_attention(const TrainPass *p, const TrainLayer *l, NnVar *x, const NnAttentionHow *how)
{
    const size_t c = x->shape.dim[2];
    NnVar *w, *b;
    if (l->joined) {
        w = train_var(p, l->q_w);
        b = train_var(p, l->q_b);
    } else if (follows(p->params, l->q_w, l->k_w) && follows(p->params, l->k_w, l->v_w) &&
               follows(p->params, l->q_b, l->k_b) && follows(p->params, l->k_b, l->v_b)) {
        w = view_of(p, l->q_w, NN_SHAPE(3 * c, c));
        b = view_of(p, l->q_b, NN_SHAPE(3 * c));
    } else {
        NnVar *q = train_linear(p, x, l->q_w, l->q_b), *k = train_linear(p, x, l->k_w, l->k_b);
        return nn_attend(p->tape, q, k, train_linear(p, x, l->v_w, l->v_b), how);
    }
    return nn_attend(p->tape, nn_linear(p->tape, x, w, b), NULL, NULL, how);
}

// Weight and bias of q, k or v (0, 1, 2) of a layer, cut from the joined matrix where there is one.
static NnVar *part_of(const TrainPass *p, const TrainLayer *l, NnVar *x, size_t which)
{
    const size_t c = x->shape.dim[x->shape.rank - 1];
    const size_t ws[] = {l->q_w, l->k_w, l->v_w}, bs[] = {l->q_b, l->k_b, l->v_b};
    if (!l->joined)
        return train_linear(p, x, ws[which], bs[which]);
    const NnParamInfo *items = p->params->items;
    return nn_linear(p->tape, x, view(p, items[l->q_w].offset + which * c * c, NN_SHAPE(c, c)),
                     view(p, items[l->q_b].offset + which * c, NN_SHAPE(c)));
}

// Attention of one token a sample: q_from[B,C] to all of x[B,T,C] -> [B,C].
static NnVar *pooled_attention(const TrainPass *p, const TrainLayer *l, NnVar *q_from, NnVar *x,
                               const NnAttentionHow *how)
{
    const size_t b = x->shape.dim[0], c = x->shape.dim[2];
    NnVar *q = nn_reshape(p->tape, part_of(p, l, q_from, 0), NN_SHAPE(b, 1, c));
    NnVar *a = nn_attend(p->tape, q, part_of(p, l, x, 1), part_of(p, l, x, 2), how);
    return nn_reshape(p->tape, a, NN_SHAPE(b, c));
}

NnVar *train_pre_block(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x, const nn_real *mask,
                       bool causal)
{
    const NnAttentionHow how = {.heads = s->heads, .key_mask = mask, .causal = causal};
    NnVar *a;
    if (l->joined) { // nothing else reads the norm: it need not be kept
        NnVar *qkv = nn_norm_linear(p->tape, x, train_var(p, l->ln1_w), train_var(p, l->ln1_b), s->eps,
                                    train_var(p, l->q_w), train_var(p, l->q_b));
        a = nn_attend(p->tape, qkv, NULL, NULL, &how);
    } else {
        a = self_attention(p, l, train_norm(p, x, l->ln1_w, l->ln1_b, s->eps), &how);
    }
    x = plus(p, x, train_linear(p, a, l->out_w, l->out_b));
    return plus(p, x, norm_mlp(p, l, s, x));
}

NnVar *train_pre_block_pooled(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                              const nn_real *mask, const int32_t *at)
{
    const NnAttentionHow how = {.heads = s->heads, .key_mask = mask};
    NnVar *h = train_norm(p, x, l->ln1_w, l->ln1_b, s->eps);
    NnVar *a = pooled_attention(p, l, nn_token_at(p->tape, h, at), h, &how);
    NnVar *token = nn_token_at(p->tape, x, at);
    NnVar *y = plus(p, token, train_linear(p, a, l->out_w, l->out_b));
    return plus(p, y, norm_mlp(p, l, s, y));
}

TrainKeys train_cross_keys(const TrainPass *p, const TrainLayer *l, NnVar *images)
{
    const NnParamInfo *w = &p->params->items[l->ck_w];
    if (!follows(p->params, l->ck_w, l->cv_w) || !follows(p->params, l->ck_b, l->cv_b))
        return (TrainKeys){train_linear(p, images, l->ck_w, l->ck_b), train_linear(p, images, l->cv_w, l->cv_b)};
    const size_t c = w->shape.dim[0];
    NnVar *both = nn_linear(p->tape, images, view_of(p, l->ck_w, NN_SHAPE(2 * c, w->shape.dim[1])),
                            view_of(p, l->ck_b, NN_SHAPE(2 * c)));
    return (TrainKeys){both, NULL};
}

// LN(x + dropout(y)).
static NnVar *join(const TrainPass *p, const TrainLayerShape *s, NnVar *x, NnVar *y, size_t w, size_t b)
{
    return train_norm(p, nn_residual(p->tape, x, y, p->dropout, p->rng), w, b, s->eps);
}

NnVar *train_post_layer(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                        const TrainLook *look)
{
    NnTape *t = p->tape;
    const size_t b = x->shape.dim[0], c = s->width;
    NnAttentionHow how = {.heads = s->heads, .key_mask = look->mask, .dropout = p->dropout, .rng = p->rng};
    NnVar *a;
    if (look->class_only) {
        NnVar *first = nn_token(t, x, 0);
        a = nn_reshape(t, pooled_attention(p, l, first, x, &how), NN_SHAPE(b, 1, c));
        x = nn_reshape(t, first, NN_SHAPE(b, 1, c));
    } else {
        a = self_attention(p, l, x, &how);
    }
    x = join(p, s, x, train_linear(p, a, l->out_w, l->out_b), l->ln1_w, l->ln1_b);
    if (look->keys) {
        how.key_mask = look->image_mask;
        how.source = look->source;
        a = nn_attend(t, train_linear(p, x, l->cq_w, l->cq_b), look->keys->k, look->keys->v, &how);
        x = join(p, s, x, train_linear(p, a, l->co_w, l->co_b), l->cln_w, l->cln_b);
    }
    return join(p, s, x, mlp(p, l, s, x), l->ln2_w, l->ln2_b);
}

TrainChain train_chain_begin(const TrainPass *p, NnVar *x)
{
    TrainChain chain = {.x = x, .lean = !nn_tape_recording(p->tape)};
    if (chain.lean) {
        nn_real *copy = nn_tape_alloc(p->tape, x->size);
        memcpy(copy, x->value, x->size * sizeof *copy);
        chain.x = nn_input(p->tape, copy, x->shape);
        chain.mark = nn_tape_mark(p->tape);
    }
    return chain;
}

void train_chain_next(const TrainPass *p, TrainChain *chain, NnVar *y)
{
    if (!chain->lean) {
        chain->x = y;
        return;
    }
    VC_ASSERT(y->size <= chain->x->size);
    memcpy(chain->x->value, y->value, y->size * sizeof *y->value);
    chain->x->shape = y->shape;
    chain->x->size = y->size;
    nn_tape_release(p->tape, chain->mark);
}

double train_layer_macs(const TrainLayerShape *s, double tokens)
{
    double c = (double)s->width, f = (double)s->mlp;
    return tokens * (4 * c * c + 2 * c * f) + 2 * tokens * tokens * c;
}

double train_layer_kept(const TrainLayerShape *s, double tokens)
{
    double c = (double)s->width, f = (double)s->mlp;
    // a norm (post-LN) or none, qkv, attention out, two sums; hidden before the activation
    return tokens * (7 * c + f) + 2 * (double)s->heads * tokens;
}

double train_cross_macs(const TrainLayerShape *s, double tokens, double image_tokens)
{
    double c = (double)s->width;
    return tokens * 2 * c * c + 2 * tokens * image_tokens * c;
}

double train_cross_keys_macs(const TrainLayerShape *s, double image_width, double image_tokens)
{
    return image_tokens * 2 * image_width * (double)s->width;
}
