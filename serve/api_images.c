// SPDX-License-Identifier: MIT
// /api/info, /api/images, /api/images/ID, /api/pictures/ID.
#include "serve/internal.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "concepts/concepts.h"
#include "extract/extract.h"

enum { AS_STORED = 64 << 10 }; // bytes up to which a stored picture is sent as it is

// --- the workspace ---------------------------------------------------------------------------------------------------

static bool put_names(VcStr *out, const char *key, VcDb *db, const char *sql, VcErr *err)
{
    VcStmt *stmt;
    bool row = true, ok = vc_db_prepare(db, &stmt, sql, err);
    serve_json_key(out, key);
    vc_str_putc(out, '[');
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        serve_json_value(out, vc_column_text(stmt, 0));
    vc_str_putc(out, ']');
    if (stmt)
        vc_stmt_finish(&stmt);
    return ok;
}

bool serve_get_info(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply, VcErr *err)
{
    (void)request;
    VcWorkspace *ws = query_engine_workspace(worker->engine);
    static const struct {
        const char *key, *sql;
    } counts[] = {
        {"images", "SELECT count(*) FROM image"},
        {"stored", "SELECT count(*) FROM image_file"},
        {"captions", "SELECT max(rowid) FROM caption"},
        {"concepts", "SELECT count(*) FROM concept"},
        {"vectors", "SELECT max(rows) FROM vector_file WHERE kind = 'image'"},
    };
    VcStr *out = &reply->body;
    const char *base = strrchr(ctx->workspace, '/');
    vc_str_putc(out, '{');
    serve_json_text(out, "name", base && base[1] ? base + 1 : ctx->workspace);
    serve_json_text(out, "path", ctx->workspace);
    serve_json_text(out, "version", VICHA_VERSION);
    serve_json_text(out, "stamp", ctx->stamp);
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof counts / sizeof *counts; i++) {
        int64_t n;
        ok = vc_db_int(ws->db, counts[i].sql, 0, &n, err);
        if (ok)
            serve_json_int(out, counts[i].key, n);
    }
    char *model = NULL;
    ok = ok && vc_meta_get(ws, "active_model_path", &model, err);
    serve_json_text(out, "model", model);
    free(model);
    ok = ok && put_names(out, "sources", ws->db, "SELECT name FROM source ORDER BY name LIMIT 200", err) &&
         put_names(out, "splits", ws->db, "SELECT DISTINCT name FROM split ORDER BY name LIMIT 200", err) &&
         put_names(out, "tags", ws->db, "SELECT DISTINCT name FROM tag ORDER BY name LIMIT 200", err);
    vc_str_put(out, "}\n");
    return ok;
}

// --- lists -----------------------------------------------------------------------------------------------------------

static const char *order_name(QueryOrder order)
{
    switch (order) {
    case QUERY_BY_VECTOR:
        return "vector";
    case QUERY_BY_CONCEPTS:
        return "concepts";
    case QUERY_BY_BM25:
        return "bm25";
    case QUERY_BY_CAPTION:
        return "caption";
    default:
        return "id";
    }
}

static void put_hit(VcStr *out, const QueryHit *h)
{
    serve_json_key(out, NULL);
    vc_str_putc(out, '{');
    serve_json_int(out, "id", h->image_id);
    serve_json_text(out, "key", h->key);
    serve_json_text(out, "source", h->source);
    serve_json_real(out, "score", h->score);
    serve_json_int(out, "width", h->width);
    serve_json_int(out, "height", h->height);
    serve_json_text(out, "split", h->split);
    serve_json_text(out, "caption", h->caption);
    if (h->concepts) {
        serve_json_key(out, "concepts");
        vc_str_putc(out, '[');
        for (size_t i = 0; i < h->concept_count; i++) {
            serve_json_key(out, NULL);
            vc_str_putc(out, '{');
            serve_json_text(out, "text", h->concepts[i].text);
            serve_json_real(out, "score", h->concepts[i].score);
            vc_str_putc(out, '}');
        }
        vc_str_putc(out, ']');
    }
    vc_str_putc(out, '}');
}

