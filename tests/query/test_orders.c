// SPDX-License-Identifier: MIT
// Orders of pages, with and without scores, in a workspace where they are long: more captions than are ranked, more
// images than are looked up one by one. A judge that knows the workspace by its formula says what every page must be.
#include "base/rng.h"
#include "concepts/concepts.h"
#include "query/query.h"
#include "tests/support/test.h"

// Image i (1 ... IMAGES): every tenth has no row, every 13th is rejected, concept "all" is in all mined ones and
// "fourth" in every fourth. Captions stand in another order than the images; every fifth image has a later one.
enum { IMAGES = 30011, STEP = 7919, LATER = IMAGES / 5, CAPTIONS = IMAGES + LATER, PAGE = 50 };

static int64_t caption_image(int64_t caption)
{
    return caption <= IMAGES ? caption * STEP % IMAGES + 1 : (caption - IMAGES) * 5;
}

static bool has_word(int64_t caption, const char *word)
{
    const int64_t i = caption_image(caption);
    const bool later = caption > IMAGES;
    return strcmp(word, "every") == 0   ? true
           : strcmp(word, "later") == 0 ? later
           : strcmp(word, "odd") == 0   ? i % 2 == 1
           : strcmp(word, "third") == 0 ? !later && i % 3 == 0
                                        : !later && i % 11 == 0; // rare
}

static bool alive(int64_t i)
{
    return i % 13 != 0;
}

static bool mined(int64_t i)
{
    return i % 10 != 0;
}

static char *make(bool turned)
{
    char *dir = test_temp_folder();
    VcWorkspace ws = {0};
    VcStr sql = {0};
    assert_ok(vc_workspace_open(&ws, dir, VC_DB_CREATE, err));
    // Rows rise with the images, or fall.
    vc_str_putf(&sql,
                "BEGIN; INSERT INTO source(source_id, name) VALUES(1, 'one'), (2, 'two');"
                "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                " SELECT i FROM n;"
                "INSERT INTO image(image_id, row, source_id, key, status) SELECT i, iif(i %% 10, %s, NULL),"
                " 1 + (i > %d), 'k' || i, iif(i %% 13, iif(i %% 10, 2, 0), -20) FROM n;"
                "INSERT INTO caption(caption_id, image_id, text) SELECT i, i * %d %% %d + 1,"
                " 'every' || iif(x %% 2, ' odd', '') || iif(x %% 3, '', ' third') || iif(x %% 11, '', ' rare')"
                " FROM (SELECT i, i * %d %% %d + 1 AS x FROM n);"
                "INSERT INTO caption(caption_id, image_id, text) SELECT %d + i, i * 5,"
                " 'every later' || iif(i * 5 %% 2, ' odd', '') FROM n WHERE i <= %d;"
                "INSERT INTO concept(concept_id, text, freq) VALUES(0, 'all', 9), (1, 'fourth', 8);"
                "INSERT INTO image_concept SELECT i, 0, 0, 9000 - i %% 100 FROM n WHERE i %% 10;"
                "INSERT INTO image_concept SELECT i, 1, 1, 5000 FROM n WHERE i %% 10 AND i %% 4 = 0;"
                "INSERT INTO concept_stat SELECT concept_id, count(*), sum(score), max(score), total(rank = 0)"
                " FROM image_concept GROUP BY 1;"
                "INSERT INTO model(model_id, name, dim) VALUES(1, 'made', 8);"
                "INSERT INTO run(run_id, model_id, k, started, finished, settings) VALUES(1, 1, 2, 0, 1, '{}');"
                "INSERT INTO meta VALUES('active_model', '1'), ('active_run', '1');"
                "INSERT INTO split SELECT i, 'train' FROM n WHERE i %% 3 = 0;"
                "INSERT INTO tag SELECT i, 'seven' FROM n WHERE i %% 7 = 0; COMMIT",
                IMAGES, turned ? "40000 - i" : "i - 1 - i / 10", IMAGES / 2, STEP, IMAGES, STEP, IMAGES, IMAGES, LATER);
    assert_ok(vc_db_exec(ws.db, sql.data, err));
    assert_ok(vc_workspace_build_indexes(&ws, err));
    assert_ok(vc_workspace_rebuild_fts(&ws, err));
    if (!turned)
        assert_ok(postings_build(&ws, err));
    vc_workspace_close(&ws);
    vc_str_finish(&sql);
    return dir;
}

