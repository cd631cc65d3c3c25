// SPDX-License-Identifier: MIT
// vicha dedup: near duplicates, reported, marked, unmarked; vicha outliers: images like no other.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "concepts/concepts.h"

#include <stdlib.h>
#include <string.h>

static const CliHelp help = {
    .name = "dedup",
    .summary = "near duplicates: report, mark, undo",
    .usage = "[options]",
    .details =
        "Compares all stored images, in as many ways as --by names:\n"
        "  exact        the same bytes at the source\n"
        "  perceptual   hashes of what is seen differ in at most --bits of 64: other sizes, qualities, formats\n"
        "  embedding    CLIP vectors with a cosine of at least --min-cosine: crops, edits, the same scene. Takes time\n"
        "               with the square of the images: 100,000 in a minute or two, a million in hours\n"
        "Of images that are alike the one with most pixels is kept (then most bytes, then the lower number); the "
        "others\n"
        "are listed with the one they are near to. --mark stores that in place of earlier marks: 'vicha index' and\n"
        "'vicha export' then leave marked images out. --undo unmarks all. Nothing is deleted.\n"
        "('vicha extract --dedup' rejects duplicates while they come in.)",
    .example = "  vicha dedup -w cc3m --by exact,perceptual\n"
               "  vicha dedup -w cc3m --by embedding --min-cosine 0.97 --mark -q",
};

static const char *const way_names[DUPLICATE_WAYS] = {"exact", "perceptual", "embedding"};

static bool parse_ways(const char *text, bool ways[DUPLICATE_WAYS], VcErr *err)
{
    for (const char *at = text; *at;) {
        const size_t n = strcspn(at, ",");
        int way = 0;
        while (way < DUPLICATE_WAYS && (strlen(way_names[way]) != n || memcmp(at, way_names[way], n) != 0))
            way++;
        if (way == DUPLICATE_WAYS) {
            return vc_fail(err, VC_ERR_USAGE, "--by '%s': expected exact, perceptual, embedding, with commas between",
                           text);
        }
        ways[way] = true;
        at += n + (at[n] == ',');
    }
    return *text || vc_fail(err, VC_ERR_USAGE, "--by names no way");
}

// The key of an image, for people.
static bool key_of(VcStmt *stmt, int64_t image_id, VcStr *out, VcErr *err)
{
    bool row;
    vc_str_clear(out);
    vc_bind_int(stmt, 1, image_id);
    if (!vc_stmt_step(stmt, &row, err))
        return false;
    vc_str_put(out, row ? vc_column_text(stmt, 0) : "");
    vc_stmt_reset(stmt);
    return true;
}

static void print_line(const Duplicate *d, const char *key, const char *kept_key)
{
    VcStr s = {0};
    vc_str_putf(&s, "{\"image_id\": %lld, \"key\": ", (long long)d->image_id);
    vc_str_put_json(&s, key, strlen(key), false);
    vc_str_putf(&s, ", \"kept\": %lld, \"kept_key\": ", (long long)d->kept);
    vc_str_put_json(&s, kept_key, strlen(kept_key), false);
    vc_str_putf(&s, ", \"way\": \"%s\", \"distance\": %.6g}\n", way_names[d->way], d->distance);
    fwrite(s.data, 1, s.len, stdout);
    vc_str_finish(&s);
}

static bool print_duplicates(VcWorkspace *ws, const CliContext *ctx, const Duplicates *d, size_t limit, VcErr *err)
{
    CliTable t = {.columns = {{"image", true, false},
                              {"kept", true, false},
                              {"way", false, false},
                              {"distance", true, false},
                              {"key", false, true},
                              {"kept key", false, true}},
                  .column_count = 6};
    VcStr key = {0}, kept = {0};
    VcStmt *stmt = NULL;
    bool ok = vc_db_prepare(ws->db, &stmt, "SELECT key FROM image WHERE image_id = ?", err);
    for (size_t i = 0; ok && i < d->count && (ctx->json || i < limit); i++) {
        const Duplicate *item = &d->items[i];
        ok = key_of(stmt, item->image_id, &key, err) && key_of(stmt, item->kept, &kept, err);
        if (ok && ctx->json) {
            print_line(item, key.data, kept.data);
        } else if (ok) {
            cli_table_putf(&t, "%lld", (long long)item->image_id);
            cli_table_putf(&t, "%lld", (long long)item->kept);
            cli_table_put(&t, way_names[item->way]);
            cli_table_putf(&t, "%.4g", item->distance);
            cli_table_put(&t, vc_str_get(&key));
            cli_table_put(&t, vc_str_get(&kept));
        }
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&key);
    vc_str_finish(&kept);
    if (t.cell_count)
        cli_table_end(&t, stdout, cli_terminal_width());
    if (ok && !ctx->json && d->count > limit)
        vc_info("%zu of %zu duplicates; -n shows more, --json all", limit, d->count);
    return ok;
}

typedef struct {
    CliContext ctx;
    DuplicatesOptions o;
    int64_t bits, limit;
    bool mark, undo;
} Choice;

