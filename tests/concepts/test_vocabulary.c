// SPDX-License-Identifier: MIT
// The vocabulary: ViCHA's threshold, ties, order, and what happens when it changes.
#include "base/file.h"
#include "base/log.h"
#include "base/workspace.h"
#include "concepts/concepts.h"
#include "tests/support/test.h"

typedef struct {
    char *folder;
    VcWorkspace ws;
} Fixture;

static int setup(void **state)
{
    Fixture *f = vc_calloc(1, sizeof *f);
    f->folder = test_temp_folder();
    VcErr err = {0};
    if (!vc_workspace_open(&f->ws, f->folder, VC_DB_CREATE, &err))
        fail_msg("%s", err.text);
    vc_log_set_level(VC_LOG_QUIET);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    vc_workspace_close(&f->ws);
    test_temp_remove(&f->folder);
    free(f);
    return 0;
}

// The original's rule, as written in its code: the counter starts at 0 on the first sighting, kept when > thresh.
static void min_count_is_the_originals_threshold_plus_2(void **state)
{
    (void)state;
    static const char *const seen[] = {"dog", "cat", "dog", "sky", "cat", "dog", "sea", "dog", "cat"};
    for (int64_t threshold = 0; threshold < 4; threshold++) {
        VocabularyCounter *c = vocabulary_counter_create();
        struct {
            const char *text;
            int64_t counter;
        } original[8];
        size_t distinct = 0;
        for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
            vocabulary_counter_add(c, seen[i], strlen(seen[i]), VOCABULARY_OBJECT);
            size_t k = 0;
            while (k < distinct && strcmp(original[k].text, seen[i]) != 0)
                k++;
            if (k == distinct) {
                original[distinct].text = seen[i];
                original[distinct++].counter = 0;
            } else {
                original[k].counter++;
            }
        }
        size_t expected = 0;
        for (size_t k = 0; k < distinct; k++)
            expected += original[k].counter > threshold;
        VocabularyEntry *entries;
        size_t n = vocabulary_counter_select(c, threshold + 2, &entries);
        assert_int_equal(n, expected);
        for (size_t i = 0; i < n; i++)
            assert_true(entries[i].count >= threshold + 2);
        free(entries);
        vocabulary_counter_destroy(&c);
    }
}

static void falling_count_then_first_sighting(void **state)
{
    (void)state;
    VocabularyCounter *c = vocabulary_counter_create();
    static const char *const seen[] = {"b", "a", "c", "c", "a", "b", "z", "d", "d", "d"};
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        vocabulary_counter_add(c, seen[i], 1, VOCABULARY_OBJECT);
    VocabularyEntry *entries;
    static const char *const expected[] = {"d", "b", "a", "c", "z"};
    assert_int_equal(vocabulary_counter_select(c, 1, &entries), 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(entries[i].text, expected[i]);
    free(entries);
    vocabulary_counter_destroy(&c);
}

static void many_texts_are_all_counted(void **state)
{
    (void)state;
    VocabularyCounter *c = vocabulary_counter_create();
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 20000; i++) {
            char text[32];
            snprintf(text, sizeof text, "concept %d", i);
            vocabulary_counter_add(c, text, strlen(text), VOCABULARY_OBJECT);
        }
    VocabularyEntry *entries;
    assert_int_equal(vocabulary_counter_distinct(c), 20000);
    assert_int_equal(vocabulary_counter_select(c, 3, &entries), 20000);
    assert_string_equal(entries[19999].text, "concept 19999");
    free(entries);
    assert_int_equal(vocabulary_counter_select(c, 4, &entries), 0);
    free(entries);
    vocabulary_counter_destroy(&c);
}

static void put_caption(VcWorkspace *ws, int64_t image, const char *text, bool stored)
{
    VcStr sql = {0};
    vc_str_putf(&sql,
                "INSERT OR IGNORE INTO source VALUES(1, 's', '', NULL, 0);"
                "INSERT OR IGNORE INTO image(image_id, source_id, key) VALUES(%lld, 1, 'k%lld');"
                "INSERT INTO caption(image_id, text) VALUES(%lld, '%s');",
                (long long)image, (long long)image, (long long)image, text);
    if (stored)
        vc_str_putf(&sql, "INSERT OR IGNORE INTO image_file VALUES(%lld, 0, 0, 1);", (long long)image);
    assert_ok(vc_db_exec(ws->db, sql.data, err));
    vc_str_finish(&sql);
}

