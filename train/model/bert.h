// SPDX-License-Identifier: MIT
// BERT as ViCHA uses it: embeddings, post-LN layers, the upper ones with cross-attention to image tokens, and the head
// of masked language modelling, whose decoder is the word table. Layer-norm eps 1e-12, exact GELU, dropout of the pass.
// Letters: B texts, T tokens, C width, S images, Ti tokens of an image. Threads: as the tape.
#pragma once

#include "train/model/block.h"

enum { TRAIN_BERT_PAD = 0 }; // its row of the word table gets no gradient from look-ups

typedef struct {
    TrainLayerShape shape;
    TrainLayer *layers;
    size_t count, fusion; // layers; index of the first with cross-attention (count: none)
    size_t image_width;
    size_t words, positions, types, norm_w, norm_b;
    bool head;
    size_t head_bias, head_w, head_b, head_norm_w, head_norm_b;
} TrainBert;

// `image_width`: of the tokens that the layers from `fusion` on look at.
void train_bert_build(TrainModel *model, NnParams *params, TrainBert *bert, const char *prefix, size_t layers,
                      size_t fusion, size_t image_width);
// The head's parameters, "PREFIX.predictions.*"; its decoder matrix is the word table.
void train_bert_build_head(NnParams *params, TrainBert *bert, const char *prefix);
void train_bert_init(TrainModel *model, const TrainBert *bert, uint64_t seed);

// ids[B,T], mask[B,T] added to the attention scores (0, or -10000 on padding): both by reference.
typedef struct {
    const int32_t *ids;
    const nn_real *mask;
    size_t count, tokens; // B, T
} TrainText;
// Embeddings and layers 0 .. fusion - 1 -> [B,T,C]. Hidden state i is the embeddings' output for 0, layer i - 1's
// after that; class token rows [B,C] of states first .. first + count - 1 go to `taps` (NULL: none). class_only: only
// token 0 is read -> [B,1,C].
typedef struct {
    size_t first, count;
    NnVar **rows;
} TrainTextTaps;
NnVar *train_bert_text(const TrainPass *p, const TrainBert *bert, const TrainText *text, const TrainTextTaps *taps,
                       bool class_only);

// The images that fusion layers look at: keys and values of each layer from `fusion` on, made once.
typedef struct {
    TrainKeys *keys;
    const nn_real *mask; // [S,Ti] or NULL
} TrainImages;
// images[S,Ti,Cv] -> keys in the tape's memory.
TrainImages train_bert_images(const TrainPass *p, const TrainBert *bert, NnVar *images, const nn_real *mask);
// Layers fusion .. count - 1 over x[B,T,C]; text b looks at image source[b] (NULL: its own). class_only: -> [B,1,C].
NnVar *train_bert_fuse(const TrainPass *p, const TrainBert *bert, NnVar *x, const nn_real *mask,
                       const TrainImages *images, const int32_t *source, bool class_only);
// The head on any rows: x[R,C] -> logits [R,V].
NnVar *train_bert_head(const TrainPass *p, const TrainBert *bert, NnVar *x);
