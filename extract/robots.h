// SPDX-License-Identifier: MIT
// What a site asks of robots: robots.txt (RFC 9309) and the header X-Robots-Tag.
//
// The rule: the groups that name our product token count, all of them together; without one, those for "*". The
// longest pattern that fits a path decides, Allow where two are of one length. `*` stands for any bytes, `$` at the end
// for the end. Threads: any; the result is constant.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { EXTRACT_ROBOTS_BYTES = 512 * 1024 }; // that are read of a robots.txt; RFC 9309 asks for 500 KiB at least

typedef struct ExtractRobots ExtractRobots;
// `agent` is our product token ("vicha"), compared without case. Any bytes are accepted: lines that say nothing are
// passed over. Never NULL.
ExtractRobots *extract_robots_parse(const char *text, size_t n, const char *agent);
void extract_robots_free(ExtractRobots **robots); // NULL allowed; clears
// `path` begins with "/" and may have a query; NULL `robots` allows all.
bool extract_robots_allow(const ExtractRobots *robots, const char *path);
double extract_robots_delay(const ExtractRobots *robots); // Crawl-delay in seconds, 0 without one, at most 3600

// The product token of a user agent: its letters, digits, '-' and '_' up to the first other byte, at most n - 1.
void extract_robots_token(const char *user_agent, char *token, size_t n);

// Does the value of an X-Robots-Tag header, meant for everybody or for `agent`, forbid use for learning (noai,
// noimageai)?
bool extract_robots_tag(const char *value, size_t n, const char *agent);
