// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/address.h"
#include "extract/fetch_impl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_ERROR_BODY = 64 * 1024, // bytes of a page that says no that are read so that the connection can be kept
    RECEIVE_BUFFER = 32 * 1024,
};

// --- the URL

// Spaces and control bytes as %XX, and non-ASCII ones behind the host's name; the fragment is not sent.
static char *escape_url(const char *url)
{
    VcStr out = {0};
    const char *authority = strstr(url, "://");
    const char *path = authority ? authority + 3 + strcspn(authority + 3, "/?#") : url;
    for (const char *p = url; *p && *p != '#'; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c == 0x7F || (c > 0x7F && p >= path)) {
            vc_str_putf(&out, "%%%02X", c);
        } else {
            vc_str_putc(&out, (char)c);
        }
    }
    return out.data ? out.data : vc_strdup("");
}

typedef struct {
    char *scheme, *host, *port, *path, *query, *user;
} Parts;

static void free_parts(Parts *p)
{
    curl_free(p->scheme);
    curl_free(p->host);
    curl_free(p->port);
    curl_free(p->path);
    curl_free(p->query);
    curl_free(p->user);
}

static bool take_apart(const char *url, Parts *p, VcErr *err)
{
#ifdef CURLU_PUNYCODE
    const unsigned host_flags = CURLU_PUNYCODE;
#else
    const unsigned host_flags = 0;
#endif
    CURLU *u = curl_url();
    VC_ASSERT(u); // memory is out
    CURLUcode code = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (code == CURLUE_OK)
        code = curl_url_get(u, CURLUPART_SCHEME, &p->scheme, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(u, CURLUPART_HOST, &p->host, host_flags);
    if (code == CURLUE_OK)
        code = curl_url_get(u, CURLUPART_PATH, &p->path, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(u, CURLUPART_PORT, &p->port, CURLU_DEFAULT_PORT);
    if (code == CURLUE_OK) {
        curl_url_get(u, CURLUPART_QUERY, &p->query, 0);
        curl_url_get(u, CURLUPART_USER, &p->user, 0);
    }
    curl_url_cleanup(u);
    const bool web = p->scheme && (strcasecmp(p->scheme, "http") == 0 || strcasecmp(p->scheme, "https") == 0);
    if (p->scheme && !web)
        return vc_fail(err, VC_ERR_USAGE, "only http and https URLs are fetched, not '%.40s:'", p->scheme);
    if (code != CURLUE_OK || !p->host || !*p->host)
        return vc_fail(err, VC_ERR_USAGE, "not a URL: %s", code == CURLUE_OK ? "no host" : curl_url_strerror(code));
    if (p->user)
        return vc_fail(err, VC_ERR_USAGE, "a URL with a user name is not fetched");
    return true;
}

bool transfer_aim(Transfer *t, const char *url, VcErr *err)
{
    Parts p = {0};
    free(t->url);
    t->url = escape_url(url);
    t->host = NULL;
    const bool ok = take_apart(t->url, &p, err);
    if (ok) {
        VC_ASSERT(p.host && p.path && p.port && p.scheme);
        for (char *c = p.host; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        VcStr path = {0};
        vc_str_put(&path, p.path);
        if (p.query)
            vc_str_putf(&path, "?%s", p.query);
        free(t->path);
        t->path = path.data;
        t->host = host_find(t->owner, p.scheme, p.host, p.port);
    }
    free_parts(&p);
    return ok;
}

// --- the body

void transfer_drop_body(Transfer *t)
{
    atomic_fetch_sub(&t->owner->held, t->cap);
    free(t->bytes);
    t->bytes = NULL;
    t->n = t->cap = 0;
}

bool transfer_is_oldest(const Transfer *t)
{
    for (const Transfer *other = t->owner->active.first; other; other = other->next) {
        if (other->born < t->born)
            return false;
    }
    return true;
}

static size_t body_limit(const Transfer *t)
{
    return t->robots_of ? EXTRACT_ROBOTS_BYTES : t->owner->options.max_bytes;
}

// Room for `need` bytes: what Content-Length says, as far as it goes; then doubled, so that a body is copied a few
// times at most.
static void grow_body(Transfer *t, size_t need)
{
    enum { FIRST = 32 * 1024, MOST_FIRST = 1 << 20 };
    if (need <= t->cap)
        return;
    size_t cap = t->cap ? t->cap * 2 : FIRST;
    curl_off_t length = -1;
    if (t->cap == 0 && t->headers.encodings == 0)
        curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0) // a promise is not yet a body: not all at once
        cap = length < MOST_FIRST ? (size_t)length : MOST_FIRST;
    cap = cap > body_limit(t) ? body_limit(t) : cap;
    cap = cap < need ? need : cap;
    atomic_fetch_add(&t->owner->held, cap - t->cap);
    t->bytes = vc_realloc(t->bytes, cap, 1);
    t->cap = cap;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    Transfer *t = user;
    const size_t n = size * count;
    const ExtractFetchOptions *o = &t->owner->options;
    if (t->headers.status >= 300) { // a page that says no
        t->error_body += (long)n;
        return t->error_body > MAX_ERROR_BODY ? 0 : n;
    }
    if (n > body_limit(t) - t->n) {
        t->too_large = true;
        return 0;
    }
    if (t->n + n > t->cap && atomic_load(&t->owner->held) + n > o->max_memory && !transfer_is_oldest(t)) {
        t->paused = true;
        t->owner->paused++;
        return CURL_WRITEFUNC_PAUSE;
    }
    grow_body(t, t->n + n);
    memcpy(t->bytes + t->n, data, n);
    t->n += n;
    return n;
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    Transfer *t = user;
    const size_t n = size * count;
    const bool before = t->headers.complete;
    t->verdict = extract_headers_line(&t->headers, line, n, vc_unix_time());
    if (t->headers.complete && !before)
        t->headers_at = vc_now();
    const bool opted_out = t->headers.opted_out && !t->owner->options.ignore_robots && !t->robots_of;
    return t->verdict != EXTRACT_HEADERS_OK || opted_out ? 0 : n;
}

// --- the socket

// The address is judged where it is used: whatever a name stood for when it was looked up, and whoever looked.
static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    Transfer *t = user;
    (void)purpose;
    if (!t->owner->options.allow_private && !t->proxied && extract_address_private(&address->addr)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Before the request is sent: the other end of the connection, be it a new or a kept one.
static int on_connected(void *user, char *peer, char *local, int peer_port, int local_port)
{
    Transfer *t = user;
    (void)local, (void)peer_port, (void)local_port;
    if (t->owner->options.allow_private || t->proxied)
        return CURL_PREREQFUNC_OK;
    uint8_t ip[16];
    const int family = strchr(peer, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, peer, ip) == 1 && !extract_ip_private(family, ip))
        return CURL_PREREQFUNC_OK;
    t->refused = true;
    return CURL_PREREQFUNC_ABORT;
}

// --- start and end

static void set_limits(Transfer *t, double now)
{
    const ExtractFetchOptions *o = &t->owner->options;
    CURL *e = t->easy;
    const double left = t->deadline > now ? t->deadline - now : 0;
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(left * 1000) + 1);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(o->header_timeout * 1000) + 1);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, (long)o->low_speed);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)(o->timeout / 2) + 1);
    curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)(t->robots_of ? 0 : o->max_bytes));
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER);
}

