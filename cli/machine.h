// SPDX-License-Identifier: MIT
// What a machine allows besides its instructions: clock, memory, neighbours. For doctor and bench roofline.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// GB/s that `threads` threads read from memory together; takes a quarter of a second and 256 MiB.
double machine_memory_rate(size_t threads);
// Additions and shifts that wait for each other, 1e9 a second: the clock where each takes a cycle, as on x86.
double machine_clock_ghz(void);

// Calls `say` for what it finds: advice or not, the check's name, a text, what to do or NULL, JSON members (", ...").
typedef void (*MachineSay)(void *ctx, bool advice, const char *check, const char *text, const char *mend,
                           const char *extra);
void machine_check(size_t threads, MachineSay say, void *ctx);