typedef struct {
    const char *words[2], *with, *without, *split, *not_tag, *source;
    QueryOrder order;
} Case;

static bool fits(const Case *c, int64_t i)
{
    const bool all = mined(i), fourth = mined(i) && i % 4 == 0;
    if (!alive(i) || (c->without && (strcmp(c->without, "all") == 0 ? all : fourth)))
        return false;
    if (c->with && !(strcmp(c->with, "all") == 0 ? all : fourth))
        return false;
    return !(c->split && i % 3) && !(c->not_tag && i % 7 == 0) && !(c->source && i > IMAGES / 2);
}

static bool has_caption(int64_t i, const char *word)
{
    static const char *known;
    static bool *table; // [IMAGES + 1]
    if (!table)
        table = vc_alloc(IMAGES + 1, sizeof *table);
    if (!known || strcmp(known, word) != 0) {
        memset(table, 0, IMAGES + 1);
        for (int64_t c = 1; c <= CAPTIONS; c++)
            table[caption_image(c)] |= has_word(c, word);
        known = word;
    }
    return table[i];
}

static int score_of(const Case *c, int64_t i)
{
    return strcmp(c->with, "fourth") == 0 ? 10000
           : strcmp(c->with, "all") == 0  ? 18000 - 2 * (i % 100)
                                          : 14000 - i % 100;
}

static int by_score(const void *a, const void *b, void *ctx)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    const int sx = score_of(ctx, x), sy = score_of(ctx, y);
    return sx != sy ? sy - sx : (x > y) - (x < y);
}

// The whole list that is right.
static size_t judge(const Case *c, int64_t *ids)
{
    bool *seen = vc_calloc(IMAGES + 1, sizeof *seen);
    size_t n = 0;
    for (int64_t at = 1; at <= (c->words[0] ? CAPTIONS : IMAGES); at++) { // in the order of captions, where there are
        const int64_t i = c->words[0] ? caption_image(at) : at;
        if (seen[i] || (c->words[0] && !has_word(at, c->words[0])))
            continue;
        seen[i] = true;
        if (fits(c, i) && (!c->words[1] || has_caption(i, c->words[1])))
            ids[n++] = i;
    }
    free(seen);
    if (c->order == QUERY_BY_CONCEPTS)
        qsort_r(ids, n, sizeof *ids, by_score, (void *)(uintptr_t)c);
    return n;
}

static QueryRequest request_of(const Case *c)
{
    return (QueryRequest){.filter = {.with = {&c->with, c->with != NULL},
                                     .without = {&c->without, c->without != NULL},
                                     .captions = {c->words, (size_t)(c->words[0] != NULL) + (c->words[1] != NULL)},
                                     .splits = {&c->split, c->split != NULL},
                                     .not_tags = {&c->not_tag, c->not_tag != NULL},
                                     .sources = {&c->source, c->source != NULL}},
                          .limit = PAGE};
}

static void check_page(QueryEngine *engine, const Case *c, const QueryRequest *r, const int64_t *want, size_t n,
                       char **next)
{
    QueryPage page;
    assert_ok(query_run(engine, r, &page, err));
    assert_int_equal(page.order, c->order);
    assert_int_equal(page.count, n < PAGE ? n : PAGE);
    for (size_t i = 0; i < page.count; i++)
        assert_int_equal(page.hits[i].image_id, want[i]);
    assert_true((page.next != NULL) == (n > PAGE));
    if (next)
        *next = page.next ? vc_strdup(page.next) : NULL;
    query_page_finish(&page);
}

