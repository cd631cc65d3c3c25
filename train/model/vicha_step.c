// SPDX-License-Identifier: MIT
// The forward pass of a step in the order of the spec's 3.2, with what several losses need made once: patch tokens
// (whole and masked pass), keys and values of the images in the fusion layers (positives, negatives, masked words).
#include "base/err.h"
#include "train/loss/itc.h"
#include "train/loss/mim.h"
#include "train/loss/mlm.h"
#include "train/model/vicha.h"

#include <string.h>

// What the parts of one step share. Letters: B pairs, T tokens of a caption, N patches, E width of the features, P
// pairs among the keys: those of all processes, or B.
typedef struct {
    TrainModel *model;
    const Vicha *v;
    const TrainRecipe *r;
    NnTape *t;
    const TrainBatch *b;
    const TrainStep *step;
    TrainPass student;
    VcRng student_rng;
    TrainDraws draws;
    VcRng *rows; // [B]: streams of the rows, NULL when the draws were given
    NnVar *temp;
    NnVar *patches, *images, *texts; // [B,N,Cv], [B,Ti,Cv], [B,T,Ct]
    const nn_real *image_mask;
    NnVar *image_feature, *text_feature; // [B,E]
    NnVar **image_taps, **text_taps;     // of HITC
    int32_t *selected, *labels;          // [R]: hidden words, as b*T + i, and what they were
    size_t selected_count;
    nn_real *teacher_words;          // [R,V]: logits of the teacher, or NULL
    TrainPairs pairs;                // of all processes, or of this one where the recipe says so
    nn_real *image_keys, *text_keys; // [P+Q,E]
    const nn_real *i2t, *t2i;        // similarities [B,stride], whose first P columns are the pairs'
    size_t stride;
    TrainLoss *out;
    NnVar *values[TRAIN_MAX_LOSSES];
} Step;

static void add_loss(Step *s, const char *name, double weight, NnVar *value)
{
    TrainLoss *out = s->out;
    VC_ASSERT(out->count < TRAIN_MAX_LOSSES);
    s->values[out->count] = value;
    out->parts[out->count++] = (TrainLossPart){name, (double)value->value[0], weight};
}

// ---- random decisions

static void draw(Step *s)
{
    const TrainBatch *b = s->b;
    const size_t n = train_vit_patches(&s->v->student.vit);
    if (s->step->draws) {
        s->draws = *s->step->draws;
        return;
    }
    s->rows = nn_tape_bytes(s->t, b->count * sizeof *s->rows);
    s->draws.mlm_ids = nn_tape_alloc_ids(s->t, b->count * b->tokens);
    s->draws.mlm_labels = nn_tape_alloc_ids(s->t, b->count * b->tokens);
    s->draws.mim_order = nn_tape_alloc_ids(s->t, b->count * n);
    s->draws.mim_keep = vicha_mim_keep(s->r);
    for (size_t i = 0; i < b->count; i++) {
        s->rows[i] = train_row_stream((uint64_t)s->r->seed, b, i);
        const TrainMlmRule rule = {s->r->mlm_probability, s->model->vocabulary, s->model->mask_id, TRAIN_BERT_PAD,
                                   b->ids[i * b->tokens]};
        const size_t at = i * b->tokens;
        train_draw_words(&s->rows[i], &rule, b->ids + at, b->tokens, s->draws.mlm_ids + at, s->draws.mlm_labels + at);
        train_draw_patches(&s->rows[i], n, s->draws.mim_order + i * n);
    }
}

static void list_selected(Step *s)
{
    const size_t all = s->b->count * s->b->tokens;
    s->selected = nn_tape_alloc_ids(s->t, all);
    s->labels = nn_tape_alloc_ids(s->t, all);
    for (size_t i = 0; i < all && s->r->loss_mlm > 0; i++) {
        if (s->draws.mlm_labels[i] == NN_IGNORE_LABEL)
            continue;
        s->selected[s->selected_count] = (int32_t)i;
        s->labels[s->selected_count++] = s->draws.mlm_labels[i];
    }
}

