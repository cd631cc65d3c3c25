// SPDX-License-Identifier: MIT
// BERT's embeddings and post-LN layers without cross-attention (the fusion layers come with the whole objective).
// Layer-norm eps 1e-12, exact GELU, no dropout yet. Threads: as the tape.
#pragma once

#include "train/model/block.h"

enum { TRAIN_BERT_POSITIONS = 512, TRAIN_BERT_PAD = 0 };

typedef struct {
    TrainLayerShape shape;
    TrainLayer *layers;
    size_t count;
    size_t words, positions, types, norm_w, norm_b;
} TrainBert;

void train_bert_build(TrainModel *model, TrainBert *bert, const char *prefix, size_t layers);
void train_bert_init(TrainModel *model, const TrainBert *bert, uint64_t seed);
// ids[B,T], mask[B,T] added to the attention scores -> the last layer's output [B,T,C]. T <= TRAIN_BERT_POSITIONS.
NnVar *train_bert_text(TrainModel *model, NnTape *t, const TrainBert *bert, const int32_t *ids, const float *mask,
                       size_t b, size_t tokens);
