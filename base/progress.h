// SPDX-License-Identifier: MIT
// One live line on a terminal, one plain line every 10 s elsewhere, both on standard error:
// done/total, rate, time left, failures. Threads: vc_progress_add from any thread; the rest from one.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct VcProgress VcProgress;
// total 0 = unknown. `what` is kept by reference ("extract"), `unit` too ("images").
VcProgress *vc_progress_begin(const char *what, const char *unit, uint64_t total);
void vc_progress_set_total(VcProgress *p, uint64_t total);
void vc_progress_add(VcProgress *p, uint64_t done, uint64_t failed); // failed ones count as done too
void vc_progress_note(VcProgress *p, const char *text);              // shown after the figures, e.g. "loss 2.31"
void vc_progress_end(VcProgress **p); // last line with the total and the mean rate; NULL allowed
