// SPDX-License-Identifier: MIT
#include "extract/fetch.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/fetch_impl.h"
#include "extract/versions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    POLL_MS = 100, // longest wait before an interrupt is seen
    EVENTS = 64,
    FIRST_WINDOW = 16,
    RESOLVERS = 32, // names asked for at a time
};
static const double tick_seconds = 0.05;
static const double first_pause = 0.4, longest_pause = 20; // seconds before a retry; doubled each time, with jitter
static const double longest_wish = 60;                     // seconds of a Retry-After that are waited for
static const double stalled_seconds = 1;                   // without headers: waits, and hardly for lack of bandwidth
static const double page_seconds = 2;                      // for the rest of a page that says no

void extract_fetch_options_init(ExtractFetchOptions *options)
{
    *options = (ExtractFetchOptions){
        .connections = 256, .timeout = 20, .header_timeout = 10, .low_speed = 512, .retries = 2, .redirects = 5};
}

// --- giving back, and trying again

static void give_back(ExtractFetcher *f, Transfer *t, ExtractFetched *result)
{
    result->attempts = t->attempts;
    if (result->cause == EXTRACT_OK && !result->cancelled) {
        atomic_fetch_sub(&f->held, t->cap - t->n);
        if (t->cap - t->n > 4096) // the body may wait for a decoder: no slack
            t->bytes = vc_realloc(t->bytes, t->n ? t->n : 1, 1);
        result->bytes = t->bytes;
        result->n = t->n;
        t->bytes = NULL;
        t->n = t->cap = 0;
    }
    f->done(f->ctx, t->ticket, result);
    transfer_free(&t);
}

// It is in no line any more. `host`: of the last hop.
static void conclude(ExtractFetcher *f, Transfer *t, ExtractCause cause, const VcErr *err)
{
    f->changed = true;
    if (t->robots_of) {
        host_robots_done(t->robots_of, t, cause, err, vc_now());
        transfer_free(&t);
        return;
    }
    ExtractFetched result = {.cause = cause};
    if (cause != EXTRACT_OK)
        result.err = *err;
    give_back(f, t, &result);
}

static bool may_heal(ExtractCause cause)
{
    return cause == EXTRACT_TIMEOUT || cause == EXTRACT_BROKEN_OFF || cause == EXTRACT_SERVER_ERROR;
}

static void fall_asleep(ExtractFetcher *f, Transfer *t, double retry_after)
{
    transfer_drop_body(t);
    double pause = first_pause * (double)(1u << (t->attempts < 16 ? t->attempts - 1 : 15));
    pause = pause < longest_pause ? pause : longest_pause;
    pause *= 0.5 + vc_rng_uniform(&t->jitter);
    t->due = vc_now() + (retry_after > pause ? retry_after : pause);
    t->hops = 0;
    t->host = NULL; // may be forgotten meanwhile
    line_put(&f->asleep, t);
}

// Puts it in its host's line, or ends it.
static void set_out(ExtractFetcher *f, Transfer *t, const char *url)
{
    VcErr err = {0};
    if (transfer_aim(t, url, &err)) {
        host_add(f, t, t->robots_of != NULL);
    } else {
        conclude(f, t, t->hops ? EXTRACT_REDIRECT : EXTRACT_BAD_URL, &err);
    }
}

static void follow(ExtractFetcher *f, Transfer *t, char *next)
{
    VcErr err = {0};
    transfer_drop_body(t);
    if (++t->hops > (unsigned)f->options.redirects) {
        vc_fail(&err, VC_ERR_NET, "more than %d redirects", f->options.redirects);
        conclude(f, t, EXTRACT_REDIRECT, &err);
    } else {
        set_out(f, t, next);
    }
    free(next);
}

static void finish_transfer(ExtractFetcher *f, Transfer *t, CURLcode code)
{
    VcErr err = {0};
    char *next;
    const ExtractCause cause = transfer_judge(t, code, &next, &err);
    const double now = vc_now(), wish = t->headers.retry_after;
    const bool overloaded = transfer_overloaded(t, cause), had_answered = t->host->answered;
    host_ended(t->host, now, overloaded, wish < longest_wish ? wish : longest_wish);
    // What dead hosts do says nothing of our own line: a list with a third of them must not slow the rest down.
    if (!overloaded || had_answered)
        extract_pace_ended(&f->pace, now, overloaded);
    f->changed = true;
    transfer_end(t);
    if (next) {
        follow(f, t, next);
    } else if (may_heal(cause) && t->attempts <= (unsigned)f->options.retries && wish <= longest_wish) {
        fall_asleep(f, t, wish);
    } else {
        conclude(f, t, cause, &err);
    }
}

