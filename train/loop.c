// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "extract/extract.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/export.h"
#include "train/loader.h"
#include "train/metrics.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>

typedef struct {
    const TrainRecipe *recipe;
    const TrainOptions *options;
    TrainResult *result;
    TrainData *data;
    Bpe *bpe; // NULL for vicha
    TrainModel *model;
    VcPool *pool;
    NnContext context;
    NnTape *tape;
    TrainLoader *loader;
    TrainEvaluator *evaluator;
    TrainMetrics metrics;
    VcProgress *progress;
    TrainState state;
    uint64_t epoch;   // of the last batch
    uint64_t batches; // of an epoch
    uint64_t total;   // steps of the whole run
    double grad_norm; // of the last step
    double alpha;     // of the last batch
    TrainLoss loss;   // of the last batch: names of the parts
    uint64_t skipped;
    // since the last line of metrics.jsonl
    double line_start, line_waited, paused; // paused: spent in evaluations and checkpoints
    uint64_t line_images;
    // of this call
    double start, all_paused;
    uint64_t images;
} Run;

static bool open_parts(Run *run, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    if (!nn_blas_check(err) || !extract_image_init(err))
        return false;
    if (!train_data_open(&run->data, r, run->options->workspace, err))
        return false;
    if (r->objective == TRAIN_VICHA && r->concepts && r->positions < TRAIN_CONCEPT_TOKENS) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.text.positions is %" PRId64 ", concept strings have up to %d tokens",
                       r->positions, (int)TRAIN_CONCEPT_TOKENS);
    }
    run->batches = train_data_trained(run->data) / (uint64_t)r->batch;
    uint64_t all = run->batches * (uint64_t)r->epochs / (uint64_t)r->accumulate;
    run->total = r->steps > 0 ? (uint64_t)r->steps : all > 0 ? all : 1;
    run->result->records = train_data_total(run->data);
    run->result->held_out = train_data_total(run->data) - train_data_trained(run->data);
    return vc_make_dirs(run->options->out, err);
}

// Where the run stands: at the start, or at the newest checkpoint, which must be of this recipe and these records.
static bool find_state(Run *run, char **checkpoint, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    TrainState *s = &run->state;
    uint64_t step;
    *checkpoint = NULL;
    if (run->options->restart && !train_checkpoint_clear(run->options->out, err))
        return false;
    if (!train_checkpoint_newest(run->options->out, checkpoint, &step, err))
        return false;
    if (!*checkpoint) {
        *s = (TrainState){.recipe = train_recipe_fingerprint(r)};
        snprintf(s->data.fingerprint, sizeof s->data.fingerprint, "%s", train_data_fingerprint(run->data));
        s->data.seed = (uint64_t)r->seed;
        s->data.window = (uint64_t)r->window;
        s->data.global_batch = (uint64_t)r->batch;
        return true;
    }
    if (!train_checkpoint_state(*checkpoint, s, err))
        return false;
    if (!index_state_check(&s->data, train_data_fingerprint(run->data), (uint64_t)r->window, (uint64_t)r->batch, err))
        return vc_prefix(err, "checkpoint '%s'", *checkpoint);
    if (s->recipe != train_recipe_fingerprint(r)) {
        return vc_fail(err, VC_ERR_USAGE,
                       "'%s' was trained with another recipe (see '%s/recipe.json'): use that one, another --out, or "
                       "--restart",
                       *checkpoint, run->options->out);
    }
    run->result->resumed_from = s->step;
    return true;
}

static bool open_model(Run *run, const char *checkpoint, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    size_t vocabulary = train_data_word_vocabulary(run->data);
    if (r->objective == TRAIN_CLIP) {
        uint64_t fingerprint = 0;
        if (!train_vocabulary_open(&run->bpe, &fingerprint, r, run->data, run->options->out, checkpoint != NULL, err))
            return false;
        if (checkpoint && fingerprint != run->state.tokenizer) {
            return vc_fail(err, VC_ERR_FORMAT, "the tokenizer in '%s/tokenizer' is not the one of checkpoint '%s'",
                           run->options->out, checkpoint);
        }
        run->state.tokenizer = fingerprint;
        vocabulary = bpe_vocabulary(run->bpe);
    }
    run->model = train_model_create(r, vocabulary, true);
    run->model->mask_id = train_data_mask_id(run->data);
    train_model_init(run->model, (uint64_t)r->seed);
    if (checkpoint)
        return train_checkpoint_load(checkpoint, run->model, err);
    if (!run->options->init_from)
        return true;
    if (!train_import(run->model, run->options->init_from, err))
        return false;
    train_model_copy_teachers(run->model);
    return true;
}

