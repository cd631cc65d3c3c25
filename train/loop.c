// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "extract/extract.h"
#include "train/best.h"
#include "train/checkpoint.h"
#include "train/environment.h"
#include "train/evaluate.h"
#include "train/export.h"
#include "train/import.h"
#include "train/loader.h"
#include "train/metrics.h"
#include "train/reducer.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>

enum { BUCKET_BYTES = 4 << 20 }; // of gradients that travel together

typedef struct {
    const TrainRecipe *recipe;
    const TrainOptions *options;
    TrainResult *result;
    TrainParallel *world; // NULL: one process
    size_t rank, size;    // ours, of how many
    TrainData *data;
    Bpe *bpe; // NULL for vicha
    TrainModel *model;
    VcPool *pool;
    NnContext context;
    NnTape *tape;
    TrainLoader *loader;
    TrainReducer *reducer;     // NULL with one process
    TrainEvaluator *evaluator; // of rank 0, which alone writes into the run's folder
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
    double line_start, line_waited, line_synced, paused; // paused: spent in evaluations and checkpoints
    uint64_t line_images;
    // of this call
    double start, all_paused;
    uint64_t images;
} Run;

// What one process knows all of them do: who fails is not left behind by the others. They may wait long for rank 0.
static bool agree(const Run *run, bool ok, VcErr *err)
{
    train_parallel_wait(run->world);
    return train_parallel_agree(run->world, ok, err);
}

static uint64_t global_batch(const Run *run)
{
    return (uint64_t)run->recipe->batch * run->size;
}

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
    if (!train_data_check_batch(run->data, global_batch(run), err))
        return false;
    if (r->objective == TRAIN_VICHA && r->queue > 0 && (uint64_t)r->queue % global_batch(run) != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.queue %" PRId64 " is not a multiple of the %" PRIu64
                       " pairs that %zu processes take in a step",
                       r->queue, global_batch(run), run->size);
    }
    run->batches = train_data_trained(run->data) / global_batch(run);
    uint64_t all = run->batches * (uint64_t)r->epochs / (uint64_t)r->accumulate;
    run->total = r->steps > 0 ? (uint64_t)r->steps : all > 0 ? all : 1;
    run->result->records = train_data_total(run->data);
    run->result->held_out = train_data_total(run->data) - train_data_trained(run->data);
    if (run->rank > 0)
        return true;
    return vc_make_dirs(run->options->out, err) &&
           (!run->options->restart ||
            (train_checkpoint_clear(run->options->out, err) && train_best_clear(run->options->out, err)));
}

