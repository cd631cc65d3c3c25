// SPDX-License-Identifier: MIT
// The learner against a slow and obvious one, and the files it writes.
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "tests/support/test.h"
#include "train/bpe_learn.h"

typedef struct {
    char vocabulary[200000], merges[100000];
} Files;

static void read_into(const char *dir, const char *name, char *out, size_t cap)
{
    char *path = vc_path_join(dir, name), *data;
    size_t n;
    assert_ok(vc_read_file(&data, &n, path, cap - 1, err));
    memcpy(out, data, n + 1);
    free(data);
    free(path);
}

static void learn(const char *const *words, const uint64_t *counts, size_t n, bool backwards, size_t entries,
                  Files *out)
{
    BpeLearner *learner = bpe_learner_create();
    for (size_t i = 0; i < n; i++) {
        size_t at = backwards ? n - 1 - i : i;
        for (uint64_t c = 0; backwards && c < counts[at]; c++)
            bpe_learner_add(learner, words[at], strlen(words[at]), 1);
        if (!backwards)
            bpe_learner_add(learner, words[at], strlen(words[at]), counts[at]);
    }
    bpe_learner_learn(learner, entries);
    char *folder = test_temp_folder();
    assert_ok(bpe_learner_write(learner, folder, 77, err));
    read_into(folder, "vocab.json", out->vocabulary, sizeof out->vocabulary);
    read_into(folder, "merges.txt", out->merges, sizeof out->merges);
    test_temp_remove(&folder);
    bpe_learner_destroy(&learner);
}

// The same algorithm written for ASCII words with nothing clever: recount all pairs before every merge.
typedef struct {
    char text[40][24];
    size_t length;
    uint64_t count;
} SlowWord;

static void slow_merges(const char *const *words, const uint64_t *counts, size_t n, size_t merges, VcStr *out)
{
    SlowWord *w = vc_calloc(n, sizeof *w);
    for (size_t i = 0; i < n; i++) {
        w[i].count = counts[i];
        w[i].length = strlen(words[i]);
        for (size_t j = 0; j < w[i].length; j++)
            snprintf(w[i].text[j], 24, "%c%s", words[i][j], j + 1 == w[i].length ? "</w>" : "");
    }
    vc_str_put(out, "#version: 0.2\n");
    for (size_t m = 0; m < merges; m++) {
        uint64_t best = 0;
        char left[24] = "", right[24] = "";
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j + 1 < w[i].length; j++) {
                const char *a = w[i].text[j], *b = w[i].text[j + 1];
                uint64_t sum = 0;
                for (size_t k = 0; k < n; k++)
                    for (size_t l = 0; l + 1 < w[k].length; l++)
                        if (strcmp(w[k].text[l], a) == 0 && strcmp(w[k].text[l + 1], b) == 0)
                            sum += w[k].count;
                int order = strcmp(a, left) != 0 ? strcmp(a, left) : strcmp(b, right);
                if (sum > best || (sum == best && order < 0)) {
                    best = sum;
                    snprintf(left, sizeof left, "%s", a);
                    snprintf(right, sizeof right, "%s", b);
                }
            }
        }
        if (best < 2)
            break;
        vc_str_putf(out, "%s %s\n", left, right);
        for (size_t i = 0; i < n; i++) {
            size_t kept = 0;
            for (size_t j = 0; j < w[i].length; j++) {
                char merged[24];
                bool here =
                    j + 1 < w[i].length && strcmp(w[i].text[j], left) == 0 && strcmp(w[i].text[j + 1], right) == 0;
                if (here)
                    VC_ASSERT(snprintf(merged, sizeof merged, "%s%s", left, right) < (int)sizeof merged);
                memmove(w[i].text[kept++], here ? merged : w[i].text[j], 24);
                j += here;
            }
            w[i].length = kept;
        }
    }
    free(w);
}

