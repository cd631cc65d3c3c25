// SPDX-License-Identifier: MIT
// vicha parse: lines of captions to JSON lines of concepts, a line for a line, in flat memory.
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"
#include "cli/commands.h"
#include "concepts/concepts.h"

#include <errno.h>

enum { BLOCK_LINES = 4096, BLOCK_BYTES = 4 << 20, CHUNK = 64 };

static const CliHelp help = {
    .name = "parse",
    .summary = "captions to concepts, attributes and relations",
    .usage = "[options] [FILE...] < captions > concepts.jsonl",
    .details =
        "Reads one caption a line from the FILEs, or from standard input, and writes one JSON object a line:\n"
        "\"caption\", \"concepts\" (lower-cased heads of the noun phrases, plural kept, compounds in reverse order as "
        "in\n"
        "the original), \"attributes\" ([head, modifier] pairs) and \"relations\" ([subject, relation, object], by "
        "rules:\n"
        "a first version). As many lines out as in; an empty line gives empty lists. Pronouns are left out unless\n"
        "--reference.",
    .example = "  echo 'Two women and a little girl are eating ice cream .' | vicha parse",
};

typedef struct {
    VcStr text;   // the lines of a block, one after the other, without their ends
    size_t *ends; // [count] where each ends in `text`
    size_t count, cap;
    VcStr *out;              // [chunks] JSON of CHUNK lines each
    CaptionParser **parsers; // [threads]
    bool reference;
} Block;

static void put_line(VcStr *out, const char *line, size_t n, const CaptionParse *parse)
{
    vc_str_put(out, "{\"caption\": ");
    vc_str_put_json(out, line, n, false);
    vc_str_put(out, ", \"concepts\": [");
    for (size_t i = 0; i < parse->concept_count; i++) {
        vc_str_put(out, i ? ", " : "");
        vc_str_put_json(out, parse->concepts[i], strlen(parse->concepts[i]), false);
    }
    vc_str_put(out, "], \"attributes\": [");
    for (size_t i = 0; i < parse->attribute_count; i++) {
        vc_str_put(out, i ? ", [" : "[");
        vc_str_put_json(out, parse->attributes[i].head, strlen(parse->attributes[i].head), false);
        vc_str_put(out, ", ");
        vc_str_put_json(out, parse->attributes[i].modifier, strlen(parse->attributes[i].modifier), false);
        vc_str_putc(out, ']');
    }
    vc_str_put(out, "], \"relations\": [");
    for (size_t i = 0; i < parse->relation_count; i++) {
        const CaptionRelation *r = &parse->relations[i];
        vc_str_put(out, i ? ", [" : "[");
        vc_str_put_json(out, r->subject, strlen(r->subject), false);
        vc_str_put(out, ", ");
        vc_str_put_json(out, r->relation, strlen(r->relation), false);
        vc_str_put(out, ", ");
        vc_str_put_json(out, r->object, strlen(r->object), false);
        vc_str_putc(out, ']');
    }
    vc_str_put(out, "]}\n");
}

static void parse_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Block *b = ctx;
    VcStr *out = &b->out[begin / CHUNK];
    vc_str_clear(out);
    for (size_t i = begin; i < end; i++) {
        size_t from = i ? b->ends[i - 1] : 0;
        CaptionParse parse;
        caption_parse(b->parsers[worker], b->text.data + from, b->ends[i] - from, b->reference, &parse);
        put_line(out, b->text.data + from, b->ends[i] - from, &parse);
    }
}

static bool write_block(Block *b, VcPool *pool, VcErr *err)
{
    vc_str_putc(&b->text, '\0'); // never NULL, also for empty lines only
    vc_parallel_for(pool, b->count, CHUNK, parse_chunk, b);
    for (size_t i = 0; i * CHUNK < b->count; i++) {
        if (fwrite(b->out[i].data, 1, b->out[i].len, stdout) != b->out[i].len)
            return vc_fail_errno(err, "cannot write to standard output");
    }
    vc_str_clear(&b->text);
    b->count = 0;
    return true;
}

static bool parse_stream(Block *b, VcPool *pool, FILE *in, const char *name, VcErr *err)
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
        vc_str_putn(&b->text, line, (size_t)n);
        b->ends = vc_grow(b->ends, &b->cap, b->count + 1, sizeof *b->ends);
        b->ends[b->count++] = b->text.len;
        if (b->count == BLOCK_LINES || b->text.len > BLOCK_BYTES)
            ok = write_block(b, pool, err);
    }
    if (ok && ferror(in))
        ok = vc_fail_errno(err, "cannot read '%s'", name);
    free(line);
    return ok && write_block(b, pool, err);
}

int cmd_parse(int argc, char **argv)
{
    bool reference = false, help_shown;
    const CliOption options[] = {
        {"reference", 0, CLI_FLAG, &reference, NULL, "keep pronouns, as the original does", 0, 0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    if (!cli_parse(&ctx, argc, argv, &help, options, &help_shown, &err))
        return cli_error(&err);
    if (help_shown)
        return CLI_OK;
    size_t threads = (size_t)ctx.threads;
    VcPool *pool = vc_pool_create(threads);
    Block b = {.reference = reference};
    b.out = vc_calloc(BLOCK_LINES / CHUNK, sizeof *b.out);
    b.parsers = vc_calloc(threads, sizeof(CaptionParser *));
    for (size_t i = 0; i < threads; i++)
        b.parsers[i] = i ? caption_parser_share(b.parsers[0]) : caption_parser_create();
    bool ok = ctx.argc > 0 || parse_stream(&b, pool, stdin, "standard input", &err);
    for (int i = 0; ok && i < ctx.argc; i++) {
        FILE *in = fopen(ctx.argv[i], "rb");
        ok = in ? parse_stream(&b, pool, in, ctx.argv[i], &err) : vc_fail_errno(&err, "cannot open '%s'", ctx.argv[i]);
        if (in)
            fclose(in);
    }
    for (size_t i = threads; i-- > 0;)
        caption_parser_destroy(&b.parsers[i]);
    for (size_t i = 0; i < BLOCK_LINES / CHUNK; i++)
        vc_str_finish(&b.out[i]);
    vc_str_finish(&b.text);
    free(b.parsers);
    free(b.out);
    free(b.ends);
    vc_pool_destroy(&pool);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
