// SPDX-License-Identifier: MIT
#include "extract/dns.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, MAX_ENTRIES = 65536, MAX_ADDRESSES = 8, STACK_BYTES = 256 * 1024 };
static const double keep_found = 300, keep_failed = 60, keep_passing = 10; // seconds

typedef enum { QUEUED, ASKED, ANSWERED } Stage;

typedef struct Entry {
    struct Entry *next;       // of the bucket
    struct Entry *next_asked; // of the queue
    char *host;
    Stage stage;
    bool found;
    double begun, until; // of the stage; of the answer
    char *text;          // addresses, or why not
} Entry;

// Shared by the owner and the threads, and freed by the last of them.
struct ExtractDns {
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t holders;
    bool stop;
    double timeout;
    void (*wake)(void *ctx);
    void *ctx;
    size_t threads, most_threads, idle;
    Entry *queue, **queue_end;
    Entry *buckets[BUCKETS];
    size_t count;
    char *shown; // what the last find has handed out
};

static void free_entry(Entry *e)
{
    free(e->host);
    free(e->text);
    free(e);
}

// Unlocks, and frees everything with the last holder.
static void let_go(ExtractDns *d)
{
    const bool last = --d->holders == 0;
    pthread_mutex_unlock(&d->lock);
    if (!last)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (d->buckets[i]) {
            Entry *e = d->buckets[i];
            d->buckets[i] = e->next;
            free_entry(e);
        }
    }
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->more);
    free(d->shown);
    free(d);
}

static void put_address(VcStr *out, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        if (inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text))
            vc_str_putf(out, "%s%s", out->len ? "," : "", text);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        if (inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text))
            vc_str_putf(out, "%s[%s]", out->len ? "," : "", text);
    }
}

// Asks the system; may take as long as it likes. *text is owned by the caller.
static int ask(const char *host, char **text)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    const int code = getaddrinfo(host, NULL, &hints, &list);
    if (code != 0) {
        *text = vc_strdup(gai_strerror(code));
        return code;
    }
    VcStr out = {0};
    size_t count = 0;
    for (const struct addrinfo *a = list; a && count < MAX_ADDRESSES; a = a->ai_next, count++)
        put_address(&out, a->ai_addr);
    freeaddrinfo(list);
    *text = out.data ? out.data : vc_strdup("no address");
    return out.data ? 0 : EAI_NONAME;
}

static void *resolver_main(void *arg)
{
    ExtractDns *d = arg;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (!d->stop && !d->queue) {
            d->idle++;
            pthread_cond_wait(&d->more, &d->lock);
            d->idle--;
        }
        if (d->stop)
            break;
        Entry *e = d->queue;
        d->queue = e->next_asked;
        if (!d->queue)
            d->queue_end = &d->queue;
        e->stage = ASKED; // an entry in this stage is not dropped from the cache
        e->begun = vc_now();
        pthread_mutex_unlock(&d->lock);
        char *text;
        const int code = ask(e->host, &text);
        pthread_mutex_lock(&d->lock);
        free(e->text);
        e->text = text;
        e->found = code == 0;
        e->stage = ANSWERED;
        e->until = vc_now() + (code == 0 ? keep_found : code == EAI_AGAIN ? keep_passing : keep_failed);
        if (!d->stop)
            d->wake(d->ctx);
    }
    let_go(d);
    return NULL;
}

static void start_thread(ExtractDns *d)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_t thread;
    d->holders++;
    if (pthread_create(&thread, &attr, resolver_main, d) == 0) {
        d->threads++;
    } else {
        d->holders--;
    }
    pthread_attr_destroy(&attr);
}

ExtractDns *extract_dns_create(size_t threads, double timeout, void (*wake)(void *ctx), void *ctx)
{
    ExtractDns *d = vc_calloc(1, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->more, NULL);
    d->holders = 1;
    d->most_threads = threads;
    d->timeout = timeout;
    d->wake = wake;
    d->ctx = ctx;
    d->queue_end = &d->queue;
    return d;
}

void extract_dns_destroy(ExtractDns **dns)
{
    if (!dns || !*dns)
        return;
    ExtractDns *d = *dns;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_broadcast(&d->more);
    let_go(d);
    *dns = NULL;
}

// Makes room: what is out of date goes, and of a full cache everything that is not being asked for.
static void sweep(ExtractDns *d, double now)
{
    for (int all = 0; all < 2 && d->count >= MAX_ENTRIES; all++) {
        for (size_t i = 0; i < BUCKETS; i++) {
            for (Entry **at = &d->buckets[i]; *at;) {
                Entry *e = *at;
                if (e->stage != ANSWERED || (!all && e->until > now)) {
                    at = &e->next;
                    continue;
                }
                *at = e->next;
                d->count--;
                free_entry(e);
            }
        }
    }
}

static void enqueue(ExtractDns *d, Entry *e, double now)
{
    e->stage = QUEUED;
    e->begun = now;
    e->next_asked = NULL;
    *d->queue_end = e;
    d->queue_end = &e->next_asked;
    if (d->idle == 0 && d->threads < d->most_threads)
        start_thread(d);
    pthread_cond_signal(&d->more);
}

static Entry *entry_of(ExtractDns *d, const char *host, double now)
{
    const size_t bucket = vc_xxh3(host, strlen(host)) % BUCKETS;
    for (Entry *e = d->buckets[bucket]; e; e = e->next) {
        if (strcmp(e->host, host) == 0) {
            if (e->stage == ANSWERED && e->until <= now)
                enqueue(d, e, now);
            return e;
        }
    }
    if (d->count >= MAX_ENTRIES)
        sweep(d, now);
    Entry *e = vc_calloc(1, sizeof *e);
    e->host = vc_strdup(host);
    e->next = d->buckets[bucket];
    d->buckets[bucket] = e;
    d->count++;
    enqueue(d, e, now);
    return e;
}

ExtractDnsState extract_dns_find(ExtractDns *d, const char *host, double now, const char **addresses)
{
    pthread_mutex_lock(&d->lock);
    const Entry *e = entry_of(d, host, now);
    ExtractDnsState state = EXTRACT_DNS_WAIT;
    const char *text = "";
    if (e->stage == ANSWERED) {
        state = e->found ? EXTRACT_DNS_FOUND : EXTRACT_DNS_FAILED;
        text = e->text;
    } else if (now - e->begun > d->timeout * (e->stage == ASKED ? 1 : 4)) { // in the line, where all threads hang
        state = EXTRACT_DNS_FAILED;
        text = "no answer from the name servers in time";
    }
    free(d->shown);
    d->shown = vc_strdup(text);
    pthread_mutex_unlock(&d->lock);
    *addresses = d->shown;
    return state;
}
