// SPDX-License-Identifier: MIT
// vicha bench clip and bench text: the encoders alone, on made input.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "concepts/concepts.h"
#include "nn/nn.h"

static const CliHelp clip_help = {
    .name = "bench clip",
    .summary = "CLIP's image encoder, images/s",
    .usage = "[options]",
    .details =
        "Prints one JSON object: \"bench\", \"model\", \"precision\", \"threads\", \"batch\", \"images_per_s\" and "
        "\"peak_share\" (of the\n"
        "multiply-adds that the threads can do without loading anything; 0 where unknown). Without --clip the weights\n"
        "are random, which takes the same time. The best of the runs counts.",
    .example = "  vicha bench clip --arch ViT-B/16 --batch 32 --threads 2",
};

static const CliHelp text_help = {
    .name = "bench text",
    .summary = "CLIP's text encoder, texts/s",
    .usage = "[options]",
    .details = "Prints one JSON object: \"bench\", \"model\", \"precision\", \"threads\", \"batch\", \"tokens\" (of a "
               "text, with start and end),\n"
               "\"texts_per_s\" and \"peak_share\". Texts are cut at their end token, which changes no bit of their "
               "embedding.",
    .example = "  vicha bench text --arch ViT-B/32 --batch 128 --tokens 8",
};

typedef struct {
    const char *clip, *arch;
    int64_t batch, tokens;
    double seconds;
} BenchOptions;

typedef struct {
    const ClipModel *m;
    VcPool *pool;
    size_t batch;
    float *pixels, *out;
    int32_t *ids;
} Bench;

static bool encode(const Bench *b, VcErr *err)
{
    if (b->ids != NULL)
        return clip_encode_ids(b->m, b->pool, b->ids, b->batch, b->out, err);
    clip_encode_images(b->m, b->pool, b->pixels, b->batch, b->out);
    return true;
}

static void make_input(Bench *b, const BenchOptions *o, bool text)
{
    const ClipInfo *info = clip_info(b->m);
    VcRng rng;
    vc_rng_seed(&rng, 1);
    b->out = vc_alloc(b->batch * info->dim, sizeof *b->out);
    if (text) {
        const int32_t end = (int32_t)info->vocabulary - 1;
        b->ids = vc_alloc(b->batch * info->context, sizeof *b->ids);
        for (size_t i = 0; i < b->batch * info->context; i++) {
            const size_t place = i % info->context;
            b->ids[i] = place == 0                      ? end - 1
                        : place + 1 < (size_t)o->tokens ? (int32_t)vc_rng_below(&rng, (uint64_t)end - 1)
                                                        : end;
        }
        return;
    }
    const size_t n = b->batch * 3 * info->image_size * info->image_size;
    b->pixels = vc_alloc(n, sizeof *b->pixels);
    for (size_t i = 0; i < n; i++)
        b->pixels[i] = (float)vc_rng_uniform(&rng) * 4.0F - 2.0F;
}

static bool measure(const BenchOptions *o, size_t threads, bool text, VcErr *err)
{
    ClipModel *m = NULL;
    if (!(o->clip != NULL ? clip_open(&m, o->clip, err) : clip_open_random(&m, o->arch, 1, err)))
        return false;
    const ClipInfo *info = clip_info(m);
    BenchOptions fitted = *o;
    if (fitted.tokens > (int64_t)info->context)
        fitted.tokens = (int64_t)info->context;
    Bench b = {.m = m, .pool = vc_pool_create(threads), .batch = (size_t)o->batch};
    make_input(&b, &fitted, text);
    bool ok = encode(&b, err); // pages, caches
    double best = INFINITY;
    for (const double end = vc_now() + o->seconds; ok && (vc_now() < end || isinf(best)) && !vc_interrupted();) {
        const double start = vc_now();
        ok = encode(&b, err);
        const double seconds = vc_now() - start;
        best = seconds < best ? seconds : best;
    }
    const double rate = (double)b.batch / best, peak = nn_peak_gflops() * (double)threads * 1e9;
    const double flops = text ? clip_text_flops(info, (size_t)fitted.tokens) : clip_image_flops(info);
    char arch[48];
    if (ok && !isinf(best) && text) {
        printf("{\"bench\": \"text\", \"model\": \"%s\", \"precision\": \"fp32\", \"threads\": %zu, \"batch\": %zu, "
               "\"tokens\": %d, "
               "\"texts_per_s\": %.1f, \"peak_share\": %.3f}\n",
               clip_arch_name(info, arch), threads, b.batch, (int)fitted.tokens, rate,
               peak > 0 ? rate * flops / peak : 0);
    } else if (ok && !isinf(best)) {
        printf("{\"bench\": \"clip\", \"model\": \"%s\", \"precision\": \"fp32\", \"threads\": %zu, \"batch\": %zu, "
               "\"images_per_s\": %.2f, \"peak_share\": %.3f}\n",
               clip_arch_name(info, arch), threads, b.batch, rate, peak > 0 ? rate * flops / peak : 0);
    }
    vc_pool_destroy(&b.pool);
    free(b.pixels);
    free(b.ids);
    free(b.out);
    clip_close(&m);
    return ok;
}

static int bench(int argc, char **argv, bool text)
{
    BenchOptions o = {.arch = "ViT-B/32", .batch = text ? 128 : 32, .tokens = 8, .seconds = 3.0};
    const CliOption options[] = {
        {"clip", 0, CLI_STRING, &o.clip, "MODEL", "a model's own weights", 0, 0},
        {"arch", 0, CLI_STRING, &o.arch, "NAME", "random weights of ViT-B/32, ViT-B/16, ViT-L/14 or ViT-H/14", 0, 0},
        {"batch", 0, CLI_INT, &o.batch, "N", text ? "texts a call" : "images a call", 1, 65536},
        {"seconds", 0, CLI_REAL, &o.seconds, "S", "how long to measure", 0.001, 3600},
        {"tokens", 0, CLI_INT, &o.tokens, "N", "length of a text with start and end", 2, 8192},
        {0},
    };
    CliOption without_tokens[sizeof options / sizeof options[0]];
    memcpy(without_tokens, options, sizeof options);
    if (!text)
        without_tokens[4] = (CliOption){0};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, text ? &text_help : &clip_help, without_tokens, &shown, &err))
        return cli_error(&err);
    const bool ok = shown || measure(&o, (size_t)ctx.threads, text, &err);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}

int bench_clip(int argc, char **argv)
{
    return bench(argc, argv, false);
}

int bench_text(int argc, char **argv)
{
    return bench(argc, argv, true);
}
