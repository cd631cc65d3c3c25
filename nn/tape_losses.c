// SPDX-License-Identifier: MIT
// Ops of the tape that end in a number or scale by one.
#include "base/err.h"
#include "nn/tape.h"
#include "nn/tape_node.h"

static NnVar *scalar(NnTape *t)
{
    return nn_tape_var(t, NN_SCALAR);
}

// ---- scale

static void scale_backward(NnTape *t, const NnNode *node)
{
    const nn_real *c = node->saved;
    NnVar *x = node->in[0];
    nn_scale_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, *c, x->size);
}
static const NnOp scale_op = {"scale", .backward = scale_backward};

NnVar *nn_scale(NnTape *t, NnVar *x, double c)
{
    const nn_real factor = (nn_real)c;
    NnVar *y = nn_tape_var(t, x->shape);
    nn_scale_forward(nn_tape_context(t), y->value, x->value, factor, x->size);
    nn_tape_push(t, &scale_op, y, &x, 1, &factor, sizeof factor);
    return y;
}

static void scale_by_backward(NnTape *t, const NnNode *node)
{
    const NnScaleKind *kind = node->saved;
    NnVar *x = node->in[0], *s = node->in[1];
    nn_scale_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad, nn_scale_factor(*kind, s->value[0]),
                      x->size);
    nn_scale_backward_scalar(nn_tape_context(t), nn_tape_grad(t, s), node->out->grad, x->value, *kind, s->value[0],
                             x->size);
}
static const NnOp scale_by_op = {"scale_by", .backward = scale_by_backward};

NnVar *nn_scale_by(NnTape *t, NnVar *x, NnVar *s, NnScaleKind kind)
{
    VC_ASSERT(s->size == 1);
    NnVar *y = nn_tape_var(t, x->shape);
    nn_scale_forward(nn_tape_context(t), y->value, x->value, nn_scale_factor(kind, s->value[0]), x->size);
    nn_tape_push(t, &scale_by_op, y, (NnVar *[]){x, s}, 2, &kind, sizeof kind);
    return y;
}

// ---- losses

typedef struct {
    const nn_real *targets, *weight;
    const int32_t *labels;
} LossSaved;

static void cross_entropy_backward(NnTape *t, const NnNode *node)
{
    const LossSaved *saved = node->saved;
    NnVar *x = node->in[0];
    nn_cross_entropy_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad[0], x->value, saved->labels,
                              x->shape.dim[0], x->shape.dim[1]);
}
static const NnOp cross_entropy_op = {"cross_entropy", .backward = cross_entropy_backward};

NnVar *nn_cross_entropy(NnTape *t, NnVar *logits, const int32_t *labels)
{
    VC_ASSERT(logits->shape.rank == 2);
    NnVar *loss = scalar(t);
    nn_cross_entropy_forward(nn_tape_context(t), loss->value, logits->value, labels, logits->shape.dim[0],
                             logits->shape.dim[1]);
    const LossSaved saved = {.labels = labels};
    nn_tape_push(t, &cross_entropy_op, loss, &logits, 1, &saved, sizeof saved);
    return loss;
}

static void soft_cross_entropy_backward(NnTape *t, const NnNode *node)
{
    const LossSaved *saved = node->saved;
    NnVar *x = node->in[0];
    nn_soft_cross_entropy_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad[0], x->value, saved->targets,
                                   saved->labels, x->shape.dim[0], x->shape.dim[1]);
}
static const NnOp soft_cross_entropy_op = {"soft_cross_entropy", .backward = soft_cross_entropy_backward};

NnVar *nn_soft_cross_entropy(NnTape *t, NnVar *logits, const nn_real *targets, const int32_t *labels)
{
    VC_ASSERT(logits->shape.rank == 2);
    NnVar *loss = scalar(t);
    nn_soft_cross_entropy_forward(nn_tape_context(t), loss->value, logits->value, targets, labels, logits->shape.dim[0],
                                  logits->shape.dim[1]);
    const LossSaved saved = {.targets = targets, .labels = labels};
    nn_tape_push(t, &soft_cross_entropy_op, loss, &logits, 1, &saved, sizeof saved);
    return loss;
}

static size_t width_of(const NnVar *x)
{
    return x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 1;
}

static void mse_backward(NnTape *t, const NnNode *node)
{
    const LossSaved *saved = node->saved;
    NnVar *x = node->in[0];
    nn_mse_backward(nn_tape_context(t), nn_tape_grad(t, x), node->out->grad[0], x->value, saved->targets, saved->weight,
                    x->size / width_of(x), width_of(x));
}
static const NnOp mse_op = {"mse", .backward = mse_backward};

NnVar *nn_mse(NnTape *t, NnVar *x, const nn_real *target, const nn_real *weight)
{
    NnVar *loss = scalar(t);
    nn_mse_forward(nn_tape_context(t), loss->value, x->value, target, weight, x->size / width_of(x), width_of(x));
    const LossSaved saved = {.targets = target, .weight = weight};
    nn_tape_push(t, &mse_op, loss, &x, 1, &saved, sizeof saved);
    return loss;
}

// ---- sums

static void sum_backward(NnTape *t, const NnNode *node)
{
    const double *factor = node->saved;
    NnVar *x = node->in[0];
    nn_sum_backward(nn_tape_context(t), nn_tape_grad(t, x), (nn_real)(*factor * (double)node->out->grad[0]), x->size);
}
static const NnOp sum_op = {"sum", .backward = sum_backward};

static NnVar *scaled_sum(NnTape *t, NnVar *x, double factor)
{
    NnVar *y = scalar(t);
    y->value[0] = (nn_real)(factor * nn_sum_forward(nn_tape_context(t), x->value, x->size));
    nn_tape_push(t, &sum_op, y, &x, 1, &factor, sizeof factor);
    return y;
}

NnVar *nn_sum(NnTape *t, NnVar *x)
{
    return scaled_sum(t, x, 1);
}

NnVar *nn_mean(NnTape *t, NnVar *x)
{
    VC_ASSERT(x->size > 0);
    return scaled_sum(t, x, 1 / (double)x->size);
}

static void weighted_sum_backward(NnTape *t, const NnNode *node)
{
    const double *weights = node->saved;
    for (size_t i = 0; i < node->count; i++) {
        nn_real *d = nn_tape_grad(t, node->in[i]);
        if (d)
            d[0] += (nn_real)(weights[i] * (double)node->out->grad[0]);
    }
}
static const NnOp weighted_sum_op = {"weighted_sum", .backward = weighted_sum_backward};

NnVar *nn_weighted_sum(NnTape *t, NnVar *const *x, const double *weights, size_t n)
{
    NnVar *y = scalar(t);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        VC_ASSERT(x[i]->size == 1);
        sum += weights[i] * (double)x[i]->value[0];
    }
    y->value[0] = (nn_real)sum;
    nn_tape_push(t, &weighted_sum_op, y, x, n, weights, n * sizeof *weights);
    return y;
}
