// SPDX-License-Identifier: MIT
#include "cli/parse_lines.h"

#include "base/mem.h"
#include "base/str.h"

enum { BLOCK_LINES = 4096, BLOCK_BYTES = 4 << 20, CHUNK = 64 };

struct ParseLines {
    VcStr text;   // the captions of a block, one after the other
    size_t *ends; // [count] where each ends in `text`
    size_t count, cap;
    VcStr out[BLOCK_LINES / CHUNK]; // JSON of CHUNK captions each
    CaptionParser **parsers;        // [threads]
    size_t threads;
    VcPool *pool;
    ParseChoice choice;
};

ParseLines *cli_parse_lines_create(const ParseChoice *choice, VcPool *pool, VcErr *err)
{
    CaptionParser *first = choice->parser ? caption_parser_open(choice->parser, err) : caption_parser_create();
    if (!first)
        return NULL;
    ParseLines *l = vc_calloc(1, sizeof *l);
    l->choice = *choice;
    l->pool = pool;
    l->threads = vc_pool_threads(pool);
    l->parsers = vc_calloc(l->threads, sizeof(CaptionParser *));
    for (size_t i = 0; i < l->threads; i++)
        l->parsers[i] = i ? caption_parser_share(first) : first;
    return l;
}

void cli_parse_lines_destroy(ParseLines **lines)
{
    ParseLines *l = lines ? *lines : NULL;
    if (!l)
        return;
    for (size_t i = l->threads; i-- > 0;)
        caption_parser_destroy(&l->parsers[i]);
    for (size_t i = 0; i < BLOCK_LINES / CHUNK; i++)
        vc_str_finish(&l->out[i]);
    vc_str_finish(&l->text);
    free(l->parsers);
    free(l->ends);
    free(l);
    *lines = NULL;
}

static void put_strings(VcStr *out, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        vc_str_put(out, i ? ", " : "");
        vc_str_put_json(out, texts[i], strlen(texts[i]), false);
    }
}

static void put_line(VcStr *out, const char *line, size_t n, const CaptionParse *parse, const ParseChoice *choice)
{
    vc_str_put(out, "{\"caption\": ");
    vc_str_put_json(out, line, n, false);
    vc_str_put(out, ", \"concepts\": [");
    put_strings(out, parse->concepts, parse->concept_count);
    if (choice->attributes) {
        vc_str_put(out, "], \"attributes\": [");
        for (size_t i = 0; i < parse->attribute_count; i++) {
            const char *const pair[] = {parse->attributes[i].head, parse->attributes[i].modifier};
            vc_str_put(out, i ? ", [" : "[");
            put_strings(out, pair, 2);
            vc_str_putc(out, ']');
        }
    }
    if (choice->relations) {
        vc_str_put(out, "], \"relations\": [");
        for (size_t i = 0; i < parse->relation_count; i++) {
            const CaptionRelation *r = &parse->relations[i];
            const char *const triple[] = {r->subject, r->relation, r->object};
            vc_str_put(out, i ? ", [" : "[");
            put_strings(out, triple, 3);
            vc_str_putc(out, ']');
        }
    }
    vc_str_put(out, "]}\n");
}

static void parse_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    ParseLines *l = ctx;
    VcStr *out = &l->out[begin / CHUNK];
    unsigned flags = l->choice.pronouns ? CAPTION_PRONOUNS : 0;
    flags |= l->choice.relations ? CAPTION_RELATIONS : 0;
    vc_str_clear(out);
    for (size_t i = begin; i < end; i++) {
        size_t from = i ? l->ends[i - 1] : 0;
        const char *caption = l->text.data + from;
        CaptionParse parse;
        caption_parse(l->parsers[worker], caption, l->ends[i] - from, flags, &parse);
        put_line(out, caption, l->ends[i] - from, &parse, &l->choice);
    }
}

bool cli_parse_lines_add(ParseLines *l, const char *caption, size_t n)
{
    vc_str_putn(&l->text, caption, n);
    l->ends = vc_grow(l->ends, &l->cap, l->count + 1, sizeof *l->ends);
    l->ends[l->count++] = l->text.len;
    return l->count == BLOCK_LINES || l->text.len > BLOCK_BYTES;
}

void cli_parse_lines_run(ParseLines *l, const VcStr **out, size_t *count)
{
    vc_str_putc(&l->text, '\0'); // never NULL, also for empty lines only
    vc_parallel_for(l->pool, l->count, CHUNK, parse_chunk, l);
    *out = l->out;
    *count = (l->count + CHUNK - 1) / CHUNK;
    vc_str_clear(&l->text);
    l->count = 0;
}
