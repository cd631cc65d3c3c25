// SPDX-License-Identifier: MIT
// The original's ViT (timm names): class token, positions, then further tokens without positions appended, pre-LN
// blocks with a joined qkv matrix, final norm. Layer-norm eps 1e-6, exact GELU, no dropout.
// Letters: N patches, K further tokens. Threads: as the tape.
#pragma once

#include "train/model/block.h"

typedef struct {
    TrainLayerShape shape;
    TrainLayer *layers;
    size_t count, patch, side; // side: pixels of the image
    size_t class_token, positions, patch_w, patch_b, norm_w, norm_b;
} TrainVit;

void train_vit_build(TrainModel *model, NnParams *params, TrainVit *vit, const char *prefix);
void train_vit_init(TrainModel *model, const TrainVit *vit, uint64_t seed);
size_t train_vit_patches(const TrainVit *vit); // N

// "PREFIX.I": also of the decoder of masked image modelling.
void train_vit_build_block(NnParams *params, TrainLayer *l, const TrainLayerShape *s, const char *prefix, size_t i);
void train_vit_init_block(TrainModel *model, const TrainLayer *l, uint64_t seed);

// Class token rows [B,C] of the outputs of blocks first .. first + count - 1 (before the final norm).
typedef struct {
    size_t first, count;
    NnVar **rows;
} TrainTaps;

// images[B,3,S,S] -> patch tokens with their positions, [B,N,C]: what the whole and the masked pass begin with.
NnVar *train_vit_patch_tokens(const TrainPass *p, const TrainVit *vit, const nn_real *images, size_t b);
// The class token with its position, or as it is (masked pass of the original), [1,1,C].
NnVar *train_vit_class_token(const TrainPass *p, const TrainVit *vit, bool with_position);
// All blocks over x[B,T,C], then the final norm -> [B,T,C]. mask[B,T] hides tokens as keys, or NULL; taps or NULL.
NnVar *train_vit_blocks(const TrainPass *p, const TrainVit *vit, NnVar *x, const nn_real *mask, const TrainTaps *taps);
// The same where only the class token is read: -> [B,C].
NnVar *train_vit_pooled(const TrainPass *p, const TrainVit *vit, NnVar *x, const nn_real *mask);
