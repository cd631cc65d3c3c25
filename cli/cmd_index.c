// SPDX-License-Identifier: MIT
#include "base/file.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/str.h"
#include "base/workspace.h"
#include "cli/commands.h"
#include "index/index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const CliHelp help = {
    .name = "index",
    .summary = "pack images, captions and concepts as training records",
    .usage = "--vocab FILE [options]  |  --verify|--pack|--unpack [DIR]",
    .details =
        "Writes DIR/records: MDS shards (readable by mosaicml-streaming) with the stored JPEG, the captions and their\n"
        "WordPiece ids, the concepts with scores and ids, all images in the order of their numbers. A workspace with\n"
        "splits gets one set a split, records/NAME; images in no split belong to 'train'. Images that are not mined\n"
        "yet, have no caption or cannot be read are left out, counted, and marked in the database (exit status 3).\n"
        "\n"
        "Run again: new images are appended as new shards; existing shards never change. Other settings than the set\n"
        "was made with are refused; --rebuild starts over.\n"
        "\n"
        "--compression zlib stores decoded pixels in zlib streams (column image_z) instead of JPEG: no loss, no JPEG\n"
        "decoder in training, about five times the size. --pack turns finished shards into gzip files for shipping;\n"
        "training needs them unpacked.\n"
        "\n"
        "--verify, --pack and --unpack work on DIR (default: the records of the workspace).",
    .example = "vicha index -w flickr --vocab bert-base-uncased/vocab.txt\n"
               "  vicha index --verify flickr/records --on-bad list",
};

typedef struct {
    const char *vocab, *compression, *split, *on_bad;
    uint64_t shard_size;
    int64_t max_concepts, level;
    bool rebuild, verify, pack, unpack;
} Options;

static void print_report(const CliContext *ctx, const IndexStageReport *r)
{
    unsigned long long skipped = r->no_caption + r->no_concepts + r->unreadable + r->not_mined;
    if (ctx->json) {
        printf(
            "{\"sets\": %llu, \"records\": %llu, \"added\": %llu, \"shards\": %llu, \"bytes\": %llu, \"tokens\": %llu, "
            "\"skipped\": {\"no_caption\": %llu, \"no_concepts\": %llu, \"not_mined\": %llu, \"unreadable\": %llu}, "
            "\"captions_cut\": %llu}\n",
            (unsigned long long)r->sets, (unsigned long long)r->records, (unsigned long long)r->added,
            (unsigned long long)r->shards, (unsigned long long)r->bytes, (unsigned long long)r->tokens,
            (unsigned long long)r->no_caption, (unsigned long long)r->no_concepts, (unsigned long long)r->not_mined,
            (unsigned long long)r->unreadable, (unsigned long long)r->cut);
        return;
    }
    if (r->added == 0)
        printf("nothing to do: ");
    printf("%llu records in %llu shard%s (%.1f MiB)", (unsigned long long)r->records, (unsigned long long)r->shards,
           r->shards == 1 ? "" : "s", (double)r->bytes / 1048576.0);
    if (r->sets > 1)
        printf(", %llu splits", (unsigned long long)r->sets);
    if (r->added > 0)
        printf("; %llu added with %llu caption tokens", (unsigned long long)r->added, (unsigned long long)r->tokens);
    printf("\n");
    if (skipped > 0) {
        printf("left out: %llu not mined yet, %llu without a caption, %llu without concepts, %llu unreadable\n",
               (unsigned long long)r->not_mined, (unsigned long long)r->no_caption, (unsigned long long)r->no_concepts,
               (unsigned long long)r->unreadable);
    }
}

