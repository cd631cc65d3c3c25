// SPDX-License-Identifier: MIT
// The structured first values of a ViT: a basis (orthogonal filters), flat pictures seen by the first filters only,
// positions that are all different, and attention to what is alike.
#include "train/model/vision_init.h"

#include "nn/nn.h"

#include "tests/support/test.h"

enum { PATCH = 6, FILTERS = 40, WIDTH = 40, GRID = 4, SEED = 7 };

static TrainModel model;
static size_t patches, positions;
static TrainLayer layer, joined; // the same values, q, k and v apart and in one matrix as timm has them

static nn_real *values(size_t index)
{
    return model.params.value + model.params.items[index].offset;
}

static int setup(void **state)
{
    (void)state;
    nn_params_init(&model.params);
    patches = nn_params_add(&model.params, "patches", NN_SHAPE(FILTERS, 3, PATCH, PATCH), 0);
    positions = nn_params_add(&model.params, "positions", NN_SHAPE(1 + GRID * GRID, WIDTH), 0);
    size_t *matrices[] = {&layer.q_w, &layer.k_w, &layer.v_w, &layer.out_w};
    static const char *const names[] = {"q", "k", "v", "out"};
    for (size_t i = 0; i < 4; i++)
        *matrices[i] = nn_params_add(&model.params, names[i], NN_SHAPE(WIDTH, WIDTH), 0);
    joined = (TrainLayer){.joined = true};
    joined.q_w = nn_params_add(&model.params, "qkv", NN_SHAPE(3 * WIDTH, WIDTH), 0);
    joined.out_w = nn_params_add(&model.params, "proj", NN_SHAPE(WIDTH, WIDTH), 0);
    nn_params_allocate(&model.params, false);
    for (size_t i = 0; i < 4; i++)
        train_init_normal(&model, *matrices[i], 1 / sqrt((double)WIDTH), SEED);
    for (size_t i = 0; i < 3; i++)
        memcpy(values(joined.q_w) + i * WIDTH * WIDTH, values(*matrices[i]), WIDTH * WIDTH * sizeof(nn_real));
    memcpy(values(joined.out_w), values(layer.out_w), WIDTH * WIDTH * sizeof(nn_real));
    train_init_mimetic_attention(&model, &joined, WIDTH);
    train_init_mimetic_attention(&model, &layer, WIDTH);
    train_init_dct_patches(&model, patches);
    train_init_grid_positions(&model, positions, 0.5);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nn_params_finish(&model.params);
    return 0;
}

static void test_filters(void **state)
{
    (void)state;
    const size_t n = 3 * PATCH * PATCH;
    const nn_real *w = model.params.value + model.params.items[patches].offset;
    size_t see_flat = 0;
    for (size_t i = 0; i < FILTERS; i++) {
        double flat = 0, norm = 0;
        for (size_t k = 0; k < n; k++) {
            flat += w[i * n + k];
            norm += (double)w[i * n + k] * w[i * n + k];
        }
        assert_true(norm > 1e-4);
        see_flat += fabs(flat) > 1e-4;
        for (size_t j = 0; j < i; j++) {
            double dot = 0;
            for (size_t k = 0; k < n; k++)
                dot += (double)w[i * n + k] * w[j * n + k];
            assert_close(dot, 0, 1e-5);
        }
    }
    assert_int_equal(see_flat, 1); // a grey picture: lightness alone, once
    for (size_t k = 1; k < n; k++) // and that one comes first
        assert_close(w[k], w[0], 1e-6);
}

static void test_positions(void **state)
{
    (void)state;
    const nn_real *p = model.params.value + model.params.items[positions].offset;
    for (size_t c = 0; c < WIDTH; c++)
        assert_close(p[c], 0, 0);
    for (size_t i = 1; i <= GRID * GRID; i++) {
        for (size_t j = 1; j < i; j++) {
            double distance = 0;
            for (size_t c = 0; c < WIDTH; c++) {
                assert_true(fabs((double)p[i * WIDTH + c]) <= 0.5 + 1e-6);
                distance += fabs((double)p[i * WIDTH + c] - (double)p[j * WIDTH + c]);
            }
            assert_true(distance > 0.1);
        }
    }
}

// Mean of the diagonal and largest mean of a row's other entries of a^T b (transposed) or a b.
static void diagonal_of(size_t a, size_t b, bool transposed, double *diagonal, double *beside)
{
    const nn_real *x = model.params.value + model.params.items[a].offset;
    const nn_real *y = model.params.value + model.params.items[b].offset;
    *diagonal = *beside = 0;
    for (size_t i = 0; i < WIDTH; i++) {
        double others = 0;
        for (size_t j = 0; j < WIDTH; j++) {
            double dot = 0;
            for (size_t k = 0; k < WIDTH; k++)
                dot += (double)(transposed ? x[k * WIDTH + i] : x[i * WIDTH + k]) * (double)y[k * WIDTH + j];
            if (i == j) {
                *diagonal += dot / WIDTH;
            } else {
                others += dot / (WIDTH - 1);
            }
        }
        *beside = fmax(*beside, fabs(others));
    }
}

static void test_attention(void **state)
{
    (void)state;
    double diagonal, beside;
    diagonal_of(layer.q_w, layer.k_w, true, &diagonal, &beside);
    assert_close(diagonal, 1, 0.15); // E[q^T q] = I
    assert_true(beside < 0.15);
    diagonal_of(layer.out_w, layer.v_w, false, &diagonal, &beside);
    assert_close(diagonal, -0.4, 0.1);
    assert_true(beside < 0.15);
}

static void test_joined(void **state)
{
    (void)state;
    const size_t apart[] = {layer.q_w, layer.k_w, layer.v_w};
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(values(joined.q_w) + i * WIDTH * WIDTH, values(apart[i]), WIDTH * WIDTH * sizeof(nn_real));
    }
    assert_memory_equal(values(joined.out_w), values(layer.out_w), WIDTH * WIDTH * sizeof(nn_real));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_filters), cmocka_unit_test(test_positions),
                                       cmocka_unit_test(test_attention), cmocka_unit_test(test_joined)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
