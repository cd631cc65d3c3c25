// SPDX-License-Identifier: MIT
// A request's arguments as a question to the query engine; texts and pictures as vectors.
#include "serve/internal.h"

#include "base/hash.h"
#include "base/mem.h"

// --- vectors that were made before -----------------------------------------------------------------------------------

static float *copy_vector(const float *vector, size_t dim)
{
    float *copy = vc_alloc(dim, sizeof *copy);
    memcpy(copy, vector, dim * sizeof *copy);
    return copy;
}

// A copy of the vector kept under `name`, or NULL.
static float *recall_vector(ServeContext *ctx, const char *name)
{
    float *copy = NULL;
    pthread_mutex_lock(&ctx->lock);
    for (size_t i = 0; i < SERVE_VECTORS && !copy; i++) {
        ServeVector *v = &ctx->vectors[i];
        if (v->name && strcmp(v->name, name) == 0) {
            v->used = ++ctx->clock;
            copy = copy_vector(v->vector, v->dim);
        }
    }
    pthread_mutex_unlock(&ctx->lock);
    return copy;
}

// Keeps a copy; the one that was not used for longest makes room.
static void keep_vector(ServeContext *ctx, const char *name, const float *vector, size_t dim)
{
    pthread_mutex_lock(&ctx->lock);
    ServeVector *oldest = &ctx->vectors[0];
    for (size_t i = 1; i < SERVE_VECTORS; i++) {
        if (ctx->vectors[i].used < oldest->used)
            oldest = &ctx->vectors[i];
    }
    free(oldest->name);
    free(oldest->vector);
    *oldest = (ServeVector){vc_strdup(name), copy_vector(vector, dim), dim, ++ctx->clock};
    pthread_mutex_unlock(&ctx->lock);
}

bool serve_post_picture(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                        VcErr *err)
{
    uint8_t sum[32];
    char name[72] = "picture-";
    float *vector = NULL;
    size_t dim;
    if (request->body_size == 0)
        return vc_fail(err, VC_ERR_USAGE, "send the bytes of a picture as the body of the request");
    vc_sha256(request->body, request->body_size, sum);
    vc_hex(sum, 16, name + strlen(name));
    vector = recall_vector(ctx, name);
    if (!vector) {
        QueryPrompt prompt = {.bytes = request->body, .size = request->body_size};
        if (!query_encode(ctx->encoder, worker->engine, &prompt, 1, &vector, &dim, err))
            return false;
        keep_vector(ctx, name, vector, dim);
    }
    free(vector);
    vc_str_putc(&reply->body, '{');
    serve_json_text(&reply->body, "like", name);
    vc_str_put(&reply->body, "}\n");
    return true;
}

static bool text_vector(ServeContext *ctx, ServeWorker *worker, const char *text, float **vector, VcErr *err)
{
    VcStr name = {0};
    size_t dim;
    bool ok = true;
    vc_str_putf(&name, "text:%s", text);
    *vector = recall_vector(ctx, name.data);
    if (!*vector) {
        QueryPrompt prompt = {.text = text};
        ok = query_encode(ctx->encoder, worker->engine, &prompt, 1, vector, &dim, err);
        if (ok)
            keep_vector(ctx, name.data, *vector, dim);
    }
    vc_str_finish(&name);
    return ok;
}

// `like`: the number of an image, or the handle of a picture that was sent.
static bool like_vector(ServeContext *ctx, ServeWorker *worker, const char *like, ServeQuestion *q, VcErr *err)
{
    int64_t id;
    size_t dim;
    if (strncmp(like, "picture-", 8) == 0) {
        q->vector = recall_vector(ctx, like);
        return q->vector || vc_fail(err, VC_ERR_USAGE, "the picture that was sent is not kept any more: send it again");
    }
    if (!vc_parse_i64(like, &id) || id < 1)
        return vc_fail(err, VC_ERR_USAGE, "'like' is '%.60s', expected the number of an image or a sent picture", like);
    q->query.exclude_image = id;
    QueryPrompt prompt = {.image_id = id};
    return query_encode(ctx->encoder, worker->engine, &prompt, 1, &q->vector, &dim, err);
}

// --- arguments -------------------------------------------------------------------------------------------------------

static QueryTexts gather(ServeQuestion *q, size_t slot, const ServeRequest *request, const char *key)
{
    QueryTexts list = {.items = q->texts[slot]};
    for (size_t i = 0; i < request->arg_count; i++) {
        if (strcmp(request->args[i].key, key) == 0 && *request->args[i].value)
            q->texts[slot][list.count++] = request->args[i].value;
    }
    return list;
}

bool serve_question(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeQuestion *q, VcErr *err)
{
    *q = (ServeQuestion){0};
    static const struct {
        const char *key;
        size_t offset;
    } lists[] = {
        {"with", offsetof(QueryFilter, with)},        {"without", offsetof(QueryFilter, without)},
        {"caption", offsetof(QueryFilter, captions)}, {"split", offsetof(QueryFilter, splits)},
        {"source", offsetof(QueryFilter, sources)},   {"tag", offsetof(QueryFilter, tags)},
        {"not_tag", offsetof(QueryFilter, not_tags)},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        QueryTexts list = gather(q, i, request, lists[i].key);
        memcpy((char *)&q->query.filter + lists[i].offset, &list, sizeof list);
    }
    const char *text = serve_arg(request, "text"), *like = serve_arg(request, "like"),
               *least = serve_arg(request, "min_score");
    if (text && *text && like && *like)
        return vc_fail(err, VC_ERR_USAGE, "give either 'text' or 'like', not both");
    int64_t probe;
    if (!serve_arg_int(request, "probe", 0, 65536, 0, &probe, err))
        return false;
    q->query.probe = (size_t)probe;
    if (least && *least) {
        q->query.has_min_score = true;
        if (!vc_parse_double(least, &q->query.min_score))
            return vc_fail(err, VC_ERR_USAGE, "'min_score' is '%.40s', expected a number", least);
    }
    bool ok = true;
    if (text && *text)
        ok = text_vector(ctx, worker, text, &q->vector, err);
    if (ok && like && *like)
        ok = like_vector(ctx, worker, like, q, err);
    q->query.vector = q->vector;
    if (!ok)
        serve_question_finish(q);
    return ok;
}

void serve_question_finish(ServeQuestion *q)
{
    free(q->vector);
    q->vector = NULL;
}
