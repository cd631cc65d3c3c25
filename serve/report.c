// SPDX-License-Identifier: MIT
// One page about a workspace: no script, nothing fetched.
#include "serve/report_parts.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "concepts/concepts.h"
#include "extract/extract.h"
#include "serve/serve.h"

#include <dirent.h>
#include <time.h>

enum { THUMBNAIL = 144, PER_CONCEPT = 7, MAX_RUNS = 64, EXAMPLES = 3 };

static const char style[] =
    "<style>:root{color-scheme:light dark;--bg:#f7f7f9;--panel:#fff;--line:#d5d7de;--text:#1b1d26;--soft:#555a6b;"
    "--bar:#3553c9}@media (prefers-color-scheme:dark){:root{--bg:#14161c;--panel:#1d2028;--line:#363b48;--text:#e9ebf1;"
    "--soft:#a9afbf;--bar:#9db2ff}}*{box-sizing:border-box}body{margin:0 auto;max-width:980px;padding:2rem 1rem 4rem;"
    "background:var(--bg);color:var(--text);font:15px/1.5 system-ui,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif}"
    "h1{font-size:1.8rem;margin:0}h2{font-size:1.2rem;margin:2.2rem 0 .7rem}h3{font-size:1rem;margin:1.1rem 0 .4rem}"
    ".soft,figcaption,th{color:var(--soft)}.tiles{display:grid;gap:.8rem;margin:1.2rem 0;grid-template-columns:"
    "repeat(auto-fill,minmax(135px,1fr))}.tiles div,.panel{background:var(--panel);border:1px solid var(--line);"
    "border-radius:10px;padding:.7rem 1rem;overflow-wrap:anywhere}.tiles b{display:block;font-size:1.4rem}"
    ".strip{display:grid;gap:.7rem;grid-template-columns:repeat(auto-fill,minmax(118px,1fr))}figure{margin:0;min-width:"
    "0}"
    "figure img{width:100%;aspect-ratio:1;object-fit:cover;border-radius:7px;display:block;border:1px solid "
    "var(--line)}"
    "figcaption{font-size:.8rem;line-height:1.3;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "th,td{padding:.35em .7em;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}.num{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:normal}"
    ".scroll{overflow-x:auto}svg{display:block;width:100%;height:auto}.panel svg text{fill:var(--soft);font-size:12px}"
    ".bar{fill:var(--bar)}.rule{stroke:var(--line);fill:none}.plot{background:#fff;border:1px solid var(--line);"
    "border-radius:10px;padding:.5rem;margin:1rem 0}@media print{body{background:#fff}}</style>\n";

static void put_tile(VcStr *out, int64_t value, const char *words)
{
    vc_str_put(out, "<div><b>");
    report_number(out, value);
    vc_str_putf(out, "</b>%s</div>\n", words);
}

static void put_head(VcStr *out, const char *dir, const WorkspaceStats *s)
{
    char day[64];
    time_t now = (time_t)vc_unix_time();
    struct tm parts;
    char *whole = realpath(dir, NULL);
    const char *path = whole ? whole : dir;
    strftime(day, sizeof day, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &parts));
    vc_str_put(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                    "content=\"width=device-width,initial-scale=1\"><title>");
    vc_str_put_html(out, vc_path_base(path));
    vc_str_put(out, " · vicha</title>\n");
    vc_str_put(out, style);
    vc_str_put(out, "</head><body><h1>");
    vc_str_put_html(out, vc_path_base(path));
    vc_str_put(out, "</h1><p class=\"soft\">");
    vc_str_put_html(out, path);
    vc_str_putf(out, " · %s · vicha " VICHA_VERSION "</p>\n<div class=\"tiles\">", day);
    put_tile(out, s->images, "images listed");
    put_tile(out, s->stored, "stored");
    put_tile(out, s->rejected, "rejected");
    put_tile(out, s->captions, "captions");
    put_tile(out, s->concepts, "concepts");
    put_tile(out, s->mined, "images mined");
    vc_str_put(out, "</div>\n");
    if (s->model) {
        vc_str_put(out, "<p>Vectors by <strong>");
        vc_str_put_html(out, s->model);
        vc_str_put(out, "</strong></p>\n");
    }
    free(whole);
}

static void put_items(VcStr *out, const char *title, const StatsItem *items, size_t count)
{
    ReportBar bars[STATS_CAUSES + STATS_TOP];
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        bars[i] = (ReportBar){items[i].text, (double)items[i].count};
    vc_str_putf(out, "<h2>%s</h2><div class=\"panel\">", title);
    report_bars(out, title, bars, count);
    vc_str_put(out, "</div>\n");
}