// --- starting

static void fetch_robots(ExtractFetcher *f, Host *h)
{
    Transfer *t = vc_calloc(1, sizeof *t);
    t->owner = f;
    t->robots_of = h;
    t->born = f->born;
    VcStr url = {0};
    vc_str_putf(&url, "%s://%s:%s/robots.txt", h->scheme, h->name, h->port);
    t->origin = url.data;
    vc_rng_seed(&t->jitter, vc_xxh3(url.data, url.len));
    h->robots_state = ROBOTS_FETCHING;
    set_out(f, t, t->origin);
}

// Those that wait for servers which say nothing count against the ceiling alone, else a window full of them would hold
// up all others until their time is over.
static bool has_room(ExtractFetcher *f)
{
    return f->active.count < extract_pace_window(&f->pace) + f->stalled && f->active.count < f->options.connections &&
           (f->active.count == 0 || atomic_load(&f->held) < f->options.max_memory);
}

// Serves one host once; true when something has come of it.
static bool serve(ExtractFetcher *f, Host *h, double now)
{
    VcErr err = {0};
    ExtractCause cause = EXTRACT_OK;
    Transfer *t = h->ready.first;
    switch (host_judge(f, h, now, &cause, &err)) {
    case HOST_WAIT:
        return false;
    case HOST_FETCH_ROBOTS:
        fetch_robots(f, h);
        return true;
    case HOST_FAIL:
        host_take(f, t);
        conclude(f, t, cause, &err);
        return true;
    case HOST_START:
        break;
    }
    host_take(f, t);
    host_started(f, h, now);
    transfer_start(t, h->addresses);
    extract_pace_started(&f->pace, now, f->active.count > f->stalled ? f->active.count - f->stalled : 0);
    return true;
}

// Hosts in turn, one transfer each, until none can start.
static void start_ready(ExtractFetcher *f)
{
    const double now = vc_now();
    f->changed = false;
    size_t rest = 0; // hosts since something has happened
    for (const Host *h = f->hosts.ring; h && (rest == 0 || h != f->hosts.ring); h = h->ring_next)
        rest++;
    for (size_t quiet = 0; f->hosts.ring && quiet < rest && has_room(f);) {
        Host *h = f->hosts.ring;
        f->hosts.ring = h->ring_next;
        quiet = serve(f, h, now) ? 0 : quiet + 1;
    }
}

// --- the network thread

static void take_added(ExtractFetcher *f)
{
    pthread_mutex_lock(&f->lock);
    Line added = f->added;
    f->added = (Line){0};
    pthread_mutex_unlock(&f->lock);
    while (added.first) {
        Transfer *t = added.first;
        line_remove(&added, t);
        t->born = f->born++;
        set_out(f, t, t->origin);
    }
}

