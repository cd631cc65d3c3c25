// SPDX-License-Identifier: MIT
// vicha bench parse: captions parsed a second, with tokens found and JSON written.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "cli/parse_lines.h"

#include <errno.h>
#include <stdlib.h>

static const CliHelp help = {
    .name = "bench parse",
    .summary = "captions parsed a second",
    .usage = "[FILE] [options]",
    .details =
        "Parses the captions of FILE (one a line), or made ones of 11 words on average, on one thread and on all:\n"
        "concepts alone, and with attributes and relations. Each figure is the best of --rounds; tokeniser and\n"
        "the writing of JSON into memory are included, reading the captions is not.",
    .example = "  vicha bench parse captions.txt",
};

typedef struct {
    VcStr text;
    size_t *ends;
    size_t count, cap;
} Captions;

static void add_caption(Captions *c, const char *text, size_t n)
{
    vc_str_putn(&c->text, text, n);
    c->ends = vc_grow(c->ends, &c->cap, c->count + 1, sizeof *c->ends);
    c->ends[c->count++] = c->text.len;
}

static const char *pick(VcRng *rng, const char *const *words, size_t n)
{
    return words[vc_rng_below(rng, n)];
}

#define PICK(words) pick(rng, words, sizeof(words) / sizeof *(words))

static void put_noun_phrase(VcStr *s, VcRng *rng)
{
    static const char *const starts[] = {"a", "a", "a", "the", "the", "two", "three", "an old", "his", "some"};
    static const char *const adjectives[] = {"young",   "brown", "small", "large", "wooden", "red",   "blue",   "green",
                                             "smiling", "wet",   "white", "black", "tall",   "empty", "crowded"};
    static const char *const nouns[] = {
        "man",       "woman",    "dog",   "girl",    "boy",    "street", "beach",    "ball",        "child",
        "horse",     "table",    "group", "people",  "field",  "water",  "shirt",    "soccer ball", "skateboard",
        "ice cream", "mountain", "river", "t-shirt", "window", "cat",    "building", "bicycle",     "umbrella",
        "train",     "kitchen",  "plate", "pizza",   "fence",  "snow",   "grass",    "camera"};
    vc_str_put(s, PICK(starts));
    if (vc_rng_below(rng, 5) < 2)
        vc_str_putf(s, " %s", PICK(adjectives));
    vc_str_putf(s, " %s", PICK(nouns));
}

static void make_captions(Captions *c, size_t n)
{
    static const char *const links[] = {"in",           "on",
                                        "with",         "near",
                                        "in front of",  "next to",
                                        "of",           "and",
                                        "behind",       "is riding",
                                        "runs through", "holding",
                                        "wearing",      "sits on",
                                        "standing by",  "is jumping over",
                                        "looking at",   "are playing with",
                                        "walks down"};
    VcRng one, *rng = &one;
    VcStr s = {0};
    vc_rng_seed(rng, 1);
    for (size_t i = 0; i < n; i++) {
        vc_str_clear(&s);
        put_noun_phrase(&s, rng);
        for (size_t k = 1 + vc_rng_below(rng, 4); k > 0; k--) {
            vc_str_putf(&s, " %s ", PICK(links));
            put_noun_phrase(&s, rng);
        }
        vc_str_put(&s, vc_rng_below(rng, 2) ? " ." : "");
        add_caption(c, s.data, s.len);
    }
    vc_str_finish(&s);
}

static bool read_captions(Captions *c, const char *path, VcErr *err)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return vc_fail_errno(err, "cannot open '%s'", path);
    char *line = NULL;
    size_t cap = 0;
    errno = 0;
    for (ssize_t n; (n = getline(&line, &cap, in)) >= 0;)
        add_caption(c, line, (size_t)n - (n > 0 && line[n - 1] == '\n'));
    bool ok = !ferror(in) || vc_fail_errno(err, "cannot read '%s'", path);
    ok = ok && (c->count > 0 || vc_fail(err, VC_ERR_USAGE, "'%s' holds no caption", path));
    free(line);
    fclose(in);
    return ok;
}

static bool measure(const Captions *c, bool relations, size_t threads, int64_t rounds, VcErr *err)
{
    const ParseChoice choice = {.attributes = relations, .relations = relations};
    VcPool *pool = vc_pool_create(threads);
    ParseLines *lines = cli_parse_lines_create(&choice, pool, err);
    double best = 0;
    size_t bytes = 0;
    for (int64_t round = 0; lines && round < rounds && !vc_interrupted(); round++) {
        const VcStr *out;
        size_t n;
        double begin = vc_now();
        bytes = 0;
        for (size_t i = 0; i < c->count; i++) {
            size_t from = i ? c->ends[i - 1] : 0;
            if (!cli_parse_lines_add(lines, c->text.data + from, c->ends[i] - from) && i + 1 < c->count)
                continue;
            cli_parse_lines_run(lines, &out, &n);
            for (size_t k = 0; k < n; k++)
                bytes += out[k].len;
        }
        double rate = (double)c->count / (vc_now() - begin);
        best = rate > best ? rate : best;
    }
    if (lines) {
        printf(
            "{\"bench\": \"parse\", \"captions_per_s\": %.0f, \"threads\": %zu, \"relations\": %s, \"captions\": %zu, "
            "\"caption_bytes\": %.1f, \"json_bytes\": %.1f}\n",
            best, threads, relations ? "true" : "false", c->count, (double)c->text.len / (double)c->count,
            (double)bytes / (double)c->count);
    }
    bool ok = lines != NULL;
    cli_parse_lines_destroy(&lines);
    vc_pool_destroy(&pool);
    return ok;
}

int bench_parse(int argc, char **argv)
{
    int64_t captions = 50000, rounds = 3;
    const CliOption options[] = {
        {"captions", 0, CLI_INT, &captions, "N", "how many are made", 1, 1e7},
        {"rounds", 0, CLI_INT, &rounds, "N", "how often each is measured", 1, 1000},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    Captions c = {0};
    bool ok = ctx.argc <= 1 || vc_fail(&err, VC_ERR_USAGE, "one FILE is expected, %d are given", ctx.argc);
    if (ok && ctx.argc == 1) {
        ok = read_captions(&c, ctx.argv[0], &err);
    } else if (ok) {
        make_captions(&c, (size_t)captions);
    }
    for (int k = 0; k < 4 && ok; k++) {
        size_t threads = k % 2 ? (size_t)ctx.threads : 1;
        if (k % 2 == 0 || threads > 1)
            ok = measure(&c, k >= 2, threads, rounds, &err);
    }
    vc_str_finish(&c.text);
    free(c.ends);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
