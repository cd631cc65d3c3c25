// SPDX-License-Identifier: MIT
// Errors of the world outside: files, network, bad bytes, full disks.
//
// A function that can fail returns bool and takes `VcErr *err` last. On success *err is untouched; on failure it
// holds a code and a text complete enough to print: what was tried, on which file or line, why it failed and what
// to do when we know it. Our own mistakes are VC_ASSERT, never a VcErr.
//
// Threads: any; a VcErr belongs to its caller.
#pragma once

#include <stdbool.h>

typedef enum {
    VC_OK = 0,
    VC_ERR_IO,        // reading, writing, disk full, permissions
    VC_ERR_FORMAT,    // bytes that are not what they claim to be
    VC_ERR_LIMIT,     // a size beyond what we accept
    VC_ERR_NET,       // the network or a server
    VC_ERR_DB,        // SQLite
    VC_ERR_USAGE,     // the caller of the program asked for something that cannot be (exit status 2)
    VC_ERR_CANCELLED, // interrupted by a signal
} VcErrCode;

typedef struct {
    VcErrCode code;
    char text[1000]; // UTF-8, always terminated; longer texts are cut
} VcErr;

// Fills *err (NULL is allowed: the failure is then only a return value). Always returns false, so that a failing
// function can end with `return vc_fail(err, ...)`.
bool vc_fail(VcErr *err, VcErrCode code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// The same with ": strerror(errno)" at the end and code VC_ERR_IO.
bool vc_fail_errno(VcErr *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Puts "fmt: " before the text of an error already set and keeps its code. Always returns false.
bool vc_prefix(VcErr *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Our own mistakes: print and abort, in release builds too.
#define VC_ASSERT(cond) ((cond) ? (void)0 : vc_assert_failed(#cond, __FILE__, __LINE__))
void vc_assert_failed(const char *cond, const char *file, int line) __attribute__((noreturn, cold));
