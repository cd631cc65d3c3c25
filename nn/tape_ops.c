// SPDX-License-Identifier: MIT
// Each op of the tape: shapes checked, output made, forward called, backward given its arguments again.
#include "base/err.h"
#include "nn/tape.h"
#include "nn/tape_node.h"

#include <math.h>

static size_t last_dim(const NnVar *x)
{
    VC_ASSERT(x->shape.rank > 0);
    return x->shape.dim[x->shape.rank - 1];
}

static NnShape with_last_dim(NnShape shape, size_t width)
{
    shape.dim[shape.rank - 1] = width;
    return shape;
}

static NnVar *like(NnTape *t, const NnVar *x)
{
    return nn_tape_var(t, x->shape);
}

// ---- linear

// The context's precision is for layers; what compares two variables stays in float.
static NnContext exact(const NnTape *t)
{
    NnContext ctx = *nn_tape_context(t);
    ctx.precision = NN_PRECISION_FP32;
    return ctx;
}

static void product_backward(const NnContext *ctx, NnTape *t, const NnNode *node)
{
    NnVar *x = node->in[0], *w = node->in[1], *b = node->count > 2 ? node->in[2] : NULL;
    const size_t I = w->shape.dim[1], O = w->shape.dim[0];
    bool add;
    nn_real *dx = nn_tape_first_grad(t, x, &add);
    if (dx)
        nn_linear_input_grad(ctx, dx, add, node->out->grad, w->value, x->size / I, I, O);
    nn_linear_backward(ctx, NULL, nn_tape_grad(t, w), nn_tape_grad(t, b), node->out->grad, x->value, w->value,
                       x->size / I, I, O);
}

static void linear_backward(NnTape *t, const NnNode *node)
{
    product_backward(nn_tape_context(t), t, node);
}
static const NnOp linear_op = {"linear", linear_backward, .forgets = true};

static NnVar *product(const NnContext *ctx, NnTape *t, const NnOp *op, NnVar *x, NnVar *w, NnVar *b)
{
    VC_ASSERT(w->shape.rank == 2);
    const size_t O = w->shape.dim[0], I = w->shape.dim[1];
    VC_ASSERT(last_dim(x) == I && (!b || b->size == O));
    NnVar *y = nn_tape_var(t, with_last_dim(x->shape, O));
    nn_linear_forward(ctx, y->value, x->value, w->value, b ? b->value : NULL, x->size / I, I, O);
    nn_tape_push(t, op, y, (NnVar *[]){x, w, b}, b ? 3 : 2, NULL, 0);
    return y;
}

NnVar *nn_linear(NnTape *t, NnVar *x, NnVar *w, NnVar *b)
{
    return product(nn_tape_context(t), t, &linear_op, x, w, b);
}

static void matmul_nt_backward(NnTape *t, const NnNode *node)
{
    const NnContext ctx = exact(t);
    product_backward(&ctx, t, node);
}
static const NnOp matmul_nt_op = {"matmul_nt", .backward = matmul_nt_backward};

NnVar *nn_matmul_nt(NnTape *t, NnVar *a, NnVar *b)
{
    VC_ASSERT(a->shape.rank == 2);
    const NnContext ctx = exact(t);
    return product(&ctx, t, &matmul_nt_op, a, b, NULL);
}

static void transpose_backward(NnTape *t, const NnNode *node)
{
    NnVar *x = node->in[0];
    nn_transpose_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, x->shape.dim[0], x->shape.dim[1]);
}
static const NnOp transpose_op = {"transpose", .backward = transpose_backward};

NnVar *nn_transpose(NnTape *t, NnVar *x)
{
    VC_ASSERT(x->shape.rank == 2);
    NnVar *y = nn_tape_var(t, NN_SHAPE(x->shape.dim[1], x->shape.dim[0]));
    nn_transpose_forward(nn_tape_context(t), y->value, x->value, x->shape.dim[0], x->shape.dim[1]);
    nn_tape_push(t, &transpose_op, y, &x, 1, NULL, 0);
    return y;
}

