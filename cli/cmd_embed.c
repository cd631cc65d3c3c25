// SPDX-License-Identifier: MIT
// vicha embed: CLIP embeddings of texts or images as a .npy file, a row for a row, in flat memory.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "concepts/concepts.h"
#include "extract/extract.h"

#include <errno.h>
#include <math.h>

enum { IMAGES_AT_A_TIME = 32, TEXTS_AT_A_TIME = 1024, NPY_HEADER = 128, MAX_IMAGE_BYTES = 1 << 28 };

static const CliHelp help = {
    .name = "embed",
    .summary = "CLIP embeddings of texts or images",
    .usage = "--clip MODEL (--text FILE|- | --images FILE...) --out FILE.npy [options]",
    .details =
        "Writes a NumPy file of float32 [rows, dim]: one row a line of text, or one row an image. A FILE of --images "
        "may\n"
        "be a folder: all pictures in it, in order of name. An image that cannot be read gives a row of NaN and exit\n"
        "status 3. MODEL is a folder in Hugging Face or OpenCLIP layout or a name in the local hub cache. With "
        "--json,\n"
        "standard output has one JSON object a row: \"row\", \"input\", \"status\" (\"ok\" or \"rejected\") and "
        "\"error\".",
    .example = "  vicha embed --clip openai/clip-vit-base-patch32 --images photos --out photos.npy --normalize\n"
               "  printf 'a dog\\na cat\\n' | vicha embed --clip ./model --text - --out texts.npy",
};

typedef struct {
    const char *clip, *text, *out, *clean, *precision;
    bool images, normalize, upright, exact;
} EmbedOptions;

typedef struct {
    ClipModel *model;
    VcPool *pool;
    VcAtomicFile file;
    size_t rows, rejected;
    bool normalize, json;
    ClipPreprocess how;
} Embed;

// ---- the .npy file: its header is written last, when the number of rows is known, into room kept for it ----

static bool npy_header(Embed *e, VcErr *err)
{
    char text[NPY_HEADER + 1];
    memset(text, ' ', sizeof text);
    static const char magic[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0}; // version 1.0, 118 bytes follow
    memcpy(text, magic, sizeof magic);
    const int n =
        snprintf(text + 10, NPY_HEADER - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", e->rows,
                 clip_info(e->model)->dim);
    text[10 + n] = ' ';
    text[NPY_HEADER - 1] = '\n';
    if (fseek(e->file.file, 0, SEEK_SET) != 0 || fwrite(text, 1, NPY_HEADER, e->file.file) != NPY_HEADER)
        return vc_fail_errno(err, "cannot write '%s'", e->file.path);
    return true;
}

static bool write_rows(Embed *e, float *rows, size_t n, VcErr *err)
{
    const size_t d = clip_info(e->model)->dim;
    if (e->normalize)
        clip_normalize(rows, n, d);
    if (fwrite(rows, sizeof *rows * d, n, e->file.file) != n)
        return vc_fail_errno(err, "cannot write '%s'", e->file.path);
    e->rows += n;
    return true;
}

static void report(const Embed *e, size_t row, const char *input, const char *problem)
{
    if (problem != NULL)
        vc_warn("%s: %s", input, problem);
    if (!e->json)
        return;
    VcStr s = {0};
    vc_str_putf(&s, "{\"row\": %zu, \"input\": ", row);
    vc_str_put_json(&s, input, strlen(input), false);
    vc_str_put(&s, problem != NULL ? ", \"status\": \"rejected\", \"error\": " : ", \"status\": \"ok\"");
    if (problem != NULL)
        vc_str_put_json(&s, problem, strlen(problem), false);
    vc_str_put(&s, "}\n");
    fputs(s.data, stdout);
    vc_str_finish(&s);
}

// ---- texts ----

static bool embed_texts(Embed *e, const char *name, VcErr *err)
{
    FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (in == NULL)
        return vc_fail_errno(err, "cannot read '%s'", name);
    char **lines = vc_calloc(TEXTS_AT_A_TIME, sizeof *lines);
    size_t *caps = vc_calloc(TEXTS_AT_A_TIME, sizeof *caps);
    float *rows = vc_alloc(TEXTS_AT_A_TIME * clip_info(e->model)->dim, sizeof *rows);
    VcProgress *progress = vc_progress_begin("embed", "texts", 0);
    bool ok = true;
    for (size_t n = 1; ok && n > 0 && !vc_interrupted();) {
        errno = 0;
        ssize_t length = 0;
        for (n = 0; n < TEXTS_AT_A_TIME && (length = getline(&lines[n], &caps[n], in)) >= 0; n++)
            lines[n][strcspn(lines[n], "\r\n")] = '\0';
        if (length < 0 && ferror(in))
            ok = vc_fail_errno(err, "cannot read '%s'", name);
        ok = ok && clip_encode_texts(e->model, e->pool, (const char *const *)lines, n, rows, err);
        for (size_t i = 0; ok && i < n; i++)
            report(e, e->rows + i, lines[i], NULL);
        ok = ok && write_rows(e, rows, n, err);
        vc_progress_add(progress, n, 0);
    }
    vc_progress_end(&progress);
    for (size_t i = 0; i < TEXTS_AT_A_TIME; i++)
        free(lines[i]);
    free(lines);
    free(caps);
    free(rows);
    if (in != stdin)
        fclose(in);
    return ok;
}

