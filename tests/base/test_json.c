// SPDX-License-Identifier: MIT
// JSON documents and streams of elements, good and damaged.
#include "base/json.h"

#include "base/file.h"

#include "tests/support/test.h"

static char *folder;

static char *file_with(const char *text)
{
    char *path = vc_path_join(folder, "test.json");
    assert_ok(vc_write_file(path, text, strlen(text), err));
    return path;
}

static void test_members(void **state)
{
    (void)state;
    VcJson *json;
    const char text[] = "{\"s\": \"x\", \"i\": 3, \"r\": 2.5, \"b\": true, \"a\": [1, 2]}";
    assert_ok(vc_json_parse(&json, text, sizeof text - 1, "test", err));
    const char *s;
    int64_t i;
    double r;
    assert_ok(vc_json_get_string(json, "s", &s, "test", err));
    assert_string_equal(s, "x");
    assert_ok(vc_json_get_int(json, "i", &i, "test", err));
    assert_int_equal(i, 3);
    assert_ok(vc_json_get_number(json, "r", &r, "test", err));
    assert_error(vc_json_get_int(json, "r", &i, "test", err), "'r' in test: expected an integer");
    assert_error(vc_json_get_string(json, "none", &s, "test", err), "missing");
    assert_int_equal(vc_json_length(vc_json_member(json, "a")), 2);
    assert_true(vc_json_bool(vc_json_member(json, "b"), false));
    void *iter = NULL;
    const char *key;
    VcJson *value;
    int members = 0;
    while (vc_json_next_member(json, &iter, &key, &value))
        members++;
    assert_int_equal(members, 5);
    vc_json_destroy(&json);
    assert_error(vc_json_parse(&json, "{\"a\": 1,\n oops}", 15, "thing", err), "thing is not valid JSON: line 2");
    assert_error(vc_json_parse(&json, "{\"a\":1,\"a\":2}", 13, "thing", err), "duplicate");
}

// Reads a stream to its end; returns the elements seen, stops at the first error when `stop`.
static int drain(const char *text, VcJsonForm form, const char *member, int *errors)
{
    char *path = file_with(text);
    VcJsonStream *s;
    VcErr err = {0};
    int items = 0;
    *errors = 0;
    if (!vc_json_stream_open(&s, path, form, member, &err)) {
        free(path);
        *errors = 1;
        return -1;
    }
    for (;;) {
        VcJson *item;
        if (!vc_json_stream_next(s, &item, NULL, &err)) {
            if (++*errors > 10)
                break;
            continue;
        }
        if (!item)
            break;
        items++;
        vc_json_destroy(&item);
    }
    vc_json_stream_close(&s);
    free(path);
    return items;
}

static void test_streams(void **state)
{
    (void)state;
    int errors;
    assert_int_equal(drain("[{\"a\": 1}, 2 , \"x\"]", VC_JSON_ARRAY, NULL, &errors), 3);
    assert_int_equal(errors, 0);
    assert_int_equal(drain("\xEF\xBB\xBF[]", VC_JSON_ARRAY, NULL, &errors), 0);
    assert_int_equal(errors, 0);
    assert_int_equal(
        drain("{\"info\": {\"x\": [1]}, \"annotations\": [{}, {}], \"z\": 1}", VC_JSON_ARRAY, "annotations", &errors),
        2);
    assert_int_equal(errors, 0);
    assert_int_equal(drain("{\"a\": 1}\n\n{broken\n{\"a\": 2}\n", VC_JSON_LINES, NULL, &errors), 2);
    assert_int_equal(errors, 1);
    assert_int_equal(drain("[1, 2", VC_JSON_ARRAY, NULL, &errors), 2);
    assert_int_equal(errors, 1); // a truncated array says so, once
    assert_int_equal(drain("[1 2]", VC_JSON_ARRAY, NULL, &errors), 1);
    assert_int_equal(errors, 1);
    assert_int_equal(drain("{\"a\": []}", VC_JSON_ARRAY, "b", &errors), -1);
    assert_int_equal(drain("nonsense", VC_JSON_ARRAY, NULL, &errors), -1);
    assert_int_equal(drain("", VC_JSON_LINES, NULL, &errors), 0);
}

static void test_limits(void **state)
{
    (void)state;
    char *path = file_with("[1, 2, 3]");
    VcJson *json;
    assert_error(vc_json_read_file(&json, path, 4, err), "larger than the limit");
    assert_error(vc_json_read_file(&json, "/nonexistent/x.json", 100, err), "cannot open '/nonexistent/x.json'");
    free(path);
}

static int setup(void **state)
{
    (void)state;
    folder = test_temp_folder();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_members), cmocka_unit_test(test_streams),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