static size_t used_bins(const int64_t *bins)
{
    size_t n = STATS_BINS;
    while (n > 1 && bins[n - 1] == 0)
        n--;
    return n;
}

static void put_histograms(VcStr *out, const WorkspaceStats *s)
{
    if (s->pairs > 0) {
        vc_str_put(out, "<h2>Cosines of mined concepts</h2><div class=\"panel\">");
        report_columns(out, "Histogram of the cosines of mined concepts", s->score_bins, STATS_BINS, s->score_low,
                       s->score_high);
        vc_str_put(out, "</div>\n");
    }
    if (s->images > 0) {
        vc_str_put(out, "<h2>Captions of an image</h2><div class=\"panel\">");
        report_columns(out, "Images by number of captions", s->per_image, used_bins(s->per_image), 0, 0);
        vc_str_put(out, "</div>\n");
    }
}

// Pictures of one statement (?1: a number, ?2: how many): image_id and words.
static bool put_strip(VcStr *out, VcWorkspace *ws, const char *sql, int64_t number, size_t most, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    vc_bind_int(stmt, 1, number);
    vc_bind_int(stmt, 2, (int64_t)most);
    bool row = true, ok = true;
    vc_str_put(out, "<div class=\"strip\">");
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        VcStr words = {0};
        const char *text = vc_column_text(stmt, 1);
        size_t n = text ? strlen(text) : 0, cut = n > 90 ? 87 : n;
        while (cut < n && cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80)
            cut--;
        vc_str_putn(&words, text ? text : "", cut);
        vc_str_put(&words, cut < n ? "…" : "");
        report_picture(out, ws, vc_column_int(stmt, 0), THUMBNAIL, vc_str_get(&words));
        vc_str_finish(&words);
    }
    vc_str_put(out, "</div>\n");
    vc_stmt_finish(&stmt);
    return ok;
}

// Best images of the most frequent concepts, PER_CONCEPT each.
static bool put_concept_pictures(VcStr *out, VcWorkspace *ws, size_t pictures, VcErr *err)
{
    static const char best[] = "SELECT ic.image_id, printf('%.3f', ic.score / 32767.0) FROM image_concept ic"
                               " WHERE ic.concept_id = ?1 ORDER BY ic.score DESC, ic.image_id LIMIT ?2";
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT c.concept_id, c.text, t.images FROM concept_stat t JOIN concept c USING(concept_id)"
                       " WHERE t.images > 0 ORDER BY t.images DESC, c.concept_id LIMIT ?1",
                       err))
        return false;
    vc_bind_int(stmt, 1, (int64_t)((pictures + PER_CONCEPT - 1) / PER_CONCEPT));
    bool row = true, ok = true, first = true;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        vc_str_put(out, first ? "<h2>Best images of frequent concepts</h2>\n<h3>" : "<h3>");
        first = false;
        vc_str_put_html(out, vc_column_text(stmt, 1));
        vc_str_put(out, " <span class=\"soft\">");
        report_number(out, vc_column_int(stmt, 2));
        vc_str_put(out, " images</span></h3>\n");
        ok = put_strip(out, ws, best, vc_column_int(stmt, 0), PER_CONCEPT, err);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// Images at even distances over the whole workspace, so the sample is the same every time.
static bool put_samples(VcStr *out, VcWorkspace *ws, size_t most, VcErr *err)
{
    int64_t last;
    if (!vc_db_int(ws->db, "SELECT max(image_id) FROM image_file", 0, &last, err))
        return false;
    if (last == 0 || most == 0)
        return true;
    vc_str_put(out, "<h2>A sample of the images</h2>\n");
    return put_strip(out, ws,
                     "WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k + 1 < ?2)"
                     " SELECT DISTINCT f.image_id, coalesce((SELECT text FROM caption c WHERE c.image_id = f.image_id"
                     " ORDER BY caption_id LIMIT 1), (SELECT key FROM image i WHERE i.image_id = f.image_id))"
                     " FROM n JOIN image_file f ON f.image_id = (SELECT min(image_id) FROM image_file"
                     " WHERE image_id >= 1 + ?1 * k / ?2) ORDER BY 1",
                     last, most, err);
}

