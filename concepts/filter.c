// SPDX-License-Identifier: MIT
#include "concepts/filter.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "concepts/clip.h"
#include "concepts/embed.h"
#include "concepts/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS = 512 }; // captions scored at once, and committed together

static bool make_table(VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(ws->db,
                      "CREATE TABLE IF NOT EXISTS caption_filter(caption_id INTEGER PRIMARY KEY REFERENCES caption"
                      " ON DELETE CASCADE, score REAL NOT NULL, dropped INTEGER NOT NULL DEFAULT 0) STRICT",
                      err);
}

// Scores are of one model: those of another are forgotten, with their marks.
static bool check_model(VcWorkspace *ws, const ConceptsModel *model, VcErr *err)
{
    char hex[65], *before = NULL;
    vc_hex(model->sha256, 32, hex);
    bool ok = vc_meta_get(ws, "filter_model", &before, err);
    if (ok && (!before || strcmp(before, hex) != 0)) {
        if (before)
            vc_warn("the scores of captions were another model's: they are made again");
        ok = vc_db_begin(ws->db, err) && vc_db_exec(ws->db, "DELETE FROM caption_filter", err) &&
             vc_meta_set(ws, "filter_model", hex, err) && vc_db_commit(ws->db, err);
        if (!ok)
            vc_db_rollback(ws->db);
    }
    free(before);
    return ok;
}

static bool open_clip(VcWorkspace *ws, const char *given, const ConceptsModel *model, ClipModel **clip, VcErr *err)
{
    char *path = NULL;
    if (!given && !vc_meta_get(ws, "active_model_path", &path, err))
        return false;
    if (!given && !path)
        return vc_fail(err, VC_ERR_USAGE, "where the CLIP model lies is not known; give --clip MODEL");
    bool ok = clip_open(clip, given ? given : path, err);
    uint8_t sha[32];
    ok = ok && concepts_hash_model(clip_dir(*clip), sha, err);
    if (ok && memcmp(sha, model->sha256, 32) != 0) {
        ok = vc_fail(err, VC_ERR_USAGE, "'%s' is not the model that made the vectors ('%s'); give that one with --clip",
                     given ? given : path, model->name);
    }
    if (ok && clip_info(*clip)->dim != (size_t)model->dim) {
        ok = vc_fail(err, VC_ERR_FORMAT, "the model's dimension is %zu, the vectors' %lld", clip_info(*clip)->dim,
                     (long long)model->dim);
    }
    free(path);
    return ok;
}

// --- scores ----------------------------------------------------------------------------------------------------------

typedef struct {
    VcWorkspace *ws;
    VcPool *pool;
    ClipModel *clip;
    VectorsReader *images;
    size_t dim;
    VcStmt *page, *insert;
    char *texts[TEXTS];
    int64_t ids[TEXTS], rows[TEXTS];
    float *text, *image; // [TEXTS, dim], [dim]
} Scorer;

static bool read_page(Scorer *s, int64_t after, size_t *n, VcErr *err)
{
    bool row, ok;
    *n = 0;
    vc_bind_int(s->page, 1, after);
    vc_bind_int(s->page, 2, (int64_t)vectors_reader_rows(s->images));
    while ((ok = vc_stmt_step(s->page, &row, err)) && row) {
        s->ids[*n] = vc_column_int(s->page, 0);
        s->rows[*n] = vc_column_int(s->page, 1);
        s->texts[(*n)++] = vc_strdup(vc_column_text(s->page, 2));
    }
    vc_stmt_reset(s->page);
    return ok;
}

static double cosine(Scorer *s, size_t i)
{
    const float *t = s->text + i * s->dim;
    vectors_reader_floats(s->images, (uint64_t)s->rows[i], 1, s->image);
    double dot = 0, a = 0, b = 0;
    for (size_t k = 0; k < s->dim; k++) {
        dot += (double)t[k] * s->image[k];
        a += (double)t[k] * t[k];
        b += (double)s->image[k] * s->image[k];
    }
    return a > 0 && b > 0 ? dot / sqrt(a * b) : 0;
}

