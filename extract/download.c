// SPDX-License-Identifier: MIT
#include "extract/download.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/address.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { REDIRECTS = 8, CONNECT_SECONDS = 20 };

struct ExtractClient {
    CURL *easy;
    char *user_agent;
    double stall;
};

typedef struct {
    ExtractClient *client;
    const ExtractRequest *request;
    ExtractReply *reply;
    VcErr *err;
    uint64_t at;      // place of the next piece
    int64_t range_at; // of Content-Range, -1
    bool refused;     // take() has failed
} Exchange;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

ExtractClient *extract_client_create(const char *user_agent, double stall)
{
    pthread_once(&curl_once, start_curl);
    ExtractClient *c = vc_calloc(1, sizeof *c);
    c->easy = curl_easy_init();
    VC_ASSERT(c->easy); // memory is out
    c->user_agent = vc_strdup(user_agent);
    c->stall = stall;
    return c;
}

void extract_client_destroy(ExtractClient **client)
{
    if (client == NULL || *client == NULL)
        return;
    curl_easy_cleanup((*client)->easy);
    free((*client)->user_agent);
    free(*client);
    *client = NULL;
}

void extract_reply_finish(ExtractReply *reply)
{
    free(reply->etag);
    free(reply->linked_etag);
    free(reply->commit);
    free(reply->message);
    *reply = (ExtractReply){.length = -1, .linked_size = -1};
}

// ---- headers and body ----

static void keep(char **out, const char *text, size_t n)
{
    free(*out);
    *out = vc_strndup(text, n);
}

// W/"abc" -> abc
static void keep_etag(char **out, const char *text, size_t n)
{
    if (n >= 2 && memcmp(text, "W/", 2) == 0) {
        text += 2;
        n -= 2;
    }
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
        text++;
        n -= 2;
    }
    keep(out, text, n);
}

static int64_t number(const char *text, size_t n)
{
    char digits[24];
    int64_t value;
    if (n >= sizeof digits)
        return -1;
    memcpy(digits, text, n);
    digits[n] = '\0';
    return vc_parse_i64(digits, &value) && value >= 0 ? value : -1;
}

// "bytes 5-9/10": the first byte, and the length of the file.
static void read_range(Exchange *x, const char *text, size_t n)
{
    const char *slash = memchr(text, '/', n), *dash = memchr(text, '-', n);
    if (n < 6 || memcmp(text, "bytes ", 6) != 0 || slash == NULL)
        return;
    if (dash != NULL)
        x->range_at = number(text + 6, (size_t)(dash - text - 6));
    x->reply->length = number(slash + 1, (size_t)(text + n - slash - 1));
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    Exchange *x = user;
    const size_t all = size * count;
    const char *colon = memchr(line, ':', all);
    if (all >= 5 && memcmp(line, "HTTP/", 5) == 0) { // another answer begins
        x->reply->length = -1;
        x->range_at = -1;
    }
    if (colon == NULL)
        return all;
    const size_t name = (size_t)(colon - line);
    const char *value = colon + 1, *end = line + all;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (unsigned char)end[-1] <= ' ')
        end--;
    const size_t n = (size_t)(end - value);
    ExtractReply *r = x->reply;
    const struct {
        const char *name;
        char **out;
        bool etag;
    } texts[] = {{"ETag", &r->etag, true},
                 {"X-Linked-Etag", &r->linked_etag, true},
                 {"X-Repo-Commit", &r->commit, false},
                 {"X-Error-Message", &r->message, false}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strlen(texts[i].name) == name && strncasecmp(line, texts[i].name, name) == 0) {
            if (texts[i].etag) {
                keep_etag(texts[i].out, value, n);
            } else {
                keep(texts[i].out, value, n);
            }
        }
    }
    if (name == 13 && strncasecmp(line, "X-Linked-Size", name) == 0)
        r->linked_size = number(value, n);
    if (name == 14 && strncasecmp(line, "Content-Length", name) == 0 && x->range_at < 0)
        r->length = number(value, n);
    if (name == 13 && strncasecmp(line, "Content-Range", name) == 0)
        read_range(x, value, n);
    return all;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    Exchange *x = user;
    const size_t n = size * count;
    long status = 0;
    curl_easy_getinfo(x->client->easy, CURLINFO_RESPONSE_CODE, &status);
    if ((status != 200 && status != 206) || x->request->take == NULL)
        return n; // a page that says no
    if (x->at == UINT64_MAX) {
        x->at = status == 206 ? x->request->from : 0;
        if (status == 206 && x->range_at >= 0 && (uint64_t)x->range_at != x->request->from) {
            vc_fail(x->err, VC_ERR_NET, "'%s': asked for bytes from %llu on, the server sends from %lld on",
                    x->request->url, (unsigned long long)x->request->from, (long long)x->range_at);
            x->refused = true;
            return 0;
        }
    }
    if (!x->request->take(x->request->ctx, data, n, x->at, x->err)) {
        x->refused = true;
        return 0;
    }
    x->at += n;
    return n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)user, (void)a, (void)b, (void)c, (void)d;
    return vc_interrupted() != 0;
}

