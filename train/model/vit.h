// SPDX-License-Identifier: MIT
// The original's ViT (timm names): class token, positions, then further tokens without positions appended, pre-LN
// blocks with a joined qkv matrix, final norm. Layer-norm eps 1e-6, exact GELU. Threads: as the tape.
#pragma once

#include "train/model/block.h"

typedef struct {
    TrainLayerShape shape;
    TrainLayer *layers;
    size_t count, patch, side; // side: pixels of the image
    size_t class_token, positions, patch_w, patch_b, norm_w, norm_b;
} TrainVit;

void train_vit_build(TrainModel *model, TrainVit *vit, const char *prefix);
void train_vit_init(TrainModel *model, const TrainVit *vit, uint64_t seed);
// images[B,3,S,S], more[B,K,C] or NULL -> the class token after the final norm, [B,C].
NnVar *train_vit_class(TrainModel *model, NnTape *t, const TrainVit *vit, const float *images, size_t b, NnVar *more);
size_t train_vit_patches(const TrainVit *vit);
