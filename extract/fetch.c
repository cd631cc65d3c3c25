// SPDX-License-Identifier: MIT
#include "extract/fetch.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "extract/versions.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    MAX_REDIRECTS = 5,
    MAX_ERROR_BODY = 64 * 1024, // bytes of a 4xx or 5xx page that are read so that the connection can be kept
    POLL_MS = 100,              // longest wait before an interrupt is seen
};
static const double first_pause = 0.4, longest_pause = 20; // seconds before a retry; doubled each time, with jitter

typedef struct Transfer {
    struct Transfer *next;
    ExtractFetcher *owner;
    char *url;
    void *ticket;
    CURL *easy; // NULL while it waits
    uint8_t *bytes;
    size_t n, cap;
    unsigned attempts;
    double due;    // not before this time
    uint64_t born; // number, in order of adding
    bool paused, too_large;
    long error_body;
    VcRng jitter;
} Transfer;

struct ExtractFetcher {
    ExtractFetchOptions options;
    char *user_agent;
    ExtractFetchDone done;
    void *ctx;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock; // guards added and stop
    Transfer *added, **added_tail;
    bool stop;
    uint64_t born;
    atomic_bool cancelled;
    atomic_size_t held; // bytes of bodies that nobody has released
    // of the network thread alone
    Transfer *waiting, *active;
    size_t active_count;
    CURL **idle;
    size_t idle_count, idle_cap;
};

// --- one transfer

static void drop_body(Transfer *t)
{
    atomic_fetch_sub(&t->owner->held, t->cap);
    free(t->bytes);
    t->bytes = NULL;
    t->n = t->cap = 0;
}

static bool is_oldest(const Transfer *t)
{
    for (const Transfer *other = t->owner->active; other; other = other->next)
        if (other->born < t->born)
            return false;
    return true;
}

// Room for `need` bytes; doubles, so that a body is copied a few times at most.
static void grow_body(Transfer *t, size_t need)
{
    if (need <= t->cap)
        return;
    size_t cap = t->cap ? t->cap * 2 : 32768;
    curl_off_t length = -1;
    if (t->cap == 0)
        curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0 && (uint64_t)length <= t->owner->options.max_bytes)
        cap = (size_t)length;
    cap = cap < need ? need : cap;
    atomic_fetch_add(&t->owner->held, cap - t->cap);
    t->bytes = vc_realloc(t->bytes, cap, 1);
    t->cap = cap;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    Transfer *t = user;
    const size_t n = size * count;
    long code = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    if (code >= 300) { // a page that says no
        t->error_body += (long)n;
        return t->error_body > MAX_ERROR_BODY ? 0 : n;
    }
    const ExtractFetchOptions *o = &t->owner->options;
    if (n > o->max_bytes - t->n) {
        t->too_large = true;
        return 0;
    }
    if (t->n + n > t->cap && atomic_load(&t->owner->held) + n > o->max_memory && !is_oldest(t)) {
        t->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    grow_body(t, t->n + n);
    memcpy(t->bytes + t->n, data, n);
    t->n += n;
    return n;
}

// Spaces, control and non-ASCII bytes as %XX; the fragment is not sent.
static char *escape_url(const char *url)
{
    VcStr out = {0};
    for (const char *p = url; *p && *p != '#'; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c >= 0x7F)
            vc_str_putf(&out, "%%%02X", c);
        else
            vc_str_putc(&out, (char)c);
    }
    return out.data;
}

static void set_options(Transfer *t)
{
    const ExtractFetchOptions *o = &t->owner->options;
    CURL *e = t->easy;
    char *url = escape_url(t->url);
    curl_easy_setopt(e, CURLOPT_URL, url);
    free(url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(o->timeout * 1000) + 1);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(o->timeout * 1000 / 3) + 1);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 512L); // bytes/s
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)(o->timeout / 2) + 1);
    curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)o->max_bytes);
    curl_easy_setopt(e, CURLOPT_USERAGENT, t->owner->user_agent);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, 0L);
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
}

static void start_transfer(ExtractFetcher *f, Transfer *t)
{
    if (f->idle_count) {
        t->easy = f->idle[--f->idle_count];
        curl_easy_reset(t->easy);
    } else {
        t->easy = curl_easy_init();
        VC_ASSERT(t->easy); // memory is out
    }
    t->attempts++;
    t->n = 0;
    t->error_body = 0;
    t->paused = t->too_large = false;
    set_options(t);
    t->next = f->active;
    f->active = t;
    f->active_count++;
    VC_ASSERT(curl_multi_add_handle(f->multi, t->easy) == CURLM_OK);
}

static void unlink_active(ExtractFetcher *f, Transfer *t)
{
    Transfer **at = &f->active;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    f->active_count--;
    curl_multi_remove_handle(f->multi, t->easy);
    f->idle = vc_grow(f->idle, &f->idle_cap, f->idle_count + 1, sizeof(CURL *));
    f->idle[f->idle_count++] = t->easy;
    t->easy = NULL;
}

