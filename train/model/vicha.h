// SPDX-License-Identifier: MIT
// ViCHA's pretraining (arXiv 2208.13628; docs of the project call its description "the spec"): image tower with concept
// tokens, text and fusion encoder, momentum teachers, queues, projections of hidden layers, decoder of masked patches.
// Names are the original's. vicha.c builds it, vicha_step.c is the forward pass of a step, vicha_costs.c counts.
//
// Everything besides the two towers is there only when the recipe's losses need it: with loss.itc, itm and mlm alone
// and without concepts it is ALBEF. Threads: as the model.
#pragma once

#include "train/model/bert.h"
#include "train/model/vit.h"

// What students and teachers have both.
typedef struct {
    TrainVit vit;
    TrainBert text, concepts; // concepts.count 0: without
    size_t kw_w, kw_b, vision_w, vision_b, text_w, text_b;
} VichaNet;

typedef struct {
    VichaNet student, teacher; // teacher: indexes into model->momentum
    size_t twins;              // parameters 0 .. twins - 1 of students and teachers are pairs at the same offsets
    size_t temp, itm_w, itm_b;
    size_t levels; // of HITC
    size_t *image_level_w, *image_level_b, *text_level_w, *text_level_b;
    // masked image modelling
    TrainLayerShape decoder_shape;
    TrainLayer *decoder;
    size_t decoder_count, embed_w, embed_b, mask_token, decoder_positions, decoder_norm_w, decoder_norm_b, pixels_w,
        pixels_b;
} Vicha;

static const double vicha_decoder_eps = 1e-5; // of the decoder's last norm; its blocks have 1e-6

bool vicha_fuses(const TrainRecipe *recipe);      // ITM or MLM is trained
size_t vicha_mim_keep(const TrainRecipe *recipe); // patches that are seen: int(N (1 - ratio))

// Concept tokens [B,K,Cv] of a batch, NULL without concepts.
NnVar *vicha_concepts(const TrainPass *p, const VichaNet *net, const TrainBatch *b);
// [CLS | patches | concepts] -> [B,1+N+K,Cv].
NnVar *vicha_image_tokens(const TrainPass *p, const VichaNet *net, NnVar *patches, NnVar *concepts);
// [B,1+N+K]: 0, or -10000 on padding among the concepts where the recipe hides it; else NULL.
const nn_real *vicha_image_mask(const TrainModel *model, NnTape *t, const TrainBatch *b);

void vicha_loss(TrainModel *model, NnTape *t, const TrainBatch *b, const TrainStep *step, TrainLoss *out);
void vicha_advance(TrainModel *model);
size_t vicha_parts(const TrainModel *model, TrainPart parts[TRAIN_MAX_PARTS]);
size_t vicha_costs(const TrainModel *model, TrainCost costs[TRAIN_MAX_PARTS]);