static void set_options(Transfer *t, const char *addresses)
{
    ExtractFetcher *f = t->owner;
    CURL *e = t->easy;
    curl_easy_setopt(e, CURLOPT_URL, t->url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->words);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L); // every hop is judged like a first one
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_PROXY, t->proxied ? t->host->proxy : "");
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, f->user_agent);
    if (extract_ca_file())
        curl_easy_setopt(e, CURLOPT_CAINFO, extract_ca_file());
    // Nothing else is asked for, and what comes encoded all the same is decoded, under the same limits.
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    // A second transfer waits for the first connection's handshake, which may offer HTTP/2. Without TLS there is none
    // to wait for, but curl would: for the first answer's headers, and a host that never gives them would fail them
    // all.
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, strncasecmp(t->url, "https:", 6) == 0 ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
    t->extra = curl_slist_append(NULL, t->robots_of ? "Accept: text/plain" : "Accept: image/*,*/*;q=0.5");
    if (f->from)
        t->extra = curl_slist_append(t->extra, f->from);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->extra);
    if (addresses) {
        VcStr entry = {0}; // "+": goes out of date like an answer of libcurl's own
        vc_str_putf(&entry, "+%s:%s:%s", t->host->name, t->host->port, addresses);
        t->resolve = curl_slist_append(NULL, entry.data);
        vc_str_finish(&entry);
        curl_easy_setopt(e, CURLOPT_RESOLVE, t->resolve);
        curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, 30L);
    }
}

