// SPDX-License-Identifier: MIT
// The tape: records forward ops and plays their backwards in reverse. The maths is in nn/ops; this is bookkeeping only.
//
//     nn_tape_reset(t);
//     NnVar *x = nn_input(t, pixels, NN_SHAPE(B, 3, S, S));
//     x = nn_patch_embed(t, x, nn_param(t, params, conv_w), NULL, 16);
//     x = nn_concat(t, (NnVar *[]){nn_param(t, params, cls), x}, 2);
//     ...
//     NnVar *loss = nn_cross_entropy(t, logits, labels);
//     nn_params_zero_grad(params);
//     nn_backward(t, loss);              // params->grad now holds the gradient
//
// Rules: gradients add, so shared weights and residual joins need no care. An op none of whose inputs needs a gradient
// records nothing. Values, saved values and gradients live in the tape's arena until nn_tape_reset, except the
// gradients of intermediate values, whose memory is used again as soon as they have been passed on (nn_keep_grad keeps
// one). Buffers given by reference (inputs, ids, labels, targets, masks) must stay until after nn_backward. Nothing
// fails: a wrong shape is our mistake and aborts with VC_ASSERT.
//
// Threads: one tape is used by one thread; the ops inside use the context's pool.
#pragma once

#include "nn/ops/ops.h"
#include "nn/tensor.h"

// ---- parameters: named, in one block each for weights, gradients and the two moments of AdamW.
enum {
    NN_PARAM_DECAY = 1 << 0,  // weight decay applies
    NN_PARAM_FROZEN = 1 << 1, // no gradient, never updated
};
typedef struct {
    char *name;
    NnShape shape;
    size_t size, offset; // reals; offset into each block, a multiple of 64 bytes
    unsigned flags;
} NnParamInfo;
typedef struct {
    NnParamInfo *items;
    size_t count, cap;
    size_t size;                   // reals of one block, with the padding between parameters (always zero)
    nn_real *value, *grad, *m, *v; // NULL before nn_params_allocate; grad, m and v stay NULL for inference
} NnParams;
void nn_params_init(NnParams *params);
void nn_params_finish(NnParams *params); // a zeroed struct is allowed
// Returns the index of the new parameter. Names are unique (VC_ASSERT). Not after nn_params_allocate.
size_t nn_params_add(NnParams *params, const char *name, NnShape shape, unsigned flags);
// Zeroed blocks; with_moments: also grad, m and v.
void nn_params_allocate(NnParams *params, bool with_moments);
size_t nn_params_find(const NnParams *params, const char *name); // SIZE_MAX: no such name
size_t nn_params_count_trainable(const NnParams *params);        // numbers, without padding
void nn_params_zero_grad(NnParams *params);

// ---- variables
typedef struct {
    nn_real *value; // row-major
    nn_real *grad;  // NULL where none has come (yet)
    NnShape shape;
    size_t size;
    size_t param; // index + 1 of a trained parameter, else 0
    bool needs_grad, keep_grad;
    bool own; // value is memory that an op took for it
} NnVar;

typedef struct NnTape NnTape;
NnTape *nn_tape_create(const NnContext *ctx); // ctx is borrowed and must outlive the tape
void nn_tape_destroy(NnTape **tape);          // NULL allowed; clears
const NnContext *nn_tape_context(const NnTape *t);
void nn_tape_reset(NnTape *t); // forget everything recorded; all variables die, memory is kept
// false: what follows is computed but not recorded (evaluation, momentum teachers). true after create and reset.
void nn_tape_record(NnTape *t, bool on);
bool nn_tape_recording(const NnTape *t);
// Gives back all variables made since the mark. Nothing may have been recorded since (VC_ASSERT): for passes without
// gradients, whose values are not needed once the next layer has been computed.
typedef struct {
    VcArenaMark arena;
    size_t count;
} NnTapeMark;
NnTapeMark nn_tape_mark(const NnTape *t);
void nn_tape_release(NnTape *t, NnTapeMark mark);
size_t nn_tape_peak(const NnTape *t);        // most bytes ever held
size_t nn_tape_count(const NnTape *t);       // ops recorded since the reset
nn_real *nn_tape_alloc(NnTape *t, size_t n); // n reals in the arena, uninitialised
int32_t *nn_tape_alloc_ids(NnTape *t, size_t n);
void *nn_tape_bytes(NnTape *t, size_t n); // n bytes in the arena, uninitialised

