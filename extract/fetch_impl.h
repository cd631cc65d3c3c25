// SPDX-License-Identifier: MIT
// The inside of the fetcher: a transfer is one URL on its way, a host is one scheme, name and port with all that waits
// for it. fetch.c is the loop, transfer.c speaks with libcurl for one transfer, host.c keeps the table of hosts and
// decides who may start. All of it belongs to the network thread. Not for other folders.
#pragma once

#include "base/rng.h"
#include "extract/dns.h"
#include "extract/fetch.h"
#include "extract/headers.h"
#include "extract/pace.h"
#include "extract/robots.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct Transfer Transfer;
typedef struct Host Host;

// A line of transfers, first in, first out.
typedef struct {
    Transfer *first, *last;
    size_t count;
} Line;
void line_put(Line *line, Transfer *t);
void line_put_first(Line *line, Transfer *t);
void line_remove(Line *line, Transfer *t);

struct Transfer {
    Transfer *next, *previous; // of the one line it is in
    ExtractFetcher *owner;
    char *origin;    // as it was added
    char *url;       // of this hop, fit to be sent
    Host *host;      // of this hop; NULL while asleep
    char *path;      // with the query
    Host *robots_of; // it fetches that host's robots.txt: nobody outside waits for it
    void *ticket;
    uint64_t born; // number, in order of adding
    VcRng jitter;
    unsigned attempts;
    unsigned hops;   // of this attempt
    double due;      // asleep: not before this time
    double deadline; // of this attempt
    // under way
    CURL *easy;
    struct curl_slist *resolve, *extra;
    ExtractHeaders headers;
    ExtractHeadersVerdict verdict;
    double begun;                 // of this hop
    double header_by, headers_at; // when the headers must be there; when they were
    bool paused, too_large, proxied;
    bool refused; // a private address
    long error_body;
    char words[CURL_ERROR_SIZE]; // libcurl's own, on failure
    uint8_t *bytes;
    size_t n, cap;
};

typedef enum { ROBOTS_UNKNOWN, ROBOTS_FETCHING, ROBOTS_KNOWN, ROBOTS_FAILED } RobotsState;

struct Host {
    Host *next;                      // of the bucket
    Host *ring_next, *ring_previous; // of those with work
    char *scheme, *name;             // lower case; an IPv6 address has its brackets
    char *port;
    const char *proxy; // borrowed from the environment; NULL: none
    char *addresses;   // NULL: not asked for yet, or a literal or behind a proxy
    double addresses_until;
    bool literal, dns_waiting;
    bool answered; // the last transfer ended well
    Line ready;
    size_t active;
    ExtractPace pace;
    double next_start; // not before this time: a delay, or the host's own wish
    RobotsState robots_state;
    double robots_until;
    ExtractRobots *robots;     // KNOWN; NULL: all is allowed
    ExtractCause robots_cause; // FAILED
    char *robots_words;
    double used; // last time
};

enum { HOST_BUCKETS = 4096 };
typedef struct {
    Host *buckets[HOST_BUCKETS];
    size_t count;
    Host *ring; // hosts with ready transfers; the next to be served
} Hosts;

struct ExtractFetcher {
    ExtractFetchOptions options;
    char *user_agent, *from, token[64];
    ExtractFetchDone done;
    void *ctx;
    CURLM *multi;
    int epoll, wake; // an eventfd
    pthread_t thread;
    pthread_mutex_t lock; // guards added and stop
    Line added;
    bool stop;
    uint64_t born;
    atomic_bool cancelled, dns_news;
    atomic_size_t held; // bytes of bodies that nobody has released
    // of the network thread alone
    ExtractDns *dns;
    Hosts hosts;
    Line active, asleep;
    size_t paused;
    size_t stalled; // active ones that have waited long for their headers, as of the last tick
    ExtractPace pace;
    bool changed;    // something that may let a transfer start
    double timer_at; // when libcurl wants to be called; negative: not
    double next_tick;
    CURL **idle;
    size_t idle_count, idle_cap;
};

// --- transfer.c

// Takes the URL apart: fills url, path and host. False with *err: not http or https, a user name, no URL at all.
bool transfer_aim(Transfer *t, const char *url, VcErr *err);
void transfer_start(Transfer *t, const char *addresses); // on its host; a free easy handle is taken or made
void transfer_end(Transfer *t);                          // takes it away from libcurl
void transfer_drop_body(Transfer *t);
void transfer_free(Transfer **t); // with its body
bool transfer_is_oldest(const Transfer *t);
// What became of it; with *next a redirect that must be followed (freed by the caller).
ExtractCause transfer_judge(const Transfer *t, CURLcode code, char **next, VcErr *err);
bool transfer_overloaded(const Transfer *t, ExtractCause cause); // a sign that its host has too much to do

// --- host.c

Host *host_find(ExtractFetcher *f, const char *scheme, const char *name, const char *port);
void host_add(ExtractFetcher *f, Transfer *t, bool first); // to its host's ready line
void host_take(ExtractFetcher *f, Transfer *t);            // out of it
void hosts_free(Hosts *hosts);
// May the first ready transfer of a host start? START: it does. WAIT: not now. FAIL: *cause and *err hold for it.
// FETCH_ROBOTS: its robots.txt has to be fetched before.
typedef enum { HOST_START, HOST_WAIT, HOST_FAIL, HOST_FETCH_ROBOTS } HostVerdict;
HostVerdict host_judge(ExtractFetcher *f, Host *h, double now, ExtractCause *cause, VcErr *err);
void host_started(ExtractFetcher *f, Host *h, double now);
// `overloaded`, `retry_after` (negative: not said): what the answer told of its host.
void host_ended(Host *h, double now, bool overloaded, double retry_after);
// The robots.txt is there, or not: `t` has ended with `cause`.
void host_robots_done(Host *h, const Transfer *t, ExtractCause cause, const VcErr *err, double now);
