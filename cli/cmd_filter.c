// SPDX-License-Identifier: MIT
// vicha filter: which pairs CLIP finds to fit.
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"
#include "cli/commands.h"
#include "concepts/concepts.h"

#include <stdlib.h>
#include <string.h>

static const CliHelp help = {
    .name = "filter",
    .summary = "CLIP filtering of image-caption pairs",
    .usage = "[options]",
    .details =
        "Scores every caption by its cosine with its image (text cut to the model's context, no template), then marks\n"
        "those that a rule drops: 'vicha index' leaves them out. Nothing is deleted; another run decides anew, "
        "--reset\n"
        "unmarks all. A caption stays when all rules keep it:\n"
        "  --keep 70%                 of all pairs the best int(0.7 N)\n"
        "  --captions-per-image 50%   of each image's captions the best int(0.5 n), but at least one (--allow-none: "
        "not\n"
        "                             even that, as in the original)\n"
        "  --min-score S              a cosine of at least S\n"
        "Scores stay for the next run. --dry-run shows what would happen. 'vicha concepts embed' must have been run.",
    .example = "  vicha filter -w sbu --keep 70% --dry-run",
};

// "70%" or "0.7".
static bool parse_share(const char *text, const char *option, double *share, VcErr *err)
{
    char number[32] = "";
    size_t n = strlen(text);
    bool percent = n > 0 && text[n - 1] == '%';
    if (n - percent < sizeof number)
        memcpy(number, text, n - percent);
    if (!vc_parse_double(number, share) || !(*share >= 0) || *share > (percent ? 100 : 1))
        return vc_fail(err, VC_ERR_USAGE, "--%s '%s': expected a share such as 70%% or 0.7", option, text);
    *share = percent ? *share / 100 : *share;
    return true;
}

static void print_histogram(const ConceptsFilterReport *r)
{
    enum { BAR = 50 };
    int64_t most = 1;
    for (int i = 0; i < CONCEPTS_FILTER_BINS; i++) {
        int64_t n = r->kept_bins[i] + r->dropped_bins[i];
        most = n > most ? n : most;
    }
    double width = (r->high - r->low) / CONCEPTS_FILTER_BINS;
    printf("%-9s %10s %10s\n", "cosine", "kept", "dropped");
    for (int i = 0; i < CONCEPTS_FILTER_BINS; i++) {
        char bar[BAR + 1];
        int kept = (int)(r->kept_bins[i] * BAR / most),
            all = (int)((r->kept_bins[i] + r->dropped_bins[i]) * BAR / most);
        for (int k = 0; k < all; k++)
            bar[k] = k < kept ? '#' : '-';
        bar[all] = '\0';
        printf("%9.4f %10lld %10lld %s\n", r->low + width * i, (long long)r->kept_bins[i],
               (long long)r->dropped_bins[i], bar);
    }
}

static void print_bins(const char *name, const int64_t *bins)
{
    printf(", \"%s\": [", name);
    for (int i = 0; i < CONCEPTS_FILTER_BINS; i++)
        printf("%s%lld", i ? ", " : "", (long long)bins[i]);
    printf("]");
}

static void print_report(const ConceptsFilterReport *r, bool json, bool dry)
{
    if (json) {
        printf("{\"step\": \"filter\", \"dry_run\": %s, \"captions\": %lld, \"scored\": %lld, \"kept\": %lld, "
               "\"dropped\": %lld, \"images_without\": %lld, \"low\": %.6f, \"high\": %.6f",
               dry ? "true" : "false", (long long)r->captions, (long long)r->scored, (long long)r->kept,
               (long long)r->dropped, (long long)r->images_without, r->low, r->high);
        print_bins("kept_bins", r->kept_bins);
        print_bins("dropped_bins", r->dropped_bins);
        printf("}\n");
        return;
    }
    if (dry)
        print_histogram(r);
    vc_info("filter: %lld captions (%lld scored now), %lld %s, %lld dropped; %lld images without a caption%s",
            (long long)r->captions, (long long)r->scored, (long long)r->kept, dry ? "would be kept" : "kept",
            (long long)r->dropped, (long long)r->images_without, dry ? "; nothing was marked" : "");
}

int cmd_filter(int argc, char **argv)
{
    const char *keep = NULL, *per_image = NULL, *min_score = NULL;
    ConceptsFilterOptions o = {.keep = -1, .per_image = -1};
    const CliOption options[] = {
        {"keep", 0, CLI_STRING, &keep, "SHARE", "of all pairs, the best", 0, 0},
        {"captions-per-image", 0, CLI_STRING, &per_image, "SHARE", "of the captions of each image, the best", 0, 0},
        {"allow-none", 0, CLI_FLAG, &o.allow_none, NULL, "an image may lose all its captions by that", 0, 0},
        {"min-score", 0, CLI_STRING, &min_score, "S", "cosines under S are dropped", 0, 0},
        {"dry-run", 0, CLI_FLAG, &o.dry_run, NULL, "mark nothing, show a histogram", 0, 0},
        {"reset", 0, CLI_FLAG, &o.reset, NULL, "unmark all", 0, 0},
        {"clip", 0, CLI_STRING, &o.clip, "MODEL", "the CLIP model of the vectors, if it has moved", 0, 0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[0]);
    ok = ok && (!keep || parse_share(keep, "keep", &o.keep, &err));
    ok = ok && (!per_image || parse_share(per_image, "captions-per-image", &o.per_image, &err));
    o.has_min_score = min_score != NULL;
    if (ok && min_score && !vc_parse_double(min_score, &o.min_score))
        ok = vc_fail(&err, VC_ERR_USAGE, "--min-score '%s' is no number", min_score);
    if (ok && o.reset && (keep || per_image || min_score || o.dry_run))
        ok = vc_fail(&err, VC_ERR_USAGE, "--reset goes with no other rule");
    VcWorkspace ws = {0};
    ConceptsFilterReport report;
    ok = ok && vc_workspace_open(&ws, ctx.workspace, VC_DB_WRITE, &err);
    if (ok) {
        o.pool = vc_pool_create((size_t)ctx.threads);
        ok = concepts_filter(&ws, &o, &report, &err);
        vc_pool_destroy(&o.pool);
        vc_workspace_close(&ws);
    }
    if (ok)
        print_report(&report, ctx.json, o.dry_run);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
