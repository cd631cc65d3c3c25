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
        if (vc_has_prefix(params->items[i].name, prefix) && !(params->items[i].flags & NN_PARAM_FROZEN))
            n += params->items[i].size;
    }
    return n;
}

typedef struct {
    TrainPart parts[TRAIN_MAX_PARTS];
    TrainCost costs[TRAIN_MAX_PARTS];
    size_t part_count, count;
    uint64_t trained, frozen, momentum;
    // multiply-adds of a pair: forward passes of students and teachers, as the original does them and as here
    double student, teacher, student_here, teacher_here;
    double weights, teachers, queues, kept, data; // bytes
} Cost;

static void count_cost(const TrainModel *model, Cost *c)
{
    const TrainRecipe *r = model->recipe;
    *c = (Cost){0};
    c->part_count = model->ops->parts(model, c->parts);
    c->count = model->ops->costs(model, c->costs);
    double kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        c->student += c->costs[i].student;
        c->teacher += c->costs[i].teacher;
        c->student_here += c->costs[i].student_here;
        c->teacher_here += c->costs[i].teacher_here;
        kept += c->costs[i].kept;
    }
    c->trained = nn_params_count_trainable(&model->params);
    for (size_t i = 0; i < model->params.count; i++)
        c->frozen += model->params.items[i].size;
    c->frozen -= c->trained;
    for (size_t i = 0; i < model->momentum.count; i++)
        c->momentum += model->momentum.items[i].size;
    c->weights = 16.0 * (double)model->params.size;
    c->teachers = 4.0 * (double)model->momentum.size;
    c->queues = model->momentum.count > 0 ? 8.0 * (double)((r->queue + r->batch) * r->proj) : 0;
    c->kept = 4.0 * kept * (double)r->batch;
    c->data = 4.0 * 3 * (double)(r->image_size * r->image_size * r->batch * (r->prefetch + 2));
}

// A backward pass costs two forward passes; teachers have none. A multiply-add is two operations.
static double step_gflop(double student, double teacher)
{
    return 2e-9 * (3 * student + teacher);
}

static void put_json(const TrainModel *model, const Cost *c, VcStr *out)
{
    vc_str_putf(out,
                "{\"objective\": \"%s\", \"parameters\": %" PRIu64 ", \"momentum\": %" PRIu64 ", \"frozen\": %" PRIu64
                ", \"parts\": [",
                model->ops->name, c->trained, c->momentum, c->frozen);
    for (size_t i = 0; i < c->part_count; i++) {
        vc_str_putf(out, "%s{\"part\": \"%s\", \"parameters\": %" PRIu64 "}", i ? ", " : "", c->parts[i].part,
                    count_part(&model->params, c->parts[i].prefix));
    }
    vc_str_put(out, "], \"forward_gmac\": [");
    for (size_t i = 0; i < c->count; i++) {
        const TrainCost *cost = &c->costs[i];
        vc_str_putf(out,
                    "%s{\"part\": \"%s\", \"student\": %.6g, \"teacher\": %.6g, \"student_here\": %.6g, "
                    "\"teacher_here\": %.6g}",
                    i ? ", " : "", cost->part, 1e-9 * cost->student, 1e-9 * cost->teacher, 1e-9 * cost->student_here,
                    1e-9 * cost->teacher_here);
    }
    vc_str_putf(out,
                "], \"gflop_per_sample\": %.6g, \"gflop_per_sample_here\": %.6g, \"memory_mib\": "
                "{\"weights_gradients_moments\": %.1f, \"teachers\": %.1f, \"queues\": %.1f, \"activations\": %.1f, "
                "\"data\": %.1f}}\n",
                step_gflop(c->student, c->teacher), step_gflop(c->student_here, c->teacher_here), c->weights / 1048576,
                c->teachers / 1048576, c->queues / 1048576, c->kept / 1048576, c->data / 1048576);
}

