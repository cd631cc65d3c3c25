// SPDX-License-Identifier: MIT
#include "train/model/model.h"

#include "base/hash.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// T13: the original also shrinks the temperature, class and mask tokens and positions.
static void spare_tokens(NnParams *params)
{
    static const char *const spared[] = {"temp", "mask_token", "visual_encoder.cls_token", "visual_encoder.pos_embed"};
    for (size_t i = 0; i < params->count; i++) {
        for (size_t k = 0; k < sizeof spared / sizeof *spared; k++) {
            if (strcmp(params->items[i].name, spared[k]) == 0)
                params->items[i].flags &= ~(unsigned)NN_PARAM_DECAY;
        }
    }
}

TrainModel *train_model_outline(const TrainRecipe *recipe, size_t vocabulary)
{
    TrainModel *model = vc_calloc(1, sizeof *model);
    model->ops = recipe->objective == TRAIN_CLIP ? &train_clip_ops : &train_vicha_ops;
    model->recipe = recipe;
    model->vocabulary = vocabulary;
    model->arena = vc_arena_create("model");
    nn_params_init(&model->params);
    nn_params_init(&model->momentum);
    model->ops->build(model);
    if (recipe->objective == TRAIN_VICHA && !recipe->decay_tokens)
        spare_tokens(&model->params);
    return model;
}

TrainModel *train_model_create(const TrainRecipe *recipe, size_t vocabulary, bool with_moments)
{
    return train_model_create_world(recipe, vocabulary, with_moments, NULL);
}

TrainModel *train_model_create_world(const TrainRecipe *recipe, size_t vocabulary, bool with_moments,
                                     TrainParallel *world)
{
    TrainModel *model = train_model_outline(recipe, vocabulary);
    model->world = world;
    nn_params_allocate(&model->params, with_moments);
    if (model->momentum.count > 0) {
        nn_params_allocate(&model->momentum, false);
        TrainQueue *q = &model->queue;
        q->room = (size_t)recipe->batch * train_parallel_size(world);
        q->length = (size_t)recipe->queue;
        q->width = (size_t)recipe->proj;
        const size_t n = (q->room + q->length) * q->width;
        q->images = vc_alloc_aligned(n, sizeof *q->images);
        q->texts = vc_alloc_aligned(n, sizeof *q->texts);
        memset(q->images, 0, n * sizeof *q->images);
        memset(q->texts, 0, n * sizeof *q->texts);
    }
    return model;
}

void train_model_destroy(TrainModel **model)
{
    if (!*model)
        return;
    nn_params_finish(&(*model)->params);
    nn_params_finish(&(*model)->momentum);
    free((*model)->queue.images);
    free((*model)->queue.texts);
    vc_arena_destroy(&(*model)->arena);
    free(*model);
    *model = NULL;
}

void train_model_copy_teachers(TrainModel *model)
{
    if (model->momentum.count > 0) // pairs lie at the same offsets
        memcpy(model->momentum.value, model->params.value, model->momentum.size * sizeof(nn_real));
}

const int32_t *train_model_groups(const TrainModel *model, NnTape *t, const TrainBatch *b)
{
    const size_t n = b->count, all = n * train_parallel_size(model->world);
    if (all == n)
        return b->group;
    // Equal captions have equal sums of their ids: all ranks pad to the same length.
    uint64_t *mine = vc_calloc(n, sizeof *mine), *sums = vc_calloc(all, sizeof *sums);
    for (size_t i = 0; i < n; i++)
        mine[i] = vc_xxh64(b->ids + i * b->tokens, b->tokens * sizeof *b->ids);
    train_parallel_gather(model->world, mine, n * sizeof *mine, sums);
    int32_t *group = nn_tape_alloc_ids(t, all);
    for (size_t i = 0; i < all; i++) {
        size_t first = 0;
        while (sums[first] != sums[i])
            first++;
        group[i] = (int32_t)first;
    }
    free(mine);
    free(sums);
    return group;
}

// Rows of length 1 in random directions.
static void init_queue(nn_real *rows, const TrainQueue *q, uint64_t seed)
{
    VcRng rng;
    vc_rng_seed(&rng, seed);
    for (size_t i = q->room; i < q->room + q->length; i++) {
        nn_real *row = rows + i * q->width;
        double sum = 0;
        for (size_t j = 0; j < q->width; j++) {
            row[j] = (nn_real)vc_rng_normal(&rng);
            sum += (double)row[j] * (double)row[j];
        }
        for (size_t j = 0; j < q->width; j++)
            row[j] = (nn_real)((double)row[j] / fmax(sqrt(sum), 1e-12));
    }
}

void train_model_init(TrainModel *model, uint64_t seed)
{
    model->ops->init(model, seed);
    train_model_copy_teachers(model);
    init_queue(model->queue.images, &model->queue, vc_mix_seed(seed, vc_xxh64("image_queue", 11)));
    init_queue(model->queue.texts, &model->queue, vc_mix_seed(seed, vc_xxh64("text_queue", 10)));
}

void train_model_clamp(TrainModel *model)
{
    model->ops->clamp(model);
}

void train_model_loss(TrainModel *model, NnTape *t, const TrainBatch *b, const TrainStep *step, TrainLoss *out)
{
    model->ops->loss(model, t, b, step, out);
}

void train_model_advance(TrainModel *model)
{
    if (model->ops->advance)
        model->ops->advance(model);
}

double train_alpha(const TrainRecipe *r, uint64_t epoch, uint64_t number, uint64_t batches, uint64_t step)
{
    if (r->alpha_steps > 0)
        return r->alpha * fmin(1, (double)step / (double)r->alpha_steps);
    if (r->alpha_steps == 0 || epoch > 0)
        return r->alpha;
    return r->alpha * fmin(1, (double)number / (double)batches);
}

static VcRng stream_of(const TrainModel *model, size_t index, uint64_t seed)
{
    const char *name = model->params.items[index].name;
    VcRng rng;
    vc_rng_seed(&rng, vc_mix_seed(seed, vc_xxh64(name, strlen(name))));
    return rng;
}

void train_init_normal(TrainModel *model, size_t index, double std, uint64_t seed)
{
    const NnParamInfo *info = &model->params.items[index];
    VcRng rng = stream_of(model, index, seed);
    for (size_t i = 0; i < info->size; i++)
        model->params.value[info->offset + i] = (nn_real)(std * vc_rng_normal(&rng));
}

void train_init_uniform(TrainModel *model, size_t index, double bound, uint64_t seed)
{
    const NnParamInfo *info = &model->params.items[index];
    VcRng rng = stream_of(model, index, seed);
    for (size_t i = 0; i < info->size; i++)
        model->params.value[info->offset + i] = (nn_real)(bound * (2 * vc_rng_uniform(&rng) - 1));
}

void train_init_constant(TrainModel *model, size_t index, double value)
{
    const NnParamInfo *info = &model->params.items[index];
    for (size_t i = 0; i < info->size; i++)
        model->params.value[info->offset + i] = (nn_real)value;
}
