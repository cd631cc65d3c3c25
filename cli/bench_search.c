// SPDX-License-Identifier: MIT
// vicha bench search: vector search over a file of made vectors.
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/bench_folder.h"
#include "cli/bench_vectors.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "concepts/concepts.h"
#include "nn/nn.h"

#include <math.h>

static const CliHelp help = {
    .name = "bench search",
    .summary = "vector search, ms",
    .usage = "[options]",
    .details =
        "Writes a vector file of made vectors and its file of bytes to a new folder in $TMPDIR (1.8 kB a vector of 512 "
        "numbers;\nremoved at the end) and asks for the 10 nearest. One JSON object a line, for 1 thread and for "
        "--threads, for one\nquery a call and for --batch: \"rows\", \"dim\", \"data\", \"batch\", \"threads\", "
        "\"method\" (\"nibbles\", \"bytes\":\nleft out by these, scored from float16; \"float16\": all of them "
        "scored), "
        "\"ms\" (median of the calls), \"recall_at_10\"\n(against a float loop over all rows), \"fine\" (float16 rows "
        "scored a query), \"read_share\": what is read of all rows\na second, as a share of what the same "
        "threads reach by only reading that file, \"kernels\". With --cells also an\nindex of cells, and what looking "
        "into few of them finds (\"method\": \"cells\", \"probe\").",
    .example = "  vicha bench search --rows 1000000 --dim 512 --batch 64 --data clustered",
};

typedef struct {
    int64_t rows, dim, batch, cells;
    const char *data, *keep;
    double seconds;
    BenchVectors kind;
} Options;

enum { K = 10 };

typedef struct {
    const Options *o;
    size_t batch, dim;
    char *path, *bytes_path, *cells_path;
    VectorsReader *reader;
    Nearest *nearest;
    float *queries; // [batch][dim]
    uint64_t *want; // [sample][K], of a float loop
    float *least;   // [sample], score of the K-th
    size_t sample;
    double bytes_rate, fine_rate; // GB/s that the threads reach by reading the files
} Bench;

// --- the files -------------------------------------------------------------------------------------------------------

