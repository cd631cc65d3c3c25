// SPDX-License-Identifier: MIT
#include "tests/train/fixture.h"

#include "base/file.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t whole(const VcJson *section, const char *key, int64_t otherwise)
{
    return vc_json_int(vc_json_member(section, key), otherwise);
}

static double real(const VcJson *section, const char *key, double otherwise)
{
    return vc_json_number(vc_json_member(section, key), otherwise);
}

// ---- the recipe that fits the sizes

typedef struct {
    char text[64][96];
    const char *sets[64];
    size_t count;
} Sets;

static void put_whole(Sets *s, const char *key, int64_t value)
{
    snprintf(s->text[s->count], sizeof s->text[0], "%s=%" PRId64, key, value);
    s->sets[s->count] = s->text[s->count];
    s->count++;
}

static void put_real(Sets *s, const char *key, double value)
{
    snprintf(s->text[s->count], sizeof s->text[0], "%s=%.17g", key, value);
    s->sets[s->count] = s->text[s->count];
    s->count++;
}

static void put_text(Sets *s, const char *text)
{
    s->sets[s->count++] = text;
}

// Rows of a stored tensor: widths that the configuration leaves to the original's defaults.
static int64_t rows_of(const NnSafetensors *st, const char *name, int64_t otherwise)
{
    const NnStored *t = nn_safetensors_find(st, name);
    return t && t->shape.rank > 0 ? (int64_t)t->shape.dim[0] : otherwise;
}

static int64_t longest_text(const Fixture *f)
{
    int64_t longest = 4;
    for (size_t i = 0; i < nn_safetensors_count(f->inputs); i++) {
        const NnStored *t = nn_safetensors_at(f->inputs, i);
        if (vc_has_suffix(t->name, ".text_ids") && t->shape.rank == 2 && (int64_t)t->shape.dim[1] > longest)
            longest = (int64_t)t->shape.dim[1];
    }
    return longest;
}

static void put_towers(Sets *s, const Fixture *f, const NnSafetensors *state)
{
    const int64_t cv = whole(f->sizes, "vision_width", 0), ct = whole(f->bert, "hidden_size", 0);
    const int64_t d = whole(f->sizes, "mae_dim", cv);
    put_whole(s, "image.size", whole(f->sizes, "image_res", 0));
    put_whole(s, "model.vision.patch", whole(f->sizes, "patch_size", 0));
    put_whole(s, "model.vision.width", cv);
    put_whole(s, "model.vision.layers", whole(f->sizes, "vit_depth", 0));
    put_whole(s, "model.vision.heads", whole(f->sizes, "vit_heads", 0));
    put_whole(s, "model.vision.mlp", rows_of(state, "visual_encoder.blocks.0.mlp.fc1.weight", 4 * cv));
    put_whole(s, "model.text.width", ct);
    put_whole(s, "model.text.layers", whole(f->bert, "num_hidden_layers", 0));
    put_whole(s, "model.text.heads", whole(f->bert, "num_attention_heads", 0));
    put_whole(s, "model.text.mlp", whole(f->bert, "intermediate_size", 0));
    put_whole(s, "model.text.fusion_layer", whole(f->bert, "fusion_layer", 0));
    put_whole(s, "model.text.positions", whole(f->bert, "max_position_embeddings", 512));
    put_whole(s, "model.text.context", longest_text(f));
    put_whole(s, "model.decoder.width", d);
    put_whole(s, "model.decoder.layers", whole(f->sizes, "mae_depth", 2));
    put_whole(s, "model.decoder.heads", whole(f->sizes, "mae_heads", 16));
    put_whole(s, "model.decoder.mlp", rows_of(state, "decoder_blocks.0.mlp.fc1.weight", 4 * d));
    put_whole(s, "model.proj", whole(f->sizes, "embed_dim", 0));
}

