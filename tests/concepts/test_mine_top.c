// SPDX-License-Identifier: MIT
// The best concepts of images: against sums in double, in slices, for any batch and number of threads.
#include "base/rng.h"
#include "concepts/mine_top.h"
#include "nn/nn.h"
#include "tests/support/test.h"

enum { DIM = 72, CONCEPTS = 3000, IMAGES = 300 };

typedef struct {
    uint16_t *rows; // [CONCEPTS][DIM]
    float *images;  // [IMAGES][DIM]
} Data;

// Texts all point one way, images another; two channels stand out. Some concepts are there twice.
static Data make_data(void)
{
    Data d = {vc_alloc(CONCEPTS * DIM, sizeof(uint16_t)), vc_alloc(IMAGES * DIM, sizeof(float))};
    VcRng rng;
    vc_rng_seed(&rng, 11);
    for (size_t i = 0; i < CONCEPTS; i++) {
        for (size_t k = 0; k < DIM; k++) {
            const float v = (float)vc_rng_normal(&rng) + (k % 3 == 0 ? 1.5F : 0) + (k == 5 ? 9 : 0);
            d.rows[i * DIM + k] = i % 50 == 49 ? d.rows[(i - 1) * DIM + k] : nn_f32_to_f16(v * 0.05F);
        }
    }
    for (size_t i = 0; i < IMAGES * DIM; i++)
        d.images[i] = (float)vc_rng_normal(&rng) + (i % DIM == 7 ? 12 : 0.3F);
    return d;
}

static void free_data(Data *d)
{
    free(d->rows);
    free(d->images);
}

static double cosine(const Data *d, size_t image, size_t concept)
{
    double sum = 0, a = 0, b = 0;
    for (size_t k = 0; k < DIM; k++) {
        const double x = d->images[image * DIM + k], y = nn_f16_to_f32(d->rows[concept * DIM + k]);
        sum += x * y;
        a += x * x;
        b += y * y;
    }
    return sum / sqrt(a * b);
}

// ids and scores of one image, concept i being row list[i].
static void check_image(const Data *d, size_t image, const uint32_t *list, size_t count, size_t k, const uint32_t *ids,
                        const float *scores)
{
    double *all = vc_alloc(count, sizeof *all);
    bool *in = vc_calloc(count, sizeof *in);
    for (size_t i = 0; i < count; i++)
        all[i] = cosine(d, image, list ? list[i] : i);
    for (size_t i = 0; i < k; i++) {
        assert_true(ids[i] < count && !in[ids[i]]);
        in[ids[i]] = true;
        assert_close(scores[i], all[ids[i]], 1e-6);
        if (i > 0)
            assert_true(scores[i] < scores[i - 1] || (scores[i] == scores[i - 1] && ids[i] > ids[i - 1]));
    }
    for (size_t i = 0; i < count; i++)
        assert_true(in[i] || all[i] <= scores[k - 1] + 1e-6);
    free(all);
    free(in);
}

static CoarseRows rows_of(const Data *d)
{
    return (CoarseRows){(const uint8_t *)d->rows, DIM * sizeof(uint16_t), DIM};
}

static void test_best(void **state)
{
    (void)state;
    static const size_t wanted[] = {1, 15, 100, 700};
    Data d = make_data();
    uint32_t list[700];
    for (uint32_t i = 0; i < 700; i++)
        list[i] = 4 * i + 3;
    for (int with_list = 0; with_list < 2; with_list++) {
        const size_t count = with_list ? 700 : CONCEPTS;
        MineTop *t = mine_top_create(rows_of(&d), with_list ? list : NULL, count, MINE_SLICE_BYTES, NULL);
        for (size_t w = 0; w < sizeof wanted / sizeof wanted[0]; w++) {
            const size_t k = wanted[w], n = k > 100 ? 3 : 40;
            uint32_t *ids = vc_alloc(n * k, sizeof *ids);
            float *scores = vc_alloc(n * k, sizeof *scores);
            assert_true(mine_top_run(t, d.images, n, k, ids, scores));
            for (size_t i = 0; i < n; i++)
                check_image(&d, i, with_list ? list : NULL, count, k, ids + i * k, scores + i * k);
            free(ids);
            free(scores);
        }
        mine_top_destroy(&t);
    }
    free_data(&d);
}

// The same bits from slices of a few concepts, from any batch and any number of threads.
static void test_same_bits(void **state)
{
    (void)state;
    enum { K = 15 };
    Data d = make_data();
    uint32_t *ids = vc_alloc(2 * IMAGES * K, sizeof *ids), *again = ids + IMAGES * K;
    float *scores = vc_alloc(2 * IMAGES * K, sizeof *scores), *scores_again = scores + IMAGES * K;
    MineTop *t = mine_top_create(rows_of(&d), NULL, CONCEPTS, MINE_SLICE_BYTES, NULL);
    assert_true(mine_top_run(t, d.images, IMAGES, K, ids, scores));
    assert_true(mine_top_fine(t) < (uint64_t)IMAGES * CONCEPTS / 4); // bytes leave most of them out
    mine_top_destroy(&t);
    static const struct {
        size_t threads, batch, slice;
    } ways[] = {{1, 1, MINE_SLICE_BYTES}, {2, 300, MINE_SLICE_BYTES}, {3, 77, 40000}, {2, 33, 1}, {1, 300, 128 * 500}};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        VcPool *pool = vc_pool_create(ways[w].threads);
        t = mine_top_create(rows_of(&d), NULL, CONCEPTS, ways[w].slice, pool);
        for (size_t at = 0; at < IMAGES; at += ways[w].batch) {
            const size_t n = IMAGES - at < ways[w].batch ? IMAGES - at : ways[w].batch;
            assert_true(mine_top_run(t, d.images + at * DIM, n, K, again + at * K, scores_again + at * K));
        }
        assert_memory_equal(ids, again, IMAGES * K * sizeof *ids);
        assert_memory_equal(scores, scores_again, IMAGES * K * sizeof *scores);
        mine_top_destroy(&t);
        vc_pool_destroy(&pool);
    }
    free(ids);
    free(scores);
    free_data(&d);
}

// Concepts of zeros or NaN have score 0; an image without a direction is refused and the next call is right again.
static void test_bad(void **state)
{
    (void)state;
    Data d = make_data();
    memset(d.rows + (size_t)20 * DIM, 0, DIM * sizeof *d.rows);
    d.rows[21 * DIM] = 0x7e00;
    d.rows[22 * DIM] = 0x7c00;
    MineTop *t = mine_top_create(rows_of(&d), NULL, 40, MINE_SLICE_BYTES, NULL);
    uint32_t ids[2 * 40];
    float scores[2 * 40];
    assert_true(mine_top_run(t, d.images, 2, 40, ids, scores));
    size_t zeros = 0;
    for (size_t i = 0; i < 40; i++) {
        zeros += ids[i] >= 20 && ids[i] <= 22;
        assert_true(ids[i] < 20 || ids[i] > 22 || scores[i] == 0);
    }
    assert_int_equal(zeros, 3);
    const float kept = d.images[DIM];
    d.images[DIM] = NAN;
    assert_false(mine_top_run(t, d.images, 2, 15, ids, scores));
    d.images[DIM] = kept;
    assert_true(mine_top_run(t, d.images, 2, 15, ids, scores));
    mine_top_destroy(&t);
    free_data(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_best), cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