// "id:text=freq ..." of table concept.
static char *table(VcWorkspace *ws)
{
    VcStmt *stmt;
    VcStr out = {0};
    bool row;
    assert_ok(vc_db_prepare(ws->db, &stmt, "SELECT concept_id, text, freq FROM concept ORDER BY concept_id", err));
    for (;;) {
        assert_ok(vc_stmt_step(stmt, &row, err));
        if (!row)
            break;
        vc_str_putf(&out, "%lld:%s=%lld ", (long long)vc_column_int(stmt, 0), vc_column_text(stmt, 1),
                    (long long)vc_column_int(stmt, 2));
    }
    vc_stmt_finish(&stmt);
    return out.data ? out.data : vc_strdup("");
}

static void assert_table(VcWorkspace *ws, const char *expected)
{
    char *t = table(ws);
    assert_string_equal(t, expected);
    free(t);
}

static void the_table_holds_ranks_from_0(void **state)
{
    Fixture *f = *state;
    put_caption(&f->ws, 1, "A cat sits beside a dog .", true);
    put_caption(&f->ws, 2, "Two dogs on a beach .", true);
    put_caption(&f->ws, 3, "A dog runs on the beach with a cat .", true);
    put_caption(&f->ws, 4, "A dog is sleeping .", true);
    put_caption(&f->ws, 5, "A cat and a cat and a cat .", false); // never stored: a dead link
    VocabularyOptions o = {.min_count = 2};
    VocabularyReport report;
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:dog=3 1:cat=2 2:beach=2 ");
    assert_int_equal(report.captions, 4);
    assert_int_equal(report.kept, 3);
    assert_false(report.unchanged);
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_true(report.unchanged);
    o.min_count = 1;
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_false(report.unchanged);
    assert_table(&f->ws, "0:dog=3 1:cat=2 2:beach=2 3:dogs=1 ");
    o.min_count = 9;
    assert_error(vocabulary_build(&f->ws, &o, &report, err), "--min-count");
    assert_table(&f->ws, "0:dog=3 1:cat=2 2:beach=2 3:dogs=1 "); // a failure changes nothing
}

static void a_changed_vocabulary_drops_what_hangs_on_it(void **state)
{
    Fixture *f = *state;
    put_caption(&f->ws, 1, "A dog and a dog and a cat .", true);
    VocabularyOptions o = {.min_count = 1};
    VocabularyReport report;
    int64_t n;
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_ok(vc_db_exec(f->ws.db,
                         "INSERT INTO vector_file VALUES(1, 'concept', 'c', 2, NULL), (1, 'image', 'i', 1, NULL);"
                         "UPDATE image SET row = 0, status = 2; INSERT INTO image_concept VALUES(1, 0, 0, 100)",
                         err));
    // Other captions, the same concepts in the same order: counts change, vectors hold.
    put_caption(&f->ws, 1, "A dog .", true);
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_false(report.dropped_vectors);
    assert_table(&f->ws, "0:dog=3 1:cat=1 ");
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM image_concept", 0, &n, err));
    assert_int_equal(n, 1);
    put_caption(&f->ws, 1, "A horse .", true);
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_true(report.dropped_vectors);
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM image_concept", 0, &n, err));
    assert_int_equal(n, 0);
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM vector_file", 0, &n, err));
    assert_int_equal(n, 1); // the images keep their vectors
    assert_ok(vc_db_int(f->ws.db, "SELECT status FROM image", 0, &n, err));
    assert_int_equal(n, 1);
}

