// SPDX-License-Identifier: MIT
// Transformer layers on the tape, shared by the towers: pre-LN blocks (CLIP, ViT) and post-LN layers (BERT).
// Letters: B samples, T tokens, C width, F hidden width of the feed-forward part. Threads: as the tape.
#pragma once

#include "train/model/model.h"

// One forward pass through one set of parameters: students with a tape that records, teachers with one that does not.
typedef struct {
    NnTape *tape;
    NnParams *params;
    double dropout;    // of BERT's layers (embeddings, attention probabilities, outputs); 0: none
    VcRng *rng;        // where dropout draws
    TrainTrace *trace; // NULL, or where intermediate values are noted
} TrainPass;

// Indexes of one layer's parameters. q, k and v weights are added one after the other so that they can be read as one
// [3C,C] matrix; where a model has them joined already (ViT's qkv), `joined` is set and q_w, q_b are that matrix.
typedef struct {
    size_t ln1_w, ln1_b, q_w, k_w, v_w, q_b, k_b, v_b, out_w, out_b, ln2_w, ln2_b, fc1_w, fc1_b, fc2_w, fc2_b;
    bool joined;
    // cross-attention of a fusion layer: queries from C, keys and values from the images' width
    bool cross;
    size_t cq_w, cq_b, ck_w, ck_b, cv_w, cv_b, co_w, co_b, cln_w, cln_b;
} TrainLayer;

typedef struct {
    size_t width, heads, mlp;
    double eps;
    bool quick; // quick_gelu
} TrainLayerShape;

// Adds a parameter "PREFIX.NAME"; weight decay as ViCHA: not for one dimension, not for "*.bias".
size_t train_add(NnParams *params, const char *prefix, const char *name, NnShape shape);
void train_add_norm(NnParams *params, const char *prefix, const char *name, size_t width, size_t *w, size_t *b);
void train_add_linear(NnParams *params, const char *prefix, const char *name, size_t in, size_t out, size_t *w,
                      size_t *b);

// The parameter itself; its first `rows` rows; x[..,I] through the linear layer w, b; the layer norm w, b.
NnVar *train_var(const TrainPass *p, size_t index);
NnVar *train_rows(const TrainPass *p, size_t index, size_t rows);
NnVar *train_linear(const TrainPass *p, NnVar *x, size_t w, size_t b);
NnVar *train_norm(const TrainPass *p, NnVar *x, size_t w, size_t b, double eps);

// x[B,T,C] -> [B,T,C]: x += attention(LN(x)); x += mlp(LN(x)). mask[B,T] is added to the scores of the keys, or NULL.
NnVar *train_pre_block(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x, const nn_real *mask,
                       bool causal);
// The same block where only one token a sample is read after it: -> [B,C], the token at at[b]. Exact, and about a
// block's worth of work less. `mask` must hide what that token does not see.
NnVar *train_pre_block_pooled(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                              const nn_real *mask, const int32_t *at);

// Keys and values of the images for one fusion layer, [S,Ti,C] each, or both in one [S,Ti,2C] (then v is NULL). They do
// not depend on the text: made once, read by every pass over these images.
typedef struct {
    NnVar *k, *v;
} TrainKeys;
TrainKeys train_cross_keys(const TrainPass *p, const TrainLayer *l, NnVar *images);

// What a post-LN layer looks at besides its input.
typedef struct {
    const nn_real *mask;       // [B,T] of the text's padding
    const TrainKeys *keys;     // NULL: no cross-attention
    const int32_t *source;     // [B]: image of each text; NULL: its own
    const nn_real *image_mask; // [S,Ti] of hidden image tokens, or NULL
    bool class_only;           // only token 0 is read after this layer: -> [B,1,C]
} TrainLook;
// x[B,T,C] -> [B,T,C]: x = LN(x + attention(x)); with keys x = LN(x + cross(x, keys)); x = LN(x + mlp(x)).
NnVar *train_post_layer(const TrainPass *p, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                        const TrainLook *look);

// Where nothing is recorded (teachers, evaluation), a chain of layers keeps one value instead of all that the layers
// made: `x` is copied once (train_chain_begin), each layer's output is put in its place and the rest is given back.
typedef struct {
    NnVar *x;
    NnTapeMark mark;
    bool lean;
} TrainChain;
TrainChain train_chain_begin(const TrainPass *p, NnVar *x);
void train_chain_next(const TrainPass *p, TrainChain *chain, NnVar *y); // y has x's size, or the chain ends here

// Multiply-adds of one layer over T tokens, and floats kept for its backward pass.
double train_layer_macs(const TrainLayerShape *s, double tokens);
double train_layer_kept(const TrainLayerShape *s, double tokens);
// The cross-attention of one layer: what depends on the text's tokens, and the keys and values of the images.
double train_cross_macs(const TrainLayerShape *s, double tokens, double image_tokens);
double train_cross_keys_macs(const TrainLayerShape *s, double image_width, double image_tokens);