static bool score_page(Scorer *s, size_t n, VcErr *err)
{
    bool ok = clip_encode_texts(s->clip, s->pool, (const char *const *)s->texts, n, s->text, err) &&
              vc_db_begin(s->ws->db, err);
    for (size_t i = 0; i < n && ok; i++) {
        vc_bind_int(s->insert, 1, s->ids[i]);
        vc_bind_double(s->insert, 2, cosine(s, i));
        ok = vc_stmt_run(s->insert, err);
    }
    ok = ok && vc_db_commit(s->ws->db, err);
    if (!ok)
        vc_db_rollback(s->ws->db);
    return ok;
}

#define UNSCORED                                                                                              \
    " FROM caption c JOIN image i USING(image_id) WHERE i.row IS NOT NULL AND i.row < ?2 AND c.caption_id > " \
    "?1 AND NOT EXISTS (SELECT 1 FROM caption_filter f WHERE f.caption_id = c.caption_id)"

static bool score_all(Scorer *s, const ConceptsModel *model, const char *given, ConceptsFilterReport *report,
                      VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(&sql, "SELECT c.caption_id, i.row, c.text" UNSCORED " ORDER BY c.caption_id LIMIT %d", (int)TEXTS);
    bool ok = vc_db_prepare(s->ws->db, &s->page, sql.data, err) &&
              vc_db_prepare(s->ws->db, &s->insert, "INSERT INTO caption_filter(caption_id, score) VALUES(?1, ?2)", err);
    vc_str_finish(&sql);
    VcProgress *progress = vc_progress_begin("filter", "captions", 0);
    int64_t after = -1;
    for (size_t n = 1; ok && n > 0;) {
        ok = !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        ok = ok && read_page(s, after, &n, err);
        if (ok && n > 0) {
            after = s->ids[n - 1];
            ok = (s->clip || open_clip(s->ws, given, model, &s->clip, err)) && score_page(s, n, err);
        }
        for (size_t i = 0; i < n; i++) {
            free(s->texts[i]);
            s->texts[i] = NULL; // an interrupted round would meet them again
        }
        report->scored += ok ? (int64_t)n : 0;
        vc_progress_add(progress, n, 0);
    }
    vc_progress_end(&progress);
    return ok;
}

static bool update_scores(VcWorkspace *ws, const ConceptsFilterOptions *o, ConceptsFilterReport *report, VcErr *err)
{
    Scorer s = {.ws = ws, .pool = o->pool};
    ConceptsModel model = {0};
    bool ok = concepts_open_vectors(ws, "image", &s.images, &model, err) && check_model(ws, &model, err);
    if (ok) {
        s.dim = (size_t)model.dim;
        s.text = vc_alloc(TEXTS * s.dim, sizeof *s.text);
        s.image = vc_alloc(s.dim, sizeof *s.image);
        ok = score_all(&s, &model, o->clip, report, err);
    }
    vc_stmt_finish(&s.page);
    vc_stmt_finish(&s.insert);
    vectors_reader_close(&s.images);
    clip_close(&s.clip);
    concepts_model_finish(&model);
    free(s.text);
    free(s.image);
    return ok;
}

// --- decision --------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t caption, image;
    double score;
    bool dropped;
} Pair;

static int by_score(const void *a, const void *b)
{
    const Pair *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->caption < y->caption ? -1 : x->caption > y->caption;
}

static int by_image_score(const void *a, const void *b)
{
    const Pair *x = a, *y = b;
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    return by_score(a, b);
}