static void open_threads(Run *run)
{
    run->pool = vc_pool_create(run->options->threads > 0 ? run->options->threads : vc_cpu_count());
    nn_context_init(&run->context, run->pool);
    run->tape = nn_tape_create(&run->context);
    run->evaluator = train_evaluator_create(run->recipe, run->data, run->bpe);
}

static bool write_recipe(const Run *run, VcErr *err)
{
    VcStr text = {0};
    train_recipe_write(run->recipe, &text);
    char *path = vc_path_join(run->options->out, "recipe.json");
    bool ok = vc_write_file(path, text.data, text.len, err);
    free(path);
    vc_str_finish(&text);
    return ok;
}

static double rate_at(const Run *run, uint64_t step, const TrainBatch *last)
{
    const TrainRecipe *r = run->recipe;
    if (r->schedule == TRAIN_SCHEDULE_STEP)
        return nn_cosine_lr(&(NnCosineSchedule){r->lr, r->min_lr, (uint64_t)r->warmup_steps, run->total}, step);
    const NnVichaSchedule s = {r->warmup_lr, r->lr, r->min_lr, (uint64_t)r->warmup_steps / 100, (uint64_t)r->epochs};
    return nn_vicha_lr_at(&s, last->epoch, last->number / (uint64_t)r->accumulate);
}

static bool not_a_number(const Run *run, const char *what, double value, const TrainBatch *batch, VcErr *err)
{
    VcStr text = {0};
    vc_str_putf(&text, "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"batch\": %" PRIu64 ", \"records\": [",
                run->state.step + 1, batch->epoch, batch->number);
    for (size_t i = 0; i < batch->count; i++)
        vc_str_putf(&text, "%s%" PRIu64, i ? ", " : "", batch->records[i]);
    vc_str_put(&text, "], \"image_ids\": [");
    for (size_t i = 0; i < batch->count; i++)
        vc_str_putf(&text, "%s%" PRId64, i ? ", " : "", batch->image_ids[i]);
    vc_str_put(&text, "]}\n");
    char *path = vc_path_join(run->options->out, "bad_batch.json");
    bool saved = vc_write_file(path, text.data, text.len, NULL);
    vc_fail(err, VC_ERR_FORMAT,
            "the %s of step %" PRIu64 " is %g (epoch %" PRIu64 ", batch %" PRIu64
            "): training stops here, checkpoints are kept; %s '%s'; try a lower optim.lr or a longer warm-up",
            what, run->state.step + 1, value, batch->epoch, batch->number,
            saved ? "its records are in" : "its records could not be written to", path);
    free(path);
    vc_str_finish(&text);
    return false;
}

// Forward and backward of one batch; its losses are added to those since the last line.
static bool take_batch(Run *run, const TrainBatch *batch, bool first, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    TrainState *state = &run->state;
    TrainLoss loss;
    run->alpha = train_alpha(r, batch->epoch, batch->number, run->batches, state->step);
    const TrainStep step = {.alpha = run->alpha,
                            .first = first,
                            .seed = vc_mix_seed(vc_mix_seed((uint64_t)r->seed, batch->epoch), batch->number)};
    nn_tape_reset(run->tape);
    train_model_loss(run->model, run->tape, batch, &step, &loss);
    const double value = (double)loss.total->value[0];
    if (!isfinite(value)) {
        char what[32] = "loss";
        for (size_t i = 0; loss.count > 1 && i < loss.count; i++) {
            if (!isfinite(loss.parts[i].value))
                snprintf(what, sizeof what, "%s loss", loss.parts[i].name);
        }
        return not_a_number(run, what, value, batch, err);
    }
    nn_backward(run->tape, loss.total);
    train_model_advance(run->model);
    run->loss = loss;
    state->loss_sum += value;
    for (size_t i = 0; i < loss.count; i++)
        state->part_sums[i] += loss.parts[i].value;
    state->loss_count++;
    run->skipped += batch->skipped;
    run->images += batch->count;
    run->line_images += batch->count;
    return true;
}

