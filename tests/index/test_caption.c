// SPDX-License-Identifier: MIT
#include "base/file.h"
#include "base/json.h"
#include "index/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const char *in, size_t words, const char *expected)
{
    VcStr out = {0};
    index_clean_caption(&out, in, strlen(in), words);
    assert_string_equal(vc_str_get(&out), expected);
    vc_str_finish(&out);
}

static void test_rules(void **state)
{
    (void)state;
    check("A man, riding a skate-board/bike!", 30, "a man riding a skate board bike");
    check("  Two   dogs\tplaying (outside)...\n", 30, "two dogs\tplaying outside");
    check("<PERSON> is <person>", 30, "person is person");
    check("<per.son>", 30, "person"); // deletions come first
    check("a\xC2\xA0 b \xE3\x80\x80 c", 30, "a b c");
    check("one two three four", 2, "one two");
    check("one two three four", 0, "one two three four");
    check("ends \n \n", 30, "ends");
    check("a\n\n", 30, "a");
    check("a \n", 30, "a");
    check("tab\t", 30, "tab\t"); // only newlines and spaces are stripped
    check("", 30, "");
    check("...", 30, "");
}

static void test_lower_case_is_pythons(void **state)
{
    (void)state;
    check("\xCE\x9F\xCE\x94\xCE\x9F\xCE\xA3", 30, "\xCE\xBF\xCE\xB4\xCE\xBF\xCF\x82"); // final sigma
    check("\xCE\x9F\xCE\xA3\xCE\x91", 30, "\xCE\xBF\xCF\x83\xCE\xB1");                 // sigma inside
    check("\xCE\xA3", 30, "\xCF\x83");                                                 // sigma alone
    check("A\xCE\xA3'", 30, "a\xCF\x82");
    check("\xC4\xB0", 30, "i\xCC\x87"); // dotted capital I
    check("\xC3\x9Cn\xC3\xAF-c\xC3\xB6"
          "D\xC3\x89",
          30,
          "\xC3\xBCn\xC3\xAF c\xC3\xB6"
          "d\xC3\xA9");
}

static void test_bad_bytes_are_replaced(void **state)
{
    (void)state;
    check("a\xFF"
          "b\xC3",
          30,
          "a\xEF\xBF\xBD"
          "b\xEF\xBF\xBD");
}

static void test_golden(void **state)
{
    (void)state;
    VcStr path = {0};
    const char *shared = getenv("VICHA_SHARED");
    vc_str_putf(&path, "%s/golden/train/components/tokenizer.json", shared != NULL ? shared : ".");
    VcJson *json = NULL;
    VcErr err;
    if (shared == NULL || !vc_exists(vc_str_get(&path))) {
        print_message("golden data '%s' is absent (VICHA_SHARED)\n", vc_str_get(&path));
        vc_str_finish(&path);
        skip();
    }
    assert_true(vc_json_read_file(&json, vc_str_get(&path), 1 << 20, &err));
    vc_str_finish(&path);
    const VcJson *cases = vc_json_member(json, "caption_cleaning");
    assert_true(vc_json_length(cases) >= 10);
    for (size_t i = 0; i < vc_json_length(cases); i++) {
        const VcJson *c = vc_json_item(cases, i);
        check(vc_json_string(vc_json_member(c, "text"), NULL), (size_t)vc_json_int(vc_json_member(c, "max_words"), 0),
              vc_json_string(vc_json_member(c, "out"), NULL));
    }
    vc_json_destroy(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_lower_case_is_pythons),
        cmocka_unit_test(test_bad_bytes_are_replaced),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
