// SPDX-License-Identifier: MIT
// Time. Threads: any.
#pragma once

#include <stdint.h>

double vc_now(void);          // seconds, monotonic, for durations
double vc_thread_time(void);  // seconds of processor that this thread has had: what a bench on a busy machine goes by
double vc_process_time(void); // the same of all threads of this process
int64_t vc_unix_time(void);   // seconds since 1970, for rows
uint64_t vc_peak_rss(void);   // most resident memory of this process so far, bytes
