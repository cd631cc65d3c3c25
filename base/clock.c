// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <sys/resource.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double vc_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double vc_thread_time(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

double vc_process_time(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t vc_unix_time(void)
{
    return time(NULL);
}

uint64_t vc_peak_rss(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024; // Linux counts in KiB
}
