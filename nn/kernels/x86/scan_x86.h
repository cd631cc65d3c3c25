// SPDX-License-Identifier: MIT
// The search kernels of x86-64.
#pragma once

#include "nn/kernels/scan.h"

#if defined(__x86_64__)
#define NN_HAVE_SCAN_X86
// Overwrites the entries that have a vector form for `flags` (VC_CPU_*).
void nn_scan_kernels_init_x86(NnScanKernels *k, uint32_t flags);
#endif
