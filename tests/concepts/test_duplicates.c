// SPDX-License-Identifier: MIT
// Near duplicates, outliers and statistics of workspaces whose answers are known.
#include "base/file.h"
#include "base/rng.h"
#include "concepts/concepts.h"
#include "tests/support/test.h"

#include <math.h>

enum { DIM = 16 };
static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = test_temp_folder();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

static void sql(VcWorkspace *ws, const char *text)
{
    assert_ok(vc_db_exec(ws->db, text, err));
}

static void create(VcWorkspace *ws, const char *name)
{
    char *path = vc_path_join(folder, name);
    assert_ok(vc_workspace_open(ws, path, VC_DB_CREATE, err));
    free(path);
    sql(ws, "INSERT INTO source(source_id, name, uri) VALUES(1, 'one', '/'), (2, 'two', '/')");
}

// An image of area x 1 pixels; phash < 0: none.
static void add_image(VcWorkspace *ws, int id, int source, int width, int height, const char *sha, int64_t phash)
{
    VcStr s = {0};
    vc_str_putf(
        &s,
        "INSERT INTO image(image_id, source_id, key, width, height, bytes, sha256, phash, status) VALUES(%d, %d,"
        " 'i%d', %d, %d, 10, x'%s', %lld, 0); UPDATE image SET phash = NULL WHERE phash = -1;"
        " INSERT INTO image_file VALUES(%d, 0, 0, 1)",
        id, source, id, width, height, sha, (long long)phash, id);
    sql(ws, s.data);
    vc_str_finish(&s);
}

static void find(VcWorkspace *ws, DuplicateWay way, int bits, double cosine, Duplicates *out)
{
    VcPool *pool = vc_pool_create(2);
    DuplicatesOptions o = {.bits = bits, .min_cosine = cosine, .pool = pool};
    o.ways[way] = true;
    assert_ok(duplicates_find(ws, &o, out, err));
    vc_pool_destroy(&pool);
}

static void expect(const Duplicate *d, int64_t image, int64_t kept, double distance)
{
    assert_int_equal(d->image_id, image);
    assert_int_equal(d->kept, kept);
    assert_true(fabs(d->distance - distance) < 1e-3);
}

static void test_exact(void **state)
{
    (void)state;
    VcWorkspace ws;
    Duplicates d;
    create(&ws, "exact");
    add_image(&ws, 1, 1, 10, 10, "aa", -1);
    add_image(&ws, 2, 1, 10, 10, "bb", -1);
    add_image(&ws, 3, 1, 20, 20, "aa", -1); // the same, and larger: it stays
    add_image(&ws, 4, 1, 10, 10, "aa", -1);
    find(&ws, DUPLICATE_EXACT, 0, 1, &d);
    assert_int_equal(d.count, 2);
    expect(&d.items[0], 1, 3, 0);
    expect(&d.items[1], 4, 3, 0);
    assert_int_equal(d.kept, 2);
    duplicates_finish(&d);
    DuplicatesOptions o = {.ways = {[DUPLICATE_PERCEPTUAL] = true}, .bits = 3};
    VcErr err = {0};
    assert_false(duplicates_find(&ws, &o, &d, &err)); // no image has a hash
    assert_int_equal(err.code, VC_ERR_USAGE);
    vc_workspace_close(&ws);
}

static void test_perceptual(void **state)
{
    (void)state;
    VcWorkspace ws;
    Duplicates d;
    create(&ws, "perceptual");
    add_image(&ws, 1, 1, 40, 30, "01", 0x0F0F0F0F);
    add_image(&ws, 2, 1, 20, 15, "02", 0x0F0F0F0E); // one bit away
    add_image(&ws, 3, 1, 16, 12, "03",
              0x0F0F0F00); // four from 1, three from 2: near the one that is kept, or not at all
    add_image(&ws, 4, 1, 30, 40, "04", 0x0F0F0F0F); // the same hash, another shape
    add_image(&ws, 5, 1, 40, 30, "05", 0);          // no structure
    add_image(&ws, 6, 1, 20, 15, "06", 0);          // ... says nothing of another such
    add_image(&ws, 7, 1, 20, 15, "07", -1);
    find(&ws, DUPLICATE_PERCEPTUAL, 3, 1, &d);
    assert_int_equal(d.count, 1);
    expect(&d.items[0], 2, 1, 1);
    assert_int_equal(d.without_hash, 1);
    duplicates_finish(&d);
    find(&ws, DUPLICATE_PERCEPTUAL, 4, 1, &d);
    assert_int_equal(d.count, 2);
    expect(&d.items[1], 3, 1, 4);
    duplicates_finish(&d);
    vc_workspace_close(&ws);
}

