// SPDX-License-Identifier: MIT
#include "train/model/block.h"

#include "base/mem.h"

size_t train_add(TrainModel *model, const char *prefix, const char *name, NnShape shape)
{
    VcStr full = {0};
    vc_str_putf(&full, "%s%s%s", prefix, *prefix ? "." : "", name);
    bool decay = shape.rank != 1 && !vc_has_suffix(full.data, ".bias");
    size_t index = nn_params_add(&model->params, full.data, shape, decay ? NN_PARAM_DECAY : 0);
    vc_str_finish(&full);
    return index;
}

static size_t add_part(TrainModel *model, const char *prefix, const char *name, const char *part, NnShape shape)
{
    VcStr full = {0};
    vc_str_putf(&full, "%s.%s", name, part);
    size_t index = train_add(model, prefix, full.data, shape);
    vc_str_finish(&full);
    return index;
}

void train_add_norm(TrainModel *model, const char *prefix, const char *name, size_t width, size_t *w, size_t *b)
{
    *w = add_part(model, prefix, name, "weight", NN_SHAPE(width));
    *b = add_part(model, prefix, name, "bias", NN_SHAPE(width));
}

void train_add_linear(TrainModel *model, const char *prefix, const char *name, size_t in, size_t out, size_t *w,
                      size_t *b)
{
    *w = add_part(model, prefix, name, "weight", NN_SHAPE(out, in));
    if (b)
        *b = add_part(model, prefix, name, "bias", NN_SHAPE(out));
}

NnVar *train_var(TrainModel *model, NnTape *t, size_t index)
{
    return nn_param(t, &model->params, index);
}

// `count` numbers from the start of a parameter, which may run on into those that lie behind it.
static NnVar *view(TrainModel *model, NnTape *t, size_t index, NnShape shape)
{
    NnParams *p = &model->params;
    size_t offset = p->items[index].offset;
    return nn_leaf(t, p->value + offset, p->grad ? p->grad + offset : NULL, shape);
}

NnVar *train_rows(TrainModel *model, NnTape *t, size_t index, size_t rows)
{
    const NnParamInfo *info = &model->params.items[index];
    VC_ASSERT(info->shape.rank == 2 && rows <= info->shape.dim[0]);
    return view(model, t, index, NN_SHAPE(rows, info->shape.dim[1]));
}

// Do parameters b and c follow a in memory without padding between them?
static bool adjoining(const NnParams *p, size_t a, size_t b, size_t c)
{
    const NnParamInfo *i = p->items;
    return i[b].offset == i[a].offset + i[a].size && i[c].offset == i[b].offset + i[b].size;
}

static NnVar *self_attention(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                             const float *mask, bool causal)
{
    const NnParams *p = &model->params;
    size_t c = s->width;
    if (l->joined) {
        NnVar *qkv = nn_linear(t, x, train_var(model, t, l->q_w), train_var(model, t, l->q_b));
        return nn_attention_qkv(t, qkv, s->heads, mask, causal);
    }
    if (adjoining(p, l->q_w, l->k_w, l->v_w) && adjoining(p, l->q_b, l->k_b, l->v_b)) {
        NnVar *w = view(model, t, l->q_w, NN_SHAPE(3 * c, c)), *b = view(model, t, l->q_b, NN_SHAPE(3 * c));
        return nn_attention_qkv(t, nn_linear(t, x, w, b), s->heads, mask, causal);
    }
    NnVar *q = nn_linear(t, x, train_var(model, t, l->q_w), train_var(model, t, l->q_b));
    NnVar *k = nn_linear(t, x, train_var(model, t, l->k_w), train_var(model, t, l->k_b));
    NnVar *v = nn_linear(t, x, train_var(model, t, l->v_w), train_var(model, t, l->v_b));
    return nn_attention(t, q, k, v, s->heads, mask, causal);
}

static NnVar *norm(TrainModel *model, NnTape *t, NnVar *x, size_t w, size_t b, double eps)
{
    return nn_layer_norm(t, x, train_var(model, t, w), train_var(model, t, b), eps);
}

