// SPDX-License-Identifier: MIT
// Gradients of every loss of ViCHA against central differences of the whole model, in double.
#include "tests/train/small_model.h"

// ---- finite differences

// A few numbers of every parameter, relative to the largest gradient of the whole model.
static double worst_difference(SmallModel *w, size_t *moved)
{
    enum { PROBES = 3 };
    const double h = 1e-5;
    NnParams *p = &w->model->params;
    TrainLoss loss;
    nn_params_zero_grad(p);
    nn_backward(w->tape, small_model_loss(w, &loss));
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
            const double up = small_model_loss(w, &loss)->value[0];
            p->value[at] = keep - h;
            const double down = small_model_loss(w, &loss)->value[0];
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
    SmallModel w;
    small_model_open(&w, sets, count);
    TrainLoss loss;
    small_model_loss(&w, &loss);
    assert_int_equal(loss.count, 1);
    size_t moved;
    const double worst = worst_difference(&w, &moved);
    printf("# %s: worst difference %.1e of the largest gradient, %zu numbers with one\n", name, worst, moved);
    assert_true(worst < 1e-7);
    assert_true(moved >= least);
    small_model_close(&w);
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
    SmallModel w;
    small_model_open(&w, sets, 7);
    w.batch.group[2] = 0; // two pairs with the same words
    TrainLoss loss;
    const double value = small_model_loss(&w, &loss)->value[0];
    double sum = 0;
    assert_int_equal(loss.count, 5);
    for (size_t i = 0; i < loss.count; i++)
        sum += loss.parts[i].weight * loss.parts[i].value;
    assert_close(sum, value, 1e-12);
    size_t moved;
    const double worst = worst_difference(&w, &moved);
    printf("# all losses with weights: worst difference %.1e, %zu numbers\n", worst, moved);
    assert_true(worst < 1e-7);
    small_model_close(&w);
}

// The original cuts the gradient of every key (T4): with it, each direction trains its query side alone.
static void test_hitc_detached(void **state)
{
    (void)state;
    const char *detached[] = {NO_ITC, NO_ITM, NO_MLM, NO_MIM, "loss.hitc=1", "model.dropout=0"};
    const char *full[] = {NO_ITC, NO_ITM, NO_MLM, NO_MIM, "loss.hitc=1", "model.dropout=0", "loss.hitc_detach=false"};
    SmallModel a, b;
    TrainLoss x, y;
    small_model_open(&a, detached, 6);
    small_model_open(&b, full, 7);
    assert_close(small_model_loss(&a, &x)->value[0], small_model_loss(&b, &y)->value[0], 0);
    nn_backward(a.tape, x.total);
    nn_backward(b.tape, y.total);
    const Vicha *v = a.model->parts;
    const NnParamInfo *w = &a.model->params.items[v->image_level_w[0]], *temp = &a.model->params.items[v->temp];
    double difference = 0;
    for (size_t i = 0; i < w->size; i++)
        difference += fabs(a.model->params.grad[w->offset + i] - b.model->params.grad[w->offset + i]);
    assert_true(difference > 1e-3);
    assert_close(a.model->params.grad[temp->offset], b.model->params.grad[temp->offset], 1e-12); // shared by both
    small_model_close(&a);
    small_model_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_itc),           cmocka_unit_test(test_hitc), cmocka_unit_test(test_itm),
        cmocka_unit_test(test_mlm),           cmocka_unit_test(test_mim),  cmocka_unit_test(test_all),
        cmocka_unit_test(test_hitc_detached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
