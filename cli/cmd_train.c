// SPDX-License-Identifier: MIT
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/train_tools.h"
#include "train/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const CliHelp help = {
    .name = "train",
    .summary = "train a model on the records of a workspace",
    .usage = "RECIPE --out DIR [options]   or   --plot RUN... --out FILE",
    .details =
        "RECIPE is a JSON file or a name of --list; --keys lists its keys with defaults and ranges. Objective \"clip\" "
        "trains a\n"
        "two-tower CLIP and leaves it in DIR/model, ready for --clip of the other commands; \"vicha\" is ViCHA's\n"
        "pretraining: concepts, contrast with momentum teachers and a queue, hidden layers, matching, masked words "
        "and\n"
        "patches; loss.* and model.* switch the parts (with itc, itm and mlm alone and without concepts it is ALBEF).\n"
        "DIR receives recipe.json (every key), environment.jsonl, metrics.jsonl, loss.svg, checkpoints/,\n"
        "checkpoint.best.safetensors (best recall so far) and model/.\n"
        "A DIR with checkpoints goes on from the newest one, to the same bits as without the stop; --restart starts "
        "over.\n"
        "--init-from takes a folder, a weight file (safetensors, or a PyTorch .bin, .pt, .pth: no code is run) or the "
        "name\n"
        "of a model in the local hub cache: BERT, ViT and DeiT (Hugging Face or timm names), ViCHA and ALBEF state "
        "dicts,\n"
        "or an export of this program. PART is visual, text or concepts; the last source that fits wins. What was "
        "loaded\n"
        "and what was not, and why, is said and written to DIR/init.json.\n"
        "Ctrl-C writes a checkpoint and ends with status 130. The same recipe and records give the same bits with any\n"
        "number of threads. mpirun -n 4 vicha train ... trains with four processes: docs/TRAINING.md.",
    .example = "vicha train demo.json -w work --out work/runs/demo --set train.epochs=5 --set optim.lr=5e-4\n"
               "vicha train vicha-1m --out run --init-from visual=facebook/deit-base-patch16-224 --init-from "
               "text=bert-base-uncased",
};

typedef struct {
    CliList init_from;
    const char *out;
    const char *show, *metric;
    bool resume, restart, dry_run, keys, list, plot, tensorboard;
    double timeout;
    int64_t stop_at, keep;
    CliList sets;
} Options;

static void print_result(const CliContext *ctx, const TrainResult *r, const char *out)
{
    static const char *const at[] = {"1", "5", "10"};
    const TrainRecall *recall = &r->recall;
    if (ctx->json) {
        VcStr line = {0};
        vc_str_put(&line, "{\"out\": ");
        vc_str_put_json(&line, out, strlen(out), false);
        vc_str_putf(&line,
                    ", \"steps\": %" PRIu64 ", \"resumed_from\": %" PRIu64 ", \"already_done\": %s, \"loss\": %.6g, "
                    "\"seconds\": %.3f, \"images_per_s\": %.2f, \"wait_share\": %.4f, \"bad_records\": %" PRIu64
                    ", \"held_out\": %zu",
                    r->steps, r->resumed_from, r->already_done ? "true" : "false", r->loss, r->seconds, r->images_per_s,
                    r->wait_share, r->bad_records, recall->count);
        for (size_t k = 0; recall->count > 0 && k < 3; k++) {
            vc_str_putf(&line, ", \"i2t_r%s\": %.3f, \"t2i_r%s\": %.3f, \"chance_r%s\": %.3f", at[k],
                        recall->image_to_text[k], at[k], recall->text_to_image[k], at[k], recall->chance[k]);
        }
        printf("%s}\n", line.data);
        vc_str_finish(&line);
        return;
    }
    if (r->already_done) {
        printf("%s: finished at step %" PRIu64 ", nothing to do\n", out, r->steps);
        return;
    }
    printf("%s: step %" PRIu64 ", loss %.3f, %.0f images/s, %.1f %% of the time waiting for data\n", out, r->steps,
           r->loss, r->images_per_s, 100 * r->wait_share);
    if (recall->count == 0)
        return;
    printf("%zu held-out pairs    recall at 1    at 5   at 10\n", recall->count);
    const double *const rows[] = {recall->image_to_text, recall->text_to_image, recall->chance};
    static const char *const names[] = {"image to text", "text to image", "by chance"};
    for (size_t i = 0; i < 3; i++)
        printf("  %-20s %8.1f %% %6.1f %% %6.1f %%\n", names[i], rows[i][0], rows[i][1], rows[i][2]);
}

static int report(const VcErr *err, const TrainParallel *world)
{
    if (train_parallel_rank(world) == 0 || !train_parallel_check(world, NULL))
        return cli_error(err);
    return err->code == VC_ERR_USAGE ? CLI_USAGE : CLI_FAILED;
}

