// SPDX-License-Identifier: MIT
// A model hub for the tests, on loopback only, answering as the real one does: two ports, the second for large files.
//
//   hub_server FOLDER LOG    prints "PORT PORT2", one line, and serves until standard input ends
//
//   GET  /api/models/ORG/NAME/revision/REV   {"sha": ..., "siblings": [...]} of the files below FOLDER/ORG/NAME
//   GET  /api/models/ORG/NAME/tree/REV       the same files as an array
//   HEAD /ORG/NAME/resolve/COMMIT/FILE       ETag, X-Repo-Commit; *.safetensors and *.bin are large files: 302 to
//   GET  the same                            localhost:PORT2 with X-Linked-Etag (SHA-256) and X-Linked-Size
//   GET  /store/ORG/NAME/FILE                the second port: bytes, with ranges
//
// What NAME says besides: "gated" 401 without "Bearer secret"; "cut" the first GET of a large file ends in the middle;
// "wrong" bytes that do not fit their hash; "short" fewer bytes than announced, always; "busy" 503 once to everything;
// "escape" lists "../x"; "plain" ignores ranges; "sparse" lists no siblings. LOG gets "METHOD PORTNUMBER PATH RANGE
// AUTHORIZATION" a request.
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char commit[] = "0123456789abcdef0123456789abcdef01234567";

typedef struct {
    const char *folder;
    int log;
    int ports[2];
    pthread_mutex_t lock; // guards seen
    VcStr seen;           // requests that misbehave once and have done so, each with a newline
} Server;

typedef struct {
    Server *server;
    int fd, which; // of the two ports
} Client;

typedef struct {
    char method[8], path[1024], range[64], authorization[128];
} Request;

static bool send_all(int fd, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t k = send(fd, (const char *)data + done, n - done, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        done += (size_t)k;
    }
    return true;
}

static bool answer(int fd, const Request *r, const char *status, const char *extra, const void *body, size_t n)
{
    VcStr head = {0};
    vc_str_putf(&head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, n, extra);
    bool ok = send_all(fd, head.data, head.len);
    if (ok && strcmp(r->method, "HEAD") != 0)
        ok = send_all(fd, body, n);
    vc_str_finish(&head);
    return ok;
}

static bool first_time(Server *s, const Request *r)
{
    VcStr key = {0};
    vc_str_putf(&key, "%s %s\n", r->method, r->path);
    pthread_mutex_lock(&s->lock);
    const bool first = s->seen.data == NULL || strstr(s->seen.data, key.data) == NULL;
    if (first)
        vc_str_put(&s->seen, key.data);
    pthread_mutex_unlock(&s->lock);
    vc_str_finish(&key);
    return first;
}

// The listing of revision REV as an object with "siblings", or (tree) as an array of entries with sizes.
static bool list(const Server *s, int fd, const Request *r, const char *name, bool tree)
{
    VcStr dir = {0}, body = {0};
    vc_str_putf(&dir, "%s/%s", s->folder, name);
    VcFileList files;
    bool ok;
    if (tree && vc_list_files(&files, dir.data, NULL)) {
        vc_str_putc(&body, '[');
        for (size_t i = 0; i < files.count; i++) {
            char *path = vc_path_join(dir.data, files.paths[i]);
            uint64_t size = 0;
            vc_file_size(path, &size, NULL);
            vc_str_putf(&body, "%s{\"type\": \"file\", \"oid\": \"%s\", \"size\": %llu, \"path\": \"%s\"}",
                        i > 0 ? ", " : "", commit, (unsigned long long)size, files.paths[i]);
            free(path);
        }
        vc_str_putc(&body, ']');
        ok = answer(fd, r, "200 OK", "Content-Type: application/json\r\n", body.data, body.len);
        vc_file_list_finish(&files);
    } else if (!tree && vc_list_files(&files, dir.data, NULL)) {
        vc_str_putf(&body,
                    "{\"id\": \"%s\", \"modelId\": \"%s\", \"sha\": \"%s\", \"private\": false, \"downloads\": 1, "
                    "\"tags\": [], \"likes\": 0, \"siblings\": [",
                    name, name, commit);
        for (size_t i = 0; i < files.count && strstr(name, "sparse") == NULL; i++)
            vc_str_putf(&body, "%s{\"rfilename\": \"%s\"}", i > 0 ? ", " : "", files.paths[i]);
        if (strstr(name, "escape") != NULL)
            vc_str_put(&body, ", {\"rfilename\": \"../../x.json\"}");
        vc_str_put(&body, "]}");
        ok = answer(fd, r, "200 OK", "Content-Type: application/json\r\n", body.data, body.len);
        vc_file_list_finish(&files);
    } else {
        ok = answer(fd, r, "404 Not Found", "X-Error-Code: RepoNotFound\r\nX-Error-Message: Repository not found\r\n",
                    "", 0);
    }
    vc_str_finish(&dir);
    vc_str_finish(&body);
    return ok;
}

