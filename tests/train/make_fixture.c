// SPDX-License-Identifier: MIT
// make_fixture DIR VARIANT: records training steps of a made-up model in double, in the form check_train replays. The
// variants have sizes that golden/train has not: odd widths, other depths, one or many patches, few pairs, long
// padding. It says nothing about the mathematics (that is golden/train's part), but that float, any size and any
// padding give what double gives.
#include "base/file.h"
#include "base/mem.h"
#include "tests/train/fixture.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(nn_real) == 8, "fixtures are made in double");

typedef struct {
    size_t batch, side, patch, vision, depth, vision_heads;
    size_t text, text_heads, layers, fusion, mlp, words, positions;
    size_t concept_layers, proj, queue, levels, decoder, decoder_heads, decoder_depth, steps;
    double ratio, level_weight;
    size_t tokens[3], concepts[3]; // longest of each step
    const char *weights;           // of the levels
} Variant;

static const Variant variants[] = {
    {3, 20, 5, 26, 3, 2, 18, 3, 5, 2, 50, 131, 12, 1, 7, 9, 1, 20, 4, 1, 3, 0.6, 0.3, {9, 12, 2}, {3, 1, 8}, "[0.7]"},
    {2, 24, 8, 48, 5,  4, 64, 8, 4,   3,   96,         120,        30,
     3, 32, 2, 3,  16, 1, 3,  2, 0.5, 0.1, {30, 5, 5}, {12, 2, 2}, "[1,0,2]"},
    // no level looks at the embeddings' class token: it is the same in every row, and its gradient nothing but rounding
    {5, 8, 2, 17, 2, 1, 33, 11, 3, 2, 7, 300, 9, 1, 5, 25, 1, 12, 3, 2, 3, 0.9, 2, {4, 9, 7}, {9, 9, 1}, "[1]"},
};

// ---- files

typedef struct {
    NnToStore *items;
    size_t count, cap;
    VcArena *arena;
} Tensors;

static void *put(Tensors *t, const char *name, NnDtype dtype, NnShape shape, size_t *count)
{
    VC_ASSERT(nn_shape_count(&shape, count));
    void *data = vc_arena_zalloc(t->arena, *count + 1, 4);
    char *copy = vc_arena_alloc(t->arena, strlen(name) + 1, 1);
    memcpy(copy, name, strlen(name) + 1);
    t->items = vc_grow(t->items, &t->cap, t->count + 1, sizeof *t->items);
    t->items[t->count++] = (NnToStore){copy, dtype, shape, data};
    return data;
}

static void put_reals(Tensors *t, const char *name, NnShape shape, const nn_real *x)
{
    size_t n;
    float *to = put(t, name, NN_F32, shape, &n);
    for (size_t i = 0; i < n; i++)
        to[i] = (float)x[i];
}

static bool save(Tensors *t, const char *dir, const char *stem, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s.safetensors", dir, stem);
    const bool ok = nn_safetensors_write(path.data, t->items, t->count, NULL, 0, NN_STORE_SORTED, err);
    vc_str_finish(&path);
    t->count = 0;
    return ok;
}

static void put_queue(Tensors *t, const char *name, const TrainQueue *q, const nn_real *rows)
{
    size_t n;
    float *to = put(t, name, NN_F32, NN_SHAPE(q->width, q->length), &n);
    for (size_t i = 0; i < q->length; i++) {
        for (size_t j = 0; j < q->width; j++)
            to[j * q->length + i] = (float)rows[(q->room + i) * q->width + j];
    }
}

static bool save_state(Tensors *t, const TrainModel *model, const char *dir, const char *stem, VcErr *err)
{
    const NnParams *sets[] = {&model->params, &model->momentum};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sets[k]->count; i++)
            put_reals(t, sets[k]->items[i].name, sets[k]->items[i].shape, sets[k]->value + sets[k]->items[i].offset);
    }
    put_queue(t, "image_queue", &model->queue, model->queue.images);
    put_queue(t, "text_queue", &model->queue, model->queue.texts);
    size_t n;
    *(int32_t *)put(t, "queue_ptr", NN_I32, NN_SHAPE(1), &n) = (int32_t)model->queue.next;
    return save(t, dir, stem, err);
}

// ---- what goes in