NnVar *nn_input(NnTape *t, const nn_real *value, NnShape shape);         // a constant, by reference
NnVar *nn_leaf(NnTape *t, nn_real *value, nn_real *grad, NnShape shape); // gradient is added to grad, by reference
NnVar *nn_param(NnTape *t, NnParams *params, size_t index);
NnVar *nn_detach(NnTape *t, NnVar *x);                 // the same value, a constant
NnVar *nn_reshape(NnTape *t, NnVar *x, NnShape shape); // the same value and size, another shape
void nn_keep_grad(NnVar *x);                           // x->grad can be read after nn_backward

// Seeds the gradient of the scalar `loss` with 1 and plays the tape once. A tape is played once per reset.
void nn_backward(NnTape *t, NnVar *loss);
// The same for any variable with a gradient dy[size] of its own (tests, gradients from outside). A loss made of several
// parts is one nn_weighted_sum.
void nn_backward_from(NnTape *t, NnVar *y, const nn_real *dy);

// While a tape is played, ready(user, index) is called for every trained parameter of nn_param as soon as its gradient
// is final: after the backward of the first op that read it, whether or not a gradient came. All of them must be of one
// NnParams. Stays over resets; NULL ends it. This is what lets gradients travel while the rest is still computed.
typedef void (*NnGradReady)(void *user, size_t index);
void nn_tape_on_ready(NnTape *t, NnGradReady ready, void *user);

// An op whose maths is elsewhere (features of other processes): a variable with `value` by reference, whose backward
// back(user, dy, dx) adds to dx[x->size], given dy of shape `shape`. user must stay until after nn_backward.
typedef void (*NnBack)(void *user, const nn_real *dy, nn_real *dx);
NnVar *nn_custom(NnTape *t, NnVar *x, nn_real *value, NnShape shape, NnBack back, void *user);

// ---- ops; shapes in brackets, [..,C] any leading dimensions. Details and gradients: nn/ops/ops.h.
NnVar *nn_linear(NnTape *t, NnVar *x, NnVar *w, NnVar *b); // [..,I] [O,I] [O] -> [..,O]; b may be NULL
NnVar *nn_matmul_nt(NnTape *t, NnVar *a, NnVar *b);        // [M,K] [N,K] -> a b^T [M,N], in float always
NnVar *nn_transpose(NnTape *t, NnVar *x);                  // [M,N] -> [N,M]
NnVar *nn_layer_norm(NnTape *t, NnVar *x, NnVar *g, NnVar *b, double eps); // [..,C] [C] [C] -> [..,C]
NnVar *nn_gelu(NnTape *t, NnVar *x);
NnVar *nn_quick_gelu(NnTape *t, NnVar *x);
// nn_linear, GELU (quick: x * sigmoid(1.702 x)), nn_linear: [..,I] [F,I] [F] [O,F] [O] -> [..,O]. Keeps the hidden
// values once, not twice.
NnVar *nn_mlp(NnTape *t, NnVar *x, NnVar *w1, NnVar *b1, NnVar *w2, NnVar *b2, bool quick);
// nn_layer_norm and nn_mlp; keeps nothing between the two.
NnVar *nn_norm_mlp(NnTape *t, NnVar *x, NnVar *g, NnVar *b, double eps, NnVar *w1, NnVar *b1, NnVar *w2, NnVar *b2,
                   bool quick);
