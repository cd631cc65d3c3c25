// SPDX-License-Identifier: MIT
// What a machine allows besides its instructions: clock, memory, neighbours. For doctor and benchmarks.
#pragma once

#include "base/pool.h"

#include <stdbool.h>
#include <stddef.h>

// GB/s that `threads` threads read from memory together; takes a quarter of a second and 256 MiB.
double machine_memory_rate(size_t threads);
// The same of memory that is there, aligned to 8 bytes, by the threads of a pool; the best of four times through it.
double machine_read_rate(const void *data, size_t bytes, VcPool *pool);

// Calls `say` for what it finds: advice or not, the check's name, a text, what to do or NULL, JSON members (", ...").
typedef void (*MachineSay)(void *ctx, bool advice, const char *check, const char *text, const char *mend,
                           const char *extra);
void machine_check(size_t threads, MachineSay say, void *ctx);