static bool put_examples(VcStr *out, VcWorkspace *ws, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT status, key, error FROM (SELECT status, key, error, image_id, row_number() OVER"
                       " (PARTITION BY status ORDER BY image_id) AS n FROM image WHERE status < 0) WHERE n <= ?1"
                       " ORDER BY status DESC, image_id",
                       err))
        return false;
    vc_bind_int(stmt, 1, EXAMPLES);
    bool row = true, ok = true, first = true;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (first) {
            vc_str_put(
                out, "<h3>Examples</h3><div class=\"scroll\"><table><tr><th>Cause</th><th>What</th><th>Why</th></tr>");
        }
        first = false;
        vc_str_putf(out, "<tr><td>%s</td><td>", extract_cause_name((int)vc_column_int(stmt, 0)));
        vc_str_put_html(out, vc_column_text(stmt, 1));
        vc_str_put(out, "</td><td>");
        vc_str_put_html(out, vc_column_text(stmt, 2));
        vc_str_put(out, "</td></tr>\n");
    }
    vc_str_put(out, first ? "" : "</table></div>\n");
    vc_stmt_finish(&stmt);
    return ok;
}

static void put_sources(VcStr *out, const WorkspaceStats *s)
{
    vc_str_put(out, "<h2>Sources</h2><div class=\"scroll\"><table><tr><th>Source</th><th>Where</th><th>Licence</th>"
                    "<th class=\"num\">Images</th><th class=\"num\">Rejected</th></tr>\n");
    for (int64_t i = 0; i < s->sources; i++) {
        const StatsSource *one = &s->by_source[i];
        const char *const texts[] = {one->name, one->uri, one->licence};
        vc_str_put(out, "<tr>");
        for (size_t k = 0; k < 3; k++) {
            vc_str_put(out, "<td>");
            vc_str_put_html(out, texts[k]);
            vc_str_put(out, "</td>");
        }
        vc_str_put(out, "<td class=\"num\">");
        report_number(out, one->images);
        vc_str_put(out, "</td><td class=\"num\">");
        report_number(out, one->rejected);
        vc_str_put(out, "</td></tr>\n");
    }
    vc_str_put(out, "</table></div>\n");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// WORKSPACE/runs/* that have metrics, in the order of their names.
static size_t find_runs(const VcWorkspace *ws, char *runs[MAX_RUNS])
{
    char *folder = vc_workspace_path(ws, "runs");
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && count < MAX_RUNS && (e = readdir(dir));) {
        if (*e->d_name == '.')
            continue;
        char *run = vc_path_join(folder, e->d_name), *metrics = vc_path_join(run, "metrics.jsonl");
        if (vc_exists(metrics)) {
            runs[count++] = run;
        } else {
            free(run);
        }
        free(metrics);
    }
    if (dir)
        closedir(dir);
    free(folder);
    qsort(runs, count, sizeof *runs, by_name);
    return count;
}

static bool put_runs(VcStr *out, const VcWorkspace *ws, const ReportOptions *options, VcErr *err)
{
    char *own[MAX_RUNS];
    size_t count = find_runs(ws, own);
    bool ok = true;
    if (count + options->run_count > 0)
        vc_str_put(out, "<h2>Training</h2>\n");
    for (size_t i = 0; i < count; i++) {
        ok = ok && report_run(out, own[i], err);
        free(own[i]);
    }
    for (size_t i = 0; ok && i < options->run_count; i++)
        ok = report_run(out, options->runs[i], err);
    return ok;
}

bool serve_report(const ReportOptions *options, const char *path, VcErr *err)
{
    VcWorkspace ws = {0};
    WorkspaceStats s = {0};
    VcStr out = {0};
    if (!extract_image_init(err) || !vc_workspace_open(&ws, options->workspace, VC_DB_READ, err))
        return false;
    bool ok = stats_collect(&ws, &s, err);
    if (ok) {
        put_head(&out, options->workspace, &s);
        ok = put_samples(&out, &ws, options->pictures / 3, err);
        put_items(&out, "Concepts of most images", s.top, s.top_count);
        ok = ok && put_concept_pictures(&out, &ws, options->pictures - options->pictures / 3, err);
        put_histograms(&out, &s);
        put_sources(&out, &s);
        put_items(&out, "Rejected, by cause", s.causes, s.cause_count);
        ok = ok && put_examples(&out, &ws, err) && report_extract(&out, &ws, err) && put_runs(&out, &ws, options, err);
        vc_str_put(&out, "</body></html>\n");
        ok = ok && vc_write_file(path, out.data, out.len, err);
    }
    stats_finish(&s);
    vc_str_finish(&out);
    vc_workspace_close(&ws);
    return ok;
}
