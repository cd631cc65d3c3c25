// SPDX-License-Identifier: MIT
// `vicha bench train`: speed of a recipe's training step.
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "nn/nn.h"
#include "train/train.h"

#include <stdio.h>

static const CliHelp help = {
    .name = "bench train",
    .summary = "seconds of a training step",
    .usage = "[--recipe FILE] [options]",
    .details =
        "Times whole steps (forward, backward, clipping, AdamW) on made-up batches with captions of full length;\n"
        "records are not read. Prints one JSON object; step_seconds is the median, gflop_per_s counts the "
        "multiply-adds\n"
        "of the step as if every caption had full length, and share_of_product is its share of what one large matrix\n"
        "product reaches in the same precision on the same threads.",
    .example = "vicha bench train --recipe demo/clip.json --steps 30",
};

int bench_train(int argc, char **argv)
{
    const char *path = NULL, *precision = NULL;
    int64_t steps = 20;
    CliList sets = {0};
    const CliOption options[] = {
        {"recipe", 0, CLI_STRING, &path, "FILE", "recipe to time; without it: the defaults", 0, 0},
        {"set", 0, CLI_LIST, &sets, "KEY=VALUE", "override a key of the recipe (repeatable)", 0, 0},
        {"precision", 0, CLI_STRING, &precision, "P", "fp32 or bf16 in place of the recipe's own", 0, 0},
        {"steps", 0, CLI_INT, &steps, "N", "steps to time", 1, 100000},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    int status = CLI_OK;
    if (!shown) {
        TrainRecipe recipe;
        TrainBench bench;
        VcStr set = {0};
        if (precision) {
            vc_str_putf(&set, "precision=%s", precision);
            sets.items = vc_realloc(sets.items, sets.count + 1, sizeof *sets.items);
            sets.items[sets.count++] = set.data;
        }
        bool loaded = train_recipe_load(&recipe, path, sets.items, sets.count, &err);
        vc_str_finish(&set);
        if (loaded && train_bench(&recipe, (size_t)ctx.threads, (size_t)steps, &bench, &err)) {
            const char *name = path ? path : "defaults";
            const double share = bench.gflop_per_s / bench.product_gflop_per_s;
            VcStr line = {0};
            vc_str_put(&line, "{\"bench\": \"train\", \"recipe\": ");
            vc_str_put_json(&line, name, strlen(name), false);
            vc_str_putf(
                &line,
                ", \"precision\": \"%s\", \"threads\": %d, \"batch\": %d, \"steps\": %zu, "
                "\"step_seconds\": %.5f, \"images_per_s\": %.2f, \"gflop_per_s\": %.1f, \"product_gflop_per_s\": %.1f, "
                "\"share_of_product\": %.3f, \"peak_rss_mib\": %.1f}",
                recipe.precision == NN_PRECISION_BF16 ? "bf16" : "fp32", (int)ctx.threads, (int)recipe.batch,
                bench.steps, bench.step_seconds, bench.images_per_s, bench.gflop_per_s, bench.product_gflop_per_s,
                share, (double)bench.peak_rss / 1048576);
            puts(line.data);
            vc_str_finish(&line);
        } else {
            status = cli_error(&err);
        }
        if (loaded)
            train_recipe_finish(&recipe);
    }
    free(sets.items);
    cli_context_finish(&ctx);
    return status;
}