void transfer_start(Transfer *t, const char *addresses)
{
    ExtractFetcher *f = t->owner;
    if (f->idle_count) {
        t->easy = f->idle[--f->idle_count];
        curl_easy_reset(t->easy);
    } else {
        t->easy = curl_easy_init();
        VC_ASSERT(t->easy); // memory is out
    }
    const double now = vc_now();
    if (t->hops == 0) {
        t->attempts++;
        t->deadline = now + f->options.timeout;
    }
    t->n = 0;
    t->error_body = 0;
    t->paused = t->too_large = t->refused = false;
    t->verdict = EXTRACT_HEADERS_OK;
    t->words[0] = 0;
    t->proxied = t->host->proxy != NULL;
    t->begun = now;
    t->header_by = now + f->options.header_timeout;
    t->headers_at = 0;
    extract_headers_begin(&t->headers, f->token);
    set_limits(t, now);
    set_options(t, addresses);
    line_put(&f->active, t);
    VC_ASSERT(curl_multi_add_handle(f->multi, t->easy) == CURLM_OK);
}

void transfer_end(Transfer *t)
{
    ExtractFetcher *f = t->owner;
    line_remove(&f->active, t);
    f->paused -= t->paused;
    t->paused = false;
    curl_multi_remove_handle(f->multi, t->easy);
    curl_easy_setopt(t->easy, CURLOPT_RESOLVE, NULL);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(t->resolve);
    curl_slist_free_all(t->extra);
    t->resolve = t->extra = NULL;
    f->idle = vc_grow(f->idle, &f->idle_cap, f->idle_count + 1, sizeof(CURL *));
    f->idle[f->idle_count++] = t->easy;
    t->easy = NULL;
}

void transfer_free(Transfer **transfer)
{
    Transfer *t = *transfer;
    transfer_drop_body(t);
    free(t->origin);
    free(t->url);
    free(t->path);
    free(t);
    *transfer = NULL;
}

// --- what became of it

static ExtractCause status_cause(int status)
{
    if (status == 206) // a part, and none was asked for
        return EXTRACT_PROTOCOL;
    if (status >= 200 && status < 300)
        return EXTRACT_OK;
    if (status == 404 || status == 410)
        return EXTRACT_NOT_FOUND;
    if (status == 408)
        return EXTRACT_TIMEOUT;
    if (status == 429 || status >= 500)
        return EXTRACT_SERVER_ERROR;
    if (status >= 400)
        return EXTRACT_FORBIDDEN;
    return status >= 300 ? EXTRACT_REDIRECT : EXTRACT_PROTOCOL;
}

