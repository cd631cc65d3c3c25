// SPDX-License-Identifier: MIT
// vicha parse: lines of captions to JSON lines of concepts, a line for a line, in flat memory.
#include "base/log.h"
#include "cli/commands.h"
#include "cli/parse_lines.h"

#include <errno.h>

static const CliHelp help = {
    .name = "parse",
    .summary = "captions to concepts, attributes and relations",
    .usage = "[options] [FILE...] < captions > concepts.jsonl",
    .details =
        "Reads one caption a line from the FILEs, or from standard input, and writes one JSON object a line:\n"
        "\"caption\", \"concepts\" (lower-cased heads of the noun phrases, plural kept, compounds in reverse order as "
        "in\n"
        "the original), \"attributes\" ([head, modifier] pairs) and \"relations\" ([subject, relation, object]).\n"
        "As many lines out as in; an empty line gives empty lists. Pronouns are left out unless --reference.\n"
        "--no-relations is several times faster.",
    .example = "  echo 'Two women and a little girl are eating ice cream .' | vicha parse",
};

static bool write_answers(ParseLines *lines, VcErr *err)
{
    const VcStr *out;
    size_t n;
    cli_parse_lines_run(lines, &out, &n);
    for (size_t i = 0; i < n; i++) {
        if (fwrite(out[i].data, 1, out[i].len, stdout) != out[i].len)
            return vc_fail_errno(err, "cannot write to standard output");
    }
    return true;
}

static bool parse_stream(ParseLines *lines, FILE *in, const char *name, VcErr *err)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool ok = true;
    errno = 0;
    while (ok && !vc_interrupted() && (n = getline(&line, &cap, in)) >= 0) {
        if (n > 0 && line[n - 1] == '\n')
            n--;
        if (n > 0 && line[n - 1] == '\r')
            n--;
        if (cli_parse_lines_add(lines, line, (size_t)n))
            ok = write_answers(lines, err);
    }
    if (ok && ferror(in))
        ok = vc_fail_errno(err, "cannot read '%s'", name);
    free(line);
    return ok && write_answers(lines, err);
}

int cmd_parse(int argc, char **argv)
{
    ParseChoice choice = {.attributes = true, .relations = true};
    bool help_shown;
    const CliOption options[] = {
        {"reference", 0, CLI_FLAG, &choice.pronouns, NULL, "keep pronouns, as the original does", 0, 0},
        {"attributes", 0, CLI_FLAG, &choice.attributes, NULL, "write attributes", 0, 0},
        {"relations", 0, CLI_FLAG, &choice.relations, NULL, "write relations", 0, 0},
        {"parser", 0, CLI_STRING, &choice.parser, "FILE", "a model of 'vicha concepts train-parser'", 0, 0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    if (!cli_parse(&ctx, argc, argv, &help, options, &help_shown, &err))
        return cli_error(&err);
    if (help_shown)
        return CLI_OK;
    VcPool *pool = vc_pool_create((size_t)ctx.threads);
    ParseLines *lines = cli_parse_lines_create(&choice, pool, &err);
    bool ok = lines && (ctx.argc > 0 || parse_stream(lines, stdin, "standard input", &err));
    for (int i = 0; ok && i < ctx.argc; i++) {
        FILE *in = fopen(ctx.argv[i], "rb");
        ok = in ? parse_stream(lines, in, ctx.argv[i], &err) : vc_fail_errno(&err, "cannot open '%s'", ctx.argv[i]);
        if (in)
            fclose(in);
    }
    cli_parse_lines_destroy(&lines);
    vc_pool_destroy(&pool);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
