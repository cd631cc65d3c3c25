// SPDX-License-Identifier: MIT
#include "train/plot_runs.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/plot.h"

#include <math.h>

enum { MAX_METRICS = 1 << 30 };

// Colours that stay apart for colour-blind readers (Okabe and Ito), then darker ones of the same.
static const char *const colours[TRAIN_MAX_PLOTTED] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
                                                       "#8c6d00", "#000000", "#00395a", "#6b2f00", "#004f39", "#663d53",
                                                       "#735000", "#2b5a74", "#463700", "#777777"};

typedef struct {
    double *x, *y;
    size_t count, x_cap, y_cap;
} Curve;

typedef struct {
    char *label;
    Curve raw, smooth, recall;
} Run;

static void add(Curve *c, double x, double y)
{
    c->x = vc_grow(c->x, &c->x_cap, c->count + 1, sizeof *c->x);
    c->y = vc_grow(c->y, &c->y_cap, c->count + 1, sizeof *c->y);
    c->x[c->count] = x;
    c->y[c->count++] = y;
}

static void curve_finish(Curve *c)
{
    free(c->x);
    free(c->y);
}

static void read_line(Run *run, const VcJson *line, const char *metric, bool recall, double *smooth, double *weight)
{
    double step = vc_json_number(vc_json_member(line, "step"), NAN);
    double value = vc_json_number(vc_json_member(line, metric), NAN);
    double found = vc_json_number(vc_json_member(line, "t2i_r10"), NAN);
    if (isfinite(value)) {
        *smooth = 0.8 * *smooth + 0.2 * value; // divided by its weight: no pull to the zero it starts from
        *weight = 0.8 * *weight + 0.2;
        add(&run->raw, step, value);
        add(&run->smooth, step, *smooth / *weight);
    }
    if (recall && isfinite(found))
        add(&run->recall, step, found);
}

static bool read_run(Run *run, const char *dir, const char *metric, bool recall, VcErr *err)
{
    char *path = vc_path_join(dir, "metrics.jsonl"), *text = NULL;
    size_t n = 0;
    double smooth = 0, weight = 0;
    bool ok = vc_read_file(&text, &n, path, MAX_METRICS, err);
    for (size_t at = 0; ok && at < n; at += strcspn(text + at, "\n") + 1) {
        VcJson *json = NULL;
        if (vc_json_parse(&json, text + at, strcspn(text + at, "\n"), path, NULL))
            read_line(run, json, metric, recall, &smooth, &weight);
        vc_json_destroy(&json);
    }
    if (ok && run->raw.count == 0)
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' has no line with a number '%s'", path, metric);
    free(text);
    free(path);
    return ok;
}

// The folder's own name; of "runs/a/" and "other/a" both whole paths would be needed, so equal ones get the path.
static char *label_of(const char *const *runs, size_t count, size_t i)
{
    size_t n = strlen(runs[i]);
    while (n > 1 && runs[i][n - 1] == '/')
        n--;
    char *whole = vc_strndup(runs[i], n);
    const char *base = vc_path_base(whole);
    for (size_t k = 0; k < count; k++) {
        size_t m = strlen(runs[k]);
        while (m > 1 && runs[k][m - 1] == '/')
            m--;
        size_t b = strlen(base);
        if (k != i && m >= b && memcmp(runs[k] + m - b, base, b) == 0 && (m == b || runs[k][m - b - 1] == '/'))
            return whole;
    }
    char *label = vc_strdup(base);
    free(whole);
    return label;
}

static void draw(VcStr *out, const Run *runs, size_t count, const char *metric, bool recall)
{
    VcPlotSeries series[3 * TRAIN_MAX_PLOTTED];
    size_t n = 0;
    bool any_recall = false, sparse = true;
    for (size_t i = 0; i < count; i++)
        sparse = sparse && runs[i].raw.count < 40;
    for (size_t i = 0; i < count; i++) {
        const Run *r = &runs[i];
        if (sparse) {
            series[n++] = (VcPlotSeries){r->label, colours[i], r->raw.x, r->raw.y, r->raw.count, true, false, 0};
        } else {
            series[n++] = (VcPlotSeries){NULL, colours[i], r->raw.x, r->raw.y, r->raw.count, false, false, 0.2};
            series[n++] =
                (VcPlotSeries){r->label, colours[i], r->smooth.x, r->smooth.y, r->smooth.count, false, false, 0};
        }
        if (recall && r->recall.count > 0) {
            any_recall = true;
            series[n++] = (VcPlotSeries){NULL, colours[i], r->recall.x, r->recall.y, r->recall.count, true, true, 0.6};
        }
    }
    VcStr title = {0};
    const char *dots = any_recall ? " (dots: held-out recall at 10, text to image)" : "";
    if (count == 1) {
        vc_str_putf(&title, "%s of %s%s", metric, runs[0].label, dots);
    } else {
        vc_str_putf(&title, "%s of %zu runs%s", metric, count, dots);
    }
    const VcPlot plot = {title.data, "step", metric, any_recall ? "recall at 10 (%)" : NULL, series, n};
    vc_plot_svg(out, &plot);
    vc_str_finish(&title);
}

bool train_plot_runs(VcStr *out, const char *const *runs, size_t count, const char *metric, VcErr *err)
{
    if (count < 1 || count > TRAIN_MAX_PLOTTED)
        return vc_fail(err, VC_ERR_USAGE, "%zu runs; a picture holds 1 to %d", count, (int)TRAIN_MAX_PLOTTED);
    Run read[TRAIN_MAX_PLOTTED] = {0};
    bool ok = true, recall = !metric;
    metric = metric ? metric : "loss";
    for (size_t i = 0; ok && i < count; i++) {
        read[i].label = label_of(runs, count, i);
        ok = read_run(&read[i], runs[i], metric, recall, err);
    }
    if (ok)
        draw(out, read, count, metric, recall);
    for (size_t i = 0; i < count; i++) {
        free(read[i].label);
        curve_finish(&read[i].raw);
        curve_finish(&read[i].smooth);
        curve_finish(&read[i].recall);
    }
    return ok;
}
