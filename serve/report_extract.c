// SPDX-License-Identifier: MIT
// Runs of `vicha extract`: throughput and success over time, from the tables extract_run and extract_sample.
#include "serve/report_parts.h"

#include "base/mem.h"
#include "base/plot.h"

#include <math.h>
#include <time.h>

enum { PLOTS = 3, ROWS = 20, LEAST_POINTS = 3 };

// One run, cut into stretches of at least a second, REPORT_POINTS at most.
typedef struct {
    double *at, *rate, *success; // end of the stretch; images/s and per cent stored in it
    size_t count, at_cap, rate_cap, success_cap;
} History;

static void history_finish(History *h)
{
    free(h->at);
    free(h->rate);
    free(h->success);
}

static void history_add(History *h, double at, double rate, double success)
{
    h->at = vc_grow(h->at, &h->at_cap, h->count + 1, sizeof *h->at);
    h->rate = vc_grow(h->rate, &h->rate_cap, h->count + 1, sizeof *h->rate);
    h->success = vc_grow(h->success, &h->success_cap, h->count + 1, sizeof *h->success);
    h->at[h->count] = at;
    h->rate[h->count] = rate;
    h->success[h->count++] = success;
}

static bool read_history(History *h, VcWorkspace *ws, int64_t run, double seconds, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, "SELECT at, stored, rejected FROM extract_sample WHERE run = ?1 ORDER BY at",
                       err))
        return false;
    vc_bind_int(stmt, 1, run);
    const double stretch = fmax(0.9, seconds / REPORT_POINTS);
    double before = 0, stored_before = 0, rejected_before = 0;
    bool row = true, ok = true;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        const double at = vc_column_double(stmt, 0), stored = vc_column_double(stmt, 1);
        const double rejected = vc_column_double(stmt, 2);
        // The last sample may come right behind another: a rate of a tenth of a second says nothing.
        if (at - before < stretch && !(h->count == 0 && at > 0 && at >= seconds))
            continue;
        const double good = stored - stored_before, all = good + rejected - rejected_before;
        history_add(h, at, all / (at - before), all > 0 ? good * 100 / all : NAN);
        before = at;
        stored_before = stored;
        rejected_before = rejected;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static void put_day(VcStr *out, int64_t when)
{
    char text[64];
    const time_t t = (time_t)when;
    struct tm parts;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", gmtime_r(&t, &parts));
    vc_str_put(out, text);
}

static void put_plot(VcStr *out, History *h, int64_t run, int64_t started)
{
    static const double zero = 0;
    const double seconds = h->at[h->count - 1];
    const double unit = seconds > 3 * 3600 ? 3600 : seconds > 300 ? 60 : 1;
    for (size_t i = 0; i < h->count; i++)
        h->at[i] /= unit;
    const bool dots = h->count < 30;
    const VcPlotSeries series[] = {
        {NULL, "none", &zero, &zero, 1, false, false, 0}, // rates are seen from zero
        {"images/s", "#3553c9", h->at, h->rate, h->count, dots, false, 0},
        {"stored (%)", "#0b7a5e", h->at, h->success, h->count, dots, true, 0},
    };
    VcStr title = {0};
    vc_str_putf(&title, "extract, run %lld, ", (long long)run);
    put_day(&title, started);
    const VcPlot plot = {title.data, unit > 60 ? "hours" : unit > 1 ? "minutes" : "seconds",
                         "images/s", "stored (%)",
                         series,     sizeof series / sizeof *series};
    vc_str_put(out, "<section class=\"plot\">");
    vc_plot_svg(out, &plot);
    vc_str_put(out, "</section>\n");
    vc_str_finish(&title);
}

static bool put_plots(VcStr *out, VcWorkspace *ws, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(
            ws->db, &stmt,
            "SELECT run, started, (SELECT max(at) FROM extract_sample s WHERE s.run = r.run) FROM extract_run"
            " r ORDER BY run DESC",
            err))
        return false;
    bool row = true, ok = true;
    for (size_t plots = 0; plots < PLOTS && (ok = vc_stmt_step(stmt, &row, err)) && row;) {
        History h = {0};
        const int64_t run = vc_column_int(stmt, 0), started = vc_column_int(stmt, 1);
        ok = read_history(&h, ws, run, vc_column_double(stmt, 2), err);
        if (ok && h.count >= LEAST_POINTS) {
            put_plot(out, &h, run, started);
            plots++;
        }
        history_finish(&h);
        if (!ok)
            break;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// The last runs, newest first; the last sample of a run is its end, or as far as it came.
static bool put_table(VcStr *out, VcWorkspace *ws, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(
            ws->db, &stmt,
            "SELECT r.run, r.started, r.finished IS NULL, s.at, s.stored, s.rejected, s.retries, s.bytes_read,"
            " (SELECT max(memory) FROM extract_sample m WHERE m.run = r.run) FROM extract_run r"
            " JOIN extract_sample s USING(run) WHERE s.at = (SELECT max(at) FROM extract_sample l"
            " WHERE l.run = r.run) ORDER BY r.run DESC LIMIT ?1",
            err))
        return false;
    vc_bind_int(stmt, 1, ROWS);
    bool row = true, ok = true;
    vc_str_put(out, "<div class=\"scroll\"><table><tr><th>Run</th><th>Started</th><th class=\"num\">Seconds</th>"
                    "<th class=\"num\">Stored</th><th class=\"num\">Rejected</th><th class=\"num\">Images/s</th>"
                    "<th class=\"num\">Retries</th><th class=\"num\">MiB read</th><th class=\"num\">Memory, MiB</th>"
                    "</tr>\n");
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        const double seconds = vc_column_double(stmt, 3);
        const int64_t stored = vc_column_int(stmt, 4), rejected = vc_column_int(stmt, 5);
        vc_str_putf(out, "<tr><td>%lld%s</td><td>", (long long)vc_column_int(stmt, 0),
                    vc_column_int(stmt, 2) ? " (not finished)" : "");
        put_day(out, vc_column_int(stmt, 1));
        vc_str_putf(out, "</td><td class=\"num\">%.1f</td><td class=\"num\">", seconds);
        report_number(out, stored);
        vc_str_put(out, "</td><td class=\"num\">");
        report_number(out, rejected);
        vc_str_putf(out, "</td><td class=\"num\">%.1f</td><td class=\"num\">",
                    seconds > 0 ? (double)(stored + rejected) / seconds : 0);
        report_number(out, vc_column_int(stmt, 6));
        vc_str_putf(out, "</td><td class=\"num\">%.1f</td><td class=\"num\">%.0f</td></tr>\n",
                    vc_column_double(stmt, 7) / (1 << 20), vc_column_double(stmt, 8) / (1 << 20));
    }
    vc_str_put(out, "</table></div>\n");
    vc_stmt_finish(&stmt);
    return ok;
}

bool report_extract(VcStr *out, VcWorkspace *ws, VcErr *err)
{
    int64_t tables, runs = 0;
    if (!vc_db_int(ws->db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('extract_run', 'extract_sample')", 0,
                   &tables, err) ||
        (tables == 2 && !vc_db_int(ws->db, "SELECT count(DISTINCT run) FROM extract_sample", 0, &runs, err)))
        return false;
    if (runs == 0)
        return true;
    vc_str_put(out, "<h2>Extraction over time</h2>\n");
    return put_plots(out, ws, err) && put_table(out, ws, err);
}
