// SPDX-License-Identifier: MIT
// UTF-8, JSON strings and numbers from text.
#include "base/str.h"

#include "tests/support/test.h"

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "plain", "caf\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80",
                                      "\xC0\xAF",
                                      "\xC3",
                                      "\xE0\x80\x80",
                                      "\xED\xA0\x80",
                                      "\xF0\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF8\x88\x80\x80",
                                      "\xE2\x82",
                                      "a\xFF"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(vc_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(vc_utf8_valid(bad[i], strlen(bad[i])));
    for (uint32_t c = 0; c <= 0x10ffff; c++) { // every code point survives a round trip
        if (c >= 0xd800 && c < 0xe000)
            continue;
        char bytes[4];
        uint32_t back;
        size_t n = vc_utf8_encode(c, bytes);
        if (vc_utf8_decode(bytes, n, &back) != n || back != c)
            fail_msg("U+%04X came back as U+%04X", c, back);
    }
    VcStr out = {0};
    assert_int_equal(vc_utf8_repair(&out, "a\xFF\xC3(b", 5), 2);
    assert_string_equal(out.data, "a\xEF\xBF\xBD\xEF\xBF\xBD(b");
    vc_str_finish(&out);
}

static void test_json_strings(void **state)
{
    (void)state;
    VcStr s = {0};
    const char text[] = "a\"\\\n\t\x01\x7f\xC3\xA9\xF0\x9F\x98\x80\xFF";
    vc_str_put_json(&s, text, sizeof text - 1, true);
    assert_string_equal(s.data, "\"a\\\"\\\\\\n\\t\\u0001\x7f\\u00e9\\ud83d\\ude00\\ufffd\"");
    vc_str_clear(&s);
    vc_str_put_json(&s, text, sizeof text - 1, false);
    assert_string_equal(s.data, "\"a\\\"\\\\\\n\\t\\u0001\x7f\xC3\xA9\xF0\x9F\x98\x80\xEF\xBF\xBD\"");
    vc_str_finish(&s);
    assert_string_equal(vc_str_get(&s), "");
}

static void test_numbers(void **state)
{
    (void)state;
    int64_t i;
    double d;
    uint64_t b;
    assert_true(vc_parse_i64("-42", &i) && i == -42);
    assert_false(vc_parse_i64("", &i));
    assert_false(vc_parse_i64(" 1", &i));
    assert_false(vc_parse_i64("1 ", &i));
    assert_false(vc_parse_i64("9223372036854775808", &i));
    assert_true(vc_parse_double("1e-3", &d) && d > 0.00099 && d < 0.00101);
    assert_false(vc_parse_double("nan", &d));
    assert_true(vc_parse_bytes("64MiB", &b) && b == 64u << 20);
    assert_true(vc_parse_bytes("1.5GB", &b) && b == 1500000000u);
    assert_false(vc_parse_bytes("-1", &b));
    assert_false(vc_parse_bytes("5 apples", &b));
    assert_false(vc_parse_bytes("99999999999999TiB", &b));
}

static void test_builder(void **state)
{
    (void)state;
    VcStr s = {0};
    for (int i = 0; i < 1000; i++)
        vc_str_putf(&s, "%d,", i);
    assert_int_equal(s.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_true(vc_has_suffix(s.data, "998,999,"));
    assert_true(vc_has_prefix(s.data, "0,1,2,"));
    vc_str_finish(&s);
}

static void test_escapes(void **state)
{
    (void)state;
    VcStr out = {0};
    vc_str_put_html(&out, "<a href=\"x\">&\n\x01\xc3\xa9");
    vc_str_put_html(&out, NULL);
    assert_string_equal(out.data, "&lt;a href=&quot;x&quot;&gt;&amp;  \xc3\xa9");
    vc_str_clear(&out);
    vc_str_put_csv(&out, "a,\"b\"");
    assert_string_equal(out.data, "\"a,\"\"b\"\"\"");
    vc_str_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_utf8), cmocka_unit_test(test_json_strings),
                                       cmocka_unit_test(test_numbers), cmocka_unit_test(test_escapes),
                                       cmocka_unit_test(test_builder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