// Every hash that is found must be what comparing all with all finds, for every number of bits.
static void test_bands(void **state)
{
    (void)state;
    enum { N = 300 };
    VcWorkspace ws;
    uint64_t hashes[N];
    VcRng rng;
    create(&ws, "bands");
    vc_rng_seed(&rng, 3);
    sql(&ws, "BEGIN");
    for (int i = 0; i < N; i++) {
        hashes[i] = i < 20 ? vc_rng_u64(&rng) >> 1 : hashes[vc_rng_below(&rng, 20)];
        for (int k = 0; i >= 20 && k < (int)vc_rng_below(&rng, 12); k++)
            hashes[i] ^= (uint64_t)1 << vc_rng_below(&rng, 63);
        char sha[16];
        snprintf(sha, sizeof sha, "%08x", i);
        add_image(&ws, i + 1, 1, 10, 10, sha, (int64_t)hashes[i]);
    }
    sql(&ws, "COMMIT");
    for (int bits = 0; bits <= 32; bits += bits < 9 ? 1 : 11) {
        bool marked[N] = {false};
        size_t count = 0;
        for (int i = 0; i < N; i++)
            for (int k = i + 1; k < N && !marked[i]; k++)
                if (!marked[k] && __builtin_popcountll(hashes[i] ^ hashes[k]) <= bits) {
                    marked[k] = true;
                    count++;
                }
        Duplicates d;
        find(&ws, DUPLICATE_PERCEPTUAL, bits, 1, &d);
        assert_int_equal(d.count, count);
        for (size_t i = 0; i < d.count; i++)
            assert_true(marked[d.items[i].image_id - 1] && !marked[d.items[i].kept - 1]);
        duplicates_finish(&d);
    }
    vc_workspace_close(&ws);
}

// Image i gets row i - 1 with these angles in a plane, plus a part of its own.
static void add_vectors(VcWorkspace *ws, const float *x, size_t n)
{
    uint8_t sha[32] = {7};
    uint64_t rows;
    VectorsWriter *w;
    char *dir = vc_workspace_path(ws, "vectors"), *path = vc_path_join(dir, "image-m.f16");
    assert_ok(vc_make_dirs(dir, err));
    assert_ok(vectors_writer_open(&w, path, DIM, sha, 0, err));
    assert_ok(vectors_writer_append(w, x, n, err));
    assert_ok(vectors_writer_sync(w, &rows, err));
    vectors_writer_close(&w);
    VcStr s = {0};
    vc_str_putf(&s,
                "INSERT INTO model VALUES(1, 'm', %d, x'07%062d', NULL); INSERT INTO meta VALUES('active_model', '1');"
                "INSERT INTO vector_file VALUES(1, 'image', 'vectors/image-m.f16', %zu, NULL);"
                "UPDATE image SET row = image_id - 1, status = 1",
                DIM, 0, n);
    sql(ws, s.data);
    vc_str_finish(&s);
    free(path);
    free(dir);
}

// Greedy by hand over the stored vectors, where an image has more like it than are asked for at first.
static void check_greedy(VcWorkspace *ws, size_t n, double least)
{
    VectorsReader *r;
    ConceptsModel model = {0};
    Duplicates d;
    assert_ok(concepts_open_vectors(ws, "image", &r, &model, err));
    float *x = vc_alloc(n * DIM, sizeof *x);
    int64_t *kept = vc_calloc(n, sizeof *kept), count = 0, most = 0; // image that it is marked for, 0: none
    vectors_reader_floats(r, 0, n, x);
    find(ws, DUPLICATE_EMBEDDING, 0, least, &d);
    for (size_t a = 0; a < n; a++) {
        int64_t like = 0;
        for (size_t b = a + 1; b < n && !kept[a]; b++) {
            double dot = 0, aa = 0, bb = 0;
            for (int k = 0; k < DIM; k++) {
                dot += (double)x[a * DIM + k] * x[b * DIM + k];
                aa += (double)x[a * DIM + k] * x[a * DIM + k];
                bb += (double)x[b * DIM + k] * x[b * DIM + k];
            }
            if (kept[b] || dot / sqrt(aa * bb) < least)
                continue;
            kept[b] = (int64_t)a + 1;
            like++;
        }
        count += like;
        most = like > most ? like : most;
    }
    assert_true(most > 64);
    assert_int_equal(d.count, count);
    for (size_t i = 0; i < d.count; i++)
        assert_int_equal(d.items[i].kept, kept[d.items[i].image_id - 1]);
    duplicates_finish(&d);
    free(x);
    free(kept);
    vectors_reader_close(&r);
    concepts_model_finish(&model);
}

