// SPDX-License-Identifier: MIT
// vicha model: what a CLIP folder holds, and whether it is whole.
#include "base/file.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "concepts/concepts.h"
#include "train/train.h"

// ---- info ----

static const CliHelp info_help = {
    .name = "model info",
    .summary = "what a CLIP model is",
    .usage = "[options] MODEL",
    .details = "MODEL is a folder in Hugging Face or OpenCLIP layout or a name in the local hub cache.",
    .example = "  vicha model info openai/clip-vit-base-patch32 --json",
};

static const char *layout_name(const ClipInfo *i)
{
    return i->layout == CLIP_LAYOUT_HF ? "hf" : "openclip";
}

static void print_json(const ClipModel *m)
{
    const ClipInfo *i = clip_info(m);
    char arch[48];
    VcStr s = {0};
    vc_str_put(&s, "{\"dir\": ");
    vc_str_put_json(&s, clip_dir(m), strlen(clip_dir(m)), false);
    vc_str_putf(
        &s,
        ", \"layout\": \"%s\", \"arch\": \"%s\", \"image_size\": %zu, \"patch\": %zu, \"dim\": %zu, \"context\": %zu, ",
        layout_name(i), clip_arch_name(i, arch), i->image_size, i->patch, i->dim, i->context);
    const ClipTower *towers[] = {&i->image, &i->text};
    for (int t = 0; t < 2; t++) {
        vc_str_putf(&s,
                    "\"%s\": {\"width\": %zu, \"layers\": %zu, \"heads\": %zu, \"mlp\": %zu, \"activation\": \"%s\", "
                    "\"eps\": %g}, ",
                    t == 0 ? "image" : "text", towers[t]->width, towers[t]->layers, towers[t]->heads, towers[t]->mlp,
                    towers[t]->activation == CLIP_GELU ? "gelu" : "quick_gelu", towers[t]->eps);
    }
    vc_str_putf(&s,
                "\"vocabulary\": %zu, \"logit_scale\": %.6g, \"storage\": \"%s\", \"parameters\": %llu, "
                "\"mapped_bytes\": %llu, "
                "\"converted_bytes\": %llu}\n",
                i->vocabulary, (double)i->logit_scale, i->storage, (unsigned long long)i->parameters,
                (unsigned long long)i->mapped_bytes, (unsigned long long)i->converted_bytes);
    fputs(s.data, stdout);
    vc_str_finish(&s);
}

static void print_table(const ClipModel *m)
{
    const ClipInfo *i = clip_info(m);
    char arch[48];
    printf("%s\n  %s in %s layout, stored as %s\n", clip_dir(m), clip_arch_name(i, arch),
           i->layout == CLIP_LAYOUT_HF ? "Hugging Face" : "OpenCLIP", i->storage);
    printf("  %.2f million parameters; %.1f MiB in the file's map, %.1f MiB converted\n", (double)i->parameters * 1e-6,
           (double)i->mapped_bytes / 1048576.0, (double)i->converted_bytes / 1048576.0);
    printf("  image  %zu px, patch %zu\n", i->image_size, i->patch);
    const ClipTower *towers[] = {&i->image, &i->text};
    for (int t = 0; t < 2; t++) {
        printf("  %-6s width %zu, %zu layers, %zu heads, MLP %zu, %s\n", t == 0 ? "image" : "text", towers[t]->width,
               towers[t]->layers, towers[t]->heads, towers[t]->mlp,
               towers[t]->activation == CLIP_GELU ? "gelu" : "quick_gelu");
    }
    printf("  text   %zu tokens of %zu words; joint space %zu; logit scale %.4g\n", i->context, i->vocabulary, i->dim,
           (double)i->logit_scale);
}

// Parses for a command with one MODEL. Returns true when the command goes on; else *status is final.
static bool one_model(CliContext *ctx, int argc, char **argv, const CliHelp *help, int *status)
{
    const CliOption options[] = {{0}};
    VcErr err = {0};
    bool shown = false;
    *status = CLI_OK;
    if (!cli_parse(ctx, argc, argv, help, options, &shown, &err)) {
        *status = cli_error(&err);
        return false;
    }
    if (!shown && ctx->argc != 1) {
        vc_fail(&err, VC_ERR_USAGE, "expected one MODEL (see 'vicha %s --help')", help->name);
        *status = cli_error(&err);
    }
    if (shown || *status != CLI_OK) {
        cli_context_finish(ctx);
        return false;
    }
    return true;
}

