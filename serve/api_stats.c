// SPDX-License-Identifier: MIT
// /api/stats and /api/failures.
#include "serve/internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "concepts/concepts.h"
#include "extract/extract.h"

enum { FRESH = 10, COST_FACTOR = 30 };

static void put_items(VcStr *out, const char *key, const char *word, const StatsItem *items, size_t n)
{
    serve_json_key(out, key);
    vc_str_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, word, items[i].text);
        serve_json_int(out, "images", items[i].count);
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
}

static void put_bins(VcStr *out, const char *key, const int64_t *bins)
{
    serve_json_key(out, key);
    vc_str_putc(out, '[');
    for (size_t i = 0; i < STATS_BINS; i++)
        serve_json_int(out, NULL, bins[i]);
    vc_str_putc(out, ']');
}

static void put_sources(VcStr *out, const WorkspaceStats *s)
{
    serve_json_key(out, "by_source");
    vc_str_putc(out, '[');
    for (int64_t i = 0; i < s->sources; i++) {
        const StatsSource *one = &s->by_source[i];
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, "name", one->name);
        serve_json_text(out, "uri", one->uri);
        serve_json_text(out, "licence", one->licence[0] ? one->licence : NULL);
        serve_json_int(out, "images", one->images);
        serve_json_int(out, "rejected", one->rejected);
        serve_json_int(out, "mined", one->mined);
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
}

// Frequencies of all concepts, falling, thinned to points that are apart on a logarithmic axis of ranks.
static bool put_frequencies(VcStr *out, VcDb *db, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, "SELECT images FROM concept_stat WHERE images > 0 ORDER BY images DESC", err))
        return false;
    bool row = true, ok = true;
    int64_t rank = 0;
    double next = 1;
    serve_json_key(out, "frequencies");
    vc_str_putc(out, '[');
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        if ((double)++rank < next)
            continue;
        next = (double)rank * 1.05 > (double)rank + 1 ? (double)rank * 1.05 : (double)rank + 1;
        serve_json_key(out, NULL);
        vc_str_putf(out, "[%lld, %lld]", (long long)rank, (long long)vc_column_int(stmt, 0));
    }
    vc_str_putc(out, ']');
    vc_stmt_finish(&stmt);
    serve_json_int(out, "concepts_used", rank);
    return ok;
}

static bool make_stats(VcWorkspace *ws, VcStr *out, VcErr *err)
{
    WorkspaceStats s = {0};
    if (!stats_collect(ws, &s, err))
        return false;
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {{"sources", s.sources},     {"images", s.images},     {"stored", s.stored},
                  {"stored_bytes", s.bytes},  {"embedded", s.embedded}, {"mined", s.mined},
                  {"rejected", s.rejected},   {"captions", s.captions}, {"concepts", s.concepts},
                  {"image_concepts", s.pairs}};
    vc_str_putc(out, '{');
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        serve_json_int(out, counts[i].key, counts[i].value);
    serve_json_text(out, "model", s.model);
    put_items(out, "rejected_by_cause", "cause", s.causes, s.cause_count);
    put_items(out, "top_concepts", "text", s.top, s.top_count);
    put_bins(out, "images_by_captions", s.per_image);
    serve_json_real(out, "score_low", s.score_low);
    serve_json_real(out, "score_high", s.score_high);
    put_bins(out, "score_histogram", s.score_bins);
    put_sources(out, &s);
    stats_finish(&s);
    bool ok = put_frequencies(out, ws->db, err);
    vc_str_putc(out, '}');
    return ok;
}

