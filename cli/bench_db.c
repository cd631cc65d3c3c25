// SPDX-License-Identifier: MIT
// `vicha bench db`: a made-up workspace, how fast it is loaded, and how long questions take: by the query engine, and
// by plain SQL over the same tables with the same indexes, in turns, with the same answers.
#include "cli/bench_db.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/bench_folder.h"
#include "cli/commands.h"
#include "query/query.h"

#include <math.h>

static const CliHelp help = {
    .name = "bench db",
    .summary = "the database: rows loaded a second, milliseconds a question",
    .usage = "[options]",
    .details =
        "Makes a workspace of so many images with 15 concepts and a caption each in $TMPDIR (about 1.1 KB an image), "
        "and\n"
        "removes it afterwards. Two concepts are in every image, some in a third of them, most in few. Every question\n"
        "is asked several times, by the query engine and by plain SQL with a covering and a best-first index, in "
        "turns;\n"
        "the answers must be equal. \"ms\": 50 images with score, key and source; \"page_ms\": also with caption and "
        "all\n"
        "concepts; \"sqlite_ms\": 50 numbers and scores. The fastest and the median of --rounds, in milliseconds.",
    .example = "  vicha bench db --images 1000000",
};

enum { PAGE = 50, PLAIN_ROUNDS = 3 }; // plain SQL takes long: it is asked fewer times

typedef struct {
    int64_t images, concepts, rounds;
    const char *dir;
} Choice;

typedef struct {
    QueryEngine *engine;
    VcDb *plain; // a connection of its own
    int64_t rounds;
} Bench;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct {
    double best, median;
} Times;

static Times sum_up(double *seconds, size_t n)
{
    qsort(seconds, n, sizeof *seconds, by_value);
    return (Times){seconds[0] * 1e3, seconds[n / 2] * 1e3};
}

