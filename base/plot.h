// SPDX-License-Identifier: MIT
// Line plots as SVG: axes with round ticks, a legend, as many lines as asked for. Threads: any.
#pragma once

#include "base/str.h"

#include <stddef.h>

typedef struct {
    const char *label, *colour; // CSS colour
    const double *x, *y;
    size_t count;
    bool dots;      // marks with a thin line between them instead of a plain line
    bool right;     // belongs to the axis on the right
    double opacity; // 0 = opaque
} VcPlotSeries;

typedef struct {
    const char *title, *x_label, *y_label, *right_label; // right_label NULL: no axis on the right
    const VcPlotSeries *series;
    size_t count;
} VcPlot;

void vc_plot_svg(VcStr *out, const VcPlot *plot);
// Ticks: a step of 1, 2 or 5 times a power of ten that cuts [low, high] in at most `most` pieces.
double vc_plot_tick_step(double low, double high, int most);
