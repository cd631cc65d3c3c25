// SPDX-License-Identifier: MIT
// The random decisions of a step: which words are hidden, which patches, which pairs are negatives.
//
// Every row of a batch has a stream of its own, made from (seed, epoch, record): what happens to a record depends
// neither on its place in the batch nor on threads, and a run that goes on draws what it would have drawn.
// Letters: B pairs, T tokens, N patches. Threads: any, one TrainDraws each.
#pragma once

#include "base/rng.h"
#include "nn/nn.h"
#include "train/batch.h"

typedef struct {
    int32_t *mlm_ids;    // [B,T]: the corrupted caption
    int32_t *mlm_labels; // [B,T]: the word that stood there, or NN_IGNORE_LABEL
    int32_t *mim_order;  // [B,N]: patches in random order; the first `mim_keep` are seen
    size_t mim_keep;
    // [B], no own pair among them; NULL: drawn by the model from its similarities
    int32_t *negative_images, *negative_texts;
} TrainDraws;

// How captions are corrupted (spec 3.6).
typedef struct {
    double probability; // of a token, pads and [CLS] left out; of those 80 % are hidden, 10 % random, 10 % as they are
    size_t vocabulary;
    int32_t mask_id, pad_id, class_id;
} TrainMlmRule;
// What is drawn for one position, and what it makes of the word that stands there.
typedef struct {
    bool select, hide, random; // with the rule's probability, 0.8, 0.5
    int32_t word;              // of the whole vocabulary, special words and all (T32)
} TrainWordDraw;
void train_corrupt_word(const TrainMlmRule *rule, const TrainWordDraw *draw, int32_t id, int32_t *corrupted,
                        int32_t *label);
// ids[T] -> corrupted[T], labels[T]. Four numbers are drawn a position whatever comes of it.
void train_draw_words(VcRng *rng, const TrainMlmRule *rule, const int32_t *ids, size_t tokens, int32_t *corrupted,
                      int32_t *labels);
// order[N]: a random permutation.
void train_draw_patches(VcRng *rng, size_t n, int32_t *order);
// The stream of row `row` of a batch for decisions of the step (the sampler's draws are another one).
VcRng train_row_stream(uint64_t seed, const TrainBatch *b, size_t row);

// Index drawn with probability proportional to softmax(logits[n]) without those where group is that of `own` or the
// index is `own` (spec 3.5). Where nothing is left of the weights: uniform over those allowed, or over all but `own`
// when none is. n >= 2. group NULL: all differ.
size_t train_draw_negative(VcRng *rng, const nn_real *logits, size_t n, size_t own, const int32_t *group);
