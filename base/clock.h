// SPDX-License-Identifier: MIT
// Time. Threads: any.
#pragma once

#include <stdint.h>

double vc_now(void);        // seconds, monotonic, for durations
int64_t vc_unix_time(void); // seconds since 1970, for rows
uint64_t vc_peak_rss(void); // most resident memory of this process so far, bytes
