// SPDX-License-Identifier: MIT
// vicha bench clip and bench text: the encoders alone, on made input.
#include "base/clock.h"
#include "base/cpu.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "concepts/concepts.h"
#include "nn/nn.h"

#define BENCH_DETAILS \
    "One JSON object for each precision: \"bench\", \"model\", \"precision\", \"threads\", \"batch\", "
static const CliHelp clip_help = {
    .name = "bench clip",
    .summary = "CLIP's image encoder, images/s",
    .usage = "[options]",
    .details = BENCH_DETAILS
    "\"images_per_s\"\n"
    "(the median of the runs), \"best\", \"peak_share\" (of what the threads multiply and add in that precision "
    "without\n"
    "loading anything, measured just before; 0 where unknown), \"kernels\" and \"packed_mib\". Without --clip the "
    "weights are\n"
    "random, which takes the same time. Peers' figures beside these: tests/concepts/bench_peers.py.",
    .example = "  vicha bench clip --arch ViT-B/16 --precision all --batch 32 --threads 2",
};

static const CliHelp text_help = {
    .name = "bench text",
    .summary = "CLIP's text encoder, texts/s",
    .usage = "[options]",
    .details = BENCH_DETAILS
    "\"tokens\" (of a\n"
    "text, with start and end), \"prefix\" (tokens all begin with), \"texts_per_s\" (the median), "
    "\"best\", \"peak_share\",\n"
    "\"kernels\". Texts are cut at their end token and what they begin with alike is computed once; neither\n"
    "changes a bit of an embedding, and peak_share counts the work of whole texts.",
    .example = "  vicha bench text --arch ViT-B/32 --precision bf16 --batch 128 --tokens 8 --prefix 5",
};

typedef struct {
    const char *clip, *arch, *precision;
    int64_t batch, tokens, prefix;
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
        const size_t prefix = (size_t)o->prefix;
        VC_ASSERT(info->context > 0);
        b->ids = vc_alloc(b->batch * info->context, sizeof *b->ids);
        for (size_t i = 0; i < b->batch * info->context; i++) {
            const size_t place = i % info->context;
            const int32_t drawn = (int32_t)vc_rng_below(&rng, (uint64_t)end - 1);
            b->ids[i] = place == 0 ? end - 1 : place + 1 < (size_t)o->tokens ? drawn : end;
            if (i >= info->context && place < prefix)
                b->ids[i] = b->ids[place];
        }
        return;
    }
    const size_t n = b->batch * 3 * info->image_size * info->image_size;
    b->pixels = vc_alloc(n, sizeof *b->pixels);
    for (size_t i = 0; i < n; i++)
        b->pixels[i] = (float)vc_rng_uniform(&rng) * 4.0F - 2.0F;
}

