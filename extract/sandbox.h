// SPDX-License-Identifier: MIT
// A decoder in a process of its own, which can do nothing but compute: limits on memory and time, no files, no network
// (seccomp where there is a filter for this machine), no secrets in its environment. When it dies or does not answer,
// that costs one image, and another process takes its place.
//
// The process is this program again, started with EXTRACT_SANDBOX_WORD as its only argument: its main calls
// extract_sandbox_main first of all. Threads: a sandbox by one; any number of sandboxes.
#pragma once

#include "extract/thumbnail.h"

#include <sys/types.h>

#define EXTRACT_SANDBOX_WORD "--decode-in-sandbox"

typedef struct {
    const char *program; // NULL: this executable
    uint64_t memory;     // address space of the process, bytes
    double seconds;      // of the clock, for one image
} ExtractSandboxOptions;
// This executable, 1.5 GiB, 30 s.
void extract_sandbox_options_init(ExtractSandboxOptions *options);

typedef struct ExtractSandbox ExtractSandbox;

// Starts the process and waits until it is ready. `thumbnail` is borrowed until stop.
bool extract_sandbox_start(ExtractSandbox **out, const ExtractSandboxOptions *options,
                           const ExtractThumbnailOptions *thumbnail, VcErr *err);
// As extract_thumbnail; also EXTRACT_CRASHED and EXTRACT_TOO_SLOW when the process had to be given up.
ExtractCause extract_sandbox_thumbnail(ExtractSandbox *sandbox, ExtractThumbnail *out, const uint8_t *bytes, size_t n,
                                       VcErr *err);
pid_t extract_sandbox_pid(const ExtractSandbox *sandbox); // of the process; 0 when there is none
void extract_sandbox_stop(ExtractSandbox **sandbox);      // NULL allowed; clears

// The process itself: answers on its standard input until that ends. Returns the exit status.
int extract_sandbox_main(void);

// Gives up every system call that computing does not need (sandbox_linux.c). False where this machine has no filter.
bool extract_sandbox_lock(void);
