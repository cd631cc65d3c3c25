// SPDX-License-Identifier: MIT
// Parts of transformer blocks as one op each, so that less is kept between forward and backward.
#include "base/err.h"
#include "nn/tape.h"
#include "nn/tape_node.h"

// ---- feed-forward

typedef struct {
    NnMlpSaved values;
    double eps;
    bool quick;
} MlpSaved;

// in: x, w1, b1, w2, b2, and the norm's g and b where there are 7.
static NnMlp mlp_of(NnVar *const *in, size_t count, double eps, bool quick)
{
    return (NnMlp){.w1 = in[1]->value,
                   .b1 = in[2]->value,
                   .w2 = in[3]->value,
                   .b2 = in[4]->value,
                   .g = count > 5 ? in[5]->value : NULL,
                   .b = count > 5 ? in[6]->value : NULL,
                   .I = in[1]->shape.dim[1],
                   .F = in[1]->shape.dim[0],
                   .O = in[3]->shape.dim[0],
                   .eps = eps,
                   .quick = quick};
}

static void mlp_backward(NnTape *t, const NnNode *node)
{
    const MlpSaved *saved = node->saved;
    NnVar **in = node->in;
    const NnMlp m = mlp_of(in, node->count, saved->eps, saved->quick);
    bool add = true;
    nn_real *dx = m.g ? nn_tape_grad(t, in[0]) : nn_tape_first_grad(t, in[0], &add);
    const NnMlpGrads grads = {nn_tape_grad(t, in[1]),
                              nn_tape_grad(t, in[2]),
                              nn_tape_grad(t, in[3]),
                              nn_tape_grad(t, in[4]),
                              m.g ? nn_tape_grad(t, in[5]) : NULL,
                              m.g ? nn_tape_grad(t, in[6]) : NULL};
    nn_mlp_backward(nn_tape_context(t), dx, add, &grads, node->out->grad, in[0]->value, &saved->values, &m,
                    in[0]->size / m.I);
}
static const NnOp mlp_op = {"mlp", .backward = mlp_backward, .forgets = true};

static NnVar *mlp(NnTape *t, NnVar *const *in, size_t count, double eps, bool quick)
{
    const NnVar *x = in[0], *w1 = in[1], *w2 = in[3];
    VC_ASSERT(x->shape.rank > 0 && w1->shape.rank == 2 && w2->shape.rank == 2);
    const NnMlp m = mlp_of(in, count, eps, quick);
    VC_ASSERT(x->shape.dim[x->shape.rank - 1] == m.I && w2->shape.dim[1] == m.F);
    VC_ASSERT(in[2]->size == m.F && in[4]->size == m.O && (count == 5 || (in[5]->size == m.I && in[6]->size == m.I)));
    VC_ASSERT(x != w1 && x != w2); // whose gradients would start from one another
    NnShape shape = x->shape;
    shape.dim[shape.rank - 1] = m.O;
    const size_t R = x->size / m.I;
    NnVar *y = nn_tape_var(t, shape);
    MlpSaved saved = {.eps = eps, .quick = quick};
    if (m.g)
        saved.values = (NnMlpSaved){.mean = nn_tape_alloc(t, R), .rstd = nn_tape_alloc(t, R)};
    if (nn_tape_wants(t, in, count))
        saved.values.h = nn_tape_alloc(t, R * m.F);
    nn_mlp_forward(nn_tape_context(t), y->value, &saved.values, x->value, &m, R);
    nn_tape_push(t, &mlp_op, y, in, count, &saved, sizeof saved);
    return y;
}

NnVar *nn_mlp(NnTape *t, NnVar *x, NnVar *w1, NnVar *b1, NnVar *w2, NnVar *b2, bool quick)
{
    return mlp(t, (NnVar *[]){x, w1, b1, w2, b2}, 5, 0, quick);
}

NnVar *nn_norm_mlp(NnTape *t, NnVar *x, NnVar *g, NnVar *b, double eps, NnVar *w1, NnVar *b1, NnVar *w2, NnVar *b2,
                   bool quick)
{
    return mlp(t, (NnVar *[]){x, w1, b1, w2, b2, g, b}, 7, eps, quick);
}

// ---- layer norm, then a linear layer

typedef struct {
    nn_real *mean, *rstd;
    double eps;
} NormLinearSaved;

