// SPDX-License-Identifier: MIT
// The vector kernels of x86-64, float only.
#pragma once

#include "nn/kernels/kernels.h"

#if defined(__x86_64__) && !defined(NN_DOUBLE)
#define NN_HAVE_X86
// Overwrites the entries that have a vector form for `flags` (VC_CPU_*).
void nn_kernels_init_x86(NnKernels *k, uint32_t flags);
#endif