static void test_embedding_and_outliers(void **state)
{
    (void)state;
    enum { N = 700 }; // more than two blocks of keepers
    static float x[N * DIM];
    VcWorkspace ws;
    VcRng rng;
    create(&ws, "embedding");
    vc_rng_seed(&rng, 5);
    sql(&ws, "BEGIN");
    for (int i = 0; i < N; i++) {
        char sha[16];
        snprintf(sha, sizeof sha, "%08x", i);
        add_image(&ws, i + 1, 1, 10, 10, sha, -1);
        for (int k = 0; k < DIM; k++)
            x[i * DIM + k] = (float)vc_rng_below(&rng, 1000) / 500 - 1;
    }
    sql(&ws, "COMMIT");
    const int copies[][2] = {{3, 10}, {3, 690}, {400, 401}, {255, 256}, {600, 699}};
    for (size_t i = 0; i < 5; i++)
        for (int k = 0; k < DIM; k++)
            x[copies[i][1] * DIM + k] = 3 * x[copies[i][0] * DIM + k] + (k == 0 ? 0.01F : 0);
    add_vectors(&ws, x, N);
    Duplicates d;
    find(&ws, DUPLICATE_EMBEDDING, 0, 0.995, &d);
    assert_int_equal(d.count, 5);
    expect(&d.items[0], 11, 4, 0);
    expect(&d.items[1], 691, 4, 0);
    expect(&d.items[2], 257, 256, 0);
    expect(&d.items[3], 402, 401, 0);
    expect(&d.items[4], 700, 601, 0);
    check_greedy(&ws, N, 0.3);
    // Marks: a tag that others see, and gone again.
    int64_t count;
    assert_ok(duplicates_mark(&ws, d.items, d.count, err));
    assert_ok(duplicates_marked(&ws, &count, err));
    assert_int_equal(count, 5);
    assert_ok(vc_db_int(ws.db, "SELECT count(*) FROM tag WHERE name = 'duplicate' AND image_id = 691", 0, &count, err));
    assert_int_equal(count, 1);
    assert_ok(duplicates_mark(&ws, NULL, 0, err));
    assert_ok(vc_db_int(ws.db, "SELECT count(*) FROM tag", -1, &count, err));
    assert_int_equal(count, 0);
    duplicates_finish(&d);

    Outlier *far;
    size_t n;
    VcPool *pool = vc_pool_create(2);
    assert_ok(duplicates_outliers(&ws, pool, 3, &far, &n, err));
    vc_pool_destroy(&pool);
    assert_int_equal(n, 3);
    assert_true(far[0].nearest <= far[1].nearest && far[1].nearest <= far[2].nearest);
    // By hand: the mean of the 8 best cosines of that image.
    double best[8] = {-2, -2, -2, -2, -2, -2, -2, -2}, sum = 0;
    const float *a = x + (far[0].image_id - 1) * DIM;
    for (int i = 0; i < N; i++) {
        double dot = 0, aa = 0, bb = 0;
        for (int k = 0; k < DIM; k++) {
            dot += (double)a[k] * x[i * DIM + k];
            aa += (double)a[k] * a[k];
            bb += (double)x[i * DIM + k] * x[i * DIM + k];
        }
        double value = dot / sqrt(aa * bb);
        for (int k = 0; i + 1 != far[0].image_id && k < 8; k++)
            if (value > best[k]) {
                const double swap = best[k];
                best[k] = value;
                value = swap;
            }
    }
    for (int k = 0; k < 8; k++)
        sum += best[k];
    assert_true(fabs(far[0].nearest - sum / 8) < 2e-3);
    free(far);
    vc_workspace_close(&ws);
}