// ---- layer norm

typedef struct {
    nn_real *mean, *rstd;
} NormSaved;

static void layer_norm_backward(NnTape *t, const NnNode *node)
{
    const NormSaved *saved = node->saved;
    NnVar *x = node->in[0], *g = node->in[1], *b = node->in[2];
    nn_layer_norm_backward(nn_tape_context(t), nn_tape_grad(t, x), nn_tape_grad(t, g), nn_tape_grad(t, b),
                           node->out->grad, x->value, saved->mean, saved->rstd, g->value, x->size / g->size, g->size);
}
static const NnOp layer_norm_op = {"layer_norm", .backward = layer_norm_backward};

NnVar *nn_layer_norm(NnTape *t, NnVar *x, NnVar *g, NnVar *b, double eps)
{
    const size_t C = last_dim(x), R = x->size / C;
    VC_ASSERT(g->size == C && b->size == C);
    NnVar *y = like(t, x);
    const NormSaved saved = {nn_tape_alloc(t, R), nn_tape_alloc(t, R)};
    nn_layer_norm_forward(nn_tape_context(t), y->value, saved.mean, saved.rstd, x->value, g->value, b->value, eps, R,
                          C);
    nn_tape_push(t, &layer_norm_op, y, (NnVar *[]){x, g, b}, 3, &saved, sizeof saved);
    return y;
}

// ---- activations

static void gelu_backward(NnTape *t, const NnNode *node)
{
    NnVar *x = node->in[0];
    nn_gelu_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, x->value, x->size);
}
static const NnOp gelu_op = {"gelu", .backward = gelu_backward};

NnVar *nn_gelu(NnTape *t, NnVar *x)
{
    NnVar *y = like(t, x);
    nn_gelu_forward(nn_tape_context(t), y->value, x->value, x->size);
    nn_tape_push(t, &gelu_op, y, &x, 1, NULL, 0);
    return y;
}

static void quick_gelu_backward(NnTape *t, const NnNode *node)
{
    NnVar *x = node->in[0];
    nn_quick_gelu_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, x->value, x->size);
}
static const NnOp quick_gelu_op = {"quick_gelu", .backward = quick_gelu_backward};

NnVar *nn_quick_gelu(NnTape *t, NnVar *x)
{
    NnVar *y = like(t, x);
    nn_quick_gelu_forward(nn_tape_context(t), y->value, x->value, x->size);
    nn_tape_push(t, &quick_gelu_op, y, &x, 1, NULL, 0);
    return y;
}

static void softmax_backward(NnTape *t, const NnNode *node)
{
    NnVar *x = node->in[0];
    const size_t C = last_dim(x);
    nn_softmax_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, node->out->value, x->size / C, C);
}
static const NnOp softmax_op = {"softmax", .backward = softmax_backward};

NnVar *nn_softmax(NnTape *t, NnVar *x)
{
    NnVar *y = like(t, x);
    nn_softmax_forward(nn_tape_context(t), y->value, x->value, x->size / last_dim(x), last_dim(x));
    nn_tape_push(t, &softmax_op, y, &x, 1, NULL, 0);
    return y;
}

// ---- attention

typedef struct {
    NnAttention a;
    nn_real *stats;
} AttentionSaved;

// Where q, k and v, or their gradients, lie in the inputs of an attention.
typedef struct {
    nn_real *q, *k, *v;
} QkvAt;

static QkvAt parts_of(nn_real *const *in, size_t count, size_t C)
{
    if (count == 3)
        return (QkvAt){in[0], in[1], in[2]};
    nn_real *kv = in[count - 1];
    if (count == 2)
        return (QkvAt){in[0], kv, kv ? kv + C : NULL};
    return (QkvAt){kv, kv ? kv + C : NULL, kv ? kv + 2 * C : NULL};
}

