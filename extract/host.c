// SPDX-License-Identifier: MIT
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/address.h"
#include "extract/fetch_impl.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_HOSTS = 16384, FIRST_WINDOW = 8, PUBLIC_WINDOW = 32 };
static const double keep_robots = 24 * 3600.0, keep_failure = 300, keep_addresses = 60; // seconds

// --- lines

void line_put(Line *line, Transfer *t)
{
    t->next = NULL;
    t->previous = line->last;
    *(line->last ? &line->last->next : &line->first) = t;
    line->last = t;
    line->count++;
}

void line_put_first(Line *line, Transfer *t)
{
    t->previous = NULL;
    t->next = line->first;
    *(line->first ? &line->first->previous : &line->last) = t;
    line->first = t;
    line->count++;
}

void line_remove(Line *line, Transfer *t)
{
    *(t->previous ? &t->previous->next : &line->first) = t->next;
    *(t->next ? &t->next->previous : &line->last) = t->previous;
    t->next = t->previous = NULL;
    line->count--;
}

// --- the table

static void free_host(Host *h)
{
    extract_robots_free(&h->robots);
    free(h->scheme);
    free(h->name);
    free(h->port);
    free(h->addresses);
    free(h->robots_words);
    free(h);
}

void hosts_free(Hosts *hosts)
{
    for (size_t i = 0; i < HOST_BUCKETS; i++) {
        while (hosts->buckets[i]) {
            Host *h = hosts->buckets[i];
            hosts->buckets[i] = h->next;
            free_host(h);
        }
    }
    *hosts = (Hosts){0};
}

// A full table loses the older half of those with nothing to do.
static void sweep(Hosts *hosts)
{
    double oldest = 0, newest = 0;
    for (size_t i = 0; i < HOST_BUCKETS; i++) {
        for (const Host *h = hosts->buckets[i]; h; h = h->next) {
            oldest = oldest == 0 || h->used < oldest ? h->used : oldest;
            newest = h->used > newest ? h->used : newest;
        }
    }
    for (size_t i = 0; i < HOST_BUCKETS; i++) {
        for (Host **at = &hosts->buckets[i]; *at;) {
            Host *h = *at;
            const bool busy = h->active || h->ready.count || h->robots_state == ROBOTS_FETCHING;
            if (busy || h->used > (oldest + newest) / 2) {
                at = &h->next;
                continue;
            }
            *at = h->next;
            hosts->count--;
            free_host(h);
        }
    }
}

static void set_ceiling(const ExtractFetcher *f, Host *h, bool private)
{
    const size_t all = f->options.connections;
    size_t ceiling = f->options.per_host ? f->options.per_host : private ? all : PUBLIC_WINDOW;
    ceiling = ceiling < all ? ceiling : all;
    extract_pace_init(&h->pace, FIRST_WINDOW, (double)ceiling);
}

static Host *make_host(ExtractFetcher *f, const char *scheme, const char *name, const char *port)
{
    Host *h = vc_calloc(1, sizeof *h);
    h->scheme = vc_strdup(scheme);
    h->name = vc_strdup(name);
    h->port = vc_strdup(port);
    h->proxy = extract_proxy_for(scheme, name);
    int family;
    uint8_t ip[16];
    h->literal = extract_host_literal(name, &family, ip);
    set_ceiling(f, h, extract_host_private(name));
    return h;
}

Host *host_find(ExtractFetcher *f, const char *scheme, const char *name, const char *port)
{
    Hosts *hosts = &f->hosts;
    VcStr key = {0};
    vc_str_putf(&key, "%s://%s:%s", scheme, name, port);
    const size_t bucket = vc_xxh3(key.data, key.len) % HOST_BUCKETS;
    vc_str_finish(&key);
    for (Host *h = hosts->buckets[bucket]; h; h = h->next) {
        if (strcmp(h->name, name) == 0 && strcmp(h->port, port) == 0 && strcmp(h->scheme, scheme) == 0)
            return h;
    }
    if (hosts->count >= MAX_HOSTS)
        sweep(hosts);
    Host *h = make_host(f, scheme, name, port);
    h->next = hosts->buckets[bucket];
    hosts->buckets[bucket] = h;
    hosts->count++;
    return h;
}

// --- the ring of those with work

static void ring_add(Hosts *hosts, Host *h)
{
    if (!hosts->ring) {
        hosts->ring = h->ring_next = h->ring_previous = h;
        return;
    }
    h->ring_next = hosts->ring; // behind all others
    h->ring_previous = hosts->ring->ring_previous;
    h->ring_previous->ring_next = h->ring_next->ring_previous = h;
}

static void ring_remove(Hosts *hosts, Host *h)
{
    h->ring_previous->ring_next = h->ring_next;
    h->ring_next->ring_previous = h->ring_previous;
    if (hosts->ring == h)
        hosts->ring = h->ring_next == h ? NULL : h->ring_next;
    h->ring_next = h->ring_previous = NULL;
}

void host_add(ExtractFetcher *f, Transfer *t, bool first)
{
    Host *h = t->host;
    if (h->ready.count == 0)
        ring_add(&f->hosts, h);
    if (first) {
        line_put_first(&h->ready, t);
    } else {
        line_put(&h->ready, t);
    }
    f->changed = true;
}