// Where the run stands: at the start, or at the newest checkpoint, which must be of this recipe and these records.
static bool find_state(Run *run, char **checkpoint, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    TrainState *s = &run->state;
    uint64_t step;
    *checkpoint = NULL;
    if (!train_checkpoint_newest(run->options->out, checkpoint, &step, err))
        return false;
    if (!*checkpoint) {
        *s = (TrainState){.recipe = train_recipe_fingerprint(r)};
        snprintf(s->data.fingerprint, sizeof s->data.fingerprint, "%s", train_data_fingerprint(run->data));
        s->data.seed = (uint64_t)r->seed;
        s->data.window = (uint64_t)r->window;
        s->data.global_batch = global_batch(run);
        return true;
    }
    if (!train_checkpoint_state(*checkpoint, s, err))
        return false;
    if (!index_state_check(&s->data, train_data_fingerprint(run->data), (uint64_t)r->window, global_batch(run), err))
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

static bool open_tokenizer(Run *run, const char *checkpoint, VcErr *err)
{
    uint64_t fingerprint = 0;
    const bool keep = checkpoint || run->rank > 0; // rank 0 has just learned it
    if (!train_vocabulary_open(&run->bpe, &fingerprint, run->recipe, run->data, run->options->out, keep, err))
        return false;
    if (checkpoint && fingerprint != run->state.tokenizer) {
        return vc_fail(err, VC_ERR_FORMAT, "the tokenizer in '%s/tokenizer' is not the one of checkpoint '%s'",
                       run->options->out, checkpoint);
    }
    run->state.tokenizer = fingerprint;
    return true;
}

static bool open_vocabulary(Run *run, const char *checkpoint, VcErr *err)
{
    if (run->recipe->objective != TRAIN_CLIP)
        return true;
    bool ok = run->rank > 0 || open_tokenizer(run, checkpoint, err);
    if (!agree(run, ok, err))
        return false;
    ok = run->rank == 0 || open_tokenizer(run, checkpoint, err);
    return agree(run, ok, err);
}

static bool open_model(Run *run, const char *checkpoint, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    size_t vocabulary = run->bpe ? bpe_vocabulary(run->bpe) : train_data_word_vocabulary(run->data);
    run->model = train_model_create_world(r, vocabulary, true, run->world);
    run->model->mask_id = train_data_mask_id(run->data);
    train_model_init(run->model, (uint64_t)r->seed);
    if (checkpoint)
        return train_checkpoint_load(checkpoint, run->model, err);
    const TrainOptions *o = run->options;
    return o->init_count == 0 ||
           train_import(run->model, o->init_from, o->init_count, run->rank > 0 ? NULL : o->out, err);
}

// Processes that drift apart would train different models without a sign of it.
static bool check_same_weights(const Run *run, VcErr *err)
{
    enum { PARTS = 4 };
    const TrainModel *model = run->model;
    const TrainQueue *q = &model->queue;
    const size_t bytes = sizeof(nn_real);
    if (run->size == 1)
        return true;
    uint64_t mine[PARTS] = {run->state.step, vc_xxh64(model->params.value, model->params.size * bytes),
                            vc_xxh64(model->params.m, model->params.size * bytes), q->next};
    if (q->length > 0)
        mine[3] += vc_xxh64(q->images + q->room * q->width, q->length * q->width * bytes);
    uint64_t *all = vc_calloc(run->size, sizeof mine);
    train_parallel_gather(run->world, mine, sizeof mine, all);
    bool ok = train_parallel_check(run->world, err);
    for (size_t i = 1; ok && i < run->size; i++) {
        if (memcmp(all, all + i * PARTS, sizeof mine) != 0) {
            ok = vc_fail(err, VC_ERR_FORMAT,
                         "process %zu does not hold the weights of process 0 at step %" PRIu64
                         ": do all see the same folder '%s', and run the same build on the same kind of processor?",
                         i, run->state.step, run->options->out);
        }
    }
    free(all);
    return ok;
}

static void open_threads(Run *run)
{
    run->pool = vc_pool_create(run->options->threads > 0 ? run->options->threads : vc_cpu_count());
    nn_context_init(&run->context, run->pool);
    run->context.precision = (NnPrecision)run->recipe->precision;
    run->tape = nn_tape_create(&run->context);
    if (run->rank == 0)
        run->evaluator = train_evaluator_create(run->recipe, run->data, run->bpe);
    run->reducer = train_reducer_create(run->world, &run->model->params, BUCKET_BYTES);
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

// Every process comes here: the loss is that of all. Rank 0 writes down the records of all.
static bool not_a_number(const Run *run, const char *what, double value, const TrainBatch *batch, VcErr *err)
{
    const size_t pairs = batch->count * run->size;
    uint64_t *records = vc_calloc(pairs, sizeof *records);
    int64_t *image_ids = vc_calloc(pairs, sizeof *image_ids);
    train_parallel_gather(run->world, batch->records, batch->count * sizeof *records, records);
    train_parallel_gather(run->world, batch->image_ids, batch->count * sizeof *image_ids, image_ids);
    VcStr text = {0};
    vc_str_putf(&text, "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"batch\": %" PRIu64 ", \"records\": [",
                run->state.step + 1, batch->epoch, batch->number);
    for (size_t i = 0; i < pairs; i++)
        vc_str_putf(&text, "%s%" PRIu64, i ? ", " : "", records[i]);
    vc_str_put(&text, "], \"image_ids\": [");
    for (size_t i = 0; i < pairs; i++)
        vc_str_putf(&text, "%s%" PRId64, i ? ", " : "", image_ids[i]);
    free(records);
    free(image_ids);
    vc_str_put(&text, "]}\n");
    char *path = vc_path_join(run->options->out, "bad_batch.json");
    bool saved = run->rank > 0 || vc_write_file(path, text.data, text.len, NULL);
    vc_fail(err, VC_ERR_FORMAT,
            "the %s of step %" PRIu64 " is %g (epoch %" PRIu64 ", batch %" PRIu64
            "): training stops here, checkpoints are kept; %s '%s'; try a lower optim.lr or a longer warm-up",
            what, run->state.step + 1, value, batch->epoch, batch->number,
            saved ? "its records are in" : "its records could not be written to", path);
    free(path);
    vc_str_finish(&text);
    return false;
}

// The loss of the pairs of all processes: the mean over them.
static double mean_loss(const Run *run, TrainLoss *loss)
{
    double values[1 + TRAIN_MAX_LOSSES] = {(double)loss->total->value[0]};
    for (size_t i = 0; i < loss->count; i++)
        values[1 + i] = loss->parts[i].value;
    train_parallel_sum(run->world, values, 1 + loss->count);
    for (size_t i = 0; i < loss->count; i++)
        loss->parts[i].value = values[1 + i] / (double)run->size;
    return values[0] / (double)run->size;
}

// Forward and backward of one batch; its losses are added to those since the last line.
static bool take_batch(Run *run, const TrainBatch *batch, bool first, bool last, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    TrainState *state = &run->state;
    TrainLoss loss;
    run->alpha = train_alpha(r, batch->epoch, batch->number, run->batches, state->step);
    uint64_t seed = vc_mix_seed(vc_mix_seed((uint64_t)r->seed, batch->epoch), batch->number);
    if (run->rank > 0) // its own dropout
        seed = vc_mix_seed(seed, run->rank);
    const TrainStep step = {.alpha = run->alpha, .first = first, .seed = seed};
    nn_tape_reset(run->tape);
    train_model_loss(run->model, run->tape, batch, &step, &loss);
    const double value = mean_loss(run, &loss);
    if (!train_parallel_check(run->world, err))
        return false;
    if (!isfinite(value)) {
        char what[64] = "";
        for (size_t i = 0, n = 0; loss.count > 1 && i < loss.count && n < sizeof what - 16; i++) {
            if (!isfinite(loss.parts[i].value))
                n += (size_t)snprintf(what + n, sizeof what - n, "%s%s", n ? ", " : "", loss.parts[i].name);
        }
        snprintf(what + strlen(what), sizeof what - strlen(what), *what ? " loss" : "loss");
        return not_a_number(run, what, value, batch, err);
    }
    if (last)
        train_reducer_begin(run->reducer, run->tape);
    nn_backward(run->tape, loss.total);
    if (last)
        train_reducer_end(run->reducer, run->tape);
    train_model_advance(run->model);
    if (!train_parallel_check(run->world, err))
        return false;
    run->loss = loss;
    state->loss_sum += value;
    for (size_t i = 0; i < loss.count; i++)
        state->part_sums[i] += loss.parts[i].value;
    state->loss_count++;
    run->skipped += batch->skipped;
    run->images += batch->count * run->size;
    run->line_images += batch->count * run->size;
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
        const bool there = train_loader_next(run->loader, &batch, err);
        if (!train_parallel_agree(run->world, there, err) ||
            !take_batch(run, batch, k == 0, k + 1 == r->accumulate, err))
            return false;
    }
    VC_ASSERT(batch);
    double mean = 1 / ((double)r->accumulate * (double)run->size);
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

// The live line: done, rate and time left are the progress's own.
static void show(const Run *run, const TrainLine *line)
{
    VcStr note = {0};
    vc_str_putf(&note, "epoch %" PRIu64 ", loss %.3f", line->epoch + 1, line->loss);
    for (size_t i = 0; line->part_count > 1 && i < line->part_count; i++)
        vc_str_putf(&note, "%s%s %.3f", i ? ", " : " (", line->parts[i].name, line->parts[i].value);
    vc_str_putf(&note, "%s, %.*f images/s, %.0f %% waiting for data", line->part_count > 1 ? ")" : "",
                line->images_per_s < 10 ? 1 : 0, line->images_per_s, 100 * line->wait_share);
    if (line->processes > 1)
        vc_str_putf(&note, ", %.0f %% for other processes", 100 * line->sync_share);
    if (run->result->recall.count > 0)
        vc_str_putf(&note, ", recall@10 %.0f %%", run->result->recall.text_to_image[2]);
    vc_progress_note(run->progress, note.data);
    vc_str_finish(&note);
}

// Rank 0 alone, as evaluate, save and finish.
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
    line.processes = run->size;
    line.sync_share = (train_reducer_waited(run->reducer) - run->line_synced) / spent;
    run->line_synced = train_reducer_waited(run->reducer);
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
    show(run, &line);
    return train_metrics_log(&run->metrics, &line, err);
}

static bool evaluate(Run *run, VcErr *err)
{
    if (train_evaluator_count(run->evaluator) < 2)
        return true;
    double start = vc_now();
    bool ok = train_evaluate(run->evaluator, run->model, run->tape, run->pool, &run->result->recall, err) &&
              train_metrics_recall(&run->metrics, run->state.step, run->epoch, &run->result->recall, err) &&
              train_best_update(run->options->out, run->model, run->state.step, &run->result->recall, err) &&
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

// Whether a signal reached one of the processes: then all of them stop after the same step.
static bool stop_wanted(const Run *run)
{
    int64_t wanted = vc_interrupted() != 0;
    train_parallel_max(run->world, &wanted, 1);
    return wanted != 0;
}

// What is to be written after a step.
static bool after_step(Run *run, double rate, uint64_t stop, bool stopped, VcErr *err)
{
    const TrainRecipe *r = run->recipe;
    const uint64_t step = run->state.step;
    const bool last = step == run->total, log = due(r->log_every, step) || last,
               judge = (due(r->eval_every, step) && !stopped) || last,
               keep = due(r->checkpoint_every, step) || step == stop || stopped;
    if (keep && !check_same_weights(run, err))
        return false;
    bool ok = run->rank > 0 ||
              ((!log || log_line(run, rate, err)) && (!judge || evaluate(run, err)) && (!keep || save(run, err)));
    return log || judge || keep ? agree(run, ok, err) : ok;
}

static bool train(Run *run, VcErr *err)
{
    uint64_t stop =
        run->options->stop_at > 0 && run->options->stop_at < run->total ? run->options->stop_at : run->total;
    bool stopped = false;
    while (run->state.step < stop && !stopped) {
        double rate = 0;
        if (!take_step(run, &rate, err))
            return false;
        vc_progress_add(run->progress, 1, 0);
        stopped = stop_wanted(run);
        if (!after_step(run, rate, stop, stopped, err))
            return false;
    }
    if (run->state.step == run->total) {
        const bool ok = run->rank > 0 || train_export(run->model, run->bpe, run->options->out, err);
        return agree(run, ok, err);
    }
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

static bool open_files(Run *run, VcErr *err)
{
    const TrainOptions *o = run->options;
    if (run->rank > 0)
        return true;
    const TrainEnvironment environment = {run->state.step, train_data_fingerprint(run->data), run->state.recipe,
                                          run->world, vc_pool_threads(run->pool)};
    return write_recipe(run, err) && train_groups_write(o->out, &run->model->params, err) &&
           train_environment_note(o->out, &environment, err) &&
           train_metrics_open(&run->metrics, o->out, run->state.step, o->tensorboard, err);
}

static bool run_steps(Run *run, VcErr *err)
{
    run->epoch = run->state.data.epoch;
    const TrainShare share = {run->rank, run->size};
    run->loader = train_loader_create(run->recipe, run->data, run->bpe, &share, run->state.data.epoch,
                                      run->state.data.next_batch);
    run->progress = vc_progress_begin("train", "steps", run->total - run->state.step);
    run->start = run->line_start = vc_now();
    bool ok = train(run, err);
    TrainResult *result = run->result;
    result->seconds = vc_now() - run->start;
    double busy = result->seconds - run->all_paused;
    result->steps = run->state.step;
    double skipped = (double)run->skipped;
    if (ok)
        train_parallel_sum(run->world, &skipped, 1);
    result->bad_records = (uint64_t)skipped;
    result->images_per_s = busy > 0 ? (double)run->images / busy : 0;
    result->wait_share = busy > 0 ? train_loader_waited(run->loader) / busy : 0;
    vc_progress_end(&run->progress);
    return ok;
}

static void close_run(Run *run)
{
    train_loader_destroy(&run->loader);
    train_evaluator_destroy(&run->evaluator);
    train_reducer_destroy(&run->reducer);
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
    Run run = {.recipe = recipe, .options = options, .result = result, .world = options->world};
    run.rank = train_parallel_rank(run.world);
    run.size = train_parallel_size(run.world);
    char *checkpoint = NULL;
    bool ok = agree(&run, open_parts(&run, err), err) && agree(&run, find_state(&run, &checkpoint, err), err);
    if (ok && checkpoint && finished(&run)) {
        result->already_done = true;
        result->steps = run.state.step;
    } else if (ok) {
        if (checkpoint) {
            vc_info("going on from '%s'", checkpoint);
        } else if (options->resume) {
            vc_info("no checkpoint in '%s': starting at the beginning", options->out);
        }
        ok = open_vocabulary(&run, checkpoint, err) && agree(&run, open_model(&run, checkpoint, err), err) &&
             check_same_weights(&run, err);
        if (ok)
            open_threads(&run);
        ok = ok && agree(&run, open_files(&run, err), err) && run_steps(&run, err);
        const bool closed = train_metrics_close(&run.metrics, ok ? err : NULL);
        ok = ok && closed;
    }
    free(checkpoint);
    close_run(&run);
    return ok;
}
