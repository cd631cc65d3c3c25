// SPDX-License-Identifier: MIT
#include "query/encoder.h"

#include "base/mem.h"
#include "concepts/concepts.h"
#include "extract/extract.h"
#include "nn/nn.h"
#include "query/private.h"

#include <math.h>
#include <pthread.h>

struct QueryEncoder {
    char *clip; // NULL: where the workspace says
    VcPool *pool;
    pthread_mutex_t lock;
    ClipModel *model; // NULL until it is needed
};

QueryEncoder *query_encoder_create(const char *clip, VcPool *pool)
{
    QueryEncoder *e = vc_calloc(1, sizeof *e);
    e->clip = clip ? vc_strdup(clip) : NULL;
    e->pool = pool;
    VC_ASSERT(pthread_mutex_init(&e->lock, NULL) == 0);
    return e;
}

void query_encoder_destroy(QueryEncoder **encoder)
{
    if (!encoder || !*encoder)
        return;
    clip_close(&(*encoder)->model);
    pthread_mutex_destroy(&(*encoder)->lock);
    free((*encoder)->clip);
    free(*encoder);
    *encoder = NULL;
}

static bool load_model(QueryEncoder *e, VcWorkspace *ws, VcErr *err)
{
    char *path = NULL;
    if (e->model)
        return true;
    if (!nn_blas_check(err) || !extract_image_init(err) ||
        (!e->clip && !vc_meta_get(ws, "active_model_path", &path, err)))
        return false;
    if (!e->clip && !path) {
        return vc_fail(err, VC_ERR_USAGE,
                       "this workspace has no vectors yet; run 'vicha concepts --clip MODEL' first, then ask by text");
    }
    bool ok = clip_open(&e->model, e->clip ? e->clip : path, err);
    if (!ok && !e->clip)
        vc_prefix(err, "cannot open the model that made the vectors (give another place with --clip MODEL)");
    free(path);
    return ok;
}

static bool check_model(const QueryEncoder *e, VcWorkspace *ws, VcErr *err)
{
    ConceptsModel active = {0};
    size_t dim = clip_info(e->model)->dim;
    bool ok = concepts_active_model(ws, &active, err);
    if (ok && active.model_id < 0) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     "this workspace has no vectors yet; run 'vicha concepts --clip MODEL' first, then ask by text");
    } else if (ok && active.dim != (int64_t)dim) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     "the model has vectors of %zu numbers, this workspace's have %lld: it was made with another model",
                     dim, (long long)active.dim);
    }
    concepts_model_finish(&active);
    return ok;
}

static bool encode_picture(const QueryEncoder *e, const QueryPrompt *prompt, float *out, VcErr *err)
{
    size_t side = clip_info(e->model)->image_size;
    if (prompt->size > QUERY_IMAGE_BYTES) {
        return vc_fail(err, VC_ERR_LIMIT, "a picture of %zu bytes is too large (%d are allowed)", prompt->size,
                       QUERY_IMAGE_BYTES);
    }
    float *pixels = vc_alloc_aligned(3 * side * side, sizeof *pixels);
    bool ok = clip_preprocess(e->model, prompt->bytes, prompt->size, pixels, err);
    if (ok)
        clip_encode_images(e->model, e->pool, pixels, 1, out);
    free(pixels);
    return ok;
}

// One prompt's vector, of any length. out: [*dim], new memory.
static bool encode_one(QueryEncoder *e, QueryEngine *engine, const QueryPrompt *prompt, float **out, size_t *dim,
                       VcErr *err)
{
    VcWorkspace *ws = query_engine_workspace(engine);
    if (!prompt->text && !prompt->bytes)
        return search_image_vector(ws, prompt->image_id, out, dim, err);
    if (!load_model(e, ws, err) || !check_model(e, ws, err))
        return false;
    *dim = clip_info(e->model)->dim;
    *out = vc_alloc(*dim, sizeof **out);
    bool ok = prompt->text ? clip_encode_texts(e->model, e->pool, &prompt->text, 1, *out, err)
                           : encode_picture(e, prompt, *out, err);
    if (!ok) {
        free(*out);
        *out = NULL;
    }
    return ok;
}

bool query_encode(QueryEncoder *encoder, QueryEngine *engine, const QueryPrompt *prompts, size_t count, float **vector,
                  size_t *dim, VcErr *err)
{
    float *sum = NULL;
    bool ok = count > 0 || vc_fail(err, VC_ERR_USAGE, "there is nothing to be like");
    pthread_mutex_lock(&encoder->lock);
    for (size_t i = 0; ok && i < count; i++) {
        float *one = NULL;
        double weight = prompts[i].weight == 0 ? 1 : prompts[i].weight;
        ok = encode_one(encoder, engine, &prompts[i], &one, dim, err);
        if (!ok)
            break;
        concepts_normalize(one, 1, *dim);
        sum = sum ? sum : vc_calloc(*dim, sizeof *sum);
        for (size_t k = 0; k < *dim; k++)
            sum[k] += (float)(weight * one[k]);
        free(one);
    }
    pthread_mutex_unlock(&encoder->lock);
    double length = 0;
    for (size_t k = 0; ok && sum && k < *dim; k++)
        length += (double)sum[k] * sum[k];
    if (ok && !(length > 1e-12))
        ok = vc_fail(err, VC_ERR_USAGE, "the texts and pictures cancel each other out");
    if (!ok) {
        free(sum);
        return false;
    }
    concepts_normalize(sum, 1, *dim);
    *vector = sum;
    return true;
}

// --- pictures by URL -------------------------------------------------------------------------------------------------

typedef struct {
    uint8_t *data;
    size_t size, cap;
} Body;

static bool take_body(void *ctx, const void *data, size_t n, uint64_t at, VcErr *err)
{
    Body *body = ctx;
    if (at > body->size || n > QUERY_IMAGE_BYTES || at > QUERY_IMAGE_BYTES - n)
        return vc_fail(err, VC_ERR_LIMIT, "it is larger than %d bytes", QUERY_IMAGE_BYTES);
    body->data = vc_grow(body->data, &body->cap, at + n + 1, 1);
    memcpy(body->data + at, data, n);
    body->size = at + n;
    return true;
}

bool query_fetch_image(const char *url, uint8_t **bytes, size_t *n, VcErr *err)
{
    enum { STALL = 20 }; // seconds
    Body body = {0};
    ExtractReply reply = {0};
    ExtractClient *client = extract_client_create("vicha/" VICHA_VERSION, STALL);
    const ExtractRequest request = {.url = url, .take = take_body, .ctx = &body};
    bool ok = extract_request(client, &request, &reply, err);
    if (ok && (reply.status != 200 || body.size == 0)) {
        ok = vc_fail(err, VC_ERR_NET, "the server answered %ld%s", reply.status,
                     reply.status == 200 ? " without a picture" : "");
    }
    extract_reply_finish(&reply);
    extract_client_destroy(&client);
    if (!ok) {
        free(body.data);
        return vc_prefix(err, "cannot fetch '%.300s'", url);
    }
    *bytes = body.data;
    *n = body.size;
    return true;
}
