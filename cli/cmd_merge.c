// SPDX-License-Identifier: MIT
// vicha merge: workspaces that were extracted apart become one.
#include "base/log.h"
#include "cli/commands.h"
#include "extract/extract.h"

#include <inttypes.h>

static const CliHelp help = {
    .name = "merge",
    .summary = "join workspaces that were extracted apart, without copying pixels",
    .usage = "[options] PART...",
    .details =
        "PARTs are workspaces: the ones of 'vicha extract --shard I/N', of other machines, or of other sources. Their\n"
        "rows go into the database of -w DIR, which is made when it is not there; their finished shards get the next\n"
        "numbers in DIR/images, without gaps, as links to the same files. An image is known by its source and its "
        "name\n"
        "there, so merging again adds nothing twice, and what a PART has made since is taken by merging once more.\n"
        "Vectors and concepts are not taken: run 'vicha concepts' in DIR.\n"
        "With --link soft the PARTs must stay where they are; with hard they may be removed.",
    .example = "  vicha merge -w laion laion/part-*\n"
               "  vicha merge -w all --link soft /mnt/a/cc3m /mnt/b/coco",
};

static void print_json(const ExtractMergeReport *r)
{
    printf("{\"parts\": %" PRIu64 ", \"shards_linked\": %" PRIu64 ", \"images_added\": %" PRIu64
           ", \"captions_added\": %" PRIu64 ", \"stored_added\": %" PRIu64 ", \"rejected_added\": %" PRIu64
           ", \"unfinished\": %" PRIu64 ", \"stored\": %" PRIu64 ", \"rejected\": %" PRIu64 ", \"waiting\": %" PRIu64
           "}\n",
           r->parts, r->shards, r->images, r->captions, r->stored, r->rejected, r->unfinished, r->total_stored,
           r->total_rejected, r->total_waiting);
}

static void print_text(const ExtractMergeReport *r)
{
    printf("joined    %8" PRIu64 " workspaces, %" PRIu64 " shards linked\n", r->parts, r->shards);
    printf("stored    %8" PRIu64 "  (%" PRIu64 " added)\n", r->total_stored, r->stored);
    printf("rejected  %8" PRIu64 "  (%" PRIu64 " added)\n", r->total_rejected, r->rejected);
    if (r->total_waiting)
        printf("waiting   %8" PRIu64 "  in no part yet\n", r->total_waiting);
}

static int run(const CliContext *ctx, ExtractLink link)
{
    VcWorkspace ws;
    ExtractMergeReport report = {0};
    VcErr err = {0};
    bool ok = vc_workspace_open(&ws, ctx->workspace, VC_DB_CREATE, &err);
    ok = ok && extract_merge(&ws, ctx->argv, (size_t)ctx->argc, link, &report, &err);
    vc_workspace_close(&ws);
    if (!ok)
        return cli_error(&err);
    if (report.unfinished) {
        vc_warn("%" PRIu64
                " images lie in shards that are still written; let 'vicha extract' end there and merge again",
                report.unfinished);
    }
    if (report.without_vectors) {
        vc_warn("vectors and concepts of %" PRIu64 " workspaces are not taken; run 'vicha concepts -w %s'",
                report.without_vectors, ctx->workspace);
    }
    if (ctx->json) {
        print_json(&report);
    } else if (!ctx->quiet) {
        print_text(&report);
    }
    return CLI_OK;
}

int cmd_merge(int argc, char **argv)
{
    const char *how = "hard";
    const CliOption options[] = {
        {"link", 0, CLI_STRING, &how, "HOW", "hard | soft | copy: how a shard gets into DIR/images", 0, 0},
        {0},
    };
    CliContext ctx;
    bool help_shown;
    VcErr err = {0};
    if (!cli_parse(&ctx, argc, argv, &help, options, &help_shown, &err))
        return cli_error(&err);
    if (help_shown)
        return CLI_OK;
    static const char *const words[] = {"hard", "soft", "copy"};
    size_t link = 0;
    while (link < 3 && strcmp(how, words[link]) != 0)
        link++;
    bool ok = link < 3 || vc_fail(&err, VC_ERR_USAGE, "--link %s: expected one of hard, soft, copy", how);
    if (ok && ctx.argc == 0)
        ok = vc_fail(&err, VC_ERR_USAGE, "no PART is given; see 'vicha merge --help'");
    const int status = ok ? run(&ctx, (ExtractLink)link) : cli_error(&err);
    cli_context_finish(&ctx);
    return status;
}
