// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "concepts/concepts.h"
#include "index/index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const CliHelp help = {
    .name = "tokenize",
    .summary = "token ids of lines of text",
    .usage = "--clip MODEL | --wordpiece VOCAB [options] < LINES",
    .details =
        "Reads lines from standard input and prints one JSON array of ids a line.\n"
        "WordPiece ids are [CLS] and the pieces, as ViCHA feeds them to BERT; --sep adds the final [SEP] of a\n"
        "stock BERT tokenizer. --max-length counts the added ids.\n"
        "CLIP ids are start token, pieces, end token, cut to the model's context or to --max-length with the end\n"
        "token last; MODEL is a folder (one with the tokenizer's files alone will do) or a name in the hub cache.\n"
        "--json-lines reads each line as a JSON string, so that a text may hold line ends.",
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
    const char *wordpiece, *clip, *mode;
    bool json_lines;
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

// The text of a line, its JSON string decoded into *json where asked. Broken JSON is an error of that line.
static bool line_text(const TokenizeOptions *o, const char *line, size_t n, size_t number, VcJson **json,
                      const char **text, size_t *length, VcErr *err)
{
    *text = line;
    *length = n;
    if (!o->json_lines)
        return true;
    char what[48];
    snprintf(what, sizeof what, "line %zu", number);
    if (!vc_json_parse(json, line, n, what, err))
        return false;
    *text = vc_json_string(*json, length);
    return *text != NULL || vc_fail(err, VC_ERR_FORMAT, "%s: expected a JSON string", what);
}

static int run_clip(const TokenizeOptions *o)
{
    VcErr err = {0};
    Bpe *bpe = NULL;
    BpeClean clean = BPE_CLEAN_HF, asked = BPE_CLEAN_HF;
    size_t context = 0, line_cap = 0, number = 0;
    if (o->mode != NULL && !bpe_clean_by_name(o->mode, &asked)) {
        vc_fail(&err, VC_ERR_USAGE, "--clean %s: expected hf, openclip or openai", o->mode);
        return cli_error(&err);
    }
    if (!clip_open_tokenizer(&bpe, &clean, &context, o->clip, &err))
        return cli_error(&err);
    if (o->mode != NULL)
        clean = asked;
    if (o->max_length > 0)
        context = o->max_length < 2 ? 2 : (size_t)o->max_length;
    int32_t *ids = vc_alloc(context, sizeof *ids);
    BpeCache *cache = bpe_cache_create();
    char *line = NULL;
    bool ok = true;
    for (ssize_t n; ok && (n = getline(&line, &line_cap, stdin)) >= 0;) {
        size_t length = (size_t)n;
        if (length > 0 && line[length - 1] == '\n')
            length--;
        VcJson *json = NULL;
        const char *text;
        ok = line_text(o, line, length, ++number, &json, &text, &length, &err);
        if (ok)
            print_ids(ids, bpe_encode(bpe, cache, clean, text, length, ids, context));
        vc_json_destroy(&json);
    }
    free(line);
    free(ids);
    bpe_cache_destroy(&cache);
    bpe_close(&bpe);
    return ok ? CLI_OK : cli_error(&err);
}

int cmd_tokenize(int argc, char **argv)
{
    TokenizeOptions o = {.cls = true};
    const CliOption options[] = {
        {"clip", 0, CLI_STRING, &o.clip, "MODEL", "CLIP's byte pairs with the tokenizer of this model", 0, 0},
        {"json-lines", 0, CLI_FLAG, &o.json_lines, NULL, "CLIP: every line is a JSON string", 0, 0},
        {"wordpiece", 0, CLI_STRING, &o.wordpiece, "VOCAB", "BERT's WordPiece with this vocab.txt", 0, 0},
        {"cls", 0, CLI_FLAG, &o.cls, NULL, "[CLS] in front", 0, 0},
        {"sep", 0, CLI_FLAG, &o.sep, NULL, "[SEP] at the end", 0, 0},
        {"clean", 0, CLI_STRING, &o.mode, "MODE",
         "CLIP: hf, openclip or openai (default: as the model's layout); WordPiece: caption, as for training", 0, 0},
        {"max-length", 0, CLI_INT, &o.max_length, "N", "cut to N ids; 0: CLIP's context, WordPiece is not cut", 0, 1e9},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    int status = CLI_OK;
    o.clean = o.wordpiece != NULL && o.mode != NULL && strcmp(o.mode, "caption") == 0;
    bool ok = true;
    if (!shown && (o.wordpiece == NULL) == (o.clip == NULL)) {
        ok = vc_fail(&err, VC_ERR_USAGE,
                     "which tokenizer? give --clip MODEL or --wordpiece VOCAB (see 'vicha tokenize --help')");
    } else if (!shown && o.wordpiece != NULL && o.mode != NULL && !o.clean) {
        ok = vc_fail(&err, VC_ERR_USAGE, "--clean %s: WordPiece knows only 'caption'", o.mode);
    }
    if (!ok) {
        status = cli_error(&err);
    } else if (!shown) {
        status = o.clip != NULL ? run_clip(&o) : run_wordpiece(&o);
    }
    cli_context_finish(&ctx);
    return status;
}