// One optimizer step: forward and backward of `accumulate` batches, then AdamW.
static bool take_step(Run *run, double *rate, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    NnParams *params = &run->model->params;
    const TrainBatch *batch = NULL;
    train_model_clamp(run->model);
    nn_params_zero_grad(params);
    for (int64_t k = 0; k < r->accumulate; k++) {
        if (!train_loader_next(run->loader, &batch, err) || !take_batch(run, batch, k == 0, err))
            return false;
    }
    VC_ASSERT(batch);
    double mean = 1 / (double)r->accumulate;
    run->grad_norm = nn_grad_norm(&run->context, params) * mean;
    if (!isfinite(run->grad_norm))
        return not_a_number(run, "gradient's norm", run->grad_norm, batch, err);
    const NnAdamw adamw = {r->beta1, r->beta2, r->eps, r->weight_decay};
    *rate = rate_at(run, run->state.step, batch);
    nn_adamw_step(&run->context, params, &adamw, *rate, run->state.step + 1,
                  mean * nn_clip_scale(run->grad_norm, r->clip_norm));
    run->state.step++;
    run->epoch = run->state.data.epoch = batch->epoch;
    run->state.data.next_batch = batch->number + 1;
    return true;
}

static void show(Run *run, double loss, double images_per_s)
{
    char note[160];
    int n =
        snprintf(note, sizeof note, "epoch %" PRIu64 ", loss %.3f, %.0f images/s", run->epoch + 1, loss, images_per_s);
    if (run->result->recall.count > 0)
        snprintf(note + n, sizeof note - (size_t)n, ", recall@10 %.0f %%", run->result->recall.text_to_image[2]);
    vc_progress_note(run->progress, note);
}

static bool log_line(Run *run, double rate, VcErr *err)
{
    double now = vc_now(), spent = now - run->line_start - run->paused;
    double waited = train_loader_waited(run->loader);
    TrainLine line = {.step = run->state.step,
                      .epoch = run->epoch,
                      .loss = run->state.loss_sum / (double)run->state.loss_count,
                      .lr = rate,
                      .grad_norm = run->grad_norm,
                      .images_per_s = (double)run->line_images / spent,
                      .wait_share = (waited - run->line_waited) / spent,
                      .seconds = run->state.seconds + now - run->start - run->all_paused};
    line.alpha = run->alpha;
    line.part_count = run->loss.count;
    for (size_t i = 0; i < line.part_count; i++) {
        line.parts[i] = run->loss.parts[i];
        line.parts[i].value = run->state.part_sums[i] / (double)run->state.loss_count;
        run->state.part_sums[i] = 0;
    }
    run->result->loss = line.loss;
    run->state.loss_sum = 0;
    run->state.loss_count = 0;
    run->line_start = now;
    run->line_waited = waited;
    run->line_images = 0;
    run->paused = 0;
    show(run, line.loss, line.images_per_s);
    return train_metrics_log(&run->metrics, &line, err);
}

static bool evaluate(Run *run, VcErr *err)
{
    if (train_evaluator_count(run->evaluator) < 2)
        return true;
    double start = vc_now();
    bool ok = train_evaluate(run->evaluator, run->model, run->tape, run->pool, &run->result->recall, err) &&
              train_metrics_recall(&run->metrics, run->state.step, run->epoch, &run->result->recall, err) &&
              train_metrics_plot(run->options->out, run->recipe->name, err);
    run->paused += vc_now() - start;
    run->all_paused += vc_now() - start;
    return ok;
}