static bool make_recipe(Fixture *f, const NnSafetensors *state, VcErr *err)
{
    Sets *s = vc_arena_zalloc(f->arena, 1, sizeof *s);
    VcStr weights = {0};
    put_text(s, "objective=vicha");
    put_towers(s, f, state);
    put_whole(s, "tokenizer.words", whole(f->bert, "vocab_size", 0));
    put_whole(s, "train.batch", (int64_t)f->batch);
    put_whole(s, "model.queue", whole(f->sizes, "queue_size", 0));
    put_whole(s, "model.concept_layers", whole(f->sizes, "num_hidden_layers_kw", 2));
    put_real(s, "model.temperature", real(f->sizes, "temp", 0.07));
    put_real(s, "model.momentum_keep", real(f->sizes, "momentum", 0.995));
    put_real(s, "loss.mlm_probability", real(f->sizes, "mlm_probability", 0.15));
    put_real(s, "loss.mim_ratio", real(f->sizes, "mask_ratio", 0.75));
    const bool levels = vc_json_bool(vc_json_member(f->sizes, "return_hidden_state"), true);
    put_real(s, "loss.hitc", levels ? real(f->sizes, "ita_hidden_weight", 0.1) : 0);
    put_real(s, "loss.mim", vc_json_bool(vc_json_member(f->sizes, "mae"), true) ? 1 : 0);
    const VcJson *list = vc_json_member(f->sizes, "ita_hidden_weights");
    const size_t depth = (size_t)whole(f->sizes, "num_hidden_align", (int64_t)vc_json_length(list));
    put_whole(s, "loss.hitc_levels", (int64_t)depth);
    vc_str_put(&weights, "loss.hitc_weights=[");
    for (size_t i = 0; i < vc_json_length(list) && i < depth; i++)
        vc_str_putf(&weights, "%s%.17g", i ? "," : "", vc_json_number(vc_json_item(list, i), 1));
    vc_str_put(&weights, "]");
    if (vc_json_length(list) > 0)
        put_text(s, weights.data);
    put_text(s, nn_safetensors_find(state, "kw_proj.weight") ? "model.concepts=true" : "model.concepts=false");
    put_text(s, "model.dropout=0");
    put_text(s, "loss.duplicates=ignore"); // the original takes equal captions for different ones
    const bool ok = train_recipe_load(&f->recipe, NULL, s->sets, s->count, err);
    vc_str_finish(&weights);
    return ok || vc_prefix(err, "the sizes of '%s'", f->dir);
}

// ---- files

bool fixture_file(const Fixture *f, const char *stem, NnSafetensors **out, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s.safetensors", f->dir, stem);
    *out = NULL;
    const bool ok = !vc_exists(path.data) || nn_safetensors_open(out, path.data, err);
    vc_str_finish(&path);
    return ok;
}

double *fixture_values(const NnStored *stored, VcArena *arena)
{
    double *out = vc_arena_alloc(arena, stored->count + 1, sizeof *out);
    VC_ASSERT(stored->dtype == NN_F32 || stored->dtype == NN_I32);
    for (size_t i = 0; i < stored->count; i++) {
        float real_value;
        int32_t whole_value;
        memcpy(&real_value, stored->data + 4 * i, 4);
        memcpy(&whole_value, stored->data + 4 * i, 4);
        out[i] = stored->dtype == NN_F32 ? (double)real_value : (double)whole_value;
    }
    return out;
}

nn_real *fixture_param(const Fixture *f, const char *name, const NnParamInfo **info, bool *momentum)
{
    const NnParams *sets[] = {&f->model->params, &f->model->momentum};
    for (size_t k = 0; k < 2; k++) {
        const size_t i = nn_params_find(sets[k], name);
        if (i == SIZE_MAX)
            continue;
        *info = &sets[k]->items[i];
        *momentum = k == 1;
        return sets[k]->value + (*info)->offset;
    }
    return NULL;
}

