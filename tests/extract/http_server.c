// SPDX-License-Identifier: MIT
// A web server for the tests, on loopback only: serves a folder, and misbehaves where a path says so.
//
//   http_server FOLDER [LOG]    prints its port, one line, and serves until standard input ends
//
//   /NAME                  the file, with keep-alive
//   /404/..., /410/..., /403/..., /503/..., /429/...  that status, always
//   /flaky/NAME            500 at the first request of each NAME, then the file
//   /busy/NAME             429 with Retry-After: 0 at the first request, then the file
//   /cut-once/NAME         half of the file at the first request, then all of it
//   /truncated/NAME        says the whole length, sends half and closes
//   /html/..., /empty/...  200 with a page; 200 with no bytes
//   /timeout/...           never answers
//   /trickle/NAME          a byte every 200 ms
//   /slow/NAME             the file after 150 ms
//   /far/NAME?...          the file after 200 to 300 ms, which depends on the whole path
//   /headers/...           headers without an end
//   /endless/...           a body without an end
//   /garbage/...           bytes that are no HTTP
//   /reset/...             the connection is reset
//   /loop/...              redirects to itself;  /redirect/NAME  redirects to /NAME;  /ftp/...  redirects to ftp:
//
// LOG gets "METHOD PATH USER-AGENT" a request.
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const char *folder;
    int log;
    pthread_mutex_t lock; // guards seen
    char **seen;          // paths that misbehave once and have done so
    size_t seen_count, seen_cap;
} Server;

typedef struct {
    Server *server;
    int fd;
} Client;

static bool send_all(int fd, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t k = send(fd, (const char *)data + done, n - done, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        done += (size_t)k;
    }
    return true;
}

// Waits until the client goes away, at most `ms`; true when it has gone.
static bool gone_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, ms) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static bool answer(int fd, const char *status, const char *extra, const void *body, size_t n)
{
    VcStr head = {0};
    vc_str_putf(&head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, n, extra);
    const bool ok = send_all(fd, head.data, head.len) && send_all(fd, body, n);
    vc_str_finish(&head);
    return ok;
}

static bool first_time(Server *s, const char *path)
{
    pthread_mutex_lock(&s->lock);
    bool first = true;
    for (size_t i = 0; i < s->seen_count; i++)
        first = first && strcmp(s->seen[i], path) != 0;
    if (first) {
        s->seen = vc_grow(s->seen, &s->seen_cap, s->seen_count + 1, sizeof *s->seen);
        s->seen[s->seen_count++] = vc_strdup(path);
    }
    pthread_mutex_unlock(&s->lock);
    return first;
}

// The file's bytes, or NULL.
static char *load(const Server *s, const char *name, size_t *n)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s", s->folder, name);
    const int fd = strstr(name, "..") ? -1 : open(path.data, O_RDONLY | O_CLOEXEC);
    vc_str_finish(&path);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    *n = (size_t)st.st_size;
    char *data = vc_alloc(*n + 1, 1);
    const bool whole = read(fd, data, *n) == (ssize_t)*n;
    close(fd);
    if (!whole) {
        free(data);
        return NULL;
    }
    return data;
}

static bool send_file(Server *s, int fd, const char *name)
{
    size_t n = 0;
    char *data = load(s, name, &n);
    const bool ok = data ? answer(fd, "200 OK", "Content-Type: image/jpeg\r\n", data, n)
                         : answer(fd, "404 Not Found", "", "no such file\n", 13);
    free(data);
    return ok;
}

static bool send_far(Server *s, int fd, const char *name)
{
    char *path = vc_strndup(name, strcspn(name, "?"));
    const bool ok = send_file(s, fd, path);
    free(path);
    return ok;
}