// HITC is against everybody in the original too, whatever the recipe says of the rest (spec 3.4).
static TrainPairs all_pairs(const Step *s)
{
    const size_t n = s->b->count, rank = train_parallel_rank(s->model->world), w = train_parallel_size(s->model->world);
    const bool share = s->r->duplicates == TRAIN_DUPLICATES_SHARE;
    return (TrainPairs){rank * n, w * n, share ? train_model_groups(s->model, s->t, s->b) : NULL};
}

// ---- student towers

static NnVar *feature(const TrainPass *p, NnVar *states, size_t w, size_t b)
{
    NnVar *first = states->shape.rank == 3 ? nn_token(p->tape, states, 0) : states;
    return nn_l2_normalize(p->tape, train_linear(p, first, w, b));
}

static void run_student(Step *s)
{
    const VichaNet *net = &s->v->student;
    const TrainPass *p = &s->student;
    const size_t levels = s->v->levels;
    s->image_taps = nn_tape_bytes(s->t, (levels + 1) * sizeof *s->image_taps);
    s->text_taps = nn_tape_bytes(s->t, (levels + 1) * sizeof *s->text_taps);
    // HITC leaves out the last of each list: ITC is about that one.
    const TrainTaps image_taps = {net->vit.count - 1 - levels, levels, s->image_taps};
    const TrainTextTaps text_taps = {net->text.fusion - levels, levels, s->text_taps};
    NnVar *concepts = vicha_concepts(p, net, s->b);
    train_note(p->trace, "kw_embeds", concepts);
    s->patches = train_vit_patch_tokens(p, &net->vit, s->b->images, s->b->count);
    s->image_mask = vicha_image_mask(s->model, s->t, s->b);
    NnVar *tokens = vicha_image_tokens(p, net, s->patches, concepts);
    s->images = train_vit_blocks(p, &net->vit, tokens, s->image_mask, &image_taps);
    const TrainText text = {s->b->ids, s->b->mask, s->b->count, s->b->tokens};
    s->texts = train_bert_text(p, &net->text, &text, &text_taps, false);
    s->image_feature = feature(p, s->images, net->vision_w, net->vision_b);
    s->text_feature = feature(p, s->texts, net->text_w, net->text_b);
    train_note(p->trace, "image_embeds", s->images);
    train_note(p->trace, "text_embeds", s->texts);
    train_note(p->trace, "image_feat", s->image_feature);
    train_note(p->trace, "text_feat", s->text_feature);
}

// ---- teachers

static bool wants_teacher_words(const Step *s)
{
    return s->r->momentum && s->step->alpha > 0 && s->selected_count > 0;
}

static void teacher_words(Step *s, const TrainPass *p, NnVar *images)
{
    const TrainBert *bert = &s->v->teacher.text;
    const TrainText text = {s->draws.mlm_ids, s->b->mask, s->b->count, s->b->tokens};
    const TrainImages keys = train_bert_images(p, bert, images, s->image_mask);
    NnVar *x = train_bert_text(p, bert, &text, NULL, false);
    x = train_bert_fuse(p, bert, x, s->b->mask, &keys, NULL, false);
    train_note(s->step->trace, "mlm_hidden_m", x);
    NnVar *logits = train_bert_head(p, bert, nn_gather(s->t, x, s->selected, s->selected_count));
    memcpy(s->teacher_words, logits->value, logits->size * sizeof *s->teacher_words);
}

// The features of the teachers for our pairs, to where the keys begin; with those of the other processes if they count.
static void take_keys(const Step *s, const NnVar *features, nn_real *keys)
{
    if (s->pairs.count > s->b->count) {
        train_parallel_gather(s->model->world, features->value, features->size * sizeof *keys, keys);
    } else {
        memcpy(keys, features->value, features->size * sizeof *keys);
    }
}