// --- statistics: four images; dog and ball always together, cat alone
static void fill_concepts(VcWorkspace *ws)
{
    for (int i = 1; i <= 4; i++) {
        char sha[16];
        snprintf(sha, sizeof sha, "%08x", i);
        add_image(ws, i, i < 3 ? 1 : 2, 10, 10, sha, -1);
    }
    sql(ws, "INSERT INTO concept(concept_id, text, freq, pos) VALUES(0, 'dog', 3, 'object'), (1, 'ball', 2, 'object'),"
            " (2, 'cat', 2, 'object'), (3, 'never', 2, 'object');"
            "INSERT INTO image_concept VALUES(1, 0, 0, 16384), (1, 1, 1, 8192), (2, 0, 1, 16384), (2, 1, 0, 8192),"
            " (3, 0, 2, 8192), (4, 0, 2, 8192), (4, 1, 0, 4096);"
            "INSERT INTO concept_stat SELECT concept_id, count(*), sum(score), max(score), sum(rank = 0) FROM"
            " image_concept GROUP BY concept_id;"
            "INSERT INTO caption(image_id, text) VALUES(1, 'a dog with a ball'), (3, 'a cat on a sofa'), (4, 'a cat')");
}

static void test_statistics(void **state)
{
    (void)state;
    VcWorkspace ws, other;
    StatisticsPair *pairs;
    size_t n;
    create(&ws, "statistics");
    fill_concepts(&ws);
    assert_ok(statistics_pairs(&ws, NULL, STATISTICS_BY_PMI, 1, 10, &pairs, &n, err));
    assert_int_equal(n, 2);
    assert_string_equal(pairs[0].a, "dog");
    assert_string_equal(pairs[0].b, "ball");
    assert_int_equal(pairs[0].images, 2);
    assert_true(fabs(pairs[0].pmi - log2(2.0 * 4 / (3 * 2))) < 1e-9);
    assert_true(fabs(pairs[0].npmi - pairs[0].pmi / 1) < 1e-9); // -log2(2/4) = 1
    assert_true(pairs[1].pmi < 0);
    statistics_pairs_free(&pairs, n);
    assert_ok(statistics_pairs(&ws, "ball", STATISTICS_BY_IMAGES, 1, 10, &pairs, &n, err));
    assert_int_equal(n, 1);
    assert_string_equal(pairs[0].b, "dog");
    statistics_pairs_free(&pairs, n);

    StatisticsCoverage c;
    assert_ok(statistics_coverage(&ws, &c, err));
    assert_int_equal(c.concepts, 4);
    assert_int_equal(c.found, 3);
    assert_int_equal(c.captions, 3);
    assert_int_equal(c.sightings, 5); // dog, ball, cat, sofa, cat
    assert_int_equal(c.covered_sightings, 4);
    assert_int_equal(c.matched_sightings, 4);

    StatisticsDiff d;
    assert_ok(statistics_diff(&ws, "one", &ws, "two", &d, err));
    assert_int_equal(d.a.images, 2);
    assert_int_equal(d.b.images, 2);
    assert_int_equal(d.concepts_a, 2);
    assert_int_equal(d.concepts_b, 2);
    assert_int_equal(d.concepts_both, 1);
    assert_int_equal(d.same_images, -1);
    assert_true(fabs(d.a.words - 5) < 1e-9 && fabs(d.b.best_score - 8192 / 32767.0) < 1e-9);
    // p = dog 1/2, ball 1/2; q = dog 1/3, cat 2/3.
    const double js = (0.5 * log2(0.5 / (5. / 12)) + 0.5) / 2 + (1. / 3 * log2(1. / 3 / (5. / 12)) + 2. / 3) / 2;
    assert_true(fabs(d.divergence - js) < 1e-9);
    assert_int_equal(d.shift_count, 3);
    for (size_t i = 0; i < 2; i++) { // 2 of 2 against 0 of 2, and the other way: equally sure
        const bool ball = strcmp(d.shifts[i].text, "ball") == 0;
        assert_true(ball || strcmp(d.shifts[i].text, "cat") == 0);
        assert_true(ball ? d.shifts[i].z < -1 : d.shifts[i].z > 1);
    }
    statistics_diff_finish(&d);

    create(&other, "statistics-same");
    fill_concepts(&other);
    assert_ok(statistics_diff(&ws, NULL, &other, NULL, &d, err));
    assert_true(fabs(d.divergence) < 1e-12 && d.same_images == 4 && fabs(d.shifts[0].z) < 1e-12);
    statistics_diff_finish(&d);
    vc_workspace_close(&other);
    vc_workspace_close(&ws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),      cmocka_unit_test(test_perceptual),
        cmocka_unit_test(test_bands),      cmocka_unit_test(test_embedding_and_outliers),
        cmocka_unit_test(test_statistics),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
