// SPDX-License-Identifier: MIT
// Instruction sets of this processor, masked by the environment variable VC_CPU=none|avx2|avxvnni|avx512|all so that a
// new machine can play an old one. Threads: any.
#pragma once

#include <stdint.h>

enum {
    VC_CPU_AVX2 = 1u << 0,   // AVX2 + FMA + F16C
    VC_CPU_AVX512 = 1u << 1, // F, BW, DQ, VL
    VC_CPU_AVX512_VNNI = 1u << 2,
    VC_CPU_AVX512_BF16 = 1u << 3,
    VC_CPU_CLMUL = 1u << 4,    // PCLMULQDQ + SSE4.1
    VC_CPU_AVX_VNNI = 1u << 5, // VNNI on 256 bits, of processors that may lack AVX-512
};

// A function of its own for an instruction set: compiled everywhere, called only where vc_cpu_flags has it.
#if defined(__x86_64__)
#define VC_TARGET(set) __attribute__((target(set)))
#else
#define VC_TARGET(set)
#endif

uint32_t vc_cpu_flags(void);
// "avx2 avx512 ..." of `flags`, "none" without any; a static buffer is not used: out holds at least 64 bytes.
void vc_cpu_describe(uint32_t flags, char out[64]);