static int model_info(int argc, char **argv)
{
    CliContext ctx;
    int status;
    if (!one_model(&ctx, argc, argv, &info_help, &status))
        return status;
    ClipModel *m = NULL;
    VcErr err = {0};
    if (!clip_open(&m, ctx.argv[0], &err)) {
        status = cli_error(&err);
    } else if (ctx.json) {
        print_json(m);
    } else {
        print_table(m);
    }
    clip_close(&m);
    cli_context_finish(&ctx);
    return status;
}

// ---- check ----

static const CliHelp check_help = {
    .name = "model check",
    .summary = "is a CLIP model whole? names each file that is missing or damaged",
    .usage = "[options] MODEL",
    .details =
        "Looks at every file on its own, then at whether they fit each other and whether all weights are finite.\n"
        "Exit status 0: whole; 1: something is missing or damaged. With --json one object a finding: \"file\",\n"
        "\"status\" (\"ok\", \"missing\" or \"damaged\") and \"error\".",
    .example = "  vicha model check ./clip-vit-base-patch32",
};

typedef struct {
    bool json;
    size_t problems;
} Findings;

static void finding(Findings *f, const char *file, const char *status, const char *error)
{
    f->problems += error != NULL;
    if (f->json) {
        VcStr s = {0};
        vc_str_put(&s, "{\"file\": ");
        vc_str_put_json(&s, file, strlen(file), false);
        vc_str_putf(&s, ", \"status\": \"%s\"", status);
        if (error != NULL) {
            vc_str_put(&s, ", \"error\": ");
            vc_str_put_json(&s, error, strlen(error), false);
        }
        vc_str_put(&s, "}\n");
        fputs(s.data, stdout);
        vc_str_finish(&s);
    } else {
        printf("%-8s %s%s%s\n", status, file, error != NULL ? ": " : "", error != NULL ? error : "");
    }
}

static int model_check(int argc, char **argv)
{
    CliContext ctx;
    int status;
    if (!one_model(&ctx, argc, argv, &check_help, &status))
        return status;
    VcErr err = {0};
    char *dir = NULL;
    Findings f = {ctx.json, 0};
    if (!clip_find(&dir, ctx.argv[0], &err)) {
        status = cli_error(&err);
    } else {
        for (ClipPart part = 0; part < CLIP_PARTS; part++) {
            char file[64];
            err = (VcErr){0};
            const bool whole = clip_check_part(dir, part, file, &err);
            finding(&f, file, whole ? "ok" : err.code == VC_ERR_IO ? "missing" : "damaged", whole ? NULL : err.text);
        }
        if (f.problems == 0) {
            const bool whole = clip_check_whole(dir, &err);
            finding(&f, "model", whole ? "ok" : "damaged", whole ? NULL : err.text);
        }
        if (f.problems > 0) {
            fprintf(stderr, "vicha: error: '%s' is not whole: %zu problem%s\n", dir, f.problems,
                    f.problems > 1 ? "s" : "");
            status = CLI_FAILED;
        }
    }
    free(dir);
    cli_context_finish(&ctx);
    return status;
}

// ---- convert ----

static const CliHelp convert_help = {
    .name = "model convert",
    .summary = "write the tensors of a weight file as safetensors",
    .usage = "[options] IN OUT.safetensors",
    .details = "IN is a PyTorch checkpoint (.bin, .pt, .pth as torch.save writes them since 1.6), a safetensors file, "
               "an index\n"
               "of shards, or a folder or hub name with one of them. No code of a checkpoint is run: what is no "
               "tensor, number\n"
               "or plain container is refused by its name. Names are kept, but for the wrappers around a state dict "
               "(\"model\",\n"
               "\"state_dict\", \"module.\"); types are kept too. With --json one object a tensor: \"name\", "
               "\"dtype\", \"shape\".",
    .example = "  vicha model convert checkpoint_last.pth vicha.safetensors",
};

static bool write_converted(const NnSafetensors *set, const char *path, bool json, VcErr *err)
{
    const size_t count = nn_safetensors_count(set);
    NnToStore *tensors = vc_calloc(count + 1, sizeof *tensors);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const NnStored *t = nn_safetensors_at(set, i);
        tensors[i] = (NnToStore){t->name, t->dtype, t->shape, t->data};
        bytes += t->bytes;
    }
    const NnMetadata format = {"format", "pt"};
    const bool ok = nn_safetensors_write(path, tensors, count, &format, 1, NN_STORE_SORTED, err);
    for (size_t i = 0; ok && json && i < count; i++) {
        char shape[NN_SHAPE_TEXT];
        VcStr line = {0};
        vc_str_put(&line, "{\"name\": ");
        vc_str_put_json(&line, tensors[i].name, strlen(tensors[i].name), false);
        vc_str_putf(&line, ", \"dtype\": \"%s\", \"shape\": %s}", nn_dtype_name(tensors[i].dtype),
                    nn_shape_text(&tensors[i].shape, shape));
        puts(line.data);
        vc_str_finish(&line);
    }
    if (ok && !json)
        printf("%s: %zu tensors, %.1f MiB\n", path, count, (double)bytes / 1048576.0);
    free(tensors);
    return ok;
}