static void a_file_gives_its_own_order(void **state)
{
    Fixture *f = *state;
    char *path = vc_path_join(f->folder, "words");
    const char *const files[] = {path};
    VocabularyOptions o = {.min_count = 2, .files = files, .file_count = 1};
    VocabularyReport report;
    static const char lines[] = "\xEF\xBB\xBF zebra \r\n\n dog\ncaf\xC3\xA9\ndog\nhot dog";
    assert_ok(vc_write_file(path, lines, sizeof lines - 1, err));
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:zebra=0 1:dog=0 2:caf\xC3\xA9=0 3:hot dog=0 ");
    static const char list[] = " [\"b\", \"a\\u00e9\"]";
    assert_ok(vc_write_file(path, list, sizeof list - 1, err));
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:b=0 1:a\xC3\xA9=0 ");
    static const char *const bad[] = {"", " \n\n", "[]", "[1]", "[\"a\"", "dog\n\xFF\xFE\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(vc_write_file(path, bad[i], strlen(bad[i]), err));
        assert_error(vocabulary_build(&f->ws, &o, &report, err), path);
        assert_table(&f->ws, "0:b=0 1:a\xC3\xA9=0 ");
    }
    bool from_file, found;
    assert_ok(vocabulary_settings(&f->ws, &o, &from_file, &found, err));
    assert_true(found && from_file);
    free(path);
}

static void several_files_are_put_together(void **state)
{
    Fixture *f = *state;
    char *one = vc_path_join(f->folder, "one"), *two = vc_path_join(f->folder, "two");
    const char *const files[] = {one, two};
    VocabularyOptions o = {.min_count = 9, .files = files, .file_count = 2};
    VocabularyReport report;
    assert_ok(vc_write_file(one, "cat\t5\ndog\t7\n", 12, err));
    static const char counts[] = "{\"owl\": 6, \"cat\": 4, \"dog\": 0, \"ant\": 6}";
    assert_ok(vc_write_file(two, counts, sizeof counts - 1, err));
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:cat=9 1:dog=7 2:owl=6 3:ant=6 "); // sums, ties by first sighting, no threshold
    assert_ok(vc_write_file(two, "owl\ncat\n", 8, err));      // without counts: the order of the files
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:cat=0 1:dog=0 2:owl=0 ");
    static const char *const bad[] = {"cat\t5\ndog\n", "cat\tx\n", "cat\t-1\n", "{\"a\": \"b\"}",
                                      "cat\t5000000000000000000000\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const one_file[] = {two};
        const VocabularyOptions b = {.min_count = 1, .files = one_file, .file_count = 1};
        assert_ok(vc_write_file(two, bad[i], strlen(bad[i]), err));
        assert_error(vocabulary_build(&f->ws, &b, &report, err), two);
    }
    free(one);
    free(two);
}

static void counts_of_others_are_added_before_the_threshold(void **state)
{
    Fixture *f = *state;
    char *file = vc_path_join(f->folder, "others"), *dir = vc_path_join(f->folder, "second");
    VcWorkspace second;
    VocabularyReport report;
    assert_ok(vc_workspace_open(&second, dir, VC_DB_CREATE, err));
    put_caption(&second, 1, "A dog and a dog and a cat .", true);
    const VocabularyOptions all = {.min_count = 1};
    assert_ok(vocabulary_build(&second, &all, &report, err));
    vc_workspace_close(&second);
    put_caption(&f->ws, 1, "A horse and a cat .", true);
    assert_ok(vc_write_file(file, "horse\t4\nowl\t2\n", 15, err));
    const char *const merge[] = {file, dir};
    VocabularyOptions o = {.min_count = 2, .merge = merge, .merge_count = 2};
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:horse=5 1:cat=2 2:owl=2 3:dog=2 ");
    bool fixed, found;
    assert_ok(vocabulary_settings(&f->ws, &o, &fixed, &found, err));
    assert_true(found && fixed);
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_true(report.unchanged);
    assert_ok(vc_write_file(file, "horse\n", 6, err));
    assert_error(vocabulary_build(&f->ws, &o, &report, err), "no count");
    free(file);
    free(dir);
}