// The plain answer: image_id and score of up to PAGE rows.
static bool ask_plain(VcDb *db, const char *sql, const char *words, double *scores, int64_t *ids, size_t *n, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(db, &stmt, sql, err);
    if (ok && words)
        vc_bind_text(stmt, 1, words);
    *n = 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row && *n < PAGE) {
        ids[*n] = vc_column_int(stmt, 0);
        scores[(*n)++] = vc_column_double(stmt, 1);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

typedef struct {
    const char *what, *name; // "and", "common and mid"
    const char *with[3], *words;
    size_t with_count;
    const char *sql;
    double scale; // the plain score times it is ours
    bool ordered; // both sides rank
} Ask;

static bool check_equal(const Ask *a, const QueryPage *page, const double *scores, const int64_t *ids, size_t n,
                        VcErr *err)
{
    bool same = page->count == n;
    for (size_t i = 0; same && a->ordered && i < n; i++)
        same = page->hits[i].image_id == ids[i] && fabs(page->hits[i].score - scores[i] * a->scale) < 1e-6;
    return same || vc_fail(err, VC_ERR_DB, "bench db: '%s' gives other images by SQL than by the engine", a->name);
}

static bool measure(Bench *b, const Ask *a, VcErr *err)
{
    size_t rounds = (size_t)b->rounds, plain_rounds = rounds < PLAIN_ROUNDS ? rounds : PLAIN_ROUNDS;
    double *ours = vc_alloc(rounds, sizeof *ours), *whole = vc_alloc(rounds, sizeof *whole), plain[PLAIN_ROUNDS];
    double scores[PAGE];
    int64_t ids[PAGE], matched = 0;
    size_t n = 0;
    bool ok = true, exact = true, noticed = false;
    QueryRequest r = {.filter = {.with = {a->with, a->with_count}, .captions = {&a->words, a->words != NULL}},
                      .limit = PAGE};
    for (size_t i = 0; ok && i <= rounds; i++) { // the first one brings everything into memory
        QueryPage page;
        r.fields = QUERY_CAPTIONS | QUERY_CONCEPTS;
        ok = query_run(b->engine, &r, &page, err);
        whole[i > 0 ? i - 1 : 0] = page.seconds;
        if (ok)
            query_page_finish(&page);
        r.fields = 0;
        ok = ok && query_run(b->engine, &r, &page, err);
        ours[i > 0 ? i - 1 : 0] = page.seconds;
        double start = vc_now();
        if (ok && i <= plain_rounds) {
            ok = ask_plain(b->plain, a->sql, a->words, scores, ids, &n, err) &&
                 check_equal(a, &page, scores, ids, n, err);
            plain[i > 0 ? i - 1 : 0] = vc_now() - start;
        }
        if (ok) {
            matched = page.matched;
            exact = page.matched_exact;
            noticed = page.notice != NULL;
            query_page_finish(&page);
        }
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    if (ok) {
        Times o = sum_up(ours, rounds), w = sum_up(whole, rounds), p = sum_up(plain, plain_rounds);
        printf("{\"bench\": \"db\", \"what\": \"%s\", \"question\": \"%s\", \"matched\": %lld, \"matched_exact\": %s, "
               "\"ranked\": %s, \"ms\": %.3f, \"ms_median\": %.3f, \"page_ms\": %.3f, \"page_ms_median\": %.3f, "
               "\"sqlite_ms\": %.3f, \"sqlite_ms_median\": %.3f}\n",
               a->what, a->name, (long long)matched, exact ? "true" : "false", noticed ? "false" : "true", o.best,
               o.median, w.best, w.median, p.best, p.median);
        fflush(stdout);
    }
    free(ours);
    free(whole);
    return ok;
}

// The concept whose number of images is nearest to `images`, apart from `not`.
static bool find_concept(Bench *b, int64_t images, int64_t not, int64_t *id, int64_t *count, VcErr *err)
{
    char sql[200];
    snprintf(
        sql, sizeof sql,
        "SELECT concept_id FROM concept_stat WHERE concept_id <> %lld ORDER BY abs(images - %lld), concept_id LIMIT 1",
        (long long)not, (long long)images);
    if (!vc_db_int(b->plain, sql, -1, id, err))
        return false;
    snprintf(sql, sizeof sql, "SELECT images FROM concept_stat WHERE concept_id = %lld", (long long)*id);
    return vc_db_int(b->plain, sql, 0, count, err);
}

static bool measure_pair(Bench *b, const char *name, int64_t images_a, int64_t images_b, VcErr *err)
{
    int64_t ids[2], counts[2];
    if (!find_concept(b, images_a, -1, &ids[0], &counts[0], err) ||
        !find_concept(b, images_b, ids[0], &ids[1], &counts[1], err))
        return false;
    char texts[2][32], shown[120];
    for (int i = 0; i < 2; i++)
        snprintf(texts[i], sizeof texts[i], "concept %lld", (long long)ids[i]);
    snprintf(shown, sizeof shown, "%s (%lld and %lld images)", name, (long long)counts[0], (long long)counts[1]);
    VcStr sql = {0};
    vc_str_putf(&sql,
                "SELECT a.image_id, a.score + b.score AS s FROM image_concept a JOIN image_concept b USING(image_id)"
                " WHERE a.concept_id = %lld AND b.concept_id = %lld ORDER BY s DESC, a.image_id LIMIT %d",
                (long long)ids[0], (long long)ids[1], PAGE);
    const Ask a = {.what = "and",
                   .name = shown,
                   .with = {texts[0], texts[1]},
                   .with_count = 2,
                   .sql = sql.data,
                   .scale = 0.5 / 32767,
                   .ordered = true};
    bool ok = measure(b, &a, err);
    vc_str_finish(&sql);
    return ok;
}

static bool measure_pairs(Bench *b, int64_t images, VcErr *err)
{
    const int64_t every = images, common = images / 3, often = images / 10, mid = images / 100, rare = images / 10000;
    const struct {
        const char *name;
        int64_t a, b;
    } pairs[] = {
        {"every and every", every, every},   {"every and common", every, common}, {"common and common", common, common},
        {"common and often", common, often}, {"often and often", often, often},   {"common and mid", common, mid},
        {"mid and mid", mid, mid},           {"every and rare", every, rare},     {"rare and rare", rare, rare}};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof pairs / sizeof *pairs; i++)
        ok = measure_pair(b, pairs[i].name, pairs[i].a, pairs[i].b, err);
    return ok;
}

static bool measure_tops(Bench *b, int64_t images, VcErr *err)
{
    const struct {
        const char *name;
        int64_t images;
    } list[] = {{"every", images}, {"common", images / 3}, {"mid", images / 100}, {"rare", images / 10000}};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof list / sizeof *list; i++) {
        int64_t id, count;
        char text[32], sql[200];
        ok = find_concept(b, list[i].images, -1, &id, &count, err);
        snprintf(text, sizeof text, "concept %lld", (long long)id);
        snprintf(
            sql, sizeof sql,
            "SELECT image_id, score FROM image_concept WHERE concept_id = %lld ORDER BY score DESC, image_id LIMIT %d",
            (long long)id, PAGE);
        const Ask a = {.what = "best of one",
                       .name = list[i].name,
                       .with = {text},
                       .with_count = 1,
                       .sql = sql,
                       .scale = 1.0 / 32767,
                       .ordered = true};
        ok = ok && measure(b, &a, err);
    }
    return ok;
}