static NnVar *mlp(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x)
{
    NnVar *h = nn_linear(t, x, train_var(model, t, l->fc1_w), train_var(model, t, l->fc1_b));
    h = s->quick ? nn_quick_gelu(t, h) : nn_gelu(t, h);
    return nn_linear(t, h, train_var(model, t, l->fc2_w), train_var(model, t, l->fc2_b));
}

NnVar *train_pre_block(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                       const float *mask, bool causal)
{
    NnVar *a = self_attention(model, t, l, s, norm(model, t, x, l->ln1_w, l->ln1_b, s->eps), mask, causal);
    x = nn_add(t, x, nn_linear(t, a, train_var(model, t, l->out_w), train_var(model, t, l->out_b)));
    return nn_add(t, x, mlp(model, t, l, s, norm(model, t, x, l->ln2_w, l->ln2_b, s->eps)));
}

// Weight and bias of q, k or v (0, 1, 2) of a layer, cut from the joined matrix where there is one.
static void part_of(TrainModel *model, NnTape *t, const TrainLayer *l, size_t c, size_t which, NnVar **w, NnVar **b)
{
    NnParams *p = &model->params;
    const size_t ws[] = {l->q_w, l->k_w, l->v_w}, bs[] = {l->q_b, l->k_b, l->v_b};
    if (!l->joined) {
        *w = train_var(model, t, ws[which]);
        *b = train_var(model, t, bs[which]);
        return;
    }
    size_t at = p->items[l->q_w].offset + which * c * c, bias = p->items[l->q_b].offset + which * c;
    *w = nn_leaf(t, p->value + at, p->grad ? p->grad + at : NULL, NN_SHAPE(c, c));
    *b = nn_leaf(t, p->value + bias, p->grad ? p->grad + bias : NULL, NN_SHAPE(c));
}

NnVar *train_pre_block_pooled(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                              const float *mask, const int32_t *at)
{
    size_t b = x->shape.dim[0], c = s->width;
    NnVar *w, *bias, *h = norm(model, t, x, l->ln1_w, l->ln1_b, s->eps);
    part_of(model, t, l, c, 0, &w, &bias);
    NnVar *q = nn_reshape(t, nn_linear(t, nn_token_at(t, h, at), w, bias), NN_SHAPE(b, 1, c));
    part_of(model, t, l, c, 1, &w, &bias);
    NnVar *k = nn_linear(t, h, w, bias);
    part_of(model, t, l, c, 2, &w, &bias);
    NnVar *v = nn_linear(t, h, w, bias);
    NnVar *a = nn_reshape(t, nn_attention(t, q, k, v, s->heads, mask, false), NN_SHAPE(b, c));
    NnVar *y = nn_linear(t, a, train_var(model, t, l->out_w), train_var(model, t, l->out_b));
    y = nn_add(t, nn_token_at(t, x, at), y);
    return nn_add(t, y, mlp(model, t, l, s, norm(model, t, y, l->ln2_w, l->ln2_b, s->eps)));
}

NnVar *train_post_layer(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                        const float *mask)
{
    NnVar *a = self_attention(model, t, l, s, x, mask, false);
    a = nn_linear(t, a, train_var(model, t, l->out_w), train_var(model, t, l->out_b));
    x = norm(model, t, nn_add(t, x, a), l->ln1_w, l->ln1_b, s->eps);
    return norm(model, t, nn_add(t, x, mlp(model, t, l, s, x)), l->ln2_w, l->ln2_b, s->eps);
}

double train_layer_macs(const TrainLayerShape *s, double tokens)
{
    double c = (double)s->width, f = (double)s->mlp;
    return tokens * (4 * c * c + 2 * c * f) + 2 * tokens * tokens * c;
}

double train_layer_kept(const TrainLayerShape *s, double tokens)
{
    double c = (double)s->width, f = (double)s->mlp;
    // two norms, qkv, attention out, its projection, two sums, the mlp's output; hidden before and after the activation
    return tokens * (11 * c + 2 * f) + (double)s->heads * tokens * tokens;
}
