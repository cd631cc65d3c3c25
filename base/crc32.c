// SPDX-License-Identifier: MIT
#include "base/crc32.h"

#include "base/cpu.h"

#include <zlib.h>

static uint32_t crc32_plain(const void *data, size_t n)
{
    return (uint32_t)crc32_z(0, data, n);
}

#if defined(__x86_64__)
#include <immintrin.h>

// Bytes are polynomials over GF(2), lowest bit first. A 128-bit block that lies d bits before another may be added to
// it once it is multiplied by x^d modulo the CRC's polynomial P: each half of it times a 33-bit constant, so that the
// product fits. fold_d = {R(x^(d+32) mod P), R(x^(d-32) mod P)}, R: 32 bits reversed, then shifted left by one, which
// makes up for the product of two reversed numbers being one bit short.
#define FOLD_512 _mm_set_epi64x(0x1C6E41596, 0x154442BD4)
#define FOLD_128 _mm_set_epi64x(0x0CCAA009E, 0x1751997D0)

VC_TARGET("pclmul,sse4.1") static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

VC_TARGET("pclmul,sse4.1") static inline __m128i fold(__m128i x, __m128i by, __m128i next)
{
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x00), _mm_clmulepi64_si128(x, by, 0x11)), next);
}

// The message is folded to its last 16 bytes and a remainder that is shorter; zlib's tables do those.
VC_TARGET("pclmul,sse4.1") static uint32_t crc32_clmul(const void *data, size_t n)
{
    const uint8_t *p = data;
    if (n < 64)
        return crc32_plain(data, n);
    // the CRC starts from ones: they are added to the first 32 bits
    __m128i x0 = _mm_xor_si128(load(p), _mm_cvtsi32_si128(-1)), x1 = load(p + 16), x2 = load(p + 32), x3 = load(p + 48);
    const __m128i far = FOLD_512, near = FOLD_128;
    for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
        x0 = fold(x0, far, load(p));
        x1 = fold(x1, far, load(p + 16));
        x2 = fold(x2, far, load(p + 32));
        x3 = fold(x3, far, load(p + 48));
    }
    x3 = fold(fold(fold(x0, near, x1), near, x2), near, x3);
    for (; n >= 16; p += 16, n -= 16)
        x3 = fold(x3, near, load(p));
    uint8_t rest[16];
    _mm_storeu_si128((__m128i *)(void *)rest, x3);
    // zlib inverts the register on the way in and out: this starts it at zero and goes on from there
    return (uint32_t)crc32_z(crc32_z(0xFFFFFFFF, rest, sizeof rest), p, n);
}

VcCrc32Fn vc_crc32_best(void)
{
    return vc_cpu_flags() & VC_CPU_CLMUL ? crc32_clmul : crc32_plain;
}
#else
VcCrc32Fn vc_crc32_best(void)
{
    return crc32_plain;
}
#endif

uint32_t vc_crc32(const void *data, size_t n)
{
    return vc_crc32_best()(data, n);
}