// --- what became of it

static ExtractCause status_cause(long code)
{
    if (code >= 200 && code < 300)
        return EXTRACT_OK;
    if (code == 404 || code == 410)
        return EXTRACT_NOT_FOUND;
    if (code == 429 || code >= 500)
        return EXTRACT_SERVER_ERROR;
    if (code >= 400)
        return EXTRACT_FORBIDDEN;
    return code >= 300 ? EXTRACT_REDIRECT : EXTRACT_PROTOCOL;
}

static ExtractCause curl_cause(CURLcode code, const Transfer *t, long redirects, bool connected)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return EXTRACT_DNS;
    case CURLE_COULDNT_CONNECT:
        return EXTRACT_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return EXTRACT_TIMEOUT;
    case CURLE_TOO_MANY_REDIRECTS:
        return EXTRACT_REDIRECT;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_LOGIN_DENIED:
        if (redirects > 0)
            return EXTRACT_REDIRECT;
        // Once connected it is the answer that is foreign (HTTP/0.9), not the URL.
        return connected ? EXTRACT_PROTOCOL : EXTRACT_BAD_URL;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return EXTRACT_BROKEN_OFF;
    case CURLE_FILESIZE_EXCEEDED:
        return EXTRACT_TOO_LARGE;
    case CURLE_WRITE_ERROR:
        return t->too_large ? EXTRACT_TOO_LARGE : EXTRACT_PROTOCOL;
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

static void describe(const Transfer *t, CURLcode code, long status, ExtractCause cause, VcErr *err)
{
    if (cause == EXTRACT_TOO_LARGE)
        vc_fail(err, VC_ERR_LIMIT, "the body is over the limit of %zu bytes", t->owner->options.max_bytes);
    else if (cause == EXTRACT_TIMEOUT)
        vc_fail(err, VC_ERR_NET, "no complete answer within %g s", t->owner->options.timeout);
    else if (cause == EXTRACT_REDIRECT && code == CURLE_TOO_MANY_REDIRECTS)
        vc_fail(err, VC_ERR_NET, "more than %d redirects", MAX_REDIRECTS);
    else if (code != CURLE_OK && status < 400)
        vc_fail(err, VC_ERR_NET, "%s", curl_easy_strerror(code));
    else
        vc_fail(err, VC_ERR_NET, "the server answered with HTTP status %ld", status);
}

static bool may_heal(ExtractCause cause)
{
    return cause == EXTRACT_TIMEOUT || cause == EXTRACT_BROKEN_OFF || cause == EXTRACT_SERVER_ERROR;
}

static void give_back(ExtractFetcher *f, Transfer *t, ExtractFetched *result)
{
    result->attempts = t->attempts;
    if (result->cause == EXTRACT_OK && !result->cancelled) {
        atomic_fetch_sub(&f->held, t->cap - t->n);
        if (t->cap - t->n > 4096) // the body may wait for a decoder: no slack
            t->bytes = vc_realloc(t->bytes, t->n ? t->n : 1, 1);
        result->bytes = t->bytes;
        result->n = t->n;
    } else {
        drop_body(t);
    }
    f->done(f->ctx, t->ticket, result);
    free(t->url);
    free(t);
}

static void finish_transfer(ExtractFetcher *f, Transfer *t, CURLcode code)
{
    long status = 0, redirects = 0;
    curl_off_t retry_after = 0, connected = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    curl_easy_getinfo(t->easy, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    // An error page that was cut short is still an error page.
    const bool refused =
        status >= 400 && (code == CURLE_OK || code == CURLE_WRITE_ERROR || code == CURLE_FILESIZE_EXCEEDED);
    ExtractFetched result = {.cause = code == CURLE_OK || refused ? status_cause(status)
                                                                  : curl_cause(code, t, redirects, connected > 0)};
    if (result.cause != EXTRACT_OK)
        describe(t, code, status, result.cause, &result.err);
    unlink_active(f, t);
    if (result.cause == EXTRACT_OK || !may_heal(result.cause) || t->attempts > (unsigned)f->options.retries) {
        give_back(f, t, &result);
        return;
    }
    drop_body(t);
    double pause = first_pause * (double)(1u << (t->attempts < 16 ? t->attempts - 1 : 15));
    pause = pause * (0.5 + vc_rng_uniform(&t->jitter));
    if (retry_after > 0 && (double)retry_after > pause)
        pause = (double)retry_after;
    t->due = vc_now() + (pause < longest_pause ? pause : longest_pause);
    t->next = f->waiting;
    f->waiting = t;
}

// --- the network thread

static void take_added(ExtractFetcher *f)
{
    pthread_mutex_lock(&f->lock);
    Transfer *added = f->added;
    f->added = NULL;
    f->added_tail = &f->added;
    pthread_mutex_unlock(&f->lock);
    Transfer **end = &f->waiting;
    while (*end)
        end = &(*end)->next;
    *end = added;
}

// Starts what is due. Returns the milliseconds until the next one is.
static int start_due(ExtractFetcher *f)
{
    const double now = vc_now();
    double soonest = POLL_MS / 1000.0;
    for (Transfer **at = &f->waiting; *at;) {
        Transfer *t = *at;
        const bool room = f->active_count < f->options.connections &&
                          (f->active_count == 0 || atomic_load(&f->held) < f->options.max_memory);
        if (!room)
            return POLL_MS;
        if (t->due <= now) {
            *at = t->next;
            start_transfer(f, t);
            continue;
        }
        if (t->due - now < soonest)
            soonest = t->due - now;
        at = &t->next;
    }
    return (int)(soonest * 1000) + 1;
}

static void resume_paused(ExtractFetcher *f)
{
    const bool room = atomic_load(&f->held) < f->options.max_memory;
    for (Transfer *t = f->active; t; t = t->next)
        if (t->paused && (room || is_oldest(t))) {
            t->paused = false;
            curl_easy_pause(t->easy, CURLPAUSE_CONT); // may call on_body, which may pause it again
        }
}

static void collect(ExtractFetcher *f)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(f->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        Transfer *t;
        const CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        finish_transfer(f, t, code);
    }
}

