// SPDX-License-Identifier: MIT
#include "nn/tape.h"

#include "base/err.h"
#include "nn/kernels/kernels.h"
#include "nn/tape_node.h"

#include <stdlib.h>
#include <string.h>

// A gradient that has been passed on: its memory serves the next one of about the same size.
typedef struct {
    nn_real *memory;
    size_t size;
} FreeGrad;

struct NnTape {
    const NnContext *ctx;
    VcArena *arena;
    NnNode *nodes;
    size_t count, cap;
    FreeGrad *free_grads;
    size_t free_count, free_cap;
    NnGradReady ready;
    void *ready_user;
    size_t *first_use; // of each parameter while playing: 1 + the node that read it first, 0 = none or already told
    size_t first_cap;
    bool record, played;
};

NnTape *nn_tape_create(const NnContext *ctx)
{
    NnTape *t = vc_calloc(1, sizeof *t);
    t->ctx = ctx;
    t->arena = vc_arena_create("nn tape");
    t->record = true;
    return t;
}

void nn_tape_destroy(NnTape **tape)
{
    if (!tape || !*tape)
        return;
    vc_arena_destroy(&(*tape)->arena);
    free((*tape)->nodes);
    free((*tape)->free_grads);
    free((*tape)->first_use);
    free(*tape);
    *tape = NULL;
}

void nn_tape_reset(NnTape *t)
{
    vc_arena_reset(t->arena);
    t->count = t->free_count = 0;
    t->record = true;
    t->played = false;
}

void nn_tape_record(NnTape *t, bool on)
{
    t->record = on;
}

bool nn_tape_recording(const NnTape *t)
{
    return t->record;
}

NnTapeMark nn_tape_mark(const NnTape *t)
{
    return (NnTapeMark){vc_arena_mark(t->arena), t->count};
}

void nn_tape_release(NnTape *t, NnTapeMark mark)
{
    VC_ASSERT(t->count == mark.count);
    vc_arena_release(t->arena, mark.arena);
}

size_t nn_tape_peak(const NnTape *t)
{
    return vc_arena_peak(t->arena);
}

size_t nn_tape_count(const NnTape *t)
{
    return t->count;
}

const NnContext *nn_tape_context(const NnTape *t)
{
    return t->ctx;
}

void *nn_tape_bytes(NnTape *t, size_t n)
{
    return vc_arena_alloc(t->arena, n, 1);
}

nn_real *nn_tape_alloc(NnTape *t, size_t n)
{
    return vc_arena_alloc(t->arena, n, sizeof(nn_real));
}

int32_t *nn_tape_alloc_ids(NnTape *t, size_t n)
{
    return vc_arena_alloc(t->arena, n, sizeof(int32_t));
}

// ---- variables

static NnVar *view(NnTape *t, nn_real *value, NnShape shape)
{
    NnVar *v = vc_arena_zalloc(t->arena, 1, sizeof *v);
    VC_ASSERT(nn_shape_count(&shape, &v->size));
    v->value = value;
    v->shape = shape;
    return v;
}

NnVar *nn_tape_var(NnTape *t, NnShape shape)
{
    NnVar *v = view(t, NULL, shape);
    v->value = nn_tape_alloc(t, v->size);
    v->own = true;
    return v;
}

NnVar *nn_input(NnTape *t, const nn_real *value, NnShape shape)
{
    // A constant: no op writes to the value of an input, and no gradient is made for it.
    nn_real *shared;
    memcpy(&shared, &value, sizeof shared);
    return view(t, shared, shape);
}

NnVar *nn_leaf(NnTape *t, nn_real *value, nn_real *grad, NnShape shape)
{
    NnVar *v = view(t, value, shape);
    v->grad = grad;
    v->needs_grad = v->keep_grad = grad != NULL;
    return v;
}

NnVar *nn_param(NnTape *t, NnParams *params, size_t index)
{
    VC_ASSERT(index < params->count && params->value);
    const NnParamInfo *p = &params->items[index];
    const bool trained = params->grad && !(p->flags & NN_PARAM_FROZEN);
    NnVar *v = nn_leaf(t, params->value + p->offset, trained ? params->grad + p->offset : NULL, p->shape);
    v->param = trained ? index + 1 : 0;
    return v;
}

NnVar *nn_detach(NnTape *t, NnVar *x)
{
    return nn_input(t, x->value, x->shape);
}

static const NnOp reshape_op = {"reshape", NULL, .pass = true};

NnVar *nn_reshape(NnTape *t, NnVar *x, NnShape shape)
{
    NnVar *y = view(t, x->value, shape);
    VC_ASSERT(y->size == x->size);
    nn_tape_push(t, &reshape_op, y, &x, 1, NULL, 0);
    return y;
}

typedef struct {
    NnBack back;
    void *user;
} Custom;

static void custom_backward(NnTape *t, const NnNode *node)
{
    const Custom *custom = node->saved;
    nn_real *dx = nn_tape_grad(t, node->in[0]);
    if (dx)
        custom->back(custom->user, node->out->grad, dx);
}

static const NnOp custom_op = {"custom", custom_backward, .pass = false};

NnVar *nn_custom(NnTape *t, NnVar *x, nn_real *value, NnShape shape, NnBack back, void *user)
{
    NnVar *y = view(t, value, shape);
    nn_tape_push(t, &custom_op, y, &x, 1, &(Custom){back, user}, sizeof(Custom));
    return y;
}

void nn_keep_grad(NnVar *x)
{
    x->keep_grad = true;
}

// ---- recording

bool nn_tape_wants(const NnTape *t, NnVar *const *in, size_t count)
{
    bool needed = false;
    for (size_t i = 0; i < count; i++)
        needed |= in[i] && in[i]->needs_grad;
    return t->record && needed;
}