static bool find_and_mark(VcWorkspace *ws, Choice *c, VcErr *err)
{
    Duplicates d = {0};
    c->o.bits = (int)c->bits;
    c->o.pool = vc_pool_create((size_t)c->ctx.threads);
    bool ok = duplicates_find(ws, &c->o, &d, err);
    vc_pool_destroy(&c->o.pool);
    ok = ok && (c->ctx.quiet || print_duplicates(ws, &c->ctx, &d, (size_t)c->limit, err)) &&
         (!c->mark || duplicates_mark(ws, d.items, d.count, err));
    if (ok) {
        vc_info("dedup: %lld images, %lld are alike another one (%lld exact, %lld perceptual, %lld by embedding)%s",
                (long long)d.images, (long long)d.count, (long long)d.by_way[0], (long long)d.by_way[1],
                (long long)d.by_way[2], c->mark ? "; they are marked" : "; nothing was marked");
        if (d.without_hash)
            vc_warn("%lld images have no perceptual hash and were not compared by it", (long long)d.without_hash);
        if (d.without_vector)
            vc_warn("%lld images have no vector and were not compared by it", (long long)d.without_vector);
    }
    duplicates_finish(&d);
    return ok;
}

static bool unmark(VcWorkspace *ws, VcErr *err)
{
    int64_t before;
    if (!duplicates_marked(ws, &before, err) || !duplicates_mark(ws, NULL, 0, err))
        return false;
    vc_info("dedup: %lld marks are gone", (long long)before);
    return true;
}

int cmd_dedup(int argc, char **argv)
{
    const char *by = "exact";
    Choice c = {.o = {.min_cosine = 0.95}, .bits = 7, .limit = 50};
    const CliOption options[] = {
        {"by", 0, CLI_STRING, &by, "WAYS", "exact, perceptual, embedding, with commas between", 0, 0},
        {"bits", 0, CLI_INT, &c.bits, "N", "perceptual: bits that may differ", 0, 32},
        {"min-cosine", 0, CLI_REAL, &c.o.min_cosine, "S", "embedding: least cosine", -1, 1},
        {"mark", 0, CLI_FLAG, &c.mark, NULL, "store the marks", 0, 0},
        {"undo", 0, CLI_FLAG, &c.undo, NULL, "unmark all", 0, 0},
        {"limit", 'n', CLI_INT, &c.limit, "N", "lines of the table", 0, 1e9},
        {0},
    };
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&c.ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = c.ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", c.ctx.argv[0]);
    ok = ok && parse_ways(by, c.o.ways, &err);
    if (ok && c.mark && c.undo)
        ok = vc_fail(&err, VC_ERR_USAGE, "--mark and --undo do not go together");
    VcWorkspace ws = {0};
    ok = ok && vc_workspace_open(&ws, c.ctx.workspace, c.mark || c.undo ? VC_DB_WRITE : VC_DB_READ, &err);
    if (ok) {
        ok = c.undo ? unmark(&ws, &err) : find_and_mark(&ws, &c, &err);
        vc_workspace_close(&ws);
    }
    cli_context_finish(&c.ctx);
    return ok ? CLI_OK : cli_error(&err);
}

// --- outliers

static bool print_outliers(VcWorkspace *ws, const CliContext *ctx, const Outlier *items, size_t count, VcErr *err)
{
    CliTable t = {
        .columns = {{"image", true, false}, {"nearest", true, false}, {"key", false, true}, {"caption", false, true}},
        .column_count = 4};
    VcStmt *stmt = NULL;
    VcStr s = {0};
    bool row, ok = vc_db_prepare(ws->db, &stmt,
                                 "SELECT key, (SELECT text FROM caption c WHERE c.image_id = i.image_id ORDER BY"
                                 " caption_id LIMIT 1) FROM image i WHERE image_id = ?",
                                 err);
    for (size_t i = 0; ok && i < count; i++) {
        vc_bind_int(stmt, 1, items[i].image_id);
        ok = vc_stmt_step(stmt, &row, err);
        const char *key = ok && row ? vc_column_text(stmt, 0) : "",
                   *caption = ok && row ? vc_column_text(stmt, 1) : NULL;
        caption = caption ? caption : "";
        if (ctx->json) {
            vc_str_clear(&s);
            vc_str_putf(&s, "{\"image_id\": %lld, \"nearest\": %.6f, \"key\": ", (long long)items[i].image_id,
                        items[i].nearest);
            vc_str_put_json(&s, key, strlen(key), false);
            vc_str_put(&s, ", \"caption\": ");
            vc_str_put_json(&s, caption, strlen(caption), false);
            printf("%s}\n", s.data);
        } else {
            cli_table_putf(&t, "%lld", (long long)items[i].image_id);
            cli_table_putf(&t, "%.4f", items[i].nearest);
            cli_table_put(&t, key);
            cli_table_put(&t, caption);
        }
        vc_stmt_reset(stmt);
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&s);
    if (t.cell_count)
        cli_table_end(&t, stdout, cli_terminal_width());
    return ok;
}

int cmd_outliers(int argc, char **argv)
{
    static const CliHelp outliers_help = {
        .name = "outliers",
        .summary = "images that are like no other",
        .usage = "[options]",
        .details =
            "Mean cosine of every image's CLIP vector with its 8 nearest among the others (in a large workspace,\n"
            "among 20,000 of them), lowest first: broken pictures, placeholders, and what does not belong.",
        .example = "  vicha outliers -w cc3m -n 50"};
    int64_t n = 20;
    const CliOption options[] = {{"limit", 'n', CLI_INT, &n, "N", "images to show", 1, 1e9}, {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &outliers_help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc == 0 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[0]);
    VcWorkspace ws = {0};
    Outlier *items = NULL;
    ok = ok && vc_workspace_open(&ws, ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        size_t count;
        VcPool *pool = vc_pool_create((size_t)ctx.threads);
        ok = duplicates_outliers(&ws, pool, (size_t)n, &items, &count, &err) &&
             print_outliers(&ws, &ctx, items, count, &err);
        vc_pool_destroy(&pool);
        vc_workspace_close(&ws);
    }
    free(items);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