static void attention_backward(NnTape *t, const NnNode *node)
{
    const AttentionSaved *saved = node->saved;
    nn_real *value[3] = {0}, *grad[3] = {0};
    for (size_t i = 0; i < node->count; i++) {
        value[i] = node->in[i]->value;
        grad[i] = nn_tape_grad(t, node->in[i]);
    }
    const QkvAt x = parts_of(value, node->count, saved->a.H * saved->a.D);
    const QkvAt d = parts_of(grad, node->count, saved->a.H * saved->a.D);
    nn_attention_backward(nn_tape_context(t), d.q, d.k, d.v, node->out->grad, node->out->value, saved->stats, x.q, x.k,
                          x.v, &saved->a);
}
static const NnOp attention_op = {"attention", .backward = attention_backward};

NnVar *nn_attend(NnTape *t, NnVar *q, NnVar *k, NnVar *v, const NnAttentionHow *how)
{
    NnVar *const in[] = {q, k, v};
    const size_t count = v ? 3 : k ? 2 : 1, C = last_dim(q) / (k ? 1 : 3), ld = v ? C : k ? 2 * C : 3 * C;
    NnVar *keys = k ? k : q;
    VC_ASSERT(how->heads > 0 && C % how->heads == 0 && q->shape.rank == 3 && keys->shape.rank == 3);
    VC_ASSERT(last_dim(keys) == ld && (!v || nn_shape_equal(&k->shape, &v->shape)));
    VC_ASSERT(how->source || keys->shape.dim[0] == q->shape.dim[0]);
    const size_t head = C / how->heads; // divides: asserted above
    const NnAttention a = {.B = q->shape.dim[0],
                           .H = how->heads,
                           .Tq = q->shape.dim[1],
                           .Tk = keys->shape.dim[1],
                           .D = head,
                           .ldq = k ? C : 3 * C,
                           .ldk = ld,
                           .ldv = ld,
                           .ldo = C,
                           .scale = 1 / sqrt((double)head),
                           .key_mask = how->key_mask,
                           .causal = how->causal,
                           .source = how->source,
                           .S = keys->shape.dim[0],
                           .dropout = how->dropout,
                           .seed = how->dropout > 0 ? vc_rng_u64(how->rng) : 0};
    NnVar *y = nn_tape_var(t, NN_SHAPE(a.B, a.Tq, C));
    AttentionSaved saved = {.a = a};
    if (nn_tape_wants(t, in, count))
        saved.stats = nn_tape_alloc(t, a.B * a.H * a.Tq * 2);
    const QkvAt x = parts_of((nn_real *[]){q->value, k ? k->value : NULL, v ? v->value : NULL}, count, C);
    nn_attention_forward(nn_tape_context(t), y->value, saved.stats, x.q, x.k, x.v, &a);
    nn_tape_push(t, &attention_op, y, in, count, &saved, sizeof saved);
    return y;
}

NnVar *nn_attention(NnTape *t, NnVar *q, NnVar *k, NnVar *v, size_t heads, const nn_real *key_mask, bool causal)
{
    return nn_attend(t, q, k, v, &(NnAttentionHow){.heads = heads, .key_mask = key_mask, .causal = causal});
}

NnVar *nn_attention_qkv(NnTape *t, NnVar *qkv, size_t heads, const nn_real *key_mask, bool causal)
{
    return nn_attend(t, qkv, NULL, NULL, &(NnAttentionHow){.heads = heads, .key_mask = key_mask, .causal = causal});
}

// ---- rows by index

typedef struct {
    const int32_t *index;
    int32_t skip;
} GatherSaved;

static void gather_backward(NnTape *t, const NnNode *node)
{
    const GatherSaved *saved = node->saved;
    NnVar *x = node->in[0];
    const size_t C = last_dim(x);
    nn_gather_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, saved->index, saved->skip,
                       node->out->size / C, x->size / C, C);
}
static const NnOp gather_op = {"gather", .backward = gather_backward};

static NnVar *gather(NnTape *t, NnVar *x, const int32_t *index, int32_t skip, NnShape shape)
{
    const size_t C = last_dim(x);
    NnVar *y = nn_tape_var(t, shape);
    nn_gather_forward(nn_tape_context(t), y->value, x->value, index, y->size / C, x->size / C, C);
    const GatherSaved saved = {index, skip};
    nn_tape_push(t, &gather_op, y, &x, 1, &saved, sizeof saved);
    return y;
}