// Moves the teachers, then takes their features and words; what they computed on the way is given back.
static void run_teachers(Step *s)
{
    TrainModel *model = s->model;
    const VichaNet *net = &s->v->teacher;
    const TrainBatch *b = s->b;
    const size_t e = (size_t)s->r->proj;
    TrainQueue *q = &model->queue;
    const size_t pairs = s->pairs.count;
    VC_ASSERT(pairs <= q->room);
    s->image_keys = q->images + (q->room - pairs) * e;
    s->text_keys = q->texts + (q->room - pairs) * e;
    if (s->step->first) {
        nn_ema(nn_tape_context(s->t), model->momentum.value, model->params.value, s->r->momentum_keep,
               model->momentum.size);
    }
    if (wants_teacher_words(s))
        s->teacher_words = nn_tape_alloc(s->t, s->selected_count * model->vocabulary);
    VcRng rng;
    vc_rng_seed(&rng, vc_mix_seed(s->step->seed, 2));
    const TrainPass p = {
        .tape = s->t, .params = &model->momentum, .dropout = s->r->teacher_dropout ? s->r->dropout : 0, .rng = &rng};
    const bool recording = nn_tape_recording(s->t);
    nn_tape_record(s->t, false);
    const NnTapeMark mark = nn_tape_mark(s->t);
    NnVar *concepts = vicha_concepts(&p, net, b);
    NnVar *patches = train_vit_patch_tokens(&p, &net->vit, b->images, b->count);
    NnVar *x = vicha_image_tokens(&p, net, patches, concepts);
    x = s->teacher_words ? train_vit_blocks(&p, &net->vit, x, s->image_mask, NULL)
                         : train_vit_pooled(&p, &net->vit, x, s->image_mask);
    const TrainText text = {b->ids, b->mask, b->count, b->tokens};
    NnVar *images = feature(&p, x, net->vision_w, net->vision_b);
    NnVar *texts = feature(&p, train_bert_text(&p, &net->text, &text, NULL, true), net->text_w, net->text_b);
    take_keys(s, images, s->image_keys);
    take_keys(s, texts, s->text_keys);
    q->filled = pairs;
    q->gathered = pairs > b->count;
    train_note(s->step->trace, "kw_embeds_m", concepts);
    train_note(s->step->trace, "image_embeds_m", x);
    train_note(s->step->trace, "image_feat_m", images);
    train_note(s->step->trace, "text_feat_m", texts);
    if (s->teacher_words)
        teacher_words(s, &p, x);
    if (!s->step->trace)
        nn_tape_release(s->t, mark);
    nn_tape_record(s->t, recording);
}

// ---- losses

// Without teachers: the students' features of the pairs, with their gradients.
static void itc_of_batch(Step *s)
{
    NnTape *t = s->t;
    NnVar *texts = s->text_feature, *images = s->image_feature;
    if (s->pairs.count > s->b->count) {
        texts = train_parallel_gather_var(s->model->world, t, texts);
        images = train_parallel_gather_var(s->model->world, t, images);
    }
    NnVar *i2t = nn_scale_by(t, nn_matmul_nt(t, s->image_feature, texts), s->temp, NN_SCALE_INVERSE), *t2i;
    if (images == s->image_feature) {
        t2i = nn_transpose(t, s->r->loss_itc > 0 ? i2t : nn_detach(t, i2t));
    } else {
        t2i = nn_scale_by(t, nn_matmul_nt(t, s->text_feature, images), s->temp, NN_SCALE_INVERSE);
    }
    s->i2t = i2t->value;
    s->t2i = t2i->value;
    s->stride = s->pairs.count;
    if (s->r->loss_itc > 0)
        add_loss(s, "itc", s->r->loss_itc, train_pair_losses(t, i2t, t2i, &s->pairs));
}

// Our rows of the keys.
static const nn_real *own_keys(const Step *s, const nn_real *keys)
{
    return keys + s->pairs.first * (size_t)s->r->proj;
}