// ---- images ----

typedef struct {
    const Embed *e;
    char *const *paths;
    float *pixels;
    VcErr *errors;
} ReadJob;

static void read_images(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const ReadJob *job = ctx;
    const ClipInfo *info = clip_info(job->e->model);
    const size_t one = 3 * info->image_size * info->image_size;
    for (size_t i = begin; i < end; i++) {
        char *bytes = NULL;
        size_t n = 0;
        job->errors[i] = (VcErr){0};
        float *pixels = job->pixels + i * one;
        if (!vc_read_file(&bytes, &n, job->paths[i], MAX_IMAGE_BYTES, &job->errors[i]) ||
            !clip_preprocess_as(job->e->model, job->e->how, (const uint8_t *)bytes, n, pixels, &job->errors[i]))
            memset(pixels, 0, one * sizeof *pixels);
        free(bytes);
    }
}

static bool embed_images(Embed *e, const VcFileList *files, VcErr *err)
{
    const ClipInfo *info = clip_info(e->model);
    const size_t one = 3 * info->image_size * info->image_size;
    float *pixels = vc_alloc(IMAGES_AT_A_TIME * one, sizeof *pixels),
          *rows = vc_alloc(IMAGES_AT_A_TIME * info->dim, sizeof *rows);
    VcErr *errors = vc_alloc(IMAGES_AT_A_TIME, sizeof *errors);
    VcProgress *progress = vc_progress_begin("embed", "images", files->count);
    bool ok = true;
    for (size_t start = 0; ok && start < files->count && !vc_interrupted(); start += IMAGES_AT_A_TIME) {
        const size_t n = files->count - start < IMAGES_AT_A_TIME ? files->count - start : IMAGES_AT_A_TIME;
        ReadJob job = {e, files->paths + start, pixels, errors};
        size_t failed = 0;
        vc_parallel_for(e->pool, n, 1, read_images, &job);
        clip_encode_images(e->model, e->pool, pixels, n, rows);
        for (size_t i = 0; i < n; i++) {
            const bool bad = errors[i].code != VC_OK;
            for (size_t k = 0; bad && k < info->dim; k++)
                rows[i * info->dim + k] = NAN;
            failed += bad;
            report(e, e->rows + i, files->paths[start + i], bad ? errors[i].text : NULL);
        }
        e->rejected += failed;
        ok = write_rows(e, rows, n, err);
        vc_progress_add(progress, n, failed);
    }
    vc_progress_end(&progress);
    free(pixels);
    free(rows);
    free(errors);
    return ok;
}

static bool has_image_name(const char *path)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".heic", ".avif"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t n = strlen(path), k = strlen(endings[i]);
        if (n > k && strcasecmp(path + n - k, endings[i]) == 0)
            return true;
    }
    return false;
}

// The arguments, with folders replaced by the pictures in them.
static bool list_images(VcFileList *files, const CliContext *ctx, VcErr *err)
{
    size_t cap = 0;
    for (int i = 0; i < ctx->argc; i++) {
        VcFileList inside = {0};
        const bool folder = vc_is_directory(ctx->argv[i]);
        if (folder && !vc_list_files(&inside, ctx->argv[i], err))
            return false;
        for (size_t k = 0; k < (folder ? inside.count : 1); k++) {
            if (folder && !has_image_name(inside.paths[k]))
                continue;
            files->paths = vc_grow(files->paths, &cap, files->count + 1, sizeof *files->paths);
            files->paths[files->count++] =
                folder ? vc_path_join(ctx->argv[i], inside.paths[k]) : vc_strdup(ctx->argv[i]);
        }
        vc_file_list_finish(&inside);
    }
    if (files->count == 0)
        return vc_fail(err, VC_ERR_USAGE, "--images needs at least one picture");
    return true;
}

// ---- the command ----

