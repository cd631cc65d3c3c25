// SPDX-License-Identifier: MIT
// Sockets and the rules of who may ask: the only file that knows libmicrohttpd.
#include "serve/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "extract/extract.h"
#include "serve/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <sys/socket.h>

enum { CONNECTION_MEMORY = 64 << 10, STREAM_BLOCK = 64 << 10 };

struct ServeServer {
    struct MHD_Daemon *daemon;
    ServeContext *ctx;
    ServeGuard guard;
    uint16_t port;
};

// A request while it arrives.
typedef struct {
    ServeRequest request;
    VcStr body;
    double began;
    bool refused;
    bool bad_args;
} Incoming;

typedef struct {
    ServeStream stream;
    VcStr piece;
    size_t at;
} Outgoing;

// --- replies ---------------------------------------------------------------------------------------------------------

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static void add_headers(struct MHD_Response *response, const ServeReply *reply)
{
    MHD_add_response_header(response, "Content-Type", reply->type ? reply->type : "application/json; charset=utf-8");
    MHD_add_response_header(response, "Content-Security-Policy", policy);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
    MHD_add_response_header(response, "Cache-Control", reply->cache ? reply->cache : "no-store");
    if (reply->disposition)
        MHD_add_response_header(response, "Content-Disposition", reply->disposition);
    if (reply->location)
        MHD_add_response_header(response, "Location", reply->location);
    if (*reply->etag)
        MHD_add_response_header(response, "ETag", reply->etag);
    if (*reply->cookie)
        MHD_add_response_header(response, "Set-Cookie", reply->cookie);
    if (reply->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
}

static ssize_t read_stream(void *state, uint64_t position, char *out, size_t max)
{
    (void)position;
    Outgoing *o = state;
    if (o->at == o->piece.len) {
        VcErr err = {0};
        vc_str_clear(&o->piece);
        o->at = 0;
        if (!o->stream.next(o->stream.state, &o->piece, &err)) {
            vc_warn("an export was cut off: %s", err.text);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (o->piece.len == 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = o->piece.len - o->at < max ? o->piece.len - o->at : max;
    memcpy(out, o->piece.data + o->at, n);
    o->at += n;
    return (ssize_t)n;
}

static void finish_stream(void *state)
{
    Outgoing *o = state;
    o->stream.finish(o->stream.state);
    vc_str_finish(&o->piece);
    free(o);
}

static struct MHD_Response *make_response(ServeReply *reply)
{
    if (reply->stream.next) {
        Outgoing *o = vc_calloc(1, sizeof *o);
        o->stream = reply->stream;
        reply->stream = (ServeStream){0};
        struct MHD_Response *response =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, o, finish_stream);
        if (!response)
            finish_stream(o);
        return response;
    }
    if (reply->fixed) {
        // Static bytes: MHD reads them only, its interface just lacks the const.
        return MHD_create_response_from_buffer(reply->size, (void *)(uintptr_t)reply->fixed, MHD_RESPMEM_PERSISTENT);
    }
    char *data = reply->bytes ? (char *)reply->bytes : reply->body.data;
    size_t size = reply->bytes ? reply->size : reply->body.len;
    struct MHD_Response *response =
        data ? MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE)
             : MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    if (response) {
        reply->bytes = NULL;
        reply->body = (VcStr){0};
    }
    return response;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, ServeReply *reply)
{
    const char *known = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");
    if (known && *reply->etag && reply->status == 200 && strcmp(known, reply->etag) == 0) {
        char etag[sizeof reply->etag];
        memcpy(etag, reply->etag, sizeof etag);
        const char *cache = reply->cache;
        serve_reply_finish(reply);
        *reply = (ServeReply){.status = 304, .cache = cache};
        memcpy(reply->etag, etag, sizeof etag);
    }
    struct MHD_Response *response = make_response(reply);
    enum MHD_Result result = MHD_NO;
    if (response) {
        add_headers(response, reply);
        result = MHD_queue_response(connection, reply->status ? reply->status : 200, response);
        MHD_destroy_response(response);
    }
    serve_reply_finish(reply);
    return result;
}

// --- requests --------------------------------------------------------------------------------------------------------

static enum MHD_Result take_argument(void *state, enum MHD_ValueKind kind, const char *key, size_t key_size,
                                     const char *value, size_t value_size)
{
    (void)kind;
    Incoming *in = state;
    ServeRequest *r = &in->request;
    if (!value) {
        value = "";
        value_size = 0;
    }
    // A zero byte or broken UTF-8 has no place in a question.
    if (r->arg_count == SERVE_MAX_ARGS || strlen(key) != key_size || strlen(value) != value_size ||
        !vc_utf8_valid(value, value_size)) {
        in->bad_args = true;
        return MHD_NO;
    }
    r->args[r->arg_count++] = (ServeArg){key, value};
    return MHD_YES;
}

static ServeAsking asking_of(struct MHD_Connection *connection, const char *method, const char *url)
{
    ServeAsking a = {.method = method, .path = url};
    a.host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    a.origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    a.authorization = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    a.cookie = MHD_lookup_connection_value(connection, MHD_COOKIE_KIND, SERVE_COOKIE);
    a.token = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "token");
    a.length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    a.transfer = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
    return a;
}

static enum MHD_Result begin(ServeServer *server, struct MHD_Connection *connection, const char *url,
                             const char *method, void **state)
{
    Incoming *in = vc_calloc(1, sizeof *in);
    *state = in;
    in->began = vc_now();
    in->request.method = method;
    in->request.path = url;
    ServeReply reply = {0};
    ServeAsking asking = asking_of(connection, method, url);
    if (!serve_guard_check(&server->guard, &asking, &reply)) {
        in->refused = true;
        return send_reply(connection, &reply);
    }
    MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, take_argument, in);
    if (in->bad_args) {
        serve_reply_error(&reply, 400, "too many arguments, or one that is not UTF-8 text");
        in->refused = true;
        return send_reply(connection, &reply);
    }
    return MHD_YES;
}

