// SPDX-License-Identifier: MIT
// A model of an objective: named parameters, and how they turn a batch into features and a loss on a tape.
//
// What the loop knows of a model is here; what differs between objectives is in the table that clip.c and vicha.c
// fill. Parameter names are those of the files users load: Hugging Face CLIP's for clip, the original's state_dict
// names (docs/FORMATS.md) for vicha. Threads: one at a time; ops use the tape's pool.
//
// One optimizer step, as the loop makes it:
//     train_model_clamp(model);
//     nn_params_zero_grad(&model->params);
//     for each batch of the step:
//         nn_tape_reset(tape);
//         TrainLoss loss;
//         train_model_loss(model, tape, batch, &step, &loss);
//         nn_backward(tape, loss.total);
//         train_model_advance(model);        // queues; after the backward pass, which reads them
//     nn_adamw_step(.., &model->params, ..);
#pragma once

#include "nn/nn.h"
#include "train/batch.h"
#include "train/model/draws.h"
#include "train/model/trace.h"
#include "train/parallel.h"
#include "train/recipe.h"

typedef struct TrainModel TrainModel;

// Work of one pair, counted from the shapes, and floats kept for the backward pass. Multiply-adds of one forward pass
// by the student and by the teachers, first as the original computes it (spec 7.2), then as it is done here.
typedef struct {
    const char *part;
    double student, teacher, student_here, teacher_here, kept;
} TrainCost;
// A part of the parameters: those whose name starts with `prefix`.
typedef struct {
    const char *part, *prefix;
} TrainPart;
enum { TRAIN_MAX_PARTS = 16 };

// The loss of one batch, of this process's pairs (the mean over the processes is that of the whole): total = sum over
// parts of weight x value. Parts of weight 0 are not computed and not listed.
enum { TRAIN_MAX_LOSSES = 8 };
typedef struct {
    const char *name; // "itc", "hitc", "itm", "mlm", "mim"; static
    double value, weight;
} TrainLossPart;
typedef struct {
    NnVar *total; // scalar
    TrainLossPart parts[TRAIN_MAX_LOSSES];
    size_t count;
} TrainLoss;

// What a step depends on besides parameters and batch.
typedef struct {
    double alpha;            // weight of the teachers' targets, as train_alpha gives it
    bool first;              // first batch of an optimizer step: the teachers move
    uint64_t seed;           // of this batch's dropout: no two batches of a run have the same
    const TrainDraws *draws; // every other random decision, or NULL: drawn from (recipe seed, epoch, record)
    TrainTrace *trace;       // NULL, or where intermediate values are noted
} TrainStep;

typedef struct {
    const char *name;
    void (*build)(TrainModel *model);               // adds the parameters
    void (*init)(TrainModel *model, uint64_t seed); // first values
    void (*clamp)(TrainModel *model);               // before each step
    void (*loss)(TrainModel *model, NnTape *t, const TrainBatch *b, const TrainStep *step, TrainLoss *out);
    void (*advance)(TrainModel *model);                                  // after each backward pass; may be NULL
    NnVar *(*images)(TrainModel *model, NnTape *t, const TrainBatch *b); // [B,E], length 1: evaluation
    NnVar *(*texts)(TrainModel *model, NnTape *t, const TrainBatch *b);  // [B,E], length 1
    NnVar *(*logits)(TrainModel *model, NnTape *t, NnVar *similarity);   // similarity scaled by the temperature
    size_t (*parts)(const TrainModel *model, TrainPart parts[TRAIN_MAX_PARTS]);
    size_t (*costs)(const TrainModel *model, TrainCost costs[TRAIN_MAX_PARTS]);
} TrainModelOps;

// The latest momentum features of both sides: Q rows of E numbers, the oldest overwritten next.
typedef struct {
    // [room + Q, E]: the rows before the queue are for the keys of the batch (of all processes), so that both are one
    // matrix.
    nn_real *images, *texts;
    size_t room, length, width; // W*B, Q, E
    size_t next;                // row of the queue that is written next
    size_t filled;              // rows before the queue that wait for train_model_advance
    bool gathered;              // they are those of all processes already
} TrainQueue;

struct TrainModel {
    const TrainModelOps *ops;
    const TrainRecipe *recipe; // borrowed
    size_t vocabulary;         // rows of the word table
    int32_t mask_id;           // of the token that hides a word (masked language modelling)
    NnParams params;           // trained; frozen ones are flagged
    NnParams momentum;         // teachers: values only. Empty where there are none
    TrainQueue queue;          // empty where there is none
    TrainParallel *world;      // borrowed; NULL: one process
    VcArena *arena;            // of the tables that name the parameters
    void *parts;               // of the objective, in the arena
};

// `vocabulary`: entries of the tokenizer. with_moments false: for the dry run and inference, no gradients and moments.
TrainModel *train_model_create(const TrainRecipe *recipe, size_t vocabulary, bool with_moments);
// The same for one of the processes that train together; world is borrowed, NULL: one.
TrainModel *train_model_create_world(const TrainRecipe *recipe, size_t vocabulary, bool with_moments,
                                     TrainParallel *world);
// The shapes alone, nothing allocated: for counting.
TrainModel *train_model_outline(const TrainRecipe *recipe, size_t vocabulary);
void train_model_destroy(TrainModel **model);

// First values of parameters, teachers (equal to their students) and queues.
void train_model_init(TrainModel *model, uint64_t seed);
// Sets every teacher to its student: after the students' weights came from somewhere else without teachers.
void train_model_copy_teachers(TrainModel *model);
// For each pair of all processes, by rank, the first one with the same caption: [W*B] in the tape's memory.
const int32_t *train_model_groups(const TrainModel *model, NnTape *t, const TrainBatch *b);
void train_model_clamp(TrainModel *model);
void train_model_loss(TrainModel *model, NnTape *t, const TrainBatch *b, const TrainStep *step, TrainLoss *out);
void train_model_advance(TrainModel *model);

// alpha of a batch (spec 3.7): the recipe's, times min(1, i/n) over the first epoch or the steps the recipe names.
// `number`: of the batch in its epoch, of `batches`; `step`: optimizer steps before it.
double train_alpha(const TrainRecipe *recipe, uint64_t epoch, uint64_t number, uint64_t batches, uint64_t step);

extern const TrainModelOps train_clip_ops, train_vicha_ops;

// Drawn from a stream of its own for each name, so that adding a parameter changes no other.
void train_init_normal(TrainModel *model, size_t index, double std, uint64_t seed);
void train_init_uniform(TrainModel *model, size_t index, double bound, uint64_t seed);
void train_init_constant(TrainModel *model, size_t index, double value);
