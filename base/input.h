// SPDX-License-Identifier: MIT
// A file to be read as a stream, plain or gzip: which of the two is known by its first bytes, not by its name.
//
// Several gzip members in a row are one stream. Seeking works in both; in gzip backwards it reads again from the start.
// Threads: one stream, one thread at a time.
#pragma once

#include "base/err.h"

#include <stdio.h>

// Closed with fclose. After ferror the reason is told by vc_input_fail.
FILE *vc_input_open(const char *path, VcErr *err);
bool vc_input_is_gzip(const char *path); // false also when it cannot be read
// Why a stream of `path` failed: damaged or cut off gzip data, or errno. Always returns false.
bool vc_input_fail(const char *path, VcErr *err);
