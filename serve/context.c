// SPDX-License-Identifier: MIT
// What all requests share: workers with read-only handles, the encoder, vectors of questions asked before.
#include "serve/internal.h"

#include "base/hash.h"
#include "base/mem.h"

#include <limits.h>

// Pages of the database a connection keeps; SQLite's own map of the file stays off, so that the memory of the server
// does not grow with the database.
static const char pragmas[] = "PRAGMA cache_size = -4096; PRAGMA mmap_size = 0; PRAGMA query_only = ON";

static bool open_workers(ServeContext *ctx, VcErr *err)
{
    for (size_t i = 0; i < SERVE_THREADS; i++) {
        QueryEngine **engine = &ctx->workers[i].engine;
        const bool opened = i == 0 ? query_engine_open(engine, ctx->workspace, NULL, err)
                                   : query_engine_open_beside(engine, ctx->workers[0].engine, err);
        if (!opened || !vc_db_exec(query_engine_workspace(*engine)->db, pragmas, err) ||
            !query_engine_warm(*engine, err))
            return false;
    }
    return true;
}

// Pictures never change under their number; the stamp makes their addresses this workspace's alone.
static bool make_stamp(ServeContext *ctx, VcErr *err)
{
    char *created = NULL;
    if (!vc_meta_get(query_engine_workspace(ctx->workers[0].engine), "created", &created, err))
        return false;
    VcStr text = {0};
    vc_str_putf(&text, "%s\n%s", ctx->workspace, created ? created : "");
    snprintf(ctx->stamp, sizeof ctx->stamp, "%016llx", (unsigned long long)vc_xxh3(text.data, text.len));
    vc_str_finish(&text);
    free(created);
    return true;
}

bool serve_context_open(ServeContext **out, const ServeOptions *options, VcErr *err)
{
    *out = NULL;
    ServeContext *ctx = vc_calloc(1, sizeof *ctx);
    pthread_mutex_init(&ctx->lock, NULL);
    pthread_mutex_init(&ctx->stats_lock, NULL);
    pthread_mutex_init(&ctx->order_lock, NULL);
    pthread_cond_init(&ctx->freed, NULL);
    ctx->workspace = realpath(options->workspace, NULL);
    bool ok = ctx->workspace || vc_fail_errno(err, "cannot open the workspace '%s'", options->workspace);
    ok = ok && open_workers(ctx, err) && make_stamp(ctx, err);
    if (ok) {
        ctx->pool = vc_pool_create(options->threads ? options->threads : 1);
        ctx->encoder = query_encoder_create(options->clip, ctx->pool);
        *out = ctx;
    } else {
        serve_context_close(&ctx);
    }
    return ok;
}

void serve_context_close(ServeContext **out)
{
    ServeContext *ctx = out ? *out : NULL;
    if (!ctx)
        return;
    query_encoder_destroy(&ctx->encoder);
    vc_pool_destroy(&ctx->pool);
    for (size_t i = 0; i < SERVE_THREADS; i++)
        query_engine_close(&ctx->workers[i].engine);
    for (size_t i = 0; i < SERVE_VECTORS; i++) {
        free(ctx->vectors[i].name);
        free(ctx->vectors[i].vector);
    }
    free(ctx->stats);
    free(ctx->order.starts);
    free(ctx->workspace);
    pthread_cond_destroy(&ctx->freed);
    pthread_mutex_destroy(&ctx->stats_lock);
    pthread_mutex_destroy(&ctx->order_lock);
    pthread_mutex_destroy(&ctx->lock);
    free(ctx);
    *out = NULL;
}

ServeWorker *serve_worker_take(ServeContext *ctx)
{
    ServeWorker *found = NULL;
    pthread_mutex_lock(&ctx->lock);
    while (!found) {
        for (size_t i = 0; i < SERVE_THREADS && !found; i++) {
            if (!ctx->workers[i].busy)
                found = &ctx->workers[i];
        }
        if (!found)
            pthread_cond_wait(&ctx->freed, &ctx->lock);
    }
    found->busy = true;
    pthread_mutex_unlock(&ctx->lock);
    return found;
}

void serve_worker_give(ServeContext *ctx, ServeWorker *worker)
{
    pthread_mutex_lock(&ctx->lock);
    worker->busy = false;
    pthread_cond_signal(&ctx->freed);
    pthread_mutex_unlock(&ctx->lock);
}
