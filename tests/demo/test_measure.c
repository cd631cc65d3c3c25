// SPDX-License-Identifier: MIT
// The measure on a database made by hand whose figures were worked out on paper.
#include "base/file.h"
#include "demo/measure.h"
#include "tests/support/test.h"

#define OBJECT(shape, words, box, visible, mentioned)                                                  \
    "{\"shape\": \"" shape "\", \"words\": [" words "], \"colour\": \"red\", \"texture\": \"plain\", " \
    "\"box\": [0, 0, " box "], \"visible\": " visible ", \"mentioned\": " mentioned "}"
#define CUP                    OBJECT("cup", "\"cup\", \"cups\", \"mug\", \"mugs\"", "50, 50", "1.0", "true")
#define STAR                   OBJECT("star", "\"star\", \"stars\"", "20, 20", "0.7", "true")
#define KEY                    OBJECT("key", "\"key\", \"keys\"", "10, 10", "1.0", "false")
#define PICTURE(name, objects) "{\"image\": \"images/" name ".jpg\", \"side\": 100, \"objects\": [" objects "]}\n"

// a: cup and star; b: key; c: cup (two of them: one kind); d: star, key, cup.
static const char truth_text[] =
    PICTURE("a", CUP ", " STAR) PICTURE("b", KEY) PICTURE("c", CUP ", " CUP) PICTURE("d", STAR ", " KEY ", " CUP);

typedef struct {
    char *dir, *truth_path;
    VcWorkspace ws;
    DemoTruth truth;
} Fixture;

static void setup(Fixture *f, const char *sql)
{
    memset(f, 0, sizeof(*f));
    f->dir = test_temp_folder();
    f->truth_path = vc_path_join(f->dir, "truth.jsonl");
    assert_ok(vc_write_file(f->truth_path, truth_text, sizeof(truth_text) - 1, err));
    assert_ok(demo_truth_read(&f->truth, f->truth_path, err));
    assert_ok(vc_workspace_open(&f->ws, f->dir, VC_DB_CREATE, err));
    assert_ok(vc_db_exec(f->ws.db,
                         "INSERT INTO source(source_id, name) VALUES(1, 's');"
                         "INSERT INTO image(image_id, source_id, key) VALUES(1, 1, 'images/a.jpg'), "
                         "(2, 1, '/data/set/images/b.jpg'), (3, 1, 'set/images/c.jpg'), (4, 1, 'images/d.jpg'), "
                         "(9, 1, 'images/other.jpg');"
                         "INSERT INTO concept(concept_id, text) VALUES(1, 'cup'), (2, 'mugs'), (3, 'tea cup'), "
                         "(4, 'star'), (5, 'stars'), (6, 'key'), (7, 'picture'), (8, 'left');",
                         err));
    assert_ok(vc_db_exec(f->ws.db, sql, err));
}

static void teardown(Fixture *f)
{
    demo_truth_finish(&f->truth);
    vc_workspace_close(&f->ws);
    free(f->truth_path);
    test_temp_remove(&f->dir);
}

static void known_answer(void **state)
{
    Fixture f;
    DemoMeasure m;
    (void)state;
    // a: mugs, tea cup (the same kind), picture, stars        -> cup, star: 2/2; strict: cup, picture: 1/2
    // b: left, star, key                                      -> star: 0/1; strict: 0/1
    // c: cup                                                  -> 1/1 and 1/1
    // d: star, picture, cup: one kind short                   -> 2/3; strict: star, picture, cup: 2/3
    // other: not in the truth
    setup(&f, "INSERT INTO image_concept(image_id, rank, concept_id, score) VALUES"
              "(1, 0, 2, 900), (1, 1, 3, 800), (1, 2, 7, 700), (1, 3, 5, 600), (2, 0, 8, 900), (2, 1, 4, 800), "
              "(2, 2, 6, 700), (3, 0, 1, 900), (4, 0, 4, 900), (4, 1, 7, 800), (4, 2, 1, 700), (9, 0, 1, 900);");
    assert_ok(demo_measure(&m, &f.ws, &f.truth, err));
    assert_int_equal(m.pictures, 4);
    assert_int_equal(m.mined, 4);
    assert_int_equal(m.foreign, 1);
    assert_int_equal(m.object_words, 6);
    assert_int_equal(m.other_words, 2);
    assert_close(m.r_precision, (1 + 0 + 1 + 2.0 / 3) / 4, 1e-12);
    assert_close(m.strict, (0.5 + 0 + 1 + 2.0 / 3) / 4, 1e-12);
    assert_close(m.chance_uniform, (2.0 / 3 + 1.0 / 3 + 1.0 / 3 + 1) / 4, 1e-12);
    // Most frequent: cup (3 pictures), then star (2) before key (2), as it came first.
    assert_close(m.chance_frequent, (1 + 0 + 1 + 1) / 4.0, 1e-12);
    // Next picture's concepts: a gets (star, key), b gets (cup), c gets (star), d gets (cup, star).
    assert_close(m.chance_shuffled, (0.5 + 0 + 0 + 2.0 / 3) / 4, 1e-12);
    assert_close(m.by_r[1], 0.5, 1e-12);
    assert_close(m.by_r[2], 1, 1e-12);
    assert_close(m.by_r[3], 2.0 / 3, 1e-12);
    size_t cup = demo_truth_fold(&f.truth, "mug"), star = demo_truth_fold(&f.truth, "star"),
           key = demo_truth_fold(&f.truth, "keys");
    assert_int_equal(m.kind[cup].right, 3);
    assert_int_equal(m.kind[cup].all, 3);
    assert_int_equal(m.kind[key].right, 0);
    assert_int_equal(m.kind[key].all, 2);
    assert_int_equal(m.confused[key][star], 1);
    assert_int_equal(m.hidden.all, 2); // the two stars
    assert_int_equal(m.hidden.right, 2);
    assert_int_equal(m.unmentioned.all, 2); // the two keys
    assert_int_equal(m.unmentioned.right, 0);
    demo_measure_finish(&m);
    teardown(&f);
}