static void check_counts(QueryEngine *engine, const Case *c, size_t n)
{
    QueryRequest r = request_of(c);
    for (int turn = 0; turn < 2; turn++) { // new, and from what is kept
        QueryPage page;
        r.count = true;
        assert_ok(query_run(engine, &r, &page, err));
        assert_true(page.matched_exact);
        assert_int_equal(page.matched, n);
        query_page_finish(&page);
    }
    int64_t *ids;
    size_t count;
    assert_ok(query_select(engine, &r.filter, &ids, &count, err));
    assert_int_equal(count, n);
    free(ids);
}

static void check_case(QueryEngine *engine, const Case *c)
{
    int64_t *want = vc_alloc(IMAGES, sizeof *want);
    const size_t n = judge(c, want);
    QueryRequest r = request_of(c);
    char *cursor = NULL;
    for (size_t at = 0, pages = 0; pages < 4 && (pages == 0 || cursor); at += PAGE, pages++) {
        char *next;
        r.cursor = cursor;
        check_page(engine, c, &r, want + at, n - at, &next);
        free(cursor);
        cursor = next;
    }
    free(cursor);
    r.cursor = NULL;
    for (r.offset = 1; r.offset < n + 100; r.offset = r.offset * 5 + 3)
        check_page(engine, c, &r, want + (r.offset < n ? r.offset : n), r.offset < n ? n - r.offset : 0, NULL);
    check_counts(engine, c, n);
    free(want);
}

static const Case cases[] = {
    {.with = "all", .order = QUERY_BY_CONCEPTS},
    {.with = "fourth", .order = QUERY_BY_CONCEPTS},
    {.with = "all AND fourth", .words = {"odd"}, .order = QUERY_BY_CONCEPTS}, // none
    {.with = "all AND fourth", .not_tag = "seven", .order = QUERY_BY_CONCEPTS},
    {.with = "all", .without = "fourth", .words = {"rare"}, .order = QUERY_BY_CONCEPTS},
    {.without = "fourth", .order = QUERY_BY_ID},
    {.without = "all", .order = QUERY_BY_ID}, // those without a row
    {.without = "all", .split = "train", .order = QUERY_BY_ID},
    {.without = "fourth", .not_tag = "seven", .source = "one", .order = QUERY_BY_ID},
    {.not_tag = "seven", .split = "train", .order = QUERY_BY_ID},
    {.words = {"every"}, .order = QUERY_BY_CAPTION},
    {.words = {"third"}, .order = QUERY_BY_CAPTION},
    {.words = {"every", "odd"}, .order = QUERY_BY_CAPTION},
    {.words = {"every", "rare"}, .source = "one", .order = QUERY_BY_CAPTION},
    {.words = {"odd"}, .without = "fourth", .split = "train", .order = QUERY_BY_CAPTION},
    {.words = {"odd"}, .without = "all", .not_tag = "seven", .order = QUERY_BY_CAPTION},
};

// Vectors for all rows of the rising workspace.
static void add_vectors(const char *dir)
{
    enum { DIM = 8, ROWS = IMAGES - IMAGES / 10 };
    static const uint8_t model[32] = {0};
    VcWorkspace ws = {0};
    VectorsWriter *w;
    uint64_t written;
    VcRng rng;
    vc_rng_seed(&rng, 3);
    float *x = vc_alloc((size_t)ROWS * DIM, sizeof *x);
    for (size_t i = 0; i < (size_t)ROWS * DIM; i++)
        x[i] = (float)vc_rng_below(&rng, 9) - 4; // few different ones: many scores are equal
    for (size_t i = 0; i < ROWS; i++)
        x[i * DIM] += 0.5F;
    assert_ok(vc_workspace_open(&ws, dir, VC_DB_WRITE, err));
    char *path = concepts_vector_path(&ws, "image", "made"), *bytes = vectors_bytes_path(path);
    assert_ok(vectors_writer_open(&w, path, DIM, model, 0, err));
    assert_ok(vectors_writer_append(w, x, ROWS, err));
    assert_ok(vectors_writer_sync(w, &written, err));
    vectors_writer_close(&w);
    VcStr sql = {0};
    vc_str_putf(&sql,
                "UPDATE model SET weights_sha256 = zeroblob(32); INSERT INTO vector_file VALUES(1, 'image',"
                " 'vectors/image-made.f16', %d, NULL)",
                ROWS);
    assert_ok(vc_db_exec(ws.db, sql.data, err));
    VectorsReader *r;
    assert_ok(vectors_reader_open(&r, path, ROWS, err));
    assert_ok(vectors_bytes_build(bytes, r, NULL, err));
    vectors_reader_close(&r);
    vc_workspace_close(&ws);
    vc_str_finish(&sql);
    free(bytes);
    free(path);
    free(x);
}

