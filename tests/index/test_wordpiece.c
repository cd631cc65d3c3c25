// SPDX-License-Identifier: MIT
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "index/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// ids:              0     1     2     3     4      5 6   7     8      9    10    11   12  13 14 15
static const char small[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n##s\nrun\n##n\n##ing\ncafe\n.\n##e\n!\n\xE4\xB8\xAD\n";

static Wordpiece *open_small(void)
{
    Wordpiece *wp = NULL;
    VcErr err;
    assert_true(wordpiece_open_memory(&wp, small, sizeof small - 1, "small", &err));
    return wp;
}

static void check(const Wordpiece *wp, const char *text, unsigned flags, size_t cap, const char *expected)
{
    int32_t ids[512];
    size_t whole, n = wordpiece_encode(wp, text, strlen(text), flags, ids, cap, &whole);
    VcStr got = {0};
    for (size_t i = 0; i < n; i++)
        vc_str_putf(&got, i ? " %d" : "%d", (int)ids[i]);
    assert_string_equal(vc_str_get(&got), expected);
    assert_true(whole >= n && (n == cap || whole == n));
    int32_t again[512]; // the early way out gives the same
    assert_int_equal(wordpiece_encode(wp, text, strlen(text), flags, again, cap, NULL), n);
    assert_memory_equal(ids, again, n * sizeof *ids);
    vc_str_finish(&got);
}

static void test_pieces(void **state)
{
    (void)state;
    Wordpiece *wp = open_small();
    assert_int_equal(wordpiece_size(wp), 16);
    assert_string_equal(wordpiece_piece(wp, 10), "##ing");
    assert_null(wordpiece_piece(wp, 16));
    assert_null(wordpiece_piece(wp, -1));
    assert_int_equal(wordpiece_special(wp, WORDPIECE_MASK), 4);
    check(wp, "A dog running.", WORDPIECE_ADD_CLS, 25, "2 5 6 8 9 10 12");
    check(wp, "DOGS", WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, 25, "2 6 7 3");
    check(wp, "dogx", 0, 25, "1"); // no piece for x: the whole word is unknown
    check(wp, "Caf\xC3\x89", 0, 25, "11");
    check(wp, "cafe\xCC\x81", 0, 25, "11");   // combining accent
    check(wp, "do\xE2\x80\x8Bg", 0, 25, "6"); // zero-width space vanishes
    check(wp, "do\xFFg", 0, 25, "6");         // so do bytes that are not UTF-8
    check(wp,
          "a\xE4\xB8\xAD"
          "a",
          0, 25, "5 15 5");
    check(wp,
          "a\xE2\x80\xA8"
          "a",
          0, 25, "5 5"); // line separator
    check(wp, "x[SEP]dog[MASK][sep", 0, 25, "1 3 6 4 1 1");
    check(wp, "", WORDPIECE_ADD_CLS, 25, "2");
    check(wp, "", 0, 25, "");
    check(wp, "\xE1\xBF\xAF", 0, 25, "1"); // decomposes to a grave accent
    wordpiece_close(&wp);
    assert_null(wp);
}

static void test_cut(void **state)
{
    (void)state;
    Wordpiece *wp = open_small();
    check(wp, "a a a a a", WORDPIECE_ADD_CLS, 3, "2 5 5");
    check(wp, "a a a a a", WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, 3, "2 5 3");
    check(wp, "a a", WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, 4, "2 5 5 3");
    check(wp, "a a", WORDPIECE_ADD_CLS, 0, "");
    check(wp, "a a", WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, 1, "3");
    wordpiece_close(&wp);
}

static void test_long_words(void **state)
{
    (void)state;
    Wordpiece *wp = NULL;
    VcErr err;
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nx\n##x\n\xC3\xB8\n##\xC3\xB8\n";
    assert_true(wordpiece_open_memory(&wp, vocab, sizeof vocab - 1, "x", &err));
    char text[101 * 2];
    int32_t ids[512];
    memset(text, 'x', 101);
    assert_int_equal(wordpiece_encode(wp, text, 100, 0, ids, 512, NULL), 100);
    assert_int_equal(wordpiece_encode(wp, text, 101, 0, ids, 512, NULL), 1);
    assert_int_equal(ids[0], 1);
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xB8", 2);
    assert_int_equal(wordpiece_encode(wp, text, 200, 0, ids, 512, NULL), 100); // characters count, not bytes
    assert_int_equal(wordpiece_encode(wp, text, 202, 0, ids, 512, NULL), 1);
    wordpiece_close(&wp);
}

static void refused(const char *vocab, size_t n, const char *reason)
{
    Wordpiece *wp = NULL;
    VcErr err = {0};
    assert_false(wordpiece_open_memory(&wp, vocab, n, "v.txt", &err));
    assert_null(wp);
    assert_non_null(strstr(err.text, "v.txt"));
    if (strstr(err.text, reason) == NULL)
        fail_msg("'%s' is not in '%s'", reason, err.text);
}

#define REFUSED(vocab, reason) refused(vocab, sizeof(vocab) - 1, reason)

static void test_bad_vocabularies(void **state)
{
    (void)state;
    REFUSED("", "empty");
    REFUSED("{\"a\": 1}", "JSON");
    REFUSED("[PAD]\n[UNK]\n[SEP]\na\n", "no piece [CLS], [MASK]");
    REFUSED("#version: 0.2\ni n\nt h\n", "no piece [PAD], [UNK], [CLS], [SEP], [MASK]");
    REFUSED("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\n", "line 8: piece 'a' is on line 6 already");
    REFUSED("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n##a\na\n##a\n", "line 8: piece '##a' is on line 6 already");
    REFUSED("[PAD]\n[UNK]\n\n[CLS]\n[SEP]\n[MASK]\n", "line 3: empty line");
    REFUSED("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\xC3\n", "line 6: not UTF-8");
    REFUSED("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\0b\n", "line 6: not UTF-8");
    REFUSED("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nThe\nthe\n",
            "cased model (1 pieces have capitals, first 'The' on line 6)");
    VcErr err = {0};
    Wordpiece *wp = NULL;
    assert_false(wordpiece_open(&wp, "/nonexistent/vocab.txt", &err));
    assert_non_null(strstr(err.text, "/nonexistent/vocab.txt"));
}

static void test_line_ends(void **state)
{
    (void)state;
    Wordpiece *wp = NULL;
    VcErr err;
    static const char vocab[] = "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na\r\nlast";
    assert_true(wordpiece_open_memory(&wp, vocab, sizeof vocab - 1, "crlf", &err));
    assert_int_equal(wordpiece_size(wp), 7);
    check(wp, "a last", 0, 9, "5 6");
    wordpiece_close(&wp);
}

static char *shared_path(const char *name)
{
    const char *shared = getenv("VICHA_SHARED");
    char *path = shared != NULL ? vc_path_join(shared, name) : NULL;
    if (path != NULL && !vc_exists(path)) {
        free(path);
        path = NULL;
    }
    if (path == NULL)
        print_message("golden data '%s' is absent (VICHA_SHARED)\n", name);
    return path;
}

static void check_ids(const Wordpiece *wp, const VcJson *string, unsigned flags, size_t cap, const VcJson *expected)
{
    int32_t ids[4096];
    size_t length;
    const char *text = vc_json_string(string, &length);
    size_t n = wordpiece_encode(wp, text, length, flags, ids, cap, NULL);
    if (n != vc_json_length(expected))
        fail_msg("'%s': %zu ids instead of %zu", text, n, vc_json_length(expected));
    for (size_t i = 0; i < n; i++)
        if (ids[i] != vc_json_int(vc_json_item(expected, i), -1))
            fail_msg("'%s': id %zu is %d", text, i, (int)ids[i]);
}

static void test_golden_bert(void **state)
{
    (void)state;
    char *vocab = shared_path("golden/bert/vocab.txt"), *cases = shared_path("golden/bert/wordpiece_strings.json");
    if (vocab == NULL || cases == NULL) {
        free(vocab);
        free(cases);
        skip();
    }
    VcErr err;
    Wordpiece *wp = NULL;
    VcJson *json = NULL;
    assert_true(wordpiece_open(&wp, vocab, &err));
    assert_int_equal(wordpiece_size(wp), 30522);
    assert_true(vc_json_read_file(&json, cases, 1 << 20, &err));
    assert_true(vc_json_length(json) >= 330);
    for (size_t i = 0; i < vc_json_length(json); i++)
        check_ids(wp, vc_json_member(vc_json_item(json, i), "text"), WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, 4096,
                  vc_json_member(vc_json_item(json, i), "ids"));
    vc_json_destroy(&json);
    wordpiece_close(&wp);
    free(vocab);
    free(cases);
}

static void test_golden_original(void **state)
{
    (void)state;
    char *vocab = shared_path("golden/train/components/tiny_vocab.txt");
    char *cases = shared_path("golden/train/components/tokenizer.json");
    if (vocab == NULL || cases == NULL) {
        free(vocab);
        free(cases);
        skip();
    }
    VcErr err;
    Wordpiece *wp = NULL;
    VcJson *json = NULL;
    assert_true(wordpiece_open(&wp, vocab, &err));
    assert_true(vc_json_read_file(&json, cases, 1 << 20, &err));
    const VcJson *examples = vc_json_member(json, "examples");
    assert_true(vc_json_length(examples) >= 28);
    for (size_t i = 0; i < vc_json_length(examples); i++) {
        const VcJson *x = vc_json_item(examples, i);
        const VcJson *text = vc_json_member(x, "text");
        check_ids(wp, text, WORDPIECE_ADD_CLS, 4096, vc_json_member(x, "ids"));
        check_ids(wp, text, WORDPIECE_ADD_CLS, 25, vc_json_member(x, "ids_max25"));
        check_ids(wp, text, WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, 4096, vc_json_member(x, "with_sep"));
    }
    const VcJson *batch = vc_json_member(json, "batch"); // padded with 0 in the golden
    for (size_t i = 0; i < vc_json_length(vc_json_member(batch, "texts")); i++) {
        const char *text = vc_json_string(vc_json_item(vc_json_member(batch, "texts"), i), NULL);
        const VcJson *row = vc_json_item(vc_json_member(batch, "input_ids"), i);
        const VcJson *mask = vc_json_item(vc_json_member(batch, "attention_mask"), i);
        int32_t ids[4096];
        size_t n = wordpiece_encode(wp, text, strlen(text), WORDPIECE_ADD_CLS, ids, 4096, NULL);
        for (size_t k = 0; k < vc_json_length(row); k++) {
            assert_int_equal(vc_json_int(vc_json_item(mask, k), -1), k < n);
            assert_int_equal(vc_json_int(vc_json_item(row, k), -1), k < n ? ids[k] : 0);
        }
    }
    vc_json_destroy(&json);
    wordpiece_close(&wp);
    free(vocab);
    free(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),           cmocka_unit_test(test_cut),       cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_bad_vocabularies), cmocka_unit_test(test_line_ends), cmocka_unit_test(test_golden_bert),
        cmocka_unit_test(test_golden_original),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
