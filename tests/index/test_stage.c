// SPDX-License-Identifier: MIT
// The index stage on a small workspace whose every row is known.
#include "base/file.h"
#include "base/rng.h"
#include "base/workspace.h"
#include "index/index.h"
#include "tests/support/test.h"

#include <signal.h>
#include <sys/wait.h>

// 4 specials and [MASK], then pieces; ids by line.
static const char vocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\ndog\n##s\ncat\nrun\n##ning\nfast\nblue\n.\n";
static const char *const concept_text[] = {"dog", "red cat", "Dogs.", "xyz"};

static void sql(VcWorkspace *ws, const char *text)
{
    assert_ok(vc_db_exec(ws->db, text, err));
}

// Images first..last, each with captions and concepts that follow from its number: image i has a JPEG of 100 + i
// bytes, (i % 3) + 1 captions when `several`, and min(i % 20, 4) concepts, one at least.
static void add_images(VcWorkspace *ws, int first, int last, bool several)
{
    char *images = vc_workspace_path(ws, "images"), *tar = vc_workspace_path(ws, "images/00000.tar");
    VcErr e;
    assert_ok(vc_make_dirs(images, err));
    FILE *f = fopen(tar, "ab");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    VcStr s = {0};
    if (!vc_db_begin(ws->db, &e))
        fail_msg("%s", e.text);
    for (int i = first; i <= last; i++) {
        long offset = ftell(f);
        for (int k = 0; k < 100 + i; k++)
            fputc(k == 0 ? 0xFF : k == 1 ? 0xD8 : (i * 7 + k) & 0xFF, f);
        vc_str_clear(&s);
        vc_str_putf(
            &s,
            "INSERT INTO image(image_id, source_id, key, width, height, status) VALUES(%d, 1, 'k%d', %d, %d, 2);"
            "INSERT INTO image_file VALUES(%d, 0, %ld, %d);",
            i, i, 640 + i, 480, i, offset, 100 + i);
        for (int c = 0; c < (several ? i % 3 + 1 : 1); c++)
            vc_str_putf(&s, "INSERT INTO caption(image_id, text) VALUES(%d, 'A red, DOG #%d runs.');", i, c);
        for (int c = 0; c < (i % 4 > 0 ? i % 4 : 1); c++)
            vc_str_putf(&s, "INSERT INTO image_concept VALUES(%d, %d, %d, %d);", i, c, (c + i) % 4, 9000 - 10 * c);
        sql(ws, s.data);
    }
    if (!vc_db_commit(ws->db, &e))
        fail_msg("%s", e.text);
    assert_int_equal(fclose(f), 0);
    vc_str_finish(&s);
    free(images);
    free(tar);
}

static void make_workspace(VcWorkspace *ws, const char *dir, int images, bool several)
{
    assert_ok(vc_workspace_open(ws, dir, VC_DB_CREATE, err));
    sql(ws, "INSERT INTO source(source_id, name) VALUES(1, 's');"
            "INSERT INTO model(model_id, name, dim, weights_sha256) VALUES(1, 'tiny', 8, x'abcd');"
            "INSERT INTO run(run_id, model_id, k, settings) VALUES(1, 1, 15, '{}');"
            "UPDATE meta SET value = '1' WHERE key = 'created';"
            "INSERT INTO meta VALUES('active_run', '1'), ('vocabulary_sha256', 'beef');");
    for (int c = 0; c < 4; c++) {
        VcStr s = {0};
        vc_str_putf(&s, "INSERT INTO concept(concept_id, text) VALUES(%d, '%s')", c, concept_text[c]);
        sql(ws, s.data);
        vc_str_finish(&s);
    }
    if (images > 0)
        add_images(ws, 1, images, several);
    char *path = vc_path_join(dir, "vocab.txt");
    assert_ok(vc_write_file(path, vocabulary, sizeof vocabulary - 1, err));
    free(path);
}

static bool run(VcWorkspace *ws, IndexStageOptions o, IndexStageReport *report, VcErr *err)
{
    char *vocab = vc_workspace_path(ws, "vocab.txt");
    o.vocabulary = o.vocabulary != NULL ? o.vocabulary : vocab;
    o.shard_size = o.shard_size > 0 ? o.shard_size : 4096;
    o.max_concepts = o.max_concepts > 0 ? o.max_concepts : o.max_concepts < 0 ? 0 : 15; // -1: none
    bool ok = index_stage_run(ws, &o, report, err);
    free(vocab);
    return ok;
}

static void check_ids(IndexInts got, const int32_t *expected, size_t n)
{
    assert_int_equal(got.count, n);
    if (n > 0)
        assert_memory_equal(got.data, expected, 4 * n);
}