NnVar *nn_embedding(NnTape *t, NnVar *table, const int32_t *ids, size_t B, size_t T, int32_t pad_id)
{
    VC_ASSERT(table->shape.rank == 2);
    return gather(t, table, ids, pad_id, NN_SHAPE(B, T, last_dim(table)));
}

NnVar *nn_gather(NnTape *t, NnVar *x, const int32_t *index, size_t n)
{
    return gather(t, x, index, -1, NN_SHAPE(n, last_dim(x)));
}

static NnVar *token(NnTape *t, NnVar *x, const int32_t *position, size_t same)
{
    VC_ASSERT(x->shape.rank == 3);
    const size_t B = x->shape.dim[0], T = x->shape.dim[1];
    VC_ASSERT(B * T <= INT32_MAX);
    int32_t *index = nn_tape_alloc_ids(t, B);
    for (size_t b = 0; b < B; b++) {
        const size_t at = position ? (size_t)position[b] : same;
        VC_ASSERT(at < T);
        index[b] = (int32_t)(b * T + at);
    }
    return nn_gather(t, x, index, B);
}

NnVar *nn_token(NnTape *t, NnVar *x, size_t position)
{
    return token(t, x, NULL, position);
}

NnVar *nn_token_at(NnTape *t, NnVar *x, const int32_t *position)
{
    return token(t, x, position, 0);
}

// ---- patches

static void patch_embed_backward(NnTape *t, const NnNode *node)
{
    nn_real *const *columns = node->saved;
    NnVar *x = node->in[0], *w = node->in[1], *b = node->count > 2 ? node->in[2] : NULL;
    nn_patch_embed_backward(nn_tape_context(t), nn_tape_grad(t, x), nn_tape_grad(t, w), nn_tape_grad(t, b),
                            node->out->grad, *columns, w->value, x->shape.dim[0], x->shape.dim[1], x->shape.dim[2],
                            w->shape.dim[2], w->shape.dim[0]);
}
static const NnOp patch_embed_op = {"patch_embed", .backward = patch_embed_backward};

NnVar *nn_patch_embed(NnTape *t, NnVar *images, NnVar *w, NnVar *b, size_t patch)
{
    VC_ASSERT(images->shape.rank == 4 && w->shape.rank == 4);
    const size_t B = images->shape.dim[0], K = images->shape.dim[1], S = images->shape.dim[2], O = w->shape.dim[0];
    VC_ASSERT(images->shape.dim[3] == S && w->shape.dim[1] == K && w->shape.dim[2] == patch &&
              w->shape.dim[3] == patch);
    VC_ASSERT(patch > 0 && S % patch == 0 && (!b || b->size == O));
    const size_t N = (S / patch) * (S / patch);
    NnVar *y = nn_tape_var(t, NN_SHAPE(B, N, O));
    nn_real *columns = nn_tape_alloc(t, B * N * K * patch * patch);
    nn_patch_embed_forward(nn_tape_context(t), y->value, columns, images->value, w->value, b ? b->value : NULL, B, K, S,
                           patch, O);
    nn_tape_push(t, &patch_embed_op, y, (NnVar *[]){images, w, b}, b ? 3 : 2, &columns, sizeof columns);
    return y;
}

// ---- sums and joins

static const NnOp add_same_op = {"add", NULL, .pass = true};

static void add_rows_backward(NnTape *t, const NnNode *node)
{
    NnVar *a = node->in[0], *b = node->in[1];
    nn_add_backward(nn_tape_context(t), nn_tape_grad(t, a), nn_tape_grad(t, b), node->out->grad, a->size / b->size,
                    b->size);
}
static const NnOp add_rows_op = {"add_rows", .backward = add_rows_backward};

