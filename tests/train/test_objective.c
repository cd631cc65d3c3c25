// SPDX-License-Identifier: MIT
// Gradients of every loss of ViCHA against central differences of the whole model, in double; random decisions; queues.
#include "base/mem.h"
#include "tests/support/test.h"
#include "train/model/vicha.h"

#include <string.h>

_Static_assert(sizeof(nn_real) == 8, "this test is for the double compilation");

enum { PAIRS = 3, TOKENS = 5, CONCEPTS = 4, SIDE = 8, WORDS = 40, PATCHES = 16 };

typedef struct {
    TrainRecipe recipe;
    TrainModel *model;
    NnContext context;
    NnTape *tape;
    VcArena *arena;
    TrainBatch batch;
    TrainDraws draws;
} World;

static void fill_words(World *w, int32_t **ids, nn_real **mask, size_t tokens, VcRng *rng)
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

static void fill_batch(World *w)
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

static void fill_draws(World *w)
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

static void open_world(World *w, const char *const *sets, size_t count)
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
    *w = (World){.arena = vc_arena_create("world")};
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

static void close_world(World *w)
{
    nn_tape_destroy(&w->tape);
    nn_context_finish(&w->context);
    train_model_destroy(&w->model);
    train_recipe_finish(&w->recipe);
    vc_arena_destroy(&w->arena);
}

static NnVar *total(World *w, TrainLoss *loss)
{
    const TrainStep step = {.alpha = w->recipe.alpha, .first = false, .seed = 77, .draws = &w->draws};
    nn_tape_reset(w->tape);
    train_model_loss(w->model, w->tape, &w->batch, &step, loss);
    return loss->total;
}

// ---- finite differences

// A few numbers of every parameter, relative to the largest gradient of the whole model.
static double worst_difference(World *w, size_t *moved)
{
    enum { PROBES = 3 };
    const double h = 1e-5;
    NnParams *p = &w->model->params;
    TrainLoss loss;
    nn_params_zero_grad(p);
    nn_backward(w->tape, total(w, &loss));
    double largest = 0, worst = 0;
    for (size_t i = 0; i < p->size; i++)
        largest = fmax(largest, fabs(p->grad[i]));
    *moved = 0;
    for (size_t i = 0; i < p->count; i++) {
        const NnParamInfo *info = &p->items[i];
        // Soft targets are constants by decree, though the temperature is in them: without alpha it is checked.
        const bool in_targets = i == ((const Vicha *)w->model->parts)->temp && w->recipe.momentum &&
                                w->recipe.loss_itc > 0 && w->recipe.alpha > 0;
        if (info->flags & NN_PARAM_FROZEN || in_targets)
            continue;
        for (size_t k = 0; k < PROBES && k < info->size; k++) {
            // The padding row of a word table gets no gradient from look-ups by decree: it is left out.
            const size_t from = vc_has_suffix(info->name, "word_embeddings.weight") ? info->shape.dim[1] : 0;
            const size_t at = info->offset + from + k * (info->size - from - 1) / PROBES;
            const nn_real keep = p->value[at];
            p->value[at] = keep + h;
            const double up = total(w, &loss)->value[0];
            p->value[at] = keep - h;
            const double down = total(w, &loss)->value[0];
            p->value[at] = keep;
            worst = fmax(worst, fabs((up - down) / (2 * h) - p->grad[at]));
            *moved += p->grad[at] != 0;
        }
    }
    assert_true(largest > 1e-3);
    return worst / largest;
}

static void check_loss(const char *name, const char *const *sets, size_t count, size_t least)
{
    World w;
    open_world(&w, sets, count);
    TrainLoss loss;
    total(&w, &loss);
    assert_int_equal(loss.count, 1);
    size_t moved;
    const double worst = worst_difference(&w, &moved);
    printf("# %s: worst difference %.1e of the largest gradient, %zu numbers with one\n", name, worst, moved);
    assert_true(worst < 1e-7);
    assert_true(moved >= least);
    close_world(&w);
}

