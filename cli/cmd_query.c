// SPDX-License-Identifier: MIT
// vicha query: images by concepts, captions, free text or likeness, in any mix.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/workspace.h"
#include "cli/commands.h"
#include "cli/concepts_show.h"
#include "extract/extract.h"
#include "nn/nn.h"

static const CliHelp help = {
    .name = "query",
    .summary = "find images by concepts, captions, free text or likeness",
    .usage = "[options] [TEXT...]",
    .details =
        "TEXT is encoded by CLIP's text encoder and images are ranked by cosine; --like ranks by likeness to an "
        "image.\n"
        "Without either, images are ranked by their cosine with the asked concepts. --concept, --not and --caption "
        "are\n"
        "filters: they are applied before ranking. --concept looks at the mined concepts of an image; --caption is a\n"
        "full-text search: words must all be there; OR, NOT, \"a phrase\" and surf* are understood.",
    .example = "  vicha query -w ws 'a dog on the beach' --not people -n 20\n"
               "  vicha query -w ws --concept surfboard --concept man --caption 'wave OR waves' --format csv\n"
               "  vicha query -w ws --like 42 --min-score 0.8",
};

typedef struct {
    CliList with, without, captions;
    const char *like, *clip, *format;
    double min_score;
    int64_t limit;
} Choice;

static bool open_clip(VcWorkspace *ws, const char *given, ClipModel **model, VcErr *err)
{
    char *path = NULL;
    if (!given && !vc_meta_get(ws, "active_model_path", &path, err))
        return false;
    if (!given && !path) {
        return vc_fail(err, VC_ERR_USAGE,
                       "this workspace has no vectors yet; run 'vicha concepts --clip MODEL' first, then ask by text");
    }
    bool ok = clip_open(model, given ? given : path, err);
    if (!ok && !given)
        vc_prefix(err, "cannot open the model that made the vectors (give another place with --clip MODEL)");
    free(path);
    return ok;
}

static bool encode_file(const ClipModel *model, VcPool *pool, const char *path, float *out, VcErr *err)
{
    char *bytes;
    size_t n, side = clip_info(model)->image_size;
    if (!vc_read_file(&bytes, &n, path, (size_t)64 << 20, err))
        return false;
    float *pixels = vc_alloc_aligned(3 * side * side, sizeof *pixels);
    bool ok = clip_preprocess(model, (const uint8_t *)bytes, n, pixels, err) || vc_prefix(err, "'%s'", path);
    if (ok)
        clip_encode_images(model, pool, pixels, 1, out);
    free(pixels);
    free(bytes);
    return ok;
}

// The words after the options, as one text.
static char *join_words(const CliContext *ctx)
{
    VcStr text = {0};
    for (int i = 0; i < ctx->argc; i++)
        vc_str_putf(&text, "%s%s", i ? " " : "", ctx->argv[i]);
    return text.data;
}

// What images are compared with: *vector is NULL when neither text nor likeness is asked. A file is only taken for
// --like when no image of the workspace has that name.
static bool make_vector(VcWorkspace *ws, const CliContext *ctx, const Choice *c, VcPool *pool, float **vector,
                        int64_t *exclude, VcErr *err)
{
    size_t dim;
    *vector = NULL;
    *exclude = -1;
    VcErr unknown = {0};
    if (c->like && ctx->argc > 0)
        return vc_fail(err, VC_ERR_USAGE, "give either TEXT or --like, not both");
    if (c->like && search_find_image(ws, c->like, exclude, &unknown))
        return search_image_vector(ws, *exclude, vector, &dim, err);
    *exclude = -1;
    if (c->like && !vc_exists(c->like)) {
        *err = unknown;
        return vc_prefix(err, "--like: neither a file nor an image");
    }
    if (!c->like && ctx->argc == 0)
        return true;
    ClipModel *model = NULL;
    if (!nn_blas_check(err) || !extract_image_init(err) || !open_clip(ws, c->clip, &model, err))
        return false;
    float *out = vc_alloc(clip_info(model)->dim, sizeof *out);
    char *text = join_words(ctx);
    int64_t have;
    bool ok = vc_db_int(ws->db,
                        "SELECT dim FROM model WHERE model_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE"
                        " key = 'active_model')",
                        0, &have, err);
    if (ok && have != (int64_t)clip_info(model)->dim) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     "the model has vectors of %zu numbers, this workspace's have %lld: it was made with "
                     "another model",
                     clip_info(model)->dim, (long long)have);
    }
    ok = ok && (c->like ? encode_file(model, pool, c->like, out, err)
                        : clip_encode_texts(model, pool, (const char *const *)&text, 1, out, err));
    clip_close(&model);
    free(text);
    if (ok) {
        *vector = out;
    } else {
        free(out);
    }
    return ok;
}