static bool measure_words(Bench *b, VcErr *err)
{
    static const char *const list[] = {"w0", "w3", "w0 w1", "w200", "w19999", "w0 OR w1 OR w2"};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof list / sizeof *list; i++) {
        char sql[240];
        snprintf(sql, sizeof sql,
                 "SELECT c.image_id, -f.rank FROM caption_fts f JOIN caption c ON c.caption_id = f.rowid"
                 " WHERE f.text MATCH ?1 ORDER BY f.rank LIMIT %d",
                 PAGE);
        const Ask a = {.what = "captions", .name = list[i], .words = list[i], .sql = sql, .scale = 1};
        ok = measure(b, &a, err);
    }
    return ok;
}

static bool make(const Choice *c, const char *dir, VcErr *err)
{
    VcWorkspace ws = {0};
    BenchDbTimes t;
    uint64_t bytes = 0;
    if (!vc_workspace_open(&ws, dir, VC_DB_CREATE, err))
        return false;
    bool ok = bench_db_make(&ws, c->images, c->concepts, &t, err) && vc_file_size(vc_db_path(ws.db), &bytes, err);
    vc_workspace_close(&ws);
    if (ok) {
        double rows = (double)c->images * BENCH_PER_IMAGE;
        printf("{\"bench\": \"db\", \"what\": \"load\", \"images\": %lld, \"rows\": %.0f, \"rows_per_s\": %.0f, "
               "\"tables_s\": %.2f, \"indexes_s\": %.2f, \"text_s\": %.2f, \"lists_s\": %.2f, \"pairs_s\": %.2f, "
               "\"bytes\": %llu}\n",
               (long long)c->images, rows, rows / t.load_s, t.tables_s, t.index_s, t.text_s, t.lists_s, t.pairs_s,
               (unsigned long long)bytes);
        fflush(stdout);
    }
    return ok;
}

static bool ask_all(const Choice *c, const char *dir, VcErr *err)
{
    Bench b = {.rounds = c->rounds};
    VcWorkspace plain = {0};
    bool ok = query_engine_open(&b.engine, dir, NULL, err) && vc_workspace_open(&plain, dir, VC_DB_READ, err);
    b.plain = plain.db;
    int64_t images = 0; // of a workspace that was there, too
    ok = ok && vc_db_int(plain.db, "SELECT count(*) FROM image", 0, &images, err) && measure_pairs(&b, images, err) &&
         measure_tops(&b, images, err) && measure_words(&b, err);
    vc_workspace_close(&plain);
    query_engine_close(&b.engine);
    return ok;
}

int bench_db(int argc, char **argv)
{
    Choice c = {.images = 100000, .concepts = 10000, .rounds = 15};
    const CliOption options[] = {{"images", 0, CLI_INT, &c.images, "N", "images", 100, 1e9},
                                 {"concepts", 0, CLI_INT, &c.concepts, "N", "different concepts", 100, 1e6},
                                 {"rounds", 0, CLI_INT, &c.rounds, "N", "times every question is asked", 1, 10000},
                                 {"keep", 0, CLI_STRING, &c.dir, "DIR",
                                  "make the workspace there and keep it; one that is there is asked", 0, 0},
                                 {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    char *made = NULL;
    bool ok = (ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[0])) &&
              (c.dir || (made = bench_folder_make(&err)));
    if (ok) {
        const char *at = c.dir ? c.dir : made;
        char *db = vc_path_join(at, "vicha.db");
        ok = (vc_exists(db) || make(&c, at, &err)) && ask_all(&c, at, &err);
        free(db);
    }
    bench_folder_remove(&made);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