#define NO_ITC  "loss.itc=0"
#define NO_HITC "loss.hitc=0"
#define NO_ITM  "loss.itm=0"
#define NO_MLM  "loss.mlm=0"
#define NO_MIM  "loss.mim=0"

static void test_itc(void **state)
{
    (void)state;
    const char *plain[] = {NO_HITC, NO_ITM, NO_MLM, NO_MIM, "model.dropout=0"};
    check_loss("ITC with queue and teachers", plain, 5, 150);
    const char *hard[] = {NO_HITC, NO_ITM, NO_MLM, NO_MIM, "model.dropout=0", "loss.alpha=0"};
    check_loss("ITC with queue, hard targets", hard, 6, 150);
    const char *dropped[] = {NO_HITC, NO_ITM, NO_MLM, NO_MIM, "model.dropout=0.2"};
    check_loss("ITC with dropout", dropped, 5, 150);
    const char *alone[] = {NO_HITC, NO_ITM, NO_MLM, NO_MIM, "model.dropout=0", "model.momentum=false"};
    check_loss("ITC inside the batch", alone, 6, 150);
    const char *hidden[] = {NO_HITC, NO_ITM, NO_MLM, NO_MIM, "model.dropout=0", "model.concept_padding=hidden"};
    check_loss("ITC, padding of concepts hidden", hidden, 6, 150);
}

static void test_hitc(void **state)
{
    (void)state;
    const char *both[] = {NO_ITC,
                          NO_ITM,
                          NO_MLM,
                          NO_MIM,
                          "loss.hitc=1",
                          "loss.hitc_detach=false",
                          "model.dropout=0",
                          "loss.hitc_weights=[0.5,2]"};
    check_loss("HITC, gradient to both sides", both, 8, 100);
}

static void test_itm(void **state)
{
    (void)state;
    const char *plain[] = {NO_ITC, NO_HITC, NO_MLM, NO_MIM, "model.dropout=0"};
    check_loss("ITM", plain, 5, 200);
    const char *dropped[] = {NO_ITC, NO_HITC, NO_MLM, NO_MIM, "model.dropout=0.2"};
    check_loss("ITM with dropout", dropped, 5, 200);
    const char *hidden[] = {NO_ITC, NO_HITC, NO_MLM, NO_MIM, "model.dropout=0", "model.concept_padding=hidden"};
    check_loss("ITM, padding of concepts hidden", hidden, 6, 200);
}

static void test_mlm(void **state)
{
    (void)state;
    const char *soft[] = {NO_ITC, NO_HITC, NO_ITM, NO_MIM, "model.dropout=0.1"};
    check_loss("MLM with soft labels", soft, 5, 200);
    const char *hard[] = {NO_ITC, NO_HITC, NO_ITM, NO_MIM, "model.dropout=0", "loss.alpha=0"};
    check_loss("MLM, hard labels", hard, 6, 200);
}

static void test_mim(void **state)
{
    (void)state;
    const char *plain[] = {NO_ITC, NO_HITC, NO_ITM, NO_MLM};
    check_loss("MIM", plain, 4, 80);
    const char *position[] = {NO_ITC, NO_HITC, NO_ITM, NO_MLM, "loss.mim_class_position=true"};
    check_loss("MIM, class token with its position", position, 5, 80);
}

// The whole is the weighted sum of its parts, value and gradient.
static void test_all(void **state)
{
    (void)state;
    const char *sets[] = {"loss.itc=0.5",         "loss.itm=2",    "loss.mlm=0.7",
                          "loss.mim=3",           "loss.hitc=0.4", "loss.hitc_detach=false",
                          "loss.duplicates=share"};
    World w;
    open_world(&w, sets, 7);
    w.batch.group[2] = 0; // two pairs with the same words
    TrainLoss loss;
    const double value = total(&w, &loss)->value[0];
    double sum = 0;
    assert_int_equal(loss.count, 5);
    for (size_t i = 0; i < loss.count; i++)
        sum += loss.parts[i].weight * loss.parts[i].value;
    assert_close(sum, value, 1e-12);
    size_t moved;
    const double worst = worst_difference(&w, &moved);
    printf("# all losses with weights: worst difference %.1e, %zu numbers\n", worst, moved);
    assert_true(worst < 1e-7);
    close_world(&w);
}

