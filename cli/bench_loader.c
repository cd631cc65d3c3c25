// SPDX-License-Identifier: MIT
// `vicha bench loader`: how fast a worker makes training images ready.
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "train/train.h"

#include <stdio.h>

static const CliHelp help = {
    .name = "bench loader",
    .summary = "images a worker makes ready a second",
    .usage = "[DIR...] [--recipe RECIPE] [options]",
    .details =
        "Decodes, crops, mirrors, augments, normalises and collates records on one thread, as a worker of training "
        "does.\n"
        "Prints one JSON object each for images decoded anew, for images from the cache of decoded ones "
        "(data.cache_mib,\n"
        "every epoch but the first where all fit), and for the latter without RandAugment. images_per_cpu_s leaves "
        "out\n"
        "the time that the thread had to share its processor with others. Without DIR: the recipe's records.",
    .example = "vicha bench loader records --recipe vicha-small",
};

static bool measure(const CliContext *ctx, const TrainRecipe *recipe, const char *name, bool cached, uint64_t images,
                    VcErr *err)
{
    TrainBenchLoader b;
    VcStr line = {0};
    if (!train_bench_loader(recipe, ctx->workspace, images, cached, &b, err))
        return false;
    vc_str_put(&line, "{\"bench\": \"loader\", \"recipe\": ");
    vc_str_put_json(&line, name, strlen(name), false);
    vc_str_putf(&line,
                ", \"images_per_s\": %.1f, \"images_per_cpu_s\": %.1f, \"cached\": %s, \"randaugment_n\": %d, "
                "\"image_size\": %d, \"images\": %llu, \"threads\": 1}",
                (double)b.images / b.seconds, (double)b.images / b.cpu_seconds, cached ? "true" : "false",
                (int)recipe->randaugment_n, (int)recipe->image_size, (unsigned long long)b.images);
    puts(line.data);
    vc_str_finish(&line);
    return true;
}

// The recipe's own keys, then the folders, then those of --set.
static char **put_sets(const CliContext *ctx, const CliList *sets, size_t *count)
{
    char **all = vc_calloc(sets->count + 1, sizeof *all);
    VcStr records = {0};
    *count = 0;
    for (int i = 0; i < ctx->argc; i++) {
        vc_str_put(&records, i ? ", " : "data.records=[");
        vc_str_put_json(&records, ctx->argv[i], strlen(ctx->argv[i]), false);
    }
    if (ctx->argc > 0) {
        vc_str_putc(&records, ']');
        all[(*count)++] = records.data;
    }
    for (size_t i = 0; i < sets->count; i++)
        all[(*count)++] = vc_strdup(sets->items[i]);
    return all;
}

static bool run(const CliContext *ctx, const char *path, const CliList *sets, uint64_t images, VcErr *err)
{
    size_t count;
    char **all = put_sets(ctx, sets, &count);
    TrainRecipe recipe;
    bool ok = train_recipe_load(&recipe, path, (const char *const *)all, count, err);
    for (size_t i = 0; i < count; i++)
        free(all[i]);
    free(all);
    if (!ok)
        return false;
    ok = measure(ctx, &recipe, path, false, images, err) && measure(ctx, &recipe, path, true, images, err);
    if (ok && recipe.randaugment_n > 0) {
        recipe.randaugment_n = 0;
        ok = measure(ctx, &recipe, path, true, images, err);
    }
    train_recipe_finish(&recipe);
    return ok;
}

int bench_loader(int argc, char **argv)
{
    const char *path = "vicha-small";
    int64_t images = 2000;
    CliList sets = {0};
    const CliOption options[] = {
        {"recipe", 0, CLI_STRING, &path, "RECIPE", "a recipe's name or file (default vicha-small)", 0, 0},
        {"set", 0, CLI_LIST, &sets, "KEY=VALUE", "override a key of the recipe (repeatable)", 0, 0},
        {"images", 0, CLI_INT, &images, "N", "images a figure", 1, 100000000},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    const bool ok = shown || run(&ctx, path, &sets, (uint64_t)images, &err);
    free(sets.items);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