static bool send_part(Server *s, int fd, const char *name)
{
    size_t n = 0;
    char *data = load(s, name, &n);
    VcStr head = {0};
    vc_str_putf(&head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    if (data && send_all(fd, head.data, head.len))
        send_all(fd, data, n / 2);
    vc_str_finish(&head);
    free(data);
    return false;
}

static bool trickle(Server *s, int fd, const char *name)
{
    size_t n = 0;
    char *data = load(s, name, &n);
    VcStr head = {0};
    vc_str_putf(&head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    bool ok = data && send_all(fd, head.data, head.len);
    for (size_t i = 0; ok && i < n; i++)
        ok = send_all(fd, data + i, 1) && !gone_within(fd, 200);
    vc_str_finish(&head);
    free(data);
    return false;
}

static bool endless(int fd, const char *head, const char *piece)
{
    VcStr block = {0}; // large pieces, so that a limit on bytes comes before one on time
    while (block.len < 65536)
        vc_str_put(&block, piece);
    bool ok = send_all(fd, head, strlen(head));
    while (ok)
        ok = send_all(fd, block.data, block.len);
    vc_str_finish(&block);
    return false;
}

static bool reset(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return false;
}

static bool redirect(int fd, const char *to)
{
    VcStr extra = {0};
    vc_str_putf(&extra, "Location: %s\r\n", to);
    const bool ok = answer(fd, "302 Found", extra.data, "", 0);
    vc_str_finish(&extra);
    return ok;
}

// Answers one request; false when the connection ends.
static bool serve(Server *s, int fd, const char *path)
{
    const char *slash = strchr(path + 1, '/');
    char kind[32] = "";
    if (slash && (size_t)(slash - path - 1) < sizeof kind)
        memcpy(kind, path + 1, (size_t)(slash - path - 1));
    const char *name = slash ? slash + 1 : path + 1;
    static const char page[] = "<!DOCTYPE html><html><body>sign in</body></html>";
    if (strcmp(kind, "404") == 0 || strcmp(kind, "410") == 0 || strcmp(kind, "403") == 0 || strcmp(kind, "503") == 0 ||
        strcmp(kind, "429") == 0)
        return answer(fd, kind, "", page, sizeof page - 1);
    if (strcmp(kind, "flaky") == 0)
        return first_time(s, path) ? answer(fd, "500 Oops", "", page, sizeof page - 1) : send_file(s, fd, name);
    if (strcmp(kind, "busy") == 0)
        return first_time(s, path) ? answer(fd, "429 Slow Down", "Retry-After: 0\r\n", "", 0) : send_file(s, fd, name);
    if (strcmp(kind, "cut-once") == 0)
        return first_time(s, path) ? send_part(s, fd, name) : send_file(s, fd, name);
    if (strcmp(kind, "truncated") == 0)
        return send_part(s, fd, name);
    if (strcmp(kind, "html") == 0)
        return answer(fd, "200 OK", "Content-Type: image/jpeg\r\n", page, sizeof page - 1);
    if (strcmp(kind, "empty") == 0)
        return answer(fd, "200 OK", "", "", 0);
    if (strcmp(kind, "timeout") == 0)
        return gone_within(fd, -1) && false;
    if (strcmp(kind, "trickle") == 0)
        return trickle(s, fd, name);
    if (strcmp(kind, "slow") == 0)
        return !gone_within(fd, 150) && send_file(s, fd, name);
    if (strcmp(kind, "far") == 0)
        return !gone_within(fd, 200 + (int)(vc_xxh3(path, strlen(path)) % 101)) && send_far(s, fd, name);
    if (strcmp(kind, "headers") == 0)
        return endless(fd, "HTTP/1.1 200 OK\r\n", "X-More: and more and more and more\r\n");
    if (strcmp(kind, "endless") == 0)
        return endless(fd, "HTTP/1.1 200 OK\r\n\r\n", "\xFF\xD8\xFF\xE0 this never ends, it only goes on and on");
    if (strcmp(kind, "garbage") == 0)
        return send_all(fd, "220 I speak something else\r\n", 28) && false;
    if (strcmp(kind, "reset") == 0)
        return reset(fd);
    if (strcmp(kind, "loop") == 0)
        return redirect(fd, path);
    if (strcmp(kind, "redirect") == 0)
        return redirect(fd, slash);
    if (strcmp(kind, "ftp") == 0)
        return redirect(fd, "ftp://127.0.0.1/x.jpg");
    return send_file(s, fd, path + 1);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void unescape(char *path)
{
    char *out = path;
    for (const char *p = path; *p; p++) {
        if (*p == '%' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
            *out++ = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
            p += 2;
        } else {
            *out++ = *p;
        }
    }
    *out = 0;
}

static void log_request(const Server *s, const char *request, const char *path)
{
    if (s->log < 0)
        return;
    const char *agent = strcasestr(request, "\r\nUser-Agent: ");
    const size_t n = agent ? strcspn(agent + 14, "\r") : 0;
    VcStr line = {0};
    vc_str_putf(&line, "GET %s ", path);
    if (agent)
        vc_str_putn(&line, agent + 14, n);
    vc_str_putc(&line, '\n');
    if (write(s->log, line.data, line.len) < 0)
        perror("log");
    vc_str_finish(&line);
}

static void *client_main(void *arg)
{
    Client c = *(Client *)arg;
    free(arg);
    VcStr request = {0};
    char piece[4096];
    for (bool open = true; open;) {
        const char *end;
        while (open && !(end = request.data ? strstr(request.data, "\r\n\r\n") : NULL)) {
            const ssize_t n = recv(c.fd, piece, sizeof piece, 0);
            open = n > 0 && request.len < 65536;
            if (open)
                vc_str_putn(&request, piece, (size_t)n);
        }
        if (!open)
            break;
        char path[4096] = "";
        if (sscanf(request.data, "GET %4095s", path) != 1)
            break;
        unescape(path);
        log_request(c.server, request.data, path);
        open = serve(c.server, c.fd, path);
        const size_t used = (size_t)(end - request.data) + 4;
        memmove(request.data, request.data + used, request.len - used + 1);
        request.len -= used;
    }
    vc_str_finish(&request);
    close(c.fd);
    return NULL;
}

static void *accept_main(void *arg)
{
    Client *listener = arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    for (;;) {
        const int fd = accept(listener->fd, NULL, NULL);
        if (fd < 0)
            continue;
        Client *c = vc_alloc(1, sizeof *c);
        *c = (Client){listener->server, fd};
        pthread_t thread;
        if (pthread_create(&thread, &attr, client_main, c) != 0) {
            close(fd);
            free(c);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: http_server FOLDER [LOG]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    static Server server = {.lock = PTHREAD_MUTEX_INITIALIZER};
    server.folder = argv[1];
    server.log = argc > 2 ? open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    static Client listener;
    listener = (Client){&server, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener.fd, (struct sockaddr *)&address, size) != 0 || listen(listener.fd, 1024) != 0 ||
        getsockname(listener.fd, (struct sockaddr *)&address, &size) != 0) {
        perror("http_server");
        return 1;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, accept_main, &listener) != 0)
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    char rest[64];
    while (read(STDIN_FILENO, rest, sizeof rest) > 0)
        ;
    _exit(0);
}