// Counting a large workspace takes seconds, so an answer is kept for FRESH seconds or COST_FACTOR times what it took.
// Who asks meanwhile waits for the one that counts.
bool serve_get_stats(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply, VcErr *err)
{
    (void)request;
    pthread_mutex_lock(&ctx->stats_lock);
    double now = vc_now(), keep = FRESH > COST_FACTOR * ctx->stats_cost ? FRESH : COST_FACTOR * ctx->stats_cost;
    bool ok = true;
    if (!ctx->stats || now - ctx->stats_at > keep) {
        VcStr made = {0};
        ok = make_stats(query_engine_workspace(worker->engine), &made, err);
        if (ok) {
            free(ctx->stats);
            ctx->stats = made.data;
            ctx->stats_at = vc_now();
            ctx->stats_cost = ctx->stats_at - now;
        } else {
            vc_str_finish(&made);
        }
    }
    if (ok)
        vc_str_putf(&reply->body, "{\"age\": %.0f, \"stats\": %s}\n", vc_now() - ctx->stats_at, ctx->stats);
    pthread_mutex_unlock(&ctx->stats_lock);
    return ok;
}

// --- failures --------------------------------------------------------------------------------------------------------

static int cause_number(const char *name)
{
    for (unsigned i = 0; extract_cause_at(i) != EXTRACT_OK; i++) {
        if (strcmp(extract_cause_name(extract_cause_at(i)), name) == 0)
            return (int)extract_cause_at(i);
    }
    return 0;
}

static bool put_causes(VcStr *out, VcDb *db, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt,
                       "SELECT i.status, s.name, count(*) FROM image i JOIN source s USING(source_id)"
                       " WHERE i.status < 0 GROUP BY 1, 2 ORDER BY 3 DESC, 1 DESC, 2",
                       err))
        return false;
    bool row = true, ok = true;
    serve_json_key(out, "causes");
    vc_str_putc(out, '[');
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, "cause", extract_cause_name((int)vc_column_int(stmt, 0)));
        serve_json_text(out, "source", vc_column_text(stmt, 1));
        serve_json_int(out, "images", vc_column_int(stmt, 2));
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
    vc_stmt_finish(&stmt);
    return ok;
}

// A page of the rejected images, by number; `after` is the last number of the page before.
static bool put_failures(VcStr *out, VcDb *db, int cause, const int64_t page[2], VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt,
                       "SELECT i.image_id, i.status, i.key, i.error, s.name FROM image i JOIN source s USING(source_id)"
                       " WHERE i.status < 0 AND (?1 = 0 OR i.status = ?1) AND i.image_id > ?2 ORDER BY i.image_id"
                       " LIMIT ?3",
                       err))
        return false;
    vc_bind_int(stmt, 1, cause);
    vc_bind_int(stmt, 2, page[0]);
    vc_bind_int(stmt, 3, page[1]);
    bool row = true, ok = true;
    serve_json_key(out, "failures");
    vc_str_putc(out, '[');
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_int(out, "id", vc_column_int(stmt, 0));
        serve_json_text(out, "cause", extract_cause_name((int)vc_column_int(stmt, 1)));
        serve_json_text(out, "key", vc_column_text(stmt, 2));
        serve_json_text(out, "error", vc_column_text(stmt, 3));
        serve_json_text(out, "source", vc_column_text(stmt, 4));
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
    vc_stmt_finish(&stmt);
    return ok;
}

bool serve_get_failures(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                        VcErr *err)
{
    (void)ctx;
    VcDb *db = query_engine_workspace(worker->engine)->db;
    const char *name = serve_arg(request, "cause");
    int cause = name && *name ? cause_number(name) : 0;
    int64_t page[2];
    if (name && *name && !cause)
        return vc_fail(err, VC_ERR_USAGE, "'%.40s' is no cause of a rejection", name);
    if (!serve_arg_int(request, "after", 0, INT64_MAX, 0, &page[0], err) ||
        !serve_arg_int(request, "limit", 1, SERVE_MAX_PAGE, 100, &page[1], err))
        return false;
    VcStr *out = &reply->body;
    vc_str_putc(out, '{');
    bool ok = put_causes(out, db, err) && put_failures(out, db, cause, page, err);
    vc_str_put(out, "}\n");
    return ok;
}
