// SPDX-License-Identifier: MIT
// Image-text contrastive losses: inside a batch, against momentum features and a queue, and between hidden layers.
//
// Equal captions: two images with the same words are not negatives of each other, and the model cannot tell their texts
// apart. Where a `group` is given, the hard target of a row is spread evenly over all pairs with its caption; NULL is
// one-hot, as in CLIP, ALBEF and ViCHA. group[B]: first row with the same caption. Letters: B pairs, K keys, E width.
// Threads: as the tape.
#pragma once

#include "nn/nn.h"

// The pairs among the keys: columns 0 .. count - 1; row i is pair first + i of them. One process: first 0, count B.
// Several: those of all processes by rank. group[count] as above, or NULL.
typedef struct {
    size_t first, count;
    const int32_t *group;
} TrainPairs;

// logits[B,K]: row i's positive is column first + i. Mean cross-entropy against hard targets.
NnVar *train_pair_loss(NnTape *t, NnVar *logits, const TrainPairs *pairs);
// Half the sum of both directions: image_to_text[B,K] and text_to_image[B,K].
NnVar *train_pair_losses(NnTape *t, NnVar *image_to_text, NnVar *text_to_image, const TrainPairs *pairs);

// logits[B,B]: image i against text j, already scaled. Returns the scalar (CE(rows) + CE(columns)) / 2, means over the
// batch.
NnVar *train_itc_loss(NnTape *t, NnVar *logits, const int32_t *group);

// One direction of ITC with momentum distillation (spec 3.3). feature[B,E] of the student, teacher[B,E] of its teacher,
// keys[K,E] of the other side: momentum features of the pairs first, then the queue; both constants, by reference.
// target = alpha softmax(teacher keys^T / temp) + (1 - alpha) hard. Returns mean CE; *similarity (may be NULL) is
// feature keys^T / temp [B,K]; *targets and *teacher_similarity likewise (alpha 0: the latter is not made, NULL).
typedef struct {
    NnVar *loss, *similarity, *teacher_similarity;
    nn_real *targets; // [B,K]
} TrainItcSide;
TrainItcSide train_itc_side(NnTape *t, NnVar *feature, const nn_real *teacher, const nn_real *keys, size_t key_count,
                            NnVar *temp, double alpha, const TrainPairs *pairs);

// One level of HITC (spec 3.4): half the sum of both directions against hard targets. all_*[K,E]: features of all
// processes, constants, whose rows are the pairs; NULL: those of the batch. detach: as the original
// also with one process, a key gets no gradient.
typedef struct {
    const nn_real *all_images, *all_texts;
    TrainPairs pairs;
    bool detach;
} TrainHitcHow;
typedef struct {
    NnVar *loss, *image_to_text, *text_to_image; // scalar, [B,K], [B,K]
} TrainHitcLevel;
TrainHitcLevel train_hitc_level(NnTape *t, NnVar *images, NnVar *texts, NnVar *temp, const TrainHitcHow *how);