static bool save(Run *run, VcErr *err)
{
    double start = vc_now();
    TrainState state = run->state;
    state.seconds += start - run->start - run->all_paused;
    bool ok = train_checkpoint_save(run->options->out, &state, run->model, (size_t)run->recipe->checkpoint_keep, err) &&
              train_metrics_plot(run->options->out, run->recipe->name, err);
    run->paused += vc_now() - start;
    run->all_paused += vc_now() - start;
    return ok;
}

static bool due(int64_t every, uint64_t step)
{
    return every > 0 && step % (uint64_t)every == 0;
}

static bool train(Run *run, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    uint64_t stop =
        run->options->stop_at > 0 && run->options->stop_at < run->total ? run->options->stop_at : run->total;
    bool stopped = false;
    while (run->state.step < stop && !stopped) {
        double rate = 0;
        if (!take_step(run, &rate, err))
            return false;
        uint64_t step = run->state.step;
        vc_progress_add(run->progress, 1, 0);
        stopped = vc_interrupted() != 0;
        if ((due(r->log_every, step) || step == run->total) && !log_line(run, rate, err))
            return false;
        if (((due(r->eval_every, step) && !stopped) || step == run->total) && !evaluate(run, err))
            return false;
        if ((due(r->checkpoint_every, step) || step == stop || stopped) && !save(run, err))
            return false;
    }
    if (run->state.step == run->total)
        return train_export(run->model, run->bpe, run->options->out, err);
    run->result->interrupted = true;
    return vc_fail(err, VC_ERR_CANCELLED, "stopped after step %" PRIu64 " of %" PRIu64 "; a checkpoint is in '%s'",
                   run->state.step, run->total, run->options->out);
}

static bool finished(const Run *run)
{
    char *model = vc_path_join(run->options->out, "model");
    bool there = vc_is_directory(model);
    free(model);
    return there && run->state.step == run->total;
}

static bool run_steps(Run *run, VcErr *err)
{
    run->epoch = run->state.data.epoch;
    if (!train_metrics_open(&run->metrics, run->options->out, run->state.step, err))
        return false;
    run->loader =
        train_loader_create(run->recipe, run->data, run->bpe, NULL, run->state.data.epoch, run->state.data.next_batch);
    run->progress = vc_progress_begin("train", "steps", run->total - run->state.step);
    run->start = run->line_start = vc_now();
    bool ok = train(run, err);
    TrainResult *result = run->result;
    result->seconds = vc_now() - run->start;
    double busy = result->seconds - run->all_paused;
    result->steps = run->state.step;
    result->bad_records = run->skipped;
    result->images_per_s = busy > 0 ? (double)run->images / busy : 0;
    result->wait_share = busy > 0 ? train_loader_waited(run->loader) / busy : 0;
    vc_progress_end(&run->progress);
    bool closed = train_metrics_close(&run->metrics, ok ? err : NULL);
    return ok && closed;
}

static void close_run(Run *run)
{
    train_loader_destroy(&run->loader);
    train_evaluator_destroy(&run->evaluator);
    nn_tape_destroy(&run->tape);
    if (run->pool)
        nn_context_finish(&run->context);
    vc_pool_destroy(&run->pool);
    train_model_destroy(&run->model);
    bpe_close(&run->bpe);
    train_data_close(&run->data);
}

bool train_run(const TrainRecipe *recipe, const TrainOptions *options, TrainResult *result, VcErr *err)
{
    *result = (TrainResult){0};
    Run run = {.recipe = recipe, .options = options, .result = result};
    char *checkpoint = NULL;
    bool ok = open_parts(&run, err) && find_state(&run, &checkpoint, err);
    if (ok && checkpoint && finished(&run)) {
        result->already_done = true;
        result->steps = run.state.step;
    } else if (ok) {
        if (checkpoint) {
            vc_info("going on from '%s'", checkpoint);
        } else if (options->resume) {
            vc_info("no checkpoint in '%s': starting at the beginning", options->out);
        }
        ok = open_model(&run, checkpoint, err) && write_recipe(&run, err);
        if (ok)
            open_threads(&run);
        ok = ok && run_steps(&run, err);
    }
    free(checkpoint);
    close_run(&run);
    return ok;
}
