// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/str.h"
#include "cli/bench_db.h"
#include "concepts/concepts.h"

#include <math.h>

enum {
    BATCH = 4096,  // images a transaction
    WORDS = 20000, // different words of captions
    CAPTION_WORDS = 9,
    TABLE = 1 << 16, // steps of a distribution
};

// Draws 0 .. n-1 with a chance of about 1 / (i + shift): a few are in a third of all images, most in very few.
typedef struct {
    uint32_t value[TABLE];
} Zipf;

static Zipf *make_zipf(size_t n, double shift)
{
    Zipf *z = vc_alloc(1, sizeof *z);
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        total += 1 / ((double)i + shift);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        sum += 1 / ((double)i + shift) / total;
        size_t end = i + 1 == n ? TABLE : (size_t)(sum * TABLE);
        for (; at < end; at++)
            z->value[at] = (uint32_t)i;
    }
    return z;
}

// The table's steps are too coarse for the rare ones: one draw in sixteen is uniform.
static uint32_t draw(const Zipf *z, size_t n, VcRng *rng)
{
    uint64_t r = vc_rng_u64(rng);
    return (r & 15) == 0 ? (uint32_t)((r >> 8) % n) : z->value[r >> 48];
}

static bool run(VcStmt *stmt, VcErr *err)
{
    bool row;
    return vc_stmt_step(stmt, &row, err);
}