// The original cuts the gradient of every key (T4): with it, each direction trains its query side alone.
static void test_hitc_detached(void **state)
{
    (void)state;
    const char *detached[] = {NO_ITC, NO_ITM, NO_MLM, NO_MIM, "loss.hitc=1", "model.dropout=0"};
    const char *full[] = {NO_ITC, NO_ITM, NO_MLM, NO_MIM, "loss.hitc=1", "model.dropout=0", "loss.hitc_detach=false"};
    World a, b;
    TrainLoss x, y;
    open_world(&a, detached, 6);
    open_world(&b, full, 7);
    assert_close(total(&a, &x)->value[0], total(&b, &y)->value[0], 0);
    nn_backward(a.tape, x.total);
    nn_backward(b.tape, y.total);
    const Vicha *v = a.model->parts;
    const NnParamInfo *w = &a.model->params.items[v->image_level_w[0]], *temp = &a.model->params.items[v->temp];
    double difference = 0;
    for (size_t i = 0; i < w->size; i++)
        difference += fabs(a.model->params.grad[w->offset + i] - b.model->params.grad[w->offset + i]);
    assert_true(difference > 1e-3);
    assert_close(a.model->params.grad[temp->offset], b.model->params.grad[temp->offset], 1e-12); // shared by both
    close_world(&a);
    close_world(&b);
}

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
    World w;
    open_world(&w, NULL, 0);
    for (size_t i = 0; i < PAIRS * TOKENS; i++)
        w.draws.mlm_labels[i] = NN_IGNORE_LABEL;
    TrainLoss loss;
    const NnVar *value = total(&w, &loss);
    assert_true(isfinite(value->value[0]));
    for (size_t i = 0; i < loss.count; i++) {
        if (strcmp(loss.parts[i].name, "mlm") == 0)
            assert_close(loss.parts[i].value, 0, 0);
    }
    nn_backward(w.tape, loss.total);
    for (size_t i = 0; i < w.model->params.size; i++)
        assert_true(isfinite(w.model->params.grad[i]));
    close_world(&w);
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
    World w;
    const char *sets[] = {"model.momentum_keep=0.75"};
    open_world(&w, sets, 1);
    NnParams *p = &w.model->params, *m = &w.model->momentum;
    const nn_real before = m->value[5], student = p->value[5];
    TrainLoss loss;
    total(&w, &loss); // not the first batch of a step
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
    close_world(&w);
}

static void test_queue(void **state)
{
    (void)state;
    World w;
    open_world(&w, NULL, 0);
    TrainQueue *q = &w.model->queue;
    const nn_real *oldest = q->images + q->room * q->width;
    const nn_real first = oldest[0], last = oldest[5 * q->width];
    TrainLoss loss;
    total(&w, &loss);
    assert_close(oldest[0], first, 0); // not before the backward pass has read it
    train_model_advance(w.model);
    assert_int_equal(q->next, 3);
    for (size_t j = 0; j < PAIRS * q->width; j++)
        assert_close(oldest[j], q->images[j], 0);
    assert_close(oldest[5 * q->width], last, 0);
    train_model_advance(w.model); // nothing waits
    assert_int_equal(q->next, 3);
    total(&w, &loss);
    train_model_advance(w.model);
    assert_int_equal(q->next, 0); // round a queue of six
    for (size_t j = 0; j < PAIRS * q->width; j++)
        assert_close(oldest[3 * q->width + j], q->images[j], 0);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itc),           cmocka_unit_test(test_hitc),     cmocka_unit_test(test_itm),
        cmocka_unit_test(test_mlm),           cmocka_unit_test(test_mim),      cmocka_unit_test(test_all),
        cmocka_unit_test(test_hitc_detached), cmocka_unit_test(test_words),    cmocka_unit_test(test_streams),
        cmocka_unit_test(test_negatives),     cmocka_unit_test(test_no_words), cmocka_unit_test(test_alpha),
        cmocka_unit_test(test_teachers),      cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