static IndexReader *open_records(VcWorkspace *ws, const char *name)
{
    char *dir = vc_workspace_path(ws, name);
    IndexReader *r = NULL;
    const IndexReaderOptions o = {.crc = true, .hash = true, .vocabulary = 15};
    assert_int_equal(index_set_vocabulary(dir), 15);
    assert_ok(index_reader_open(&r, dir, &o, err));
    free(dir);
    return r;
}

// Without concepts nothing needs to be mined: the records a first CLIP is trained on.
static void test_without_concepts(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    VcWorkspace ws;
    IndexStageReport report;
    make_workspace(&ws, dir, 8, false);
    sql(&ws, "UPDATE image SET status = 0; UPDATE image SET status = 1 WHERE image_id = 3;"
             "UPDATE image SET status = -2 WHERE image_id = 5; DELETE FROM image_file WHERE image_id = 6;"
             "DELETE FROM image_concept; DELETE FROM concept; DELETE FROM meta WHERE key = 'active_run';");
    assert_error(run(&ws, (IndexStageOptions){0}, &report, err), "has concepts");
    assert_ok(run(&ws, (IndexStageOptions){.max_concepts = -1}, &report, err));
    assert_int_equal(report.records, 6); // not the rejected one, not the one that was never stored
    assert_int_equal(report.no_concepts + report.not_mined, 0);
    IndexReader *r = open_records(&ws, "records");
    IndexRecord rec;
    assert_ok(index_reader_get(r, 5, &rec, err));
    assert_int_equal(rec.image_id, 8);
    assert_int_equal(rec.concept_ids.count, 0);
    assert_int_equal(rec.caption_ids.count, 7);
    index_reader_close(&r);
    vc_workspace_close(&ws);
    test_temp_remove(&dir);
}

static void test_records(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    VcWorkspace ws;
    IndexStageReport report;
    make_workspace(&ws, dir, 50, true);
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err));
    assert_int_equal(report.records, 50);
    assert_int_equal(report.added, 50);
    assert_true(report.shards > 3);
    IndexReader *r = open_records(&ws, "records");
    for (int i = 1; i <= 50; i++) {
        IndexRecord rec;
        assert_ok(index_reader_get(r, (uint64_t)(i - 1), &rec, err));
        assert_int_equal(rec.image_id, i);
        assert_int_equal(rec.image_bytes, 100 + i);
        assert_int_equal(rec.image[2], (i * 7 + 2) & 0xFF);
        assert_int_equal(rec.source_width, 640 + i);
        assert_int_equal(rec.source_height, 480);
        assert_int_equal(rec.caption.size, 19);
        assert_memory_equal(rec.caption.data, "A red, DOG #0 runs.", 19);
        static const char *const lists[] = {
            "[\"A red, DOG #0 runs.\"]", "[\"A red, DOG #0 runs.\", \"A red, DOG #1 runs.\"]",
            "[\"A red, DOG #0 runs.\", \"A red, DOG #1 runs.\", \"A red, DOG #2 runs.\"]"};
        assert_int_equal(rec.captions.size, strlen(lists[i % 3]));
        assert_memory_equal(rec.captions.data, lists[i % 3], rec.captions.size);
        int32_t ids[21], lens[3] = {7, 7, 7};
        for (int c = 0; c < 3; c++) // [CLS] a red dog [UNK]=0..2 run ##s; '#' and '.' are cleaned away
            memcpy(ids + 7 * c, (int32_t[]){2, 5, 6, 7, 1, 10, 8}, 28);
        check_ids(rec.caption_ids, ids, 7 * (size_t)(i % 3 + 1));
        check_ids(rec.caption_lens, lens, (size_t)(i % 3 + 1));
        static const int32_t tokens[4][3] = {{7}, {6, 9}, {7, 8, 14}, {1}}, counts[4] = {1, 2, 3, 1};
        int32_t cid[4], clen[4], ctok[12];
        size_t n = (size_t)(i % 4 > 0 ? i % 4 : 1), t = 0;
        for (size_t c = 0; c < n; c++) {
            cid[c] = (int32_t)(c + (size_t)i) % 4;
            clen[c] = counts[cid[c]];
            memcpy(ctok + t, tokens[cid[c]], 4 * (size_t)clen[c]);
            t += (size_t)clen[c];
            assert_close(index_float_at(rec.concept_scores, c), (9000 - 10 * (double)c) / 32767, 1e-7);
        }
        check_ids(rec.concept_ids, cid, n);
        check_ids(rec.concept_lens, clen, n);
        check_ids(rec.concept_tokens, ctok, t);
    }
    IndexRecord rec;
    assert_ok(index_reader_get(r, 1, &rec, err));
    assert_memory_equal(rec.concepts.data, "[\"Dogs.\", \"xyz\"]", rec.concepts.size);
    index_reader_close(&r);
    vc_workspace_close(&ws);
    test_temp_remove(&dir);
}

