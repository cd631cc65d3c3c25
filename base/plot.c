// SPDX-License-Identifier: MIT
#include "base/plot.h"

#include <math.h>

// Geometry in SVG units.
enum { WIDTH = 900, HEIGHT = 480, LEFT = 78, RIGHT = 78, TOP = 70, BOTTOM = 60, MOST_TICKS = 8 };

typedef struct {
    double low, high, step;
} Axis;

double vc_plot_tick_step(double low, double high, int most)
{
    double span = high - low;
    if (!(span > 0) || most < 1)
        return 1;
    double power = pow(10, floor(log10(span / most)));
    static const double factors[] = {1, 2, 5, 10};
    for (size_t i = 0; i < 4; i++) {
        if (span / (factors[i] * power) <= most * (1 + 1e-9))
            return factors[i] * power;
    }
    return 10 * power;
}

// Range of the finite values of one axis, widened to whole ticks.
static Axis find_axis(const VcPlot *plot, bool x_axis, bool right)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t s = 0; s < plot->count; s++) {
        const VcPlotSeries *series = &plot->series[s];
        if (!x_axis && series->right != right)
            continue;
        for (size_t i = 0; i < series->count; i++) {
            double value = x_axis ? series->x[i] : series->y[i];
            if (isfinite(value) && isfinite(series->y[i])) {
                low = fmin(low, value);
                high = fmax(high, value);
            }
        }
    }
    if (!(low <= high)) {
        low = 0;
        high = 1;
    }
    if (x_axis || right || (low > 0 && low < 0.4 * high))
        low = fmin(low, 0); // steps and shares from zero; losses when zero is near
    if (high - low < 1e-12 * fmax(1, fabs(high))) {
        low -= 0.5;
        high += 0.5;
    }
    Axis axis = {.step = vc_plot_tick_step(low, high, MOST_TICKS)};
    axis.low = floor(low / axis.step + 1e-9) * axis.step;
    axis.high = x_axis ? high : ceil(high / axis.step - 1e-9) * axis.step;
    return axis;
}

static double place_x(const Axis *axis, double x)
{
    return LEFT + (x - axis->low) / (axis->high - axis->low) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const Axis *axis, double y)
{
    return HEIGHT - BOTTOM - (y - axis->low) / (axis->high - axis->low) * (HEIGHT - TOP - BOTTOM);
}

static void put_text(VcStr *out, double x, double y, const char *attributes, const char *text)
{
    vc_str_putf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    vc_str_put_html(out, text);
    vc_str_put(out, "</text>\n");
}

static int tick_decimals(double step)
{
    int decimals = (int)ceil(-log10(step) - 1e-9);
    return decimals < 0 ? 0 : decimals > 9 ? 9 : decimals;
}

static size_t tick_count(const Axis *axis)
{
    return (size_t)floor((axis->high - axis->low) / axis->step + 1e-6) + 1;
}

static void put_y_ticks(VcStr *out, const Axis *axis, bool right)
{
    for (size_t i = 0; i < tick_count(axis); i++) {
        double value = axis->low + (double)i * axis->step, y = place_y(axis, value);
        char label[32];
        snprintf(label, sizeof label, "%.*f", tick_decimals(axis->step), value);
        if (!right) {
            vc_str_putf(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#e4e4e4\"/>\n", LEFT, y,
                        WIDTH - RIGHT, y);
        }
        put_text(out, right ? WIDTH - RIGHT + 8 : LEFT - 8, y + 4.5,
                 right ? "text-anchor=\"start\"" : "text-anchor=\"end\"", label);
    }
}

static void put_x_ticks(VcStr *out, const Axis *axis)
{
    for (size_t i = 0; i < tick_count(axis); i++) {
        double value = axis->low + (double)i * axis->step, x = place_x(axis, value);
        char label[32];
        snprintf(label, sizeof label, "%.*f", tick_decimals(axis->step), value);
        vc_str_putf(out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#333\"/>\n", x, HEIGHT - BOTTOM, x,
                    HEIGHT - BOTTOM + 5);
        put_text(out, x, HEIGHT - BOTTOM + 21, "text-anchor=\"middle\"", label);
    }
}

