// SPDX-License-Identifier: MIT
#include "concepts/stats.h"

#include "base/mem.h"
#include "base/str.h"
#include "concepts/store.h"
#include "extract/extract.h"

// Groups: text and number. Stops at `max` rows.
static bool read_items(VcWorkspace *ws, const char *sql, StatsItem *items, size_t max, size_t *count, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    bool row = true, ok = true;
    while (*count < max && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        items[(*count)++] =
            (StatsItem){vc_strdup(vc_column_text(stmt, 0) ? vc_column_text(stmt, 0) : ""), vc_column_int(stmt, 1)};
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// Groups: bin and number.
static bool read_bins(VcWorkspace *ws, const char *sql, int64_t *bins, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    bool row = true, ok = true;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t bin = vc_column_int(stmt, 0);
        bins[bin < 0 ? 0 : bin >= STATS_BINS ? STATS_BINS - 1 : bin] += vc_column_int(stmt, 1);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static bool score_histogram(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    int64_t low, high;
    if (!vc_db_int(ws->db, "SELECT min(score) FROM image_concept", 0, &low, err) ||
        !vc_db_int(ws->db, "SELECT max(score) FROM image_concept", 0, &high, err))
        return false;
    s->score_low = (double)low / 32767;
    s->score_high = (double)high / 32767;
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT (score - (%lld)) * %d / %lld, count(*) FROM image_concept GROUP BY 1",
             (long long)low, STATS_BINS, (long long)high - low + 1);
    return read_bins(ws, sql, s->score_bins, err);
}

static bool read_causes(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT status, count(*) FROM image WHERE status < 0 GROUP BY status ORDER BY 2 DESC, 1 DESC",
                       err))
        return false;
    bool row = true, ok = true;
    while (s->cause_count < STATS_CAUSES && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        s->causes[s->cause_count++] =
            (StatsItem){vc_strdup(extract_cause_name((int)vc_column_int(stmt, 0))), vc_column_int(stmt, 1)};
    }
    vc_stmt_finish(&stmt);
    return ok;
}

bool stats_collect(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    *s = (WorkspaceStats){0};
    const struct {
        const char *sql;
        int64_t *out;
    } counts[] = {
        {"SELECT count(*) FROM source", &s->sources},
        {"SELECT count(*) FROM image", &s->images},
        {"SELECT count(*) FROM image_file", &s->stored},
        {"SELECT sum(bytes) FROM image_file", &s->bytes},
        {"SELECT count(*) FROM image WHERE row IS NOT NULL", &s->embedded},
        {"SELECT count(*) FROM image WHERE status = 2", &s->mined},
        {"SELECT count(*) FROM image WHERE status < 0", &s->rejected},
        {"SELECT count(*) FROM caption", &s->captions},
        {"SELECT count(*) FROM concept WHERE NOT removed", &s->concepts},
        {"SELECT count(*) FROM image_concept", &s->pairs},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof counts / sizeof *counts; i++)
        ok = vc_db_int(ws->db, counts[i].sql, 0, counts[i].out, err);
    ConceptsModel model = {0};
    ok = ok && concepts_active_model(ws, &model, err);
    if (ok && model.model_id >= 0)
        s->model = vc_strdup(model.name);
    concepts_model_finish(&model);
    ok = ok &&
         read_items(ws,
                    "SELECT c.text, t.images FROM concept_stat t JOIN concept c USING(concept_id)"
                    " ORDER BY t.images DESC, c.concept_id",
                    s->top, STATS_TOP, &s->top_count, err) &&
         read_bins(ws,
                   "SELECT n, count(*) FROM (SELECT (SELECT count(*) FROM caption c WHERE c.image_id = i.image_id) AS n"
                   " FROM image i) GROUP BY n",
                   s->per_image, err) &&
         score_histogram(ws, s, err) && read_causes(ws, s, err);
    if (!ok)
        stats_finish(s);
    return ok;
}

void stats_finish(WorkspaceStats *s)
{
    for (size_t i = 0; i < s->top_count; i++)
        free(s->top[i].text);
    for (size_t i = 0; i < s->cause_count; i++)
        free(s->causes[i].text);
    free(s->model);
    *s = (WorkspaceStats){0};
}