static void test_known_merges(void **state)
{
    (void)state;
    const char *words[] = {"low", "lower", "newest", "widest"};
    const uint64_t counts[] = {5, 2, 6, 3};
    static Files files;
    learn(words, counts, 4, false, 514 + 4, &files);
    // es: 9, then est</w>: 9 (ties by text: "es t</w>" before "w e"...), lo: 7, low...
    assert_string_equal(files.merges, "#version: 0.2\ne s\nes t</w>\nl o\ne w\n");
    assert_non_null(strstr(files.vocabulary, "\"est</w>\":513,"));
    assert_non_null(strstr(files.vocabulary, "\"<|startoftext|>\":516,\"<|endoftext|>\":517}"));
}

// Random words over three letters, so that ties, overlaps ("aaa") and meeting merges are frequent.
static void test_against_slow(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        VcRng rng;
        vc_rng_seed(&rng, seed);
        enum { WORDS = 14 };
        char texts[WORDS][12];
        const char *words[WORDS];
        uint64_t counts[WORDS];
        for (size_t i = 0; i < WORDS; i++) {
            size_t n = 1 + vc_rng_below(&rng, 8);
            for (size_t j = 0; j < n; j++)
                texts[i][j] = (char)('a' + vc_rng_below(&rng, 3));
            texts[i][n] = 0;
            words[i] = texts[i];
            counts[i] = 1 + vc_rng_below(&rng, 4);
        }
        static Files forward, backward;
        learn(words, counts, WORDS, false, 100000, &forward);
        learn(words, counts, WORDS, true, 100000, &backward);
        assert_string_equal(forward.merges, backward.merges); // the order and the grouping of words do not matter
        assert_string_equal(forward.vocabulary, backward.vocabulary);
        VcStr slow = {0};
        slow_merges(words, counts, WORDS, 1000, &slow);
        if (strcmp(slow.data, forward.merges) != 0)
            fail_msg("seed %d: learned\n%s\nexpected\n%s", (int)seed, forward.merges, slow.data);
        vc_str_finish(&slow);
    }
}

static void test_no_words(void **state)
{
    (void)state;
    static Files files;
    learn(NULL, NULL, 0, false, 600, &files);
    assert_string_equal(files.merges, "#version: 0.2\n\xC4\x80 \xC4\x80\n"); // one, for readers that want any
    VcJson *json;
    assert_ok(vc_json_parse(&json, files.vocabulary, strlen(files.vocabulary), "vocab.json", err));
    assert_int_equal(vc_json_length(json), 515);
    // CLIP's places: '!' is the first byte symbol, a space (0x20, the 33rd unprintable byte) is U+0120.
    assert_int_equal(vc_json_int(vc_json_member(json, "!"), -1), 0);
    assert_int_equal(vc_json_int(vc_json_member(json, "!</w>"), -1), 256);
    assert_int_equal(vc_json_int(vc_json_member(json, "\xC4\xA0"), -1), 188 + 32);
    vc_json_destroy(&json);
}

// The real vocabulary begins with the same 512 symbols in the same places.
static void test_order_of_bytes(void **state)
{
    (void)state;
    char *path = test_shared("golden/clip/model-hf-tiny/vocab.json");
    if (!path)
        skip();
    static Files files;
    learn(NULL, NULL, 0, false, 514, &files);
    VcJson *ours, *real;
    assert_ok(vc_json_parse(&ours, files.vocabulary, strlen(files.vocabulary), "vocab.json", err));
    assert_ok(vc_json_read_file(&real, path, 1 << 24, err));
    void *iter = NULL;
    const char *key;
    VcJson *value;
    while (vc_json_next_member(ours, &iter, &key, &value))
        if (vc_json_int(value, -1) < 512)
            assert_int_equal(vc_json_int(value, -1), vc_json_int(vc_json_member(real, key), -2));
    vc_json_destroy(&ours);
    vc_json_destroy(&real);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_merges),
        cmocka_unit_test(test_against_slow),
        cmocka_unit_test(test_no_words),
        cmocka_unit_test(test_order_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