static int model_convert(int argc, char **argv)
{
    const CliOption options[] = {{0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown = false;
    if (!cli_parse(&ctx, argc, argv, &convert_help, options, &shown, &err))
        return cli_error(&err);
    int status = CLI_OK;
    NnSafetensors *set = NULL;
    if (!shown && ctx.argc != 2) {
        vc_fail(&err, VC_ERR_USAGE, "expected IN and OUT.safetensors (see 'vicha model convert --help')");
        status = cli_error(&err);
    } else if (!shown &&
               !(train_weights_open(&set, ctx.argv[0], &err) && write_converted(set, ctx.argv[1], ctx.json, &err))) {
        status = cli_error(&err);
    }
    nn_safetensors_close(&set);
    cli_context_finish(&ctx);
    return status;
}

// ---- pull ----

static const CliHelp pull_help = {
    .name = "model pull",
    .summary = "fetch a model from the Hugging Face hub into its local cache",
    .usage = "[options] ORG/NAME",
    .details =
        "Without --include: the configuration and tokenizer files, and the weights in one form. What the cache has is "
        "not\n"
        "fetched again, what was broken off goes on where it ended, sizes and SHA-256 are checked. The cache is the "
        "one\n"
        "of huggingface_hub, which finds the model too; every MODEL of this program may then be ORG/NAME.\n"
        "Environment: HF_ENDPOINT, HF_TOKEN (sent to that host alone), HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.\n"
        "Prints the folder of the model; with --json an object: \"dir\", \"commit\", \"files\", \"fetched\", "
        "\"bytes\", \"resumed\".",
    .example = "  vicha model pull openai/clip-vit-base-patch16\n"
               "  vicha model pull bert-base-uncased --include 'vocab.txt' --include '*.safetensors'",
};

static void print_pulled(const HubPulled *p, bool json)
{
    if (!json) {
        puts(p->dir);
        return;
    }
    VcStr s = {0};
    vc_str_put(&s, "{\"dir\": ");
    vc_str_put_json(&s, p->dir, strlen(p->dir), false);
    vc_str_putf(&s, ", \"commit\": \"%s\", \"files\": %zu, \"fetched\": %zu, \"bytes\": %llu, \"resumed\": %llu}",
                p->commit, p->files, p->fetched, (unsigned long long)p->bytes, (unsigned long long)p->resumed);
    puts(s.data);
    vc_str_finish(&s);
}

static int model_pull(int argc, char **argv)
{
    const char *revision = NULL;
    CliList include = {0}, exclude = {0};
    const CliOption options[] = {
        {"revision", 0, CLI_STRING, &revision, "REV", "branch, tag or commit (main)", 0, 0},
        {"include", 0, CLI_LIST, &include, "PATTERN", "fetch the files that match instead (repeatable)", 0, 0},
        {"exclude", 0, CLI_LIST, &exclude, "PATTERN", "leave out the files that match (repeatable)", 0, 0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown = false;
    if (!cli_parse(&ctx, argc, argv, &pull_help, options, &shown, &err))
        return cli_error(&err);
    int status = CLI_OK;
    if (!shown && ctx.argc != 1) {
        vc_fail(&err, VC_ERR_USAGE, "expected one ORG/NAME (see 'vicha model pull --help')");
        status = cli_error(&err);
    } else if (!shown) {
        const HubPull pull = {ctx.argv[0], revision, include.items, include.count, exclude.items, exclude.count};
        HubPulled pulled;
        if (hub_pull(&pull, &pulled, &err)) {
            print_pulled(&pulled, ctx.json);
            hub_pulled_finish(&pulled);
        } else {
            status = cli_error(&err);
        }
    }
    free(include.items);
    free(exclude.items);
    cli_context_finish(&ctx);
    return status;
}

static const CliCommand models[] = {
    {"pull", model_pull, "fetch one from the Hugging Face hub"},
    {"info", model_info, "what a CLIP model is"},
    {"check", model_check, "is it whole? names each missing or damaged file"},
    {"convert", model_convert, "the tensors of a PyTorch checkpoint as safetensors"},
};

int cmd_model(int argc, char **argv)
{
    return cli_group("model", models, sizeof models / sizeof *models, "CLIP models on this machine", argc, argv);
}
