// SPDX-License-Identifier: MIT
#include "base/cpu.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static uint32_t mask_of(const char *name)
{
    if (!name || strcmp(name, "all") == 0)
        return UINT32_MAX;
    if (strcmp(name, "none") == 0)
        return 0;
    if (strcmp(name, "avx2") == 0)
        return VC_CPU_AVX2 | VC_CPU_CLMUL;
    if (strcmp(name, "avxvnni") == 0)
        return VC_CPU_AVX2 | VC_CPU_CLMUL | VC_CPU_AVX_VNNI;
    if (strcmp(name, "avx512") == 0)
        return VC_CPU_AVX2 | VC_CPU_CLMUL | VC_CPU_AVX512;
    // A misspelt mask must not silently test the wrong thing.
    fprintf(stderr, "vicha: error: VC_CPU='%s' is not one of none, avx2, avxvnni, avx512, all\n", name);
    abort();
}

static uint32_t found; // written once
static pthread_once_t find_once = PTHREAD_ONCE_INIT;

// CPUID leaves a virtual machine and comes back: some 10 us, which is felt where pictures ask for each of them.
static void find(void)
{
    uint32_t flags = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        flags |= VC_CPU_CLMUL;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        flags |= VC_CPU_AVX2; // every processor with AVX2 and FMA has F16C
    unsigned a = 0, b = 0, c = 0, d = 0;
    if ((flags & VC_CPU_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4))
        flags |= VC_CPU_AVX_VNNI;
    if ((flags & VC_CPU_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        flags |= VC_CPU_AVX512;
        if (__builtin_cpu_supports("avx512vnni"))
            flags |= VC_CPU_AVX512_VNNI;
        if (__builtin_cpu_supports("avx512bf16"))
            flags |= VC_CPU_AVX512_BF16;
    }
#endif
    found = flags;
}

uint32_t vc_cpu_flags(void)
{
    pthread_once(&find_once, find);
    return found & mask_of(getenv("VC_CPU"));
}

void vc_cpu_describe(uint32_t flags, char out[64])
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {{VC_CPU_AVX2, "avx2"},        {VC_CPU_AVX512, "avx512"},    {VC_CPU_AVX512_VNNI, "vnni"},
                 {VC_CPU_AVX512_BF16, "bf16"}, {VC_CPU_AVX_VNNI, "avxvnni"}, {VC_CPU_CLMUL, "clmul"}};
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (flags & names[i].flag)
            len += (size_t)snprintf(out + len, 64 - len, "%s%s", len ? " " : "", names[i].name);
    }
    if (!len)
        snprintf(out, 64, "none");
}
