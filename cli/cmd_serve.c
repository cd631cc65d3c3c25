// SPDX-License-Identifier: MIT
// vicha serve: the workspace as a local web page.
#include "base/clock.h"
#include "base/log.h"
#include "cli/commands.h"
#include "serve/serve.h"

#include <signal.h>
#include <time.h>

static const CliHelp help = {
    .name = "serve",
    .summary = "the workspace as a web page on this machine",
    .usage = "[options]",
    .details =
        "Prints the page's address and serves until Ctrl-C: search by words, concepts and pictures, an image's\n"
        "concepts and neighbours, statistics, failures, training runs as they go, export. The program answers other\n"
        "tools in JSON under /api/ (docs/API.md). It only reads, and may run while a stage writes.\n"
        "Only this machine is let in. To let others in give --bind and --token; who asks must know the token. There "
        "is\n"
        "no encryption: across a network that is not yours, use ssh -L instead.",
    .example = "  vicha serve -w ws\n"
               "  vicha serve -w ws --bind 0.0.0.0 --token \"$(openssl rand -hex 16)\" --host lab.example.org\n"
               "  ssh -L 8650:127.0.0.1:8650 lab   # then the page is at http://127.0.0.1:8650/ here",
};

static void print_address(const ServeServer *server, const ServeOptions *options, bool json)
{
    const char *bind = options->bind ? options->bind : "127.0.0.1";
    bool six = strchr(bind, ':') != NULL;
    VcStr url = {0};
    vc_str_putf(&url, "http://%s%s%s:%u/", six ? "[" : "", bind, six ? "]" : "", (unsigned)serve_port(server));
    if (json) {
        printf("{\"url\": \"%s\", \"port\": %u}\n", url.data, (unsigned)serve_port(server));
    } else {
        printf("%s\n", url.data);
    }
    fflush(stdout);
    vc_str_finish(&url);
}

// SIGINT and SIGTERM set the flag; a short wait keeps this thread idle without losing one that comes in between.
static void wait_for_signal(void)
{
    const struct timespec pause = {0, 100 * 1000 * 1000};
    while (!vc_interrupted())
        nanosleep(&pause, NULL);
}

int cmd_serve(int argc, char **argv)
{
    CliList hosts = {0};
    int64_t port = SERVE_DEFAULT_PORT;
    const char *bind = NULL, *token = NULL, *clip = NULL;
    const CliOption options[] = {
        {"port", 0, CLI_INT, &port, "N", "port to listen at; 0: any free one", 0, 65535},
        {"bind", 0, CLI_STRING, &bind, "ADDRESS", "numeric address to listen at; beyond 127.0.0.1 it needs --token", 0,
         0},
        {"token", 0, CLI_STRING, &token, "WORD", "what every request must carry (Bearer, or asked for by the page)", 0,
         0},
        {"host", 0, CLI_LIST, &hosts, "NAME", "a further name this machine is reached by (again: several)", 0, 0},
        {"clip", 0, CLI_STRING, &clip, "MODEL", "where the workspace's CLIP model is now", 0, 0},
        {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    signal(SIGPIPE, SIG_IGN);
    ServeServer *server = NULL;
    ServeOptions serve = {.workspace = ctx.workspace,
                          .bind = bind,
                          .port = port,
                          .token = token,
                          .hosts = hosts.items,
                          .host_count = hosts.count,
                          .clip = clip,
                          .threads = (size_t)ctx.threads};
    bool ok = ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[0]);
    ok = ok && serve_start(&server, &serve, &err);
    if (ok) {
        print_address(server, &serve, ctx.json);
        vc_info("serving '%s'; Ctrl-C ends it", ctx.workspace);
        wait_for_signal();
    }
    serve_stop(&server);
    free(hosts.items);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