void host_take(ExtractFetcher *f, Transfer *t)
{
    Host *h = t->host;
    line_remove(&h->ready, t);
    if (h->ready.count == 0)
        ring_remove(&f->hosts, h);
}

// --- who may start

static bool first_address_private(const char *addresses)
{
    char first[64];
    const size_t n = strcspn(addresses, ",");
    if (n >= sizeof first)
        return true;
    memcpy(first, addresses, n);
    first[n] = 0;
    return extract_host_private(first);
}

static HostVerdict judge_name(ExtractFetcher *f, Host *h, double now, ExtractCause *cause, VcErr *err)
{
    if (!f->options.allow_private && extract_host_private(h->name)) {
        *cause = EXTRACT_PRIVATE;
        vc_fail(err, VC_ERR_NET, "'%s' is an address of a private network (--allow-private)", h->name);
        return HOST_FAIL;
    }
    if (h->literal || h->proxy || (h->addresses && now < h->addresses_until))
        return HOST_START;
    const char *text;
    switch (extract_dns_find(f->dns, h->name, now, &text)) {
    case EXTRACT_DNS_WAIT:
        h->dns_waiting = true;
        return HOST_WAIT;
    case EXTRACT_DNS_FAILED:
        *cause = EXTRACT_DNS;
        vc_fail(err, VC_ERR_NET, "cannot find the address of '%s': %s", h->name, text);
        return HOST_FAIL;
    case EXTRACT_DNS_FOUND:
        break;
    }
    if (!h->addresses)
        set_ceiling(f, h, first_address_private(text));
    free(h->addresses);
    h->addresses = vc_strdup(text);
    h->addresses_until = now + keep_addresses;
    return HOST_START;
}

static HostVerdict judge_robots(const ExtractFetcher *f, Host *h, double now, ExtractCause *cause, VcErr *err)
{
    const Transfer *t = h->ready.first;
    if (f->options.ignore_robots || t->robots_of)
        return HOST_START;
    if (h->robots_state == ROBOTS_FETCHING)
        return HOST_WAIT;
    if (h->robots_state == ROBOTS_UNKNOWN || now >= h->robots_until)
        return HOST_FETCH_ROBOTS;
    if (h->robots_state == ROBOTS_FAILED) {
        *cause = h->robots_cause;
        vc_fail(err, VC_ERR_NET, "robots.txt of '%s': %s", h->name, h->robots_words);
        return HOST_FAIL;
    }
    if (extract_robots_allow(h->robots, t->path))
        return HOST_START;
    *cause = EXTRACT_ROBOTS;
    vc_fail(err, VC_ERR_NET, "robots.txt of '%s' does not allow it (--ignore-robots)", h->name);
    return HOST_FAIL;
}

HostVerdict host_judge(ExtractFetcher *f, Host *h, double now, ExtractCause *cause, VcErr *err)
{
    if (h->dns_waiting)
        return HOST_WAIT;
    HostVerdict verdict = judge_name(f, h, now, cause, err);
    if (verdict == HOST_START)
        verdict = judge_robots(f, h, now, cause, err);
    if (verdict != HOST_START)
        return verdict;
    return h->active < extract_pace_window(&h->pace) && now >= h->next_start ? HOST_START : HOST_WAIT;
}

void host_started(ExtractFetcher *f, Host *h, double now)
{
    const double asked = extract_robots_delay(h->robots);
    const double delay = asked > f->options.host_delay ? asked : f->options.host_delay;
    h->active++;
    h->used = now;
    if (delay > 0)
        h->next_start = now + delay;
    extract_pace_started(&h->pace, now, h->active);
}

void host_ended(Host *h, double now, bool overloaded, double retry_after)
{
    h->active--;
    h->used = now;
    h->answered = !overloaded;
    extract_pace_ended(&h->pace, now, overloaded);
    if (retry_after >= 0 && overloaded)
        extract_pace_halve(&h->pace, now);
    if (retry_after > 0 && now + retry_after > h->next_start)
        h->next_start = now + retry_after;
}

void host_robots_done(Host *h, const Transfer *t, ExtractCause cause, const VcErr *err, double now)
{
    extract_robots_free(&h->robots);
    free(h->robots_words);
    h->robots_words = NULL;
    // What was read until a limit counts; one that is not there, or leads nowhere, allows all (RFC 9309, 2.3.1).
    if (cause == EXTRACT_OK || (cause == EXTRACT_TOO_LARGE && t->n))
        h->robots = extract_robots_parse((const char *)t->bytes, t->n, t->owner->token);
    const bool known = cause == EXTRACT_OK || cause == EXTRACT_TOO_LARGE || cause == EXTRACT_NOT_FOUND ||
                       cause == EXTRACT_FORBIDDEN || cause == EXTRACT_REDIRECT ||
                       (cause == EXTRACT_PRIVATE && t->hops > 0);
    h->robots_state = known ? ROBOTS_KNOWN : ROBOTS_FAILED;
    h->robots_until = now + (known ? keep_robots : keep_failure);
    if (!known) {
        h->robots_cause = cause;
        h->robots_words = vc_strdup(err->text);
    }
}