static char *read_records(VcWorkspace *ws, const char *name, size_t *n)
{
    char *path = vc_workspace_path(ws, name), *text;
    assert_ok(vc_read_file(&text, n, path, 1 << 24, err));
    free(path);
    return text;
}

static void test_again_and_append(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    VcWorkspace ws;
    IndexStageReport report;
    make_workspace(&ws, dir, 40, false);
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err));
    size_t n, m;
    char *index = read_records(&ws, "records/index.json", &n),
         *first = read_records(&ws, "records/shard.00000.mds", &m);
    assert_null(strstr(index, "\"captions\"")); // one caption an image: no such column
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err));
    assert_int_equal(report.added, 0);
    assert_int_equal(report.records, 40);
    size_t k;
    char *again = read_records(&ws, "records/index.json", &k);
    assert_int_equal(n, k);
    assert_memory_equal(index, again, n);
    free(again);
    add_images(&ws, 41, 60, false);
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err));
    assert_int_equal(report.added, 20);
    assert_int_equal(report.records, 60);
    again = read_records(&ws, "records/shard.00000.mds", &k);
    assert_int_equal(k, m);
    assert_memory_equal(first, again, k);
    free(again);
    free(first);
    free(index);
    IndexReader *r = open_records(&ws, "records");
    assert_int_equal(index_reader_total(r), 60);
    index_reader_close(&r);

    assert_error(run(&ws, (IndexStageOptions){.max_concepts = 3}, &report, err), "max_concepts (15 then, 3 now)");
    assert_error(run(&ws, (IndexStageOptions){.shard_size = 5000}, &report, err), "shard_size (4096 then, 5000 now)");
    assert_error(run(&ws, (IndexStageOptions){.zlib = true}, &report, err), "compression");
    sql(&ws, "UPDATE meta SET value = 'cafe' WHERE key = 'vocabulary_sha256'");
    assert_error(run(&ws, (IndexStageOptions){0}, &report, err), "concept_vocabulary_sha256 (\"beef\" then, \"cafe\"");
    assert_ok(run(&ws, (IndexStageOptions){.rebuild = true, .max_concepts = 1}, &report, err));
    assert_int_equal(report.added, 60);
    r = open_records(&ws, "records");
    IndexRecord rec;
    assert_ok(index_reader_get(r, 2, &rec, err));
    assert_int_equal(rec.concept_ids.count, 1);
    index_reader_close(&r);
    vc_workspace_close(&ws);
    test_temp_remove(&dir);
}

static void expect_error_column(VcWorkspace *ws, int id, const char *words)
{
    VcStmt *stmt;
    bool row;
    assert_ok(vc_db_prepare(ws->db, &stmt, "SELECT coalesce(error, '') FROM image WHERE image_id = ?1", err));
    vc_bind_int(stmt, 1, id);
    assert_ok(vc_stmt_step(stmt, &row, err));
    if (strstr(vc_column_text(stmt, 0), words) == NULL)
        fail_msg("error of image %d is '%s'", id, vc_column_text(stmt, 0));
    if (*words == 0)
        assert_string_equal(vc_column_text(stmt, 0), "");
    vc_stmt_finish(&stmt);
}

static void test_left_out(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    VcWorkspace ws;
    IndexStageReport report;
    make_workspace(&ws, dir, 0, false);
    assert_error(run(&ws, (IndexStageOptions){0}, &report, err), "run 'vicha extract SOURCE' first");
    add_images(&ws, 1, 20, false);
    sql(&ws, "UPDATE image SET status = 1");
    assert_error(run(&ws, (IndexStageOptions){0}, &report, err), "run 'vicha concepts --clip MODEL' first");
    sql(&ws, "UPDATE image SET status = 2;"
             "UPDATE image SET status = 1 WHERE image_id IN (3, 4);"
             "UPDATE image SET status = -5 WHERE image_id = 5;"
             "DELETE FROM caption WHERE image_id = 6;"
             "UPDATE caption SET text = '...' WHERE image_id = 7;"
             "DELETE FROM image_concept WHERE image_id = 8;"
             "UPDATE image_file SET offset = 1 WHERE image_id = 9;"
             "UPDATE image_file SET shard = 77 WHERE image_id = 10;"
             "DELETE FROM image_file WHERE image_id = 11;");
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err));
    assert_int_equal(report.records, 11);
    assert_int_equal(report.not_mined, 2);
    assert_int_equal(report.no_caption, 2);
    assert_int_equal(report.no_concepts, 1);
    assert_int_equal(report.unreadable, 3);
    expect_error_column(&ws, 6, "index: no caption");
    expect_error_column(&ws, 7, "index: no caption");
    expect_error_column(&ws, 8, "index: no concepts");
    expect_error_column(&ws, 9, "no JPEG");
    expect_error_column(&ws, 10, "00077.tar");
    expect_error_column(&ws, 11, "number 11");
    size_t n;
    char *records = read_records(&ws, "records/records.json", &n);
    assert_non_null(strstr(records, "\"no_caption\": 2, \"no_concepts\": 1, \"not_mined\": 2, \"unreadable\": 3"));
    free(records);
    sql(&ws, "UPDATE caption SET text = 'a dog' WHERE image_id = 7; UPDATE image SET status = 2 WHERE image_id = 3");
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err)); // mended ones are appended and lose their mark
    assert_int_equal(report.added, 2);
    assert_int_equal(report.no_caption, 1);
    expect_error_column(&ws, 7, "");
    IndexReader *r = open_records(&ws, "records");
    uint64_t at;
    assert_true(index_reader_find(r, 7, &at));
    assert_false(index_reader_find(r, 6, &at));
    index_reader_close(&r);
    sql(&ws, "DELETE FROM caption");
    assert_error(run(&ws, (IndexStageOptions){.rebuild = true}, &report, err), "left out");
    vc_workspace_close(&ws);
    test_temp_remove(&dir);
}

