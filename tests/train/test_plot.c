// SPDX-License-Identifier: MIT
#include "tests/support/test.h"
#include "train/plot.h"

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        n++;
    return n;
}

static void test_tick_steps(void **state)
{
    (void)state;
    assert_close(plot_tick_step(0, 100, 8), 20, 1e-12);
    assert_close(plot_tick_step(0, 8, 8), 1, 1e-12);
    assert_close(plot_tick_step(1.9, 2.3, 8), 0.05, 1e-12);
    assert_close(plot_tick_step(0, 1e6, 8), 200000, 1e-6);
    for (double span = 1e-7; span < 1e9; span *= 1.37) {
        double step = plot_tick_step(3, 3 + span, 8);
        assert_true(span / step <= 8.0001 && span / step >= 2.9);
    }
    assert_close(plot_tick_step(5, 5, 8), 1, 0);
}

static void test_plot(void **state)
{
    (void)state;
    const double x[] = {0, 10, 20, 30, 40}, y[] = {4, 3, NAN, 2, 1.5};
    const PlotSeries series[] = {
        {.label = "train < loss", .colour = "#06c", .x = x, .y = y, .count = 5},
        {.label = "eval", .colour = "#c30", .x = x, .y = y, .count = 4, .dots = true},
        {.label = "empty", .colour = "#000", .count = 0},
    };
    const Plot plot = {"a & b\x01", "step", "loss", NULL, series, 3};
    VcStr svg = {0};
    plot_svg(&svg, &plot);
    assert_int_equal(strncmp(svg.data, "<svg xmlns", 10), 0);
    assert_non_null(strstr(svg.data, "a &amp; b<"));
    assert_non_null(strstr(svg.data, "train &lt; loss"));
    assert_null(strstr(svg.data, "nan"));
    assert_null(strstr(svg.data, "empty"));
    assert_int_equal(count_of(svg.data, "<circle"), 4); // three points and the mark in the legend
    const char *path = strstr(strstr(svg.data, "stroke=\"#06c\""), " d=\"") + 4;
    char *line = vc_strndup(path, strcspn(path, "\""));
    assert_int_equal(count_of(line, "M"), 2); // the value that is no number leaves one gap
    assert_int_equal(count_of(line, "L"), 2);
    free(line);
    vc_str_finish(&svg);
}

static void test_nothing_to_plot(void **state)
{
    (void)state;
    const Plot plot = {"empty", "step", "loss", NULL, NULL, 0};
    VcStr svg = {0};
    plot_svg(&svg, &plot);
    assert_non_null(strstr(svg.data, "</svg>"));
    assert_null(strstr(svg.data, "inf"));
    vc_str_finish(&svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tick_steps),
        cmocka_unit_test(test_plot),
        cmocka_unit_test(test_nothing_to_plot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
