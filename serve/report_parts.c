// SPDX-License-Identifier: MIT
#include "serve/report_parts.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/plot.h"
#include "query/query.h"

#include <math.h>

enum { MAX_METRICS = 1 << 30 };

void report_number(VcStr *out, int64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    for (int i = 0; i < n; i++) {
        vc_str_putc(out, digits[i]);
        if (digits[i] != '-' && (n - 1 - i) % 3 == 0 && i + 1 < n)
            vc_str_putc(out, ',');
    }
}

void report_base64(VcStr *out, const void *data, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *b = data;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);
        char four[4] = {letters[v >> 18], letters[v >> 12 & 63], i + 1 < n ? letters[v >> 6 & 63] : '=',
                        i + 2 < n ? letters[v & 63] : '='};
        vc_str_putn(out, four, 4);
    }
}

void report_bars(VcStr *out, const char *title, const ReportBar *bars, size_t count)
{
    enum { ROW = 24, NAME = 200, WIDE = 640, VALUE = 90 };
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, bars[i].value);
    vc_str_putf(out, "<svg viewBox=\"0 0 %d %zu\" role=\"img\" aria-label=\"", WIDE, count * ROW + 4);
    vc_str_put_html(out, title);
    vc_str_put(out, "\">\n");
    for (size_t i = 0; i < count; i++) {
        double wide = most > 0 ? bars[i].value / most * (WIDE - NAME - VALUE) : 0;
        vc_str_putf(out, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">", NAME - 8, i * ROW + 17);
        vc_str_put_html(out, bars[i].label);
        vc_str_putf(out, "</text><rect class=\"bar\" x=\"%d\" y=\"%zu\" width=\"%.1f\" height=\"%d\" rx=\"3\"/>", NAME,
                    i * ROW + 4, fmax(wide, 1), ROW - 8);
        vc_str_putf(out, "<text x=\"%.1f\" y=\"%zu\">", NAME + wide + 8, i * ROW + 17);
        report_number(out, (int64_t)bars[i].value);
        vc_str_put(out, "</text>\n");
    }
    vc_str_put(out, "</svg>\n");
}

void report_columns(VcStr *out, const char *title, const int64_t *bins, size_t count, double low, double high)
{
    enum { WIDE = 640, HIGH = 230, LEFT = 70, BOTTOM = 26, TOP = 8 };
    double most = 1, step = (double)(WIDE - LEFT) / (double)count;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, (double)bins[i]);
    double tick = vc_plot_tick_step(0, most, 5);
    vc_str_putf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDE, HIGH);
    vc_str_put_html(out, title);
    vc_str_put(out, "\">\n");
    for (int k = 0; k * tick <= most; k++) {
        double v = k * tick;
        double y = HIGH - BOTTOM - v / most * (HIGH - BOTTOM - TOP);
        vc_str_putf(out, "<path class=\"rule\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT,
                    y, WIDE, LEFT - 6, y + 4);
        report_number(out, (int64_t)v);
        vc_str_put(out, "</text>\n");
    }
    for (size_t i = 0; i < count; i++) {
        double tall = (double)bins[i] / most * (HIGH - BOTTOM - TOP), x = LEFT + (double)i * step;
        if (bins[i] > 0) {
            vc_str_putf(out, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", x + 1,
                        HIGH - BOTTOM - fmax(tall, 1), fmax(step - 2, 1), fmax(tall, 1));
        }
        if (low < high && i % 4 == 0) {
            vc_str_putf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"start\">%.3f</text>\n", x, HIGH - 6,
                        low + (high - low) * (double)i / (double)count);
        } else if (low >= high) {
            vc_str_putf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%zu</text>\n", x + step / 2, HIGH - 6,
                        i);
        }
    }
    vc_str_put(out, "</svg>\n");
}

void report_picture(VcStr *out, VcWorkspace *ws, int64_t image_id, int side, const char *words)
{
    uint8_t *jpeg = NULL;
    size_t n = 0;
    if (!query_picture_thumbnail(ws, image_id, side, &jpeg, &n, NULL))
        return;
    vc_str_put(out, "<figure><img alt=\"");
    vc_str_put_html(out, words);
    vc_str_put(out, "\" src=\"data:image/jpeg;base64,");
    report_base64(out, jpeg, n);
    vc_str_put(out, "\"><figcaption>");
    vc_str_put_html(out, words);
    vc_str_put(out, "</figcaption></figure>\n");
    free(jpeg);
}

// --- runs ------------------------------------------------------------------------------------------------------------

typedef struct {
    double *x, *y;
    size_t count, x_cap, y_cap;
} Curve;

enum { LOSS, HELD_OUT, RECALL, CURVES };