static void test_splits(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    VcWorkspace ws;
    IndexStageReport report;
    make_workspace(&ws, dir, 30, false);
    assert_error(run(&ws, (IndexStageOptions){.split = "val"}, &report, err), "no splits");
    assert_ok(run(&ws, (IndexStageOptions){0}, &report, err));
    sql(&ws, "INSERT INTO split SELECT image_id, CASE WHEN image_id % 5 = 0 THEN 'val' ELSE 'train' END FROM image "
             "WHERE image_id <= 20");
    assert_error(run(&ws, (IndexStageOptions){0}, &report, err), "--rebuild");
    assert_ok(run(&ws, (IndexStageOptions){.rebuild = true}, &report, err));
    assert_int_equal(report.sets, 2);
    assert_int_equal(report.records, 30);
    IndexReader *train = open_records(&ws, "records/train"), *val = open_records(&ws, "records/val");
    assert_int_equal(index_reader_total(val), 4);
    assert_int_equal(index_reader_total(train), 26); // 16 named, 10 in no split
    uint64_t at;
    assert_true(index_reader_find(val, 15, &at));
    assert_true(index_reader_find(train, 25, &at));
    index_reader_close(&train);
    index_reader_close(&val);
    char **sets, *records = vc_workspace_path(&ws, "records");
    size_t count;
    assert_ok(index_find_sets(records, &sets, &count, err));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        free(sets[i]);
    free(sets);
    free(records);
    assert_error(run(&ws, (IndexStageOptions){.split = "test"}, &report, err), "'test'");
    assert_ok(run(&ws, (IndexStageOptions){.split = "val"}, &report, err));
    assert_int_equal(report.records, 4);
    sql(&ws, "UPDATE split SET name = '../x' WHERE image_id = 1");
    assert_error(run(&ws, (IndexStageOptions){0}, &report, err), "cannot be the name of a folder");
    vc_workspace_close(&ws);
    test_temp_remove(&dir);
}

// Killed at moments of a seeded clock, again and again: the set is the undisturbed one, byte for byte.
static void test_killed(void **state)
{
    (void)state;
    char *whole = test_temp_folder(), *dir = test_temp_folder();
    VcWorkspace ws;
    IndexStageReport report;
    make_workspace(&ws, whole, 1500, true);
    assert_ok(run(&ws, (IndexStageOptions){.shard_size = 20000}, &report, err));
    vc_workspace_close(&ws);
    make_workspace(&ws, dir, 1500, true);
    vc_workspace_close(&ws);
    VcRng rng;
    vc_rng_seed(&rng, 11);
    int kills = 0, done = 0;
    for (int tries = 0; tries < 40 && !done; tries++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            VcErr err;
            bool ok = vc_workspace_open(&ws, dir, VC_DB_WRITE, &err) &&
                      run(&ws, (IndexStageOptions){.shard_size = 20000}, &report, &err);
            _exit(ok ? 0 : 1);
        }
        usleep((useconds_t)(1000 + vc_rng_below(&rng, 90000)));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        kills += WIFSIGNALED(status);
        done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        assert_true(WIFSIGNALED(status) || done);
    }
    assert_ok(vc_workspace_open(&ws, dir, VC_DB_WRITE, err)); // a slow machine never gets to the end between kills
    assert_ok(run(&ws, (IndexStageOptions){.shard_size = 20000}, &report, err));
    vc_workspace_close(&ws);
    print_message("killed %d times\n", kills);
    VcStr command = {0};
    vc_str_putf(&command, "diff -r '%s/records' '%s/records' >&2", whole, dir);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
    test_temp_remove(&dir);
    test_temp_remove(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),          cmocka_unit_test(test_without_concepts),
        cmocka_unit_test(test_again_and_append), cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_splits),           cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