static int by_size(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void print_result(const Bench *b, const BenchOptions *o, ClipPrecision p, double median, double best)
{
    const ClipInfo *info = clip_info(b->m);
    const bool text = b->ids != NULL;
    static const NnPackedKind kinds[] = {NN_PACKED_FP32, NN_PACKED_BF16, NN_PACKED_INT8};
    const size_t threads = vc_pool_threads(b->pool);
    const double peak = nn_peak_gops(kinds[p]) * (double)threads * 1e9, rate = (double)b->batch / median;
    const double flops = text ? clip_text_flops(info, (size_t)o->tokens) : clip_image_flops(info);
    char arch[48], flags[64];
    vc_cpu_describe(vc_cpu_flags(), flags);
    printf("{\"bench\": \"%s\", \"model\": \"%s\", \"precision\": \"%s\", \"threads\": %zu, \"batch\": %zu, ",
           text ? "text" : "clip", clip_arch_name(info, arch), clip_precision_name(p), threads, b->batch);
    if (text)
        printf("\"tokens\": %d, \"prefix\": %d, ", (int)o->tokens, (int)o->prefix);
    printf("\"%s\": %.2f, \"best\": %.2f, \"peak_share\": %.3f, \"kernels\": \"%s\", \"packed_mib\": %.0f}\n",
           text ? "texts_per_s" : "images_per_s", rate, (double)b->batch / best, peak > 0 ? rate * flops / peak : 0,
           flags, (double)clip_packed_bytes(b->m) / (1 << 20));
    fflush(stdout);
}

// Runs for o->seconds, at least three times.
static bool measure_precision(Bench *b, const BenchOptions *o, ClipModel *m, ClipPrecision p, VcErr *err)
{
    enum { RUNS = 4096 };
    double *seconds = vc_alloc(RUNS, sizeof *seconds);
    size_t n = 0;
    bool ok = clip_prepare(m, b->pool, b->ids != NULL ? CLIP_TEXTS : CLIP_IMAGES, p, NULL, err) &&
              encode(b, err); // pages, caches
    for (const double end = vc_now() + o->seconds; ok && n < RUNS && (vc_now() < end || n < 3) && !vc_interrupted();) {
        const double start = vc_now();
        ok = encode(b, err);
        seconds[n++] = vc_now() - start;
    }
    ok = ok && (!vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted"));
    qsort(seconds, n, sizeof *seconds, by_size);
    if (ok)
        print_result(b, o, p, seconds[n / 2], seconds[0]);
    free(seconds);
    return ok;
}

static bool measure(const BenchOptions *o, size_t threads, bool text, VcErr *err)
{
    ClipPrecision first = CLIP_FP32, last = CLIP_INT8;
    if (strcmp(o->precision, "all") != 0) {
        if (!clip_precision_by_name(o->precision, &first)) {
            return vc_fail(err, VC_ERR_USAGE, "--precision '%s' is not known; use fp32, bf16, int8 or all",
                           o->precision);
        }
        last = first;
    }
    ClipModel *m = NULL;
    if (!(o->clip != NULL ? clip_open(&m, o->clip, err) : clip_open_random(&m, o->arch, 1, err)))
        return false;
    const ClipInfo *info = clip_info(m);
    BenchOptions fitted = *o;
    if (fitted.tokens > (int64_t)info->context)
        fitted.tokens = (int64_t)info->context;
    if (fitted.prefix >= fitted.tokens)
        fitted.prefix = fitted.tokens - 1;
    Bench b = {.m = m, .pool = vc_pool_create(threads), .batch = (size_t)o->batch};
    make_input(&b, &fitted, text);
    bool ok = true;
    for (ClipPrecision p = first; ok && p <= last; p++)
        ok = measure_precision(&b, &fitted, m, p, err);
    vc_pool_destroy(&b.pool);
    free(b.pixels);
    free(b.ids);
    free(b.out);
    clip_close(&m);
    return ok;
}

static int bench(int argc, char **argv, bool text)
{
    BenchOptions o = {
        .arch = "ViT-B/32", .precision = "fp32", .batch = text ? 128 : 32, .tokens = 8, .prefix = 1, .seconds = 3.0};
    const CliOption options[] = {
        {"clip", 0, CLI_STRING, &o.clip, "MODEL", "a model's own weights", 0, 0},
        {"arch", 0, CLI_STRING, &o.arch, "NAME", "random weights of ViT-B/32, ViT-B/16, ViT-L/14 or ViT-H/14", 0, 0},
        {"batch", 0, CLI_INT, &o.batch, "N", text ? "texts a call" : "images a call", 1, 65536},
        {"seconds", 0, CLI_REAL, &o.seconds, "S", "how long to measure", 0.001, 3600},
        {"precision", 0, CLI_STRING, &o.precision, "P", "fp32, bf16, int8, or all three", 0, 0},
        {"tokens", 0, CLI_INT, &o.tokens, "N", "length of a text with start and end", 2, 8192},
        {"prefix", 0, CLI_INT, &o.prefix, "N", "tokens that all texts begin with, the start token one of them", 1,
         8192},
        {0},
    };
    CliOption without_tokens[sizeof options / sizeof options[0]];
    memcpy(without_tokens, options, sizeof options);
    if (!text)
        without_tokens[5] = (CliOption){0}; // the list ends before tokens
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
