// SPDX-License-Identifier: MIT
// What a run costs, counted from the shapes and measured on made-up batches.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/model/model.h"
#include "train/sampler.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>

// Entries of the word table when nothing has been learned or opened yet.
static size_t vocabulary_of(const TrainRecipe *recipe)
{
    if (recipe->objective != TRAIN_CLIP)
        return recipe->word_vocab > 0 ? (size_t)recipe->word_vocab : 30522;       // bert-base-uncased
    return recipe->tokenizer_learn > 0 ? (size_t)recipe->tokenizer_learn : 49408; // CLIP's own
}

static uint64_t count_part(const NnParams *params, const char *prefix)
{
    uint64_t n = 0;
    for (size_t i = 0; i < params->count; i++) {
        if (vc_has_prefix(params->items[i].name, prefix))
            n += params->items[i].size;
    }
    return n;
}

typedef struct {
    TrainCost costs[TRAIN_MAX_PARTS];
    size_t count;
    uint64_t parameters;
    double macs, weights, kept,
        data; // bytes: weights with gradients and moments, kept values of a batch, batches ahead
} Cost;

static void count_cost(const TrainModel *model, Cost *c)
{
    const TrainRecipe *r = model->recipe;
    *c = (Cost){0};
    c->count = model->ops->costs(model, c->costs);
    double kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        c->macs += c->costs[i].macs;
        kept += c->costs[i].kept;
    }
    for (size_t i = 0; i < model->params.count; i++)
        c->parameters += model->params.items[i].size;
    c->weights = 16.0 * (double)model->params.size;
    c->kept = 4.0 * kept * (double)r->batch;
    c->data = 4.0 * 3 * (double)(r->image_size * r->image_size * r->batch * (r->prefetch + 2));
}

static void put_json(const TrainModel *model, const Cost *c, VcStr *out)
{
    vc_str_putf(out, "{\"objective\": \"%s\", \"parameters\": %" PRIu64 ", \"parts\": [", model->ops->name,
                c->parameters);
    for (size_t i = 0; i < c->count; i++) {
        vc_str_putf(out, "%s{\"part\": \"%s\", \"parameters\": %" PRIu64 ", \"forward_gflop\": %.6g}", i ? ", " : "",
                    c->costs[i].part, count_part(&model->params, c->costs[i].prefix), 2e-9 * c->costs[i].macs);
    }
    vc_str_putf(out,
                "], \"gflop_per_sample\": %.6g, \"memory_mib\": {\"weights_gradients_moments\": %.1f, "
                "\"activations\": %.1f, \"data\": %.1f}}\n",
                6e-9 * c->macs, c->weights / 1048576, c->kept / 1048576, c->data / 1048576);
}

static void put_table(const TrainModel *model, const Cost *c, VcStr *out)
{
    vc_str_putf(out, "%-20s %14s %22s\n", "part", "parameters", "forward GFLOP a pair");
    for (size_t i = 0; i < c->count; i++) {
        vc_str_putf(out, "%-20s %14" PRIu64 " %22.4f\n", c->costs[i].part,
                    count_part(&model->params, c->costs[i].prefix), 2e-9 * c->costs[i].macs);
    }
    vc_str_putf(out, "%-20s %14" PRIu64 " %22.4f\n\n", "all", c->parameters, 2e-9 * c->macs);
    vc_str_putf(out, "a training step costs about 3 x that: %.4f GFLOP a pair, %.2f GFLOP a batch of %" PRId64 "\n",
                6e-9 * c->macs, 6e-9 * c->macs * (double)model->recipe->batch, model->recipe->batch);
    vc_str_putf(
        out,
        "memory: %.0f MiB weights, gradients and moments; about %.0f MiB activations (captions of full length); "
        "%.0f MiB batches ahead\n",
        c->weights / 1048576, c->kept / 1048576, c->data / 1048576);
}

