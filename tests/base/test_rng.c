// SPDX-License-Identifier: MIT
// Random numbers and hashes against published values.
#include "base/rng.h"

#include "base/hash.h"

#include "tests/support/test.h"

// xoshiro256** from the state {1,2,3,4}: the first outputs of the authors' reference program.
static void test_xoshiro(void **state)
{
    (void)state;
    VcRng rng = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520u, 0u, 1509978240u, 1215971899390074240u, 1216172134540287360u};
    for (size_t i = 0; i < 5; i++)
        assert_true(vc_rng_u64(&rng) == expected[i]);
    vc_rng_seed(&rng, 1234567); // SplitMix64's published first outputs for this seed
    static const uint64_t split[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                     4593380528125082431u};
    for (size_t i = 0; i < 4; i++)
        assert_true(rng.s[i] == split[i]);
}

static void test_distributions(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 42);
    size_t counts[7] = {0};
    double sum = 0, squares = 0;
    for (int i = 0; i < 70000; i++) {
        counts[vc_rng_below(&rng, 7)]++;
        double x = vc_rng_normal(&rng);
        sum += x;
        squares += x * x;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_close(sum / 70000, 0, 0.02);
    assert_close(squares / 70000, 1, 0.03);
    int items[100], seen[100] = {0};
    for (int i = 0; i < 100; i++)
        items[i] = i;
    vc_rng_shuffle(&rng, items, 100, sizeof *items);
    int fixed = 0;
    for (int i = 0; i < 100; i++) {
        seen[items[i]]++;
        fixed += items[i] == i;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(fixed < 10);
    assert_true(vc_mix_seed(1, 2) != vc_mix_seed(2, 1));
    assert_true(vc_mix_seed(1, 2) == vc_mix_seed(1, 2));
}

static void test_hashes(void **state)
{
    (void)state;
    uint8_t digest[32];
    char hex[65];
    vc_sha256("abc", 3, digest); // FIPS 180-2
    vc_hex(digest, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    VcSha256 *s = vc_sha256_begin();
    vc_sha256_add(s, "a", 1);
    vc_sha256_add(s, "bc", 2);
    uint8_t again[32];
    vc_sha256_end(&s, again);
    assert_memory_equal(digest, again, 32);
    vc_sha1("abc", 3, digest);
    vc_hex(digest, 20, hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_true(vc_xxh64("", 0) == 0xEF46DB3751D8E999u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_xoshiro), cmocka_unit_test(test_distributions),
                                       cmocka_unit_test(test_hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
