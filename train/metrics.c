// SPDX-License-Identifier: MIT
#include "train/metrics.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/plot.h"
#include "base/str.h"

#include <inttypes.h>
#include <math.h>

enum { MAX_METRICS = 1 << 30 };

static bool drop_later_lines(const char *path, uint64_t step, VcErr *err)
{
    char *text;
    size_t n;
    if (!vc_exists(path))
        return true;
    if (!vc_read_file(&text, &n, path, MAX_METRICS, err))
        return false;
    VcStr kept = {0};
    for (size_t at = 0; at < n;) {
        size_t line = strcspn(text + at, "\n");
        bool whole = text[at + line] == '\n'; // a line cut by a kill has no end
        VcJson *json = NULL;
        if (whole && vc_json_parse(&json, text + at, line, path, NULL) &&
            vc_json_int(vc_json_member(json, "step"), INT64_MAX) <= (int64_t)step)
            vc_str_putn(&kept, text + at, line + 1);
        vc_json_destroy(&json);
        at += line + whole;
        if (!whole)
            break;
    }
    bool ok = kept.len == n || vc_write_file(path, vc_str_get(&kept), kept.len, err);
    vc_str_finish(&kept);
    free(text);
    return ok;
}

bool train_metrics_open(TrainMetrics *m, const char *run, uint64_t step, bool tensorboard, VcErr *err)
{
    m->path = vc_path_join(run, "metrics.jsonl");
    if (!drop_later_lines(m->path, step, err))
        return false;
    m->file = fopen(m->path, "a");
    if (!m->file)
        return vc_fail_errno(err, "cannot open '%s'", m->path);
    return !tensorboard || train_events_open(&m->events, run, err);
}

bool train_metrics_close(TrainMetrics *m, VcErr *err)
{
    bool ok = !m->file || fclose(m->file) == 0 || vc_fail_errno(err, "cannot write '%s'", m->path);
    ok = train_events_close(&m->events, ok ? err : NULL) && ok;
    free(m->path);
    *m = (TrainMetrics){0};
    return ok;
}

static bool put_line(TrainMetrics *m, const VcStr *line, VcErr *err)
{
    if (fwrite(line->data, 1, line->len, m->file) != line->len || fflush(m->file) != 0)
        return vc_fail_errno(err, "cannot write '%s'", m->path);
    VcJson *json = NULL;
    bool ok = !m->events ||
              (vc_json_parse(&json, line->data, line->len, m->path, err) && train_events_add(m->events, json, err));
    vc_json_destroy(&json);
    return ok;
}

bool train_metrics_log(TrainMetrics *m, const TrainLine *l, VcErr *err)
{
    VcStr line = {0};
    vc_str_putf(&line, "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"loss\": %.7g, ", l->step, l->epoch, l->loss);
    if (l->part_count > 1) {
        for (size_t i = 0; i < l->part_count; i++)
            vc_str_putf(&line, "\"loss_%s\": %.7g, ", l->parts[i].name, l->parts[i].value);
        vc_str_putf(&line, "\"alpha\": %.6g, ", l->alpha);
    }
    vc_str_putf(&line,
                "\"lr\": %.9g, \"grad_norm\": %.6g, "
                "\"images_per_s\": %.2f, \"wait_share\": %.4f, ",
                l->lr, l->grad_norm, l->images_per_s, l->wait_share);
    if (l->processes > 1)
        vc_str_putf(&line, "\"processes\": %zu, \"sync_share\": %.4f, ", l->processes, l->sync_share);
    vc_str_putf(&line, "\"rss_mib\": %.1f, \"seconds\": %.3f}\n", (double)vc_peak_rss() / 1048576.0, l->seconds);
    bool ok = put_line(m, &line, err);
    vc_str_finish(&line);
    return ok;
}

