// SPDX-License-Identifier: MIT
// The order of an epoch against a naive copy of its definition, written here from the text of the format.
#include "base/json.h"
#include "base/rng.h"
#include "index/index.h"
#include "tests/support/test.h"

// ---- the definition, all at once: xoshiro256** from SplitMix64, Lemire, Fisher-Yates from the last down -------

typedef struct {
    uint64_t s[4];
} Naive;

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static void naive_seed(Naive *n, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9E3779B97F4A7C15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        n->s[i] = z ^ z >> 31;
    }
}

static uint64_t naive_next(Naive *n)
{
    uint64_t *s = n->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static uint64_t naive_below(Naive *n, uint64_t range)
{
    for (;;) {
        unsigned __int128 m = (unsigned __int128)naive_next(n) * range;
        uint64_t low = (uint64_t)m;
        if (low >= -range % range)
            return (uint64_t)(m >> 64);
    }
}

static void naive_shuffle(Naive *n, uint64_t *v, size_t count)
{
    for (size_t i = count; i-- > 1;) {
        size_t j = (size_t)naive_below(n, i + 1);
        uint64_t t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}

static void naive_order(const uint64_t *sizes, size_t shards, uint64_t seed, uint64_t epoch, uint64_t window,
                        uint64_t *out)
{
    uint64_t first[64], order[64], done = 0, total = 0;
    Naive rng;
    naive_seed(&rng, seed ^ (epoch + 1) * 0x9E3779B97F4A7C15u);
    for (size_t i = 0; i < shards; i++) {
        first[i] = total;
        total += sizes[i];
        order[i] = i;
    }
    naive_shuffle(&rng, order, shards);
    if (window == 0)
        window = shards;
    for (size_t begin = 0; begin < shards; begin += window) {
        uint64_t start = done;
        for (size_t k = begin; k < begin + window && k < shards; k++)
            for (uint64_t r = 0; r < sizes[order[k]]; r++)
                out[done++] = first[order[k]] + r;
        naive_shuffle(&rng, out + start, done - start);
    }
}

// ---------------------------------------------------------------------------------------------------------------

static void test_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        VcRng rng;
        vc_rng_seed(&rng, seed);
        uint64_t sizes[40], expected[40 * 50], total = 0;
        size_t shards = 1 + vc_rng_below(&rng, 40);
        for (size_t i = 0; i < shards; i++)
            total += sizes[i] = 1 + vc_rng_below(&rng, 50);
        uint64_t window = vc_rng_below(&rng, 45), epoch = vc_rng_below(&rng, 5), s = vc_rng_u64(&rng);
        naive_order(sizes, shards, s, epoch, window, expected);
        IndexOrder *o = index_order_create_sizes(sizes, shards, s, epoch, window);
        assert_int_equal(index_order_total(o), total);
        uint8_t seen[40 * 50] = {0};
        for (uint64_t p = 0; p < total; p++) {
            assert_int_equal(index_order_at(o, p), expected[p]);
            assert_int_equal(seen[expected[p]]++, 0); // every record once
        }
        for (int k = 0; k < 200; k++) { // any position, any time
            uint64_t p = vc_rng_below(&rng, total);
            assert_int_equal(index_order_at(o, p), expected[p]);
        }
        index_order_destroy(&o);
    }
}

// Values computed once, outside this program, from the definition: a change of the order is a change of the format.
static void test_known_order(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {3, 2, 4};
    static const uint64_t all[] = {3, 5, 8, 6, 4, 1, 0, 2, 7}, pools[] = {5, 6, 7, 8, 2, 0, 1, 4, 3};
    IndexOrder *o = index_order_create_sizes(sizes, 3, 42, 0, 0);
    for (uint64_t p = 0; p < 9; p++)
        assert_int_equal(index_order_at(o, p), all[p]);
    index_order_destroy(&o);
    o = index_order_create_sizes(sizes, 3, 42, 1, 2);
    for (uint64_t p = 0; p < 9; p++)
        assert_int_equal(index_order_at(o, p), pools[p]);
    index_order_destroy(&o);
}

