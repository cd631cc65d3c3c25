// SPDX-License-Identifier: MIT
// A model of objective "vicha" small enough for finite differences, with a batch and random decisions that stay.
#pragma once

#include "base/mem.h"
#include "tests/support/test.h"
#include "train/model/vicha.h"

#include <string.h>

_Static_assert(sizeof(nn_real) == 8, "these tests are for the double compilation");

enum { PAIRS = 3, TOKENS = 5, CONCEPTS = 4, SIDE = 8, WORDS = 40, PATCHES = 16 };

typedef struct {
    TrainRecipe recipe;
    TrainModel *model;
    NnContext context;
    NnTape *tape;
    VcArena *arena;
    TrainBatch batch;
    TrainDraws draws;
} SmallModel;

static inline void fill_words(SmallModel *w, int32_t **ids, nn_real **mask, size_t tokens, VcRng *rng)
{
    *ids = vc_arena_zalloc(w->arena, PAIRS * tokens, sizeof **ids);
    *mask = vc_arena_zalloc(w->arena, PAIRS * tokens, sizeof **mask);
    for (size_t i = 0; i < PAIRS; i++) {
        for (size_t j = 0; j < tokens; j++) {
            const bool seen = j + i < tokens || j == 0; // each row is one word shorter than the one before
            (*ids)[i * tokens + j] = !seen ? 0 : j == 0 ? 1 : 3 + (int32_t)vc_rng_below(rng, WORDS - 3);
            (*mask)[i * tokens + j] = seen ? 0 : -10000;
        }
    }
}

static inline void fill_batch(SmallModel *w)
{
    VcRng rng;
    vc_rng_seed(&rng, 3);
    TrainBatch *b = &w->batch;
    *b = (TrainBatch){.count = PAIRS, .tokens = TOKENS, .concept_tokens = CONCEPTS, .epoch = 2, .number = 4};
    b->images = vc_arena_alloc(w->arena, PAIRS * 3 * SIDE * SIDE, sizeof *b->images);
    for (size_t i = 0; i < PAIRS * 3 * SIDE * SIDE; i++)
        b->images[i] = vc_rng_normal(&rng);
    fill_words(w, &b->ids, &b->mask, TOKENS, &rng);
    fill_words(w, &b->concepts, &b->concept_mask, CONCEPTS, &rng);
    b->group = vc_arena_zalloc(w->arena, PAIRS, sizeof *b->group);
    b->records = vc_arena_zalloc(w->arena, PAIRS, sizeof *b->records);
    for (size_t i = 0; i < PAIRS; i++) {
        b->group[i] = (int32_t)i;
        b->records[i] = 100 + 7 * i;
    }
}

static inline void fill_draws(SmallModel *w)
{
    TrainDraws *d = &w->draws;
    static int32_t images[PAIRS] = {1, 2, 1}, texts[PAIRS] = {2, 0, 0};
    d->mlm_ids = vc_arena_alloc(w->arena, PAIRS * TOKENS, sizeof(int32_t));
    d->mlm_labels = vc_arena_alloc(w->arena, PAIRS * TOKENS, sizeof(int32_t));
    d->mim_order = vc_arena_alloc(w->arena, PAIRS * PATCHES, sizeof(int32_t));
    d->mim_keep = vicha_mim_keep(&w->recipe);
    d->negative_images = images;
    d->negative_texts = texts;
    for (size_t i = 0; i < PAIRS; i++) {
        VcRng rng = train_row_stream(9, &w->batch, i);
        const TrainMlmRule rule = {0.5, WORDS, 2, 0, 1};
        train_draw_words(&rng, &rule, w->batch.ids + i * TOKENS, TOKENS, d->mlm_ids + i * TOKENS,
                         d->mlm_labels + i * TOKENS);
        train_draw_patches(&rng, PATCHES, d->mim_order + i * PATCHES);
    }
    d->mlm_labels[1] = w->batch.ids[1]; // one word at least
    d->mlm_ids[1] = 2;
}

static inline void small_model_open(SmallModel *w, const char *const *sets, size_t count)
{
    const char *all[48] = {
        "objective=vicha",       "image.size=8",          "model.vision.patch=2",  "model.vision.width=12",
        "model.vision.layers=3", "model.vision.heads=3",  "model.vision.mlp=20",   "model.text.width=10",
        "model.text.layers=4",   "model.text.heads=2",    "model.text.mlp=14",     "model.text.positions=8",
        "model.text.context=5",  "model.proj=6",          "model.queue=6",         "model.concept_layers=1",
        "train.batch=3",         "model.decoder.width=8", "model.decoder.heads=2", "model.decoder.layers=1"};
    size_t n = 20;
    for (size_t i = 0; i < count; i++)
        all[n++] = sets[i];
    *w = (SmallModel){.arena = vc_arena_create("world")};
    assert_ok(train_recipe_load(&w->recipe, NULL, all, n, err));
    w->model = train_model_create(&w->recipe, WORDS, true);
    w->model->mask_id = 2;
    train_model_init(w->model, 1);
    VcRng rng;
    vc_rng_seed(&rng, 2);
    const Vicha *v = w->model->parts;
    for (size_t i = 0; i < w->model->params.count; i++) {
        const NnParamInfo *p = &w->model->params.items[i];
        for (size_t j = 0; j < p->size && i != v->temp; j++)
            w->model->params.value[p->offset + j] += 0.3 * vc_rng_normal(&rng);
    }
    for (size_t i = 0; i < w->model->momentum.size; i++)
        w->model->momentum.value[i] = 0.9 * w->model->params.value[i] + 0.1 * vc_rng_normal(&rng);
    nn_context_init(&w->context, NULL);
    w->tape = nn_tape_create(&w->context);
    fill_batch(w);
    fill_draws(w);
}

static inline void small_model_close(SmallModel *w)
{
    nn_tape_destroy(&w->tape);
    nn_context_finish(&w->context);
    train_model_destroy(&w->model);
    train_recipe_finish(&w->recipe);
    vc_arena_destroy(&w->arena);
}

static inline NnVar *small_model_loss(SmallModel *w, TrainLoss *loss)
{
    const TrainStep step = {.alpha = w->recipe.alpha, .first = false, .seed = 77, .draws = &w->draws};
    nn_tape_reset(w->tape);
    train_model_loss(w->model, w->tape, &w->batch, &step, loss);
    return loss->total;
}