NnVar *nn_add(NnTape *t, NnVar *a, NnVar *b)
{
    VC_ASSERT(b->size > 0 && a->size % b->size == 0);
    for (size_t i = 1; i <= b->shape.rank && b->size > 1; i++) { // b's shape, its leading ones left out, ends a's
        const size_t d = b->shape.dim[b->shape.rank - i];
        VC_ASSERT(i <= a->shape.rank ? d == a->shape.dim[a->shape.rank - i] || d == 1 : d == 1);
    }
    NnVar *y = like(t, a);
    nn_add_forward(nn_tape_context(t), y->value, a->value, b->value, a->size / b->size, b->size);
    nn_tape_push(t, a->size == b->size ? &add_same_op : &add_rows_op, y, (NnVar *[]){a, b}, 2, NULL, 0);
    return y;
}

static void concat_backward(NnTape *t, const NnNode *node)
{
    const size_t B = node->out->shape.dim[0], T = node->out->shape.dim[1], C = node->out->shape.dim[2];
    for (size_t i = 0, at = 0; i < node->count; i++) {
        NnVar *x = node->in[i];
        nn_concat_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, x->shape.dim[0] != B, B,
                           x->shape.dim[1], at, T, C);
        at += x->shape.dim[1];
    }
}
static const NnOp concat_op = {"concat", .backward = concat_backward};

NnVar *nn_concat(NnTape *t, NnVar *const *x, size_t n)
{
    size_t B = 1, T = 0;
    const size_t C = n ? last_dim(x[0]) : 0;
    for (size_t i = 0; i < n; i++) {
        VC_ASSERT(x[i]->shape.rank == 3 && last_dim(x[i]) == C);
        B = x[i]->shape.dim[0] > B ? x[i]->shape.dim[0] : B;
        T += x[i]->shape.dim[1];
    }
    NnVar *y = nn_tape_var(t, NN_SHAPE(B, T, C));
    for (size_t i = 0, at = 0; i < n; i++) {
        VC_ASSERT(x[i]->shape.dim[0] == B || x[i]->shape.dim[0] == 1);
        nn_concat_forward(nn_tape_context(t), y->value, x[i]->value, x[i]->shape.dim[0] != B, B, x[i]->shape.dim[1], at,
                          T, C);
        at += x[i]->shape.dim[1];
    }
    nn_tape_push(t, &concat_op, y, x, n, NULL, 0);
    return y;
}

// ---- normalisation, dropout

static void l2_normalize_backward(NnTape *t, const NnNode *node)
{
    nn_real *const *norm = node->saved;
    NnVar *x = node->in[0];
    const size_t C = last_dim(x);
    nn_l2_normalize_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, node->out->value, *norm,
                             x->size / C, C);
}
static const NnOp l2_normalize_op = {"l2_normalize", .backward = l2_normalize_backward};

NnVar *nn_l2_normalize(NnTape *t, NnVar *x)
{
    const size_t C = last_dim(x), R = x->size / C;
    NnVar *y = like(t, x);
    nn_real *norm = nn_tape_alloc(t, R);
    nn_l2_normalize_forward(nn_tape_context(t), y->value, norm, x->value, R, C);
    nn_tape_push(t, &l2_normalize_op, y, &x, 1, &norm, sizeof norm);
    return y;
}

typedef struct {
    uint8_t *mask;
    double p;
} DropoutSaved;

static void dropout_backward(NnTape *t, const NnNode *node)
{
    const DropoutSaved *saved = node->saved;
    NnVar *x = node->in[0];
    nn_dropout_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, saved->mask, saved->p, x->size);
}
static const NnOp dropout_op = {"dropout", .backward = dropout_backward};

NnVar *nn_dropout(NnTape *t, NnVar *x, double p, VcRng *rng)
{
    if (p == 0)
        return x;
    NnVar *y = like(t, x);
    const DropoutSaved saved = {nn_tape_bytes(t, x->size), p};
    nn_dropout_forward(nn_tape_context(t), y->value, saved.mask, x->value, p, rng, x->size);
    nn_tape_push(t, &dropout_op, y, &x, 1, &saved, sizeof saved);
    return y;
}