static ExtractCause curl_cause(CURLcode code, const Transfer *t)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return EXTRACT_DNS;
    case CURLE_COULDNT_CONNECT:
        return EXTRACT_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return EXTRACT_TIMEOUT;
    case CURLE_RECV_ERROR: // also what libcurl says of chunks that are none
        return strstr(t->words, "chunk") ? EXTRACT_PROTOCOL : EXTRACT_BROKEN_OFF;
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return EXTRACT_BROKEN_OFF;
    case CURLE_FILESIZE_EXCEEDED:
        return EXTRACT_TOO_LARGE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return EXTRACT_TLS;
    default:
        return EXTRACT_PROTOCOL;
    }
}

static ExtractCause describe(const Transfer *t, CURLcode code, ExtractCause cause, VcErr *err)
{
    const ExtractFetchOptions *o = &t->owner->options;
    if (cause == EXTRACT_TOO_LARGE) {
        vc_fail(err, VC_ERR_LIMIT, "the body is over the limit of %zu bytes", body_limit(t));
    } else if (cause == EXTRACT_TIMEOUT && !t->headers.complete) {
        vc_fail(err, VC_ERR_NET, "no headers within %g s",
                o->header_timeout < o->timeout ? o->header_timeout : o->timeout);
    } else if (cause == EXTRACT_TIMEOUT && t->headers.status < 400) {
        vc_fail(err, VC_ERR_NET, "no complete answer within %g s, or under %llu bytes/s", o->timeout,
                (unsigned long long)o->low_speed);
    } else if (code == CURLE_OUT_OF_MEMORY) { // its word for a line over its limit; ours aborts
        vc_fail(err, VC_ERR_NET, "a header line of more than 100 KiB");
    } else if (code != CURLE_OK && t->headers.status < 300) {
        vc_fail(err, VC_ERR_NET, "%s", t->words[0] ? t->words : curl_easy_strerror(code));
    } else {
        vc_fail(err, VC_ERR_NET, "the server answered with HTTP status %d", t->headers.status);
    }
    return cause;
}

ExtractCause transfer_judge(const Transfer *t, CURLcode code, char **next, VcErr *err)
{
    *next = NULL;
    if (t->refused && code != CURLE_OK) {
        vc_fail(err, VC_ERR_NET, "'%s' has an address of a private network (--allow-private)", t->host->name);
        return EXTRACT_PRIVATE;
    }
    if (t->verdict != EXTRACT_HEADERS_OK) {
        vc_fail(err, VC_ERR_NET,
                t->verdict == EXTRACT_HEADERS_ENCODED
                    ? "more than one Content-Encoding"
                    : "more than 128 KiB of headers, or more than 16 answers to one request");
        return EXTRACT_PROTOCOL;
    }
    if (t->headers.opted_out && code == CURLE_WRITE_ERROR && !t->robots_of && !t->too_large) {
        vc_fail(err, VC_ERR_NET, "X-Robots-Tag forbids use for learning (--ignore-robots)");
        return EXTRACT_OPTED_OUT;
    }
    if (code == CURLE_OK &&
        !t->headers.complete) { // libcurl takes the end of the connection for the end of the headers
        vc_fail(err, VC_ERR_NET, "the connection ended in the headers");
        return EXTRACT_BROKEN_OFF;
    }
    // A page that says no and was cut short still says no.
    if (code == CURLE_OK || (t->headers.complete && t->headers.status >= 300)) {
        const char *to = NULL;
        curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to);
        const int s = t->headers.status;
        if (to && code == CURLE_OK && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308)) {
            *next = vc_strdup(to);
            return EXTRACT_OK;
        }
        const ExtractCause cause = status_cause(s);
        return cause == EXTRACT_OK ? cause : describe(t, code, cause, err);
    }
    return describe(t, code, t->too_large ? EXTRACT_TOO_LARGE : curl_cause(code, t), err);
}

bool transfer_overloaded(const Transfer *t, ExtractCause cause)
{
    return cause == EXTRACT_TIMEOUT || cause == EXTRACT_BROKEN_OFF || cause == EXTRACT_CONNECT ||
           t->headers.status == 429 || t->headers.status == 503;
}
