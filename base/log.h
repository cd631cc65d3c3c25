// SPDX-License-Identifier: MIT
// Talk on standard error, and the interrupt flag: the only mutable globals of the program live in log.c.
//
// Libraries may warn and inform through this; results and exits belong to cli/. Threads: any.
#pragma once

#include <stdbool.h>

typedef enum { VC_LOG_QUIET = 0, VC_LOG_WARN = 1, VC_LOG_INFO = 2, VC_LOG_DEBUG = 3 } VcLogLevel;

void vc_log_set_level(VcLogLevel level); // default VC_LOG_INFO; -q is QUIET, -v is DEBUG
VcLogLevel vc_log_level(void);
void vc_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2))); // "vicha: warning: ..."
void vc_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vc_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2))); // with -v

// Ctrl-C and SIGTERM set the flag; a second signal kills. Every loop over items looks at vc_interrupted().
void vc_interrupt_install(void);
int vc_interrupted(void);                   // 0, or the number of the signal
void vc_interrupt_raise(int signal_number); // for tests and for worker threads that must stop the rest