static int run_stage(const CliContext *ctx, const Options *o)
{
    VcErr err;
    VcWorkspace ws = {0};
    IndexStageReport report;
    if (o->vocab == NULL) {
        vc_fail(&err, VC_ERR_USAGE, "--vocab FILE is needed: the vocab.txt of bert-base-uncased or of a model like it");
        return cli_error(&err);
    }
    bool zlib = strcmp(o->compression, "zlib") == 0;
    if (!zlib && strcmp(o->compression, "none") != 0) {
        vc_fail(&err, VC_ERR_USAGE, "--compression '%s': expected none or zlib", o->compression);
        return cli_error(&err);
    }
    if (!vc_workspace_open(&ws, ctx->workspace, VC_DB_WRITE, &err))
        return cli_error(&err);
    VcPool *pool = vc_pool_create((size_t)ctx->threads);
    const IndexStageOptions stage = {.vocabulary = o->vocab,
                                     .shard_size = o->shard_size,
                                     .zlib = zlib,
                                     .max_concepts = o->max_concepts,
                                     .split = o->split,
                                     .rebuild = o->rebuild,
                                     .pool = pool};
    bool ok = index_stage_run(&ws, &stage, &report, &err);
    vc_pool_destroy(&pool);
    vc_workspace_close(&ws);
    if (!ok)
        return cli_error(&err);
    print_report(ctx, &report);
    return report.no_caption + report.no_concepts + report.unreadable + report.not_mined > 0 ? CLI_REJECTED : CLI_OK;
}

static void print_bad(void *ctx, const char *reason)
{
    const CliContext *c = ctx;
    VcStr line = {0};
    if (c->json) {
        vc_str_put(&line, "{\"bad\": ");
        vc_str_put_json(&line, reason, strlen(reason), false);
        vc_str_putc(&line, '}');
        puts(vc_str_get(&line));
    } else {
        printf("bad: %s\n", reason);
    }
    vc_str_finish(&line);
}

static void print_verified(const CliContext *ctx, const char *dir, const IndexVerifyReport *r)
{
    if (!ctx->json) {
        printf("%s: %llu records in %llu shard%s%s, %.1f MiB: ", dir, (unsigned long long)r->records,
               (unsigned long long)r->shards, r->shards == 1 ? "" : "s", r->packed ? " (packed)" : "",
               (double)r->bytes / 1048576.0);
        if (r->bad > 0) {
            printf("%llu bad\n", (unsigned long long)r->bad);
        } else {
            printf("all good%s\n", r->unchecked > 0 ? " (no side index: records were not checked by CRC)" : "");
        }
        return;
    }
    VcStr line = {0};
    vc_str_put(&line, "{\"dir\": ");
    vc_str_put_json(&line, dir, strlen(dir), false);
    vc_str_putf(&line,
                ", \"records\": %llu, \"shards\": %llu, \"bytes\": %llu, \"bad\": %llu, \"tokens\": %llu, "
                "\"concepts\": %llu, \"shards_without_side_index\": %llu, \"packed\": %s}",
                (unsigned long long)r->records, (unsigned long long)r->shards, (unsigned long long)r->bytes,
                (unsigned long long)r->bad, (unsigned long long)r->tokens, (unsigned long long)r->concepts,
                (unsigned long long)r->unchecked, r->packed ? "true" : "false");
    puts(vc_str_get(&line));
    vc_str_finish(&line);
}

// The size of the vocabulary that token ids must stay below: that of --vocab, else what records.json says.
static bool vocabulary_size(const Options *o, const char *dir, int32_t *out, VcErr *err)
{
    *out = index_set_vocabulary(dir);
    if (o->vocab == NULL)
        return true;
    Wordpiece *wp = NULL;
    if (!wordpiece_open(&wp, o->vocab, err))
        return false;
    *out = (int32_t)wordpiece_size(wp);
    wordpiece_close(&wp);
    return true;
}

static bool verify_one(CliContext *ctx, const Options *o, const char *dir, uint64_t *bad, VcErr *err)
{
    static const char *const policies[] = {"stop", "skip", "list"};
    IndexVerifyReport report;
    int policy = 0;
    int32_t vocabulary;
    while (policy < 3 && strcmp(o->on_bad, policies[policy]) != 0)
        policy++;
    if (policy == 3)
        return vc_fail(err, VC_ERR_USAGE, "--on-bad '%s': expected stop, skip or list", o->on_bad);
    if (!vocabulary_size(o, dir, &vocabulary, err) ||
        !index_verify(dir, (IndexOnBad)policy, vocabulary, &report, print_bad, ctx, err))
        return false;
    *bad += report.bad;
    print_verified(ctx, dir, &report);
    return true;
}

