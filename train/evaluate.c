// SPDX-License-Identifier: MIT
#include "train/evaluate.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/loss/itc.h"

static const size_t recall_at[3] = {1, 5, 10};

struct TrainEvaluator {
    const TrainRecipe *recipe;
    TrainSampler *sampler;
    uint64_t *records;
    size_t count;
    TrainBatch batch;
    float *images, *texts, *scores; // [count,E] twice, [count,count]
    int32_t *ids, *group;           // [count,context] padded with -1, [count]
};

TrainEvaluator *train_evaluator_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe)
{
    TrainEvaluator *e = vc_calloc(1, sizeof *e);
    size_t cap = 0, most = (size_t)recipe->eval_samples, width = (size_t)recipe->proj;
    e->recipe = recipe;
    for (uint64_t i = 0; i < train_data_total(data); i++) {
        if (!train_data_held_out(data, i))
            continue;
        e->records = vc_grow(e->records, &cap, e->count + 1, sizeof *e->records);
        e->records[e->count++] = i;
    }
    VcRng rng;
    vc_rng_seed(&rng, 1); // of the evaluation, not of the run: all runs are compared on the same pairs
    vc_rng_shuffle(&rng, e->records, e->count, sizeof *e->records);
    e->count = e->count < most ? e->count : most;
    e->sampler = train_sampler_create(recipe, data, bpe);
    train_batch_init(&e->batch, recipe, (size_t)recipe->batch);
    e->images = vc_calloc(e->count * width + 1, sizeof *e->images);
    e->texts = vc_calloc(e->count * width + 1, sizeof *e->texts);
    e->scores = vc_calloc(e->count * e->count + 1, sizeof *e->scores);
    e->ids = vc_calloc(e->count * (size_t)recipe->context + 1, sizeof *e->ids);
    e->group = vc_calloc(e->count + 1, sizeof *e->group);
    return e;
}

void train_evaluator_destroy(TrainEvaluator **evaluator)
{
    TrainEvaluator *e = *evaluator;
    if (!e)
        return;
    train_sampler_destroy(&e->sampler);
    train_batch_finish(&e->batch);
    free(e->records);
    free(e->images);
    free(e->texts);
    free(e->scores);
    free(e->ids);
    free(e->group);
    free(e);
    *evaluator = NULL;
}

size_t train_evaluator_count(const TrainEvaluator *evaluator)
{
    return evaluator->count;
}

// How many of n candidates stand before the best right one.
static size_t wrong_before(const float *scores, size_t stride, const int32_t *group, int32_t right, size_t n)
{
    float best = -2; // scores are cosines
    size_t before = 0;
    for (size_t j = 0; j < n; j++) {
        if (group[j] == right && scores[j * stride] > best)
            best = scores[j * stride];
    }
    for (size_t j = 0; j < n; j++)
        before += group[j] != right && !(scores[j * stride] < best);
    return before;
}

void train_recall(const float *scores, const int32_t *group, size_t n, TrainRecall *recall)
{
    double image_to_text[3] = {0}, text_to_image[3] = {0}, chance[3] = {0};
    for (size_t i = 0; i < n; i++) {
        size_t texts = wrong_before(scores + i * n, 1, group, group[i], n);
        size_t images = wrong_before(scores + i, n, group, group[i], n), right = 0;
        for (size_t j = 0; j < n; j++)
            right += group[j] == group[i];
        for (size_t k = 0; k < 3; k++) {
            double miss = 1; // no right one among k drawn without replacement
            for (size_t j = 0; j < recall_at[k]; j++)
                miss *= n > right + j ? (double)(n - right - j) / (double)(n - j) : 0;
            image_to_text[k] += texts < recall_at[k];
            text_to_image[k] += images < recall_at[k];
            chance[k] += 1 - miss;
        }
    }
    recall->count = n;
    for (size_t k = 0; k < 3; k++) {
        recall->image_to_text[k] = 100 * image_to_text[k] / (double)n;
        recall->text_to_image[k] = 100 * text_to_image[k] / (double)n;
        recall->chance[k] = 100 * chance[k] / (double)n;
    }
}

static void find_groups(TrainEvaluator *e)
{
    size_t context = (size_t)e->recipe->context, bytes = context * sizeof *e->ids;
    for (size_t i = 0; i < e->count; i++) {
        e->group[i] = (int32_t)i;
        for (size_t j = 0; j < i && e->group[i] == (int32_t)i; j++) {
            if (memcmp(e->ids + i * context, e->ids + j * context, bytes) == 0)
                e->group[i] = (int32_t)j;
        }
    }
}

static void keep_ids(TrainEvaluator *e, size_t done)
{
    const TrainBatch *b = &e->batch;
    size_t context = (size_t)e->recipe->context;
    for (size_t i = 0; i < b->count; i++) {
        int32_t *to = e->ids + (done + i) * context;
        memset(to, 0xFF, context * sizeof *to);
        memcpy(to, b->ids + i * b->tokens, ((size_t)b->last[i] + 1) * sizeof *to);
    }
}

bool train_evaluate(TrainEvaluator *e, TrainModel *model, NnTape *tape, VcPool *pool, TrainRecall *recall, VcErr *err)
{
    size_t width = (size_t)e->recipe->proj, most = (size_t)e->recipe->batch, whole = 0;
    double loss = 0;
    for (size_t done = 0; done < e->count; done += e->batch.count) {
        size_t n = e->count - done < most ? e->count - done : most;
        memcpy(e->batch.records, e->records + done, n * sizeof *e->records);
        if (!train_sampler_fill(e->sampler, &e->batch, n, true, err))
            return false;
        nn_tape_reset(tape);
        nn_tape_record(tape, false);
        NnVar *images = model->ops->images(model, tape, &e->batch), *texts = model->ops->texts(model, tape, &e->batch);
        memcpy(e->images + done * width, images->value, n * width * sizeof *e->images);
        memcpy(e->texts + done * width, texts->value, n * width * sizeof *e->texts);
        if (n == most || done == 0) { // a loss over fewer candidates cannot be compared with that of training
            NnVar *logits = model->ops->logits(model, tape, nn_matmul_nt(tape, images, texts));
            loss += (double)train_itc_loss(tape, logits,
                                           e->recipe->duplicates == TRAIN_DUPLICATES_SHARE ? e->batch.group : NULL)
                        ->value[0];
            whole++;
        }
        keep_ids(e, done);
        nn_tape_reset(tape);
    }
    find_groups(e);
    nn_gemm(pool, NN_PLAIN, NN_TRANSPOSED, e->count, e->count, width, 1, e->images, width, e->texts, width, 0,
            e->scores, e->count);
    *recall = (TrainRecall){.loss = loss / (double)whole};
    train_recall(e->scores, e->group, e->count, recall);
    return true;
}