static bool fill_images(VcWorkspace *ws, int64_t images, VcErr *err)
{
    VcStmt *image = NULL, *caption = NULL;
    Zipf *z = make_zipf(WORDS, 4);
    VcRng rng;
    vc_rng_seed(&rng, 1);
    bool ok = vc_db_exec(ws->db, "INSERT INTO source(source_id, name, uri) VALUES(1, 'made', '/made')", err) &&
              vc_db_prepare(ws->db, &image,
                            "INSERT INTO image(image_id, row, source_id, key, width, height, bytes, mime, status)"
                            " VALUES(?1, ?2, 1, ?3, 640, 480, 50000, 'image/jpeg', 2)",
                            err) &&
              vc_db_prepare(ws->db, &caption, "INSERT INTO caption(image_id, text) VALUES(?1, ?2)", err);
    VcStr text = {0};
    for (int64_t i = 0; ok && i < images; i++) {
        if (i % BATCH == 0)
            ok = (i == 0 || vc_db_commit(ws->db, err)) && vc_db_begin(ws->db, err);
        char key[32];
        snprintf(key, sizeof key, "%09lld.jpg", (long long)i);
        vc_bind_int(image, 1, i + 1);
        vc_bind_int(image, 2, i);
        vc_bind_text(image, 3, key);
        vc_str_clear(&text);
        for (int w = 0; w < CAPTION_WORDS; w++)
            vc_str_putf(&text, "%sw%u", w ? " " : "", draw(z, WORDS, &rng));
        vc_bind_int(caption, 1, i + 1);
        vc_bind_textn(caption, 2, text.data, text.len);
        ok = ok && run(image, err) && run(caption, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    ok = ok && vc_db_commit(ws->db, err);
    vc_stmt_finish(&image);
    vc_stmt_finish(&caption);
    vc_str_finish(&text);
    free(z);
    return ok;
}

static bool fill_concepts(VcWorkspace *ws, int64_t concepts, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool ok = vc_db_begin(ws->db, err) &&
              vc_db_prepare(ws->db, &stmt, "INSERT INTO concept(concept_id, text, freq) VALUES(?1, ?2, 1)", err);
    for (int64_t i = 0; ok && i < concepts; i++) {
        char text[32];
        snprintf(text, sizeof text, "concept %lld", (long long)i);
        vc_bind_int(stmt, 1, i);
        vc_bind_text(stmt, 2, text);
        ok = run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    return ok &&
           vc_db_exec(
               ws->db,
               "INSERT INTO model(model_id, name, dim) VALUES(1, 'made', 512);"
               "INSERT INTO run(run_id, model_id, k, template, started, settings) VALUES(1, 1, 15, '{}', 0, '{}')",
               err) &&
           vc_meta_set(ws, "active_model", "1", err) && vc_meta_set(ws, "active_run", "1", err) &&
           vc_db_commit(ws->db, err);
}

// Different concepts with falling scores: the ones that are everywhere at ranks of chance, as any other.
static void make_row(const Zipf *z, size_t concepts, VcRng *rng, uint32_t *ids, int16_t *scores)
{
    size_t n = 0;
    while (n < BENCH_EVERYWHERE)
        ids[n] = (uint32_t)n, n++;
    while (n < BENCH_PER_IMAGE) {
        uint32_t c = BENCH_EVERYWHERE + draw(z, concepts - BENCH_EVERYWHERE, rng);
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known = known || ids[i] == c;
        if (!known)
            ids[n++] = c;
    }
    vc_rng_shuffle(rng, ids, n, sizeof *ids);
    int score = 9000 + (int)vc_rng_below(rng, 2000);
    for (size_t i = 0; i < n; i++) {
        scores[i] = (int16_t)score;
        score -= (int)vc_rng_below(rng, 400);
    }
}

static bool insert_rows(VcStmt *stmt, int64_t first, size_t n, const uint32_t *ids, const int16_t *scores, VcErr *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        vc_bind_int(stmt, 1, first + (int64_t)i);
        for (size_t k = 0; ok && k < BENCH_PER_IMAGE; k++) {
            vc_bind_int(stmt, 2, (int64_t)k);
            vc_bind_int(stmt, 3, ids[i * BENCH_PER_IMAGE + k]);
            vc_bind_int(stmt, 4, scores[i * BENCH_PER_IMAGE + k]);
            ok = run(stmt, err);
        }
    }
    return ok;
}

static bool load(VcWorkspace *ws, int64_t images, int64_t concepts, double *seconds, VcErr *err)
{
    VcStmt *stmt = NULL;
    Zipf *z = make_zipf((size_t)concepts - BENCH_EVERYWHERE, 5);
    VcRng rng;
    vc_rng_seed(&rng, 2);
    uint32_t *ids = vc_alloc((size_t)BATCH * BENCH_PER_IMAGE, sizeof *ids);
    int16_t *scores = vc_alloc((size_t)BATCH * BENCH_PER_IMAGE, sizeof *scores);
    VcProgress *progress = vc_progress_begin("load", "images", (uint64_t)images);
    bool ok = vc_db_prepare(ws->db, &stmt,
                            "INSERT INTO image_concept(image_id, rank, concept_id, score) VALUES(?1, ?2, ?3, ?4)", err);
    for (int64_t at = 0; ok && at < images; at += BATCH) {
        size_t n = images - at < BATCH ? (size_t)(images - at) : BATCH;
        for (size_t i = 0; i < n; i++)
            make_row(z, (size_t)concepts, &rng, ids + i * BENCH_PER_IMAGE, scores + i * BENCH_PER_IMAGE);
        double start = vc_now();
        ok = vc_db_begin(ws->db, err) && insert_rows(stmt, at + 1, n, ids, scores, err) && vc_db_commit(ws->db, err);
        *seconds += vc_now() - start;
        vc_progress_add(progress, n, 0);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    double start = vc_now();
    vc_stmt_finish(&stmt);
    ok = ok && vc_db_exec(ws->db, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    *seconds += vc_now() - start;
    vc_progress_end(&progress);
    free(ids);
    free(scores);
    free(z);
    return ok;
}

static bool timed(double *seconds, bool (*step)(VcWorkspace *, VcErr *), VcWorkspace *ws, VcErr *err)
{
    double start = vc_now();
    bool ok = step(ws, err);
    *seconds = vc_now() - start;
    return ok;
}

static bool finish_run(VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(
        ws->db,
        "BEGIN; INSERT INTO concept_stat SELECT concept_id, count(*), sum(score), max(score), sum(rank = 0)"
        " FROM image_concept GROUP BY concept_id; UPDATE run SET finished = 1; COMMIT;"
        "PRAGMA wal_checkpoint(TRUNCATE)",
        err);
}

bool bench_db_make(VcWorkspace *ws, int64_t images, int64_t concepts, BenchDbTimes *times, VcErr *err)
{
    *times = (BenchDbTimes){.images = images, .concepts = concepts};
    double start = vc_now(), stats;
    if (!fill_images(ws, images, err) || !fill_concepts(ws, concepts, err))
        return false;
    times->tables_s = vc_now() - start;
    return load(ws, images, concepts, &times->load_s, err) &&
           timed(&times->index_s, vc_workspace_build_indexes, ws, err) && timed(&stats, finish_run, ws, err) &&
           timed(&times->text_s, vc_workspace_rebuild_fts, ws, err) &&
           timed(&times->lists_s, postings_build, ws, err) && timed(&times->pairs_s, statistics_pairs_store, ws, err);
}
