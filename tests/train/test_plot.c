// SPDX-License-Identifier: MIT
#include "base/file.h"
#include "base/plot.h"
#include "extract/extract.h"
#include "tests/support/test.h"
#include "train/plot_runs.h"

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
    assert_close(vc_plot_tick_step(0, 100, 8), 20, 1e-12);
    assert_close(vc_plot_tick_step(0, 8, 8), 1, 1e-12);
    assert_close(vc_plot_tick_step(1.9, 2.3, 8), 0.05, 1e-12);
    assert_close(vc_plot_tick_step(0, 1e6, 8), 200000, 1e-6);
    for (double span = 1e-7; span < 1e9; span *= 1.37) {
        double step = vc_plot_tick_step(3, 3 + span, 8);
        assert_true(span / step <= 8.0001 && span / step >= 2.9);
    }
    assert_close(vc_plot_tick_step(5, 5, 8), 1, 0);
}

static void test_plot(void **state)
{
    (void)state;
    const double x[] = {0, 10, 20, 30, 40}, y[] = {4, 3, NAN, 2, 1.5};
    const VcPlotSeries series[] = {
        {.label = "train < loss", .colour = "#06c", .x = x, .y = y, .count = 5},
        {.label = "eval", .colour = "#c30", .x = x, .y = y, .count = 4, .dots = true},
        {.label = "empty", .colour = "#000", .count = 0},
    };
    const VcPlot plot = {"a & b\x01", "step", "loss", NULL, series, 3};
    VcStr svg = {0};
    vc_plot_svg(&svg, &plot);
    assert_int_equal(strncmp(svg.data, "<svg xmlns", 10), 0);
    assert_non_null(strstr(svg.data, "a &amp; b <"));
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
    const VcPlot plot = {"empty", "step", "loss", NULL, NULL, 0};
    VcStr svg = {0};
    vc_plot_svg(&svg, &plot);
    assert_non_null(strstr(svg.data, "</svg>"));
    assert_null(strstr(svg.data, "inf"));
    vc_str_finish(&svg);
}

static void write_metrics(const char *folder, const char *run, size_t lines, double slope)
{
    char *dir = vc_path_join(folder, run), *path = vc_path_join(dir, "metrics.jsonl");
    VcStr text = {0};
    for (size_t i = 1; i <= lines; i++)
        vc_str_putf(&text, "{\"step\": %zu, \"loss\": %.3f, \"loss_itm\": 0.5}\n", i, 3 - slope * (double)i);
    vc_str_put(&text, "{\"step\": 9, \"eval_loss\": 2, \"t2i_r10\": 30}\n");
    assert_ok(vc_make_dirs(dir, err));
    assert_ok(vc_write_file(path, text.data, text.len, err));
    vc_str_finish(&text);
    free(dir);
    free(path);
}

static void test_runs(void **state)
{
    (void)state;
    char *folder = test_temp_folder();
    write_metrics(folder, "a/x", 50, 0.01);
    write_metrics(folder, "b/x", 50, 0.02);
    write_metrics(folder, "few", 3, 0.5);
    char *a = vc_path_join(folder, "a/x/"), *b = vc_path_join(folder, "b/x"), *few = vc_path_join(folder, "few");
    const char *const same[] = {a, b, few};
    VcStr svg = {0};
    assert_ok(train_plot_runs(&svg, same, 3, NULL, err));
    assert_non_null(strstr(svg.data, "loss of 3 runs (dots"));
    assert_non_null(strstr(svg.data, "/a/x<")); // folders of one name are told apart
    assert_non_null(strstr(svg.data, "/b/x<"));
    assert_non_null(strstr(svg.data, ">few<"));
    assert_non_null(strstr(svg.data, "recall at 10"));
    assert_int_equal(count_of(svg.data, "<path fill=\"none\" stroke=\"#0072b2\""), 3); // lines, smoothed, recall
    uint8_t *png;
    size_t n;
    VcErr why;
    assert_ok(extract_image_init(err));
    if (extract_svg_to_png(svg.data, svg.len, 2, &png, &n, &why)) {
        ExtractImage image;
        assert_ok(extract_image_decode(&image, png, n, err));
        assert_int_equal(image.width, 1800);
        assert_int_equal(image.height, 960);
        extract_image_finish(&image);
        free(png);
        // SVG from outside stays refused.
        assert_error(extract_image_decode(&image, (const uint8_t *)svg.data, svg.len, err), "");
    } else {
        assert_non_null(strstr(why.text, "librsvg"));
    }
    vc_str_clear(&svg);
    const char *const one[] = {few};
    assert_ok(train_plot_runs(&svg, one, 1, "loss_itm", err));
    assert_non_null(strstr(svg.data, "loss_itm of few<"));
    assert_null(strstr(svg.data, "recall"));
    assert_error(train_plot_runs(&svg, one, 1, "loss_mim", err), "no line with a number 'loss_mim'");
    const char *const none[] = {folder};
    assert_error(train_plot_runs(&svg, none, 1, NULL, err), "metrics.jsonl");
    assert_error(train_plot_runs(&svg, none, 0, NULL, err), "1 to 16");
    vc_str_finish(&svg);
    free(a);
    free(b);
    free(few);
    test_temp_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tick_steps),
        cmocka_unit_test(test_plot),
        cmocka_unit_test(test_nothing_to_plot),
        cmocka_unit_test(test_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
