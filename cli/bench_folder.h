// SPDX-License-Identifier: MIT
// The folder where a bench makes its data. Threads: the main thread.
#pragma once

#include "base/err.h"

// A new folder in $TMPDIR, else in /tmp; NULL with *err set. Goes back to bench_folder_remove.
char *bench_folder_make(VcErr *err);
void bench_folder_remove(char **path); // with all that is in it; NULL inside allowed; clears