// ---- one answer ----

// Scheme, host and port of a URL, as text; freed by the caller. NULL when it is none.
static char *origin_of(const char *url)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    VcStr out = {0};
    if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        vc_str_putf(&out, "%s://%s:%s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return out.data;
}

static bool same_origin(const char *a, const char *b)
{
    char *x = origin_of(a), *y = origin_of(b);
    const bool same = x != NULL && y != NULL && strcasecmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static void set_options(Exchange *x, const char *url, struct curl_slist *headers)
{
    CURL *e = x->client->easy;
    curl_easy_reset(e);
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L); // see exchange()
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L); // bytes/s
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)x->client->stall + 1);
    if (extract_ca_file())
        curl_easy_setopt(e, CURLOPT_CAINFO, extract_ca_file());
    curl_easy_setopt(e, CURLOPT_USERAGENT, x->client->user_agent);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    if (x->request->head)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (x->request->from > 0 && !x->request->head) {
        char range[32]; // not RESUME_FROM, which takes a redirect for a server without ranges
        snprintf(range, sizeof range, "%llu-", (unsigned long long)x->request->from);
        curl_easy_setopt(e, CURLOPT_RANGE, range);
    }
}

static bool perform(Exchange *x, const char *url, bool with_token)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    VcStr token = {0};
    if (with_token) {
        vc_str_putf(&token, "Authorization: Bearer %s", x->request->token);
        headers = curl_slist_append(headers, token.data);
    }
    set_options(x, url, headers);
    x->at = UINT64_MAX;
    x->range_at = -1;
    x->refused = false;
    const CURLcode code = curl_easy_perform(x->client->easy);
    curl_easy_setopt(x->client->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    vc_str_finish(&token);
    long status = 0;
    curl_easy_getinfo(x->client->easy, CURLINFO_RESPONSE_CODE, &status);
    x->reply->status = status;
    if (code == CURLE_OK)
        return true;
    if (x->refused)
        return false;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return vc_fail(x->err, VC_ERR_CANCELLED, "interrupted while reading '%s'", url);
    return vc_fail(x->err, VC_ERR_NET, "cannot read '%s': %s", url, curl_easy_strerror(code));
}

bool extract_request(ExtractClient *client, const ExtractRequest *request, ExtractReply *reply, VcErr *err)
{
    *reply = (ExtractReply){.length = -1, .linked_size = -1};
    Exchange x = {.client = client, .request = request, .reply = reply, .err = err};
    char *url = vc_strdup(request->url);
    bool ok = true, more = true;
    for (int hops = 0; ok && more; hops++) {
        const bool home = same_origin(url, request->url);
        const char *next = NULL;
        ok = perform(&x, url, request->token != NULL && home);
        if (ok)
            curl_easy_getinfo(client->easy, CURLINFO_REDIRECT_URL, &next);
        more = ok && next != NULL && reply->status >= 300 && reply->status < 400 &&
               !(request->head && !same_origin(next, url));
        if (more && hops >= REDIRECTS)
            ok = vc_fail(err, VC_ERR_NET, "'%s': more than %d redirects", request->url, REDIRECTS);
        if (ok && more) {
            char *to = vc_strdup(next);
            free(url);
            url = to;
        }
    }
    free(url);
    if (!ok)
        extract_reply_finish(reply);
    return ok;
}