// nn_layer_norm and nn_linear: [..,I] [I] [I] [O,I] [O] -> [..,O]. Keeps nothing between the two.
NnVar *nn_norm_linear(NnTape *t, NnVar *x, NnVar *g, NnVar *b, double eps, NnVar *w, NnVar *bias);
// x + dropout(y), for the y that nn_linear or nn_mlp has just made and nobody else reads: the sum takes over y's memory
// (where y is another's value, it gets memory of its own). p = 0: nothing is drawn.
NnVar *nn_residual(NnTape *t, NnVar *x, NnVar *y, double p, VcRng *rng);
NnVar *nn_softmax(NnTape *t, NnVar *x); // over the last dimension
// q[B,Tq,C], k[B,Tk,C], v[B,Tk,C] -> [B,Tq,C]; scores scaled by 1/sqrt(C/heads). key_mask [B,Tk] added to the scores,
// by reference, or NULL.
NnVar *nn_attention(NnTape *t, NnVar *q, NnVar *k, NnVar *v, size_t heads, const nn_real *key_mask, bool causal);
// Packed self-attention: qkv[B,T,3C], rows q, k, v.
NnVar *nn_attention_qkv(NnTape *t, NnVar *qkv, size_t heads, const nn_real *key_mask, bool causal);
// All that attention can do (NnAttention says what), in three layouts: q[B,Tq,C], k[S,Tk,C], v[S,Tk,C]; v NULL: k is
// kv[S,Tk,2C], rows k, v; k and v NULL: q is qkv[B,T,3C]. -> [B,Tq,C].
typedef struct {
    size_t heads;
    const nn_real *key_mask; // [S,Tk] by reference, or NULL
    bool causal;
    const int32_t *source; // [B] by reference, or NULL: then S = B
    double dropout;        // of the probabilities; 0: nothing is drawn
    VcRng *rng;            // where one number is drawn when there is dropout
} NnAttentionHow;
NnVar *nn_attend(NnTape *t, NnVar *q, NnVar *k, NnVar *v, const NnAttentionHow *how);
// table[V,C], ids[B*T] by reference -> [B,T,C]. The row pad_id gets no gradient (-1: every row does).
NnVar *nn_embedding(NnTape *t, NnVar *table, const int32_t *ids, size_t B, size_t T, int32_t pad_id);
NnVar *nn_patch_embed(NnTape *t, NnVar *images, NnVar *w, NnVar *b, size_t patch); // [B,K,S,S] [O,K,P,P] -> [B,N,O]
NnVar *nn_add(NnTape *t, NnVar *a, NnVar *b); // same shape, or b's shape is the end of a's: repeated over the rest
NnVar *nn_concat(NnTape *t, NnVar *const *x, size_t n); // [B or 1,T_i,C] -> [B,sum T_i,C]; 1: the same for all samples
NnVar *nn_gather(NnTape *t, NnVar *x, const int32_t *index, size_t n); // rows of x[..,C] -> [n,C]; index by reference
NnVar *nn_token(NnTape *t, NnVar *x, size_t position);                 // [B,T,C] -> [B,C], e.g. the class token
NnVar *nn_token_at(NnTape *t, NnVar *x, const int32_t *position);      // one position per sample [B] -> [B,C]; copied
NnVar *nn_l2_normalize(NnTape *t, NnVar *x);                           // rows of the last dimension
NnVar *nn_dropout(NnTape *t, NnVar *x, double p, VcRng *rng);          // p = 0: x itself, nothing drawn
NnVar *nn_scale(NnTape *t, NnVar *x, double c);                        // c x
NnVar *nn_scale_by(NnTape *t, NnVar *x, NnVar *s, NnScaleKind kind);   // s x, exp(s) x, x / s; s holds one number
NnVar *nn_cross_entropy(NnTape *t, NnVar *logits, const int32_t *labels); // [R,V], labels[R] -> scalar
NnVar *nn_soft_cross_entropy(NnTape *t, NnVar *logits, const nn_real *targets, const int32_t *labels);
NnVar *nn_mse(NnTape *t, NnVar *x, const nn_real *target, const nn_real *weight);    // x[..,C], weight per row or NULL
NnVar *nn_sum(NnTape *t, NnVar *x);                                                  // scalar
NnVar *nn_mean(NnTape *t, NnVar *x);                                                 // scalar
NnVar *nn_weighted_sum(NnTape *t, NnVar *const *x, const double *weights, size_t n); // sum_i w_i x_i of scalars
