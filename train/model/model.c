// SPDX-License-Identifier: MIT
#include "train/model/model.h"

#include "base/hash.h"
#include "base/mem.h"
#include "train/loss/itc.h"

TrainModel *train_model_outline(const TrainRecipe *recipe, size_t vocabulary)
{
    TrainModel *model = vc_calloc(1, sizeof *model);
    model->ops = recipe->objective == TRAIN_CLIP ? &train_clip_ops : &train_vicha_ops;
    model->recipe = recipe;
    model->vocabulary = vocabulary;
    model->arena = vc_arena_create("model");
    nn_params_init(&model->params);
    model->ops->build(model);
    return model;
}

TrainModel *train_model_create(const TrainRecipe *recipe, size_t vocabulary, bool with_moments)
{
    TrainModel *model = train_model_outline(recipe, vocabulary);
    nn_params_allocate(&model->params, with_moments);
    return model;
}

void train_model_destroy(TrainModel **model)
{
    if (!*model)
        return;
    nn_params_finish(&(*model)->params);
    vc_arena_destroy(&(*model)->arena);
    free(*model);
    *model = NULL;
}

NnVar *train_model_loss(TrainModel *model, NnTape *t, const TrainBatch *b)
{
    NnVar *images = model->ops->images(model, t, b), *texts = model->ops->texts(model, t, b);
    NnVar *logits = model->ops->logits(model, t, nn_matmul_nt(t, images, texts));
    return train_itc_loss(t, logits, b->group, model->recipe->duplicates == TRAIN_DUPLICATES_SHARE);
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
