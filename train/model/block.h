// SPDX-License-Identifier: MIT
// Transformer layers on the tape, shared by the towers: pre-LN blocks (CLIP, ViT) and post-LN layers (BERT).
// Letters: B samples, T tokens, C width, F hidden width of the feed-forward part. Threads: as the tape.
#pragma once

#include "train/model/model.h"

// Indexes of one layer's parameters. q, k and v weights are added one after the other so that they can be read as one
// [3C,C] matrix; where a model has them joined already (ViT's qkv), `joined` is set and q_w, q_b are that matrix.
typedef struct {
    size_t ln1_w, ln1_b, q_w, k_w, v_w, q_b, k_b, v_b, out_w, out_b, ln2_w, ln2_b, fc1_w, fc1_b, fc2_w, fc2_b;
    bool joined;
} TrainLayer;

typedef struct {
    size_t width, heads, mlp;
    double eps;
    bool quick; // quick_gelu
} TrainLayerShape;

// Adds a parameter "PREFIX.NAME"; weight decay as ViCHA: not for one dimension, not for "*.bias".
size_t train_add(TrainModel *model, const char *prefix, const char *name, NnShape shape);
void train_add_norm(TrainModel *model, const char *prefix, const char *name, size_t width, size_t *w, size_t *b);
void train_add_linear(TrainModel *model, const char *prefix, const char *name, size_t in, size_t out, size_t *w,
                      size_t *b);

// The parameter itself, its first rows, or q, k, v weights as one [3C,C] where memory allows.
NnVar *train_var(TrainModel *model, NnTape *t, size_t index);
NnVar *train_rows(TrainModel *model, NnTape *t, size_t index, size_t rows);

// x[B,T,C] -> [B,T,C]: x += attention(LN(x)); x += mlp(LN(x)).
NnVar *train_pre_block(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                       const float *mask, bool causal);
// The same block where only one token a sample is read after it: -> [B,C], the token at at[b]. Exact, and about a
// block's worth of work less. `mask` must hide what that token does not see.
NnVar *train_pre_block_pooled(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                              const float *mask, const int32_t *at);
// x[B,T,C] -> [B,T,C]: x = LN(x + attention(x)); x = LN(x + mlp(x)). ln1 follows the attention, ln2 the mlp.
NnVar *train_post_layer(TrainModel *model, NnTape *t, const TrainLayer *l, const TrainLayerShape *s, NnVar *x,
                        const float *mask);

// Multiply-adds of one layer over T tokens, and floats kept for its backward pass.
double train_layer_macs(const TrainLayerShape *s, double tokens);
double train_layer_kept(const TrainLayerShape *s, double tokens);