static void put_table(const TrainModel *model, const Cost *c, VcStr *out)
{
    vc_str_putf(out, "%-26s %14s\n", "parameters of", "number");
    for (size_t i = 0; i < c->part_count; i++)
        vc_str_putf(out, "%-26s %14" PRIu64 "\n", c->parts[i].part, count_part(&model->params, c->parts[i].prefix));
    vc_str_putf(out, "%-26s %14" PRIu64 "\n", "all that is trained", c->trained);
    if (c->momentum > 0)
        vc_str_putf(out, "%-26s %14" PRIu64 "\n", "momentum teachers", c->momentum);
    if (c->frozen > 0)
        vc_str_putf(out, "%-26s %14" PRIu64 "\n", "frozen positions", c->frozen);
    vc_str_putf(out, "\n%-26s %10s %10s %14s %14s\n", "forward GMAC a pair", "student", "teacher", "student here",
                "teacher here");
    for (size_t i = 0; i < c->count; i++) {
        vc_str_putf(out, "%-26s %10.4f %10.4f %14.4f %14.4f\n", c->costs[i].part, 1e-9 * c->costs[i].student,
                    1e-9 * c->costs[i].teacher, 1e-9 * c->costs[i].student_here, 1e-9 * c->costs[i].teacher_here);
    }
    vc_str_putf(out, "%-26s %10.4f %10.4f %14.4f %14.4f\n\n", "all", 1e-9 * c->student, 1e-9 * c->teacher,
                1e-9 * c->student_here, 1e-9 * c->teacher_here);
    const double here = step_gflop(c->student_here, c->teacher_here);
    vc_str_putf(out,
                "a training step costs %.4g GFLOP a pair, %.4g without what need not be computed twice or at all; "
                "%.4g a batch of %" PRId64 "\n",
                step_gflop(c->student, c->teacher), here, here * (double)model->recipe->batch, model->recipe->batch);
    vc_str_putf(out,
                "memory: %.0f MiB weights, gradients and moments; %.0f MiB teachers and queues; about %.0f MiB "
                "activations (captions of full length); %.0f MiB batches ahead\n",
                c->weights / 1048576, (c->teachers + c->queues) / 1048576, c->kept / 1048576, c->data / 1048576);
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
    b->concept_tokens = r->objective == TRAIN_VICHA && r->concepts
                            ? (size_t)(2.5 * floor(15 * (r->concept_share > 0 ? r->concept_share : 1)))
                            : 0;
    b->concept_tokens = b->concept_tokens > TRAIN_CONCEPT_TOKENS ? TRAIN_CONCEPT_TOKENS : b->concept_tokens;
    for (size_t i = 0; i < rows * b->concept_tokens; i++)
        b->concepts[i] = (int32_t)vc_rng_below(&rng, vocabulary);
    for (size_t i = 0; i < rows; i++) {
        b->last[i] = (int32_t)b->tokens - 1;
        b->group[i] = (int32_t)i;
        b->records[i] = i;
    }
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// What the machine gives a product of 1024 x 1024 x 1024, best of five: the step's speed is a share of it.
static double product_gflops(const NnContext *ctx)
{
    enum { SIDE = 1024, TRIES = 5 };
    float *abc = vc_calloc(3 * (size_t)SIDE * SIDE, sizeof *abc);
    for (size_t i = 0; i < 3 * (size_t)SIDE * SIDE; i++) // untouched pages are all the one page of zeros: too slow
        abc[i] = 1;
    const NnProduct p = {.m = SIDE,
                         .n = SIDE,
                         .k = SIDE,
                         .a = abc,
                         .lda = SIDE,
                         .b = abc + (size_t)SIDE * SIDE,
                         .ldb = SIDE,
                         .c = abc + 2 * (size_t)SIDE * SIDE,
                         .ldc = SIDE};
    double best = INFINITY;
    for (int i = 0; i <= TRIES; i++) {
        const double start = vc_now();
        nn_product(ctx, &p);
        const double spent = vc_now() - start;
        best = i > 0 && spent < best ? spent : best;
    }
    free(abc);
    return 2e-9 * SIDE * SIDE * SIDE / best;
}

bool train_bench(const TrainRecipe *recipe, size_t threads, size_t steps, TrainBench *bench, VcErr *err)
{
    if (!nn_blas_check(err))
        return false;
    VC_ASSERT(steps > 0);
    size_t vocabulary = vocabulary_of(recipe);
    TrainModel *model = train_model_create(recipe, vocabulary, true);
    model->mask_id = (int32_t)vocabulary - 1; // any word: the captions are made up too
    train_model_init(model, (uint64_t)recipe->seed);
    VcPool *pool = vc_pool_create(threads > 0 ? threads : vc_cpu_count());
    NnContext context;
    nn_context_init(&context, pool);
    context.precision = (NnPrecision)recipe->precision;
    NnTape *tape = nn_tape_create(&context);
    TrainBatch batch;
    make_up(&batch, recipe, vocabulary);
    double *seconds = vc_calloc(steps, sizeof *seconds);
    const NnAdamw adamw = {recipe->beta1, recipe->beta2, recipe->eps, recipe->weight_decay};
    size_t done = 0;
    for (size_t i = 0; i <= steps && !vc_interrupted(); i++) { // the first one touches the memory and is not counted
        double start = vc_now();
        const TrainStep step = {.alpha = recipe->alpha, .first = true, .seed = i};
        TrainLoss loss;
        batch.epoch = i; // other words and patches are hidden each time
        train_model_clamp(model);
        nn_params_zero_grad(&model->params);
        nn_tape_reset(tape);
        train_model_loss(model, tape, &batch, &step, &loss);
        nn_backward(tape, loss.total);
        train_model_advance(model);
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
        *bench = (TrainBench){done,
                              median,
                              (double)recipe->batch / median,
                              step_gflop(cost.student_here, cost.teacher_here) * (double)recipe->batch / median,
                              0,
                              vc_peak_rss()};
        bench->product_gflop_per_s = product_gflops(&context); // after the peak of memory was taken
    }
    free(seconds);
    train_batch_finish(&batch);
    nn_tape_destroy(&tape);
    nn_context_finish(&context);
    vc_pool_destroy(&pool);
    train_model_destroy(&model);
    return ok;
}