static void put_config(VcStr *out, const Variant *v)
{
    vc_str_putf(
        out,
        "{\"config\": {\"bert\": {\"hidden_dropout_prob\": 0.0, \"hidden_size\": %zu, \"num_attention_heads\": %zu, "
        "\"num_hidden_layers\": %zu, \"fusion_layer\": %zu, \"intermediate_size\": %zu, \"vocab_size\": %zu, "
        "\"max_position_embeddings\": %zu, \"encoder_width\": %zu},\n",
        v->text, v->text_heads, v->layers, v->fusion, v->mlp, v->words, v->positions, v->vision);
    vc_str_putf(
        out,
        "\"model\": {\"temp\": 0.1, \"momentum\": 0.99, \"return_hidden_state\": true, \"mae\": true, "
        "\"image_res\": %zu, \"patch_size\": %zu, \"vision_width\": %zu, \"vit_depth\": %zu, \"vit_heads\": %zu, "
        "\"embed_dim\": %zu, \"queue_size\": %zu, \"num_hidden_layers_kw\": %zu, \"num_hidden_align\": %zu, "
        "\"ita_hidden_weight\": %g, \"ita_hidden_weights\": %s, \"mask_ratio\": %g, \"mae_dim\": %zu, "
        "\"mae_heads\": %zu, \"mae_depth\": %zu}},\n",
        v->side, v->patch, v->vision, v->depth, v->vision_heads, v->proj, v->queue, v->concept_layers, v->levels,
        v->level_weight, v->weights, v->ratio, v->decoder, v->decoder_heads, v->decoder_depth);
    vc_str_putf(out, "\"batch\": %zu, \"token_ids\": {\"pad\": 0, \"cls\": 101, \"mask\": 103},\n", v->batch);
}

static const double rates[] = {1e-3, 5e-4, 2e-3}, alphas[] = {0.4, 0.1, 0};

static bool write_json(const VcStr *head, const VcStr *steps, const VcStr *lists, const char *dir, VcErr *err)
{
    VcStr all = {0};
    vc_str_putf(&all, "%s\"steps\": [%s]%s}\n", head->data, steps->data, vc_str_get(lists));
    char *path = vc_path_join(dir, "fixture.json");
    const bool ok = vc_write_file(path, all.data, all.len, err);
    free(path);
    vc_str_finish(&all);
    return ok;
}

// Rows of [CLS] and words, padded; the first row is the longest, the last as short as can be.
static void put_words(Tensors *t, const char *step, const char *kind, size_t rows, size_t longest, size_t words,
                      VcRng *rng)
{
    char name[48];
    size_t n;
    snprintf(name, sizeof name, "%s.%s_ids", step, kind);
    int32_t *ids = put(t, name, NN_I32, NN_SHAPE(rows, longest), &n);
    snprintf(name, sizeof name, "%s.%s_mask", step, kind);
    int32_t *mask = put(t, name, NN_I32, NN_SHAPE(rows, longest), &n);
    for (size_t i = 0; i < rows; i++) {
        const size_t length = i == 0 ? longest : i + 1 == rows ? 1 : 1 + vc_rng_below(rng, longest);
        for (size_t j = 0; j < length; j++) {
            ids[i * longest + j] = j ? 1 + (int32_t)vc_rng_below(rng, words - 1) : 101;
            mask[i * longest + j] = 1;
        }
    }
}

static void put_draws(Tensors *t, const Variant *v, const char *step, size_t tokens, const int32_t *ids, VcRng *rng)
{
    char name[48];
    size_t n;
    snprintf(name, sizeof name, "%s.mlm_input_ids", step);
    int32_t *hidden = put(t, name, NN_I32, NN_SHAPE(v->batch, tokens), &n);
    snprintf(name, sizeof name, "%s.mlm_labels", step);
    int32_t *labels = put(t, name, NN_I32, NN_SHAPE(v->batch, tokens), &n);
    const TrainMlmRule rule = {0.4, v->words, 103, 0, 101};
    for (size_t i = 0; i < v->batch; i++)
        train_draw_words(rng, &rule, ids + i * tokens, tokens, hidden + i * tokens, labels + i * tokens);
    for (size_t side = 0; side < 2; side++) {
        snprintf(name, sizeof name, "%s.neg_%s_idx", step, side ? "text" : "image");
        int32_t *other = put(t, name, NN_I32, NN_SHAPE(v->batch), &n);
        for (size_t i = 0; i < v->batch; i++)
            other[i] = (int32_t)((i + 1 + vc_rng_below(rng, v->batch - 1)) % v->batch);
    }
    const size_t patches = (v->side / v->patch) * (v->side / v->patch);
    snprintf(name, sizeof name, "%s.mae_ids_shuffle", step);
    int32_t *order = put(t, name, NN_I32, NN_SHAPE(v->batch, patches), &n);
    for (size_t i = 0; i < v->batch; i++)
        train_draw_patches(rng, patches, order + i * patches);
}

