// SPDX-License-Identifier: MIT
// Downloads: one network thread drives many transfers from one event loop.
//
// The rule: every URL that was added comes back exactly once through the callback, whatever the servers do: all that a
// server controls (time, bytes, headers, redirects, protocols, addresses) is bounded. Every hop of a redirect is judged
// like a first URL: http or https, no user name, no private address, robots.txt. No cookies, no .netrc. A proxy is the
// environment's; what is behind it, it resolves, so only literal private addresses are refused there.
//
// How many transfers there are follows the throughput, for the whole and for each host (pace.h). A robots.txt that
// cannot be fetched rejects the host's images with the cause it failed with; one that is not there allows all.
//
// Threads: start, add and stop from one thread; release from any. The callback runs on the network thread and must not
// block.
#pragma once

#include "base/err.h"
#include "extract/cause.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t connections;     // ceiling of transfers at a time; how many there are follows the throughput
    size_t per_host;        // the same for one host; 0: 32, and no ceiling but `connections` on a private network
    double host_delay;      // seconds between two requests to one host; a Crawl-delay of its robots.txt if that is more
    double timeout;         // seconds for one attempt, all of it
    double header_timeout;  // seconds until the headers are complete, of each answer on the way
    uint64_t low_speed;     // bytes a second; slower than this for half of `timeout` is a time-out
    int retries;            // attempts after the first: after a time-out, a broken connection, 429 and 5xx
    int redirects;          // most hops of one attempt
    const char *user_agent; // copied; NULL: "vicha/VERSION (+CONTACT)"
    const char *contact;    // a page or an address that a server's owner can turn to; NULL: none
    bool allow_private;     // loopback, link-local, private and metadata addresses may be asked
    bool ignore_robots;     // neither robots.txt nor X-Robots-Tag is looked at
    size_t max_bytes;       // of one body
    size_t max_memory;      // of all bodies that have not been released; the oldest transfer always goes on
} ExtractFetchOptions;
// 256 connections, timeout 20, header_timeout 10, low_speed 512, 2 retries, 5 redirects.
void extract_fetch_options_init(ExtractFetchOptions *options);

typedef struct {
    ExtractCause cause; // EXTRACT_OK: `bytes` hold the body
    bool cancelled;     // by stop or Ctrl-C: no statement about the URL
    uint8_t *bytes;     // the receiver's; freed with free(), then extract_fetcher_release(n)
    size_t n;
    unsigned attempts;
    VcErr err; // set with a cause
} ExtractFetched;

typedef void (*ExtractFetchDone)(void *ctx, void *ticket, ExtractFetched *fetched);
typedef struct ExtractFetcher ExtractFetcher;

bool extract_fetcher_start(ExtractFetcher **out, const ExtractFetchOptions *options, ExtractFetchDone done, void *ctx,
                           VcErr *err);
void extract_fetcher_add(ExtractFetcher *fetcher, const char *url, void *ticket); // url is copied
void extract_fetcher_release(ExtractFetcher *fetcher, size_t n);
// All that is under way comes back as cancelled, and so does all that is added later.
void extract_fetcher_cancel(ExtractFetcher *fetcher);
// Ends the thread. What is under way comes back as cancelled first. NULL allowed; clears.
void extract_fetcher_stop(ExtractFetcher **fetcher);
