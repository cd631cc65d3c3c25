// SPDX-License-Identifier: MIT
// What surrounds the losses of ViCHA: random decisions, teachers, queues, switches, evaluation.
#include "tests/train/small_model.h"

// ---- decisions

static void test_words(void **state)
{
    (void)state;
    enum { N = 40000 };
    const TrainMlmRule rule = {0.15, 1000, 999, 0, 1};
    int32_t *ids = vc_calloc(N, sizeof *ids), *out = vc_calloc(N, sizeof *out), *labels = vc_calloc(N, sizeof *labels);
    for (size_t i = 0; i < N; i++)
        ids[i] = i % 10 == 0 ? 0 : i % 10 == 1 ? 1 : 500;
    VcRng rng;
    vc_rng_seed(&rng, 1);
    train_draw_words(&rng, &rule, ids, N, out, labels);
    size_t selected = 0, masked = 0, kept = 0, random = 0;
    for (size_t i = 0; i < N; i++) {
        if (labels[i] == NN_IGNORE_LABEL) {
            assert_int_equal(out[i], ids[i]);
            continue;
        }
        assert_int_equal(labels[i], 500); // never a pad or [CLS]
        selected++;
        masked += out[i] == 999;
        kept += out[i] == 500;
        random += out[i] != 999 && out[i] != 500;
    }
    assert_close((double)selected / (0.8 * N), 0.15, 0.008);
    assert_close((double)masked / (double)selected, 0.8, 0.02);
    assert_close((double)kept / (double)selected, 0.1, 0.02);
    assert_close((double)random / (double)selected, 0.1, 0.02);
    free(ids);
    free(out);
    free(labels);
}

// What is drawn for a record depends on seed, epoch and record, not on its place.
static void test_streams(void **state)
{
    (void)state;
    uint64_t records[2] = {5, 9}, turned[2] = {9, 5};
    TrainBatch a = {.count = 2, .records = records, .epoch = 1}, b = {.count = 2, .records = turned, .epoch = 1};
    VcRng first = train_row_stream(42, &a, 0), same = train_row_stream(42, &b, 1), other = train_row_stream(42, &a, 1);
    const uint64_t drawn = vc_rng_u64(&first);
    assert_true(drawn == vc_rng_u64(&same));
    assert_true(drawn != vc_rng_u64(&other));
    b.epoch = 2;
    VcRng later = train_row_stream(42, &b, 1), seeded = train_row_stream(43, &a, 0);
    assert_true(drawn != vc_rng_u64(&later));
    assert_true(drawn != vc_rng_u64(&seeded));
}

static void test_negatives(void **state)
{
    (void)state;
    enum { N = 20000 };
    VcRng rng;
    vc_rng_seed(&rng, 4);
    const nn_real logits[4] = {0, log(2), log(3), log(4)};
    size_t seen[4] = {0};
    for (size_t i = 0; i < N; i++)
        seen[train_draw_negative(&rng, logits, 4, 2, NULL)]++;
    assert_int_equal(seen[2], 0); // never its own
    assert_close((double)seen[0] / N, 1.0 / 7, 0.01);
    assert_close((double)seen[1] / N, 2.0 / 7, 0.01);
    assert_close((double)seen[3] / N, 4.0 / 7, 0.01);

    // T12: all weight on the pair itself: the others are drawn evenly
    const nn_real sure[3] = {500, -500, -500};
    size_t even[3] = {0};
    for (size_t i = 0; i < N; i++)
        even[train_draw_negative(&rng, sure, 3, 0, NULL)]++;
    assert_int_equal(even[0], 0);
    assert_close((double)even[1] / N, 0.5, 0.02);

    // equal captions are no negatives of each other, unless there is nothing else
    const int32_t group[3] = {0, 1, 0}, equal[3] = {0, 0, 0};
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(train_draw_negative(&rng, sure, 3, 0, group), 1);
        assert_int_not_equal(train_draw_negative(&rng, sure, 3, 1, equal), 1);
    }
}

// A batch without a hidden word (T12): no loss from there, and nothing that is not a number.
static void test_no_words(void **state)
{
    (void)state;
    SmallModel w;
    small_model_open(&w, NULL, 0);
    for (size_t i = 0; i < PAIRS * TOKENS; i++)
        w.draws.mlm_labels[i] = NN_IGNORE_LABEL;
    TrainLoss loss;
    const NnVar *value = small_model_loss(&w, &loss);
    assert_true(isfinite(value->value[0]));
    for (size_t i = 0; i < loss.count; i++) {
        if (strcmp(loss.parts[i].name, "mlm") == 0)
            assert_close(loss.parts[i].value, 0, 0);
    }
    nn_backward(w.tape, loss.total);
    for (size_t i = 0; i < w.model->params.size; i++)
        assert_true(isfinite(w.model->params.grad[i]));
    small_model_close(&w);
}

