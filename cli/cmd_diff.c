// SPDX-License-Identifier: MIT
// vicha diff: two workspaces, or two sources of one, side by side.
#include "base/log.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "concepts/concepts.h"

#include <string.h>

static const CliHelp help = {
    .name = "diff",
    .summary = "how two workspaces, or two sources of one, differ",
    .usage = "A [B] [options]",
    .details =
        "Sizes, captions, scores, the distance of the distributions of mined concepts (Jensen-Shannon, in bits: 0 the\n"
        "same, 1 nothing in common), the cosine of the mean image vectors where both come from the same CLIP, images\n"
        "with the same bytes, and the concepts whose share has changed most surely (z: log odds ratio over its\n"
        "deviation, positive: more in B). --source-a and --source-b narrow A and B to a source; without B, both are of "
        "A.",
    .example = "  vicha diff cc3m-2022 cc3m-2026 -n 30\n"
               "  vicha diff mixed --source-a coco.json --source-b sbu.json",
};

static void put_set(VcStr *out, const char *name, const StatisticsSet *s)
{
    vc_str_putf(out,
                "\"%s\": {\"images\": %lld, \"rejected\": %lld, \"captions\": %lld, \"words\": %.3f, \"width\": %.1f, "
                "\"height\": %.1f, \"mined\": %lld, \"score\": %.6f, \"best_score\": %.6f}, ",
                name, (long long)s->images, (long long)s->rejected, (long long)s->captions, s->words, s->width,
                s->height, (long long)s->mined, s->score, s->best_score);
}

static void print_json(const StatisticsDiff *d, size_t n)
{
    VcStr out = {0};
    vc_str_putc(&out, '{');
    put_set(&out, "a", &d->a);
    put_set(&out, "b", &d->b);
    vc_str_putf(&out, "\"concepts_a\": %lld, \"concepts_b\": %lld, \"concepts_both\": %lld, \"divergence\": %.6f, ",
                (long long)d->concepts_a, (long long)d->concepts_b, (long long)d->concepts_both, d->divergence);
    vc_str_putf(&out, d->same_images < 0 ? "\"same_images\": null, " : "\"same_images\": %lld, ",
                (long long)d->same_images);
    vc_str_putf(&out, d->same_model ? "\"mean_cosine\": %.6f, " : "\"mean_cosine\": null, ", d->mean_cosine);
    vc_str_put(&out, "\"concepts\": [");
    for (size_t i = 0; i < d->shift_count && i < n; i++) {
        const StatisticsShift *s = &d->shifts[i];
        vc_str_put(&out, i ? ", {\"concept\": " : "{\"concept\": ");
        vc_str_put_json(&out, s->text, strlen(s->text), false);
        vc_str_putf(&out, ", \"a\": %lld, \"b\": %lld, \"share_a\": %.6f, \"share_b\": %.6f, \"z\": %.3f}",
                    (long long)s->a, (long long)s->b, s->share_a, s->share_b, s->z);
    }
    vc_str_put(&out, "]}\n");
    fwrite(out.data, 1, out.len, stdout);
    vc_str_finish(&out);
}

static void put_row(CliTable *t, const char *name, int digits, double a, double b)
{
    char text[64];
    cli_table_put(t, name);
    snprintf(text, sizeof text, "%.*f", digits, a);
    cli_table_put(t, text);
    snprintf(text, sizeof text, "%.*f", digits, b);
    cli_table_put(t, text);
}

static void print_people(const StatisticsDiff *d, size_t n)
{
    CliTable t = {.columns = {{"", false, false}, {"A", true, false}, {"B", true, false}}, .column_count = 3};
    put_row(&t, "images", 0, (double)d->a.images, (double)d->b.images);
    put_row(&t, "rejected", 0, (double)d->a.rejected, (double)d->b.rejected);
    put_row(&t, "captions", 0, (double)d->a.captions, (double)d->b.captions);
    put_row(&t, "words of a caption", 2, d->a.words, d->b.words);
    put_row(&t, "width", 0, d->a.width, d->b.width);
    put_row(&t, "height", 0, d->a.height, d->b.height);
    put_row(&t, "mined images", 0, (double)d->a.mined, (double)d->b.mined);
    put_row(&t, "mean cosine of concepts", 4, d->a.score, d->b.score);
    put_row(&t, "mean of the best", 4, d->a.best_score, d->b.best_score);
    put_row(&t, "concepts found", 0, (double)d->concepts_a, (double)d->concepts_b);
    cli_table_end(&t, stdout, cli_terminal_width());
    printf("\nconcepts of both         %lld\n", (long long)d->concepts_both);
    printf("divergence of concepts   %.4f bits\n", d->divergence);
    if (d->same_model)
        printf("cosine of mean vectors   %.4f\n", d->mean_cosine);
    if (d->same_images >= 0)
        printf("images of A also in B    %lld\n", (long long)d->same_images);
    if (d->shift_count == 0 || n == 0)
        return;
    printf("\nconcepts whose share changed most surely\n");
    CliTable c = {.columns = {{"concept", false, true},
                              {"A", true, false},
                              {"B", true, false},
                              {"share A", true, false},
                              {"share B", true, false},
                              {"z", true, false}},
                  .column_count = 6};
    for (size_t i = 0; i < d->shift_count && i < n; i++) {
        const StatisticsShift *s = &d->shifts[i];
        cli_table_put(&c, s->text);
        cli_table_putf(&c, "%lld", (long long)s->a);
        cli_table_putf(&c, "%lld", (long long)s->b);
        cli_table_putf(&c, "%.4f", s->share_a);
        cli_table_putf(&c, "%.4f", s->share_b);
        cli_table_putf(&c, "%+.1f", s->z);
    }
    cli_table_end(&c, stdout, cli_terminal_width());
}

int cmd_diff(int argc, char **argv)
{
    const char *source_a = NULL, *source_b = NULL;
    int64_t n = 20;
    const CliOption options[] = {
        {"limit", 'n', CLI_INT, &n, "N", "concepts to show", 0, 1e9},
        {"source-a", 0, CLI_STRING, &source_a, "NAME", "of A only this source", 0, 0},
        {"source-b", 0, CLI_STRING, &source_b, "NAME", "of B only this source", 0, 0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc == 2 || (ctx.argc == 1 && source_a && source_b) ||
              vc_fail(&err, VC_ERR_USAGE, "two workspaces are expected, or one with --source-a and --source-b");
    VcWorkspace a = {0}, b = {0};
    StatisticsDiff diff = {0};
    ok = ok && vc_workspace_open(&a, ctx.argv[0], VC_DB_READ, &err) &&
         (ctx.argc == 1 || vc_workspace_open(&b, ctx.argv[1], VC_DB_READ, &err)) &&
         statistics_diff(&a, source_a, ctx.argc == 1 ? &a : &b, source_b, &diff, &err);
    if (ok && ctx.json) {
        print_json(&diff, (size_t)n);
    } else if (ok) {
        print_people(&diff, (size_t)n);
    }
    statistics_diff_finish(&diff);
    if (a.dir)
        vc_workspace_close(&a);
    if (b.dir)
        vc_workspace_close(&b);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