static int run_in(const CliContext *ctx, const Options *o, TrainParallel *world)
{
    VcErr err;
    TrainRecipe recipe;
    if (ctx->argc == 1 && !o->out && !o->dry_run) {
        vc_fail(&err, VC_ERR_USAGE, "where to? give --out DIR (see 'vicha train --help')");
        return cli_error(&err);
    }
    if (!train_recipe_load(&recipe, ctx->argv[0], o->sets.items, o->sets.count, &err))
        return cli_error(&err);
    bool ok;
    int status = CLI_OK;
    if (o->dry_run) {
        VcStr text = {0};
        ok = train_describe(&recipe, ctx->json, &text, &err);
        fputs(vc_str_get(&text), stdout);
        vc_str_finish(&text);
    } else {
        const TrainOptions options = {.workspace = ctx->workspace,
                                      .out = o->out,
                                      .init_from = o->init_from.items,
                                      .init_count = o->init_from.count,
                                      .resume = o->resume,
                                      .restart = o->restart,
                                      .threads = (size_t)ctx->threads,
                                      .tensorboard = o->tensorboard,
                                      .world = world,
                                      .stop_at = (uint64_t)o->stop_at};
        TrainResult result;
        ok = train_run(&recipe, &options, &result, &err);
        if (ok && train_parallel_rank(world) == 0)
            print_result(ctx, &result, o->out);
        if (ok && result.bad_records > 0) {
            vc_warn("%" PRIu64 " bad records were passed over", result.bad_records);
            status = CLI_REJECTED;
        }
    }
    train_recipe_finish(&recipe);
    return ok ? status : report(&err, world);
}

// Among several processes the first one talks.
static int run(const CliContext *ctx, const Options *o)
{
    TrainParallel *world = NULL;
    VcErr err;
    if (!o->dry_run && !train_parallel_begin(&world, o->timeout, &err))
        return cli_error(&err);
    if (train_parallel_rank(world) > 0)
        vc_log_set_level(VC_LOG_QUIET);
    int status = run_in(ctx, o, world);
    // What ended well or by agreement ended everywhere; anything else must not leave the others waiting.
    train_parallel_end(&world, true);
    return status;
}

int cmd_train(int argc, char **argv)
{
    Options o = {.timeout = 600};
    const CliOption options[] = {
        {"out", 'o', CLI_STRING, &o.out, "DIR", "folder of the run", 0, 0},
        {"set", 0, CLI_LIST, &o.sets, "KEY=VALUE", "override a key of the recipe (repeatable)", 0, 0},
        {"init-from", 0, CLI_LIST, &o.init_from, "[PART=]PATH", "first values from published weights (repeatable)", 0,
         0},
        {"resume", 0, CLI_FLAG, &o.resume, NULL, "go on from the newest checkpoint; say so when there is none", 0, 0},
        {"restart", 0, CLI_FLAG, &o.restart, NULL, "remove the checkpoints of DIR and start at the beginning", 0, 0},
        {"stop-at", 0, CLI_INT, &o.stop_at, "STEP", "end after this step with a checkpoint, as Ctrl-C does", 0, 1e15},
        {"dry-run", 0, CLI_FLAG, &o.dry_run, NULL, "print parameters, memory and FLOP, and end", 0, 0},
        {"keys", 0, CLI_FLAG, &o.keys, NULL, "print the keys of a recipe, and end", 0, 0},
        {"list", 0, CLI_FLAG, &o.list, NULL, "print the recipes that come with the program, and end", 0, 0},
        {"show", 0, CLI_STRING, &o.show, "NAME", "print one of them, and end", 0, 0},
        {"plot", 0, CLI_FLAG, &o.plot, NULL,
         "draw the runs given instead of a recipe in one picture (--out FILE.svg|.png)", 0, 0},
        {"metric", 0, CLI_STRING, &o.metric, "NAME", "with --plot: a number of metrics.jsonl instead of the loss", 0,
         0},
        {"keep", 0, CLI_INT, &o.keep, "N", "checkpoints that stay, the newest: --set checkpoint.keep=N", 1, 1000},
        {"tensorboard", 0, CLI_FLAG, &o.tensorboard, NULL, "write DIR/tensorboard/ for TensorBoard too", 0, 0},
        {"mpi-timeout", 0, CLI_REAL, &o.timeout, "S", "under mpirun: seconds until a silent process counts as lost", 1,
         1e6},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    char keep[40];
    if (o.keep > 0) {
        snprintf(keep, sizeof keep, "checkpoint.keep=%" PRId64, o.keep);
        o.sets.items = vc_realloc(o.sets.items, o.sets.count + 1, sizeof *o.sets.items);
        o.sets.items[o.sets.count++] = keep;
    }
    int status = CLI_OK;
    if (!shown && o.keys) {
        VcStr text = {0};
        train_recipe_print_keys(&text);
        fputs(vc_str_get(&text), stdout);
        vc_str_finish(&text);
    } else if (!shown && o.list) {
        cli_train_list(&ctx);
    } else if (!shown && o.show) {
        status = cli_train_show(o.show, &err) ? CLI_OK : cli_error(&err);
    } else if (!shown && o.plot) {
        status = cli_train_plot(&ctx, o.metric, o.out, &err) ? CLI_OK : cli_error(&err);
    } else if (!shown && ctx.argc != 1) {
        vc_fail(&err, VC_ERR_USAGE, "give one RECIPE, a file or a name of 'vicha train --list'");
        status = cli_error(&err);
    } else if (!shown) {
        status = run(&ctx, &o);
    }
    free(o.sets.items);
    free(o.init_from.items);
    cli_context_finish(&ctx);
    return status;
}