static enum MHD_Result answer(void *server_state, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload, size_t *upload_size,
                              void **state)
{
    (void)version;
    ServeServer *server = server_state;
    Incoming *in = *state;
    if (!in)
        return begin(server, connection, url, method, state);
    if (in->refused)
        return MHD_NO;
    ServeReply reply = {0};
    if (*upload_size > 0) {
        if (vc_now() - in->began > SERVE_MAX_RECEIVE || in->body.len + *upload_size > SERVE_MAX_BODY)
            return MHD_NO;
        vc_str_putn(&in->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    in->request.body = (const uint8_t *)in->body.data;
    in->request.body_size = in->body.len;
    serve_dispatch(server->ctx, &in->request, &reply);
    return send_reply(connection, &reply);
}

static void completed(void *server, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
    (void)server;
    (void)connection;
    (void)why;
    Incoming *in = *state;
    if (in) {
        vc_str_finish(&in->body);
        free(in);
    }
    *state = NULL;
}

static void log_line(void *state, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void log_line(void *state, const char *fmt, va_list ap)
{
    (void)state;
    VcStr line = {0};
    vc_str_vputf(&line, fmt, ap);
    while (line.len && line.data[line.len - 1] == '\n')
        line.data[--line.len] = 0;
    vc_debug("http: %s", vc_str_get(&line));
    vc_str_finish(&line);
}

// --- listening -------------------------------------------------------------------------------------------------------

static bool listen_at(int *out, const char *address, int64_t port, uint16_t *bound, VcErr *err)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } there = {.six = {0}};
    socklen_t size = sizeof there;
    bool is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1) {
        return vc_fail(err, VC_ERR_USAGE, "--bind '%s' is not a numeric address such as 127.0.0.1, 0.0.0.0 or ::1",
                       address);
    }
    int yes = 1, fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return vc_fail_errno(err, "cannot make a socket for '%s'", address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const struct sockaddr *name = is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    if (bind(fd, name, is_six ? sizeof six : sizeof four) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, &there.any, &size) != 0) {
        vc_fail_errno(err, "cannot listen at %s port %lld%s", address, (long long)port,
                      errno == EADDRINUSE ? " (choose another with --port N, or --port 0 for any)" : "");
        close(fd);
        return false;
    }
    *bound = ntohs(is_six ? there.six.sin6_port : there.four.sin_port);
    *out = fd;
    return true;
}

bool serve_start(ServeServer **out, const ServeOptions *options, VcErr *err)
{
    const char *address = options->bind ? options->bind : "127.0.0.1";
    *out = NULL;
    ServeServer *s = vc_calloc(1, sizeof *s);
    int fd = -1;
    bool ok = serve_guard_init(&s->guard, options, err) && extract_image_init(err) &&
              serve_context_open(&s->ctx, options, err) && listen_at(&fd, address, options->port, &s->port, err);
    if (ok) {
        s->daemon = MHD_start_daemon(
            MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, answer, s, MHD_OPTION_EXTERNAL_LOGGER,
            log_line, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)SERVE_THREADS,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)SERVE_TIMEOUT, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
            MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
        if (!s->daemon) {
            ok = vc_fail(err, VC_ERR_NET, "cannot start the web server at %s port %u", address, s->port);
            close(fd);
        }
    }
    if (ok) {
        *out = s;
    } else {
        serve_stop(&s);
    }
    return ok;
}

uint16_t serve_port(const ServeServer *server)
{
    return server->port;
}

void serve_stop(ServeServer **server)
{
    ServeServer *s = server ? *server : NULL;
    if (!s)
        return;
    if (s->daemon)
        MHD_stop_daemon(s->daemon); // closes the listening socket too
    serve_guard_finish(&s->guard);
    serve_context_close(&s->ctx);
    free(s);
    *server = NULL;
}