static void rules_cut_and_say_what(void **state)
{
    Fixture *f = *state;
    char *stop = vc_path_join(f->folder, "stop"), *cut = vc_path_join(f->folder, "cut");
    put_caption(&f->ws, 1, "A dog and a skateboarder on the beach .", true);
    put_caption(&f->ws, 2, "A dog and a skateboarder on the beach with an ox .", true);
    put_caption(&f->ws, 3, "An ox and a cat .", true);
    assert_ok(vc_write_file(stop, "beach\n", 6, err));
    VocabularyOptions o = {.min_count = 2, .stop = stop, .min_length = 3, .max_length = 10, .cut = cut};
    VocabularyReport report;
    assert_ok(vocabulary_build(&f->ws, &o, &report, err));
    assert_table(&f->ws, "0:dog=2 ");
    assert_int_equal(report.distinct, 5);
    assert_int_equal(report.cut[VOCABULARY_RARE], 1);
    char *text;
    size_t n;
    assert_ok(vc_read_file(&text, &n, cut, 1000, err));
    assert_string_equal(text, "skateboarder\t2\tlong\nbeach\t2\tstop\nox\t2\tshort\ncat\t1\trare\n");
    free(text);
    o.min_length = 5;
    assert_error(vocabulary_build(&f->ws, &o, &report, err), "ruled out");
    free(stop);
    free(cut);
}

static void case_is_the_originals_unless_asked(void **state)
{
    Fixture *f = *state;
    put_caption(&f->ws, 1, "Two Dogs on the beach .", true);
    VocabularyOptions o = {.min_count = 1, .attributes = true};
    VocabularyReport report;
    static const char *const expected[] = {"0:dogs=1 1:beach=1 2:Dogs Two=1 ", "0:dogs=1 1:beach=1 2:dogs two=1 ",
                                           "0:Dogs=1 1:beach=1 2:Dogs Two=1 "};
    for (int i = 0; i < 3; i++) {
        o.letter_case = (VocabularyCase)i;
        assert_ok(vocabulary_build(&f->ws, &o, &report, err));
        assert_table(&f->ws, expected[i]);
    }
}

static void plurals_join_singulars_that_were_seen(void **state)
{
    (void)state;
    static const char *const seen[] = {
        "dogs",           "dog",     "men",          "man",         "glass",  "glas",
        "knives",         "knife",   "babies",       "baby",        "people", "ice cream cones",
        "ice cream cone", "boxes",   "box",          "trousers",    "buses",  "bus",
        "firemen",        "fireman", "young people", "young person"};
    VocabularyCounter *c = vocabulary_counter_create();
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        vocabulary_counter_add(c, seen[i], strlen(seen[i]), VOCABULARY_OBJECT);
    vocabulary_counter_add(c, "dogs Two", 8, VOCABULARY_ATTRIBUTE);
    vocabulary_counter_merge_plurals(c);
    VocabularyEntry *entries;
    VcStr out = {0};
    size_t n = vocabulary_counter_select(c, 1, &entries);
    for (size_t i = 0; i < n; i++)
        vc_str_putf(&out, "%s=%lld ", entries[i].text, (long long)entries[i].count);
    assert_string_equal(out.data, "dog=2 man=2 knife=2 baby=2 ice cream cone=2 box=2 bus=2 fireman=2 young person=2 "
                                  "glass=1 glas=1 people=1 trousers=1 dogs Two=1 ");
    free(entries);
    vc_str_finish(&out);
    vocabulary_counter_destroy(&c);
}

static void a_workspace_without_captions_says_so(void **state)
{
    Fixture *f = *state;
    VocabularyOptions o = {.min_count = 2};
    VocabularyReport report;
    assert_error(vocabulary_build(&f->ws, &o, &report, err), "no caption");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(min_count_is_the_originals_threshold_plus_2),
        cmocka_unit_test(falling_count_then_first_sighting),
        cmocka_unit_test(many_texts_are_all_counted),
        cmocka_unit_test_setup_teardown(the_table_holds_ranks_from_0, setup, teardown),
        cmocka_unit_test_setup_teardown(a_changed_vocabulary_drops_what_hangs_on_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_gives_its_own_order, setup, teardown),
        cmocka_unit_test_setup_teardown(several_files_are_put_together, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_of_others_are_added_before_the_threshold, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_cut_and_say_what, setup, teardown),
        cmocka_unit_test_setup_teardown(case_is_the_originals_unless_asked, setup, teardown),
        cmocka_unit_test(plurals_join_singulars_that_were_seen),
        cmocka_unit_test_setup_teardown(a_workspace_without_captions_says_so, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
