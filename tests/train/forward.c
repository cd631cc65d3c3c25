// SPDX-License-Identifier: MIT
#include "tests/train/forward.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double *forward_doubles(const Fixture *f, const nn_real *x, size_t n)
{
    double *out = vc_arena_alloc(f->arena, n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = (double)x[i];
    return out;
}

typedef struct {
    Fixture *f;
    NnTape *t;
    const TrainTrace *trace;
    const FixtureStep *step;
    const Vicha *v;
    TrainPass student, teacher;
} Forward;

typedef struct {
    const nn_real *value;
    size_t size;
} Made;

static Made of(const NnVar *x)
{
    return x ? (Made){x->value, x->size} : (Made){0};
}

// ---- values that are made here

static Made keys_as_columns(const Forward *w, const nn_real *rows)
{
    const TrainQueue *q = &w->f->model->queue;
    const size_t n = w->f->batch + q->length, e = q->width;
    nn_real *out = nn_tape_alloc(w->t, n * e);
    nn_transpose_forward(nn_tape_context(w->t), out, rows + (q->room - w->f->batch) * e, n, e);
    return (Made){out, n * e};
}

// softmax over the batch's own columns, the diagonal set to 0.
static Made weights(const Forward *w, const char *similarity)
{
    const NnVar *sim = train_noted(w->trace, similarity);
    const size_t b = w->f->batch, stride = sim->shape.dim[1];
    nn_real *out = nn_tape_alloc(w->t, b * b);
    for (size_t i = 0; i < b; i++) {
        memcpy(out + i * b, sim->value + i * stride, b * sizeof *out);
        nn_softmax_forward(nn_tape_context(w->t), out + i * b, out + i * b, 1, b);
        out[i * b + i] = 0;
    }
    return (Made){out, b * b};
}

// All tokens of the fusion layers for B or 2B pairs.
static Made fused(const Forward *w, bool negatives)
{
    const TrainBatch *b = &w->step->batch;
    const size_t n = b->count, rows = negatives ? 2 * n : n, c = w->v->student.text.shape.width;
    NnVar *texts = train_noted(w->trace, "text_embeds"), *images = train_noted(w->trace, "image_embeds");
    int32_t *text = nn_tape_alloc_ids(w->t, rows), *image = nn_tape_alloc_ids(w->t, rows);
    nn_real *mask = nn_tape_alloc(w->t, rows * b->tokens);
    for (size_t i = 0; i < rows; i++) {
        const int32_t own = (int32_t)(i % n);
        text[i] = i < n ? own : w->step->draws.negative_texts[own];
        image[i] = negatives && i < n ? w->step->draws.negative_images[own] : own;
        memcpy(mask + i * b->tokens, b->mask + (size_t)text[i] * b->tokens, b->tokens * sizeof *mask);
    }
    const TrainImages keys = train_bert_images(&w->student, &w->v->student.text, images, NULL);
    NnVar *x = nn_gather(w->t, nn_reshape(w->t, texts, NN_SHAPE(n, b->tokens * c)), text, rows);
    x = nn_reshape(w->t, x, NN_SHAPE(rows, b->tokens, c));
    return of(train_bert_fuse(&w->student, &w->v->student.text, x, mask, &keys, image, false));
}

static Made words(const Forward *w, const TrainPass *p, const TrainBert *bert, const char *hidden)
{
    NnVar *x = train_noted(w->trace, hidden);
    return x ? of(train_bert_head(p, bert, x)) : (Made){0};
}

static Made hidden_state(const Forward *w, size_t block)
{
    char name[32];
    const TrainVit *vit = &w->v->student.vit;
    snprintf(name, sizeof name, "image_block.%zu", block);
    NnVar *x = train_noted(w->trace, name);
    return x ? of(train_norm(&w->student, x, vit->norm_w, vit->norm_b, vit->shape.eps)) : (Made){0};
}

static NnVar *decoder_out(const Forward *w)
{
    return train_norm(&w->student, train_noted(w->trace, "mae.decoder_blocks"), w->v->decoder_norm_w,
                      w->v->decoder_norm_b, vicha_decoder_eps);
}

// Pixels of all patches without the class token's row.
static Made pixels(const Forward *w)
{
    NnVar *x = train_linear(&w->student, decoder_out(w), w->v->pixels_w, w->v->pixels_b);
    const size_t b = x->shape.dim[0], n = x->shape.dim[1] - 1, c = x->shape.dim[2];
    nn_real *out = nn_tape_alloc(w->t, b * n * c);
    for (size_t i = 0; i < b; i++)
        memcpy(out + i * n * c, x->value + (i * (n + 1) + 1) * c, n * c * sizeof *out);
    return (Made){out, b * n * c};
}

static Made pixel_targets(const Forward *w)
{
    const TrainVit *vit = &w->v->student.vit;
    const size_t n = train_vit_patches(vit), c = 3 * vit->patch * vit->patch, rows = w->f->batch * n;
    nn_real *out = nn_tape_alloc(w->t, rows * c);
    nn_patchify(out, w->step->batch.images, w->f->batch, 3, vit->side, vit->patch);
    nn_standardize_rows(out, out, rows, c);
    return (Made){out, rows * c};
}

static Made teacher_text(const Forward *w)
{
    const TrainBatch *b = &w->step->batch;
    const TrainText text = {b->ids, b->mask, b->count, b->tokens};
    return of(train_bert_text(&w->teacher, &w->v->teacher.text, &text, NULL, false));
}

static Made match_labels(const Forward *w)
{
    nn_real *out = nn_tape_alloc(w->t, 3 * w->f->batch);
    for (size_t i = 0; i < 3 * w->f->batch; i++)
        out[i] = i < w->f->batch;
    return (Made){out, 3 * w->f->batch};
}

static Made value_of(const Forward *w, const char *name)
{
    const TrainQueue *q = &w->f->model->queue;
    char last[48];
    if (vc_has_prefix(name, "image_hidden."))
        return hidden_state(w, (size_t)strtoul(name + 13, NULL, 10));
    if (strcmp(name, "image_feat_all") == 0)
        return keys_as_columns(w, q->images);
    if (strcmp(name, "text_feat_all") == 0)
        return keys_as_columns(w, q->texts);
    if (strcmp(name, "weights_i2t") == 0)
        return weights(w, "sim_i2t");
    if (strcmp(name, "weights_t2i") == 0)
        return weights(w, "sim_t2i");
    if (strcmp(name, "fusion_pos") == 0 || strcmp(name, "fusion_neg") == 0)
        return fused(w, name[7] == 'n');
    if (strcmp(name, "mlm_logits") == 0)
        return words(w, &w->student, &w->v->student.text, "mlm_hidden");
    if (strcmp(name, "logits_m") == 0)
        return words(w, &w->teacher, &w->v->teacher.text, "mlm_hidden_m");
    if (strcmp(name, "text_embeds_m") == 0)
        return teacher_text(w);
    if (strcmp(name, "mae.decoder_out") == 0)
        return of(decoder_out(w));
    if (strcmp(name, "mae.pred") == 0)
        return pixels(w);
    if (strcmp(name, "mae.target") == 0)
        return pixel_targets(w);
    if (strcmp(name, "itm_labels") == 0)
        return match_labels(w);
    if (vc_has_prefix(name, "hitc.sim_") && vc_has_suffix(name, ".last")) {
        snprintf(last, sizeof last, "%.*s.%zu", (int)(strlen(name) - 5), name, w->v->levels - 1);
        return of(train_noted(w->trace, last));
    }
    return of(train_noted(w->trace, name));
}

// ---- gradients of values

// The recorded gradient has a row for every position, ours for those that count: the others must be zero there.
static double row_error(const double *expected, size_t rows, size_t width, const nn_real *grad, const int32_t *which,
                        size_t count)
{
    double worst = 0;
    int32_t *at = vc_alloc(rows, sizeof *at);
    for (size_t r = 0; r < rows; r++)
        at[r] = -1;
    for (size_t i = 0; i < count; i++)
        at[which[i]] = (int32_t)i;
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < width; j++) {
            const double ours = at[r] < 0 ? 0 : (double)grad[(size_t)at[r] * width + j];
            worst = fmax(worst, fabs(ours - expected[r * width + j]));
        }
    }
    free(at);
    return worst;
}

