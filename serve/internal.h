// SPDX-License-Identifier: MIT
// Private to serve/: requests, replies and what handlers share. Only http.c knows libmicrohttpd.
//
// A handler gets a decoded request and a worker of its own and fills a reply; it never sees a socket. Threads: a
// handler runs in any of the server's threads; what ServeContext holds is read-only or has a lock.
#pragma once

#include "base/pool.h"
#include "base/str.h"
#include "query/query.h"
#include "serve/serve.h"

#include <pthread.h>

enum {
    SERVE_MAX_ARGS = 128,
    SERVE_MAX_PAGE = 500,
    SERVE_VECTORS = 64,
    SERVE_EXPORTS = 16,
    SERVE_RANKED_EXPORT = 100000
};

typedef struct {
    const char *key, *value;
} ServeArg;

typedef struct {
    const char *method, *path; // path: decoded, begins with '/'
    ServeArg args[SERVE_MAX_ARGS];
    size_t arg_count;
    const uint8_t *body;
    size_t body_size;
} ServeRequest;

// What a long answer is read from. `next` appends a piece; nothing appended is the end. On false the connection is cut,
// so that the reader sees that the answer is not whole.
typedef struct {
    bool (*next)(void *state, VcStr *piece, VcErr *err);
    void (*finish)(void *state);
    void *state;
} ServeStream;

typedef struct {
    unsigned status;         // 200 unless a handler says otherwise
    const char *type;        // static; NULL: application/json
    VcStr body;              // or
    const void *fixed;       // static bytes, or
    uint8_t *bytes;          // malloc'd bytes, given away
    size_t size;             // of fixed or bytes
    ServeStream stream;      // used when stream.next
    const char *cache;       // Cache-Control; NULL: no-store
    const char *disposition; // static; Content-Disposition
    const char *location;    // of a redirect; static
    char etag[48];           // with quotes; "": none
    char cookie[256];        // Set-Cookie; "": none
} ServeReply;

// One set of read-only handles. Borrowed by one request at a time.
typedef struct {
    QueryEngine *engine;
    bool busy;
} ServeWorker;

// The unit vector of a text, or of a picture that was sent, so that paging does not encode again.
typedef struct {
    char *name; // "text:..." or the handle of a picture
    float *vector;
    size_t dim;
    uint64_t used;
} ServeVector;

// All images that are not rejected, by number (order.c).
typedef struct {
    bool made;
    int64_t *starts, total, last; // starts: image_id of every ORDER_STEP-th; last: highest image_id when it was made
    double at, cost;
} ServeOrder;
typedef struct {
    int64_t total, start, pass; // from image_id `start` on, after passing over `pass` images
} ServePlace;

typedef struct {
    char *workspace; // absolute
    char stamp[17];  // names this workspace in addresses of pictures
    ServeWorker workers[SERVE_THREADS];
    pthread_mutex_t lock; // of workers, vectors, exports
    pthread_cond_t freed;
    ServeVector vectors[SERVE_VECTORS];
    uint64_t clock;
    size_t exports;
    VcPool *pool; // the encoder's
    QueryEncoder *encoder;
    pthread_mutex_t order_lock;
    ServeOrder order;
    pthread_mutex_t stats_lock;
    char *stats; // the last answer of /api/stats
    double stats_at, stats_cost;
} ServeContext;

typedef bool (*ServeHandler)(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                             VcErr *err);

bool serve_context_open(ServeContext **out, const ServeOptions *options, VcErr *err);
void serve_context_close(ServeContext **out);
ServeWorker *serve_worker_take(ServeContext *ctx);
void serve_worker_give(ServeContext *ctx, ServeWorker *worker);

// Finds the handler of method and path and runs it; errors become a JSON reply. Always fills the reply.
void serve_dispatch(ServeContext *ctx, const ServeRequest *request, ServeReply *reply);
void serve_reply_finish(ServeReply *reply);
void serve_reply_error(ServeReply *reply, unsigned status, const char *text);
// An embedded file of the page by its path ("/", "/app.js"); NULL: there is none.
typedef struct {
    const char *path, *type;
    const unsigned char *data;
    const size_t *size;
} ServeAsset;
const ServeAsset *serve_asset(const char *path);
const ServeAsset *serve_asset_at(size_t index); // NULL after the last

// Arguments. The first with this key, or NULL.
const char *serve_arg(const ServeRequest *request, const char *key);
// A whole number in [low, high]; absent: otherwise. VC_ERR_USAGE for anything else.
bool serve_arg_int(const ServeRequest *request, const char *key, int64_t low, int64_t high, int64_t otherwise,
                   int64_t *out, VcErr *err);

// JSON: `"key": value` with a comma before it where the text needs one.
void serve_json_key(VcStr *out, const char *key);
void serve_json_text(VcStr *out, const char *key, const char *value); // NULL: null
void serve_json_int(VcStr *out, const char *key, int64_t value);
void serve_json_real(VcStr *out, const char *key, double value); // not finite: null
void serve_json_bool(VcStr *out, const char *key, bool value);
void serve_json_value(VcStr *out, const char *text); // an item of an array

// The filter and order a request asks for (docs/API.md, "Questions").
typedef struct {
    QueryRequest query;
    const char *texts[7][SERVE_MAX_ARGS];
    float *vector; // owned
} ServeQuestion;
bool serve_question(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeQuestion *question,
                    VcErr *err);
bool serve_order_find(ServeContext *ctx, VcDb *db, int64_t offset, ServePlace *place, VcErr *err);
void serve_question_finish(ServeQuestion *question);

bool serve_get_info(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_images(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_image(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_picture(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_post_picture(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_concepts(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_concept(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_stats(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_failures(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_runs(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_run(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_metrics(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);
bool serve_get_export(ServeContext *, ServeWorker *, const ServeRequest *, ServeReply *, VcErr *);

// Statements with one number, for handlers: the value, or `otherwise` where there is none.
bool serve_db_int(VcDb *db, const char *sql, int64_t parameter, int64_t otherwise, int64_t *out, VcErr *err);
