// SPDX-License-Identifier: MIT
// vicha bench extract: what one image costs between its bytes and its JPEG in the store.
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "extract/extract.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

static const CliHelp help = {
    .name = "bench extract",
    .summary = "images decoded, shrunk, measured and encoded a second",
    .usage = "[FILE|FOLDER...] [options]",
    .details =
        "Takes the pictures of the given files and folders, or made ones of 640 x 480 and about 110 KB, through what\n"
        "'vicha extract' does with every image once it has its bytes: SHA-256, header, decode, resize, hashes and\n"
        "measures, JPEG. One line for one thread, one for --threads; cpu_ms_per_image is processor time of all\n"
        "threads, the best of --rounds. No network, no disk, no database.",
    .example = "  vicha bench extract photos --size 256 --quality 95",
};

typedef struct {
    uint8_t **bytes;
    size_t *sizes, count, cap, sizes_cap;
} Files;

static void add_file(Files *f, uint8_t *bytes, size_t n)
{
    f->bytes = vc_grow(f->bytes, &f->cap, f->count + 1, sizeof *f->bytes);
    f->sizes = vc_grow(f->sizes, &f->sizes_cap, f->count + 1, sizeof *f->sizes);
    f->bytes[f->count] = bytes;
    f->sizes[f->count++] = n;
}

static bool read_file(Files *f, const char *path, VcErr *err)
{
    enum { LIMIT = 32 << 20 };
    char *data;
    size_t n;
    if (!vc_read_file(&data, &n, path, LIMIT, err))
        return false;
    add_file(f, (uint8_t *)data, n);
    return true;
}

// The pictures directly inside a folder: what the first bytes say, not the names.
static bool read_folder(Files *f, const char *path, VcErr *err)
{
    struct dirent **names;
    const int count = scandir(path, &names, NULL, alphasort);
    if (count < 0)
        return vc_fail_errno(err, "cannot read the folder '%s'", path);
    bool ok = true;
    for (int i = 0; i < count; i++) {
        char *file = vc_path_join(path, names[i]->d_name);
        struct stat st;
        if (ok && stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            ok = read_file(f, file, err);
            if (ok && !extract_image_sniff(f->bytes[f->count - 1], f->sizes[f->count - 1]))
                free(f->bytes[--f->count]);
        }
        free(file);
        free(names[i]);
    }
    free(names);
    return ok;
}

static bool read_inputs(Files *f, int argc, const char **argv, VcErr *err)
{
    bool ok = true;
    for (int i = 0; ok && i < argc; i++) {
        struct stat st;
        ok = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? read_folder(f, argv[i], err) : read_file(f, argv[i], err);
    }
    return ok && f->count == 0 ? vc_fail(err, VC_ERR_USAGE, "there is no picture in what is given") : ok;
}

// Shades on four scales and grain: as busy as a photograph, to the byte the same on every machine.
static bool make_files(Files *f, size_t count, VcErr *err)
{
    enum { W = 640, H = 480, LATTICE = 81 };
    uint8_t *rgb = vc_alloc(3 * W * H, 1);
    int *lattice = vc_alloc(LATTICE * LATTICE, sizeof *lattice);
    VcRng rng;
    vc_rng_seed(&rng, 5);
    bool ok = true;
    for (size_t k = 0; ok && k < count; k++) {
        for (size_t i = 0; i < (size_t)3 * W * H; i++)
            rgb[i] = (uint8_t)(98 + vc_rng_below(&rng, 40));
        for (int step = 8; step <= 64; step *= 2) {
            for (int i = 0; i < LATTICE * LATTICE; i++)
                lattice[i] = (int)vc_rng_below(&rng, 48) - 24;
            for (int y = 0; y < H; y++) {
                for (int x = 0; x < W; x++) {
                    const int *p = lattice + y / step * LATTICE + x / step, fx = x % step, fy = y % step;
                    const int top = p[0] * (step - fx) + p[1] * fx;
                    const int low = p[LATTICE] * (step - fx) + p[LATTICE + 1] * fx;
                    const int v = (top * (step - fy) + low * fy) / (step * step);
                    uint8_t *q = rgb + 3 * (y * W + x);
                    q[0] = (uint8_t)(q[0] + v);
                    q[1] = (uint8_t)(q[1] + v / 2);
                    q[2] = (uint8_t)(q[2] - v / 2);
                }
            }
        }
        uint8_t *bytes;
        size_t n;
        const ExtractImage image = {.width = W, .height = H, .channels = 3, .mode = EXTRACT_RGB, .pixels = rgb};
        ok = extract_image_encode_jpeg(&image, 87, &bytes, &n, err);
        if (ok)
            add_file(f, bytes, n);
    }
    free(lattice);
    free(rgb);
    return ok;
}