static void curve_add(Curve *c, double x, double y)
{
    c->x = vc_grow(c->x, &c->x_cap, c->count + 1, sizeof *c->x);
    c->y = vc_grow(c->y, &c->y_cap, c->count + 1, sizeof *c->y);
    c->x[c->count] = x;
    c->y[c->count++] = y;
}

// Means of stretches, so that at most REPORT_POINTS stay.
static void curve_thin(Curve *c)
{
    size_t each = (c->count + REPORT_POINTS - 1) / REPORT_POINTS, kept = 0;
    for (size_t i = 0; each > 1 && i < c->count; i += each) {
        size_t n = c->count - i < each ? c->count - i : each;
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += c->y[i + k];
        c->x[kept] = c->x[i + n - 1];
        c->y[kept++] = sum / (double)n;
    }
    if (each > 1)
        c->count = kept;
}

static void read_metrics(Curve curves[CURVES], const char *text, size_t n, VcStr *last)
{
    static const char *const keys[CURVES] = {"loss", "eval_loss", "t2i_r10"};
    for (size_t at = 0; at < n; at += strcspn(text + at, "\n") + 1) {
        VcJson *json = NULL;
        if (!vc_json_parse(&json, text + at, strcspn(text + at, "\n"), "metrics", NULL))
            continue;
        double step = vc_json_number(vc_json_member(json, "step"), NAN);
        for (size_t k = 0; k < CURVES; k++) {
            double y = vc_json_number(vc_json_member(json, keys[k]), NAN);
            if (isfinite(y) && isfinite(step))
                curve_add(&curves[k], step, y);
        }
        if (vc_json_member(json, "t2i_r10")) {
            vc_str_clear(last);
            vc_str_putn(last, text + at, strcspn(text + at, "\n"));
        }
        vc_json_destroy(&json);
    }
}

static void put_last(VcStr *out, const VcStr *last)
{
    static const char *const keys[] = {"step",    "eval_loss", "eval_count", "i2t_r1",  "i2t_r5",
                                       "i2t_r10", "t2i_r1",    "t2i_r5",     "t2i_r10", "chance_r10"};
    static const char *const heads[] = {
        "step", "held-out loss", "pairs",     "image to text @1", "@5", "@10", "text to image @1",
        "@5",   "@10",           "chance @10"};
    VcJson *json = NULL;
    if (last->len == 0 || !vc_json_parse(&json, last->data, last->len, "metrics", NULL))
        return;
    vc_str_put(out, "<div class=\"scroll\"><table><tr>");
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        vc_str_putf(out, "<th class=\"num\">%s</th>", heads[i]);
    vc_str_put(out, "</tr><tr>");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        vc_str_putf(out, "<td class=\"num\">%g</td>", vc_json_number(vc_json_member(json, keys[i]), NAN));
    vc_str_put(out, "</tr></table></div>\n");
    vc_json_destroy(&json);
}

bool report_run(VcStr *out, const char *dir, VcErr *err)
{
    char *path = vc_path_join(dir, "metrics.jsonl"), *text = NULL;
    size_t n = 0;
    Curve curves[CURVES] = {{0}};
    VcStr last = {0};
    bool ok = vc_read_file(&text, &n, path, MAX_METRICS, err);
    if (ok) {
        read_metrics(curves, text, n, &last);
        for (size_t k = 0; k < CURVES; k++)
            curve_thin(&curves[k]);
        const VcPlotSeries series[CURVES] = {
            {"training", "#3553c9", curves[LOSS].x, curves[LOSS].y, curves[LOSS].count, false, false, 0},
            {"held out", "#c2500a", curves[HELD_OUT].x, curves[HELD_OUT].y, curves[HELD_OUT].count, true, false, 0},
            {"recall at 10", "#0b7a5e", curves[RECALL].x, curves[RECALL].y, curves[RECALL].count, true, true, 0}};
        size_t slash = strlen(dir);
        while (slash > 1 && dir[slash - 1] == '/')
            slash--;
        char *name = vc_strndup(dir, slash);
        const VcPlot plot = {
            vc_path_base(name), "step", "loss", curves[RECALL].count ? "recall at 10 (%)" : NULL, series, CURVES};
        vc_str_put(out, "<section class=\"plot\">");
        if (curves[LOSS].count || curves[HELD_OUT].count) {
            vc_plot_svg(out, &plot);
        } else {
            vc_str_put(out, "<h3>");
            vc_str_put_html(out, vc_path_base(name));
            vc_str_put(out, "</h3><p>No step has been logged.</p>");
        }
        vc_str_put(out, "</section>\n");
        put_last(out, &last);
        free(name);
    }
    for (size_t k = 0; k < CURVES; k++) {
        free(curves[k].x);
        free(curves[k].y);
    }
    vc_str_finish(&last);
    free(text);
    free(path);
    return ok;
}
