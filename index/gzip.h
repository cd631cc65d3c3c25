// SPDX-License-Identifier: MIT
// One gzip member (RFC 1952) to and from memory. Inside index/ only. Threads: any.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

bool gzip_deflate(VcStr *out, const uint8_t *data, uint64_t n, int level, VcErr *err);
// Appends exactly `want` bytes: refused when the member holds less or more (it stops at want + 1), is damaged, or when
// anything follows it. The reason alone.
bool gzip_inflate(VcStr *out, const uint8_t *data, uint64_t n, uint64_t want, VcErr *err);