static bool write_file(Bench *b, VcPool *pool, VcErr *err)
{
    enum { PIECE = 8192 };
    static const uint8_t model[32] = {0};
    const uint64_t rows = (uint64_t)b->o->rows;
    float *x = vc_alloc(PIECE * b->dim, sizeof *x);
    VectorsWriter *w = NULL;
    uint64_t written;
    bool ok = vectors_writer_open(&w, b->path, b->dim, model, 0, err);
    for (uint64_t at = 0; ok && at < rows; at += PIECE) {
        const size_t n = rows - at < PIECE ? (size_t)(rows - at) : PIECE;
        bench_vectors(x, at, n, b->dim, b->o->kind, 1, pool);
        ok = vectors_writer_append(w, x, n, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    ok = ok && vectors_writer_sync(w, &written, err);
    vectors_writer_close(&w);
    free(x);
    return ok;
}

static bool make_cells(Bench *b, VcPool *pool, VcErr *err)
{
    VectorsBytes *bytes = NULL;
    const double start = vc_now();
    bool ok = vectors_bytes_open(&bytes, b->bytes_path, b->reader, err) &&
              cells_build(b->cells_path, b->reader, bytes, (size_t)b->o->cells, pool, err) &&
              nearest_open_cells(b->nearest, b->cells_path, err);
    vectors_bytes_close(&bytes);
    if (ok) {
        printf("{\"bench\": \"search cells\", \"rows\": %lld, \"dim\": %zu, \"cells\": %zu, \"threads\": %zu, "
               "\"seconds\": "
               "%.2f}\n",
               (long long)b->o->rows, b->dim, nearest_cells(b->nearest), vc_pool_threads(pool), vc_now() - start);
    }
    return ok;
}

static bool make_files(Bench *b, VcPool *pool, VcErr *err)
{
    const bool there = vc_exists(b->path);
    return (there || write_file(b, pool, err)) && vectors_reader_open(&b->reader, b->path, (uint64_t)b->o->rows, err) &&
           (vectors_reader_dim(b->reader) == b->dim ||
            vc_fail(err, VC_ERR_USAGE, "'%s' has vectors of another size", b->path)) &&
           (there || vectors_bytes_build(b->bytes_path, b->reader, pool, err)) &&
           nearest_open(&b->nearest, b->reader, b->bytes_path, NULL, err) &&
           (b->o->cells == 0 || make_cells(b, pool, err));
}

// GB/s of the pool's threads that do nothing but read a file of the page cache.
static bool read_rate(const char *path, VcPool *pool, double *rate, VcErr *err)
{
    VcMap map = {0};
    if (!vc_map_open(&map, path, err))
        return false;
    *rate = machine_read_rate(map.data, map.size, pool);
    vc_map_close(&map);
    return true;
}

// The K best of a sample of the queries by a loop in float and sums in double.
typedef struct {
    Bench *b;
    double *scores; // [sample][rows]
} Loop;

static void loop_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Loop *l = ctx;
    Bench *b = l->b;
    (void)worker;
    float *x = vc_alloc(b->dim, sizeof *x);
    for (size_t r = begin; r < end; r++) {
        vectors_reader_floats(b->reader, r, 1, x);
        const double norm = sqrt((double)nn_kernels()->dot(x, x, b->dim));
        for (size_t i = 0; i < b->sample; i++) {
            l->scores[i * (size_t)b->o->rows + r] =
                norm > 0 ? (double)nn_kernels()->dot(x, b->queries + i * b->dim, b->dim) / norm : 0;
        }
    }
    free(x);
}

static void find_truth(Bench *b, VcPool *pool)
{
    const size_t rows = (size_t)b->o->rows;
    Loop l = {b, vc_alloc(b->sample * rows, sizeof *l.scores)};
    vc_parallel_for(pool, rows, 1024, loop_chunk, &l);
    for (size_t i = 0; i < b->sample; i++) {
        const double *scores = l.scores + i * rows;
        uint64_t *want = b->want + i * K;
        size_t have = 0;
        for (size_t r = 0; r < rows; r++) {
            if (have == K && scores[r] <= scores[want[K - 1]])
                continue;
            size_t at = have < K ? have++ : K - 1;
            for (; at > 0 && scores[r] > scores[want[at - 1]]; at--)
                want[at] = want[at - 1];
            want[at] = r;
        }
        b->least[i] = have ? (float)scores[want[have - 1]] : 0;
    }
    free(l.scores);
}

// Share of the sample's K best that were found; what ties with the last within 1e-6 counts.
static double recall(const Bench *b, const NearestAnswer *a, size_t batch)
{
    const size_t n = batch < b->sample ? batch : b->sample;
    size_t found = 0, of = 0;
    for (size_t i = 0; i < n; i++) {
        of += a->stride;
        for (size_t k = 0; k < a->found[i]; k++)
            found += a->hits[i * a->stride + k].score >= b->least[i] - 1e-6F;
    }
    return of ? (double)found / (double)of : 0;
}

typedef enum { BY_NIBBLES, BY_BYTES, BY_FLOAT16, BY_CELLS } Method;

static bool measure(Bench *b, size_t batch, Method method, size_t probe, VcPool *pool, VcErr *err)
{
    BenchTimes times = {0};
    NearestQuestion q = {.vectors = b->queries,
                         .count = batch,
                         .limit = K,
                         .least = -INFINITY,
                         .exact = method == BY_FLOAT16,
                         .probe = method == BY_CELLS ? probe : 0,
                         .pool = pool};
    static const char *const names[] = {"nibbles", "bytes", "float16", "cells"};
    NearestAnswer a;
    if (!nearest_find(b->nearest, &q, &a, err)) // pages
        return false;
    const double share = recall(b, &a, batch);
    double fine = 0;
    nearest_answer_finish(&a);
    for (size_t turn = 0; bench_again(&times, b->o->seconds); turn++) {
        q.vectors = b->queries + (batch == 1 ? turn % b->batch * b->dim : 0);
        const double start = vc_now();
        if (!nearest_find(b->nearest, &q, &a, err))
            return false;
        bench_took(&times, vc_now() - start);
        fine += (double)a.fine;
        nearest_answer_finish(&a);
    }
    const double seconds = bench_median(&times), rate = method == BY_FLOAT16 ? b->fine_rate : b->bytes_rate;
    const double row = method == BY_FLOAT16 ? 2 * (double)b->dim
                       : method == BY_BYTES ? (double)b->dim
                                            : (double)vectors_nibbles_width(b->dim) / 2 + 8; // scale and error
    const double bytes = (double)b->o->rows * row;
    printf("{\"bench\": \"search\", \"rows\": %lld, \"dim\": %zu, \"data\": \"%s\", \"batch\": %zu, \"threads\": %zu, "
           "\"method\": \"%s\", ",
           (long long)b->o->rows, b->dim, b->o->data, batch, vc_pool_threads(pool), names[method]);
    if (method == BY_CELLS) {
        printf("\"probe\": %zu, ", probe);
    } else {
        printf("\"read_share\": %.2f, ", bytes / seconds * 1e-9 / rate);
    }
    printf("\"ms\": %.3f, \"recall_at_10\": %.4f, \"fine\": %.0f, \"kernels\": \"%s\"}\n", seconds * 1e3, share,
           fine / (double)(times.count * batch), nn_scan_kernels()->name);
    fflush(stdout);
    bench_times_finish(&times);
    return true;
}

static bool measure_threads(Bench *b, size_t threads, VcErr *err)
{
    VcPool *pool = vc_pool_create(threads);
    bool ok = read_rate(b->bytes_path, pool, &b->bytes_rate, err) && read_rate(b->path, pool, &b->fine_rate, err) &&
              measure(b, 1, BY_NIBBLES, 0, pool, err) &&
              (b->batch == 1 || measure(b, b->batch, b->batch > COARSE_FEW ? BY_BYTES : BY_NIBBLES, 0, pool, err)) &&
              measure(b, 1, BY_FLOAT16, 0, pool, err);
    for (size_t probe = 1; ok && b->o->cells > 0 && probe <= (size_t)b->o->cells && probe <= 256; probe *= 4)
        ok = measure(b, 1, BY_CELLS, probe, pool, err);
    vc_pool_destroy(&pool);
    return ok;
}

static bool run(const Options *o, size_t threads, VcErr *err)
{
    char *made = NULL;
    if (o->keep ? !vc_make_dirs(o->keep, err) : !(made = bench_folder_make(err)))
        return false;
    Bench b = {.o = o, .batch = (size_t)o->batch, .dim = (size_t)o->dim};
    b.path = vc_path_join(made ? made : o->keep, "image-bench.f16");
    b.bytes_path = vectors_bytes_path(b.path);
    b.cells_path = cells_path(b.path);
    b.sample = b.batch < 16 ? b.batch : 16;
    b.queries = vc_alloc(b.batch * b.dim, sizeof *b.queries);
    b.want = vc_calloc(b.sample * K, sizeof *b.want);
    b.least = vc_calloc(b.sample, sizeof *b.least);
    VcPool *pool = vc_pool_create(threads);
    // Other vectors of the same kind.
    bench_vectors(b.queries, 0, b.batch, b.dim, o->kind, 2, pool);
    bool ok = make_files(&b, pool, err);
    if (ok)
        find_truth(&b, pool);
    for (size_t t = 1; ok && t <= threads; t += threads > 1 ? threads - 1 : 1)
        ok = measure_threads(&b, t, err);
    nearest_close(&b.nearest);
    vectors_reader_close(&b.reader);
    vc_pool_destroy(&pool);
    bench_folder_remove(&made);
    free(b.path);
    free(b.bytes_path);
    free(b.cells_path);
    free(b.queries);
    free(b.want);
    free(b.least);
    return ok;
}

int bench_search(int argc, char **argv)
{
    Options o = {.rows = 1000000, .dim = 512, .batch = 64, .seconds = 2, .data = "loose"};
    const CliOption options[] = {{"rows", 0, CLI_INT, &o.rows, "N", "vectors", 1, 4e9},
                                 {"dim", 0, CLI_INT, &o.dim, "D", "numbers of a vector", 1, 4096},
                                 {"batch", 0, CLI_INT, &o.batch, "N", "queries a call", 1, 4096},
                                 {"data", 0, CLI_STRING, &o.data, "KIND", "loose, cone or clustered vectors", 0, 0},
                                 {"cells", 0, CLI_INT, &o.cells, "N", "also an index of N cells (0: none)", 0, 65536},
                                 {"keep", 0, CLI_STRING, &o.keep, "DIR",
                                  "make the files there and keep them; those that are there are used", 0, 0},
                                 {"seconds", 0, CLI_REAL, &o.seconds, "S", "how long to measure", 0.001, 600},
                                 {0}};
    static const char *const kinds[] = {"loose", "cone", "clustered"};
    CliContext ctx;
    VcErr err = {0};
    bool shown, ok = false;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(o.data, kinds[i]) == 0) {
            o.kind = (BenchVectors)i;
            ok = true;
        }
    }
    if (!ok && !shown)
        vc_fail(&err, VC_ERR_USAGE, "--data '%s' is none of loose, cone, clustered", o.data);
    ok = shown || (ok && run(&o, (size_t)ctx.threads, &err));
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
