// SPDX-License-Identifier: MIT
// Recipes: everything a training run depends on besides its records, as one JSON object of sections.
//
// One table in recipe.c gives every key its type, default, range and help; it parses files, applies `--set a.b=value`,
// writes the resolved recipe into the run folder and prints the reference (train_recipe_print_keys). An unknown key is
// an error that names the nearest known one. Threads: any; a recipe is read-only once loaded.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

typedef enum { TRAIN_CLIP, TRAIN_VICHA } TrainObjective;
typedef enum { TRAIN_QUICK_GELU, TRAIN_GELU } TrainActivation;
typedef enum { TRAIN_SCHEDULE_STEP, TRAIN_SCHEDULE_EPOCH } TrainScheduleKind;
enum { TRAIN_PRECISION_AUTO = 2 }; // behind those of NnPrecision
typedef enum { TRAIN_INIT_PAPER, TRAIN_INIT_STRUCTURED } TrainInit;
typedef enum { TRAIN_BAD_STOP, TRAIN_BAD_SKIP, TRAIN_BAD_LIST } TrainOnBad;
typedef enum { TRAIN_CANDIDATES_ALL, TRAIN_CANDIDATES_OWN } TrainCandidates;
typedef enum { TRAIN_DUPLICATES_SHARE, TRAIN_DUPLICATES_IGNORE } TrainDuplicates;

typedef struct {
    char **items;
    size_t count;
} TrainPaths;

enum { TRAIN_MAX_REALS = 16 };
typedef struct {
    double items[TRAIN_MAX_REALS];
    size_t count;
} TrainReals;

// One transformer: a vision tower, a text tower or (width taken from the text tower) the concept encoder.
typedef struct {
    int64_t width, layers, heads, mlp; // mlp: hidden width of the feed-forward part
} TrainTower;

typedef struct {
    char *name;
    int64_t objective; // TrainObjective
    int64_t seed;
    int64_t precision; // NnPrecision; recipe_check has put one of them in the place of TRAIN_PRECISION_AUTO

    TrainPaths records; // folders of record sets; relative ones below the workspace
    double holdout;     // share of the images kept for evaluation, chosen by a hash of their id
    int64_t workers, prefetch, window, on_bad, cache_mib;

    int64_t image_size;
    double crop_min, crop_max, ratio_max; // area share and largest aspect ratio of RandomResizedCrop
    bool upscale;                         // accept records whose pictures are smaller than the input
    bool flip;
    int64_t randaugment_n; // operations drawn
    double randaugment_m;  // their level
    bool randaugment_original;

    char *tokenizer_dir, *tokenizer_vocab, *tokenizer_merges;
    int64_t tokenizer_learn; // entries of the vocabulary to learn, 0 = do not learn
    int64_t word_vocab;      // vicha: entries of the WordPiece vocabulary the records were made with
    int64_t mask_id;         // vicha: [MASK] in it, -1 = as the records say

    TrainTower vision, text, decoder;
    int64_t fusion_layer, positions; // of the text tower (vicha)
    int64_t init;                    // TrainInit
    int64_t patch, context, proj, activation, concept_layers;
    bool concepts;
    double concept_share;         // of an image's concepts: so many are drawn, rounded down
    int64_t hide_concept_padding; // 0 or 1
    double init_temperature;
    double dropout, momentum_keep;
    bool teacher_dropout, momentum;
    int64_t queue;

    double loss_itc, loss_hitc, loss_itm, loss_mlm, loss_mim; // weights; 0: not trained
    double alpha, mlm_probability, mim_ratio;
    int64_t alpha_steps, hitc_levels;
    TrainReals hitc_weights;
    bool hitc_detach, mim_class_position;
    int64_t candidates, duplicates;

    double lr, min_lr, warmup_lr, weight_decay, beta1, beta2, eps, clip_norm;
    int64_t warmup_steps, schedule, accumulate;
    bool decay_tokens;

    int64_t epochs, steps, batch;
    int64_t eval_every, eval_samples;
    int64_t log_every;
    int64_t checkpoint_every, checkpoint_keep;
} TrainRecipe;

// Reads `path`, a file or the name of a recipe that comes with the program, over the defaults, then applies `set_count`
// overrides "a.b=value", then checks ranges and what must fit together. NULL path: defaults and overrides only. On
// failure nothing is left to free.
bool train_recipe_load(TrainRecipe *recipe, const char *path, const char *const *sets, size_t set_count, VcErr *err);
void train_recipe_finish(TrainRecipe *recipe); // a zeroed recipe is allowed

// The resolved recipe, every key, as indented JSON with a final newline: loading it gives the same recipe.
void train_recipe_write(const TrainRecipe *recipe, VcStr *out);
// One line a key: name, default, range, help.
void train_recipe_print_keys(VcStr *out);
// XXH64 over the keys that decide the numbers of a run (model, data, optimiser; not logging or checkpoint habits).
// A checkpoint of a run with another fingerprint is not resumed.
uint64_t train_recipe_fingerprint(const TrainRecipe *recipe);