static void itc(Step *s)
{
    NnTape *t = s->t;
    TrainTrace *trace = s->step->trace;
    const size_t b = s->b->count;
    if (!s->r->momentum) {
        itc_of_batch(s);
        return;
    }
    const size_t keys = s->pairs.count + s->model->queue.length;
    const TrainItcSide i2t = train_itc_side(t, s->image_feature, own_keys(s, s->image_keys), s->text_keys, keys,
                                            s->temp, s->step->alpha, &s->pairs);
    const TrainItcSide t2i = train_itc_side(t, s->text_feature, own_keys(s, s->text_keys), s->image_keys, keys, s->temp,
                                            s->step->alpha, &s->pairs);
    s->i2t = i2t.similarity->value;
    s->t2i = t2i.similarity->value;
    s->stride = keys;
    train_note(trace, "sim_i2t", i2t.similarity);
    train_note(trace, "sim_t2i", t2i.similarity);
    train_note(trace, "sim_i2t_m", i2t.teacher_similarity);
    train_note(trace, "sim_t2i_m", t2i.teacher_similarity);
    train_note(trace, "sim_i2t_targets", nn_input(t, i2t.targets, NN_SHAPE(b, keys)));
    train_note(trace, "sim_t2i_targets", nn_input(t, t2i.targets, NN_SHAPE(b, keys)));
    train_note(trace, "ita_i2t", i2t.loss);
    train_note(trace, "ita_t2i", t2i.loss);
    if (s->r->loss_itc > 0) {
        add_loss(s, "itc", s->r->loss_itc,
                 nn_weighted_sum(t, (NnVar *[]){i2t.loss, t2i.loss}, (const double[]){0.5, 0.5}, 2));
    }
}

// Everybody's x, [W*B,..], constants.
static nn_real *gathered(const Step *s, const nn_real *x, size_t size)
{
    TrainParallel *w = s->model->world;
    nn_real *all = nn_tape_alloc(s->t, train_parallel_size(w) * size);
    train_parallel_gather(w, x, size * sizeof *x, all);
    return all;
}

static void hitc(Step *s)
{
    const Vicha *v = s->v;
    const VichaNet *net = &v->student;
    const TrainPass *p = &s->student;
    const TrainPairs pairs = s->pairs.count > s->b->count ? s->pairs : all_pairs(s);
    TrainTrace *trace = s->step->trace;
    NnVar **levels = nn_tape_bytes(s->t, v->levels * sizeof *levels);
    double *weights = nn_tape_bytes(s->t, v->levels * sizeof *weights);
    for (size_t i = 0; i < v->levels; i++) {
        NnVar *x = train_norm(p, s->image_taps[i], net->vit.norm_w, net->vit.norm_b, net->vit.shape.eps);
        NnVar *images = feature(p, x, v->image_level_w[i], v->image_level_b[i]);
        NnVar *texts = feature(p, s->text_taps[i], v->text_level_w[i], v->text_level_b[i]);
        TrainHitcHow how = {.detach = s->r->hitc_detach, .pairs = pairs};
        if (pairs.count > s->b->count) {
            how.all_images = gathered(s, images->value, images->size);
            how.all_texts = gathered(s, texts->value, texts->size);
        }
        const TrainHitcLevel level = train_hitc_level(s->t, images, texts, s->temp, &how);
        levels[i] = level.loss;
        weights[i] = s->r->hitc_weights.count ? s->r->hitc_weights.items[i] : 1;
        train_note_at(trace, "hitc.image_feat", i, images);
        train_note_at(trace, "hitc.text_feat", i, texts);
        train_note_at(trace, "hitc.sim_i2t", i, level.image_to_text);
        train_note_at(trace, "hitc.sim_t2i", i, level.text_to_image);
        train_note_at(trace, "hitc.loss", i, level.loss);
    }
    add_loss(s, "hitc", s->r->loss_hitc, nn_weighted_sum(s->t, levels, weights, v->levels));
}

static void draw_negatives(Step *s)
{
    const size_t n = s->b->count;
    if (!s->draws.negative_images || !s->draws.negative_texts) {
        VC_ASSERT(s->rows);
        s->draws.negative_images = nn_tape_alloc_ids(s->t, n);
        s->draws.negative_texts = nn_tape_alloc_ids(s->t, n);
        for (size_t i = 0; i < n; i++) {
            VcRng *rng = &s->rows[i];
            const size_t at = i * s->stride, own = s->pairs.first + i;
            s->draws.negative_images[i] =
                (int32_t)train_draw_negative(rng, s->t2i + at, s->pairs.count, own, s->pairs.group);
            s->draws.negative_texts[i] =
                (int32_t)train_draw_negative(rng, s->i2t + at, s->pairs.count, own, s->pairs.group);
        }
    }
}

