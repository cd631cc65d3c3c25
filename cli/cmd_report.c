// SPDX-License-Identifier: MIT
// vicha report: one self-contained HTML page about a workspace and its runs.
#include "base/file.h"
#include "cli/commands.h"
#include "serve/serve.h"

static const CliHelp help = {
    .name = "report",
    .summary = "one self-contained page about a workspace and its runs",
    .usage = "[options] -o FILE.html",
    .details =
        "Pictures are inside, plots are SVG, there is no script and nothing is fetched: the file can be mailed and\n"
        "printed. Runs in WORKSPACE/runs are found by themselves; --run names others.",
    .example = "  vicha report -w ws -o report.html\n"
               "  vicha report -w ws --run /data/runs/long --pictures 24 -o report.html",
};

int cmd_report(int argc, char **argv)
{
    CliList runs = {0};
    const char *out = NULL;
    int64_t pictures = 48;
    const CliOption options[] = {
        {"output", 'o', CLI_STRING, &out, "FILE", "where the page goes", 0, 0},
        {"run", 0, CLI_LIST, &runs, "DIR", "a run outside of the workspace (again: several)", 0, 0},
        {"pictures", 0, CLI_INT, &pictures, "N", "most pictures shown, about 5 kB each", 0, 2000},
        {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    const ReportOptions report = {ctx.workspace, runs.items, runs.count, (size_t)pictures};
    uint64_t size = 0;
    bool ok = ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[0]);
    ok = ok && (out || vc_fail(&err, VC_ERR_USAGE, "say where the page goes: -o FILE.html"));
    ok = ok && serve_report(&report, out, &err) && vc_file_size(out, &size, &err);
    if (ok && out && ctx.json) {
        VcStr line = {0};
        vc_str_put(&line, "{\"file\": ");
        vc_str_put_json(&line, out, strlen(out), false);
        vc_str_putf(&line, ", \"bytes\": %llu}\n", (unsigned long long)size);
        fwrite(line.data, 1, line.len, stdout);
        vc_str_finish(&line);
    } else if (ok && out && !ctx.quiet) {
        printf("%s  %.1f kB\n", out, (double)size / 1000);
    }
    free(runs.items);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