typedef struct {
    const Files *files;
    const ExtractThumbnailOptions *options;
    atomic_size_t rejected, bytes;
} Work;

static void do_range(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    Work *w = ctx;
    for (size_t i = begin; i < end; i++) {
        ExtractThumbnail t;
        uint8_t sha256[32];
        vc_sha256(w->files->bytes[i], w->files->sizes[i], sha256);
        const ExtractCause cause = extract_thumbnail(&t, w->files->bytes[i], w->files->sizes[i], w->options, NULL);
        atomic_fetch_add(&w->rejected, cause != EXTRACT_OK);
        atomic_fetch_add(&w->bytes, t.bytes);
        free(t.jpeg);
    }
}

static void measure(const Files *f, const ExtractThumbnailOptions *o, size_t threads, int64_t rounds)
{
    VcPool *pool = vc_pool_create(threads);
    double best = 0, cpu = 0;
    Work w = {.files = f, .options = o};
    for (int64_t round = 0; round < rounds && !vc_interrupted(); round++) {
        atomic_store(&w.rejected, 0);
        atomic_store(&w.bytes, 0);
        const double begin = vc_now(), begin_cpu = vc_process_time();
        vc_parallel_for(pool, f->count, 1, do_range, &w);
        const double seconds = vc_now() - begin, cpu_seconds = vc_process_time() - begin_cpu;
        best = round == 0 || seconds < best ? seconds : best;
        cpu = round == 0 || cpu_seconds < cpu ? cpu_seconds : cpu;
    }
    vc_pool_destroy(&pool);
    size_t total = 0;
    for (size_t i = 0; i < f->count; i++)
        total += f->sizes[i];
    const double n = (double)f->count;
    printf(
        "{\"bench\": \"extract\", \"images_per_s\": %.1f, \"cpu_ms_per_image\": %.3f, \"threads\": %zu, "
        "\"images\": %zu, \"rejected\": %zu, \"size\": %d, \"quality\": %d, \"bytes_in\": %.0f, \"bytes_out\": %.0f, "
        "\"peak_rss_mib\": %.1f}\n",
        n / best, cpu * 1e3 / n, threads, f->count, atomic_load(&w.rejected), o->size, o->quality, (double)total / n,
        (double)atomic_load(&w.bytes) / n, (double)vc_peak_rss() / (1 << 20));
}

int bench_extract(int argc, char **argv)
{
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    int64_t images = 200, rounds = 3, size = o.size, quality = 95;
    const CliOption options[] = {
        {"images", 0, CLI_INT, &images, "N", "how many are made", 1, 100000},
        {"rounds", 0, CLI_INT, &rounds, "N", "how often each is measured", 1, 1000},
        {"size", 0, CLI_INT, &size, "N", "pixels of the short side", 1, 16384},
        {"quality", 0, CLI_INT, &quality, "N", "of the JPEG", 1, 100},
        {"full-pixels", 0, CLI_FLAG, &o.full_pixels, NULL, "never reduce while decoding", 0, 0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    o.size = (int)size;
    o.quality = (int)quality;
    Files f = {0};
    const bool ok = extract_image_init(&err) &&
                    (ctx.argc > 0 ? read_inputs(&f, ctx.argc, ctx.argv, &err) : make_files(&f, (size_t)images, &err));
    if (ok) {
        measure(&f, &o, 1, rounds);
        if (ctx.threads > 1)
            measure(&f, &o, (size_t)ctx.threads, rounds);
    }
    for (size_t i = 0; i < f.count; i++)
        free(f.bytes[i]);
    free(f.bytes);
    free(f.sizes);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