static void put_series(VcStr *out, const VcPlotSeries *series, const Axis *x_axis, const Axis *y_axis)
{
    double opacity = series->opacity > 0 ? series->opacity : 1;
    vc_str_putf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-opacity=\"%.2f\" d=\"",
                series->colour, series->dots ? "1.2" : "1.8", opacity);
    bool pen_down = false; // a value that is not a number leaves a gap
    for (size_t i = 0; i < series->count; i++) {
        bool finite = isfinite(series->x[i]) && isfinite(series->y[i]);
        if (finite) {
            vc_str_putf(out, "%c%.1f %.1f", pen_down ? 'L' : 'M', place_x(x_axis, series->x[i]),
                        place_y(y_axis, series->y[i]));
        }
        pen_down = finite;
    }
    vc_str_put(out, "\"/>\n");
    for (size_t i = 0; series->dots && i < series->count; i++) {
        if (isfinite(series->x[i]) && isfinite(series->y[i])) {
            vc_str_putf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"%s\"/>\n", place_x(x_axis, series->x[i]),
                        place_y(y_axis, series->y[i]), series->colour);
        }
    }
}

// One row between title and plot, where no curve runs.
static void put_legend(VcStr *out, const VcPlot *plot)
{
    double total = 0, x;
    for (size_t s = 0; s < plot->count; s++) {
        if (plot->series[s].label && plot->series[s].count > 0)
            total += 46 + 6.1 * (double)strlen(plot->series[s].label);
    }
    x = (WIDTH - total) / 2;
    for (size_t s = 0; s < plot->count; s++) {
        const VcPlotSeries *series = &plot->series[s];
        if (!series->label || series->count == 0)
            continue;
        vc_str_putf(out, "<line x1=\"%.1f\" y1=\"50\" x2=\"%.1f\" y2=\"50\" stroke=\"%s\" stroke-width=\"2\"/>\n", x,
                    x + 24, series->colour);
        if (series->dots)
            vc_str_putf(out, "<circle cx=\"%.1f\" cy=\"50\" r=\"3.2\" fill=\"%s\"/>\n", x + 12, series->colour);
        put_text(out, x + 30, 54, "text-anchor=\"start\" font-size=\"12\"", series->label);
        x += 46 + 6.1 * (double)strlen(series->label);
    }
}

void vc_plot_svg(VcStr *out, const VcPlot *plot)
{
    Axis x_axis = find_axis(plot, true, false), left = find_axis(plot, false, false),
         right = find_axis(plot, false, true);
    vc_str_putf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                "font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n"
                "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_text(out, WIDTH / 2.0, 28, "text-anchor=\"middle\" font-size=\"17\"", plot->title);
    put_y_ticks(out, &left, false);
    if (plot->right_label)
        put_y_ticks(out, &right, true);
    put_x_ticks(out, &x_axis);
    vc_str_putf(out, "<path fill=\"none\" stroke=\"#333\" d=\"M%d %dV%dH%d%s\"/>\n", LEFT, TOP, HEIGHT - BOTTOM,
                WIDTH - RIGHT, plot->right_label ? "V70" : "");
    put_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16, "text-anchor=\"middle\"", plot->x_label);
    char turn[96];
    snprintf(turn, sizeof turn, "text-anchor=\"middle\" transform=\"rotate(-90 20 %d)\"", (TOP + HEIGHT - BOTTOM) / 2);
    put_text(out, 20, (TOP + HEIGHT - BOTTOM) / 2.0, turn, plot->y_label);
    if (plot->right_label) {
        snprintf(turn, sizeof turn, "text-anchor=\"middle\" transform=\"rotate(90 %d %d)\"", WIDTH - 18,
                 (TOP + HEIGHT - BOTTOM) / 2);
        put_text(out, WIDTH - 18, (TOP + HEIGHT - BOTTOM) / 2.0, turn, plot->right_label);
    }
    for (size_t s = 0; s < plot->count; s++)
        put_series(out, &plot->series[s], &x_axis, plot->series[s].right ? &right : &left);
    put_legend(out, plot);
    vc_str_put(out, "</svg>\n");
}
