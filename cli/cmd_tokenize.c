// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "index/index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const CliHelp help = {
    .name = "tokenize",
    .summary = "token ids of lines of text",
    .usage = "--wordpiece VOCAB [options] < LINES",
    .details = "Reads lines from standard input and prints one JSON array of ids a line.\n"
               "WordPiece ids are [CLS] and the pieces, as ViCHA feeds them to BERT; --sep adds the final [SEP] of a\n"
               "stock BERT tokenizer. --max-length counts the added ids.",
    .example = "echo 'a dog runs' | vicha tokenize --wordpiece vocab.txt",
};

static void print_ids(const int32_t *ids, size_t count)
{
    putchar('[');
    for (size_t i = 0; i < count; i++)
        printf(i == 0 ? "%d" : ", %d", (int)ids[i]);
    fputs("]\n", stdout);
}

typedef struct {
    const char *wordpiece;
    bool cls, sep, clean;
    int64_t max_length;
} TokenizeOptions;

static int run_wordpiece(const TokenizeOptions *o)
{
    VcErr err;
    Wordpiece *wp = NULL;
    if (!wordpiece_open(&wp, o->wordpiece, &err))
        return cli_error(&err);
    unsigned flags = (o->cls ? WORDPIECE_ADD_CLS : 0u) | (o->sep ? WORDPIECE_ADD_SEP : 0u);
    char *line = NULL;
    int32_t *ids = NULL;
    size_t line_cap = 0, ids_cap = 0;
    VcStr cleaned = {0};
    ssize_t n;
    while ((n = getline(&line, &line_cap, stdin)) >= 0) {
        size_t length = (size_t)n;
        if (length > 0 && line[length - 1] == '\n')
            length--;
        const char *text = line;
        if (o->clean) {
            vc_str_clear(&cleaned);
            index_clean_caption(&cleaned, line, length, INDEX_CAPTION_WORDS);
            text = vc_str_get(&cleaned);
            length = cleaned.len;
        }
        size_t most = 4 * length + 2; // a character decomposes to at most four
        ids = vc_grow(ids, &ids_cap, most, sizeof *ids);
        size_t cap = o->max_length > 0 && (size_t)o->max_length < most ? (size_t)o->max_length : most;
        print_ids(ids, wordpiece_encode(wp, text, length, flags, ids, cap, NULL));
    }
    vc_str_finish(&cleaned);
    free(line);
    free(ids);
    wordpiece_close(&wp);
    return CLI_OK;
}

int cmd_tokenize(int argc, char **argv)
{
    TokenizeOptions o = {.cls = true};
    const CliOption options[] = {
        {"wordpiece", 0, CLI_STRING, &o.wordpiece, "VOCAB", "BERT's WordPiece with this vocab.txt", 0, 0},
        {"cls", 0, CLI_FLAG, &o.cls, NULL, "[CLS] in front", 0, 0},
        {"sep", 0, CLI_FLAG, &o.sep, NULL, "[SEP] at the end", 0, 0},
        {"clean", 0, CLI_FLAG, &o.clean, NULL, "clean each line as captions are cleaned for training", 0, 0},
        {"max-length", 0, CLI_INT, &o.max_length, "N", "cut to N ids; 0 does not cut", 0, 1e9},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    int status = CLI_OK;
    if (!shown && o.wordpiece == NULL) {
        vc_fail(&err, VC_ERR_USAGE, "which tokenizer? give --wordpiece VOCAB (see 'vicha tokenize --help')");
        status = cli_error(&err);
    } else if (!shown) {
        status = run_wordpiece(&o);
    }
    cli_context_finish(&ctx);
    return status;
}
