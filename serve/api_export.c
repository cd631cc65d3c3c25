// SPDX-License-Identifier: MIT
// /api/export: the current selection as a file. The list of images is made first, their rows are read in pieces, so an
// export of any size needs little memory and holds no worker while the reader is slow.
#include "serve/internal.h"

#include "base/mem.h"
#include "concepts/concepts.h"

enum { PIECE_IMAGES = 500 };

typedef enum { AS_JSONL, AS_CSV, AS_PATHS, AS_IDS } ExportForm;

typedef struct {
    ServeContext *ctx;
    ExportForm form;
    int64_t *ids;
    double *scores; // NULL: the selection has no order
    size_t count, at;
    bool begun;
} Export;

static const char export_sql[] =
    "SELECT v.key, v.source, v.link, v.width, v.height, v.caption, v.concepts,"
    " (SELECT name FROM split s WHERE s.image_id = v.image_id), (SELECT json_group_array(text) FROM (SELECT text FROM"
    " caption c WHERE c.image_id = v.image_id ORDER BY caption_id)), (SELECT json_group_array(json_array(text,"
    " round(score / 32767.0, 6))) FROM (SELECT c.text, ic.score FROM image_concept ic JOIN concept c USING(concept_id)"
    " WHERE ic.image_id = v.image_id ORDER BY ic.rank)) FROM v_image v WHERE v.image_id = ?1";

// A cell of CSV. A spreadsheet takes text that begins with = + - @ for a formula, so such text gets a quote before it.
static void put_cell(VcStr *out, const char *text)
{
    vc_str_putc(out, '"');
    if (text && *text && strchr("=+-@\t\r", *text))
        vc_str_putc(out, '\'');
    for (const char *c = text ? text : ""; *c; c++) {
        if (*c == '"')
            vc_str_putc(out, '"');
        vc_str_putc(out, *c);
    }
    vc_str_putc(out, '"');
}

static void put_jsonl(VcStr *out, const Export *e, int64_t id, VcStmt *row)
{
    vc_str_putc(out, '{');
    serve_json_int(out, "id", id);
    serve_json_text(out, "image", vc_column_text(row, 2));
    serve_json_text(out, "key", vc_column_text(row, 0));
    serve_json_text(out, "source", vc_column_text(row, 1));
    serve_json_int(out, "width", vc_column_int(row, 3));
    serve_json_int(out, "height", vc_column_int(row, 4));
    serve_json_text(out, "split", vc_column_text(row, 7));
    if (e->scores)
        serve_json_real(out, "score", e->scores[e->at]);
    serve_json_key(out, "captions");
    vc_str_put(out, vc_column_text(row, 8));
    serve_json_key(out, "concepts");
    vc_str_put(out, vc_column_text(row, 9));
    vc_str_put(out, "}\n");
}

static void put_csv(VcStr *out, const Export *e, int64_t id, VcStmt *row)
{
    vc_str_putf(out, "%lld,", (long long)id);
    if (e->scores)
        vc_str_putf(out, "%.6f", e->scores[e->at]);
    static const int columns[] = {1, 0, 2, 7, 5, 6};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        vc_str_putc(out, ',');
        put_cell(out, vc_column_text(row, columns[i]));
    }
    vc_str_put(out, "\r\n");
}

static bool put_row(VcStr *out, const Export *e, VcStmt *stmt, VcErr *err)
{
    int64_t id = e->ids[e->at];
    bool row;
    vc_bind_int(stmt, 1, id);
    if (!vc_stmt_step(stmt, &row, err))
        return false;
    if (row && e->form == AS_JSONL)
        put_jsonl(out, e, id, stmt);
    if (row && e->form == AS_CSV)
        put_csv(out, e, id, stmt);
    if (row && e->form == AS_PATHS)
        vc_str_putf(out, "%s\n", vc_column_text(stmt, 2));
    vc_stmt_reset(stmt);
    return true;
}

