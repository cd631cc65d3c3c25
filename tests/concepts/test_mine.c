// SPDX-License-Identifier: MIT
// Mining against a plain double reference, ties, k over the number of concepts, going on, flat memory.
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/workspace.h"
#include "concepts/concepts.h"
#include "nn/nn.h"
#include "tests/support/test.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

enum { DIM = 24 };
static const uint8_t hash[32] = {5};

typedef struct {
    char *folder;
    VcWorkspace ws;
    VcPool *pool;
} Fixture;

static int setup(void **state)
{
    Fixture *f = vc_calloc(1, sizeof *f);
    f->folder = test_temp_folder();
    VcErr err = {0};
    if (!vc_workspace_open(&f->ws, f->folder, VC_DB_CREATE, &err))
        fail_msg("%s", err.text);
    f->pool = vc_pool_create(2);
    vc_log_set_level(VC_LOG_QUIET);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    vc_workspace_close(&f->ws);
    vc_pool_destroy(&f->pool);
    test_temp_remove(&f->folder);
    free(f);
    return 0;
}

static void write_vectors(Fixture *f, const char *kind, size_t from, size_t to, bool doubled, uint64_t seed)
{
    VcStr name = {0}, sql = {0};
    vc_str_putf(&name, "%s/vectors/%s-m.f16", f->folder, kind);
    char *folder = vc_path_join(f->folder, "vectors");
    assert_ok(vc_make_dirs(folder, err));
    free(folder);
    VectorsWriter *w;
    assert_ok(vectors_writer_open(&w, name.data, DIM, hash, from, err));
    for (size_t i = from; i < to; i++) {
        float x[DIM];
        VcRng rng;
        // doubled: rows 2j and 2j+1 are equal.
        vc_rng_seed(&rng, vc_mix_seed(seed, doubled ? i / 2 : i));
        for (size_t k = 0; k < DIM; k++)
            x[k] = (float)vc_rng_normal(&rng);
        assert_ok(vectors_writer_append(w, x, 1, err));
    }
    uint64_t rows;
    assert_ok(vectors_writer_sync(w, &rows, err));
    vectors_writer_close(&w);
    vc_str_putf(&sql, "INSERT OR REPLACE INTO vector_file VALUES(1, '%s', 'x', %zu, NULL)", kind, to);
    assert_ok(vc_db_exec(f->ws.db, sql.data, err));
    vc_str_finish(&name);
    vc_str_finish(&sql);
}

static void make_model(Fixture *f)
{
    VcStmt *stmt;
    assert_ok(vc_db_prepare(f->ws.db, &stmt, "INSERT INTO model VALUES(1, 'm', ?1, ?2, '{}')", err));
    vc_bind_int(stmt, 1, DIM);
    vc_bind_blob(stmt, 2, hash, 32);
    assert_ok(vc_stmt_run(stmt, err));
    vc_stmt_finish(&stmt);
    assert_ok(vc_meta_set(&f->ws, "active_model", "1", err));
    assert_ok(vc_db_exec(f->ws.db, "INSERT INTO source VALUES(1, 's', '', NULL, 0)", err));
}

static void make_concepts(Fixture *f, size_t n, bool doubled)
{
    VcStr sql = {0};
    vc_str_putf(&sql,
                "DELETE FROM concept; WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %zu)"
                " INSERT INTO concept(concept_id, text, freq) SELECT i, 'c' || i, 1 FROM n",
                n);
    assert_ok(vc_db_exec(f->ws.db, sql.data, err));
    vc_str_finish(&sql);
    write_vectors(f, "concept", 0, n, doubled, 77);
}

// Images [from, to) with number 10 + i and vector i.
static void make_images(Fixture *f, size_t from, size_t to)
{
    VcStr sql = {0};
    vc_str_putf(&sql,
                "WITH RECURSIVE n(i) AS (SELECT %zu UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %zu)"
                " INSERT INTO image(image_id, row, source_id, key, status) SELECT i + 10, i, 1, 'k' || i, 1 FROM n",
                from, to);
    assert_ok(vc_db_exec(f->ws.db, sql.data, err));
    vc_str_finish(&sql);
    write_vectors(f, "image", from, to, false, 3);
}

static void read_all(Fixture *f, const char *kind, size_t n, double *out)
{
    VcStr name = {0};
    vc_str_putf(&name, "%s/vectors/%s-m.f16", f->folder, kind);
    VectorsReader *r;
    assert_ok(vectors_reader_open(&r, name.data, n, err));
    for (size_t i = 0; i < n; i++) {
        const uint16_t *row = vectors_reader_row(r, i);
        double sum = 0;
        for (size_t k = 0; k < DIM; k++) {
            out[i * DIM + k] = (double)nn_f16_to_f32(row[k]);
            sum += out[i * DIM + k] * out[i * DIM + k];
        }
        for (size_t k = 0; k < DIM; k++)
            out[i * DIM + k] /= sqrt(sum);
    }
    vectors_reader_close(&r);
    vc_str_finish(&name);
}

