// SPDX-License-Identifier: MIT
#include "nn/kernels/x86/kernels_x86.h"

#ifdef NN_HAVE_X86
#include "base/cpu.h"

#include <immintrin.h>

#include "nn/kernels/x86/vec_avx2.h"
// The kernels follow their vectors.
#include "nn/kernels/x86/kernels_tmpl.h"
#include "nn/kernels/x86/vec_undef.h"

#include "nn/kernels/x86/vec_avx512.h"
// Once more, wider.
#include "nn/kernels/x86/kernels_tmpl.h"
#include "nn/kernels/x86/vec_undef.h"

void nn_kernels_init_x86(NnKernels *k, uint32_t flags)
{
    if ((flags & VC_CPU_AVX512) != 0) {
        fill_avx512(k);
        k->name = "avx512";
    } else if ((flags & VC_CPU_AVX2) != 0) {
        fill_avx2(k);
        k->name = "avx2";
    }
}
#endif
