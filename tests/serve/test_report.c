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

static void test_numbers(void **state)
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

// Ten seconds of a run: 100 images/s, then 300 of which half are rejected; another one was killed before a second.
static void test_extract_history(void **state)
{
    (void)state;
    char *dir = site_make();
    VcWorkspace ws = {0};
    VcStr out = {0};
    assert_ok(vc_workspace_open(&ws, dir, VC_DB_WRITE, err));
    assert_ok(report_extract(&out, &ws, err));
    assert_int_equal(out.len, 0); // no tables
    assert_ok(
        vc_db_exec(ws.db,
                   "CREATE TABLE extract_run(run INTEGER PRIMARY KEY, started INTEGER NOT NULL, finished INTEGER);"
                   "CREATE TABLE extract_sample(run INTEGER NOT NULL, at REAL NOT NULL, stored INTEGER NOT NULL,"
                   " rejected INTEGER NOT NULL, retries INTEGER NOT NULL, bytes_read INTEGER NOT NULL,"
                   " memory INTEGER NOT NULL, PRIMARY KEY(run, at)) WITHOUT ROWID;",
                   err));
    assert_ok(report_extract(&out, &ws, err));
    assert_int_equal(out.len, 0); // no runs
    assert_ok(vc_db_exec(ws.db,
                         "INSERT INTO extract_run VALUES(1, 86400, 86410), (2, 90000, NULL);"
                         "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 10)"
                         " INSERT INTO extract_sample SELECT 1, i, min(i, 5) * 100 + max(i - 5, 0) * 150,"
                         " max(i - 5, 0) * 150, 7, i * 1048576, 50 * 1048576 FROM n;"
                         "INSERT INTO extract_sample VALUES(2, 0, 0, 0, 0, 0, 0)",
                         err));
    assert_ok(report_extract(&out, &ws, err));
    const char *html = vc_str_get(&out);
    assert_int_equal(count_of(html, "<svg"), 1); // of the run that lasted
    assert_non_null(strstr(html, "extract, run 1, 1970-01-02 00:00 UTC"));
    assert_non_null(strstr(html, ">300</text>")); // the highest tick of images/s
    assert_null(strstr(html, ">350</text>"));
    // The right axis goes to 100 %, and the second half lies in its middle: y of 50 % is that of the plot's centre.
    assert_int_equal(count_of(html, "cy=\"245.0\" r=\"3.2\" fill=\"#0b7a5e\""), 5);
    assert_int_equal(count_of(html, "cy=\"70.0\" r=\"3.2\" fill=\"#0b7a5e\""), 5);
    assert_non_null(strstr(html, "<td>1</td><td>1970-01-02 00:00 UTC</td><td class=\"num\">10.0</td>"
                                 "<td class=\"num\">1,250</td><td class=\"num\">750</td>"
                                 "<td class=\"num\">200.0</td><td class=\"num\">7</td><td class=\"num\">10.0</td>"
                                 "<td class=\"num\">50</td>"));
    assert_non_null(strstr(html, "<td>2 (not finished)</td>"));
    vc_str_finish(&out);
    vc_workspace_close(&ws);
    test_temp_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_base64), cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_page), cmocka_unit_test(test_extract_history)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