static bool put_queue(Fixture *f, const NnStored *t, nn_real *rows, VcErr *err)
{
    const TrainQueue *q = &f->model->queue;
    const NnShape expected = NN_SHAPE(q->width, q->length);
    if (!nn_shape_equal(&t->shape, &expected))
        return vc_fail(err, VC_ERR_FORMAT, "'%s' has another shape than the sizes say", t->name);
    const double *columns = fixture_values(t, f->arena);
    for (size_t i = 0; i < q->length; i++) {
        for (size_t j = 0; j < q->width; j++)
            rows[(q->room + i) * q->width + j] = (nn_real)columns[j * q->length + i];
    }
    return true;
}

bool fixture_put_state(Fixture *f, const NnSafetensors *st, VcErr *err)
{
    TrainQueue *q = &f->model->queue;
    size_t placed = 0;
    for (size_t i = 0; i < nn_safetensors_count(st); i++) {
        const NnStored *t = nn_safetensors_at(st, i);
        const NnParamInfo *info;
        bool momentum, ok = true;
        nn_real *at = fixture_param(f, t->name, &info, &momentum);
        if (at) {
            ok = nn_safetensors_load_real(st, t->name, info->shape, at, err);
            placed++;
        } else if (strcmp(t->name, "image_queue") == 0) {
            ok = put_queue(f, t, q->images, err);
        } else if (strcmp(t->name, "text_queue") == 0) {
            ok = put_queue(f, t, q->texts, err);
        } else if (strcmp(t->name, "queue_ptr") == 0) {
            q->next = (size_t)fixture_values(t, f->arena)[0];
        } else {
            ok = vc_fail(err, VC_ERR_FORMAT, "this model has no '%s'", t->name);
        }
        if (!ok)
            return false;
    }
    const size_t all = f->model->params.count + f->model->momentum.count;
    return placed == all ||
           vc_fail(err, VC_ERR_FORMAT, "'%s' has %zu of the model's %zu tensors", nn_safetensors_path(st), placed, all);
}

