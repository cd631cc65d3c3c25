// SPDX-License-Identifier: MIT
// The report: complete, self-contained, and no word of the data becomes markup.
#include "serve/report_parts.h"
#include "tests/serve/site.h"

static void test_base64(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < 7; i++) {
        VcStr out = {0};
        report_base64(&out, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(vc_str_get(&out), cases[i][1]);
        vc_str_finish(&out);
    }
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *text;
    } cases[] = {{0, "0"}, {999, "999"}, {1000, "1,000"}, {-1234567, "-1,234,567"}, {100000, "100,000"}};
    for (size_t i = 0; i < 5; i++) {
        VcStr out = {0};
        report_number(&out, cases[i].value);
        assert_string_equal(vc_str_get(&out), cases[i].text);
        vc_str_finish(&out);
    }
    VcStr out = {0};
    report_text(&out, "<a href=\"x\">&\n\x01");
    assert_string_equal(vc_str_get(&out), "&lt;a href=&quot;x&quot;&gt;&amp;  ");
    vc_str_finish(&out);
}

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        n++;
    return n;
}

static void test_page(void **state)
{
    (void)state;
    char *dir = site_make(), *html = NULL;
    size_t n;
    VcStr path = {0};
    vc_str_putf(&path, "%s/report.html", dir);
    const ReportOptions options = {.workspace = dir, .pictures = 20};
    assert_ok(serve_report(&options, path.data, err));
    assert_ok(vc_read_file(&html, &n, path.data, 16 << 20, err));
    assert_true(n < 300000);
    assert_true(count_of(html, "data:image/jpeg;base64,") >= 18);
    assert_true(count_of(html, "<svg") >= 4);
    assert_non_null(strstr(html, "a &lt;b&gt;dog&lt;/b&gt;"));
    assert_non_null(strstr(html, ">gone<"));
    assert_non_null(strstr(html, ">first<")); // the run's plot
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "<b>dog"));
    assert_null(strstr(html, "<link"));
    // What is shown is inside.
    assert_int_equal(count_of(html, "src="), count_of(html, "src=\"data:"));
    assert_int_equal(count_of(html, "<figure>"), count_of(html, "</figure>"));
    free(html);
    // A run that is not there is named, and nothing appears.
    vc_str_put(&path, ".2");
    const char *runs[] = {"/nonexistent/run"};
    const ReportOptions bad = {.workspace = dir, .runs = runs, .run_count = 1, .pictures = 0};
    assert_error(serve_report(&bad, path.data, err), "/nonexistent/run");
    assert_false(vc_exists(path.data));
    vc_str_finish(&path);
    test_temp_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_base64), cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_page)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