static NnNormLinear norm_linear_of(NnVar *const *in, double eps)
{
    return (NnNormLinear){.g = in[1]->value,
                          .b = in[2]->value,
                          .w = in[3]->value,
                          .bias = in[4]->value,
                          .I = in[3]->shape.dim[1],
                          .O = in[3]->shape.dim[0],
                          .eps = eps};
}

static void norm_linear_backward(NnTape *t, const NnNode *node)
{
    const NormLinearSaved *saved = node->saved;
    const NnNormLinear m = norm_linear_of(node->in, saved->eps);
    const NnNormLinearGrads grads = {nn_tape_grad(t, node->in[1]), nn_tape_grad(t, node->in[2]),
                                     nn_tape_grad(t, node->in[3]), nn_tape_grad(t, node->in[4])};
    nn_norm_linear_backward(nn_tape_context(t), nn_tape_grad(t, node->in[0]), &grads, node->out->grad,
                            node->in[0]->value, saved->mean, saved->rstd, &m, node->in[0]->size / m.I);
}
static const NnOp norm_linear_op = {"norm_linear", .backward = norm_linear_backward, .forgets = true};

NnVar *nn_norm_linear(NnTape *t, NnVar *x, NnVar *g, NnVar *b, double eps, NnVar *w, NnVar *bias)
{
    VC_ASSERT(x->shape.rank > 0 && w->shape.rank == 2);
    NnVar *const in[] = {x, g, b, w, bias};
    const NnNormLinear m = norm_linear_of(in, eps);
    VC_ASSERT(x->shape.dim[x->shape.rank - 1] == m.I && g->size == m.I && b->size == m.I && bias->size == m.O);
    NnShape shape = x->shape;
    shape.dim[shape.rank - 1] = m.O;
    const size_t R = x->size / m.I;
    NnVar *y = nn_tape_var(t, shape);
    const NormLinearSaved saved = {nn_tape_alloc(t, R), nn_tape_alloc(t, R), eps};
    nn_norm_linear_forward(nn_tape_context(t), y->value, saved.mean, saved.rstd, x->value, &m, R);
    nn_tape_push(t, &norm_linear_op, y, in, 5, &saved, sizeof saved);
    return y;
}

// ---- residual join

typedef struct {
    uint8_t *mask; // NULL without dropout
    double p;
} ResidualSaved;

// The first input gets the gradient, the second its part that was not dropped; the memory goes on to the last that
// needs it.
static void residual_backward(NnTape *t, const NnNode *node)
{
    const NnContext *ctx = nn_tape_context(t);
    const ResidualSaved *saved = node->saved;
    NnVar *x = node->in[0], *y = node->in[1], *out = node->out;
    if (x->needs_grad) {
        bool add;
        nn_real *dx = nn_tape_first_grad(t, x, &add);
        if (add) {
            nn_accumulate(ctx, dx, out->grad, x->size);
        } else {
            nn_copy(ctx, dx, out->grad, x->size);
        }
    }
    if (!y->needs_grad)
        return;
    if (y->grad || out->keep_grad) {
        nn_dropout_backward(ctx, nn_tape_grad(t, y), out->grad, saved->mask, saved->p, y->size);
        return;
    }
    nn_dropout_again(ctx, out->grad, saved->mask, saved->p, y->size);
    y->grad = out->grad;
    out->grad = NULL;
}
static const NnOp residual_op = {"residual", residual_backward, .forgets = true};
static const NnOp join_op = {"join", NULL, .pass = true, .forgets = true};

NnVar *nn_residual(NnTape *t, NnVar *x, NnVar *y, double p, VcRng *rng)
{
    VC_ASSERT(x != y && x->size == y->size);
    const NnContext *ctx = nn_tape_context(t);
    NnVar *out = nn_tape_may_take(t, y) ? nn_tape_in_place(t, y) : nn_tape_var(t, y->shape);
    const ResidualSaved saved = {p > 0 ? nn_tape_bytes(t, y->size) : NULL, p};
    if (p > 0)
        nn_dropout_forward(ctx, out->value, saved.mask, y->value, p, rng, y->size);
    nn_add_forward(ctx, out->value, x->value, p > 0 ? out->value : y->value, 1, x->size);
    nn_tape_push(t, p > 0 ? &residual_op : &join_op, out, (NnVar *[]){x, y}, 2, &saved, p > 0 ? sizeof saved : 0);
    return out;
}
