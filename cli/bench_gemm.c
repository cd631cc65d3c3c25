// SPDX-License-Identifier: MIT
// vicha bench gemm: C = A W^T at the shapes of CLIP's layers, in the program's own threads.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "nn/nn.h"

static const CliHelp help = {
    .name = "bench gemm",
    .summary = "matrix products, GFLOP/s",
    .usage = "[options] [MxNxK...]",
    .details =
        "Prints one JSON object a line: \"bench\", \"m\", \"n\", \"k\", \"threads\", \"gflops\" (the median of the "
        "calls),\n\"peak_share\" (of the multiply-adds that one thread can do without loading anything, times threads; "
        "0 "
        "where\nunknown) and \"corename\" (the BLAS's kernels). Each shape is run with 1 thread and with --threads.",
    .example = "  vicha bench gemm 1600x3072x768 --threads 2",
};

typedef struct {
    size_t m, n, k;
} Shape;

// fc1, fc2 and qkv of ViT-B/32 at a batch of 32; fc1 at 8 and at 1; a square.
static const Shape usual[] = {{2048, 2048, 2048}, {1600, 3072, 768}, {1600, 768, 3072}, {1600, 2304, 768},
                              {400, 3072, 768},   {50, 3072, 768},   {50, 50, 64}};

// "MxNxK"
static bool parse_shape(const char *text, Shape *out)
{
    size_t *sizes[] = {&out->m, &out->n, &out->k};
    for (int i = 0; i < 3; i++) {
        const size_t digits = strcspn(text, "x");
        char *number = vc_strndup(text, digits);
        int64_t value;
        const bool ok = vc_parse_i64(number, &value) && value >= 1 && value <= 65536; // 16 GiB a matrix
        free(number);
        if (!ok || (text[digits] == 'x') != (i < 2))
            return false;
        *sizes[i] = (size_t)value;
        text += digits + 1;
    }
    return true;
}

static int by_value(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

static double measure(VcPool *pool, Shape s)
{
    enum { CALLS = 101 };
    const size_t a_count = s.m * s.k, b_count = s.n * s.k, c_count = s.m * s.n;
    float *a = vc_alloc_aligned(a_count + b_count + c_count, sizeof *a), *b = a + a_count, *c = b + b_count;
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (size_t i = 0; i < a_count + b_count; i++)
        a[i] = (float)vc_rng_uniform(&rng) - 0.5F;
    double seconds[CALLS];
    size_t calls = 0;
    nn_gemm(pool, NN_PLAIN, NN_TRANSPOSED, s.m, s.n, s.k, 1, a, s.k, b, s.k, 0, c, s.n); // pages, caches
    const double end = vc_now() + 0.5;
    // Small products are timed many at a time: the clock has a price too.
    const size_t many = 1 + (size_t)(1e6 / ((double)s.m * (double)s.n * (double)s.k));
    do {
        const double start = vc_now();
        for (size_t i = 0; i < many; i++)
            nn_gemm(pool, NN_PLAIN, NN_TRANSPOSED, s.m, s.n, s.k, 1, a, s.k, b, s.k, 0, c, s.n);
        seconds[calls++] = (vc_now() - start) / (double)many;
    } while (calls < CALLS && vc_now() < end && !vc_interrupted());
    free(a);
    qsort(seconds, calls, sizeof seconds[0], by_value);
    return 2.0 * (double)s.m * (double)s.n * (double)s.k / seconds[calls / 2] * 1e-9;
}

static void bench_shape(Shape s, size_t threads, double peak, const char *corename)
{
    VcPool *pool = vc_pool_create(threads);
    const double gflops = measure(pool, s);
    const double share = peak > 0 ? gflops / (peak * (double)threads) : 0;
    printf("{\"bench\": \"gemm\", \"m\": %zu, \"n\": %zu, \"k\": %zu, \"threads\": %zu, \"gflops\": %.1f, "
           "\"peak_share\": %.3f, \"corename\": \"%s\"}\n",
           s.m, s.n, s.k, threads, gflops, share, corename);
    fflush(stdout);
    vc_pool_destroy(&pool);
}

int bench_gemm(int argc, char **argv)
{
    const CliOption options[] = {{0}};
    CliContext ctx;
    VcErr err = {0};
    bool help_shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &help_shown, &err))
        return cli_error(&err);
    if (help_shown)
        return CLI_OK;
    bool ok = nn_blas_check(&err);
    NnBlasInfo info;
    nn_blas_info(&info);
    const double peak = nn_peak_gflops();
    const size_t count = ctx.argc > 0 ? (size_t)ctx.argc : sizeof usual / sizeof usual[0];
    for (size_t i = 0; i < count && ok && !vc_interrupted(); i++) {
        Shape s = ctx.argc > 0 ? (Shape){0} : usual[i];
        if (ctx.argc > 0 && !parse_shape(ctx.argv[i], &s)) {
            ok = vc_fail(&err, VC_ERR_USAGE, "'%s' is no shape: expected MxNxK, each from 1 to 65536", ctx.argv[i]);
            break;
        }
        bench_shape(s, 1, peak, info.corename);
        if (ctx.threads > 1)
            bench_shape(s, (size_t)ctx.threads, peak, info.corename);
    }
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
