// SPDX-License-Identifier: MIT
// Downloads: one network thread drives many transfers (the one place with libcurl).
//
// The rule: every URL that was added comes back exactly once through the callback, whatever the servers do: all that a
// server controls (time, bytes, redirects, protocols) is bounded.
//
// Threads: start, add and stop from one thread; release from any. The callback runs on the network thread and must not
// block.
#pragma once

#include "base/err.h"
#include "extract/cause.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t connections;     // ceiling of transfers at a time
    double timeout;         // seconds for one attempt
    int retries;            // attempts after the first: after a time-out, a broken connection, 429 and 5xx
    const char *user_agent; // copied
    size_t max_bytes;       // of one body
    size_t max_memory;      // of all bodies that have not been released; the oldest transfer always goes on
} ExtractFetchOptions;

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
