// SPDX-License-Identifier: MIT
// The `vicha` command: one table of sub-commands, shared exit codes, signals and the check of standard output.
#include "base/err.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "extract/extract.h"

#include <errno.h>
#include <signal.h>

static const CliCommand commands[] = {
    {"extract", cmd_extract, "download or read, decode, check, resize, store"},
    {"merge", cmd_merge, "join workspaces that were extracted apart"},
    {"concepts", cmd_concepts, "captions and images to concepts: parse, embed, mine; list, show, of"},
    {"filter", cmd_filter, "CLIP filtering of image-caption pairs"},
    {"dedup", cmd_dedup, "near duplicates by bytes, looks or embedding: report, mark, undo"},
    {"index", cmd_index, "pack images, captions and concepts as training records"},
    {"index-vectors", cmd_index_vectors, "make vector search fast"},
    {"train", cmd_train, "train a model on the records of a workspace"},
    {"query", cmd_query, "find images by concepts, captions, free text or likeness"},
    {"stats", cmd_stats, "counts, histograms, failures by cause"},
    {"outliers", cmd_outliers, "images that are like no other"},
    {"diff", cmd_diff, "how two workspaces, or two sources of one, differ"},
    {"export", cmd_export, "for other trainers and tools: ViCHA JSON, WebDataset, CSV, NumPy, MDS, Datasette"},
    {"serve", cmd_serve, "the workspace as a web page on this machine"},
    {"report", cmd_report, "one self-contained page about a workspace and its runs"},
    {"parse", cmd_parse, "captions to concepts, attributes and relations"},
    {"tokenize", cmd_tokenize, "token ids of lines of text"},
    {"embed", cmd_embed, "CLIP embeddings of texts or images"},
    {"model", cmd_model, "what a CLIP model is, and whether it is whole"},
    {"bench", cmd_bench, "figures of this machine"},
    {"doctor", cmd_doctor, "check processor, BLAS, libraries and disk"},
    {NULL, NULL, NULL}, // the end
};

int cli_error(const VcErr *err)
{
    fprintf(stderr, "vicha: error: %s\n", err->text);
    if (err->code == VC_ERR_CANCELLED)
        return vc_interrupted() ? 128 + vc_interrupted() : CLI_FAILED;
    return err->code == VC_ERR_USAGE ? CLI_USAGE : CLI_FAILED;
}

static int print_overview(FILE *out)
{
    fprintf(out,
            "vicha %s: image-caption data, visual concepts and vision-language pretraining on one machine\n\n"
            "Usage: vicha COMMAND [options]\n\nCommands:\n",
            VICHA_VERSION);
    for (const CliCommand *c = commands; c->name; c++)
        fprintf(out, "  %-12s %s\n", c->name, c->summary);
    fprintf(
        out,
        "\n'vicha COMMAND --help' explains a command. The stages in their order: extract, concepts, index, train.\n");
    return out == stdout ? CLI_OK : CLI_USAGE;
}

static int unknown(const char *group, const char *word, const CliCommand *list, size_t count)
{
    const char *names[64];
    size_t n = count < 64 ? count : 64;
    for (size_t i = 0; i < n; i++)
        names[i] = list[i].name;
    const char *near = cli_nearest(word, names, n);
    fprintf(stderr, "vicha: error: there is no command '%s%s%s'", group ? group : "", group ? " " : "", word);
    if (near) {
        fprintf(stderr, "; did you mean '%s'?\n", near);
    } else {
        fprintf(stderr, "; see 'vicha%s%s --help'\n", group ? " " : "", group ? group : "");
    }
    return CLI_USAGE;
}

int cli_group(const char *group, const CliCommand *list, size_t count, const char *intro, int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        FILE *out = argc < 2 ? stderr : stdout;
        fprintf(out, "vicha %s: %s\n\nCommands:\n", group, intro);
        for (size_t i = 0; i < count; i++)
            fprintf(out, "  vicha %s %-10s %s\n", group, list[i].name, list[i].summary);
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(argv[1], list[i].name) == 0)
            return list[i].run(argc - 1, argv + 1);
    }
    return unknown(group, argv[1], list, count);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return print_overview(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return print_overview(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        printf("vicha " VICHA_VERSION "\n");
        return CLI_OK;
    }
    size_t count = 0;
    for (const CliCommand *c = commands; c->name; c++, count++) {
        if (strcmp(argv[1], c->name) == 0)
            return c->run(argc - 1, argv + 1);
    }
    return unknown(NULL, argv[1], commands, count);
}

int main(int argc, char **argv)
{
    // Not a command: this program started by itself to decode for extract --sandbox.
    if (argc == 2 && strcmp(argv[1], EXTRACT_SANDBOX_WORD) == 0)
        return extract_sandbox_main();
    vc_interrupt_install();
    int status = dispatch(argc, argv);
    // A full disk behind '> file' must not look like success. A closed pipe is the reader's choice.
    if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE) {
        fprintf(stderr, "vicha: error: cannot write to standard output: %s\n", strerror(errno));
        status = status == CLI_OK || status == CLI_REJECTED ? CLI_FAILED : status;
    }
    int signal_number = vc_interrupted();
    return signal_number ? 128 + signal_number : status;
}