// Every stored row against the double reference: rank r holds a score that is the r-th best within rounding, scores are
// of the concept they name, and of two equal vectors the lower number comes first.
static void check_against_reference(Fixture *f, size_t images, size_t concepts, size_t k, bool doubled)
{
    double *x = vc_alloc(images * DIM, sizeof *x), *c = vc_alloc(concepts * DIM, sizeof *c);
    double *score = vc_alloc(concepts, sizeof *score);
    bool *taken = vc_alloc(concepts, sizeof *taken);
    read_all(f, "image", images, x);
    read_all(f, "concept", concepts, c);
    VcStmt *stmt;
    assert_ok(vc_db_prepare(
        f->ws.db, &stmt, "SELECT rank, concept_id, score FROM image_concept WHERE image_id = ?1 ORDER BY rank", err));
    for (size_t i = 0; i < images; i++) {
        for (size_t j = 0; j < concepts; j++) {
            score[j] = 0;
            for (size_t d = 0; d < DIM; d++)
                score[j] += x[i * DIM + d] * c[j * DIM + d];
            taken[j] = false;
        }
        vc_bind_int(stmt, 1, (int64_t)i + 10);
        for (size_t r = 0; r < k; r++) {
            bool row;
            assert_ok(vc_stmt_step(stmt, &row, err));
            assert_true(row);
            size_t id = (size_t)vc_column_int(stmt, 1), best = concepts;
            for (size_t j = 0; j < concepts; j++)
                if (!taken[j] && (best == concepts || score[j] > score[best]))
                    best = j;
            assert_int_equal(vc_column_int(stmt, 0), r);
            assert_true(id < concepts && !taken[id]);
            assert_close(score[id], score[best], 1e-6);
            assert_true(llabs((long long)vc_column_int(stmt, 2) - llround(score[id] * 32767)) <= 1);
            if (doubled && id % 2 == 1)
                assert_true(taken[id - 1]);
            taken[id] = true;
        }
        bool row;
        assert_ok(vc_stmt_step(stmt, &row, err));
        assert_false(row);
    }
    vc_stmt_finish(&stmt);
    free(x);
    free(c);
    free(score);
    free(taken);
}

static void top_k_is_the_sorted_head(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (int round = 0; round < 300; round++) {
        float scores[50], best[50];
        uint32_t ids[50];
        size_t n = 1 + vc_rng_below(&rng, 50), k = 1 + vc_rng_below(&rng, n);
        for (size_t i = 0; i < n; i++)
            scores[i] = (float)vc_rng_below(&rng, 7) - 3; // many ties
        if (round % 5 == 0)
            scores[vc_rng_below(&rng, n)] = NAN;
        concepts_top_k(scores, n, k, ids, best);
        bool used[50] = {false};
        for (size_t r = 0; r < k; r++) {
            size_t want = n;
            for (size_t i = 0; i < n; i++) {
                float v = isnan(scores[i]) ? -INFINITY : scores[i];
                if (!used[i] && (want == n || v > (isnan(scores[want]) ? -INFINITY : scores[want])))
                    want = i;
            }
            assert_int_equal(ids[r], want);
            used[want] = true;
        }
    }
}

static void equals_a_plain_double_reference(void **state)
{
    Fixture *f = *state;
    make_model(f);
    make_concepts(f, 333, false);
    make_images(f, 0, 700); // more than two batches
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = 15, .settings = "{\"k\": 15}", .pool = f->pool};
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.images, 700);
    check_against_reference(f, 700, 333, 15, false);
    int64_t n;
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM image WHERE status = 2", 0, &n, err));
    assert_int_equal(n, 700);
    assert_ok(vc_db_int(f->ws.db, "SELECT sum(images) FROM concept_stat", 0, &n, err));
    assert_int_equal(n, 700 * 15);
    assert_ok(vc_db_int(f->ws.db, "SELECT sum(as_rank0) FROM concept_stat", 0, &n, err));
    assert_int_equal(n, 700);
    assert_ok(vc_db_int(f->ws.db,
                        "SELECT count(*) FROM concept_stat s WHERE (images, score_sum, score_max) <> (SELECT count(*),"
                        " sum(score), max(score) FROM image_concept c WHERE c.concept_id = s.concept_id)",
                        0, &n, err));
    assert_int_equal(n, 0);
    assert_ok(
        vc_db_int(f->ws.db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('ic_concept', 'ic_top')", 0, &n, err));
    assert_int_equal(n, 2);
    assert_ok(
        vc_db_int(f->ws.db, "SELECT finished >= started AND k = 15 AND json_valid(settings) FROM run", 0, &n, err));
    assert_int_equal(n, 1);
}

static void equal_scores_go_to_the_lower_number(void **state)
{
    Fixture *f = *state;
    make_model(f);
    make_concepts(f, 200, true);
    make_images(f, 0, 50);
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = 16, .pool = f->pool};
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    check_against_reference(f, 50, 200, 16, true);
}

static void fewer_concepts_than_k(void **state)
{
    Fixture *f = *state;
    make_model(f);
    make_concepts(f, 4, false);
    make_images(f, 0, 5);
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = 15, .pool = f->pool};
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.k, 4);
    check_against_reference(f, 5, 4, 4, false);
}

