// SPDX-License-Identifier: MIT
// vicha bench mine: the best concepts of images, beside a float product with selection afterwards.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/bench_vectors.h"
#include "cli/commands.h"
#include "concepts/concepts.h"
#include "nn/nn.h"

static const CliHelp help = {
    .name = "bench mine",
    .summary = "the best concepts of images, images/s",
    .usage = "[options]",
    .details =
        "Made vectors, near each other as CLIP's are. One JSON object a line, for one image a call and for --batch "
        "images:\n\"concepts\", \"dim\", \"k\", \"batch\", \"threads\", \"images_per_s\" (median of the calls), "
        "\"ms\" (of a call), \"fine\" (float16\nrows scored an image), \"same_ids\" (share of a sample's ids that a "
        "float product over all concepts gives too, ties\nwithin 1e-6 aside), \"kernels\". \"float_images_per_s\": "
        "that float product (sgemm) and selection from its scores.",
    .example = "  vicha bench mine --concepts 10000 --dim 512 -k 15 --batch 1024",
};

typedef struct {
    int64_t concepts, dim, k, batch;
    double seconds;
} Options;

typedef struct {
    const Options *o;
    VcPool *pool;
    uint16_t *rows; // [concepts][dim]
    float *unit;    // [concepts][dim], of the rows
    float *images;  // [batch][dim], unit
    uint32_t *ids;
    float *scores, *all;
} Bench;

// Mining as a product of floats whose scores are selected from afterwards.
static void float_batch(Bench *b, size_t n)
{
    const size_t concepts = (size_t)b->o->concepts, dim = (size_t)b->o->dim, k = (size_t)b->o->k;
    nn_gemm(b->pool, NN_PLAIN, NN_TRANSPOSED, n, concepts, dim, 1, b->images, dim, b->unit, dim, 0, b->all, concepts);
    for (size_t i = 0; i < n; i++)
        concepts_top_k(b->all + i * concepts, concepts, k, b->ids + i * k, b->scores + i * k);
}

// Share of the ids of `n` images that are those of the float product, or tie with one of them.
static double same_ids(Bench *b, const uint32_t *ids, size_t n)
{
    const size_t concepts = (size_t)b->o->concepts, k = (size_t)b->o->k;
    size_t same = 0;
    float_batch(b, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < k; r++) {
            bool in = false;
            for (size_t c = 0; c < k; c++)
                in = in || b->ids[i * k + c] == ids[i * k + r];
            same += in || b->all[i * concepts + ids[i * k + r]] >= b->scores[i * k + k - 1] - 1e-6F;
        }
    }
    return (double)same / (double)(n * k);
}

static bool measure(Bench *b, MineTop *top, size_t batch, size_t sample)
{
    const Options *o = b->o;
    const size_t k = (size_t)o->k;
    uint32_t *ids = vc_alloc(batch * k, sizeof *ids);
    float *scores = vc_alloc(batch * k, sizeof *scores);
    BenchTimes times = {0}, floats = {0};
    bool ok = mine_top_run(top, b->images, batch, k, ids, scores); // pages, caches
    const uint64_t before = mine_top_fine(top);
    while (ok && bench_again(&times, o->seconds)) {
        const double start = vc_now();
        ok = mine_top_run(top, b->images, batch, k, ids, scores);
        bench_took(&times, vc_now() - start);
    }
    const double fine = (double)(mine_top_fine(top) - before) / (double)(times.count * batch);
    const size_t n = batch < sample ? batch : sample;
    const double share = ok ? same_ids(b, ids, n) : 0;
    while (ok && bench_again(&floats, o->seconds / 4)) {
        const double start = vc_now();
        float_batch(b, n);
        bench_took(&floats, vc_now() - start);
    }
    if (ok) {
        const double median = bench_median(&times);
        printf("{\"bench\": \"mine\", \"concepts\": %lld, \"dim\": %lld, \"k\": %zu, \"batch\": %zu, \"threads\": %zu, "
               "\"images_per_s\": %.1f, \"ms\": %.3f, \"fine\": %.1f, \"same_ids\": %.6f, \"kernels\": \"%s\", "
               "\"float_images_per_s\": %.1f}\n",
               (long long)o->concepts, (long long)o->dim, k, batch, vc_pool_threads(b->pool), (double)batch / median,
               median * 1e3, fine, share, nn_scan_kernels()->name, (double)n / bench_median(&floats));
        fflush(stdout);
    }
    bench_times_finish(&times);
    bench_times_finish(&floats);
    free(ids);
    free(scores);
    return ok;
}

static bool run(const Options *o, size_t threads, VcErr *err)
{
    const size_t concepts = (size_t)o->concepts, dim = (size_t)o->dim, batch = (size_t)o->batch, k = (size_t)o->k;
    if (o->k > o->concepts)
        return vc_fail(err, VC_ERR_USAGE, "-k %zu asks for more than the %zu concepts", k, concepts);
    // The float product has a score for every pair: as many images as make 64 MiB of them.
    size_t sample = ((size_t)16 << 20) / concepts;
    sample = sample < 1 ? 1 : sample > 256 ? 256 : sample;
    sample = sample > batch ? batch : sample;
    Bench b = {.o = o, .pool = vc_pool_create(threads)};
    b.rows = vc_alloc_aligned(concepts * dim, sizeof *b.rows);
    b.unit = vc_alloc_aligned(concepts * dim, sizeof *b.unit);
    b.images = vc_alloc_aligned(batch * dim, sizeof *b.images);
    b.all = vc_alloc_aligned(sample * concepts, sizeof *b.all);
    b.ids = vc_alloc(sample * k, sizeof *b.ids);
    b.scores = vc_alloc(sample * k, sizeof *b.scores);
    bench_vectors(b.unit, 0, concepts, dim, BENCH_CONE, 1, b.pool);
    nn_f32_to_f16_array(b.rows, b.unit, concepts * dim);
    nn_f16_to_f32_array(b.unit, b.rows, concepts * dim);
    clip_normalize(b.unit, concepts, dim);
    bench_vectors(b.images, 0, batch, dim, BENCH_LOOSE, 2, b.pool);
    MineTop *top = mine_top_create((CoarseRows){(const uint8_t *)b.rows, dim * sizeof *b.rows, dim}, NULL, concepts,
                                   MINE_SLICE_BYTES, b.pool);
    const bool ok = measure(&b, top, 1, sample) && (batch == 1 || measure(&b, top, batch, sample));
    mine_top_destroy(&top);
    vc_pool_destroy(&b.pool);
    free(b.rows);
    free(b.unit);
    free(b.images);
    free(b.all);
    free(b.ids);
    free(b.scores);
    return ok;
}

int bench_mine(int argc, char **argv)
{
    Options o = {.concepts = 10000, .dim = 512, .k = 15, .batch = 1024, .seconds = 2};
    const CliOption options[] = {{"concepts", 0, CLI_INT, &o.concepts, "N", "size of the vocabulary", 1, 10000000},
                                 {"dim", 0, CLI_INT, &o.dim, "D", "numbers of a vector", 1, 4096},
                                 {"k", 'k', CLI_INT, &o.k, "K", "concepts of an image", 1, 1000},
                                 {"batch", 0, CLI_INT, &o.batch, "N", "images a call", 1, 65536},
                                 {"seconds", 0, CLI_REAL, &o.seconds, "S", "how long to measure", 0.001, 600},
                                 {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    const bool ok = shown || run(&o, (size_t)ctx.threads, &err);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
