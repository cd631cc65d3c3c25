// SPDX-License-Identifier: MIT
#include "concepts/mine.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "concepts/mine_top.h"
#include "concepts/postings.h"
#include "concepts/statistics.h"
#include "concepts/store.h"
#include "concepts/vectors.h"
#include "nn/nn.h"

#include <math.h>

enum {
    COMMIT_IMAGES = 4096, // images a transaction
    INT_ONE = 32767,      // stored score of cosine 1
};

// Kept sorted by insertion: k is small and a new score seldom gets in.
void concepts_top_k(const float *scores, size_t n, size_t k, uint32_t *ids, float *best)
{
    VC_ASSERT(k <= n);
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        float v = isnan(scores[i]) ? -INFINITY : scores[i];
        // An equal score with a higher id does not get in, and stays behind the ones before it.
        if (have == k && (k == 0 || !(v > best[k - 1])))
            continue;
        size_t at = have < k ? have++ : k - 1;
        while (at > 0 && v > best[at - 1]) {
            best[at] = best[at - 1];
            ids[at] = ids[at - 1];
            at--;
        }
        best[at] = v;
        ids[at] = (uint32_t)i;
    }
}

typedef struct {
    VcWorkspace *ws;
    const ConceptsMineOptions *options;
    ConceptsMineReport *report;
    VectorsReader *images;
    ConceptsModel model;
    VectorsReader *concepts;
    uint32_t *ids; // [count] concept_id, which is the row of its vector, rising
    size_t count, dim, k;
    MineTop *scores;
    size_t batch;
    float *x, *best;           // [batch, dim], [batch, k]
    uint32_t *top;             // [batch, k]
    int64_t *image_ids, *rows; // [batch]
    size_t n;
} Stage;

// --- concepts --------------------------------------------------------------------------------------------------------

static bool load_concepts(Stage *s, VcErr *err)
{
    ConceptsModel model = {0};
    int64_t total;
    VcStmt *stmt = NULL;
    bool ok = vc_db_int(s->ws->db, "SELECT count(*) FROM concept", 0, &total, err);
    if (ok && total == 0)
        ok = vc_fail(err, VC_ERR_USAGE, "this workspace has no vocabulary yet; run 'vicha concepts parse' first");
    ok = ok && concepts_open_vectors(s->ws, "concept", &s->concepts, &model, err);
    if (ok && vectors_reader_rows(s->concepts) != (uint64_t)total) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     "%llu of %lld concepts have a vector; run 'vicha concepts embed --clip MODEL' to its end first",
                     (unsigned long long)vectors_reader_rows(s->concepts), (long long)total);
    }
    ok = ok && vectors_reader_verify(s->concepts, err) &&
         vc_db_prepare(s->ws->db, &stmt, "SELECT concept_id FROM concept WHERE NOT removed ORDER BY concept_id", err);
    if (ok)
        s->ids = vc_alloc((size_t)total, sizeof *s->ids);
    bool row = true;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t id = vc_column_int(stmt, 0);
        if (id < 0 || id >= total) {
            ok = vc_fail(err, VC_ERR_DB, "table concept has number %lld of %lld; run 'vicha concepts parse' again",
                         (long long)id, (long long)total);
            break;
        }
        s->ids[s->count++] = (uint32_t)id;
    }
    if (ok && s->count == 0)
        ok = vc_fail(err, VC_ERR_USAGE, "all concepts of this workspace are marked as removed");
    vc_stmt_finish(&stmt);
    concepts_model_finish(&model);
    return ok;
}

// --- the run ---------------------------------------------------------------------------------------------------------

static bool run_matches(Stage *s, const char *vocabulary, bool *same, VcErr *err)
{
    VcStmt *stmt;
    *same = false;
    if (!vc_db_prepare(s->ws->db, &stmt,
                       "SELECT model_id = ?1 AND k = ?2 AND lower(hex(vocab_sha256)) = ?3 FROM run"
                       " WHERE run_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'active_run')",
                       err))
        return false;
    vc_bind_int(stmt, 1, s->model.model_id);
    vc_bind_int(stmt, 2, (int64_t)s->k);
    vc_bind_text(stmt, 3, vocabulary);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    *same = ok && row && vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok;
}

