// SPDX-License-Identifier: MIT
// The trainer, and the only header of train/ that cli/ includes: recipes, a training run, its dry run and benchmark.
//
// A run owns a folder: recipe.json (resolved), environment.jsonl, metrics.jsonl, loss.svg, tokenizer/ (when it learned
// one), tensorboard/ (if asked for), checkpoints/, checkpoint.best.safetensors (the weights with the best recall) and,
// at the end, model/: the Hugging Face CLIP folder of objective "clip" that `--clip` of the other commands takes.
// Threads: one run at a time a process; a run makes its own threads. Randomness comes from the recipe's seed alone: the
// same recipe and records give the same bits on any number of threads, in one go or resumed.
#pragma once

#include "nn/nn.h"
#include "train/parallel.h"
#include "train/plot_runs.h"
#include "train/recipe.h"
#include "train/recipe_builtin.h"

typedef struct {
    const char *workspace;        // relative record folders are below it
    const char *out;              // the run's folder
    const char *const *init_from; // published weights to start from: "[PART=]PATH", see train/import.h
    size_t init_count;
    bool resume;          // says so when there is no checkpoint to go on from; a run goes on in any case
    bool restart;         // remove the checkpoints of `out` and start at the beginning
    size_t threads;       // that compute
    bool tensorboard;     // write RUN/tensorboard/ too
    TrainParallel *world; // NULL: one process
    uint64_t stop_at;     // 0, or the step after which the run ends early with a checkpoint, as if interrupted
} TrainOptions;

// Recall in percent over `count` held-out pairs; *_chance: what a random order would reach.
typedef struct {
    size_t count;
    double image_to_text[3], text_to_image[3], chance[3]; // at 1, 5, 10
    double loss;
} TrainRecall;

typedef struct {
    uint64_t steps;        // of the whole run so far
    uint64_t resumed_from; // 0 = began at the start
    uint64_t records, held_out, bad_records;
    double loss;                              // mean over the last logged steps
    double seconds, images_per_s, wait_share; // of this call
    bool interrupted, already_done;
    TrainRecall recall;
} TrainResult;

// Trains and fills *result. A folder with a checkpoint goes on from the newest one, which must be of the same recipe
// and records; a finished run is left as it is (already_done). Progress goes to standard error through base/progress.
// An interrupt (vc_interrupted) writes a checkpoint and ends with VC_ERR_CANCELLED. A loss that is not a number ends
// with an error that names the step and writes the ids of the batch to OUT/bad_batch.json.
bool train_run(const TrainRecipe *recipe, const TrainOptions *options, TrainResult *result, VcErr *err);

// What a run would cost, as one JSON object or as a table: parameters per part, memory, FLOP per sample.
bool train_describe(const TrainRecipe *recipe, bool json, VcStr *out, VcErr *err);

// Steps per second of the recipe's model on made-up batches: no records are read.
typedef struct {
    size_t steps;
    double step_seconds; // median
    double images_per_s;
    double gflop_per_s;
    double product_gflop_per_s; // of a large matrix product in the recipe's precision, on as many threads
    uint64_t peak_rss;
} TrainBench;
bool train_bench(const TrainRecipe *recipe, size_t threads, size_t steps, TrainBench *bench, VcErr *err);

// How fast one worker decodes, augments and collates the recipe's records, in the order of an epoch. Relative record
// folders are below `workspace`. cached: the pictures were decoded before, as in later epochs (as many as
// recipe->cache_mib holds); else nothing is kept.
typedef struct {
    uint64_t images;
    double seconds, cpu_seconds;
} TrainBenchLoader;
bool train_bench_loader(const TrainRecipe *recipe, const char *workspace, uint64_t images, bool cached,
                        TrainBenchLoader *bench, VcErr *err);

// Opens the weights at PATH: a folder (model.safetensors, pytorch_model.bin, an index of either, one single weight
// file, or a run), a file, or the name of a model in the local hub cache.
bool train_weights_open(NnSafetensors **out, const char *path, VcErr *err);