static bool read_pairs(VcWorkspace *ws, Pair **pairs, size_t *n, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0;
    bool row, ok = vc_db_prepare(ws->db, &stmt,
                                 "SELECT caption_id, image_id, score FROM caption_filter JOIN caption USING(caption_id)"
                                 " ORDER BY caption_id",
                                 err);
    *pairs = NULL;
    *n = 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        *pairs = vc_grow(*pairs, &cap, *n + 1, sizeof **pairs);
        (*pairs)[(*n)++] = (Pair){vc_column_int(stmt, 0), vc_column_int(stmt, 1), vc_column_double(stmt, 2), false};
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// Sorts the pairs by image; counts images that lose all.
static void decide(const ConceptsFilterOptions *o, Pair *pairs, size_t n, ConceptsFilterReport *report)
{
    if (n == 0)
        return;
    if (o->keep >= 0) {
        qsort(pairs, n, sizeof *pairs, by_score);
        for (size_t i = (size_t)(o->keep * (double)n); i < n; i++)
            pairs[i].dropped = true;
    }
    qsort(pairs, n, sizeof *pairs, by_image_score);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && pairs[end].image == pairs[i].image;)
            end++;
        size_t most = o->per_image >= 0 ? (size_t)(o->per_image * (double)(end - i)) : end - i;
        most = most == 0 && !o->allow_none ? 1 : most;
        bool any = false;
        for (size_t k = i; k < end; k++) {
            Pair *p = &pairs[k];
            p->dropped = p->dropped || k - i >= most || (o->has_min_score && p->score < o->min_score);
            any = any || !p->dropped;
            report->kept += !p->dropped;
            report->dropped += p->dropped;
        }
        report->images_without += !any;
    }
}

static void fill_histogram(const Pair *pairs, size_t n, ConceptsFilterReport *report)
{
    if (n == 0)
        return;
    report->low = report->high = pairs[0].score;
    for (size_t i = 1; i < n; i++) {
        report->low = pairs[i].score < report->low ? pairs[i].score : report->low;
        report->high = pairs[i].score > report->high ? pairs[i].score : report->high;
    }
    double width = (report->high - report->low) / CONCEPTS_FILTER_BINS;
    for (size_t i = 0; i < n; i++) {
        double at = width > 0 ? (pairs[i].score - report->low) / width : 0;
        size_t bin = at < CONCEPTS_FILTER_BINS ? (size_t)at : CONCEPTS_FILTER_BINS - 1;
        (pairs[i].dropped ? report->dropped_bins : report->kept_bins)[bin]++;
    }
}

// meta.filter_state names what is marked, so that records made with other marks are not gone on with. None: ''.
static bool mark(VcWorkspace *ws, const Pair *pairs, size_t n, VcErr *err)
{
    VcStmt *stmt = NULL;
    VcSha256 *sha = vc_sha256_begin();
    bool any = false;
    bool ok = vc_db_begin(ws->db, err) &&
              vc_db_exec(ws->db, "UPDATE caption_filter SET dropped = 0 WHERE dropped", err) &&
              vc_db_prepare(ws->db, &stmt, "UPDATE caption_filter SET dropped = 1 WHERE caption_id = ?1", err);
    for (size_t i = 0; i < n && ok; i++) {
        if (!pairs[i].dropped)
            continue;
        any = true;
        vc_sha256_add(sha, &pairs[i].caption, sizeof pairs[i].caption);
        vc_bind_int(stmt, 1, pairs[i].caption);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    uint8_t digest[32];
    char hex[65];
    vc_sha256_end(&sha, digest);
    vc_hex(digest, 32, hex);
    ok = ok && vc_meta_set(ws, "filter_state", any ? hex : "", err) && vc_db_commit(ws->db, err);
    if (!ok)
        vc_db_rollback(ws->db);
    return ok;
}

bool concepts_filter(VcWorkspace *ws, const ConceptsFilterOptions *o, ConceptsFilterReport *report, VcErr *err)
{
    *report = (ConceptsFilterReport){0};
    Pair *pairs = NULL;
    size_t n = 0;
    bool ok = make_table(ws, err) && (o->reset || update_scores(ws, o, report, err)) && read_pairs(ws, &pairs, &n, err);
    if (ok) {
        const ConceptsFilterOptions none = {.keep = -1, .per_image = -1};
        report->captions = (int64_t)n;
        decide(o->reset ? &none : o, pairs, n, report);
        fill_histogram(pairs, n, report);
        ok = o->dry_run || mark(ws, pairs, n, err);
    }
    free(pairs);
    return ok;
}