// What the fusion layers look at: images [S,Ti,Cv] of which the first B are ours, and the texts [P,T,Ct] that ITM draws
// from. place[P]: of each pair's image among the S.
typedef struct {
    TrainImages keys;
    NnVar *texts;
    const nn_real *text_mask; // [P,T]
    const int32_t *place;
    const int32_t *own; // [B]: 0 .. B - 1 where S is more than B, else NULL
} Candidates;

// Of the other processes only the images that were drawn are made keys of.
static NnVar *images_of_all(Step *s, Candidates *c, const nn_real **mask)
{
    NnTape *t = s->t;
    const size_t n = s->b->count, pairs = s->pairs.count, tokens = s->images->shape.dim[1],
                 width = s->images->shape.dim[2];
    NnVar *all = train_parallel_gather_var(s->model->world, t, nn_reshape(t, s->images, NN_SHAPE(n, tokens * width)));
    int32_t *place = nn_tape_alloc_ids(t, pairs), *rows = nn_tape_alloc_ids(t, 2 * n), *own = nn_tape_alloc_ids(t, n);
    size_t count = 0;
    memset(place, 255, pairs * sizeof *place);
    for (size_t i = 0; i < 2 * n; i++) {
        const int32_t pair = i < n ? (int32_t)(s->pairs.first + i) : s->draws.negative_images[i - n];
        if (i < n)
            own[i] = (int32_t)i;
        if (place[pair] >= 0)
            continue;
        place[pair] = (int32_t)count;
        rows[count++] = pair;
    }
    c->place = place;
    c->own = own;
    if (s->image_mask) {
        const nn_real *masks = gathered(s, s->image_mask, n * tokens);
        nn_real *chosen = nn_tape_alloc(t, count * tokens);
        for (size_t i = 0; i < count; i++)
            memcpy(chosen + i * tokens, masks + (size_t)rows[i] * tokens, tokens * sizeof *masks);
        *mask = chosen;
    }
    return nn_reshape(t, nn_gather(t, all, rows, count), NN_SHAPE(count, tokens, width));
}

static Candidates find_candidates(Step *s)
{
    Candidates c = {.texts = s->texts, .text_mask = s->b->mask};
    const nn_real *mask = s->image_mask;
    NnVar *images = s->images;
    if (s->r->loss_itm > 0)
        draw_negatives(s);
    if (s->r->loss_itm > 0 && s->pairs.count > s->b->count) {
        images = images_of_all(s, &c, &mask);
        c.texts = train_parallel_gather_var(s->model->world, s->t, s->texts);
        c.text_mask = gathered(s, s->b->mask, s->b->count * s->b->tokens);
    }
    c.keys = train_bert_images(&s->student, &s->v->student.text, images, mask);
    return c;
}

// Positives, texts with other images, images with other texts: one pass over 3B texts, and S sets of image keys.
static void itm(Step *s, const Candidates *from)
{
    NnTape *t = s->t;
    const size_t n = s->b->count, tokens = s->b->tokens, c = s->v->student.text.shape.width, pairs = s->pairs.count;
    int32_t *text = nn_tape_alloc_ids(t, 3 * n), *image = nn_tape_alloc_ids(t, 3 * n),
            *labels = nn_tape_alloc_ids(t, 3 * n);
    nn_real *mask = nn_tape_alloc(t, 3 * n * tokens);
    for (size_t i = 0; i < 3 * n; i++) {
        const size_t row = i % n;
        const int32_t own = (int32_t)(s->pairs.first + row);
        text[i] = i < 2 * n ? own : s->draws.negative_texts[row];
        image[i] = i / n == 1 ? s->draws.negative_images[row] : own;
        if (from->place)
            image[i] = from->place[image[i]];
        labels[i] = i < n;
        memcpy(mask + i * tokens, from->text_mask + (size_t)text[i] * tokens, tokens * sizeof *mask);
    }
    NnVar *x = nn_reshape(t, from->texts, NN_SHAPE(pairs, tokens * c));
    x = nn_reshape(t, nn_gather(t, x, text, 3 * n), NN_SHAPE(3 * n, tokens, c));
    x = train_bert_fuse(&s->student, &s->v->student.text, x, mask, &from->keys, image, true);
    x = nn_reshape(t, x, NN_SHAPE(3 * n, c));
    NnVar *logits = train_linear(&s->student, x, s->v->itm_w, s->v->itm_b);
    train_note(s->step->trace, "vl_embeddings", x);
    train_note(s->step->trace, "itm_logits", logits);
    add_loss(s, "itm", s->r->loss_itm, nn_cross_entropy(t, logits, labels));
}

