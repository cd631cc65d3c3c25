// SPDX-License-Identifier: MIT
#include "cli/stats_more.h"

#include "base/log.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "concepts/concepts.h"

#include <stdlib.h>
#include <string.h>

// Parses, opens the workspace to read. False: *status is what to return.
static bool begin(CliContext *ctx, VcWorkspace *ws, int argc, char **argv, const CliHelp *help,
                  const CliOption *options, int *status)
{
    VcErr err = {0};
    bool shown;
    *status = CLI_OK;
    if (!cli_parse(ctx, argc, argv, help, options, &shown, &err)) {
        *status = cli_error(&err);
        return false;
    }
    if (shown)
        return false;
    if ((ctx->argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx->argv[0])) &&
        vc_workspace_open(ws, ctx->workspace, VC_DB_READ, &err))
        return true;
    *status = cli_error(&err);
    cli_context_finish(ctx);
    return false;
}

static int end(CliContext *ctx, VcWorkspace *ws, bool ok, const VcErr *err)
{
    vc_workspace_close(ws);
    cli_context_finish(ctx);
    return ok ? CLI_OK : cli_error(err);
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

// --- pairs

static void print_pairs(const CliContext *ctx, const StatisticsPair *pairs, size_t count)
{
    CliTable t = {.columns = {{"concept", false, true},
                              {"with", false, true},
                              {"images", true, false},
                              {"expected", true, false},
                              {"pmi", true, false},
                              {"npmi", true, false}},
                  .column_count = 6};
    for (size_t i = 0; i < count; i++) {
        const StatisticsPair *p = &pairs[i];
        if (ctx->json) {
            VcStr s = {0};
            vc_str_put(&s, "{\"a\": ");
            vc_str_put_json(&s, p->a, strlen(p->a), false);
            vc_str_put(&s, ", \"b\": ");
            vc_str_put_json(&s, p->b, strlen(p->b), false);
            printf("%s, \"images\": %lld, \"images_a\": %lld, \"images_b\": %lld, \"pmi\": %.6f, \"npmi\": %.6f}\n",
                   s.data, (long long)p->images, (long long)p->images_a, (long long)p->images_b, p->pmi, p->npmi);
            vc_str_finish(&s);
            continue;
        }
        cli_table_put(&t, p->a);
        cli_table_put(&t, p->b);
        cli_table_putf(&t, "%lld", (long long)p->images);
        cli_table_putf(&t, "%.1f", (double)p->images / __builtin_exp2(p->pmi));
        cli_table_putf(&t, "%+.2f", p->pmi);
        cli_table_putf(&t, "%+.3f", p->npmi);
    }
    if (t.cell_count)
        cli_table_end(&t, stdout, cli_terminal_width());
}

int cmd_stats_pairs(int argc, char **argv)
{
    static const CliHelp help = {
        .name = "stats pairs",
        .summary = "concepts that images have together",
        .usage = "[options]",
        .details =
            "Pairs of mined concepts with the number of images that have both, how many chance would give, and the\n"
            "pointwise mutual information in bits (npmi: scaled to -1 ... 1). Of the 4,096 concepts of most images, "
            "or\n"
            "of one concept with all others (--concept).",
        .example = "  vicha stats pairs -w coco --by npmi --min-images 20\n  vicha stats pairs -w coco --concept dog"};
    const char *concept = NULL, *by = "npmi";
    int64_t n = 20, least = 5;
    const CliOption options[] = {
        {"concept", 0, CLI_STRING, &concept, "C", "the pairs of this one", 0, 0},
        {"by", 0, CLI_STRING, &by, "HOW", "order: images, pmi, npmi", 0, 0},
        {"min-images", 0, CLI_INT, &least, "N", "pairs of fewer images are noise", 1, 1e15},
        {"limit", 'n', CLI_INT, &n, "N", "pairs to show", 0, 1e9},
        {0},
    };
    static const char *const names[] = {"images", "pmi", "npmi"};
    CliContext ctx;
    VcWorkspace ws = {0};
    VcErr err = {0};
    int status;
    if (!begin(&ctx, &ws, argc, argv, &help, options, &status))
        return status;
    int order = 0;
    while (order < 3 && strcmp(by, names[order]) != 0)
        order++;
    StatisticsPair *pairs = NULL;
    size_t count = 0;
    bool ok = order < 3 || vc_fail(&err, VC_ERR_USAGE, "--by '%s' is not known; use images, pmi or npmi", by);
    ok = ok && statistics_pairs(&ws, concept, (StatisticsOrder)order, least, (size_t)n, &pairs, &count, &err);
    if (ok && count == 0)
        vc_info("no pair of %lld images", (long long)least);
    print_pairs(&ctx, pairs, count);
    statistics_pairs_free(&pairs, count);
    return end(&ctx, &ws, ok, &err);
}

// --- coverage

static void print_coverage(bool json, const StatisticsCoverage *c)
{
    if (json) {
        printf(
            "{\"concepts\": %lld, \"found\": %lld, \"images\": %lld, \"captions\": %lld, \"covered_captions\": %lld, "
            "\"sightings\": %lld, \"covered_sightings\": %lld, \"minable_sightings\": %lld, \"matched_sightings\": "
            "%lld, \"by_size\": {",
            (long long)c->concepts, (long long)c->found, (long long)c->images, (long long)c->captions,
            (long long)c->covered_captions, (long long)c->sightings, (long long)c->covered_sightings,
            (long long)c->minable_sightings, (long long)c->matched_sightings);
        for (int i = 0; i < STATISTICS_STEPS; i++)
            printf("%s\"%lld\": %lld", i ? ", " : "", (long long)c->step[i], (long long)c->step_sightings[i]);
        printf("}}\n");
        return;
    }
    printf("vocabulary           %10lld concepts, %lld of them (%.1f %%) among the best of some image\n",
           (long long)c->concepts, (long long)c->found, 100 * share(c->found, c->concepts));
    printf("captions             %10lld, %.1f %% with a concept of the vocabulary\n", (long long)c->captions,
           100 * share(c->covered_captions, c->captions));
    printf("concepts in captions %10lld, %.1f %% in the vocabulary\n", (long long)c->sightings,
           100 * share(c->covered_sightings, c->sightings));
    printf("found again          %10lld of %lld, %.1f %%: a concept of the caption is among the best of its image\n",
           (long long)c->matched_sightings, (long long)c->minable_sightings,
           100 * share(c->matched_sightings, c->minable_sightings));
    printf("\nthe first concepts alone cover of the concepts in captions\n");
    for (int i = 0; i < STATISTICS_STEPS && (i == 0 || c->step[i - 1] < c->concepts); i++)
        printf("  %9lld  %5.1f %%\n", (long long)c->step[i], 100 * share(c->step_sightings[i], c->sightings));
}

int cmd_stats_coverage(int argc, char **argv)
{
    static const CliHelp help = {
        .name = "stats coverage",
        .summary = "how well the vocabulary covers captions and images",
        .usage = "[options]",
        .details = "Parses all captions: which of their concepts are in the vocabulary, how many a smaller one would\n"
                   "cover, and how often a caption's concept is among the best of its image.",
        .example = "  vicha stats coverage -w coco"};
    const CliOption options[] = {{0}};
    CliContext ctx;
    VcWorkspace ws = {0};
    VcErr err = {0};
    StatisticsCoverage coverage;
    int status;
    if (!begin(&ctx, &ws, argc, argv, &help, options, &status))
        return status;
    const bool ok = statistics_coverage(&ws, &coverage, &err);
    if (ok)
        print_coverage(ctx.json, &coverage);
    return end(&ctx, &ws, ok, &err);
}

// --- sources

static bool print_source(VcWorkspace *ws, CliTable *t, bool json, const char *name, size_t top, VcErr *err)
{
    StatisticsDiff d;
    bool ok = statistics_diff(ws, NULL, ws, name, &d, err);
    const StatisticsSet *s = &d.b;
    VcStr typical = {0};
    // What marks it: concepts that are more of it than of the whole workspace.
    for (size_t i = 0, n = 0; ok && i < d.shift_count && n < top; i++) {
        if (d.shifts[i].z <= 0)
            continue;
        vc_str_put(&typical, n++ ? ", " : "");
        if (json) {
            vc_str_put_json(&typical, d.shifts[i].text, strlen(d.shifts[i].text), false);
        } else {
            vc_str_put(&typical, d.shifts[i].text);
        }
    }
    if (ok && json) {
        VcStr quoted = {0};
        vc_str_put_json(&quoted, name, strlen(name), false);
        printf("{\"source\": %s, \"images\": %lld, \"rejected\": %lld, \"captions\": %lld, \"words\": %.3f, \"width\": "
               "%.1f, "
               "\"height\": %.1f, \"mined\": %lld, \"score\": %.6f, \"best_score\": %.6f, \"divergence\": %.6f, "
               "\"typical\": [%s]}\n",
               quoted.data, (long long)s->images, (long long)s->rejected, (long long)s->captions, s->words, s->width,
               s->height, (long long)s->mined, s->score, s->best_score, d.divergence, vc_str_get(&typical));
        vc_str_finish(&quoted);
    } else if (ok) {
        cli_table_put(t, name);
        cli_table_putf(t, "%lld", (long long)s->images);
        cli_table_putf(t, "%lld", (long long)s->rejected);
        cli_table_putf(t, "%lld", (long long)s->captions);
        cli_table_putf(t, "%.1f", s->words);
        cli_table_putf(t, "%.0fx%.0f", s->width, s->height);
        cli_table_putf(t, "%.3f", s->best_score);
        cli_table_putf(t, "%.3f", d.divergence);
        cli_table_put(t, vc_str_get(&typical));
    }
    vc_str_finish(&typical);
    statistics_diff_finish(&d);
    return ok;
}

int cmd_stats_sources(int argc, char **argv)
{
    static const CliHelp help = {
        .name = "stats sources",
        .summary = "the sources of a workspace, side by side",
        .usage = "[options]",
        .details =
            "A line a source: images, rejected ones, captions and their words, mean size, mean cosine of each image's\n"
            "best concept, how far its concepts are from those of the workspace (Jensen-Shannon, bits), and the\n"
            "concepts that mark it. 'vicha diff WS --source-a A --source-b B' compares two in detail.",
        .example = "  vicha stats sources -w mixed"};
    int64_t top = 5;
    const CliOption options[] = {{"limit", 'n', CLI_INT, &top, "N", "typical concepts to show", 0, 1000}, {0}};
    CliTable t = {.columns = {{"source", false, true},
                              {"images", true, false},
                              {"rejected", true, false},
                              {"captions", true, false},
                              {"words", true, false},
                              {"size", true, false},
                              {"best", true, false},
                              {"distance", true, false},
                              {"typical", false, true}},
                  .column_count = 9};
    CliContext ctx;
    VcWorkspace ws = {0};
    VcErr err = {0};
    VcStmt *stmt = NULL;
    int status;
    if (!begin(&ctx, &ws, argc, argv, &help, options, &status))
        return status;
    bool row, ok = vc_db_prepare(ws.db, &stmt, "SELECT name FROM source ORDER BY source_id", &err);
    while (ok && (ok = vc_stmt_step(stmt, &row, &err)) && row)
        ok = print_source(&ws, &t, ctx.json, vc_column_text(stmt, 0), (size_t)top, &err);
    vc_stmt_finish(&stmt);
    if (t.cell_count)
        cli_table_end(&t, stdout, cli_terminal_width());
    return end(&ctx, &ws, ok, &err);
}