static void test_alpha(void **state)
{
    (void)state;
    TrainRecipe r = {.alpha = 0.4, .alpha_steps = -1};
    assert_close(train_alpha(&r, 0, 0, 10, 0), 0, 0);
    assert_close(train_alpha(&r, 0, 5, 10, 5), 0.2, 1e-15);
    assert_close(train_alpha(&r, 1, 0, 10, 10), 0.4, 0);
    r.alpha_steps = 100;
    assert_close(train_alpha(&r, 3, 0, 10, 25), 0.1, 1e-15);
    assert_close(train_alpha(&r, 0, 0, 10, 1000), 0.4, 0);
    r.alpha_steps = 0;
    assert_close(train_alpha(&r, 0, 0, 10, 0), 0.4, 0);
}

// ---- teachers and queues

static void test_teachers(void **state)
{
    (void)state;
    SmallModel w;
    const char *sets[] = {"model.momentum_keep=0.75"};
    small_model_open(&w, sets, 1);
    NnParams *p = &w.model->params, *m = &w.model->momentum;
    const nn_real before = m->value[5], student = p->value[5];
    TrainLoss loss;
    small_model_loss(&w, &loss); // not the first batch of a step
    assert_close(m->value[5], before, 0);
    const TrainStep step = {.alpha = 0.4, .first = true, .draws = &w.draws};
    nn_tape_reset(w.tape);
    train_model_loss(w.model, w.tape, &w.batch, &step, &loss);
    assert_close(m->value[5], 0.75 * before + 0.25 * student, 1e-15);
    for (size_t i = 0; i < m->count; i++) { // each teacher stands under its student's name
        char name[128];
        const char *at = strstr(m->items[i].name, "_m.");
        assert_non_null(at);
        snprintf(name, sizeof name, "%.*s%s", (int)(at - m->items[i].name), m->items[i].name, at + 2);
        assert_int_equal(nn_params_find(p, name), i);
    }
    small_model_close(&w);
}

static void test_queue(void **state)
{
    (void)state;
    SmallModel w;
    small_model_open(&w, NULL, 0);
    TrainQueue *q = &w.model->queue;
    const nn_real *oldest = q->images + q->room * q->width;
    const nn_real first = oldest[0], last = oldest[5 * q->width];
    TrainLoss loss;
    small_model_loss(&w, &loss);
    assert_close(oldest[0], first, 0); // not before the backward pass has read it
    train_model_advance(w.model);
    assert_int_equal(q->next, 3);
    for (size_t j = 0; j < PAIRS * q->width; j++)
        assert_close(oldest[j], q->images[j], 0);
    assert_close(oldest[5 * q->width], last, 0);
    train_model_advance(w.model); // nothing waits
    assert_int_equal(q->next, 3);
    small_model_loss(&w, &loss);
    train_model_advance(w.model);
    assert_int_equal(q->next, 0); // round a queue of six
    for (size_t j = 0; j < PAIRS * q->width; j++)
        assert_close(oldest[3 * q->width + j], q->images[j], 0);
    small_model_close(&w);
}

// ---- switches

static double value_with(const char *const *sets, size_t count, uint64_t seed, size_t more_padding)
{
    SmallModel w;
    small_model_open(&w, sets, count);
    TrainBatch *b = &w.batch;
    if (more_padding > 0) { // the same concept strings in a batch whose longest is longer
        const size_t wide = CONCEPTS + more_padding;
        int32_t *ids = vc_arena_zalloc(w.arena, PAIRS * wide, sizeof *ids);
        nn_real *mask = vc_arena_zalloc(w.arena, PAIRS * wide, sizeof *mask);
        for (size_t i = 0; i < PAIRS * wide; i++) {
            const size_t row = i / wide, at = i % wide;
            ids[i] = at < CONCEPTS ? b->concepts[row * CONCEPTS + at] : 0;
            mask[i] = at < CONCEPTS ? b->concept_mask[row * CONCEPTS + at] : -10000;
        }
        b->concepts = ids;
        b->concept_mask = mask;
        b->concept_tokens = wide;
    }
    const TrainStep step = {.alpha = w.recipe.alpha, .seed = seed, .draws = &w.draws};
    TrainLoss loss;
    nn_tape_reset(w.tape);
    train_model_loss(w.model, w.tape, b, &step, &loss);
    const double value = loss.total->value[0];
    small_model_close(&w);
    return value;
}

// T6: padding that is seen makes a result depend on the other pairs of the batch, hidden padding does not.
static void test_concept_padding(void **state)
{
    (void)state;
    const char *seen[] = {"model.dropout=0"}, *hidden[] = {"model.dropout=0", "model.concept_padding=hidden"};
    assert_true(fabs(value_with(seen, 1, 1, 0) - value_with(seen, 1, 1, 3)) > 1e-4);
    assert_close(value_with(hidden, 2, 1, 0), value_with(hidden, 2, 1, 3), 1e-12);
}