bool fixture_open(Fixture *f, const char *dir, VcErr *err)
{
    *f = (Fixture){.dir = vc_strdup(dir), .arena = vc_arena_create("fixture")};
    char *path = vc_path_join(dir, "fixture.json");
    bool ok = vc_json_read_file(&f->json, path, 1 << 26, err);
    free(path);
    if (!ok)
        return false;
    const VcJson *config = vc_json_member(f->json, "config");
    f->bert = vc_json_member(config, "bert");
    f->sizes = vc_json_member(config, "model");
    f->steps = vc_json_length(vc_json_member(f->json, "steps"));
    f->batch = (size_t)whole(f->json, "batch", 0);
    if (f->steps == 0 || f->batch == 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s/fixture.json' has no steps or no batch", dir);
    if (real(f->bert, "hidden_dropout_prob", 0) != 0 || real(f->bert, "attention_probs_dropout_prob", 0) != 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' was made with dropout: its steps cannot be replayed", dir);
    NnSafetensors *state = NULL;
    ok = fixture_file(f, "inputs", &f->inputs, err) && fixture_file(f, "state0", &state, err);
    if (ok && (!f->inputs || !state))
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' lacks inputs.safetensors or state0.safetensors", dir);
    ok = ok && make_recipe(f, state, err);
    if (ok) {
        f->model = train_model_create(&f->recipe, (size_t)f->recipe.word_vocab, true);
        f->model->mask_id = (int32_t)whole(vc_json_member(f->json, "token_ids"), "mask", 103);
        ok = fixture_put_state(f, state, err);
    }
    nn_safetensors_close(&state);
    return ok;
}

void fixture_close(Fixture *f)
{
    nn_safetensors_close(&f->inputs);
    train_model_destroy(&f->model);
    train_recipe_finish(&f->recipe);
    vc_json_destroy(&f->json);
    vc_arena_destroy(&f->arena);
    free(f->dir);
    *f = (Fixture){0};
}

// ---- batches

static const NnStored *input(const Fixture *f, size_t k, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "step%zu.%s", k, name);
    return nn_safetensors_find(f->inputs, full);
}

static bool get_ids(Fixture *f, size_t k, const char *name, size_t rows, int32_t **out, size_t *width, VcErr *err)
{
    const NnStored *t = input(f, k, name);
    if (!t || t->dtype != NN_I32 || t->shape.rank < 1 || t->shape.dim[0] != rows)
        return vc_fail(err, VC_ERR_FORMAT, "inputs of '%s' lack step%zu.%s of %zu rows", f->dir, k, name, rows);
    *out = vc_arena_alloc(f->arena, t->count + 1, sizeof **out);
    memcpy(*out, t->data, t->count * sizeof **out);
    *width = t->shape.rank > 1 ? t->shape.dim[1] : 1;
    return true;
}

static nn_real *score_mask(Fixture *f, const int32_t *seen, size_t n)
{
    nn_real *mask = vc_arena_alloc(f->arena, n + 1, sizeof *mask);
    for (size_t i = 0; i < n; i++)
        mask[i] = seen[i] ? 0 : -10000;
    return mask;
}

static bool get_batch(Fixture *f, size_t k, TrainBatch *b, VcErr *err)
{
    const NnStored *image = input(f, k, "image");
    const size_t side = (size_t)f->recipe.image_size;
    const NnShape expected = NN_SHAPE(f->batch, 3, side, side);
    if (!image || !nn_shape_equal(&image->shape, &expected))
        return vc_fail(err, VC_ERR_FORMAT, "inputs of '%s' lack step%zu.image of the stated size", f->dir, k);
    int32_t *seen;
    size_t width;
    *b = (TrainBatch){.count = f->batch, .epoch = k};
    b->images = vc_arena_alloc(f->arena, image->count, sizeof *b->images);
    if (!nn_safetensors_load_real(f->inputs, image->name, image->shape, b->images, err) ||
        !get_ids(f, k, "text_ids", b->count, &b->ids, &b->tokens, err) ||
        !get_ids(f, k, "text_mask", b->count, &seen, &width, err))
        return false;
    b->mask = score_mask(f, seen, b->count * b->tokens);
    if (f->recipe.concepts) {
        if (!get_ids(f, k, "kw_ids", b->count, &b->concepts, &b->concept_tokens, err) ||
            !get_ids(f, k, "kw_mask", b->count, &seen, &width, err))
            return false;
        b->concept_mask = score_mask(f, seen, b->count * b->concept_tokens);
    }
    b->group = vc_arena_alloc(f->arena, b->count, sizeof *b->group);
    b->records = vc_arena_alloc(f->arena, b->count, sizeof *b->records);
    for (size_t i = 0; i < b->count; i++) {
        b->group[i] = (int32_t)i;
        b->records[i] = i;
    }
    return true;
}

bool fixture_step(Fixture *f, size_t k, FixtureStep *step, VcErr *err)
{
    *step = (FixtureStep){.json = vc_json_item(vc_json_member(f->json, "steps"), k - 1)};
    step->alpha = real(step->json, "alpha", 0);
    step->lr = real(step->json, "lr", 0);
    TrainDraws *d = &step->draws;
    size_t width;
    if (!get_batch(f, k, &step->batch, err) || !get_ids(f, k, "mlm_input_ids", f->batch, &d->mlm_ids, &width, err) ||
        !get_ids(f, k, "mlm_labels", f->batch, &d->mlm_labels, &width, err) ||
        !get_ids(f, k, "neg_image_idx", f->batch, &d->negative_images, &width, err) ||
        !get_ids(f, k, "neg_text_idx", f->batch, &d->negative_texts, &width, err))
        return false;
    d->mim_keep = vicha_mim_keep(&f->recipe);
    return f->recipe.loss_mim == 0 || get_ids(f, k, "mae_ids_shuffle", f->batch, &d->mim_order, &width, err);
}