// The mean over the words hidden everywhere is the mean over the processes of ours times this.
static double word_share(const Step *s)
{
    double all = (double)s->selected_count;
    train_parallel_sum(s->model->world, &all, 1);
    return all > 0 ? (double)s->selected_count * (double)train_parallel_size(s->model->world) / all : 0;
}

static void mlm(Step *s, const Candidates *from)
{
    NnTape *t = s->t;
    const double share = word_share(s);
    const TrainBert *bert = &s->v->student.text;
    if (s->selected_count == 0) { // nothing is hidden in this batch: no loss, where the original gives NaN (T12)
        nn_real *zero = nn_tape_alloc(t, 1);
        *zero = 0;
        add_loss(s, "mlm", s->r->loss_mlm, nn_input(t, zero, NN_SCALAR));
        return;
    }
    TrainPass p = s->student;
    p.trace = NULL;
    const TrainText text = {s->draws.mlm_ids, s->b->mask, s->b->count, s->b->tokens};
    NnVar *x = train_bert_text(&p, bert, &text, NULL, false);
    x = train_bert_fuse(&p, bert, x, s->b->mask, &from->keys, from->own, false);
    NnVar *logits = train_bert_head(&p, bert, nn_gather(t, x, s->selected, s->selected_count));
    train_note(s->step->trace, "mlm_hidden", x);
    train_note(s->step->trace, "mlm_logits", logits);
    train_note(s->step->trace, "logits_m", s->teacher_words ? nn_input(t, s->teacher_words, logits->shape) : NULL);
    NnVar *loss = train_mlm_loss(t, logits, s->labels, s->teacher_words, s->step->alpha);
    add_loss(s, "mlm", s->r->loss_mlm, train_parallel_size(s->model->world) > 1 ? nn_scale(t, loss, share) : loss);
}

// The decoder's input: tokens of the encoder and the mask token, put in the order of the patches -> [B,1+N,D].
static NnVar *restore_order(Step *s, NnVar *x, size_t n)
{
    const size_t b = s->b->count, keep = s->draws.mim_keep, d = s->v->decoder_shape.width;
    int32_t *from = nn_tape_alloc_ids(s->t, b * (1 + n));
    const int32_t mask_row = (int32_t)(b * (1 + keep));
    for (size_t i = 0; i < b; i++) {
        int32_t *row = from + i * (1 + n);
        row[0] = (int32_t)(i * (1 + keep));
        for (size_t j = 0; j < n; j++)
            row[1 + s->draws.mim_order[i * n + j]] = j < keep ? row[0] + 1 + (int32_t)j : mask_row;
    }
    NnVar *table[] = {nn_reshape(s->t, x, NN_SHAPE(1, b * (1 + keep), d)), train_var(&s->student, s->v->mask_token)};
    NnVar *all = nn_gather(s->t, nn_concat(s->t, table, 2), from, b * (1 + n));
    return nn_reshape(s->t, all, NN_SHAPE(b, 1 + n, d));
}

