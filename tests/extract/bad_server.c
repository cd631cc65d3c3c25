// SPDX-License-Identifier: MIT
#include "tests/extract/bad_server.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

typedef struct {
    const BadCase *what;
    int listener, port;
    unsigned requests; // guarded by the lock
} Place;

struct BadServers {
    Place *places;
    size_t count;
    bool everything;
    int stop[2]; // a pipe; readable when all must end
    pthread_t thread;
    pthread_mutex_t lock; // guards requests, log, open
    pthread_cond_t closed;
    size_t open;
    VcStr log;
};

typedef struct {
    BadServers *servers;
    Place *place;
    int fd;
} Client;

// Waits until the client goes away or all must end, at most `ms`.
static bool gone_within(const Client *c, int ms)
{
    struct pollfd p[] = {{.fd = c->fd, .events = POLLRDHUP}, {.fd = c->servers->stop[0], .events = POLLIN}};
    return poll(p, 2, ms) > 0 && (p[1].revents || (p[0].revents & (POLLRDHUP | POLLHUP | POLLERR)));
}

static bool send_all(const Client *c, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        struct pollfd p[] = {{.fd = c->fd, .events = POLLOUT}, {.fd = c->servers->stop[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0 || p[1].revents)
            return false;
        const ssize_t k = send(c->fd, (const char *)data + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (k <= 0)
            return false;
        done += (size_t)k;
    }
    return true;
}

// 31: a gzip stream
static char *zip(const char *data, size_t n, size_t *out)
{
    z_stream z = {0};
    *out = n / 500 + 4096;
    char *packed = vc_alloc(*out, 1);
    if (deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)packed;
    z.avail_out = (uInt)*out;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    *out = z.total_out;
    deflateEnd(&z);
    return packed;
}

static bool send_encoded(const Client *c, const char *encoding)
{
    const bool bomb = strcmp(encoding, "bomb") == 0, twice = strchr(encoding, ',') != NULL;
    size_t n = bomb ? 8u << 20 : 1000, packed;
    char *data = vc_calloc(n, 1), *body = zip(data, n, &packed);
    free(data);
    if (twice) {
        size_t again;
        char *outer = zip(body, packed, &again);
        free(body);
        body = outer;
        packed = again;
    }
    if (strcmp(encoding, "cut") == 0)
        packed -= 12;
    VcStr head = {0};
    vc_str_putf(&head, "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
                twice ? encoding : "gzip", packed);
    const bool ok = send_all(c, head.data, head.len) && send_all(c, body, packed);
    vc_str_finish(&head);
    free(body);
    return ok;
}

static bool send_answer(const Client *c, const char *answer, size_t n)
{
    VcStr out = {0};
    for (size_t i = 0; i < n; i++) {
        if (answer[i] == '@' && i && answer[i - 1] == '/') {
            vc_str_putf(&out, "127.0.0.1:%d", c->place->port);
        } else {
            vc_str_putc(&out, answer[i]);
        }
    }
    const bool ok = send_all(c, out.data, out.len);
    vc_str_finish(&out);
    return ok;
}

static bool act(const Client *c)
{
    const BadCase *w = c->place->what;
    if (w->then == THEN_KEEP)
        return true;
    if (w->then == THEN_RESET) {
        const struct linger hard = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    } else if (w->then == THEN_SILENT) {
        gone_within(c, -1);
    } else if (w->then == THEN_TRICKLE) {
        while (send_all(c, w->piece, strlen(w->piece)) && !gone_within(c, w->ms))
            ;
    } else if (w->then == THEN_FOREVER) {
        VcStr block = {0};
        while (block.len < 65536)
            vc_str_put(&block, w->piece);
        // After 2 MiB at about 60 MB/s: as endless, but other servers of this machine have their turn.
        for (int sent = 0; send_all(c, block.data, block.len) && (sent < 32 || !gone_within(c, 1)); sent++)
            ;
        vc_str_finish(&block);
    }
    return false;
}

static bool serve(const Client *c, const char *request)
{
    static const char none[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const BadCase *w = c->place->what;
    const bool robots = vc_has_prefix(request, "GET /robots.txt ");
    pthread_mutex_lock(&c->servers->lock);
    const unsigned number = robots ? 0 : ++c->place->requests;
    vc_str_put(&c->servers->log, request);
    pthread_mutex_unlock(&c->servers->lock);
    if (robots && w->robots)
        return send_answer(c, w->robots, strlen(w->robots)) && strstr(w->robots, "Content-Length");
    if (robots && !c->servers->everything)
        return send_all(c, none, sizeof none - 1);
    if (w->encoding)
        return send_encoded(c, w->encoding) && act(c);
    const char *answer = number > 1 && w->second ? w->second : w->answer;
    if (!answer)
        return act(c);
    const size_t n = answer == w->answer && w->answer_bytes ? w->answer_bytes : strlen(answer);
    return send_answer(c, answer, n) && (answer != w->answer || act(c));
}

static void talk(const Client *c)
{
    const BadCase *w = c->place->what;
    if (w->at_once) {
        if (!w->answer || send_answer(c, w->answer, w->answer_bytes ? w->answer_bytes : strlen(w->answer)))
            act(c);
        return;
    }
    VcStr request = {0};
    char piece[4096];
    for (bool open = true; open;) {
        const char *end;
        while (open && !(end = request.data ? strstr(request.data, "\r\n\r\n") : NULL)) {
            struct pollfd p[] = {{.fd = c->fd, .events = POLLIN}, {.fd = c->servers->stop[0], .events = POLLIN}};
            open = poll(p, 2, -1) > 0 && !p[1].revents;
            const ssize_t n = open ? recv(c->fd, piece, sizeof piece, 0) : 0;
            open = n > 0 && request.len < 65536;
            if (open)
                vc_str_putn(&request, piece, (size_t)n);
        }
        if (!open)
            break;
        const size_t used = (size_t)(end - request.data) + 4;
        open = serve(c, request.data);
        memmove(request.data, request.data + used, request.len - used + 1);
        request.len -= used;
    }
    vc_str_finish(&request);
}

static void *client_main(void *arg)
{
    Client c = *(Client *)arg;
    free(arg);
    talk(&c);
    close(c.fd);
    pthread_mutex_lock(&c.servers->lock);
    c.servers->open--;
    pthread_cond_signal(&c.servers->closed);
    pthread_mutex_unlock(&c.servers->lock);
    return NULL;
}

static void welcome(BadServers *s, Place *place)
{
    const int fd = accept(place->listener, NULL, NULL);
    if (fd < 0)
        return;
    Client *c = vc_alloc(1, sizeof *c);
    *c = (Client){s, place, fd};
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_mutex_lock(&s->lock);
    s->open++;
    pthread_mutex_unlock(&s->lock);
    pthread_t thread;
    if (pthread_create(&thread, &attr, client_main, c) != 0)
        abort();
    pthread_attr_destroy(&attr);
}

static void *accept_main(void *arg)
{
    BadServers *s = arg;
    struct pollfd *p = vc_calloc(s->count + 1, sizeof *p);
    p[s->count] = (struct pollfd){.fd = s->stop[0], .events = POLLIN};
    for (size_t i = 0; i < s->count; i++)
        p[i] = (struct pollfd){.fd = s->places[i].listener, .events = POLLIN};
    while (poll(p, s->count + 1, -1) > 0 && !p[s->count].revents) {
        for (size_t i = 0; i < s->count; i++) {
            if (p[i].revents)
                welcome(s, &s->places[i]);
        }
    }
    free(p);
    return NULL;
}

BadServers *bad_servers_start(const BadCase *cases, size_t count, bool everything)
{
    signal(SIGPIPE, SIG_IGN);
    BadServers *s = vc_calloc(1, sizeof *s);
    s->places = vc_calloc(count, sizeof *s->places);
    s->count = count;
    s->everything = everything;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->closed, NULL);
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 128) != 0 ||
            getsockname(fd, (struct sockaddr *)&address, &size) != 0)
            abort();
        s->places[i] = (Place){.what = &cases[i], .listener = fd, .port = ntohs(address.sin_port)};
    }
    if (pipe(s->stop) != 0 || pthread_create(&s->thread, NULL, accept_main, s) != 0)
        abort();
    return s;
}

int bad_servers_port(const BadServers *servers, size_t index)
{
    return servers->places[index].port;
}

unsigned bad_servers_requests(BadServers *s, size_t index)
{
    pthread_mutex_lock(&s->lock);
    const unsigned requests = s->places[index].requests;
    pthread_mutex_unlock(&s->lock);
    return requests;
}

bool bad_servers_saw(BadServers *s, const char *header)
{
    pthread_mutex_lock(&s->lock);
    const bool saw = s->log.data && strstr(s->log.data, header);
    pthread_mutex_unlock(&s->lock);
    return saw;
}

void bad_servers_stop(BadServers **servers)
{
    BadServers *s = *servers;
    if (write(s->stop[1], "x", 1) != 1)
        abort();
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    while (s->open)
        pthread_cond_wait(&s->closed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->count; i++)
        close(s->places[i].listener);
    close(s->stop[0]);
    close(s->stop[1]);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->closed);
    vc_str_finish(&s->log);
    free(s->places);
    free(s);
    *servers = NULL;
}
