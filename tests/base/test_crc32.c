// SPDX-License-Identifier: MIT
// The CRC by carry-less multiplication against zlib's, at every length and alignment around its block sizes.
#include "base/cpu.h"
#include "base/crc32.h"
#include "base/rng.h"
#include "tests/support/test.h"

#include <zlib.h>

enum { BYTES = 1 << 16 };

static uint8_t *bytes;

static void check(VcCrc32Fn crc)
{
    assert_int_equal(crc("123456789", 9), 0xCBF43926); // the check value every catalogue of CRCs has
    assert_int_equal(crc("", 0), 0);
    for (size_t at = 0; at < 17; at++) {
        for (size_t n = 0; n < 300; n++)
            assert_int_equal(crc(bytes + at, n), crc32_z(0, bytes + at, n));
    }
    VcRng rng;
    vc_rng_seed(&rng, 3);
    for (int i = 0; i < 2000; i++) {
        size_t at = vc_rng_below(&rng, BYTES), n = vc_rng_below(&rng, BYTES - at + 1);
        assert_int_equal(crc(bytes + at, n), crc32_z(0, bytes + at, n));
    }
}

static void test_best(void **state)
{
    (void)state;
    check(vc_crc32_best());
    check(vc_crc32);
}

// Without the instruction, or told to do without it.
static void test_plain(void **state)
{
    (void)state;
    VcCrc32Fn best = vc_crc32_best();
    bool instruction = vc_cpu_flags() & VC_CPU_CLMUL;
    setenv("VC_CPU", "none", 1);
    check(vc_crc32_best());
    assert_int_equal(instruction, best != vc_crc32_best());
    unsetenv("VC_CPU");
}

// A flipped bit anywhere is seen.
static void test_bits(void **state)
{
    (void)state;
    VcCrc32Fn crc = vc_crc32_best();
    uint32_t whole = crc(bytes, 200);
    for (size_t bit = 0; bit < 1600; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(crc(bytes, 200) != whole);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    VcRng rng;
    vc_rng_seed(&rng, 1);
    bytes = vc_alloc(BYTES, 1);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)vc_rng_u64(&rng);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_bits),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    return failed;
}
