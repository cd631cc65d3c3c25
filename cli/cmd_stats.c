// SPDX-License-Identifier: MIT
// vicha stats: what a workspace holds.
#include "base/workspace.h"
#include "cli/commands.h"
#include "cli/stats_more.h"
#include "cli/table.h"
#include "concepts/concepts.h"

static void put_items(VcStr *out, const char *name, const StatsItem *items, size_t n)
{
    vc_str_putf(out, ", \"%s\": {", name);
    for (size_t i = 0; i < n; i++) {
        vc_str_put(out, i ? ", " : "");
        vc_str_put_json(out, items[i].text, strlen(items[i].text), false);
        vc_str_putf(out, ": %lld", (long long)items[i].count);
    }
    vc_str_putc(out, '}');
}

static void put_bins(VcStr *out, const char *name, const int64_t *bins)
{
    vc_str_putf(out, ", \"%s\": [", name);
    for (size_t i = 0; i < STATS_BINS; i++)
        vc_str_putf(out, "%s%lld", i ? ", " : "", (long long)bins[i]);
    vc_str_putc(out, ']');
}

static void print_json(const WorkspaceStats *s)
{
    VcStr out = {0};
    vc_str_putf(&out,
                "{\"sources\": %lld, \"images\": %lld, \"stored\": %lld, \"stored_bytes\": %lld, \"embedded\": %lld, "
                "\"mined\": %lld, \"rejected\": %lld, \"captions\": %lld, \"concepts\": %lld, \"image_concepts\": %lld",
                (long long)s->sources, (long long)s->images, (long long)s->stored, (long long)s->bytes,
                (long long)s->embedded, (long long)s->mined, (long long)s->rejected, (long long)s->captions,
                (long long)s->concepts, (long long)s->pairs);
    vc_str_put(&out, ", \"model\": ");
    if (s->model) {
        vc_str_put_json(&out, s->model, strlen(s->model), false);
    } else {
        vc_str_put(&out, "null");
    }
    put_items(&out, "rejected_by_cause", s->causes, s->cause_count);
    put_items(&out, "top_concepts", s->top, s->top_count);
    put_bins(&out, "images_by_captions", s->per_image);
    vc_str_putf(&out, ", \"score_low\": %.6f, \"score_high\": %.6f", s->score_low, s->score_high);
    put_bins(&out, "score_histogram", s->score_bins);
    vc_str_put(&out, "}\n");
    fwrite(out.data, 1, out.len, stdout);
    vc_str_finish(&out);
}

static void put_bar(VcStr *out, int64_t n, int64_t most, size_t columns)
{
    size_t length = most > 0 ? (size_t)((double)n / (double)most * (double)columns + 0.5) : 0;
    if (n > 0 && length == 0)
        length = 1;
    for (size_t i = 0; i < length; i++)
        vc_str_put(out, "█");
}

static void print_histogram(const char *title, const int64_t *bins, double low, double step, bool whole)
{
    int64_t most = 0, total = 0;
    size_t first = STATS_BINS, last = 0;
    for (size_t i = 0; i < STATS_BINS; i++) {
        most = bins[i] > most ? bins[i] : most;
        total += bins[i];
        if (bins[i]) {
            first = first == STATS_BINS ? i : first;
            last = i;
        }
    }
    if (total == 0)
        return;
    printf("\n%s\n", title);
    for (size_t i = first; i <= last; i++) {
        VcStr bar = {0};
        put_bar(&bar, bins[i], most, 40);
        if (whole) {
            printf("  %5zu%s %10lld  %s\n", i, i + 1 == STATS_BINS ? "+" : " ", (long long)bins[i], vc_str_get(&bar));
        } else {
            printf("  %6.3f %10lld  %s\n", low + step * (double)i, (long long)bins[i], vc_str_get(&bar));
        }
        vc_str_finish(&bar);
    }
}

static void print_items(const char *title, const StatsItem *items, size_t n)
{
    if (n == 0)
        return;
    printf("\n%s\n", title);
    CliTable t = {.columns = {{"", false, true}, {"", true, false}}, .column_count = 2};
    VcStr name = {0};
    for (size_t i = 0; i < n; i++) {
        vc_str_clear(&name);
        vc_str_putf(&name, "  %s", items[i].text);
        cli_table_put(&t, name.data);
        cli_table_putf(&t, "%lld", (long long)items[i].count);
    }
    vc_str_finish(&name);
    cli_table_end(&t, stdout, cli_terminal_width());
}

static void print_people(const WorkspaceStats *s)
{
    printf("images    %10lld listed from %lld source%s, %lld stored (%.1f MB), %lld rejected\n", (long long)s->images,
           (long long)s->sources, s->sources == 1 ? "" : "s", (long long)s->stored, (double)s->bytes / 1e6,
           (long long)s->rejected);
    printf("captions  %10lld\n", (long long)s->captions);
    VcStr model = {0};
    if (s->model)
        cli_put_safe(&model, s->model, strlen(s->model));
    printf("vectors   %10lld%s%s\n", (long long)s->embedded, s->model ? " by model " : "", vc_str_get(&model));
    vc_str_finish(&model);
    printf("concepts  %10lld in the vocabulary, mined for %lld images\n", (long long)s->concepts, (long long)s->mined);
    print_items("rejected, by cause", s->causes, s->cause_count);
    print_items("concepts of most images", s->top, s->top_count);
    print_histogram("images by number of captions", s->per_image, 0, 0, true);
    print_histogram("cosines of mined concepts, from", s->score_bins, s->score_low,
                    (s->score_high - s->score_low) / STATS_BINS, false);
}

static const CliCommand more[] = {
    {"pairs", cmd_stats_pairs, "concepts that images have together"},
    {"coverage", cmd_stats_coverage, "how well the vocabulary covers captions and images"},
    {"sources", cmd_stats_sources, "the sources side by side"},
};

int cmd_stats(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] != '-')
        return cli_group("stats", more, sizeof more / sizeof *more, "what a workspace holds", argc, argv);
    static const CliHelp help = {.name = "stats",
                                 .summary = "counts, histograms, failures by cause",
                                 .usage = "[options]\n       vicha stats pairs|coverage|sources [options]",
                                 .details = "What the workspace holds now; also while a stage is running. More: 'vicha "
                                            "stats pairs', 'coverage'\nand 'sources', each with its own --help.",
                                 .example = "  vicha stats -w ws --json"};
    const CliOption options[] = {{0}};
    CliContext ctx;
    VcErr err = {0};
    VcWorkspace ws = {0};
    WorkspaceStats stats = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[0]);
    ok = ok && vc_workspace_open(&ws, ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        ok = stats_collect(&ws, &stats, &err);
        vc_workspace_close(&ws);
    }
    if (ok && ctx.json) {
        print_json(&stats);
    } else if (ok) {
        print_people(&stats);
    }
    stats_finish(&stats);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