static char *dump(Fixture *f)
{
    VcStmt *stmt;
    VcStr out = {0};
    bool row;
    assert_ok(vc_db_prepare(f->ws.db, &stmt, "SELECT * FROM image_concept ORDER BY image_id, rank", err));
    for (;;) {
        assert_ok(vc_stmt_step(stmt, &row, err));
        if (!row)
            break;
        for (int i = 0; i < 4; i++)
            vc_str_putf(&out, "%lld ", (long long)vc_column_int(stmt, i));
    }
    vc_stmt_finish(&stmt);
    return out.data;
}

// Images that come later, a run stopped in the middle, other thread counts: the same rows as in one go.
static void going_on_gives_the_same_rows(void **state)
{
    Fixture *f = *state;
    ConceptsMineReport report;
    ConceptsMineOptions o = {.k = 7, .pool = f->pool};
    make_model(f);
    make_concepts(f, 150, false);
    make_images(f, 0, 2600);
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    char *whole = dump(f);

    assert_ok(vc_db_exec(f->ws.db,
                         "DELETE FROM image_concept; DELETE FROM concept_stat; DELETE FROM run; DELETE FROM image;"
                         "DELETE FROM meta WHERE key = 'active_run'",
                         err));
    make_images(f, 0, 101);
    o.pool = NULL;
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.images, 101);
    make_images(f, 101, 2600);
    vc_interrupt_raise(2);
    assert_error(concepts_mine(&f->ws, &o, &report, err), "interrupted");
    vc_interrupt_raise(0);
    assert_true(report.images > 0 && report.images < 2499);
    int64_t done = report.images;
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.images, 2499 - done);
    char *parts = dump(f);
    assert_string_equal(whole, parts);
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.images, 0);
    int64_t runs;
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM run", 0, &runs, err));
    assert_int_equal(runs, 1);
    o.k = 3; // another run takes the place of this one
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.images, 2600);
    check_against_reference(f, 2600, 150, 3, false);
    free(whole);
    free(parts);
}

static void removed_concepts_are_not_mined(void **state)
{
    Fixture *f = *state;
    int64_t n;
    make_model(f);
    make_concepts(f, 20, false);
    make_images(f, 0, 5);
    assert_ok(vc_db_exec(f->ws.db, "UPDATE concept SET removed = 1 WHERE concept_id IN (0, 7, 19)", err));
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = 15, .pool = f->pool};
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM image_concept WHERE concept_id IN (0, 7, 19)", 0, &n, err));
    assert_int_equal(n, 0);
    assert_int_equal(report.concepts, 17);
}

static void what_is_missing_is_named(void **state)
{
    Fixture *f = *state;
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = 15, .pool = f->pool};
    assert_error(concepts_mine(&f->ws, &o, &report, err), "concepts embed");
    make_model(f);
    make_images(f, 0, 5);
    assert_error(concepts_mine(&f->ws, &o, &report, err), "concepts parse");
    make_concepts(f, 20, false);
    assert_ok(vc_db_exec(f->ws.db, "INSERT INTO concept(concept_id, text) VALUES(20, 'late')", err));
    assert_error(concepts_mine(&f->ws, &o, &report, err), "20 of 21 concepts");
    assert_ok(vc_db_exec(f->ws.db, "DELETE FROM concept WHERE concept_id = 20", err));
    char *path = vc_path_join(f->folder, "vectors/image-m.f16");
    assert_int_equal(truncate(path, 4100), 0);
    assert_error(concepts_mine(&f->ws, &o, &report, err), path);
    free(path);
}

// Ten times the images must not need more memory. SQLite's page cache is bounded by its own setting; the test makes it
// small and turns mapping off, so that what is left to grow would be ours.
static void memory_does_not_grow_with_images(void **state)
{
#ifdef SANITIZED
    skip(); // the sanitizer keeps freed memory
#endif
    Fixture *f = *state;
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = 15, .pool = f->pool};
    assert_ok(vc_db_exec(f->ws.db, "PRAGMA cache_size = -2048; PRAGMA mmap_size = 0", err));
    make_model(f);
    make_concepts(f, 1000, false);
    make_images(f, 0, 2000);
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    uint64_t small = vc_peak_rss();
    make_images(f, 2000, 22000);
    assert_ok(concepts_mine(&f->ws, &o, &report, err));
    assert_int_equal(report.images, 20000);
    uint64_t large = vc_peak_rss();
    if (large - small > (uint64_t)6 << 20) // the vectors' own pages and the index sorter: 20,000 x (64 + 15 x 16) bytes
        fail_msg("peak memory grew from %llu to %llu bytes", (unsigned long long)small, (unsigned long long)large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_k_is_the_sorted_head),
        cmocka_unit_test_setup_teardown(equals_a_plain_double_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_scores_go_to_the_lower_number, setup, teardown),
        cmocka_unit_test_setup_teardown(fewer_concepts_than_k, setup, teardown),
        cmocka_unit_test_setup_teardown(going_on_gives_the_same_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(removed_concepts_are_not_mined, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_does_not_grow_with_images, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