// T14: with dropout in the student alone its teacher, and so the keys, do not depend on the seed.
static void test_teacher_dropout(void **state)
{
    (void)state;
    const char *on[] = {"model.dropout=0.3"}, *off[] = {"model.dropout=0.3", "model.teacher_dropout=false"};
    nn_real keys[2][2];
    for (size_t k = 0; k < 2; k++) {
        for (size_t seed = 0; seed < 2; seed++) {
            SmallModel w;
            small_model_open(&w, k ? off : on, k ? 2 : 1);
            const TrainStep step = {.alpha = 0.4, .seed = seed, .draws = &w.draws};
            TrainLoss loss;
            train_model_loss(w.model, w.tape, &w.batch, &step, &loss);
            keys[k][seed] = w.model->queue.texts[0];
            small_model_close(&w);
        }
    }
    assert_true(keys[0][0] != keys[0][1]);
    assert_true(keys[1][0] == keys[1][1]);
    assert_true(value_with(off, 2, 0, 0) != value_with(off, 2, 1, 0)); // the student's is still there
}

// T13: what decays, and what is spared on request.
static void test_decay(void **state)
{
    (void)state;
    static const char *const names[] = {"temp", "visual_encoder.cls_token", "visual_encoder.pos_embed", "mask_token"};
    const char *spare[] = {"optim.decay_tokens=false"};
    for (size_t k = 0; k < 2; k++) {
        SmallModel w;
        small_model_open(&w, spare, k);
        const NnParams *p = &w.model->params;
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(p->items[nn_params_find(p, names[i])].flags & NN_PARAM_DECAY, k ? 0 : NN_PARAM_DECAY);
        assert_true(p->items[nn_params_find(p, "kw_proj.weight")].flags & NN_PARAM_DECAY);
        assert_true(p->items[nn_params_find(p, "text_encoder.bert.embeddings.word_embeddings.weight")].flags &
                    NN_PARAM_DECAY);
        assert_false(p->items[nn_params_find(p, "kw_proj.bias")].flags & NN_PARAM_DECAY);
        small_model_close(&w);
    }
}

// What evaluation computes without a record, in memory that is used again, is what training computes.
static void test_evaluation(void **state)
{
    (void)state;
    SmallModel w;
    const char *sets[] = {"model.dropout=0"};
    small_model_open(&w, sets, 1);
    TrainTrace *trace = vc_calloc(1, sizeof *trace);
    const TrainStep step = {.alpha = 0.4, .draws = &w.draws, .trace = trace};
    TrainLoss loss;
    train_model_loss(w.model, w.tape, &w.batch, &step, &loss);
    const NnVar *image = train_noted(trace, "image_feat"), *text = train_noted(trace, "text_feat");
    nn_real images[PAIRS * 6], texts[PAIRS * 6];
    assert_int_equal(image->size, PAIRS * 6);
    memcpy(images, image->value, sizeof images);
    memcpy(texts, text->value, sizeof texts);
    for (int record = 0; record < 2; record++) {
        nn_tape_reset(w.tape);
        nn_tape_record(w.tape, record);
        const NnVar *i = w.model->ops->images(w.model, w.tape, &w.batch);
        const NnVar *t = w.model->ops->texts(w.model, w.tape, &w.batch);
        for (size_t j = 0; j < PAIRS * 6; j++) {
            assert_close(i->value[j], images[j], 1e-13);
            assert_close(t->value[j], texts[j], 1e-13);
        }
    }
    free(trace);
    small_model_close(&w);
}

// Drawn by the model: the same in two runs, others in another epoch; negatives are never a pair's own.
static void test_own_draws(void **state)
{
    (void)state;
    SmallModel w;
    const char *sets[] = {"model.dropout=0"};
    small_model_open(&w, sets, 1);
    double values[3];
    for (size_t k = 0; k < 3; k++) {
        const TrainStep step = {.alpha = 0.4};
        TrainLoss loss;
        w.batch.epoch = k / 2;
        nn_tape_reset(w.tape);
        train_model_loss(w.model, w.tape, &w.batch, &step, &loss);
        values[k] = loss.total->value[0];
    }
    assert_true(values[0] == values[1]);
    assert_true(values[0] != values[2]);
    small_model_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),    cmocka_unit_test(test_streams),         cmocka_unit_test(test_negatives),
        cmocka_unit_test(test_no_words), cmocka_unit_test(test_alpha),           cmocka_unit_test(test_teachers),
        cmocka_unit_test(test_queue),    cmocka_unit_test(test_concept_padding), cmocka_unit_test(test_teacher_dropout),
        cmocka_unit_test(test_decay),    cmocka_unit_test(test_evaluation),      cmocka_unit_test(test_own_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