static void add_terms(SearchTerm *terms, size_t *n, const CliList *list, SearchTermKind kind)
{
    for (size_t i = 0; i < list->count; i++)
        terms[(*n)++] = (SearchTerm){kind, list->items[i]};
}

static bool ask(VcWorkspace *ws, const CliContext *ctx, const Choice *c, CliFormat format, VcErr *err)
{
    SearchQuery q = {.limit = (size_t)c->limit, .min_score = c->min_score, .has_min_score = c->min_score > -2};
    SearchTerm *terms = vc_calloc(c->with.count + c->without.count + c->captions.count + 1, sizeof *terms);
    add_terms(terms, &q.term_count, &c->with, SEARCH_CONCEPT);
    add_terms(terms, &q.term_count, &c->without, SEARCH_NOT_CONCEPT);
    add_terms(terms, &q.term_count, &c->captions, SEARCH_CAPTION);
    q.terms = terms;
    q.pool = vc_pool_create((size_t)ctx->threads);
    float *vector = NULL;
    SearchResult result = {0};
    bool ok = q.term_count || ctx->argc || c->like ||
              vc_fail(err, VC_ERR_USAGE,
                      "say what to look for: TEXT, --concept, --caption or --like; see 'vicha query --help'");
    ok = ok && make_vector(ws, ctx, c, q.pool, &vector, &q.exclude_image, err);
    q.vector = vector;
    ok = ok && search_run(ws, &q, &result, err);
    if (ok)
        cli_print_hits(&result, format);
    search_result_finish(&result);
    vc_pool_destroy(&q.pool);
    free(vector);
    free(terms);
    return ok;
}

int cmd_query(int argc, char **argv)
{
    Choice c = {.format = "table", .min_score = -2, .limit = 10};
    const CliOption options[] = {
        {"concept", 0, CLI_LIST, &c.with, "C", "the image has this concept (again: all of them)", 0, 0},
        {"not", 0, CLI_LIST, &c.without, "C", "the image does not have this concept", 0, 0},
        {"caption", 0, CLI_LIST, &c.captions, "WORDS", "a caption of the image has these words", 0, 0},
        {"like", 0, CLI_STRING, &c.like, "IMAGE", "ranked by likeness to this image: number, key or file", 0, 0},
        {"clip", 0, CLI_STRING, &c.clip, "MODEL", "where the workspace's CLIP model is now", 0, 0},
        {"min-score", 0, CLI_REAL, &c.min_score, "S", "leave lower cosines out (below -1: keep all)", -2, 1},
        {"limit", 'n', CLI_INT, &c.limit, "N", "how many", 1, 1e15},
        {"format", 0, CLI_STRING, &c.format, "F", "table, jsonl, csv or paths", 0, 0},
        {0}};
    CliContext ctx;
    VcErr err = {0};
    VcWorkspace ws = {0};
    CliFormat format = CLI_FORMAT_TABLE;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok =
        cli_parse_format(c.format, ctx.json, &format, &err) && vc_workspace_open(&ws, ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        ok = ask(&ws, &ctx, &c, format, &err);
        vc_workspace_close(&ws);
    }
    free(c.with.items);
    free(c.without.items);
    free(c.captions.items);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