static void mim(Step *s)
{
    NnTape *t = s->t;
    const Vicha *v = s->v;
    const TrainVit *vit = &v->student.vit;
    TrainPass p = s->student;
    p.trace = NULL;
    const size_t b = s->b->count, n = train_vit_patches(vit), keep = s->draws.mim_keep, c = vit->shape.width;
    int32_t *seen = nn_tape_alloc_ids(t, b * keep + 1), *hidden = nn_tape_alloc_ids(t, b * (n - keep)),
            *hidden_tokens = nn_tape_alloc_ids(t, b * (n - keep));
    for (size_t i = 0; i < b; i++) {
        const int32_t *order = s->draws.mim_order + i * n;
        for (size_t j = 0; j < n; j++) {
            if (j < keep) {
                seen[i * keep + j] = (int32_t)(i * n) + order[j];
            } else {
                hidden[i * (n - keep) + j - keep] = (int32_t)(i * n) + order[j];
                hidden_tokens[i * (n - keep) + j - keep] = (int32_t)(i * (1 + n)) + 1 + order[j];
            }
        }
    }
    NnVar *x = nn_reshape(t, nn_gather(t, s->patches, seen, b * keep), NN_SHAPE(b, keep, c));
    // The class token comes without its position, as in the original (T5).
    x = nn_concat(t, (NnVar *[]){train_vit_class_token(&p, vit, s->r->mim_class_position), x}, 2);
    x = train_vit_blocks(&p, vit, x, NULL, NULL);
    train_note(s->step->trace, "mae.latent", x);
    x = restore_order(s, train_linear(&p, x, v->embed_w, v->embed_b), n);
    x = nn_add(t, x, train_var(&p, v->decoder_positions));
    for (size_t i = 0; i < v->decoder_count; i++)
        x = train_pre_block(&p, &v->decoder[i], &v->decoder_shape, x, NULL, false);
    train_note(s->step->trace, "mae.decoder_blocks", x);
    x = nn_gather(t, x, hidden_tokens, b * (n - keep));
    x = train_norm(&p, x, v->decoder_norm_w, v->decoder_norm_b, vicha_decoder_eps);
    x = train_linear(&p, x, v->pixels_w, v->pixels_b);
    train_note(s->step->trace, "mae.pred", x);
    const nn_real *targets = train_mim_targets(t, s->b->images, b, vit->side, vit->patch, hidden, b * (n - keep));
    add_loss(s, "mim", s->r->loss_mim, train_mim_loss(t, x, targets));
}

void vicha_loss(TrainModel *model, NnTape *t, const TrainBatch *b, const TrainStep *step, TrainLoss *out)
{
    *out = (TrainLoss){0};
    Step s = {.model = model, .v = model->parts, .r = model->recipe, .t = t, .b = b, .step = step, .out = out};
    vc_rng_seed(&s.student_rng, vc_mix_seed(step->seed, 1));
    s.student = (TrainPass){t, &model->params, s.r->dropout, &s.student_rng, step->trace};
    s.temp = nn_param(t, &model->params, s.v->temp);
    draw(&s);
    list_selected(&s);
    s.pairs = (TrainPairs){0, b->count, s.r->duplicates == TRAIN_DUPLICATES_SHARE ? b->group : NULL};
    if (s.r->candidates == TRAIN_CANDIDATES_ALL)
        s.pairs = all_pairs(&s);
    run_student(&s);
    if (s.r->momentum)
        run_teachers(&s);
    itc(&s);
    if (s.r->loss_hitc > 0)
        hitc(&s);
    if (vicha_fuses(s.r)) {
        const Candidates candidates = find_candidates(&s);
        if (s.r->loss_itm > 0)
            itm(&s, &candidates);
        if (s.r->loss_mlm > 0)
            mlm(&s, &candidates);
    }
    if (s.r->loss_mim > 0)
        mim(&s);
    double weights[TRAIN_MAX_LOSSES];
    for (size_t i = 0; i < out->count; i++)
        weights[i] = out->parts[i].weight;
    out->total = nn_weighted_sum(t, s.values, weights, out->count);
}

// Puts the batch's keys into the queue, those of all processes in the order of their ranks.
void vicha_advance(TrainModel *model)
{
    TrainQueue *q = &model->queue;
    TrainParallel *w = model->world;
    const size_t e = q->width, rows = q->filled;
    if (rows == 0 || q->length == 0)
        return;
    nn_real *const sides[] = {q->images, q->texts};
    const size_t all_rows = q->gathered ? rows : rows * train_parallel_size(w);
    nn_real *all = all_rows > rows ? vc_alloc_aligned(all_rows * e, sizeof *all) : NULL;
    for (size_t k = 0; k < 2; k++) {
        const nn_real *from = sides[k] + (q->room - rows) * e;
        if (all)
            train_parallel_gather(w, from, rows * e * sizeof *from, all);
        for (size_t i = 0; i < all_rows; i++)
            memcpy(sides[k] + (q->room + (q->next + i) % q->length) * e, (all ? all : from) + i * e, e * sizeof *from);
    }
    free(all);
    q->next = (q->next + all_rows) % q->length;
    q->filled = 0;
}