// Pictures that were not mined count 0, not nothing.
static void missing_pictures_count(void **state)
{
    Fixture f;
    DemoMeasure m;
    (void)state;
    setup(&f, "INSERT INTO image_concept(image_id, rank, concept_id, score) VALUES(3, 0, 1, 900);");
    assert_ok(demo_measure(&m, &f.ws, &f.truth, err));
    assert_int_equal(m.mined, 1);
    assert_close(m.r_precision, 0.25, 1e-12);
    demo_measure_finish(&m);
    teardown(&f);
}

static void nothing_mined(void **state)
{
    Fixture f;
    DemoMeasure m;
    (void)state;
    setup(&f, "");
    assert_error(demo_measure(&m, &f.ws, &f.truth, err), "run 'vicha concepts'");
    demo_measure_finish(&m);
    teardown(&f);
}

static void folding(void **state)
{
    Fixture f;
    (void)state;
    setup(&f, "");
    assert_int_equal(demo_truth_fold(&f.truth, "mugs"), demo_truth_fold(&f.truth, "cup"));
    assert_int_equal(demo_truth_fold(&f.truth, "tea cup"), demo_truth_fold(&f.truth, "cup"));
    assert_int_equal(demo_truth_fold(&f.truth, "cup holder"), DEMO_MAX_CLASSES);
    assert_int_equal(demo_truth_fold(&f.truth, "cupboard"), DEMO_MAX_CLASSES);
    assert_int_equal(demo_truth_fold(&f.truth, ""), DEMO_MAX_CLASSES);
    assert_null(demo_truth_find(&f.truth, "a.jpg"));
    assert_null(demo_truth_find(&f.truth, "xximages/a.jpg"));
    assert_non_null(demo_truth_find(&f.truth, "http://x/images/a.jpg"));
    teardown(&f);
}

static void bad_truth(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "no images"},
        {"{\"image\": \"a\"", "line 1"},
        {"{\"image\": \"a\"}\n", "side"},
        {"{\"image\": \"a\", \"side\": 0, \"objects\": []}\n", "side"},
        {PICTURE("a", CUP) PICTURE("a", STAR), "twice"},
        {PICTURE("a", CUP) PICTURE("b", OBJECT("glass", "\"mug\"", "9, 9", "1", "true")), "'mug' belongs to"},
        {PICTURE("a", OBJECT("glass", "", "9, 9", "1", "true")), "words"},
        {PICTURE("a", OBJECT("glass", "7", "9, 9", "1", "true")), "not a string"},
        {PICTURE("a", "7"), "shape"},
    };
    char *dir = test_temp_folder(), *path = vc_path_join(dir, "truth.jsonl");
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        DemoTruth truth;
        assert_ok(vc_write_file(path, cases[i].text, strlen(cases[i].text), err));
        assert_error(demo_truth_read(&truth, path, err), cases[i].error);
    }
    assert_ok(unlink(path) == 0);
    DemoTruth truth;
    assert_error(demo_truth_read(&truth, path, err), "truth.jsonl");
    free(path);
    test_temp_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answer),  cmocka_unit_test(missing_pictures_count),
        cmocka_unit_test(nothing_mined), cmocka_unit_test(folding),
        cmocka_unit_test(bad_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
