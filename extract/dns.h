// SPDX-License-Identifier: MIT
// Names of hosts to addresses, once: a cache of answers and of failures before a few threads that ask the system.
//
// The rule: a name is asked for once at a time, at most `threads` are asked for at all, and a look-up that has not
// come back in `timeout` seconds counts as failed, whatever becomes of it. Answers are kept 5 minutes, failures one,
// passing failures 10 seconds. The cache is bounded.
//
// Threads: one caller, except for `wake`, which is called from the resolver's threads when an answer is there.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct ExtractDns ExtractDns;
ExtractDns *extract_dns_create(size_t threads, double timeout, void (*wake)(void *ctx), void *ctx);
// Look-ups under way are given up; the threads are left to finish on their own where the system holds them.
void extract_dns_destroy(ExtractDns **dns); // NULL allowed; clears

typedef enum { EXTRACT_DNS_WAIT, EXTRACT_DNS_FOUND, EXTRACT_DNS_FAILED } ExtractDnsState;
// WAIT: look again after `wake`, or after a while. FOUND: *addresses is "192.0.2.1,[2001:db8::1]", as
// CURLOPT_RESOLVE takes it; FAILED: the words of the system. Borrowed until the next call.
ExtractDnsState extract_dns_find(ExtractDns *dns, const char *host, double now, const char **addresses);