static void test_epochs_and_seeds_differ(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {100, 100};
    uint64_t same[3] = {0};
    IndexOrder *o[4] = {index_order_create_sizes(sizes, 2, 1, 0, 0), index_order_create_sizes(sizes, 2, 1, 1, 0),
                        index_order_create_sizes(sizes, 2, 2, 0, 0), index_order_create_sizes(sizes, 2, 1, 0, 1)};
    for (uint64_t p = 0; p < 200; p++)
        for (int k = 1; k < 4; k++)
            same[k - 1] += index_order_at(o[0], p) == index_order_at(o[k], p);
    for (int k = 0; k < 3; k++)
        assert_true(same[k] < 20);
    for (int k = 0; k < 4; k++)
        index_order_destroy(&o[k]);
}

// One rank's batches are slices of those of a single rank, and a start in the middle gives the same.
static void test_ranks(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {31, 17, 40, 9, 25};
    enum { G = 12 };
    IndexOrder *one = index_order_create_sizes(sizes, 5, 7, 3, 2);
    assert_int_equal(index_order_batches(one, G), 122 / G);
    for (uint64_t ranks = 1; ranks <= G; ranks++) {
        if (G % ranks != 0)
            continue;
        for (uint64_t r = 0; r < ranks; r++) {
            IndexOrder *mine = index_order_create_sizes(sizes, 5, 7, 3, 2);
            for (uint64_t b = 4; b < index_order_batches(mine, G); b++) { // as after a resume at batch 4
                uint64_t whole[G], slice[G];
                index_order_batch(one, b, G, 0, 1, whole);
                index_order_batch(mine, b, G, r, ranks, slice);
                assert_memory_equal(slice, whole + r * (G / ranks), G / ranks * sizeof *slice);
                for (uint64_t i = 0; i < G; i++)
                    assert_int_equal(whole[i], index_order_at(one, b * G + i));
            }
            index_order_destroy(&mine);
        }
    }
    index_order_destroy(&one);
}

static void test_small(void **state)
{
    (void)state;
    IndexOrder *o = index_order_create_sizes(NULL, 0, 1, 0, 0);
    assert_int_equal(index_order_total(o), 0);
    assert_int_equal(index_order_batches(o, 4), 0);
    index_order_destroy(&o);
    const uint64_t one = 1;
    o = index_order_create_sizes(&one, 1, 1, 0, 5);
    assert_int_equal(index_order_at(o, 0), 0);
    index_order_destroy(&o);
    index_order_destroy(&o);
}

static void test_state(void **state)
{
    (void)state;
    IndexState s = {.seed = UINT64_MAX, .epoch = 3, .window = 5, .global_batch = 64, .next_batch = 17}, back;
    memset(s.fingerprint, 'a', 64);
    VcStr text = {0};
    index_state_put(&text, &s);
    VcJson *json;
    assert_ok(vc_json_parse(&json, text.data, text.len, "state", err));
    assert_ok(index_state_parse(&back, json, "state", err));
    assert_string_equal(back.fingerprint, s.fingerprint);
    assert_true(back.seed == s.seed && back.epoch == 3 && back.window == 5 && back.global_batch == 64 &&
                back.next_batch == 17);
    vc_json_destroy(&json);
    assert_ok(index_state_check(&s, s.fingerprint, 5, 64, err));
    assert_error(index_state_check(&s, "bbb", 5, 64, err), "records changed");
    assert_error(index_state_check(&s, s.fingerprint, 6, 64, err), "window 5, not 6");
    assert_error(index_state_check(&s, s.fingerprint, 5, 32, err), "batch 64, not 32");
    static const char *const bad[][2] = {{"\"format\": 1", "format 2"},
                                         {"\"seed\": \"1", "not a 64-bit number"},
                                         {"\"epoch\": ", "epoch"},
                                         {"\"next_batch\": ", "out of range"}};
    static const char *const to[] = {"\"format\": 2", "\"seed\": \"9", "\"epoc\": ", "\"next_batch\": -"};
    for (size_t i = 0; i < 4; i++) {
        VcStr changed = {0};
        const char *at = strstr(text.data, bad[i][0]);
        assert_non_null(at);
        vc_str_putf(&changed, "%.*s%s%s", (int)(at - text.data), text.data, to[i], at + strlen(bad[i][0]));
        assert_ok(vc_json_parse(&json, changed.data, changed.len, "state", err));
        assert_error(index_state_parse(&back, json, "state", err), bad[i][1]);
        vc_json_destroy(&json);
        vc_str_finish(&changed);
    }
    vc_str_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_known_order),
        cmocka_unit_test(test_epochs_and_seeds_differ),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
