// SPDX-License-Identifier: MIT
// Concept expressions: what they mean, shown by their text with brackets, and what is said where they mean nothing.
#include "query/query.h"
#include "tests/support/test.h"

static void check(const char *text, const char *wanted)
{
    VcArena *memory = vc_arena_create("test");
    QueryNode *node = NULL;
    assert_ok(query_expression_parse(&node, text, memory, err));
    const char *shown = query_expression_text(node, memory);
    assert_string_equal(shown, wanted);
    // Its own text means the same.
    QueryNode *again = NULL;
    assert_ok(query_expression_parse(&again, shown, memory, err));
    assert_string_equal(query_expression_text(again, memory), wanted);
    vc_arena_destroy(&memory);
}

static void refuse(const char *text, const char *words)
{
    VcArena *memory = vc_arena_create("test");
    QueryNode *node = NULL;
    assert_error(query_expression_parse(&node, text, memory, err), words);
    vc_arena_destroy(&memory);
}

static void test_meaning(void **state)
{
    (void)state;
    check("dog", "dog");
    check("  surf   board ", "surf board");
    check("a AND b OR c AND d", "a AND b OR c AND d");
    check("a AND (b OR c) AND d", "a AND (b OR c) AND d");
    check("(a AND b) AND (c)", "a AND b AND c");
    check("a OR (b OR c)", "a OR b OR c");
    check("a NOT b", "a AND NOT b");
    check("a NOT b NOT c", "a AND NOT b AND NOT c");
    check("NOT a AND b", "NOT a AND b");
    check("NOT (a OR b)", "NOT (a OR b)");
    check("NOT (a AND b)", "NOT (a AND b)");
    check("NOT NOT a", "a");
    check("NOT NOT (a AND b) AND c", "a AND b AND c");
    check("\"a\" (b)", "a AND b");
    check("\"a b\" \"c\"", "a b AND c");
}

static void test_names(void **state)
{
    (void)state;
    check("black and white dog", "black and white dog"); // small letters are words
    check("\"AND\"", "\"AND\"");
    check("\"rock AND roll\" OR x", "\"rock AND roll\" OR x");
    check("\"say \"\"hi\"\"\"", "\"say \"\"hi\"\"\"");
    check("\"a (b)\"", "\"a (b)\"");
    check("\" a\"", "\" a\"");
    check("caf\xc3\xa9 t-shirt o'clock", "caf\xc3\xa9 t-shirt o'clock");
    check("a > b", "a > b");
    check("\"a >= b\"", "\"a >= b\"");
    check("ANDY ORB NOTE", "ANDY ORB NOTE");
}

static void test_least(void **state)
{
    (void)state;
    check("dog >= 0.25 AND cat>=-1", "dog >= 0.25000763 AND cat >= -1");
    VcArena *memory = vc_arena_create("test");
    QueryNode *node = NULL;
    assert_ok(query_expression_parse(&node, "dog >= 0.5", memory, err));
    assert_int_equal(node->least, 16384); // the first stored score that is at least one half
    assert_ok(query_expression_parse(&node, "dog >= 1", memory, err));
    assert_int_equal(node->least, 32767);
    vc_arena_destroy(&memory);
    refuse("dog >= 2", "expected a cosine from -1 to 1");
    refuse("dog >= x", "expected a cosine");
    refuse("dog >=", "expected a cosine");
    refuse("dog >= nan", "expected a cosine");
    refuse(">= 0.1", "expected a concept");
    refuse("(dog OR cat) >= 0.1", "expected AND, OR or NOT");
}

static void test_mistakes(void **state)
{
    (void)state;
    refuse("", "expected a concept at its end");
    refuse("a AND", "expected a concept at its end");
    refuse("a OR OR b", "expected a concept at 'OR b'");
    refuse("AND a", "expected a concept");
    refuse("(a OR b", "a bracket is not closed");
    refuse("a)", "a bracket closes nothing");
    refuse("()", "expected a concept");
    refuse("\"a", "a quotation mark is not closed");
    refuse("\"\"", "an empty name");
    refuse("NOT", "expected a concept");
    refuse("a \xff", "not UTF-8");
    VcStr deep = {0};
    for (int i = 0; i < 100; i++)
        vc_str_put(&deep, "(");
    refuse(deep.data, "nested too deep");
    vc_str_clear(&deep);
    for (int i = 0; i < 300; i++)
        vc_str_put(&deep, "(a) OR ");
    refuse(deep.data, "too many concepts");
    vc_str_finish(&deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_meaning), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_least), cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