static bool convert_one(const CliContext *ctx, const Options *o, const char *dir, VcErr *err)
{
    uint64_t done;
    bool ok = o->pack ? index_set_pack(dir, (int)o->level, &done, err) : index_set_unpack(dir, &done, err);
    if (!ok)
        return false;
    if (ctx->json) {
        printf("{\"%s\": %llu}\n", o->pack ? "packed" : "unpacked", (unsigned long long)done);
    } else {
        printf("%s: %llu shard%s %s\n", dir, (unsigned long long)done, done == 1 ? "" : "s",
               o->pack ? "packed" : "unpacked");
    }
    return true;
}

// --verify, --pack, --unpack: every set in DIR.
static int run_on_sets(CliContext *ctx, const Options *o)
{
    VcErr err;
    char **sets = NULL, *own = vc_path_join(ctx->workspace, "records");
    const char *dir = ctx->argc > 0 ? ctx->argv[0] : own;
    size_t count = 0;
    uint64_t bad = 0;
    bool ok = index_find_sets(dir, &sets, &count, &err);
    for (size_t i = 0; i < count && ok; i++)
        ok = o->verify ? verify_one(ctx, o, sets[i], &bad, &err) : convert_one(ctx, o, sets[i], &err);
    for (size_t i = 0; i < count; i++)
        free(sets[i]);
    free(sets);
    free(own);
    if (!ok)
        return cli_error(&err);
    return bad > 0 ? CLI_REJECTED : CLI_OK;
}

int cmd_index(int argc, char **argv)
{
    Options o = {.compression = "none", .on_bad = "stop", .shard_size = 64u << 20, .max_concepts = 15, .level = 6};
    const CliOption options[] = {
        {"vocab", 0, CLI_STRING, &o.vocab, "FILE", "BERT's vocab.txt for WordPiece", 0, 0},
        {"shard-size", 0, CLI_BYTES, &o.shard_size, "SIZE", "a shard is closed before it would pass this", 0, 0},
        {"compression", 0, CLI_STRING, &o.compression, "none|zlib", "of images; see below", 0, 0},
        {"max-concepts", 0, CLI_INT, &o.max_concepts, "N",
         "best concepts kept of an image; 0: none, and images need not be mined", 0, 1000},
        {"split", 0, CLI_STRING, &o.split, "NAME", "only this split", 0, 0},
        {"rebuild", 0, CLI_FLAG, &o.rebuild, NULL, "remove the records and make them anew", 0, 0},
        {"verify", 0, CLI_FLAG, &o.verify, NULL, "check hashes, offsets, every record", 0, 0},
        {"on-bad", 0, CLI_STRING, &o.on_bad, "stop|skip|list", "what --verify does with a bad record", 0, 0},
        {"pack", 0, CLI_FLAG, &o.pack, NULL, "gzip the shards for shipping", 0, 0},
        {"unpack", 0, CLI_FLAG, &o.unpack, NULL, "restore plain shards", 0, 0},
        {"level", 0, CLI_INT, &o.level, "N", "gzip level of --pack", 1, 9},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    int status = CLI_OK;
    if (!shown && o.verify + o.pack + o.unpack > 1) {
        vc_fail(&err, VC_ERR_USAGE, "--verify, --pack and --unpack are three different things to do; choose one");
        status = cli_error(&err);
    } else if (!shown && ctx.argc > (o.verify || o.pack || o.unpack ? 1 : 0)) {
        vc_fail(&err, VC_ERR_USAGE, "unexpected argument '%s' (see 'vicha index --help')", ctx.argv[ctx.argc - 1]);
        status = cli_error(&err);
    } else if (!shown) {
        status = o.verify || o.pack || o.unpack ? run_on_sets(&ctx, &o) : run_stage(&ctx, &o);
    }
    cli_context_finish(&ctx);
    return status;
}
