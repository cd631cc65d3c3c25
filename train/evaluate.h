// SPDX-License-Identifier: MIT
// Retrieval on held-out pairs. Threads: one at a time; ops use the tape's pool.
//
// Equal captions: every image of a caption is a right answer for it, and every text equal to an image's own is right
// for that image; chance counts the same way. A wrong candidate with the same score as the best right one counts as
// before it, so a model that gives one score to everything gets nothing.
#pragma once

#include "train/model/model.h"
#include "train/sampler.h"
#include "train/train.h"

typedef struct TrainEvaluator TrainEvaluator;

// Takes at most recipe->eval_samples held-out records, the same ones in every run over the same data.
TrainEvaluator *train_evaluator_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe);
void train_evaluator_destroy(TrainEvaluator **evaluator);
size_t train_evaluator_count(const TrainEvaluator *evaluator); // below 2: there is nothing to retrieve from

bool train_evaluate(TrainEvaluator *evaluator, TrainModel *model, NnTape *tape, VcPool *pool, TrainRecall *recall,
                    VcErr *err);

// scores[n,n]: image i against text j; group[n] as in TrainBatch. Recall in percent at 1, 5, 10 and its chance.
void train_recall(const float *scores, const int32_t *group, size_t n, TrainRecall *recall);