static bool next_piece(void *state, VcStr *out, VcErr *err)
{
    Export *e = state;
    if (!e->begun && e->form == AS_CSV)
        vc_str_put(out, "id,score,source,key,image,split,caption,concepts\r\n");
    e->begun = true;
    if (e->at == e->count)
        return true;
    VcStmt *stmt = NULL;
    ServeWorker *worker = serve_worker_take(e->ctx);
    bool ok = vc_db_prepare(query_engine_workspace(worker->engine)->db, &stmt, export_sql, err);
    // Images that were removed since leave a piece empty, which would be read as the end.
    for (size_t i = 0; ok && (i < PIECE_IMAGES || out->len == 0) && e->at < e->count; i++, e->at++) {
        if (e->form == AS_IDS) {
            vc_str_putf(out, "%lld\n", (long long)e->ids[e->at]);
        } else {
            ok = put_row(out, e, stmt, err);
        }
    }
    vc_stmt_finish(&stmt);
    serve_worker_give(e->ctx, worker);
    return ok;
}

static void finish_export(void *state)
{
    Export *e = state;
    pthread_mutex_lock(&e->ctx->lock);
    e->ctx->exports--;
    pthread_mutex_unlock(&e->ctx->lock);
    free(e->ids);
    free(e->scores);
    free(e);
}

static bool parse_form(const char *text, ExportForm *form, ServeReply *reply, VcErr *err)
{
    static const struct {
        const char *name, *type, *disposition;
    } forms[] = {
        {"jsonl", "application/x-ndjson; charset=utf-8", "attachment; filename=\"selection.jsonl\""},
        {"csv", "text/csv; charset=utf-8", "attachment; filename=\"selection.csv\""},
        {"paths", "text/plain; charset=utf-8", "attachment; filename=\"selection-paths.txt\""},
        {"ids", "text/plain; charset=utf-8", "attachment; filename=\"selection-ids.txt\""},
    };
    for (size_t i = 0; i < 4; i++) {
        if (!strcmp(text ? text : "jsonl", forms[i].name)) {
            *form = (ExportForm)i;
            reply->type = forms[i].type;
            reply->disposition = forms[i].disposition;
            return true;
        }
    }
    return vc_fail(err, VC_ERR_USAGE, "'format' is '%.20s', expected jsonl, csv, paths or ids", text);
}

// An order by likeness has no end, so it is cut at `limit`; a filter alone is exported whole.
static bool select_images(Export *e, ServeWorker *worker, ServeQuestion *q, int64_t limit, VcErr *err)
{
    if (!q->vector && !q->query.has_min_score)
        return query_select(worker->engine, &q->query.filter, &e->ids, &e->count, err);
    q->query.limit = (size_t)limit;
    QueryPage page = {0};
    bool ok = query_run(worker->engine, &q->query, &page, err);
    if (ok) {
        e->count = page.count;
        e->ids = vc_alloc(page.count + 1, sizeof *e->ids);
        e->scores = vc_alloc(page.count + 1, sizeof *e->scores);
        for (size_t i = 0; i < page.count; i++) {
            e->ids[i] = page.hits[i].image_id;
            e->scores[i] = page.hits[i].score;
        }
    }
    query_page_finish(&page);
    return ok;
}

bool serve_get_export(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                      VcErr *err)
{
    ExportForm form = AS_JSONL;
    ServeQuestion q;
    int64_t limit;
    if (!serve_arg_int(request, "limit", 1, SERVE_RANKED_EXPORT, 1000, &limit, err) ||
        !parse_form(serve_arg(request, "format"), &form, reply, err) ||
        !serve_question(ctx, worker, request, &q, err)) {
        reply->type = NULL;
        reply->disposition = NULL;
        return false;
    }
    pthread_mutex_lock(&ctx->lock);
    bool room = ctx->exports < SERVE_EXPORTS;
    ctx->exports += room;
    pthread_mutex_unlock(&ctx->lock);
    bool ok = room || vc_fail(err, VC_ERR_LIMIT, "%d exports are running already; wait for one to end", SERVE_EXPORTS);
    if (!room)
        reply->status = 503;
    if (ok) {
        Export *e = vc_calloc(1, sizeof *e);
        e->ctx = ctx;
        e->form = form;
        reply->stream = (ServeStream){next_piece, finish_export, e};
        ok = select_images(e, worker, &q, limit, err);
    }
    serve_question_finish(&q);
    if (!ok) {
        reply->type = NULL;
        reply->disposition = NULL;
    }
    return ok;
}
