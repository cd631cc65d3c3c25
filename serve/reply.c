// SPDX-License-Identifier: MIT
// Routes, replies, arguments, JSON.
#include "serve/internal.h"

#include "base/hash.h"
#include "base/mem.h"

#include <math.h>

void serve_json_key(VcStr *out, const char *key)
{
    char last = out->len ? out->data[out->len - 1] : '{';
    vc_str_put(out, last == '{' || last == '[' ? "" : ", ");
    if (key) {
        vc_str_put_json(out, key, strlen(key), false);
        vc_str_put(out, ": ");
    }
}

void serve_json_value(VcStr *out, const char *text)
{
    serve_json_key(out, NULL);
    vc_str_put_json(out, text, strlen(text), false);
}

void serve_json_text(VcStr *out, const char *key, const char *value)
{
    serve_json_key(out, key);
    if (value) {
        vc_str_put_json(out, value, strlen(value), false);
    } else {
        vc_str_put(out, "null");
    }
}

void serve_json_int(VcStr *out, const char *key, int64_t value)
{
    serve_json_key(out, key);
    vc_str_putf(out, "%lld", (long long)value);
}

void serve_json_real(VcStr *out, const char *key, double value)
{
    serve_json_key(out, key);
    if (isfinite(value)) {
        vc_str_putf(out, "%.6g", value);
    } else {
        vc_str_put(out, "null");
    }
}

void serve_json_bool(VcStr *out, const char *key, bool value)
{
    serve_json_key(out, key);
    vc_str_put(out, value ? "true" : "false");
}

const char *serve_arg(const ServeRequest *request, const char *key)
{
    for (size_t i = 0; i < request->arg_count; i++) {
        if (strcmp(request->args[i].key, key) == 0)
            return request->args[i].value;
    }
    return NULL;
}

bool serve_arg_int(const ServeRequest *request, const char *key, int64_t low, int64_t high, int64_t otherwise,
                   int64_t *out, VcErr *err)
{
    const char *text = serve_arg(request, key);
    *out = otherwise;
    if (!text || !*text)
        return true;
    if (!vc_parse_i64(text, out) || *out < low || *out > high) {
        return vc_fail(err, VC_ERR_USAGE, "'%s' is '%.40s', expected a whole number from %lld to %lld", key, text,
                       (long long)low, (long long)high);
    }
    return true;
}

bool serve_db_int(VcDb *db, const char *sql, int64_t parameter, int64_t otherwise, int64_t *out, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, sql, err))
        return false;
    vc_bind_int(stmt, 1, parameter);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok)
        *out = row && !vc_column_is_null(stmt, 0) ? vc_column_int(stmt, 0) : otherwise;
    vc_stmt_finish(&stmt);
    return ok;
}

// --- replies ---------------------------------------------------------------------------------------------------------

static void finish_body(ServeReply *reply)
{
    if (reply->stream.next)
        reply->stream.finish(reply->stream.state);
    free(reply->bytes);
    vc_str_finish(&reply->body);
    reply->stream = (ServeStream){0};
    reply->bytes = NULL;
    reply->fixed = NULL;
}

void serve_reply_finish(ServeReply *reply)
{
    finish_body(reply);
    *reply = (ServeReply){0};
}

void serve_reply_error(ServeReply *reply, unsigned status, const char *text)
{
    serve_reply_finish(reply);
    reply->status = status;
    vc_str_put(&reply->body, "{");
    serve_json_text(&reply->body, "error", text);
    vc_str_put(&reply->body, "}\n");
}

static unsigned status_of(const ServeReply *reply, const VcErr *err)
{
    if (reply->status >= 400)
        return reply->status;
    switch (err->code) {
    case VC_ERR_USAGE:
        return 400;
    case VC_ERR_FORMAT:
        return 422;
    case VC_ERR_LIMIT:
        return 413;
    default:
        return 500;
    }
}

// --- routes ----------------------------------------------------------------------------------------------------------

typedef struct {
    const char *method, *path; // a path that ends in '*': anything without another '/' may stand there
    ServeHandler handler;
} Route;

static const Route routes[] = {
    {"GET", "/api/info", serve_get_info},          {"GET", "/api/images", serve_get_images},
    {"GET", "/api/images/*", serve_get_image},     {"GET", "/api/pictures/*", serve_get_picture},
    {"POST", "/api/pictures", serve_post_picture}, {"GET", "/api/concepts", serve_get_concepts},
    {"GET", "/api/concept", serve_get_concept},    {"GET", "/api/stats", serve_get_stats},
    {"GET", "/api/failures", serve_get_failures},  {"GET", "/api/runs", serve_get_runs},
    {"GET", "/api/runs/*", serve_get_run},         {"GET", "/api/metrics/*", serve_get_metrics},
    {"GET", "/api/export", serve_get_export},
};

static bool path_fits(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);
    if (pattern[n - 1] != '*')
        return strcmp(pattern, path) == 0;
    return strncmp(pattern, path, n - 1) == 0 && path[n - 1] && !strchr(path + n - 1, '/');
}

static void reply_asset(const ServeAsset *asset, ServeReply *reply)
{
    reply->type = asset->type;
    reply->fixed = asset->data;
    reply->size = *asset->size;
    reply->cache = "no-cache";
    snprintf(reply->etag, sizeof reply->etag, "\"%016llx\"", (unsigned long long)vc_xxh3(asset->data, *asset->size));
}

void serve_dispatch(ServeContext *ctx, const ServeRequest *request, ServeReply *reply)
{
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    const ServeAsset *asset = serve_asset(request->path);
    bool known = asset != NULL;
    reply->status = 200;
    if (asset && strcmp(method, "GET") == 0) {
        reply_asset(asset, reply);
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const Route *r = &routes[i];
        if (!path_fits(r->path, request->path))
            continue;
        known = true;
        if (strcmp(r->method, method) != 0)
            continue;
        VcErr err = {0};
        ServeWorker *worker = serve_worker_take(ctx);
        bool ok = r->handler(ctx, worker, request, reply, &err);
        serve_worker_give(ctx, worker);
        if (!ok)
            serve_reply_error(reply, status_of(reply, &err), err.text);
        return;
    }
    serve_reply_error(reply, known ? 405 : 404,
                      known ? "this address does not take this method" : "there is nothing here");
}