static bool check_usage(const EmbedOptions *o, const CliContext *ctx, BpeClean *clean, ClipPrecision *precision,
                        VcErr *err)
{
    if (!clip_precision_by_name(o->precision, precision))
        return vc_fail(err, VC_ERR_USAGE, "--precision '%s' is not known; use fp32, bf16 or int8", o->precision);
    if (o->clip == NULL || o->out == NULL) {
        return vc_fail(err, VC_ERR_USAGE, "%s is missing (see 'vicha embed --help')",
                       o->clip == NULL ? "--clip MODEL" : "--out FILE.npy");
    }
    if ((o->text != NULL) == o->images)
        return vc_fail(err, VC_ERR_USAGE, "give either --text FILE or --images FILE...");
    if (o->text != NULL && ctx->argc > 0)
        return vc_fail(err, VC_ERR_USAGE, "'%s' is too much: --text reads one file", ctx->argv[0]);
    if (o->clean != NULL && !bpe_clean_by_name(o->clean, clean))
        return vc_fail(err, VC_ERR_USAGE, "--clean %s: expected hf, openclip or openai", o->clean);
    return true;
}

static bool run(const EmbedOptions *o, const CliContext *ctx, Embed *e, VcErr *err)
{
    BpeClean clean = BPE_CLEAN_HF;
    ClipPrecision precision = CLIP_FP32;
    VcFileList files = {0};
    bool ok = check_usage(o, ctx, &clean, &precision, err) && (!o->images || list_images(&files, ctx, err)) &&
              (!o->images || extract_image_init(err)) && clip_open(&e->model, o->clip, err);
    if (ok) {
        if (o->clean != NULL)
            clip_set_clean(e->model, clean);
        e->how = o->exact ? clip_preprocess_of(e->model) : clip_preprocess_at(e->model, precision);
        e->how.upright = o->upright;
        e->pool = vc_pool_create((size_t)ctx->threads);
        const size_t few = 32; // not worth packing for; the bits are the same
        if (precision != CLIP_FP32 || !o->images || files.count > few)
            ok = clip_prepare(e->model, e->pool, o->images ? CLIP_IMAGES : CLIP_TEXTS, precision, NULL, err);
        ok = ok && vc_atomic_begin(&e->file, o->out, err);
    }
    ok = ok && npy_header(e, err) && (o->images ? embed_images(e, &files, err) : embed_texts(e, o->text, err));
    if (ok && vc_interrupted())
        ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted: '%s' was not written", o->out);
    ok = ok && npy_header(e, err) && vc_atomic_commit(&e->file, err);
    if (e->file.path != NULL)
        vc_atomic_discard(&e->file);
    vc_file_list_finish(&files);
    return ok;
}

int cmd_embed(int argc, char **argv)
{
    EmbedOptions o = {.precision = "fp32"};
    const CliOption options[] = {
        {"clip", 0, CLI_STRING, &o.clip, "MODEL", "folder or hub name of the model", 0, 0},
        {"text", 0, CLI_STRING, &o.text, "FILE", "lines of text; - is standard input", 0, 0},
        {"images", 0, CLI_FLAG, &o.images, NULL, "the arguments are image files or folders", 0, 0},
        {"out", 'o', CLI_STRING, &o.out, "FILE", "NumPy file to write", 0, 0},
        {"normalize", 0, CLI_FLAG, &o.normalize, NULL, "rows of length 1", 0, 0},
        {"clean", 0, CLI_STRING, &o.clean, "MODE",
         "text cleaning: hf, openclip or openai (default: as the model's layout)", 0, 0},
        {"precision", 0, CLI_STRING, &o.precision, "P", "fp32, bf16 or int8 (calibrated on made input)", 0, 0},
        {"exact-preprocess", 0, CLI_FLAG, &o.exact, NULL,
         "pixels bit-equal to Pillow's at any precision (fp32: always; see concepts embed)", 0, 0},
        {"upright", 0, CLI_FLAG, &o.upright, NULL, "apply the EXIF orientation, which the reference code ignores", 0,
         0},
        {0},
    };
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    Embed e = {.normalize = false};
    int status = CLI_OK;
    if (!shown) {
        e.normalize = o.normalize;
        e.json = ctx.json;
        if (!run(&o, &ctx, &e, &err)) {
            status = cli_error(&err);
        } else if (e.rejected > 0) {
            status = CLI_REJECTED;
        }
        if (status == CLI_OK || status == CLI_REJECTED)
            vc_info("%s: %zu rows of %zu, %zu rejected", o.out, e.rows, clip_info(e.model)->dim, e.rejected);
    }
    vc_pool_destroy(&e.pool);
    clip_close(&e.model);
    cli_context_finish(&ctx);
    return status;
}