// Nothing is asked: the images by number, at any offset.
static bool put_all(ServeContext *ctx, ServeWorker *worker, int64_t offset, int64_t limit, VcStr *out, VcErr *err)
{
    VcDb *db = query_engine_workspace(worker->engine)->db;
    ServePlace place;
    VcStmt *stmt;
    double began = vc_now();
    // The source's name is looked up by row: joined, the planner would begin with the sources and sort everything.
    if (!serve_order_find(ctx, db, offset, &place, err) ||
        !vc_db_prepare(db, &stmt,
                       "SELECT i.image_id, i.key, (SELECT s.name FROM source s WHERE s.source_id = i.source_id), "
                       "i.width, i.height,"
                       " (SELECT p.name FROM split p WHERE p.image_id = i.image_id),"
                       " (SELECT c.text FROM caption c WHERE c.image_id = i.image_id ORDER BY c.caption_id LIMIT 1)"
                       " FROM image i WHERE i.image_id >= ?1 AND i.status >= 0"
                       " ORDER BY i.image_id LIMIT ?2 OFFSET ?3",
                       err))
        return false;
    vc_bind_int(stmt, 1, place.start);
    vc_bind_int(stmt, 2, limit);
    vc_bind_int(stmt, 3, place.pass);
    vc_str_putc(out, '{');
    serve_json_int(out, "matched", place.total);
    serve_json_bool(out, "matched_exact", true);
    serve_json_text(out, "order", "id");
    serve_json_text(out, "notice", NULL);
    serve_json_text(out, "next", NULL);
    serve_json_key(out, "images");
    vc_str_putc(out, '[');
    bool row = true, ok = true;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        const QueryHit hit = {.image_id = vc_column_int(stmt, 0),
                              .key = vc_column_text(stmt, 1),
                              .source = vc_column_text(stmt, 2),
                              .width = vc_column_int(stmt, 3),
                              .height = vc_column_int(stmt, 4),
                              .split = vc_column_text(stmt, 5),
                              .caption = vc_column_text(stmt, 6)};
        put_hit(out, &hit);
    }
    vc_str_putc(out, ']');
    serve_json_real(out, "seconds", vc_now() - began);
    vc_str_put(out, "}\n");
    vc_stmt_finish(&stmt);
    return ok;
}

// Arguments that only say which part of the list is wanted.
static bool asks_for_all(const ServeRequest *request)
{
    bool offset = false;
    for (size_t i = 0; i < request->arg_count; i++) {
        const char *key = request->args[i].key;
        offset = offset || strcmp(key, "offset") == 0;
        if (strcmp(key, "offset") != 0 && strcmp(key, "limit") != 0)
            return false;
    }
    return offset;
}

bool serve_get_images(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                      VcErr *err)
{
    int64_t limit, offset;
    const char *fields = serve_arg(request, "fields");
    ServeQuestion q;
    if (!serve_arg_int(request, "limit", 1, SERVE_MAX_PAGE, 60, &limit, err) ||
        !serve_arg_int(request, "offset", 0, INT64_MAX / 2, 0, &offset, err))
        return false;
    if (asks_for_all(request))
        return put_all(ctx, worker, offset, limit, &reply->body, err);
    if (!serve_question(ctx, worker, request, &q, err))
        return false;
    q.query.limit = (size_t)limit;
    q.query.offset = (size_t)offset;
    q.query.cursor = serve_arg(request, "cursor");
    q.query.count = true;
    q.query.fields = QUERY_CAPTIONS | (fields && strstr(fields, "concepts") ? (unsigned)QUERY_CONCEPTS : 0);
    QueryPage page = {0};
    bool ok = query_run(worker->engine, &q.query, &page, err);
    if (ok) {
        VcStr *out = &reply->body;
        vc_str_putc(out, '{');
        serve_json_int(out, "matched", page.matched);
        serve_json_bool(out, "matched_exact", page.matched_exact);
        serve_json_text(out, "order", order_name(page.order));
        serve_json_text(out, "notice", page.notice);
        serve_json_text(out, "next", page.next);
        serve_json_real(out, "seconds", page.seconds);
        serve_json_key(out, "images");
        vc_str_putc(out, '[');
        for (size_t i = 0; i < page.count; i++)
            put_hit(out, &page.hits[i]);
        vc_str_put(out, "]}\n");
    }
    query_page_finish(&page);
    serve_question_finish(&q);
    return ok;
}

// --- one image -------------------------------------------------------------------------------------------------------

static bool path_id(const ServeRequest *request, ServeReply *reply, int64_t *id, VcErr *err)
{
    if (vc_parse_i64(strrchr(request->path, '/') + 1, id) && *id >= 0)
        return true;
    reply->status = 404;
    return vc_fail(err, VC_ERR_USAGE, "an image's address ends in its number");
}

static bool put_captions(VcStr *out, VcDb *db, int64_t id, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, "SELECT kind, lang, text FROM caption WHERE image_id = ?1 ORDER BY caption_id", err))
        return false;
    vc_bind_int(stmt, 1, id);
    bool row = true, ok = true;
    serve_json_key(out, "captions");
    vc_str_putc(out, '[');
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, "kind", vc_column_text(stmt, 0));
        serve_json_text(out, "lang", vc_column_text(stmt, 1));
        serve_json_text(out, "text", vc_column_text(stmt, 2));
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
    vc_stmt_finish(&stmt);
    return ok;
}

static bool put_concepts(VcStr *out, VcDb *db, int64_t id, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt,
                       "SELECT c.text, ic.score / 32767.0, t.images FROM image_concept ic JOIN concept c"
                       " USING(concept_id) LEFT JOIN concept_stat t USING(concept_id) WHERE ic.image_id = ?1"
                       " ORDER BY ic.rank",
                       err))
        return false;
    vc_bind_int(stmt, 1, id);
    bool row = true, ok = true;
    serve_json_key(out, "concepts");
    vc_str_putc(out, '[');
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, "text", vc_column_text(stmt, 0));
        serve_json_real(out, "score", vc_column_double(stmt, 1));
        serve_json_int(out, "images", vc_column_int(stmt, 2));
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
    vc_stmt_finish(&stmt);
    return ok;
}