bool train_metrics_recall(TrainMetrics *m, uint64_t step, uint64_t epoch, const TrainRecall *r, VcErr *err)
{
    VcStr line = {0};
    vc_str_putf(&line,
                "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"eval_loss\": %.7g, \"eval_count\": %zu, "
                "\"i2t_r1\": %.3f, \"i2t_r5\": %.3f, \"i2t_r10\": %.3f, \"t2i_r1\": %.3f, \"t2i_r5\": %.3f, "
                "\"t2i_r10\": %.3f, \"chance_r1\": %.3f, \"chance_r5\": %.3f, \"chance_r10\": %.3f}\n",
                step, epoch, r->loss, r->count, r->image_to_text[0], r->image_to_text[1], r->image_to_text[2],
                r->text_to_image[0], r->text_to_image[1], r->text_to_image[2], r->chance[0], r->chance[1],
                r->chance[2]);
    bool ok = put_line(m, &line, err);
    vc_str_finish(&line);
    return ok;
}

typedef struct {
    double *x, *y;
    size_t count, x_cap, y_cap;
} Points;

static void add_point(Points *p, double x, double y)
{
    p->x = vc_grow(p->x, &p->x_cap, p->count + 1, sizeof *p->x);
    p->y = vc_grow(p->y, &p->y_cap, p->count + 1, sizeof *p->y);
    p->x[p->count] = x;
    p->y[p->count++] = y;
}

static void free_points(Points *p)
{
    free(p->x);
    free(p->y);
}

enum { LOSS, SMOOTH, EVAL_LOSS, RECALL, CURVES };

static void read_points(const char *text, size_t n, Points curves[CURVES])
{
    double smooth = 0, weight = 0;
    for (size_t at = 0; at < n;) {
        size_t line = strcspn(text + at, "\n");
        VcJson *json = NULL;
        if (line > 0 && vc_json_parse(&json, text + at, line, "metrics", NULL)) {
            double step = vc_json_number(vc_json_member(json, "step"), NAN);
            double loss = vc_json_number(vc_json_member(json, "loss"), NAN);
            double eval = vc_json_number(vc_json_member(json, "eval_loss"), NAN);
            if (isfinite(loss)) {
                smooth = 0.8 * smooth + 0.2 * loss; // without bias towards the zero it starts from
                weight = 0.8 * weight + 0.2;
                add_point(&curves[LOSS], step, loss);
                add_point(&curves[SMOOTH], step, smooth / weight);
            }
            if (isfinite(eval)) {
                add_point(&curves[EVAL_LOSS], step, eval);
                add_point(&curves[RECALL], step, vc_json_number(vc_json_member(json, "t2i_r10"), NAN));
            }
        }
        vc_json_destroy(&json);
        at += line + 1;
    }
}

bool train_metrics_plot(const char *run, const char *name, VcErr *err)
{
    char *from = vc_path_join(run, "metrics.jsonl"), *to = vc_path_join(run, "loss.svg"), *text = NULL;
    size_t n = 0;
    bool ok = vc_read_file(&text, &n, from, MAX_METRICS, err);
    if (ok) {
        Points c[CURVES] = {0};
        read_points(text, n, c);
        const VcPlotSeries series[CURVES] = {
            {"training loss", "#5b9bd5", c[LOSS].x, c[LOSS].y, c[LOSS].count, false, false, 0.45},
            {"training loss, smoothed", "#1f4e79", c[SMOOTH].x, c[SMOOTH].y, c[SMOOTH].count, false, false, 0},
            {"held-out loss", "#c0392b", c[EVAL_LOSS].x, c[EVAL_LOSS].y, c[EVAL_LOSS].count, true, false, 0},
            {"held-out text-to-image recall at 10", "#2e8b57", c[RECALL].x, c[RECALL].y, c[RECALL].count, true, true,
             0},
        };
        VcStr title = {0}, svg = {0};
        vc_str_putf(&title, "%s: loss while training", name);
        const VcPlot plot = {title.data, "step", "loss", c[RECALL].count ? "recall at 10 (%)" : NULL, series, CURVES};
        vc_plot_svg(&svg, &plot);
        ok = vc_write_file(to, svg.data, svg.len, err);
        vc_str_finish(&title);
        vc_str_finish(&svg);
        for (size_t i = 0; i < CURVES; i++)
            free_points(&c[i]);
    }
    free(text);
    free(from);
    free(to);
    return ok;
}
