// SPDX-License-Identifier: MIT
// vicha concepts train-parser: annotated captions to the packed model of the caption parser.
#include "base/log.h"
#include "base/pool.h"
#include "cli/commands.h"
#include "cli/concepts_show.h"
#include "concepts/concepts.h"

static const CliHelp help = {
    .name = "concepts train-parser",
    .summary = "annotated captions to a model of the caption parser",
    .usage = "SILVER -o FILE [options]",
    .details =
        "SILVER is a TSV file, plain or gzip: for each caption a line for each token (token, space follows, lemma, "
        "own\n"
        "tag, universal part of speech, dependency label, head as an offset, role H P C M O) and an empty line;\n"
        "docs/caption-parser.md says how to make one with spaCy. FILE is what --parser of 'vicha parse' and 'vicha\n"
        "concepts parse' takes; the one in the program is concepts/captions.model of the source tree. The same input,\n"
        "options and seed give the same bytes on any number of threads.\n"
        "--holdout N keeps every Nth caption out of the training and scores the model on them.",
    .example = "  vicha concepts train-parser silver.tsv.gz -o captions.model --holdout 20",
};

static void print_report(const CaptionTrainReport *r, bool json)
{
    if (json) {
        printf("{\"captions\": %lld, \"tokens\": %lld, \"bytes\": %lld, \"seconds\": %.1f, \"held_out\": %lld",
               (long long)r->captions, (long long)r->tokens, (long long)r->bytes, r->seconds, (long long)r->held_out);
        if (r->held_out > 0) {
            printf(", \"tags\": %.4f, \"heads_f1\": %.4f, \"exact_set\": %.4f, \"attributes_f1\": %.4f, "
                   "\"relations_f1\": %.4f",
                   r->tags, r->heads, r->exact, r->attributes, r->relations);
        }
        printf("}\n");
        return;
    }
    vc_info("%lld captions, %lld tokens: a model of %lld bytes in %.1f s", (long long)r->captions, (long long)r->tokens,
            (long long)r->bytes, r->seconds);
    if (r->held_out > 0) {
        vc_info("on %lld captions held out: parts of speech %.4f, heads F1 %.4f (same set %.4f), attributes F1 %.4f, "
                "relations F1 %.4f",
                (long long)r->held_out, r->tags, r->heads, r->exact, r->attributes, r->relations);
    }
}

int cmd_concepts_train_parser(int argc, char **argv)
{
    CaptionTrainOptions o = caption_train_defaults;
    const char *out = NULL;
    int64_t seed = (int64_t)o.seed;
    const CliOption options[] = {
        {"output", 'o', CLI_STRING, &out, "FILE", "the model", 0, 0},
        {"seed", 0, CLI_INT, &seed, "N", "of the order of captions", 0, 1e15},
        {"holdout", 0, CLI_INT, &o.holdout, "N", "keep every Nth caption out and score on it; 0: none", 0, 1e6},
        {"tag-features", 0, CLI_INT, &o.tag_features, "N", "kept for parts of speech", 1, 1e6},
        {"role-features", 0, CLI_INT, &o.role_features, "N", "kept for roles", 1, 1e6},
        {"step-features", 0, CLI_INT, &o.step_features, "N", "kept for the tree", 1, 1e6},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = true;
    if (ctx.argc != 1) {
        ok = vc_fail(&err, VC_ERR_USAGE, "one file of annotated captions is expected, %d are given", ctx.argc);
    } else if (!out) {
        ok = vc_fail(&err, VC_ERR_USAGE, "-o FILE is missing: where the model goes");
    } else {
        CaptionTrainReport report;
        o.seed = (uint64_t)seed;
        o.pool = vc_pool_create((size_t)ctx.threads);
        ok = caption_train(ctx.argv[0], out, &o, &report, &err);
        vc_pool_destroy(&o.pool);
        if (ok)
            print_report(&report, ctx.json);
    }
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