static bool write_inputs(Tensors *t, const Variant *v, const char *dir, VcErr *err)
{
    VcRng rng;
    vc_rng_seed(&rng, 11);
    for (size_t k = 0; k < v->steps; k++) {
        char step[16], name[48];
        size_t n;
        snprintf(step, sizeof step, "step%zu", k + 1);
        snprintf(name, sizeof name, "%s.image", step);
        float *image = put(t, name, NN_F32, NN_SHAPE(v->batch, 3, v->side, v->side), &n);
        for (size_t i = 0; i < n; i++)
            image[i] = (float)vc_rng_normal(&rng);
        const size_t at = t->count;
        put_words(t, step, "text", v->batch, v->tokens[k], v->words, &rng);
        const int32_t *ids = t->items[at].data;
        put_words(t, step, "kw", v->batch, v->concepts[k], v->words, &rng);
        put_draws(t, v, step, v->tokens[k], ids, &rng);
    }
    return save(t, dir, "inputs", err);
}

// First values that are far from symmetric, so that every gradient is of a size to be seen.
static bool write_first_state(Tensors *t, const Variant *v, const char *dir, VcErr *err)
{
    char text[24][64];
    const struct {
        const char *key;
        size_t value;
    } sizes[] = {{"train.batch", v->batch},
                 {"image.size", v->side},
                 {"model.vision.patch", v->patch},
                 {"model.vision.width", v->vision},
                 {"model.vision.layers", v->depth},
                 {"model.vision.heads", v->vision_heads},
                 {"model.text.width", v->text},
                 {"model.text.heads", v->text_heads},
                 {"model.text.layers", v->layers},
                 {"model.text.fusion_layer", v->fusion},
                 {"model.text.mlp", v->mlp},
                 {"model.text.positions", v->positions},
                 {"model.text.context", 4},
                 {"model.concept_layers", v->concept_layers},
                 {"model.proj", v->proj},
                 {"model.queue", v->queue},
                 {"loss.hitc_levels", v->levels},
                 {"model.decoder.width", v->decoder},
                 {"model.decoder.heads", v->decoder_heads},
                 {"model.decoder.layers", v->decoder_depth}};
    const char *sets[24] = {"objective=vicha", "loss.mim_ratio=0.5", "model.temperature=0.1"};
    size_t n = 3;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(text[i], sizeof text[i], "%s=%zu", sizes[i].key, sizes[i].value);
        sets[n++] = text[i];
    }
    TrainRecipe recipe;
    if (!train_recipe_load(&recipe, NULL, sets, n, err))
        return false;
    TrainModel *model = train_model_create(&recipe, v->words, true);
    train_model_init(model, 5);
    VcRng rng;
    vc_rng_seed(&rng, 6);
    const Vicha *parts = model->parts;
    for (size_t i = 0; i < model->params.count; i++) {
        const NnParamInfo *p = &model->params.items[i];
        const double scale = p->shape.rank > 1 ? 1 / sqrt((double)p->shape.dim[p->shape.rank - 1]) : 0.1;
        for (size_t j = 0; j < p->size && i != parts->temp && i != parts->decoder_positions; j++)
            model->params.value[p->offset + j] += scale * vc_rng_normal(&rng);
    }
    train_model_copy_teachers(model);
    for (size_t i = 0; i < model->momentum.size; i++)
        model->momentum.value[i] *= 1 + 0.05 * vc_rng_normal(&rng);
    const bool ok = save_state(t, model, dir, "state0", err);
    train_model_destroy(&model);
    train_recipe_finish(&recipe);
    return ok;
}

// ---- what comes out

static void put_losses(VcStr *out, size_t k, const TrainLoss *loss, double level_weight)
{
    static const char *const names[] = {"ita_global", "hitc_unweighted", "itm", "mlm", "mae"};
    vc_str_putf(out, "%s{\"alpha\": %.17g, \"lr\": %.17g, \"loss_f64\": {", k > 1 ? ", " : "", alphas[k - 1],
                rates[k - 1]);
    VC_ASSERT(loss->count == 5);
    for (size_t i = 0; i < 5; i++)
        vc_str_putf(out, "\"%s\": %.17g, ", names[i], loss->parts[i].value);
    vc_str_putf(out, "\"ita_total\": %.17g, \"total\": %.17g}}",
                loss->parts[0].value + level_weight * loss->parts[1].value, (double)loss->total->value[0]);
}

static void put_names(VcStr *out, const NnParams *p, const char *key, const char *ending, int decay)
{
    vc_str_putf(out, "\"%s\": [", key);
    bool first = true;
    for (size_t i = 0; i < p->count; i++) {
        const bool fits =
            ending ? vc_has_suffix(p->items[i].name, ending)
                   : !(p->items[i].flags & NN_PARAM_FROZEN) && !(p->items[i].flags & NN_PARAM_DECAY) == !decay;
        if (fits) {
            vc_str_putf(out, "%s\"%s\"", first ? "" : ",", p->items[i].name);
            first = false;
        }
    }
    vc_str_putc(out, ']');
}