// The file's bytes, or NULL.
static char *load(const Server *s, const char *path, size_t *n)
{
    VcStr full = {0};
    char *data = NULL;
    vc_str_putf(&full, "%s/%s", s->folder, path);
    if (strstr(path, "..") == NULL)
        vc_read_file(&data, n, full.data, (size_t)1 << 30, NULL);
    vc_str_finish(&full);
    return data;
}

static bool resolve(Server *s, int fd, const Request *r, const char *name, const char *file)
{
    VcStr path = {0}, extra = {0};
    vc_str_putf(&path, "%s/%s", name, file);
    size_t n = 0;
    char *data = load(s, path.data, &n), hex[65];
    uint8_t digest[32];
    bool ok;
    vc_str_putf(&extra, "X-Repo-Commit: %s\r\n", commit);
    if (data == NULL) {
        ok = answer(fd, r, "404 Not Found", "X-Error-Code: EntryNotFound\r\nX-Error-Message: Entry not found\r\n", "",
                    0);
    } else if (vc_has_suffix(file, ".safetensors") || vc_has_suffix(file, ".bin")) {
        vc_sha256(data, n, digest);
        vc_hex(digest, sizeof digest, hex);
        vc_str_putf(&extra,
                    "X-Linked-Size: %zu\r\nX-Linked-ETag: \"%s\"\r\nETag: \"of the page\"\r\nAccept-Ranges: bytes\r\n"
                    "Location: http://localhost:%d/store/%s\r\n",
                    n, hex, s->ports[1], path.data);
        ok = answer(fd, r, "302 Found", extra.data, "moved", 5);
    } else {
        vc_sha1(data, n, digest);
        vc_hex(digest, 20, hex);
        vc_str_putf(&extra, "ETag: W/\"%s\"\r\n", hex);
        ok = answer(fd, r, "200 OK", extra.data, data, n);
    }
    free(data);
    vc_str_finish(&path);
    vc_str_finish(&extra);
    return ok;
}

