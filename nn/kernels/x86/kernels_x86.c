// SPDX-License-Identifier: MIT
#include "nn/kernels/x86/kernels_x86.h"

#ifdef NN_HAVE_X86
void nn_kernels_init_x86(NnKernels *k, uint32_t flags)
{
    (void)k;
    (void)flags;
}
#endif