bool train_describe(const TrainRecipe *recipe, bool json, VcStr *out, VcErr *err)
{
    (void)err;
    TrainModel *model = train_model_outline(recipe, vocabulary_of(recipe));
    Cost cost;
    count_cost(model, &cost);
    if (json) {
        put_json(model, &cost, out);
    } else {
        put_table(model, &cost, out);
    }
    train_model_destroy(&model);
    return true;
}

// Images of noise, captions of full length: the most that a step of the recipe can cost.
static void make_up(TrainBatch *b, const TrainRecipe *r, size_t vocabulary)
{
    VcRng rng;
    vc_rng_seed(&rng, (uint64_t)r->seed);
    size_t rows = (size_t)r->batch, side = (size_t)r->image_size;
    train_batch_init(b, r, rows);
    for (size_t i = 0; i < rows * 3 * side * side; i++)
        b->images[i] = (float)vc_rng_normal(&rng);
    b->tokens = (size_t)r->context;
    for (size_t i = 0; i < rows * b->tokens; i++)
        b->ids[i] = (int32_t)vc_rng_below(&rng, vocabulary);
    b->concept_tokens = r->objective == TRAIN_VICHA_ITC && r->concepts ? (size_t)(5 * r->concept_draws / 2) : 0;
    b->concept_tokens = b->concept_tokens > TRAIN_CONCEPT_TOKENS ? TRAIN_CONCEPT_TOKENS : b->concept_tokens;
    for (size_t i = 0; i < rows * b->concept_tokens; i++)
        b->concepts[i] = (int32_t)vc_rng_below(&rng, vocabulary);
    for (size_t i = 0; i < rows; i++) {
        b->last[i] = (int32_t)b->tokens - 1;
        b->group[i] = (int32_t)i;
    }
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

bool train_bench(const TrainRecipe *recipe, size_t threads, size_t steps, TrainBench *bench, VcErr *err)
{
    if (!nn_blas_check(err))
        return false;
    VC_ASSERT(steps > 0);
    size_t vocabulary = vocabulary_of(recipe);
    TrainModel *model = train_model_create(recipe, vocabulary, true);
    model->ops->init(model, (uint64_t)recipe->seed);
    VcPool *pool = vc_pool_create(threads > 0 ? threads : vc_cpu_count());
    NnContext context;
    nn_context_init(&context, pool);
    NnTape *tape = nn_tape_create(&context);
    TrainBatch batch;
    make_up(&batch, recipe, vocabulary);
    double *seconds = vc_calloc(steps, sizeof *seconds);
    const NnAdamw adamw = {recipe->beta1, recipe->beta2, recipe->eps, recipe->weight_decay};
    size_t done = 0;
    for (size_t i = 0; i <= steps && !vc_interrupted(); i++) { // the first one touches the memory and is not counted
        double start = vc_now();
        model->ops->clamp(model);
        nn_params_zero_grad(&model->params);
        nn_tape_reset(tape);
        nn_backward(tape, train_model_loss(model, tape, &batch));
        double norm = nn_grad_norm(&context, &model->params);
        nn_adamw_step(&context, &model->params, &adamw, 1e-5, i + 1, nn_clip_scale(norm, recipe->clip_norm));
        if (i > 0)
            seconds[done++] = vc_now() - start;
    }
    bool ok = done > 0 || vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    if (ok) {
        Cost cost;
        count_cost(model, &cost);
        qsort(seconds, done, sizeof *seconds, compare_seconds);
        double median = seconds[done / 2];
        *bench = (TrainBench){done, median, (double)recipe->batch / median,
                              6e-9 * cost.macs * (double)recipe->batch / median, vc_peak_rss()};
    }
    free(seconds);
    train_batch_finish(&batch);
    nn_tape_destroy(&tape);
    nn_context_finish(&context);
    vc_pool_destroy(&pool);
    train_model_destroy(&model);
    return ok;
}