static bool store(Server *s, int fd, const Request *r, const char *path)
{
    size_t n = 0, from = 0;
    char *data = load(s, path, &n);
    if (data == NULL)
        return answer(fd, r, "404 Not Found", "", "", 0);
    if (strstr(path, "wrong") != NULL)
        data[n / 2] ^= 1;
    if (strstr(path, "short") != NULL)
        n--;
    VcStr head = {0};
    if (sscanf(r->range, "bytes=%zu-", &from) == 1 && from < n && strstr(path, "plain") == NULL) {
        vc_str_putf(&head, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n", from, n - 1, n);
    } else {
        from = 0;
        vc_str_put(&head, "HTTP/1.1 200 OK\r\n");
    }
    vc_str_putf(&head, "Content-Length: %zu\r\n\r\n", n - from);
    const bool cut = (strstr(path, "cut") != NULL || strstr(path, "plain") != NULL) && first_time(s, r);
    bool ok = send_all(fd, head.data, head.len) && send_all(fd, data + from, cut ? (n - from) / 2 : n - from);
    vc_str_finish(&head);
    free(data);
    return ok && !cut;
}

static void unescape(char *path)
{
    char *out = path;
    for (const char *p = path; *p != '\0'; p++) {
        unsigned c;
        if (*p == '%' && sscanf(p + 1, "%2x", &c) == 1) {
            *out++ = (char)c;
            p += 2;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

// Answers one request; false when the connection ends.
static bool serve(Server *s, const Client *c, const Request *r)
{
    char name[256], rest[512];
    int used = 0;
    if (strstr(r->path, "/busy") != NULL && first_time(s, r))
        return answer(c->fd, r, "503 Busy", "", "", 0);
    if (strstr(r->path, "gated") != NULL && c->which == 0 && strcmp(r->authorization, "Bearer secret") != 0)
        return answer(c->fd, r, "401 Unauthorized", "X-Error-Message: Access to model is restricted\r\n", "", 0);
    if (c->which == 1)
        return vc_has_prefix(r->path, "/store/") ? store(s, c->fd, r, r->path + 7)
                                                 : answer(c->fd, r, "404 No", "", "", 0);
    if (sscanf(r->path, "/api/models/%255[^/]/%n", name, &used) == 1 && used > 0) {
        const char *tree = strstr(r->path, "/tree/"), *revision = strstr(r->path, "/revision/");
        if (tree != NULL) {
            snprintf(rest, sizeof rest, "%.*s", (int)(tree - r->path - 12), r->path + 12);
            return list(s, c->fd, r, rest, true);
        }
        if (revision == NULL || (strcmp(revision + 10, "main") != 0 && strcmp(revision + 10, commit) != 0))
            return answer(c->fd, r, "404 Not Found", "X-Error-Message: Invalid rev id\r\n", "", 0);
        snprintf(rest, sizeof rest, "%.*s", (int)(revision - r->path - 12), r->path + 12);
        return list(s, c->fd, r, rest, false);
    }
    const char *mark = strstr(r->path, "/resolve/"), *file = mark != NULL ? strchr(mark + 9, '/') : NULL;
    if (file == NULL)
        return answer(c->fd, r, "404 Not Found", "", "", 0);
    snprintf(rest, sizeof rest, "%.*s", (int)(mark - r->path - 1), r->path + 1);
    return resolve(s, c->fd, r, rest, file + 1);
}

static void header(const char *request, const char *name, char *out, size_t n)
{
    const char *at = strcasestr(request, name);
    snprintf(out, n, "%.*s", at != NULL ? (int)strcspn(at + strlen(name), "\r") : 0,
             at != NULL ? at + strlen(name) : "");
}

static void *client_main(void *arg)
{
    Client c = *(Client *)arg;
    free(arg);
    VcStr text = {0};
    char piece[4096];
    for (bool open = true; open;) {
        const char *end;
        while (open && !(end = text.data != NULL ? strstr(text.data, "\r\n\r\n") : NULL)) {
            const ssize_t n = recv(c.fd, piece, sizeof piece, 0);
            open = n > 0 && text.len < 65536;
            if (open)
                vc_str_putn(&text, piece, (size_t)n);
        }
        Request r = {0};
        if (!open || sscanf(text.data, "%7s %1023s", r.method, r.path) != 2)
            break;
        header(text.data, "\r\nRange: ", r.range, sizeof r.range);
        header(text.data, "\r\nAuthorization: ", r.authorization, sizeof r.authorization);
        r.path[strcspn(r.path, "?")] = '\0';
        unescape(r.path);
        VcStr line = {0};
        vc_str_putf(&line, "%s %d %s '%s' '%s'\n", r.method, c.which + 1, r.path, r.range, r.authorization);
        if (write(c.server->log, line.data, line.len) < 0)
            perror("log");
        vc_str_finish(&line);
        open = serve(c.server, &c, &r);
        const size_t used = (size_t)(end - text.data) + 4;
        memmove(text.data, text.data + used, text.len - used + 1);
        text.len -= used;
    }
    vc_str_finish(&text);
    close(c.fd);
    return NULL;
}

static void *accept_main(void *arg)
{
    const Client *listener = arg;
    for (;;) {
        const int fd = accept(listener->fd, NULL, NULL);
        if (fd < 0)
            continue;
        Client *c = vc_alloc(1, sizeof *c);
        *c = (Client){listener->server, fd, listener->which};
        pthread_t thread;
        if (pthread_create(&thread, NULL, client_main, c) == 0) {
            pthread_detach(thread);
        } else {
            close(fd);
            free(c);
        }
    }
    return NULL;
}

static bool listen_on(Client *listener, int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener->fd, (struct sockaddr *)&address, size) != 0 || listen(listener->fd, 64) != 0 ||
        getsockname(listener->fd, (struct sockaddr *)&address, &size) != 0)
        return false;
    *port = ntohs(address.sin_port);
    pthread_t thread;
    return pthread_create(&thread, NULL, accept_main, listener) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: hub_server FOLDER LOG\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    static Server server = {.lock = PTHREAD_MUTEX_INITIALIZER};
    static Client listeners[2];
    server.folder = argv[1];
    server.log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    for (int i = 0; i < 2; i++) {
        listeners[i] = (Client){.server = &server, .which = i};
        if (!listen_on(&listeners[i], &server.ports[i])) {
            perror("hub_server");
            return 1;
        }
    }
    printf("%d %d\n", server.ports[0], server.ports[1]);
    fflush(stdout);
    char rest[64];
    while (read(STDIN_FILENO, rest, sizeof rest) > 0)
        ;
    _exit(0);
}
