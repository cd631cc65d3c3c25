// SPDX-License-Identifier: MIT
#include "cli/concepts_show.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/workspace.h"
#include "cli/query_output.h"
#include "cli/table.h"

static void put_json(VcStr *out, const char *key, const char *text)
{
    vc_str_putf(out, ", \"%s\": ", key);
    vc_str_put_json(out, text, strlen(text), false);
}

// --- list ------------------------------------------------------------------------------------------------------------

static void print_concept(CliTable *t, bool json, VcStmt *stmt)
{
    const char *text = vc_column_text(stmt, 1);
    bool mined = !vc_column_is_null(stmt, 3);
    if (!json) {
        cli_table_putf(t, "%lld", (long long)vc_column_int(stmt, 0));
        cli_table_put(t, text);
        cli_table_putf(t, vc_column_is_null(stmt, 2) ? "-" : "%lld", (long long)vc_column_int(stmt, 2));
        cli_table_putf(t, mined ? "%lld" : "-", (long long)vc_column_int(stmt, 3));
        cli_table_putf(t, mined ? "%.3f" : "-", vc_column_double(stmt, 4));
        cli_table_putf(t, mined ? "%.3f" : "-", vc_column_double(stmt, 5));
        return;
    }
    VcStr out = {0};
    vc_str_putf(&out, "{\"concept_id\": %lld", (long long)vc_column_int(stmt, 0));
    put_json(&out, "concept", text);
    vc_str_putf(&out, vc_column_is_null(stmt, 2) ? ", \"freq\": null" : ", \"freq\": %lld",
                (long long)vc_column_int(stmt, 2));
    vc_str_putf(&out, ", \"images\": %lld", (long long)vc_column_int(stmt, 3));
    vc_str_putf(&out, mined ? ", \"score_mean\": %.6f" : ", \"score_mean\": null", vc_column_double(stmt, 4));
    vc_str_putf(&out, mined ? ", \"score_max\": %.6f" : ", \"score_max\": null", vc_column_double(stmt, 5));
    vc_str_putf(&out, ", \"first_of\": %lld}\n", (long long)vc_column_int(stmt, 6));
    fwrite(out.data, 1, out.len, stdout);
    vc_str_finish(&out);
}

static bool list_concepts(VcWorkspace *ws, const CliContext *ctx, int64_t n, const char *sort, VcErr *err)
{
    static const struct {
        const char *name, *order;
    } orders[] = {{"count", "concept_id"},
                  {"images", "coalesce(images, 0) DESC, concept_id"},
                  {"score", "coalesce(score_mean, -1) DESC, concept_id"},
                  {"name", "text"}};
    const char *order = NULL;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        if (strcmp(sort, orders[i].name) == 0)
            order = orders[i].order;
    }
    if (!order)
        return vc_fail(err, VC_ERR_USAGE, "--sort '%s' is not known; use count, images, score or name", sort);
    VcStr sql = {0};
    vc_str_putf(&sql,
                "SELECT concept_id, text, freq, images, score_mean, score_max, coalesce(as_rank0, 0) FROM v_concept"
                " WHERE NOT removed AND (?1 = '' OR instr(text, ?1)) ORDER BY %s LIMIT ?2",
                order);
    VcStmt *stmt = NULL;
    int64_t total = 0;
    bool row = true, ok = vc_db_int(ws->db, "SELECT count(*) FROM concept WHERE NOT removed", 0, &total, err) &&
                          vc_db_prepare(ws->db, &stmt, sql.data, err);
    if (ok) {
        vc_bind_text(stmt, 1, ctx->argc ? ctx->argv[0] : "");
        vc_bind_int(stmt, 2, n == 0 ? -1 : n);
    }
    CliTable t = {.columns = {{"id", true, false},
                              {"concept", false, true},
                              {"count", true, false},
                              {"images", true, false},
                              {"mean", true, false},
                              {"best", true, false}},
                  .column_count = 6};
    int64_t shown = 0;
    for (; ok && (ok = vc_stmt_step(stmt, &row, err)) && row; shown++)
        print_concept(&t, ctx->json, stmt);
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    if (!ctx->json)
        cli_table_end(&t, stdout, ok && shown ? cli_terminal_width() : 0);
    if (ok && total == 0) {
        vc_info("there is no vocabulary yet; 'vicha concepts parse' makes one");
    } else if (ok && shown < total) {
        vc_info("%lld of %lld concepts; -n 0 shows all", (long long)shown, (long long)total);
    }
    return ok;
}

int cmd_concepts_list(int argc, char **argv)
{
    static const CliHelp help = {.name = "concepts list",
                                 .summary = "the vocabulary, most frequent first",
                                 .usage = "[options] [PART]",
                                 .details = "PART: only concepts with this in their text.",
                                 .example = "  vicha concepts list -w ws -n 50 --sort images"};
    int64_t n = 100;
    const char *sort = "count";
    const CliOption options[] = {{"limit", 'n', CLI_INT, &n, "N", "how many, 0 for all", 0, 1e15},
                                 {"sort", 0, CLI_STRING, &sort, "HOW", "count, images, score or name", 0, 0},
                                 {0}};
    CliContext ctx;
    VcErr err = {0};
    VcWorkspace ws = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc <= 1 || vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s'", ctx.argv[1]);
    ok = ok && vc_workspace_open(&ws, ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        ok = list_concepts(&ws, &ctx, n, sort, &err);
        vc_workspace_close(&ws);
    }
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}

