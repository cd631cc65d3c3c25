// SPDX-License-Identifier: MIT
// The structured first values of a ViT: a basis (orthogonal filters), flat pictures seen by the first filters only, and
// positions that are all different.
#include "train/model/patch_init.h"

#include "nn/nn.h"

#include "tests/support/test.h"

enum { PATCH = 6, FILTERS = 40, WIDTH = 40, GRID = 4 };

static TrainModel model;
static size_t patches, positions;

static int setup(void **state)
{
    (void)state;
    nn_params_init(&model.params);
    patches = nn_params_add(&model.params, "patches", NN_SHAPE(FILTERS, 3, PATCH, PATCH), 0);
    positions = nn_params_add(&model.params, "positions", NN_SHAPE(1 + GRID * GRID, WIDTH), 0);
    nn_params_allocate(&model.params, false);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_filters), cmocka_unit_test(test_positions)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