static bool insert_run(Stage *s, const char *vocabulary, VcErr *err)
{
    uint8_t sha[32] = {0};
    for (size_t i = 0; i < 32 && vocabulary[2 * i] && vocabulary[2 * i + 1]; i++) {
        char pair[3] = {vocabulary[2 * i], vocabulary[2 * i + 1], 0};
        sha[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    VcStmt *stmt;
    if (!vc_db_prepare(s->ws->db, &stmt,
                       "INSERT INTO run(model_id, k, template, vocab_sha256, started, settings)"
                       " VALUES(?1, ?2, '{}', ?3, ?4, ?5)",
                       err))
        return false;
    vc_bind_int(stmt, 1, s->model.model_id);
    vc_bind_int(stmt, 2, (int64_t)s->k);
    if (strlen(vocabulary) == 64) {
        vc_bind_blob(stmt, 3, sha, 32);
    } else {
        vc_bind_null(stmt, 3);
    }
    vc_bind_int(stmt, 4, vc_unix_time());
    vc_bind_text(stmt, 5, s->options->settings ? s->options->settings : "{}");
    bool ok = vc_stmt_run(stmt, err);
    vc_stmt_finish(&stmt);
    return ok;
}

// Goes on with the active run when model, vocabulary and k are its own; else that run's rows make room for a new one.
static bool choose_run(Stage *s, VcErr *err)
{
    char *vocabulary = NULL, id[32];
    bool same = false;
    bool ok = vc_db_begin(s->ws->db, err) && vc_meta_get(s->ws, "vocabulary_sha256", &vocabulary, err) &&
              run_matches(s, vocabulary ? vocabulary : "", &same, err);
    if (ok && !same) {
        ok = vc_workspace_drop_mining_indexes(s->ws, err) &&
             vc_db_exec(s->ws->db,
                        "DELETE FROM image_concept; DELETE FROM concept_stat;"
                        "UPDATE image SET status = 1 WHERE status = 2",
                        err) &&
             insert_run(s, vocabulary ? vocabulary : "", err);
        snprintf(id, sizeof id, "%lld", (long long)vc_db_last_id(s->ws->db));
        ok = ok && vc_meta_set(s->ws, "active_run", id, err);
    }
    ok = ok && vc_db_commit(s->ws->db, err);
    if (!ok)
        vc_db_rollback(s->ws->db);
    free(vocabulary);
    return ok;
}

// --- scoring ---------------------------------------------------------------------------------------------------------

static void prepare_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Stage *s = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        vectors_reader_floats(s->images, (uint64_t)s->rows[i], 1, s->x + i * s->dim);
}

static bool score_batch(Stage *s, VcErr *err)
{
    vc_parallel_for(s->options->pool, s->n, 16, prepare_chunk, s);
    return mine_top_run(s->scores, s->x, s->n, s->k, s->top, s->best) ||
           vc_fail(err, VC_ERR_FORMAT,
                   "the vectors of the images are damaged: one of rows %lld to %lld is no direction",
                   (long long)s->rows[0], (long long)s->rows[s->n - 1]);
}

static bool next_batch(Stage *s, VcStmt *select, int64_t after, VcErr *err)
{
    bool row = true, ok = true;
    s->n = 0;
    vc_bind_int(select, 1, after);
    vc_bind_int(select, 2, (int64_t)s->batch);
    while (ok && (ok = vc_stmt_step(select, &row, err)) && row) {
        s->image_ids[s->n] = vc_column_int(select, 0);
        s->rows[s->n] = vc_column_int(select, 1);
        if (s->rows[s->n] < 0 || (uint64_t)s->rows[s->n] >= vectors_reader_rows(s->images)) {
            ok = vc_fail(err, VC_ERR_DB, "image %lld points to vector %lld of %llu", (long long)s->image_ids[s->n],
                         (long long)s->rows[s->n], (unsigned long long)vectors_reader_rows(s->images));
        } else {
            s->n++;
        }
    }
    if (!ok)
        vc_stmt_reset(select);
    return ok;
}

static bool write_batch(Stage *s, VcStmt *insert, VcStmt *update, VcErr *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s->n; i++) {
        for (size_t r = 0; ok && r < s->k; r++) {
            float v = s->best[i * s->k + r];
            long score = lroundf(fminf(1, fmaxf(-1, v)) * INT_ONE);
            vc_bind_int(insert, 1, s->image_ids[i]);
            vc_bind_int(insert, 2, (int64_t)r);
            vc_bind_int(insert, 3, s->ids[s->top[i * s->k + r]]);
            vc_bind_int(insert, 4, score);
            ok = vc_stmt_run(insert, err);
        }
        vc_bind_int(update, 1, s->image_ids[i]);
        ok = ok && vc_stmt_run(update, err);
    }
    return ok;
}

