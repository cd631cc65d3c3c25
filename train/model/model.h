// SPDX-License-Identifier: MIT
// A model of an objective: named parameters, and how they turn a batch into features and a loss on a tape.
//
// What the loop knows of a model is here; what differs between objectives is in the table that clip.c and vicha.c
// fill. Parameter names are those of the files users load: Hugging Face CLIP's for clip, the original's state_dict
// names (docs/FORMATS.md) for vicha-itc. Threads: one at a time; ops use the tape's pool.
#pragma once

#include "nn/nn.h"
#include "train/batch.h"
#include "train/recipe.h"

typedef struct TrainModel TrainModel;

// A count of multiply-adds of one forward pass of one pair, and of the floats it keeps for the backward pass.
typedef struct {
    const char *part, *prefix; // e.g. "image tower", parameters whose name starts with "vision_model."
    double macs, kept;
} TrainCost;
enum { TRAIN_MAX_PARTS = 8 };

typedef struct {
    const char *name;
    void (*build)(TrainModel *model);                                    // adds the parameters
    void (*init)(TrainModel *model, uint64_t seed);                      // first values
    void (*clamp)(TrainModel *model);                                    // before each step
    NnVar *(*images)(TrainModel *model, NnTape *t, const TrainBatch *b); // [B,E], length 1
    NnVar *(*texts)(TrainModel *model, NnTape *t, const TrainBatch *b);  // [B,E], length 1
    NnVar *(*logits)(TrainModel *model, NnTape *t, NnVar *similarity);   // similarity scaled by the temperature
    size_t (*costs)(const TrainModel *model, TrainCost costs[TRAIN_MAX_PARTS]);
} TrainModelOps;

struct TrainModel {
    const TrainModelOps *ops;
    const TrainRecipe *recipe; // borrowed
    size_t vocabulary;         // rows of the word table
    NnParams params;
    VcArena *arena; // of the tables that name the parameters
    void *parts;    // of the objective, in the arena
};

// `vocabulary`: entries of the tokenizer. with_moments false: for the dry run and inference, no gradients and moments.
TrainModel *train_model_create(const TrainRecipe *recipe, size_t vocabulary, bool with_moments);
// The shapes alone, nothing allocated: for counting.
TrainModel *train_model_outline(const TrainRecipe *recipe, size_t vocabulary);
void train_model_destroy(TrainModel **model);
// The whole step's forward: features of both sides and the contrastive loss (train/loss/itc.h).
NnVar *train_model_loss(TrainModel *model, NnTape *t, const TrainBatch *b);

extern const TrainModelOps train_clip_ops, train_vicha_ops;

// Drawn from a stream of its own for each name, so that adding a parameter changes no other.
void train_init_normal(TrainModel *model, size_t index, double std, uint64_t seed);
void train_init_uniform(TrainModel *model, size_t index, double bound, uint64_t seed);
void train_init_constant(TrainModel *model, size_t index, double value);
