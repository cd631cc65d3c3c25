// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

// The program's only mutable globals: how loud it is, and whether it was told to stop.
static atomic_int log_level = VC_LOG_INFO;
static atomic_int interrupt_signal;

void vc_log_set_level(VcLogLevel level)
{
    atomic_store(&log_level, (int)level);
}

VcLogLevel vc_log_level(void)
{
    return (VcLogLevel)atomic_load(&log_level);
}

// One write per line, so that lines of several threads do not mix.
static void say(const char *kind, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void say(const char *kind, const char *fmt, va_list ap)
{
    char line[2048];
    int n = snprintf(line, sizeof line, "%svicha: %s", isatty(STDERR_FILENO) ? "\r\033[K" : "", kind);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    size_t len = m < 0 ? (size_t)n : (size_t)n + (size_t)m;
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; // nowhere left to complain
}

#define SAY(level, kind)          \
    if (vc_log_level() < (level)) \
        return;                   \
    va_list ap;                   \
    va_start(ap, fmt);            \
    say(kind, fmt, ap);           \
    va_end(ap)

void vc_warn(const char *fmt, ...)
{
    SAY(VC_LOG_WARN, "warning: ");
}

void vc_info(const char *fmt, ...)
{
    SAY(VC_LOG_INFO, "");
}

void vc_debug(const char *fmt, ...)
{
    SAY(VC_LOG_DEBUG, "");
}

static void on_signal(int number)
{
    if (atomic_exchange(&interrupt_signal, number))
        _exit(128 + number);
}

void vc_interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int vc_interrupted(void)
{
    return atomic_load_explicit(&interrupt_signal, memory_order_relaxed);
}

void vc_interrupt_raise(int signal_number)
{
    atomic_store(&interrupt_signal, signal_number);
}