static void put_notes(Tensors *t, const TrainTrace *trace)
{
    static const char *const names[] = {"kw_embeds",  "image_embeds", "text_embeds",       "image_feat",
                                        "text_feat",  "sim_i2t",      "sim_t2i",           "sim_i2t_targets",
                                        "itm_logits", "mae.latent",   "hitc.image_feat.0", "image_embeds_m"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const NnVar *x = train_noted(trace, names[i]);
        put_reals(t, names[i], x->shape, x->value);
        if (i < 3) {
            char name[48];
            snprintf(name, sizeof name, "dgrad.%s", names[i]);
            put_reals(t, name, x->shape, x->grad);
        }
    }
}

static bool record(Tensors *t, const Variant *v, const char *dir, VcStr *steps, VcStr *lists, VcErr *err)
{
    Fixture f;
    TrainTrace *trace = vc_calloc(1, sizeof *trace);
    NnContext context;
    nn_context_init(&context, NULL);
    NnTape *tape = nn_tape_create(&context);
    bool ok = fixture_open(&f, dir, err);
    vc_str_clear(steps);
    const NnAdamw adamw = nn_adamw_default();
    for (size_t k = 1; ok && k <= v->steps; k++) {
        FixtureStep step;
        TrainLoss loss;
        char stem[16];
        ok = fixture_step(&f, k, &step, err);
        if (!ok)
            break;
        trace->count = 0;
        const TrainStep how = {.alpha = step.alpha, .first = true, .draws = &step.draws, .trace = trace};
        nn_tape_reset(tape);
        nn_params_zero_grad(&f.model->params);
        train_model_loss(f.model, tape, &step.batch, &how, &loss);
        nn_backward(tape, loss.total);
        put_losses(steps, k, &loss, f.recipe.loss_hitc);
        if (k == 1) {
            const NnParams *p = &f.model->params;
            put_notes(t, trace);
            ok = save(t, dir, "forward1", err);
            for (size_t i = 0; i < p->count; i++)
                put_reals(t, p->items[i].name, p->items[i].shape, p->grad + p->items[i].offset);
            ok = ok && save(t, dir, "grads1", err);
        }
        train_model_advance(f.model);
        nn_adamw_step(&context, &f.model->params, &adamw, step.lr, k, 1);
        snprintf(stem, sizeof stem, "state%zu", k);
        ok = ok && save_state(t, f.model, dir, stem, err);
    }
    if (ok) {
        const NnParams *p = &f.model->params;
        vc_str_put(lists, ",\n\"optimizer\": {");
        put_names(lists, p, "decay", NULL, 1);
        vc_str_put(lists, ", ");
        put_names(lists, p, "no_decay", NULL, 0);
        vc_str_put(lists, "},\n\"grad_noise_only\": {");
        put_names(lists, p, "whole_tensor", ".self.key.bias", 0);
        vc_str_put(lists, ", ");
        put_names(lists, p, "middle_third", ".qkv.bias", 0);
        vc_str_putc(lists, '}');
    }
    fixture_close(&f);
    nn_tape_destroy(&tape);
    nn_context_finish(&context);
    free(trace);
    return ok;
}

int main(int argc, char **argv)
{
    const size_t which = argc == 3 ? strtoul(argv[2], NULL, 10) : SIZE_MAX;
    if (which >= sizeof variants / sizeof *variants) {
        fprintf(stderr, "usage: make_fixture DIR VARIANT (below %zu)\n", sizeof variants / sizeof *variants);
        return 2;
    }
    const Variant *v = &variants[which];
    VcErr err = {0};
    VcStr head = {0}, steps = {0}, lists = {0};
    Tensors t = {.arena = vc_arena_create("tensors")};
    put_config(&head, v);
    for (size_t k = 0; k < v->steps; k++)
        vc_str_putf(&steps, "%s{\"alpha\": %.17g, \"lr\": %.17g}", k ? ", " : "", alphas[k], rates[k]);
    const bool ok = vc_make_dirs(argv[1], &err) && write_json(&head, &steps, &lists, argv[1], &err) &&
                    write_inputs(&t, v, argv[1], &err) && write_first_state(&t, v, argv[1], &err) &&
                    record(&t, v, argv[1], &steps, &lists, &err) && write_json(&head, &steps, &lists, argv[1], &err);
    if (!ok)
        fprintf(stderr, "make_fixture: %s\n", err.text);
    vc_str_finish(&head);
    vc_str_finish(&steps);
    vc_str_finish(&lists);
    free(t.items);
    vc_arena_destroy(&t.arena);
    return ok ? 0 : 1;
}