static bool mine_images(Stage *s, int64_t total, VcErr *err)
{
    VcStmt *select = NULL, *insert = NULL, *update = NULL;
    VcProgress *progress = vc_progress_begin("mine", "images", (uint64_t)total);
    bool ok =
        vc_db_prepare(s->ws->db, &select,
                      "SELECT image_id, row FROM image WHERE row > ?1 AND status = 1 ORDER BY row LIMIT ?2", err) &&
        vc_db_prepare(s->ws->db, &insert,
                      "INSERT OR REPLACE INTO image_concept(image_id, rank, concept_id, score)"
                      " VALUES(?1, ?2, ?3, ?4)",
                      err) &&
        vc_db_prepare(s->ws->db, &update, "UPDATE image SET status = 2 WHERE image_id = ?1", err);
    int64_t open = 0; // images in the transaction that is open
    bool in_transaction = false;
    for (int64_t after = -1; ok && (ok = next_batch(s, select, after, err)) && s->n > 0;) {
        ok = score_batch(s, err);
        vectors_reader_forget(s->images, (uint64_t)(after < 0 ? 0 : after), (uint64_t)s->rows[s->n - 1]);
        after = s->rows[s->n - 1];
        ok = ok && (in_transaction || vc_db_begin(s->ws->db, err));
        in_transaction = in_transaction || ok;
        ok = ok && write_batch(s, insert, update, err);
        open += (int64_t)s->n;
        bool stop = vc_interrupted() != 0;
        if (ok && (open >= COMMIT_IMAGES || stop)) {
            ok = vc_db_commit(s->ws->db, err);
            in_transaction = !ok;
            s->report->images += ok ? open : 0;
            open = 0;
        }
        if (ok)
            vc_progress_add(progress, s->n, 0);
        if (ok && stop)
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted; what was mined is kept");
    }
    if (in_transaction && ok) {
        ok = vc_db_commit(s->ws->db, err);
        s->report->images += ok ? open : 0;
    }
    if (in_transaction && !ok)
        vc_db_rollback(s->ws->db);
    vc_stmt_finish(&select);
    vc_stmt_finish(&insert);
    vc_stmt_finish(&update);
    vc_progress_end(&progress);
    return ok;
}