static double words_gradient(const Forward *w, const double *expected)
{
    const TrainBatch *b = &w->step->batch;
    const size_t rows = b->count * b->tokens, width = w->f->model->vocabulary;
    const NnVar *x = train_noted(w->trace, "mlm_logits");
    int32_t *which = nn_tape_alloc_ids(w->t, rows);
    size_t n = 0;
    for (size_t i = 0; i < rows; i++) {
        if (w->step->draws.mlm_labels[i] != NN_IGNORE_LABEL)
            which[n++] = (int32_t)i;
    }
    return x && x->grad ? row_error(expected, rows, width, x->grad, which, n) : INFINITY;
}

static double pixels_gradient(const Forward *w, const double *expected)
{
    const TrainVit *vit = &w->v->student.vit;
    const TrainDraws *d = &w->step->draws;
    const size_t n = train_vit_patches(vit), b = w->f->batch;
    const NnVar *x = train_noted(w->trace, "mae.pred");
    int32_t *which = nn_tape_alloc_ids(w->t, b * n);
    size_t count = 0;
    for (size_t i = 0; i < b; i++) {
        for (size_t j = d->mim_keep; j < n; j++)
            which[count++] = (int32_t)(i * (1 + n)) + 1 + d->mim_order[i * n + j];
    }
    return x && x->grad ? row_error(expected, b * (1 + n), 3 * vit->patch * vit->patch, x->grad, which, count)
                        : INFINITY;
}