// --- show ------------------------------------------------------------------------------------------------------------

static bool show_concept(const char *dir, const char *text, int64_t n, CliFormat format, VcErr *err)
{
    QueryEngine *engine = NULL;
    QueryPage page = {0};
    int64_t id;
    const QueryRequest request = {.filter.with = {&text, 1},
                                  .limit = (size_t)(n < QUERY_MAX_LIMIT ? n : QUERY_MAX_LIMIT),
                                  .fields = QUERY_CAPTIONS | QUERY_CONCEPTS};
    bool ok = query_engine_open(&engine, dir, NULL, err) &&
              // A concept, not an expression.
              search_find_concept(query_engine_workspace(engine), text, &id, err) &&
              query_run(engine, &request, &page, err);
    if (ok) {
        cli_print_hits(stdout, &page, &(CliHitsStyle){.format = format, .first = 1});
        if (format == CLI_FORMAT_TABLE && page.next)
            vc_info("%zu of %lld matching images; -n shows more", page.count, (long long)page.matched);
    }
    query_page_finish(&page);
    query_engine_close(&engine);
    return ok;
}

int cmd_concepts_show(int argc, char **argv)
{
    static const CliHelp help = {.name = "concepts show",
                                 .summary = "the images of a concept, best first",
                                 .usage = "[options] CONCEPT",
                                 .example = "  vicha concepts show -w ws 'surf board' -n 20"};
    int64_t n = 10;
    const char *format_name = "table";
    const CliOption options[] = {{"limit", 'n', CLI_INT, &n, "N", "how many", 1, 1e15},
                                 {"format", 0, CLI_STRING, &format_name, "F", "table, jsonl, csv or paths", 0, 0},
                                 {0}};
    CliContext ctx;
    VcErr err = {0};
    CliFormat format = CLI_FORMAT_TABLE;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc == 1 || vc_fail(&err, VC_ERR_USAGE, "give one concept; put several words in quotes");
    ok = ok && cli_parse_format(format_name, ctx.json, &format, &err) &&
         (format != CLI_FORMAT_HTML || vc_fail(&err, VC_ERR_USAGE, "use 'vicha query --concept ... --format html'")) &&
         show_concept(ctx.workspace, ctx.argv[0], n, format, &err);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}

// --- of --------------------------------------------------------------------------------------------------------------

static bool concepts_of(VcWorkspace *ws, const char *name, bool json, VcErr *err)
{
    int64_t id;
    VcStmt *stmt = NULL;
    if (!search_find_image(ws, name, &id, err) ||
        !vc_db_prepare(ws->db, &stmt,
                       "SELECT rank, concept, cosine FROM v_image_concept WHERE image_id = ?1 ORDER BY rank", err))
        return false;
    vc_bind_int(stmt, 1, id);
    CliTable t = {.columns = {{"rank", true, false}, {"concept", false, true}, {"cosine", true, false}},
                  .column_count = 3};
    bool row = true, ok = true;
    int64_t n = 0;
    for (; (ok = vc_stmt_step(stmt, &row, err)) && row; n++) {
        if (!json) {
            cli_table_putf(&t, "%lld", (long long)vc_column_int(stmt, 0));
            cli_table_put(&t, vc_column_text(stmt, 1));
            cli_table_putf(&t, "%.3f", vc_column_double(stmt, 2));
            continue;
        }
        VcStr out = {0};
        vc_str_putf(&out, "{\"image_id\": %lld, \"rank\": %lld", (long long)id, (long long)vc_column_int(stmt, 0));
        put_json(&out, "concept", vc_column_text(stmt, 1));
        vc_str_putf(&out, ", \"score\": %.6f}\n", vc_column_double(stmt, 2));
        fwrite(out.data, 1, out.len, stdout);
        vc_str_finish(&out);
    }
    vc_stmt_finish(&stmt);
    if (!json && n)
        cli_table_end(&t, stdout, cli_terminal_width());
    if (ok && n == 0)
        vc_info("image %lld has no mined concepts; 'vicha stats' shows why images are rejected", (long long)id);
    return ok;
}

int cmd_concepts_of(int argc, char **argv)
{
    static const CliHelp help = {.name = "concepts of",
                                 .summary = "the concepts of an image",
                                 .usage = "[options] IMAGE",
                                 .details = "IMAGE: its number, its key, or the end of its key that only one has.",
                                 .example = "  vicha concepts of -w ws 000000391895.jpg"};
    const CliOption options[] = {{0}};
    CliContext ctx;
    VcErr err = {0};
    VcWorkspace ws = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = ctx.argc == 1 || vc_fail(&err, VC_ERR_USAGE, "give one image: its number or its key");
    ok = ok && vc_workspace_open(&ws, ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        ok = concepts_of(&ws, ctx.argv[0], ctx.json, &err);
        vc_workspace_close(&ws);
    }
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