// Indexes and statistics after the load. run.finished says that they are there.
static bool finish_run(Stage *s, VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(&sql,
                "DELETE FROM concept_stat; INSERT INTO concept_stat"
                " SELECT concept_id, count(*), sum(score), max(score), sum(rank = 0) FROM image_concept"
                " GROUP BY concept_id ORDER BY concept_id;"
                "UPDATE run SET finished = %lld"
                " WHERE run_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'active_run')",
                (long long)vc_unix_time());
    bool ok = vc_workspace_build_indexes(s->ws, err) && vc_workspace_rebuild_fts(s->ws, err) &&
              vc_db_begin(s->ws->db, err) && vc_db_exec(s->ws->db, sql.data, err) && vc_db_commit(s->ws->db, err) &&
              vc_db_exec(s->ws->db, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    if (!ok)
        vc_db_rollback(s->ws->db);
    vc_str_finish(&sql);
    return ok;
}

// Pairs of concepts: anew when there are new images, and where a workspace has none yet.
static bool keep_pairs(VcWorkspace *ws, bool changed, VcErr *err)
{
    int64_t mined, known;
    if (!vc_db_int(ws->db, "SELECT 1 FROM concept_stat WHERE images > 0 LIMIT 1", 0, &mined, err) ||
        !vc_db_int(ws->db, "SELECT 1 FROM concept_pair LIMIT 1", 0, &known, err))
        return false;
    return !mined || (known && !changed) || statistics_pairs_store(ws, err);
}

static void allocate(Stage *s)
{
    VC_ASSERT(s->count > 0);
    s->scores = mine_top_create(coarse_rows_of(s->concepts), s->ids, s->count, MINE_SLICE_BYTES, s->options->pool);
    s->batch = mine_top_batch(s->scores);
    s->x = vc_alloc_aligned(s->batch * s->dim, sizeof *s->x);
    s->best = vc_alloc(s->batch * s->k, sizeof *s->best);
    s->top = vc_alloc(s->batch * s->k, sizeof *s->top);
    s->image_ids = vc_alloc(s->batch, sizeof *s->image_ids);
    s->rows = vc_alloc(s->batch, sizeof *s->rows);
}

static void finish(Stage *s)
{
    vectors_reader_close(&s->images);
    concepts_model_finish(&s->model);
    mine_top_destroy(&s->scores);
    vectors_reader_close(&s->concepts);
    free(s->ids);
    free(s->x);
    free(s->best);
    free(s->top);
    free(s->image_ids);
    free(s->rows);
}

bool concepts_mine(VcWorkspace *ws, const ConceptsMineOptions *options, ConceptsMineReport *report, VcErr *err)
{
    double start = vc_now();
    *report = (ConceptsMineReport){0};
    VC_ASSERT(options->k > 0);
    Stage s = {.ws = ws, .options = options, .report = report};
    int64_t pending = 0, mined = 0, unfinished = 0;
    bool ok = concepts_open_vectors(ws, "image", &s.images, &s.model, err);
    s.dim = ok ? vectors_reader_dim(s.images) : 0;
    ok = ok && load_concepts(&s, err);
    if (!ok)
        goto out;
    s.k = options->k < s.count ? options->k : s.count;
    report->k = s.k;
    report->concepts = (int64_t)s.count;
    ok = choose_run(&s, err) &&
         vc_db_int(ws->db, "SELECT count(*) FROM image WHERE status = 1 AND row IS NOT NULL", 0, &pending, err) &&
         vc_db_int(ws->db, "SELECT count(*) FROM image WHERE status = 2", 0, &mined, err) &&
         vc_db_int(ws->db,
                   "SELECT finished IS NULL FROM run"
                   " WHERE run_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'active_run')",
                   1, &unfinished, err);
    if (ok && pending > 0) {
        allocate(&s);
        // A large load into finished indexes is many times slower than building them again.
        ok = vc_db_exec(ws->db,
                        "UPDATE run SET finished = NULL"
                        " WHERE run_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'active_run')",
                        err) &&
             (pending * 20 < mined || vc_workspace_drop_mining_indexes(ws, err)) && mine_images(&s, pending, err);
    }
    if (ok && (pending > 0 || unfinished))
        ok = finish_run(&s, err);
    ok = ok && postings_build(ws, err) && keep_pairs(ws, pending > 0 || unfinished, err);
    report->images_total = mined + report->images;
out:
    finish(&s);
    report->seconds = vc_now() - start;
    return ok;
}