// Gradients of values may have been recorded over several backward passes, which torch adds up. How many shows in that
// of the matching logits, which follows from the logits: (softmax - label) / 3B.
static double recorded_passes(const Forward *w, const NnSafetensors *st)
{
    const NnStored *stored = nn_safetensors_find(st, "dgrad.itm_logits");
    const NnVar *logits = train_noted(w->trace, "itm_logits");
    if (!stored || !logits || stored->count != logits->size)
        return 1;
    const double *recorded = fixture_values(stored, w->f->arena);
    const size_t rows = logits->size / 2;
    double both = 0, square = 0;
    for (size_t r = 0; r < rows; r++) {
        const double difference = (double)logits->value[2 * r + 1] - (double)logits->value[2 * r];
        const double yes = 1 / (1 + exp(-difference)), gradient = (yes - (r < w->f->batch)) / (double)rows;
        both += gradient * (recorded[2 * r + 1] - recorded[2 * r]) / 2;
        square += gradient * gradient;
    }
    const double passes = round(both / square);
    if (passes != 1)
        printf("  gradients of values were recorded over %g backward passes\n", passes);
    return passes > 1 ? passes : 1;
}

static void add_gradient(const Forward *w, const NnStored *t, double passes, Group *g)
{
    const char *name = t->name + strlen("dgrad.");
    double *expected = fixture_values(t, w->f->arena);
    for (size_t i = 0; i < t->count; i++)
        expected[i] /= passes;
    const double limit = 5e-5 * largest_value(expected, t->count) + 1e-7;
    if (strcmp(name, "mlm_logits") == 0) {
        group_add(g, t->name, words_gradient(w, expected), limit);
    } else if (strcmp(name, "mae_proj_out") == 0) {
        group_add(g, t->name, pixels_gradient(w, expected), limit);
    } else {
        const NnVar *x = train_noted(w->trace, name);
        if (!x) {
            printf("  not compared: %s\n", t->name);
        } else {
            const bool fits = x->grad && x->size == t->count;
            group_add(g, t->name,
                      fits ? largest_error(forward_doubles(w->f, x->grad, x->size), expected, t->count) : INFINITY,
                      limit);
        }
    }
}

bool forward_check(Fixture *f, NnTape *t, const TrainTrace *trace, size_t k, const FixtureStep *step, Group *forward,
                   Group *backward, VcErr *err)
{
    NnSafetensors *st = NULL;
    char file[32];
    snprintf(file, sizeof file, "forward%zu", k);
    if (!fixture_file(f, file, &st, err))
        return false;
    const Forward w = {.f = f,
                       .t = t,
                       .trace = trace,
                       .step = step,
                       .v = f->model->parts,
                       .student = {.tape = t, .params = &f->model->params},
                       .teacher = {.tape = t, .params = &f->model->momentum}};
    nn_tape_record(t, false);
    const double passes = st ? recorded_passes(&w, st) : 1;
    for (size_t i = 0; st && i < nn_safetensors_count(st); i++) {
        const NnStored *stored = nn_safetensors_at(st, i);
        const VcArenaMark mark = vc_arena_mark(f->arena);
        if (vc_has_prefix(stored->name, "dgrad.")) {
            add_gradient(&w, stored, passes, backward);
        } else {
            const double *expected = fixture_values(stored, f->arena);
            const Made ours = value_of(&w, stored->name);
            const bool absolute = vc_has_suffix(stored->name, "_targets") || vc_has_prefix(stored->name, "weights_");
            if (!ours.value) {
                printf("  not compared: %s\n", stored->name);
            } else {
                group_add(forward, stored->name,
                          ours.size == stored->count
                              ? largest_error(forward_doubles(f, ours.value, ours.size), expected, stored->count)
                              : INFINITY,
                          absolute ? 1e-5 : 2e-5 * largest_value(expected, stored->count));
            }
        }
        vc_arena_release(f->arena, mark);
    }
    nn_tape_record(t, true);
    nn_safetensors_close(&st);
    return true;
}