// Pages far down are parts of the whole list.
static void check_vectors(QueryEngine *engine)
{
    static const float vector[8] = {1, -2, 3, 0.5F, 0, 1, -1, 2};
    const Case filtered[] = {{.order = QUERY_BY_VECTOR},
                             {.without = "fourth", .split = "train", .order = QUERY_BY_VECTOR}};
    for (size_t c = 0; c < 2; c++) {
        QueryRequest r = request_of(&filtered[c]);
        QueryPage all;
        r.vector = vector;
        r.limit = IMAGES;
        assert_ok(query_run(engine, &r, &all, err));
        assert_true(all.count > 5000 && all.matched == (int64_t)all.count);
        r.limit = PAGE;
        for (r.offset = 1900; r.offset < all.count + 100; r.offset += 2777) {
            QueryPage page;
            assert_ok(query_run(engine, &r, &page, err));
            assert_int_equal(page.matched, all.matched);
            const size_t left = r.offset < all.count ? all.count - r.offset : 0;
            assert_int_equal(page.count, left < PAGE ? left : PAGE);
            for (size_t i = 0; i < page.count; i++) {
                assert_int_equal(page.hits[i].image_id, all.hits[r.offset + i].image_id);
                assert_true(page.hits[i].score == all.hits[r.offset + i].score);
            }
            query_page_finish(&page);
        }
        query_page_finish(&all);
    }
}

static void run(bool turned)
{
    char *dir = make(turned);
    QueryEngine *engine;
    if (!turned)
        add_vectors(dir);
    assert_ok(query_engine_open(&engine, dir, NULL, err));
    if (!turned)
        check_vectors(engine);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(engine, &cases[i]);
    // Ranked ones: rejected images do not count.
    const Case ranked[] = {{.words = {"rare"}, .order = QUERY_BY_BM25},
                           {.words = {"rare"}, .without = "fourth", .order = QUERY_BY_BM25},
                           {.words = {"later"}, .split = "train", .order = QUERY_BY_BM25}};
    int64_t *want = vc_alloc(IMAGES, sizeof *want);
    for (size_t i = 0; i < sizeof ranked / sizeof *ranked; i++)
        check_counts(engine, &ranked[i], judge(&ranked[i], want));
    free(want);
    query_engine_close(&engine);
    test_temp_remove(&dir);
}

static void test_rising(void **state)
{
    (void)state;
    run(false);
}

static void test_turned(void **state)
{
    (void)state;
    run(true);
}

// The scores of a concept in steps, from posting lists and from the table.
static void test_scores(void **state)
{
    (void)state;
    for (int turned = 0; turned < 2; turned++) {
        char *dir = make(turned);
        QueryEngine *engine;
        double low, high;
        int64_t counts[10], sum = 0;
        assert_ok(query_engine_open(&engine, dir, NULL, err));
        assert_ok(query_concept_scores(engine, 0, &low, &high, counts, 10, err));
        assert_close(low, (9000.0 - 99) / 32767, 1e-9);
        assert_close(high, (9000.0 - 1) / 32767, 1e-9); // multiples of 100 have no row
        for (int i = 0; i < 10; i++) {
            assert_in_range(counts[i], 2400, 3300);
            sum += counts[i];
        }
        assert_int_equal(sum, IMAGES - IMAGES / 10);
        assert_ok(query_concept_scores(engine, 77, &low, &high, counts, 10, err)); // there is none
        assert_true(low == 0 && high == 0 && counts[0] == 0);
        query_engine_close(&engine);
        test_temp_remove(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rising), cmocka_unit_test(test_turned),
                                       cmocka_unit_test(test_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
