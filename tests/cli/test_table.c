// SPDX-License-Identifier: MIT
// Tables for people: alignment, cutting, widths, and text that would break a terminal or a CSV reader.
#include "cli/table.h"
#include "tests/support/test.h"

static char *print(CliTable *t, size_t width)
{
    char buffer[4096] = "";
    FILE *out = fmemopen(buffer, sizeof buffer, "w");
    assert_non_null(out);
    cli_table_end(t, out, width);
    fclose(out);
    return vc_strdup(buffer);
}

static void columns_are_aligned(void **state)
{
    (void)state;
    CliTable t = {.columns = {{"n", true, false}, {"concept", false, true}}, .column_count = 2};
    cli_table_put(&t, "7");
    cli_table_put(&t, "dog");
    cli_table_putf(&t, "%d", 1234);
    cli_table_put(&t, "caf\xC3\xA9 table");
    char *text = print(&t, 0);
    assert_string_equal(text, "   n  concept\n   7  dog\n1234  caf\xC3\xA9 table\n");
    free(text);
}

static void wide_letters_count_double_and_marks_nothing(void **state)
{
    (void)state;
    assert_int_equal(cli_text_width("\xE7\x8C\xAB"), 2);     // CJK
    assert_int_equal(cli_text_width("e\xCC\x81"), 1);        // combining acute
    assert_int_equal(cli_text_width("\xF0\x9F\x90\x95"), 2); // dog emoji
    CliTable t = {.columns = {{"a", false, true}, {"b", false, false}}, .column_count = 2};
    cli_table_put(&t, "\xE7\x8C\xAB");
    cli_table_put(&t, "x");
    cli_table_put(&t, "cat");
    cli_table_put(&t, "y");
    char *text = print(&t, 0);
    assert_string_equal(text, "a    b\n\xE7\x8C\xAB   x\ncat  y\n");
    free(text);
}

static void long_cells_end_in_an_ellipsis(void **state)
{
    (void)state;
    for (size_t width = 24; width < 60; width++) {
        CliTable t = {.columns = {{"id", true, false}, {"text", false, true}, {"more", false, true}},
                      .column_count = 3};
        cli_table_put(&t, "1");
        cli_table_put(&t,
                      "a caption that is much longer than the line \xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB");
        cli_table_put(&t,
                      "\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB and so on");
        char *text = print(&t, width), *second = strchr(text, '\n') + 1;
        *strchr(second, '\n') = 0;
        // Two columns of 12, one of 2 and the gaps are the least.
        assert_true(cli_text_width(second) <= (width > 30 ? width : 30));
        assert_non_null(strstr(second, "\xE2\x80\xA6"));
        assert_true(vc_utf8_valid(second, strlen(second)));
        free(text);
    }
}

static void terminals_get_no_control_characters(void **state)
{
    (void)state;
    static const char hostile[] = "a\x1b[31mred\x07\x7f\n\tb\xC2\x9B"
                                  "31m \xE2\x80\xAE\xFF\xC0\x80";
    VcStr safe = {0};
    cli_put_safe(&safe, hostile, sizeof hostile - 1);
    assert_true(vc_utf8_valid(safe.data, safe.len));
    for (size_t i = 0; i < safe.len; i++)
        assert_true((unsigned char)safe.data[i] >= 32 && safe.data[i] != 127);
    assert_null(strstr(safe.data, "\xC2\x9B"));
    assert_null(strstr(safe.data, "\xE2\x80\xAE"));
    assert_non_null(strstr(safe.data, "\\x1b[31mred\\x07\\x7f  b\\x9b31m \\u{202e}\xEF\xBF\xBD"));
    vc_str_finish(&safe);
}

static void csv_fields_are_quoted_where_they_must(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"dog", "dog"},
                                           {"", ""},
                                           {"a, b", "\"a, b\""},
                                           {"say \"hi\"", "\"say \"\"hi\"\"\""},
                                           {"two\nlines", "\"two\nlines\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        VcStr out = {0};
        cli_put_csv(&out, cases[i][0]);
        assert_string_equal(vc_str_get(&out), cases[i][1]);
        vc_str_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(wide_letters_count_double_and_marks_nothing),
        cmocka_unit_test(long_cells_end_in_an_ellipsis),
        cmocka_unit_test(terminals_get_no_control_characters),
        cmocka_unit_test(csv_fields_are_quoted_where_they_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