// ---- draws

static const double *raw(const Fixture *f, size_t k, const char *name, size_t count)
{
    char full[64];
    snprintf(full, sizeof full, "step%zu.%s", k, name);
    const NnStored *t = nn_safetensors_find(f->inputs, full);
    return t && t->count == count ? fixture_values(t, f->arena) : NULL;
}

static void check_words(Fixture *f, size_t k, const FixtureStep *step, Group *g)
{
    const TrainBatch *b = &step->batch;
    const size_t n = b->count * b->tokens;
    const double *select = raw(f, k, "mlm_draw_select", n), *hide = raw(f, k, "mlm_draw_80", n),
                 *random = raw(f, k, "mlm_draw_50", n), *word = raw(f, k, "mlm_random_words", n);
    if (!select || !hide || !random || !word)
        return;
    const VcJson *ids = vc_json_member(f->json, "token_ids");
    const TrainMlmRule rule = {.vocabulary = f->model->vocabulary,
                               .mask_id = f->model->mask_id,
                               .pad_id = (int32_t)vc_json_int(vc_json_member(ids, "pad"), 0),
                               .class_id = (int32_t)vc_json_int(vc_json_member(ids, "cls"), 101)};
    double wrong_ids = 0, wrong_labels = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t corrupted, label;
        const TrainWordDraw draw = {select[i] != 0, hide[i] != 0, random[i] != 0, (int32_t)word[i]};
        train_corrupt_word(&rule, &draw, b->ids[i], &corrupted, &label);
        wrong_ids += corrupted != step->draws.mlm_ids[i];
        wrong_labels += label != step->draws.mlm_labels[i];
    }
    group_add(g, "mlm_input_ids", wrong_ids, 0);
    group_add(g, "mlm_labels", wrong_labels, 0);
}

static void check_patches(Fixture *f, size_t k, Group *g)
{
    const size_t n =
        f->batch * (size_t)((f->recipe.image_size / f->recipe.patch) * (f->recipe.image_size / f->recipe.patch));
    const double *noise = raw(f, k, "mae_noise", n), *shuffle = raw(f, k, "mae_ids_shuffle", n),
                 *restore = raw(f, k, "mae_ids_restore", n), *mask = raw(f, k, "mae_mask", n);
    if (!noise || !shuffle || !restore || !mask)
        return;
    int32_t *ids = vc_arena_alloc(f->arena, 2 * n, sizeof *ids), *back = ids + n;
    nn_real *real_noise = vc_arena_alloc(f->arena, 2 * n, sizeof *real_noise), *ours = real_noise + n;
    for (size_t i = 0; i < n; i++)
        real_noise[i] = (nn_real)noise[i];
    nn_masking(ids, back, ours, real_noise, vicha_mim_keep(&f->recipe), f->batch, n / f->batch);
    double wrong[3] = {0};
    for (size_t i = 0; i < n; i++) {
        wrong[0] += (double)ids[i] != shuffle[i];
        wrong[1] += (double)back[i] != restore[i];
        wrong[2] += (double)ours[i] != mask[i];
    }
    group_add(g, "mae_ids_shuffle", wrong[0], 0);
    group_add(g, "mae_ids_restore", wrong[1], 0);
    group_add(g, "mae_mask", wrong[2], 0);
}

void forward_check_draws(Fixture *f, size_t k, const FixtureStep *step, Group *g)
{
    check_words(f, k, step, g);
    if (f->recipe.loss_mim > 0)
        check_patches(f, k, g);
}
