// SPDX-License-Identifier: MIT
// vicha index-vectors: the derived files that make vector search fast.
#include "base/pool.h"
#include "base/workspace.h"
#include "cli/commands.h"
#include "concepts/concepts.h"

static const CliHelp help = {
    .name = "index-vectors",
    .summary = "make vector search fast: bytes of the vectors, and cells of them for tens of millions",
    .usage = "[options]",
    .details =
        "Makes vectors/image-MODEL.i8: with it a search leaves most vectors out by 4 or 8 bits a number and still "
        "gives\nthe exact answer. 'vicha concepts embed' makes it too; this makes it again after it was removed or "
        "damaged.\n"
        "With --cells it also groups the vectors by k-means (vectors/image-MODEL.ivf), so that a search may look into "
        "few\ncells. That is faster and no longer exact: the share of the exact 10 best that is found is measured with "
        "200 stored\nvectors and printed for several numbers of cells looked into. Both files are derived: removing "
        "them loses nothing.\nUp to some millions of images the exact search needs no cells.",
    .example = "  vicha index-vectors -w ws --cells=2000",
};

static void print_text(const IndexVectorsReport *r)
{
    printf("bytes of %llu vectors of %zu numbers: %s", (unsigned long long)r->rows, r->dim,
           r->made_bytes ? "made" : "there already");
    if (r->made_bytes)
        printf(" in %.1f s", r->byte_seconds);
    printf("\n");
    if (r->cells == 0)
        return;
    printf("%zu cells: %s", r->cells, r->made_cells ? "made" : "there already");
    if (r->made_cells)
        printf(" in %.1f s", r->cell_seconds);
    printf("\nexact search: %.2f ms\n\n   probe   recall@10        ms\n", r->exact_ms);
    for (size_t i = 0; i < r->probe_count; i++)
        printf("%8zu%12.4f%10.2f\n", r->probes[i].probe, r->probes[i].recall_at_10, r->probes[i].ms);
}

static void print_json(const IndexVectorsReport *r)
{
    printf("{\"rows\": %llu, \"dim\": %zu, \"made_bytes\": %s, \"byte_seconds\": %.3f, \"cells\": %zu, "
           "\"made_cells\": %s, \"cell_seconds\": %.3f}\n",
           (unsigned long long)r->rows, r->dim, r->made_bytes ? "true" : "false", r->byte_seconds, r->cells,
           r->made_cells ? "true" : "false", r->cell_seconds);
    for (size_t i = 0; i < r->probe_count; i++) {
        printf("{\"probe\": %zu, \"recall_at_10\": %.4f, \"ms\": %.3f, \"exact_ms\": %.3f, \"queries\": %zu}\n",
               r->probes[i].probe, r->probes[i].recall_at_10, r->probes[i].ms, r->exact_ms, r->queries);
    }
}

int cmd_index_vectors(int argc, char **argv)
{
    const char *cells = NULL;
    bool again = false;
    const CliOption options[] = {
        {"cells", 0, CLI_MAYBE, &cells, "N", "group the vectors in N cells (without N: the root of their number)", 0,
         0},
        {"again", 0, CLI_FLAG, &again, NULL, "make the files also where they fit the vectors", 0, 0},
        {0}};
    CliContext ctx;
    VcErr err = {0};
    VcWorkspace ws = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown) {
        cli_context_finish(&ctx);
        return CLI_OK;
    }
    int64_t count = 0;
    bool ok = !cells || !*cells || (vc_parse_i64(cells, &count) && count >= 1 && count <= 65536) ||
              vc_fail(&err, VC_ERR_USAGE, "--cells=%s is no number from 1 to 65536", cells);
    IndexVectorsReport report;
    ok = ok && vc_workspace_open(&ws, ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        IndexVectorsOptions o = {.cells = cells != NULL, .count = (size_t)count, .again = again};
        o.pool = vc_pool_create((size_t)ctx.threads);
        ok = concepts_index_vectors(&ws, &o, &report, &err);
        if (ok && ctx.json) {
            print_json(&report);
        } else if (ok) {
            print_text(&report);
        }
        vc_pool_destroy(&o.pool);
        vc_workspace_close(&ws);
    }
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
