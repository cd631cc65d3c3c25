// SPDX-License-Identifier: MIT
// What check_kernels --bench runs.
#pragma once

#include "nn/kernels/kernels.h"

// Nanoseconds per element of every entry, the reference and `count` levels side by side, on standard output: the best
// of several runs over arrays that lie in the cache.
void bench_kernels(const NnKernels *levels, size_t count);
