// SPDX-License-Identifier: MIT
// The option tables: parsing, bounds, suggestions, and the settings as JSON.
#include "base/json.h"
#include "cli/options.h"

#include "tests/support/test.h"

typedef struct {
    bool flag, on;
    const char *text;
    int64_t count;
    double share;
    uint64_t size;
    CliList list;
} Settings;

static bool parse(Settings *s, CliContext *ctx, VcErr *err, int argc, const char **args)
{
    *s = (Settings){.on = true, .count = 15, .share = 0.5, .size = 64 << 20};
    const CliOption options[] = {
        {"flag", 0, CLI_FLAG, &s->flag, NULL, "a flag", 0, 0}, {"on", 0, CLI_FLAG, &s->on, NULL, "on by default", 0, 0},
        {"text", 0, CLI_STRING, &s->text, "T", "text", 0, 0},  {"count", 'k', CLI_INT, &s->count, "N", "count", 1, 100},
        {"share", 0, CLI_REAL, &s->share, "P", "share", 0, 1}, {"size", 0, CLI_BYTES, &s->size, "B", "size", 0, 0},
        {"item", 0, CLI_LIST, &s->list, "I", "item", 0, 0},    {0}};
    const CliHelp help = {"test", "a test", "", NULL, NULL};
    // Lists and strings borrow from argv, which lives as long as the process.
    static char *kept[16][32];
    static size_t calls;
    char **argv = kept[calls++ % 16];
    for (int i = 0; i < argc; i++)
        argv[i] = vc_strdup(args[i]);
    bool shown, ok = cli_parse(ctx, argc, argv, &help, options, &shown, err);
    if (ok) {
        VcStr json = {0};
        cli_settings_json(&json, options);
        VcJson *document;
        assert_true(vc_json_parse(&document, json.data, json.len, "settings", err));
        assert_int_equal(vc_json_int(vc_json_member(document, "count"), -1), s->count);
        assert_int_equal(vc_json_length(vc_json_member(document, "item")), s->list.count);
        vc_json_destroy(&document);
        vc_str_finish(&json);
    }
    return ok;
}

#define PARSE(...)                                                                         \
    (memset(&err, 0, sizeof err),                                                          \
     parse(&s, &ctx, &err, sizeof((const char *[]){"test", __VA_ARGS__}) / sizeof(char *), \
           (const char *[]){"test", __VA_ARGS__}))

static void test_values(void **state)
{
    (void)state;
    Settings s;
    CliContext ctx;
    VcErr err;
    assert_true(PARSE("-w", "ws", "--flag", "--no-on", "--text", "x", "-k", "7", "--share", "70%", "--size", "1.5MiB",
                      "--item", "a", "--item=b", "one", "two"));
    assert_string_equal(ctx.workspace, "ws");
    assert_true(s.flag && !s.on);
    assert_string_equal(s.text, "x");
    assert_int_equal(s.count, 7);
    assert_true(s.share > 0.6999 && s.share < 0.7001);
    assert_int_equal(s.size, 3 << 19);
    assert_int_equal(s.list.count, 2);
    assert_string_equal(s.list.items[1], "b");
    assert_int_equal(ctx.argc, 2);
    assert_string_equal(ctx.argv[1], "two");
    free(s.list.items);
    cli_context_finish(&ctx);
}

static void test_wrong_usage(void **state)
{
    (void)state;
    Settings s;
    CliContext ctx;
    VcErr err;
    assert_false(PARSE("--cuont", "3"));
    assert_int_equal(err.code, VC_ERR_USAGE);
    assert_non_null(strstr(err.text, "did you mean '--count'"));
    assert_false(PARSE("--count", "0"));
    assert_non_null(strstr(err.text, "between 1 and 100"));
    assert_false(PARSE("--count", "7x"));
    assert_false(PARSE("--share", "nan"));
    assert_false(PARSE("--size", "12parsecs"));
    assert_false(PARSE("--text"));
    assert_non_null(strstr(err.text, "needs a value"));
}

static void test_nearest(void **state)
{
    (void)state;
    const char *const names[] = {"extract", "concepts", "index", "train"};
    assert_string_equal(cli_nearest("extrct", names, 4), "extract");
    assert_string_equal(cli_nearest("idnex", names, 4), "index");
    assert_null(cli_nearest("zzzzzz", names, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_wrong_usage),
                                       cmocka_unit_test(test_nearest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