static void resume_paused(ExtractFetcher *f)
{
    const bool room = atomic_load(&f->held) < f->options.max_memory;
    for (Transfer *t = f->active.first, *next; t && f->paused; t = next) {
        next = t->next;
        if (t->paused && (room || transfer_is_oldest(t))) {
            t->paused = false;
            f->paused--;
            curl_easy_pause(t->easy, CURLPAUSE_CONT); // may call on_body, which may pause it again
        }
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

static void wake_sleepers(ExtractFetcher *f, double now)
{
    for (Transfer *t = f->asleep.first, *next; t; t = next) {
        next = t->next;
        if (t->due > now)
            continue;
        line_remove(&f->asleep, t);
        set_out(f, t, t->origin);
    }
}

static void hear_dns(ExtractFetcher *f)
{
    Host *const first = f->hosts.ring;
    for (Host *h = first; h; h = h->ring_next == first ? NULL : h->ring_next)
        h->dns_waiting = false;
    f->changed = true;
}

// What goes by time: deadlines that libcurl does not know, retries, delays of hosts, names that take too long.
static void tick(ExtractFetcher *f, double now)
{
    f->next_tick = now + tick_seconds;
    wake_sleepers(f, now);
    f->stalled = 0;
    for (Transfer *t = f->active.first, *next; t; t = next) {
        next = t->next;
        const bool late =
            t->headers.complete ? t->headers.status >= 300 && now > t->headers_at + page_seconds : now > t->header_by;
        if (late) {
            finish_transfer(f, t, CURLE_OPERATION_TIMEDOUT);
        } else {
            f->stalled += !t->headers.complete && now > t->begun + stalled_seconds;
        }
    }
    hear_dns(f);
}

static void cancel_all(ExtractFetcher *f)
{
    take_added(f);
    while (f->active.first) {
        Transfer *t = f->active.first;
        host_ended(t->host, vc_now(), false, -1);
        transfer_end(t);
        line_put(&f->asleep, t);
    }
    while (f->hosts.ring) {
        Transfer *t = f->hosts.ring->ready.first;
        host_take(f, t);
        line_put(&f->asleep, t);
    }
    while (f->asleep.first) {
        Transfer *t = f->asleep.first;
        line_remove(&f->asleep, t);
        if (t->robots_of) {
            t->robots_of->robots_state = ROBOTS_UNKNOWN;
            transfer_free(&t);
        } else {
            give_back(f, t, &(ExtractFetched){.cancelled = true});
        }
    }
}

static bool stopping(ExtractFetcher *f)
{
    pthread_mutex_lock(&f->lock);
    const bool stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return stop;
}

static void wake_up(void *ctx)
{
    const ExtractFetcher *f = ctx;
    const uint64_t one = 1;
    while (write(f->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void on_dns(void *ctx)
{
    ExtractFetcher *f = ctx;
    atomic_store(&f->dns_news, true);
    wake_up(f);
}

static int on_timer(CURLM *multi, long ms, void *user)
{
    ExtractFetcher *f = user;
    (void)multi;
    f->timer_at = ms < 0 ? -1 : vc_now() + (double)ms / 1000;
    return 0;
}

// libcurl says which sockets it wants to hear of; a mark on the socket says that epoll knows it already.
static int on_watch(CURL *easy, curl_socket_t fd, int what, void *user, void *known)
{
    ExtractFetcher *f = user;
    (void)easy;
    struct epoll_event event = {.data.fd = fd};
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(f->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (epoll_ctl(f->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0)
        epoll_ctl(f->epoll, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(f->multi, fd, f);
    return 0;
}

static void wait_for_events(ExtractFetcher *f)
{
    const double now = vc_now();
    double until = now + POLL_MS / 1000.0;
    const bool ticking = f->active.count || f->asleep.count || f->hosts.ring;
    if (ticking && f->next_tick < until)
        until = f->next_tick;
    if (f->timer_at >= 0 && f->timer_at < until)
        until = f->timer_at;
    struct epoll_event events[EVENTS];
    const int wait = until > now ? (int)((until - now) * 1000) + 1 : 0;
    const int count = epoll_wait(f->epoll, events, EVENTS, f->changed && has_room(f) ? 0 : wait);
    int running;
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == f->wake) {
            uint64_t n;
            if (read(f->wake, &n, sizeof n) == sizeof n)
                f->changed = true;
            continue;
        }
        const uint32_t e = events[i].events;
        const int mask = (e & EPOLLIN ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                         (e & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(f->multi, events[i].data.fd, mask, &running);
    }
    if (f->timer_at >= 0 && vc_now() >= f->timer_at) {
        f->timer_at = -1; // libcurl sets it again if it wants to
        curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

static void *network_main(void *arg)
{
    ExtractFetcher *f = arg;
    while (!stopping(f)) {
        if (vc_interrupted() || atomic_load(&f->cancelled))
            cancel_all(f);
        take_added(f);
        const double now = vc_now();
        if (now >= f->next_tick)
            tick(f, now);
        if (atomic_exchange(&f->dns_news, false))
            hear_dns(f);
        if (f->changed)
            start_ready(f);
        if (f->paused)
            resume_paused(f);
        wait_for_events(f);
        collect(f);
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

// Every transfer is a descriptor, and some more are the program's own.
static void raise_descriptors(size_t connections)
{
    struct rlimit limit;
    const rlim_t need = (rlim_t)connections * 2 + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < need) {
        limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void name_ourselves(ExtractFetcher *f)
{
    const ExtractFetchOptions *o = &f->options;
    VcStr agent = {0};
    vc_str_put(&agent, o->user_agent ? o->user_agent : "vicha/" VICHA_VERSION);
    if (!o->user_agent && o->contact)
        vc_str_putf(&agent, " (+%s)", o->contact);
    f->user_agent = agent.data;
    extract_robots_token(f->user_agent, f->token, sizeof f->token);
    if (o->contact && strchr(o->contact, '@') && !strchr(o->contact, '/')) {
        VcStr from = {0};
        vc_str_putf(&from, "From: %s", o->contact);
        f->from = from.data;
    }
}

static bool start_loop(ExtractFetcher *f)
{
    f->multi = curl_multi_init();
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = f->wake};
    if (!f->multi || f->epoll < 0 || f->wake < 0 || epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->wake, &event) != 0)
        return false;
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)f->options.connections);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_watch);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    f->timer_at = -1;
    f->dns = extract_dns_create(RESOLVERS, f->options.timeout, on_dns, f);
    return pthread_create(&f->thread, NULL, network_main, f) == 0;
}

static void free_fetcher(ExtractFetcher *f)
{
    extract_dns_destroy(&f->dns); // before the eventfd that it writes to
    for (size_t i = 0; i < f->idle_count; i++)
        curl_easy_cleanup(f->idle[i]);
    free(f->idle);
    curl_multi_cleanup(f->multi); // closes sockets, and says so to epoll
    if (f->epoll >= 0)
        close(f->epoll);
    if (f->wake >= 0)
        close(f->wake);
    hosts_free(&f->hosts);
    pthread_mutex_destroy(&f->lock);
    free(f->user_agent);
    free(f->from);
    free(f);
}

bool extract_fetcher_start(ExtractFetcher **out, const ExtractFetchOptions *options, ExtractFetchDone done, void *ctx,
                           VcErr *err)
{
    pthread_once(&curl_once, start_curl);
    raise_descriptors(options->connections);
    ExtractFetcher *f = vc_calloc(1, sizeof *f);
    f->options = *options;
    f->done = done;
    f->ctx = ctx;
    name_ourselves(f);
    extract_pace_init(&f->pace, FIRST_WINDOW, (double)options->connections);
    pthread_mutex_init(&f->lock, NULL);
    if (!start_loop(f)) {
        free_fetcher(f);
        return vc_fail(err, VC_ERR_IO, "cannot start the network thread");
    }
    *out = f;
    return true;
}

void extract_fetcher_add(ExtractFetcher *f, const char *url, void *ticket)
{
    Transfer *t = vc_calloc(1, sizeof *t);
    t->owner = f;
    t->origin = vc_strdup(url);
    t->ticket = ticket;
    vc_rng_seed(&t->jitter, vc_xxh3(url, strlen(url)));
    pthread_mutex_lock(&f->lock);
    line_put(&f->added, t);
    const bool first = f->added.count == 1;
    pthread_mutex_unlock(&f->lock);
    if (first)
        wake_up(f);
}

void extract_fetcher_release(ExtractFetcher *f, size_t n)
{
    const size_t before = atomic_fetch_sub(&f->held, n), limit = f->options.max_memory;
    if (before >= limit && before - n < limit)
        wake_up(f);
}

void extract_fetcher_cancel(ExtractFetcher *f)
{
    atomic_store(&f->cancelled, true);
    wake_up(f);
}

void extract_fetcher_stop(ExtractFetcher **fetcher)
{
    if (!fetcher || !*fetcher)
        return;
    ExtractFetcher *f = *fetcher;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_mutex_unlock(&f->lock);
    wake_up(f);
    pthread_join(f->thread, NULL);
    free_fetcher(f);
    *fetcher = NULL;
}

const char *extract_curl_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

const char *extract_curl_http2(void)
{
    return curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP2 ? "yes"
                                                                             : "no: libcurl was built without it";
}