void nn_tape_push(NnTape *t, const NnOp *op, NnVar *out, NnVar *const *in, size_t count, const void *saved,
                  size_t saved_size)
{
    if (!nn_tape_wants(t, in, count))
        return;
    VC_ASSERT(!t->played);
    out->needs_grad = true;
    t->nodes = vc_grow(t->nodes, &t->cap, t->count + 1, sizeof *t->nodes);
    NnNode *node = &t->nodes[t->count++];
    *node = (NnNode){.op = op, .out = out, .count = count};
    node->in = vc_arena_alloc(t->arena, count, sizeof(void *));
    for (size_t i = 0; i < count; i++)
        node->in[i] = in[i];
    if (saved_size) {
        void *copy = nn_tape_bytes(t, saved_size);
        memcpy(copy, saved, saved_size);
        node->saved = copy;
    }
}

// ---- backward

static nn_real *take_grad(NnTape *t, size_t size)
{
    for (size_t i = t->free_count; i-- > 0;) {
        if (t->free_grads[i].size == size) {
            nn_real *memory = t->free_grads[i].memory;
            t->free_grads[i] = t->free_grads[--t->free_count];
            return memory;
        }
    }
    return nn_tape_alloc(t, size);
}

static void give_back(NnTape *t, NnVar *v)
{
    if (!v->keep_grad) {
        t->free_grads = vc_grow(t->free_grads, &t->free_cap, t->free_count + 1, sizeof *t->free_grads);
        t->free_grads[t->free_count++] = (FreeGrad){v->grad, v->size};
        v->grad = NULL;
    }
}

nn_real *nn_tape_grad(NnTape *t, NnVar *v)
{
    if (!v || !v->needs_grad)
        return NULL;
    if (!v->grad) {
        v->grad = take_grad(t, v->size);
        nn_zero(t->ctx, v->grad, v->size);
    }
    return v->grad;
}

nn_real *nn_tape_first_grad(NnTape *t, NnVar *v, bool *add)
{
    if (!v || !v->needs_grad)
        return NULL;
    *add = v->grad != NULL;
    if (!v->grad)
        v->grad = take_grad(t, v->size);
    return v->grad;
}

bool nn_tape_may_take(const NnTape *t, const NnVar *v)
{
    if (!v->needs_grad)
        return v->own;
    const NnNode *last = t->count ? &t->nodes[t->count - 1] : NULL;
    return v->own && last && last->out == v && last->op->forgets;
}

NnVar *nn_tape_in_place(NnTape *t, NnVar *v)
{
    NnVar *y = view(t, v->value, v->shape);
    y->own = v->own;
    return y;
}

// The op is the identity for its gradient: the first input that has none yet takes over the memory.
static void pass_grad(NnTape *t, const NnNode *node)
{
    nn_real *grad = node->out->grad;
    for (size_t i = 0; i < node->count; i++) {
        NnVar *in = node->in[i];
        if (!in->needs_grad)
            continue;
        if (in->grad == grad) { // x + x
            t->ctx->kernels->scale(grad, 2, in->size);
        } else if (!in->grad && node->out->grad && !node->out->keep_grad) {
            in->grad = grad;
            node->out->grad = NULL;
        } else {
            nn_accumulate(t->ctx, nn_tape_grad(t, in), grad, in->size);
        }
    }
}

void nn_tape_on_ready(NnTape *t, NnGradReady ready, void *user)
{
    t->ready = ready;
    t->ready_user = user;
}

static void find_first_uses(NnTape *t)
{
    if (t->first_cap > 0)
        memset(t->first_use, 0, t->first_cap * sizeof *t->first_use);
    for (size_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < t->nodes[i].count; k++) {
            const NnVar *in = t->nodes[i].in[k];
            if (!in || !in->param)
                continue;
            size_t before = t->first_cap;
            t->first_use = vc_grow(t->first_use, &t->first_cap, in->param, sizeof *t->first_use);
            memset(t->first_use + before, 0, (t->first_cap - before) * sizeof *t->first_use);
            if (!t->first_use[in->param - 1])
                t->first_use[in->param - 1] = i + 1;
        }
    }
}

// No op before node i reads these parameters: their gradients are complete.
static void tell_ready(NnTape *t, size_t i)
{
    const NnNode *node = &t->nodes[i];
    for (size_t k = 0; k < node->count; k++) {
        const NnVar *in = node->in[k];
        if (in && in->param && t->first_use[in->param - 1] == i + 1) {
            t->first_use[in->param - 1] = 0;
            t->ready(t->ready_user, in->param - 1);
        }
    }
}

static void play(NnTape *t)
{
    VC_ASSERT(!t->played);
    t->played = true;
    if (t->ready)
        find_first_uses(t);
    for (size_t i = t->count; i-- > 0;) {
        const NnNode *node = &t->nodes[i];
        if (node->out->grad) { // else it did not reach the loss
            if (node->op->pass) {
                pass_grad(t, node);
            } else {
                node->op->backward(t, node);
            }
            if (node->out->grad)
                give_back(t, node->out);
        }
        if (t->ready)
            tell_ready(t, i);
    }
}

void nn_backward(NnTape *t, NnVar *loss)
{
    VC_ASSERT(loss->size == 1);
    const nn_real one = 1;
    nn_backward_from(t, loss, &one);
}

void nn_backward_from(NnTape *t, NnVar *y, const nn_real *dy)
{
    nn_real *grad = nn_tape_grad(t, y);
    if (grad)
        nn_accumulate(t->ctx, grad, dy, y->size);
    play(t);
}
