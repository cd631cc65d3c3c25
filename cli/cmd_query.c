// SPDX-License-Identifier: MIT
// vicha query: images by concepts, captions, free text or likeness, in any mix; and SQL.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/workspace.h"
#include "cli/commands.h"
#include "cli/query_output.h"
#include "cli/query_sql.h"
#include "concepts/concepts.h"
#include "extract/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static const CliHelp help = {
    .name = "query",
    .summary = "find images by concepts, captions, free text or likeness",
    .usage = "[options] [TEXT...]",
    .details =
        "TEXT is encoded by CLIP's text encoder and images are ranked by cosine; --like ranks by likeness to an "
        "image,\n"
        "and several of them, with a TEXT or without, by the sum. Without either, images are ranked by their scores "
        "of\n"
        "the asked concepts, else by bm25 of their captions, else by number. Everything else is a filter: it is "
        "applied\n"
        "before ranking, and what is left keeps its order.\n"
        "\n"
        "--concept takes a concept or an expression: AND, OR, NOT (capitals), brackets, and the lowest cosine of one\n"
        "concept, as in 'dog >= 0.25 AND (beach OR sea) NOT people'. The score is a concept's cosine, the mean of an\n"
        "AND, the best of an OR. A name with one of these words or signs goes into double quotes.\n"
        "--caption is a full-text search (SQLite FTS5): words must all be there; OR, NOT, NEAR(a b, 5), \"a phrase\"\n"
        "and surf* are understood.\n"
        "--like takes an image's number, its key or the end of it, a file, or a URL.\n"
        "\n"
        "A search by vectors is exact. For tens of millions, 'vicha index-vectors --cells' makes an index, and\n"
        "--probe N looks into the N cells nearest to the question; index-vectors prints what share of the exact\n"
        "answer that finds. With any filter, a lowest score or behind the first page the answer is exact all the "
        "same.\n"
        "\n"
        "Paging: with -v or when there are more images, a cursor is printed to standard error; --after CURSOR goes on\n"
        "behind the last image of that page, also when images came or went in between.\n"
        "--sql runs one statement that reads, for --timeout seconds and --rows rows at most.",
    .example = "  vicha query -w ws 'a dog on the beach' --not people -n 20\n"
               "  vicha query -w ws --concept 'surfboard AND (man OR woman)' --caption 'wave*' --format csv\n"
               "  vicha query -w ws --like 42 --like photo.jpg --min-score 0.8 --split train --format html >page.html\n"
               "  vicha query -w ws --sql 'SELECT source, count(*) FROM v_image GROUP BY source'",
};

typedef struct {
    CliList with, without, captions, likes, splits, sources, tags, not_tags;
    const char *clip, *format, *thumbnails, *after, *sql;
    double min_score, timeout;
    int64_t limit, offset, rows, probe;
    bool exact, explain, count, open;
} Choice;

// The words after the options, as one text; NULL: none.
static char *join_words(const CliContext *ctx)
{
    VcStr text = {0};
    for (int i = 0; i < ctx->argc; i++)
        vc_str_putf(&text, "%s%s", i ? " " : "", ctx->argv[i]);
    return text.data;
}

static bool is_url(const char *text)
{
    return vc_has_prefix(text, "http://") || vc_has_prefix(text, "https://");
}

// What one --like names: an image of the workspace before a file, a file before a URL.
static bool read_like(QueryEngine *engine, const char *like, QueryPrompt *prompt, uint8_t **owned, VcErr *err)
{
    VcErr unknown = {0};
    if (search_find_image(query_engine_workspace(engine), like, &prompt->image_id, &unknown))
        return true;
    char *bytes = NULL;
    if (is_url(like)) {
        if (!query_fetch_image(like, owned, &prompt->size, err))
            return false;
        prompt->bytes = *owned;
        return true;
    }
    if (!vc_exists(like)) {
        *err = unknown;
        return vc_prefix(err, "--like: neither a file nor an image");
    }
    if (!vc_read_file(&bytes, &prompt->size, like, QUERY_IMAGE_BYTES, err))
        return false;
    prompt->bytes = *owned = (uint8_t *)bytes;
    return true;
}

// The vector to rank by, NULL: none is asked for.
static bool make_vector(QueryEngine *engine, const CliContext *ctx, const Choice *c, VcPool *pool, float **vector,
                        int64_t *exclude, VcErr *err)
{
    size_t n = 0, dim, most = c->likes.count + 1;
    QueryPrompt *prompts = vc_calloc(most, sizeof *prompts);
    uint8_t **owned = vc_calloc(most, sizeof *owned);
    char *text = join_words(ctx);
    bool ok = true;
    for (size_t i = 0; ok && i < c->likes.count; i++, n++)
        ok = read_like(engine, c->likes.items[i], &prompts[n], &owned[n], err);
    if (ok && c->likes.count == 1 && !prompts[0].bytes)
        *exclude = prompts[0].image_id;
    if (text)
        prompts[n++].text = text;
    if (ok && n > 0) {
        QueryEncoder *encoder = query_encoder_create(c->clip, pool);
        ok = query_encode(encoder, engine, prompts, n, vector, &dim, err);
        query_encoder_destroy(&encoder);
    }
    for (size_t i = 0; i < most; i++)
        free(owned[i]);
    free(owned);
    free(prompts);
    free(text);
    return ok;
}

