// SPDX-License-Identifier: MIT
#include "base/progress.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct VcProgress {
    pthread_mutex_t lock;
    const char *what, *unit;
    uint64_t total, done, failed;
    double start, last;
    bool terminal;
    char note[224];
};

VcProgress *vc_progress_begin(const char *what, const char *unit, uint64_t total)
{
    VcProgress *p = vc_calloc(1, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->what = what;
    p->unit = unit;
    p->total = total;
    p->start = p->last = vc_now();
    p->terminal = isatty(STDERR_FILENO);
    return p;
}

static void format_seconds(double s, char out[32])
{
    if (s >= 3600) {
        snprintf(out, 32, "%dh%02dm", (int)(s / 3600), (int)(s / 60) % 60);
    } else if (s >= 60) {
        snprintf(out, 32, "%dm%02ds", (int)(s / 60), (int)s % 60);
    } else {
        snprintf(out, 32, "%.0fs", s);
    }
}

static void print_line(VcProgress *p, double now, bool last)
{
    double elapsed = now - p->start, rate = elapsed > 0 ? (double)p->done / elapsed : 0;
    char line[320];
    size_t n = 0;
#define ADD(...)                                                           \
    do {                                                                   \
        if (n < sizeof line)                                               \
            n += (size_t)snprintf(line + n, sizeof line - n, __VA_ARGS__); \
    } while (0)
    ADD("%s: %llu", p->what, (unsigned long long)p->done);
    if (p->total)
        ADD("/%llu", (unsigned long long)p->total);
    ADD(" %s, %.*f/s", p->unit, rate < 10 ? 2 : 0, rate);
    char text[32];
    if (last) {
        format_seconds(elapsed, text);
        ADD(", took %s", text);
    } else if (p->total > p->done && rate > 0) {
        format_seconds((double)(p->total - p->done) / rate, text);
        ADD(", %s left", text);
    }
    if (p->failed)
        ADD(", %llu failed", (unsigned long long)p->failed);
    if (p->note[0])
        ADD(", %s", p->note);
#undef ADD
    if (p->terminal) {
        // A line that wraps could not be written over: what does not fit is left out.
        struct winsize size;
        if (!last && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && strlen(line) >= size.ws_col)
            line[size.ws_col - 1] = '\0';
        fprintf(stderr, "\r\033[K%s%s", line, last ? "\n" : "");
    } else {
        fprintf(stderr, "%s\n", line);
    }
    fflush(stderr);
    p->last = now;
}

void vc_progress_add(VcProgress *p, uint64_t done, uint64_t failed)
{
    pthread_mutex_lock(&p->lock);
    p->done += done;
    p->failed += failed;
    double now = vc_now();
    if (now - p->last >= (p->terminal ? 0.2 : 10.0) && vc_log_level() >= VC_LOG_INFO)
        print_line(p, now, false);
    pthread_mutex_unlock(&p->lock);
}

void vc_progress_set_total(VcProgress *p, uint64_t total)
{
    pthread_mutex_lock(&p->lock);
    p->total = total;
    pthread_mutex_unlock(&p->lock);
}

void vc_progress_note(VcProgress *p, const char *text)
{
    pthread_mutex_lock(&p->lock);
    snprintf(p->note, sizeof p->note, "%s", text);
    pthread_mutex_unlock(&p->lock);
}

void vc_progress_end(VcProgress **progress)
{
    if (!progress || !*progress)
        return;
    VcProgress *p = *progress;
    if (vc_log_level() >= VC_LOG_INFO)
        print_line(p, vc_now(), true);
    pthread_mutex_destroy(&p->lock);
    free(p);
    *progress = NULL;
}