static bool put_origin(VcStr *out, VcDb *db, int64_t id, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt,
                       "SELECT i.key, s.name, s.uri, s.licence, i.sha256, i.phash, i.width, i.height, i.bytes, i.mime,"
                       " i.status, i.error, f.shard, f.offset, f.bytes, i.row,"
                       " (SELECT name FROM split WHERE image_id = i.image_id), v.link"
                       " FROM image i JOIN source s USING(source_id) JOIN v_image v USING(image_id)"
                       " LEFT JOIN image_file f USING(image_id) WHERE i.image_id = ?1",
                       err))
        return false;
    vc_bind_int(stmt, 1, id);
    bool row = true, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row) {
        static const char *const keys[] = {"key",   "source", "uri",          "licence", "sha256", "phash",
                                           "width", "height", "bytes",        "mime",    "status", "error",
                                           "shard", "offset", "stored_bytes", "row",     "split",  "link"};
        for (int i = 0; i < 18; i++) {
            size_t n;
            char hex[65];
            const void *blob;
            if (vc_column_is_null(stmt, i)) {
                serve_json_text(out, keys[i], NULL);
            } else if (i == 4) {
                blob = vc_column_blob(stmt, i, &n);
                vc_hex(blob, n < 32 ? n : 32, hex);
                serve_json_text(out, keys[i], hex);
            } else if (i == 5) { // 64 bits do not fit into JavaScript's numbers
                snprintf(hex, sizeof hex, "%016llx", (unsigned long long)vc_column_int(stmt, i));
                serve_json_text(out, keys[i], hex);
            } else if (i < 4 || i == 9 || i == 11 || i > 15) {
                serve_json_text(out, keys[i], vc_column_text(stmt, i));
            } else {
                serve_json_int(out, keys[i], vc_column_int(stmt, i));
            }
        }
        int status = (int)vc_column_int(stmt, 10);
        serve_json_text(out, "cause", status < 0 ? extract_cause_name(status) : NULL);
    }
    vc_stmt_finish(&stmt);
    return ok && (row || vc_fail(err, VC_ERR_USAGE, "there is no image %lld", (long long)id));
}

bool serve_get_image(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply, VcErr *err)
{
    (void)ctx;
    int64_t id, exists;
    VcDb *db = query_engine_workspace(worker->engine)->db;
    if (!path_id(request, reply, &id, err) ||
        !serve_db_int(db, "SELECT 1 FROM image WHERE image_id = ?1", id, 0, &exists, err))
        return false;
    if (!exists) {
        reply->status = 404;
        return vc_fail(err, VC_ERR_USAGE, "there is no image %lld in this workspace", (long long)id);
    }
    VcStr *out = &reply->body;
    vc_str_putc(out, '{');
    serve_json_int(out, "id", id);
    bool ok = put_origin(out, db, id, err) && put_captions(out, db, id, err) && put_concepts(out, db, id, err);
    int64_t before, after;
    ok = ok && serve_db_int(db, "SELECT max(image_id) FROM image WHERE image_id < ?1", id, 0, &before, err) &&
         serve_db_int(db, "SELECT min(image_id) FROM image WHERE image_id > ?1", id, 0, &after, err);
    if (ok) {
        serve_json_int(out, "previous", before);
        serve_json_int(out, "following", after);
    }
    vc_str_put(out, "}\n");
    return ok;
}

bool serve_get_picture(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                       VcErr *err)
{
    int64_t id, side, stored;
    VcWorkspace *ws = query_engine_workspace(worker->engine);
    if (!path_id(request, reply, &id, err) || !serve_arg_int(request, "side", 16, 2048, 0, &side, err) ||
        !serve_db_int(ws->db, "SELECT bytes FROM image_file WHERE image_id = ?1", id, -1, &stored, err))
        return false;
    if (stored < 0) {
        reply->status = 404;
        return vc_fail(err, VC_ERR_USAGE, "no picture is stored for image %lld", (long long)id);
    }
    reply->type = "image/jpeg";
    const char *stamp = serve_arg(request, "v");
    reply->cache = stamp && strcmp(stamp, ctx->stamp) == 0 ? "private, max-age=31536000, immutable" : "no-cache";
    snprintf(reply->etag, sizeof reply->etag, "\"%s-%llx-%llx\"", ctx->stamp, (unsigned long long)id,
             (unsigned long long)side);
    if (side == 0 || stored <= AS_STORED)
        return query_picture_read(ws, id, &reply->bytes, &reply->size, err);
    return query_picture_thumbnail(ws, id, (int)side, &reply->bytes, &reply->size, err);
}