static QueryTexts texts(const CliList *list)
{
    return (QueryTexts){list->items, list->count};
}

static bool print_page(QueryEngine *engine, const QueryPage *page, const Choice *c, CliFormat format, FILE *out,
                       const char *title, VcErr *err)
{
    CliHitsStyle style = {
        .format = format, .first = (size_t)c->offset + 1, .ws = query_engine_workspace(engine), .title = title};
    if (format == CLI_FORMAT_TABLE && !cli_choose_pictures(c->thumbnails, &style.pictures, err))
        return false;
    if ((format == CLI_FORMAT_HTML || style.pictures != CLI_PICTURES_NONE) && !extract_image_init(err))
        return false;
    cli_print_hits(out, page, &style);
    fflush(out);
    if (page->notice)
        vc_info("%s", page->notice);
    if (page->next && format != CLI_FORMAT_HTML) {
        vc_info("%zu of %s%lld matching images; more: --after %s", page->count, page->matched_exact ? "" : "at least ",
                (long long)page->matched, page->next);
    }
    if (c->explain)
        cli_explain(page);
    return true;
}

// The page as a file that the desktop's browser is given. The file stays: the browser reads it when it likes.
static bool open_page(QueryEngine *engine, const QueryPage *page, const Choice *c, const char *title, VcErr *err)
{
    extern char **environ;
    const char *folder = getenv("TMPDIR");
    VcStr path = {0};
    vc_str_putf(&path, "%s/vicha-query-XXXXXX.html", folder && *folder ? folder : "/tmp");
    int fd = mkostemps(path.data, 5, O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool ok = file || vc_fail_errno(err, "cannot create '%s'", path.data);
    ok = ok && print_page(engine, page, c, CLI_FORMAT_HTML, file, title, err);
    if (file && fclose(file) != 0 && ok)
        ok = vc_fail_errno(err, "cannot write '%s'", path.data);
    if (ok) {
        char opener[] = "xdg-open", *const args[] = {opener, path.data, NULL};
        pid_t child;
        int status = 0, failed = posix_spawnp(&child, opener, NULL, NULL, args, environ);
        bool shown = !failed && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
        printf("%s\n", path.data);
        if (!shown)
            vc_info("xdg-open could not show it; open the file above in a browser");
    }
    vc_str_finish(&path);
    return ok;
}

static char *title_of(const CliContext *ctx, const Choice *c)
{
    char *text = join_words(ctx);
    VcStr title = {0};
    vc_str_put(&title, text ? text : "");
    const struct {
        const CliList *list;
        const char *before;
    } parts[] = {{&c->likes, "like "}, {&c->with, ""}, {&c->without, "not "}, {&c->captions, "caption "}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (size_t k = 0; k < parts[i].list->count; k++)
            vc_str_putf(&title, "%s%s%s", title.len ? ", " : "", parts[i].before, parts[i].list->items[k]);
    }
    free(text);
    if (title.len == 0)
        vc_str_put(&title, "images");
    return title.data;
}

static bool ask(QueryEngine *engine, const CliContext *ctx, const Choice *c, VcPool *pool, CliFormat format, VcErr *err)
{
    float *vector = NULL;
    QueryPage page = {0};
    QueryRequest r = {
        .filter = {.with = texts(&c->with),
                   .without = texts(&c->without),
                   .captions = texts(&c->captions),
                   .splits = texts(&c->splits),
                   .sources = texts(&c->sources),
                   .tags = texts(&c->tags),
                   .not_tags = texts(&c->not_tags)},
        .min_score = c->min_score,
        .has_min_score = c->min_score > -2,
        .exact = c->exact,
        .probe = (size_t)c->probe,
        .limit = (size_t)c->limit,
        .offset = (size_t)c->offset,
        .cursor = c->after,
        .fields = QUERY_CAPTIONS | QUERY_CONCEPTS,
        .count = c->count,
    };
    size_t asked = c->with.count + c->without.count + c->captions.count + c->splits.count + c->sources.count +
                   c->tags.count + c->not_tags.count + c->likes.count + (size_t)ctx->argc;
    char *title = title_of(ctx, c);
    bool ok = asked > 0 || vc_fail(err, VC_ERR_USAGE,
                                   "say what to look for: TEXT, --concept, --caption, --like, --split, --source, --tag "
                                   "or --sql; see 'vicha query --help'");
    ok = ok && make_vector(engine, ctx, c, pool, &vector, &r.exclude_image, err);
    r.vector = vector;
    ok = ok && query_run(engine, &r, &page, err) &&
         (c->open ? open_page(engine, &page, c, title, err) : print_page(engine, &page, c, format, stdout, title, err));
    query_page_finish(&page);
    free(vector);
    free(title);
    return ok;
}

static bool run(const CliContext *ctx, const Choice *c, VcErr *err)
{
    CliFormat format = CLI_FORMAT_TABLE;
    QueryEngine *engine = NULL;
    if (!cli_parse_format(c->format, ctx->json, &format, err))
        return false;
    if (c->sql && ctx->argc > 0)
        return vc_fail(err, VC_ERR_USAGE, "--sql stands alone: put the statement into one pair of quotes");
    VcPool *pool = vc_pool_create((size_t)ctx->threads);
    bool ok = query_engine_open(&engine, ctx->workspace, pool, err);
    if (ok && c->sql) {
        const QuerySqlLimits limits = {c->timeout, c->rows};
        ok = cli_run_sql(query_engine_workspace(engine), c->sql, &limits, format, err);
    } else if (ok) {
        ok = ask(engine, ctx, c, pool, format, err);
    }
    query_engine_close(&engine);
    vc_pool_destroy(&pool);
    return ok;
}

int cmd_query(int argc, char **argv)
{
    Choice c = {.format = "table", .thumbnails = "auto", .min_score = -2, .limit = 10, .timeout = 10, .rows = 10000};
    const CliOption options[] = {
        {"concept", 0, CLI_LIST, &c.with, "C", "the image has this concept, or an expression (again: all of them)", 0,
         0},
        {"not", 0, CLI_LIST, &c.without, "C", "the image does not have this concept", 0, 0},
        {"caption", 0, CLI_LIST, &c.captions, "WORDS", "a caption of the image has these words", 0, 0},
        {"like", 0, CLI_LIST, &c.likes, "IMAGE", "ranked by likeness to this image: number, key, file or URL", 0, 0},
        {"split", 0, CLI_LIST, &c.splits, "NAME", "of this split (again: any of them)", 0, 0},
        {"source", 0, CLI_LIST, &c.sources, "NAME", "from this source (again: any of them)", 0, 0},
        {"tag", 0, CLI_LIST, &c.tags, "NAME", "with this tag (again: all of them)", 0, 0},
        {"not-tag", 0, CLI_LIST, &c.not_tags, "NAME", "without this tag", 0, 0},
        {"clip", 0, CLI_STRING, &c.clip, "MODEL", "where the workspace's CLIP model is now", 0, 0},
        {"min-score", 0, CLI_REAL, &c.min_score, "S", "leave lower scores out (below -1: keep all)", -2, 1},
        {"exact", 0, CLI_FLAG, &c.exact, NULL, "compare float16 vectors alone, without pre-selection", 0, 0},
        {"probe", 0, CLI_INT, &c.probe, "N", "look into the N nearest cells of the index only (0: exact)", 0, 65536},
        {"limit", 'n', CLI_INT, &c.limit, "N", "images a page", 1, QUERY_MAX_LIMIT},
        {"offset", 0, CLI_INT, &c.offset, "N", "pass over so many images", 0, 1e15},
        {"after", 0, CLI_STRING, &c.after, "CURSOR", "go on behind a page", 0, 0},
        {"count", 0, CLI_FLAG, &c.count, NULL, "count all matching images, whatever it costs", 0, 0},
        {"format", 0, CLI_STRING, &c.format, "F", "table, jsonl, csv, paths or html", 0, 0},
        {"thumbnails", 0, CLI_STRING, &c.thumbnails, "HOW", "pictures in the terminal: auto, kitty, sixel or none", 0,
         0},
        {"open", 0, CLI_FLAG, &c.open, NULL, "show the page in the browser", 0, 0},
        {"explain", 0, CLI_FLAG, &c.explain, NULL, "what was done, and the time of each part", 0, 0},
        {"sql", 0, CLI_STRING, &c.sql, "SELECT", "run a statement that reads", 0, 0},
        {"timeout", 0, CLI_REAL, &c.timeout, "S", "seconds for --sql", 0.001, 1e6},
        {"rows", 0, CLI_INT, &c.rows, "N", "rows for --sql", 1, 1e12},
        {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    if (c.limit > QUERY_MAX_LIMIT)
        c.limit = QUERY_MAX_LIMIT;
    bool ok = run(&ctx, &c, &err);
    const CliList *const lists[] = {&c.with,   &c.without, &c.captions, &c.likes,
                                    &c.splits, &c.sources, &c.tags,     &c.not_tags};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]->items);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