static void cancel_all(ExtractFetcher *f)
{
    take_added(f);
    while (f->active) {
        Transfer *t = f->active;
        unlink_active(f, t);
        t->next = f->waiting;
        f->waiting = t;
    }
    while (f->waiting) {
        Transfer *t = f->waiting;
        f->waiting = t->next;
        give_back(f, t, &(ExtractFetched){.cancelled = true});
    }
}

static bool stopping(ExtractFetcher *f)
{
    pthread_mutex_lock(&f->lock);
    const bool stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return stop;
}

static void *network_main(void *arg)
{
    ExtractFetcher *f = arg;
    while (!stopping(f)) {
        if (vc_interrupted() || atomic_load(&f->cancelled))
            cancel_all(f);
        take_added(f);
        const int wait = start_due(f);
        int running;
        resume_paused(f);
        curl_multi_perform(f->multi, &running);
        collect(f);
        // Something finished and something waits: no reason to sleep.
        const bool room = f->waiting && f->active_count < f->options.connections && f->waiting->due <= vc_now() &&
                          atomic_load(&f->held) < f->options.max_memory;
        if (!room)
            curl_multi_poll(f->multi, NULL, 0, wait < POLL_MS ? wait : POLL_MS, NULL);
    }
    cancel_all(f);
    return NULL;
}

// --- the other threads' side

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool extract_fetcher_start(ExtractFetcher **out, const ExtractFetchOptions *options, ExtractFetchDone done, void *ctx,
                           VcErr *err)
{
    pthread_once(&curl_once, start_curl);
    ExtractFetcher *f = vc_calloc(1, sizeof *f);
    f->options = *options;
    f->user_agent = vc_strdup(options->user_agent);
    f->done = done;
    f->ctx = ctx;
    f->added_tail = &f->added;
    f->multi = curl_multi_init();
    pthread_mutex_init(&f->lock, NULL);
    if (f->multi) {
        curl_multi_setopt(f->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)options->connections);
        curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)options->connections);
    }
    if (!f->multi || pthread_create(&f->thread, NULL, network_main, f) != 0) {
        curl_multi_cleanup(f->multi);
        free(f->user_agent);
        free(f);
        return vc_fail(err, VC_ERR_IO, "cannot start the network thread");
    }
    *out = f;
    return true;
}

void extract_fetcher_add(ExtractFetcher *f, const char *url, void *ticket)
{
    Transfer *t = vc_calloc(1, sizeof *t);
    t->owner = f;
    t->url = vc_strdup(url);
    t->ticket = ticket;
    t->born = f->born++;
    vc_rng_seed(&t->jitter, vc_xxh3(url, strlen(url)));
    pthread_mutex_lock(&f->lock);
    *f->added_tail = t;
    f->added_tail = &t->next;
    pthread_mutex_unlock(&f->lock);
    curl_multi_wakeup(f->multi);
}

void extract_fetcher_release(ExtractFetcher *f, size_t n)
{
    atomic_fetch_sub(&f->held, n);
}

void extract_fetcher_cancel(ExtractFetcher *f)
{
    atomic_store(&f->cancelled, true);
    curl_multi_wakeup(f->multi);
}

void extract_fetcher_stop(ExtractFetcher **fetcher)
{
    if (!fetcher || !*fetcher)
        return;
    ExtractFetcher *f = *fetcher;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_mutex_unlock(&f->lock);
    curl_multi_wakeup(f->multi);
    pthread_join(f->thread, NULL);
    for (size_t i = 0; i < f->idle_count; i++)
        curl_easy_cleanup(f->idle[i]);
    free(f->idle);
    curl_multi_cleanup(f->multi);
    pthread_mutex_destroy(&f->lock);
    free(f->user_agent);
    free(f);
    *fetcher = NULL;
}

const char *extract_curl_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}
