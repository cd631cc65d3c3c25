// SPDX-License-Identifier: MIT
#include "concepts/embed_precision.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"
#include "nn/nn.h"

#include <string.h>

// SAMPLE: images that `auto` compares, of which CALIBRATE are used for int8. CONCEPTS: most of the vocabulary, evenly
// drawn, that they are compared on. BEST: the concepts of an image.
enum { SAMPLE = 128, CALIBRATE = 32, CONCEPTS = 4096, CALIBRATE_TEXTS = 256, BEST = 15 };
static const double enough = 0.99;

// What is drawn from the workspace: images spread evenly over their numbers, and concepts.
typedef struct {
    VcWorkspace *ws;
    ClipModel *model;
    VcPool *pool;
    size_t images, concepts;
    float *pixels; // [images][3][s][s]
    char **texts;
} Sample;

static void free_sample(Sample *s)
{
    for (size_t i = 0; i < s->concepts; i++)
        free(s->texts[i]);
    free(s->texts);
    free(s->pixels);
}

// Every n-th image of those stored, so that about `most` are drawn.
static bool draw_ids(VcWorkspace *ws, size_t most, int64_t *ids, size_t *n, VcErr *err)
{
    VcStmt *stmt = NULL;
    *n = 0;
    bool row = true,
         ok = vc_db_prepare(ws->db, &stmt,
                            "SELECT image_id FROM (SELECT image_id, row_number() OVER (ORDER BY image_id) - 1"
                            "  AS place, count(*) OVER () AS total FROM image_file JOIN image USING(image_id)"
                            "  WHERE status >= 0)"
                            " WHERE place * ?1 / total <> (place - 1) * ?1 / total OR place = 0"
                            " ORDER BY image_id LIMIT ?1",
                            err);
    if (ok)
        vc_bind_int(stmt, 1, (int64_t)most);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        ids[(*n)++] = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok;
}

static bool draw_images(Sample *s, size_t most, VcErr *err)
{
    const size_t side = clip_info(s->model)->image_size, each = 3 * side * side;
    int64_t *ids = vc_alloc(most, sizeof *ids);
    size_t n = 0;
    ExtractReader *reader = NULL;
    bool ok = draw_ids(s->ws, most, ids, &n, err) && extract_reader_open(&reader, s->ws, err);
    s->pixels = vc_alloc_aligned((n > 0 ? n : 1) * each, sizeof *s->pixels);
    for (size_t i = 0; ok && i < n && !vc_interrupted(); i++) {
        uint8_t *bytes = NULL;
        size_t size;
        VcErr ignored = {0}; // the stage itself will say what is wrong with it
        if (extract_reader_read(reader, ids[i], &bytes, &size, &ignored) &&
            clip_preprocess(s->model, bytes, size, s->pixels + s->images * each, &ignored))
            s->images++;
        free(bytes);
    }
    extract_reader_close(&reader);
    free(ids);
    return ok;
}

static bool draw_concepts(Sample *s, size_t most, VcErr *err)
{
    VcStmt *stmt = NULL;
    s->texts = vc_calloc(most, sizeof *s->texts);
    bool row = true, ok = vc_db_prepare(s->ws->db, &stmt,
                                        "SELECT text FROM concept, (SELECT max(1, (count(*) + ?1 - 1) / ?1) AS step"
                                        "  FROM concept) WHERE concept_id % step = 0 ORDER BY concept_id LIMIT ?1",
                                        err);
    if (ok)
        vc_bind_int(stmt, 1, (int64_t)most);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        s->texts[s->concepts++] = vc_strdup(vc_column_text(stmt, 0));
    vc_stmt_finish(&stmt);
    return ok;
}

// ---- int8's calibration ----

static char *calibration_path(const VcWorkspace *ws, const uint8_t hash[32])
{
    char name[64];
    int n = snprintf(name, sizeof name, "vectors/calibration-");
    for (int i = 0; i < 8; i++)
        n += snprintf(name + n, sizeof name - (size_t)n, "%02x", hash[i]);
    snprintf(name + n, sizeof name - (size_t)n, ".safetensors");
    return vc_workspace_path(ws, name);
}

// The calibration that lies there, or a new one of this workspace's images and concepts. One that cannot be used is
// made again.
static bool calibration(VcWorkspace *ws, ClipModel *model, const uint8_t hash[32], VcPool *pool, ClipCalibration *out,
                        VcErr *err)
{
    char *path = calibration_path(ws, hash), *folder = vc_workspace_path(ws, "vectors");
    VcErr why = {0};
    bool ok = vc_exists(path) && clip_calibration_read(out, model, path, hash, &why);
    if (!ok) {
        if (why.code != VC_OK)
            vc_warn("%s; it is made again", why.text);
        Sample s = {.ws = ws, .model = model, .pool = pool};
        ok = draw_images(&s, CALIBRATE, err) && draw_concepts(&s, CALIBRATE_TEXTS, err);
        if (ok) {
            clip_calibrate(model, pool, CLIP_IMAGES | CLIP_TEXTS, s.pixels, s.images, (const char *const *)s.texts,
                           s.concepts, out);
            ok = !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted");
            ok = ok && vc_make_dirs(folder, err) && clip_calibration_write(out, path, hash, err);
            vc_info("embed: int8 calibrated on %zu images and %zu concepts", s.images, s.concepts);
        }
        free_sample(&s);
    }
    free(path);
    free(folder);
    return ok;
}

static bool prepare_as(VcWorkspace *ws, ClipModel *model, const uint8_t hash[32], VcPool *pool, ClipPrecision precision,
                       VcErr *err)
{
    ClipCalibration c = {0};
    bool ok = precision != CLIP_INT8 || calibration(ws, model, hash, pool, &c, err);
    ok = ok && clip_prepare(model, pool, CLIP_IMAGES | CLIP_TEXTS, precision, precision == CLIP_INT8 ? &c : NULL, err);
    clip_calibration_finish(&c);
    return ok;
}

// ---- auto ----

// best[images][BEST]: the concepts of largest cosine, in no order of use but one; equal ones by number.
static void best_concepts(const Sample *s, const float *images, const float *concepts, size_t dim, uint32_t *best)
{
    float *scores = vc_alloc(s->images * s->concepts, sizeof *scores);
    nn_gemm(s->pool, NN_PLAIN, NN_TRANSPOSED, s->images, s->concepts, dim, 1, images, dim, concepts, dim, 0, scores,
            s->concepts);
    for (size_t i = 0; i < s->images; i++) {
        const float *row = scores + i * s->concepts;
        uint32_t *top = best + i * BEST;
        size_t n = 0;
        for (size_t c = 0; c < s->concepts; c++) {
            if (n == BEST && !(row[c] > row[top[n - 1]]))
                continue;
            size_t at = n < BEST ? n++ : n - 1;
            for (; at > 0 && row[c] > row[top[at - 1]]; at--)
                top[at] = top[at - 1];
            top[at] = (uint32_t)c;
        }
    }
    free(scores);
}

static bool same_set(const uint32_t *a, const uint32_t *b, size_t n)
{
    size_t common = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++)
            common += a[i] == b[k];
    }
    return common == n;
}

// The sample embedded as the model stands now: its images' best concepts, and images a second.
static bool embed_sample(const Sample *s, uint32_t *best, double *rate, VcErr *err)
{
    const size_t dim = clip_info(s->model)->dim;
    float *images = vc_alloc(s->images * dim, sizeof *images),
          *concepts = vc_alloc(s->concepts * dim, sizeof *concepts);
    const double start = vc_now();
    clip_encode_images(s->model, s->pool, s->pixels, s->images, images);
    *rate = (double)s->images / (vc_now() - start);
    const bool ok = clip_encode_texts(s->model, s->pool, (const char *const *)s->texts, s->concepts, concepts, err);
    clip_normalize(images, s->images, dim);
    clip_normalize(concepts, s->concepts, dim);
    if (ok)
        best_concepts(s, images, concepts, dim, best);
    free(images);
    free(concepts);
    return ok;
}

// Fills *picked and why[]; leaves the model prepared for the last precision tried.
static bool compare(const Sample *s, const uint8_t hash[32], ClipPrecision *picked, char *why, size_t room, VcErr *err)
{
    const size_t k = s->concepts < BEST ? s->concepts : BEST;
    uint32_t *want = vc_calloc(s->images * BEST, sizeof *want), *got = vc_calloc(s->images * BEST, sizeof *got);
    double fastest = 0;
    size_t at = 0;
    bool ok = true;
    *picked = CLIP_FP32;
    at += (size_t)snprintf(why, room, "same %zu concepts as fp32 on %zu images and %zu concepts:", k, s->images,
                           s->concepts);
    for (ClipPrecision p = CLIP_FP32; ok && p < CLIP_PRECISIONS; p++) {
        double rate = 0;
        ok = prepare_as(s->ws, s->model, hash, s->pool, p, err) &&
             embed_sample(s, p == CLIP_FP32 ? want : got, &rate, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        size_t same = 0;
        for (size_t i = 0; ok && i < s->images; i++)
            same += p == CLIP_FP32 || same_set(want + i * BEST, got + i * BEST, k);
        const bool good = (double)same >= enough * (double)s->images;
        if (ok && good && rate > fastest) {
            fastest = rate;
            *picked = p;
        }
        if (ok && at < room) {
            at += (size_t)snprintf(why + at, room - at, "%s %s %.1f %% at %.1f images/s", p == CLIP_FP32 ? "" : ",",
                                   clip_precision_name(p), 100.0 * (double)same / (double)s->images, rate);
        }
    }
    if (ok && at < room)
        snprintf(why + at, room - at, "; %s is the fastest with at least 99 %%", clip_precision_name(*picked));
    free(want);
    free(got);
    return ok;
}

// "int8; why", as it is kept.
static bool find_precision(VcWorkspace *ws, ClipModel *model, const uint8_t hash[32], VcPool *pool,
                           ConceptsEmbedReport *report, VcErr *err)
{
    char key[40], *known = NULL;
    int n = snprintf(key, sizeof key, "auto_precision:");
    for (int i = 0; i < 8; i++)
        n += snprintf(key + n, sizeof key - (size_t)n, "%02x", hash[i]);
    if (!vc_meta_get(ws, key, &known, err))
        return false;
    if (known != NULL && strlen(known) > 6) {
        char name[5];
        snprintf(name, sizeof name, "%s", known);
        if (clip_precision_by_name(name, &report->precision)) {
            snprintf(report->why, sizeof report->why, "%s", known + 6);
            free(known);
            return true;
        }
    }
    free(known);
    Sample s = {.ws = ws, .model = model, .pool = pool};
    bool ok = draw_images(&s, SAMPLE, err) && draw_concepts(&s, CONCEPTS, err);
    if (ok && (s.images == 0 || s.concepts == 0)) {
        report->precision = CLIP_FP32;
        snprintf(report->why, sizeof report->why, "there is nothing to compare on: fp32");
        free_sample(&s);
        return true;
    }
    ok = ok && compare(&s, hash, &report->precision, report->why, sizeof report->why, err);
    free_sample(&s);
    VcStr value = {0};
    vc_str_putf(&value, "%s; %s", clip_precision_name(report->precision), report->why);
    ok = ok && vc_meta_set(ws, key, value.data, err);
    vc_str_finish(&value);
    return ok;
}

// ---- the choice ----

// The precision of the vectors that are there: fp32 where nothing is said, as before there was a choice.
static bool known_precision(VcWorkspace *ws, ClipPrecision *out, VcErr *err)
{
    char *known = NULL;
    *out = CLIP_FP32;
    if (!vc_meta_get(ws, "embed_precision", &known, err))
        return false;
    const bool ok = known == NULL || clip_precision_by_name(known, out) ||
                    vc_fail(err, VC_ERR_DB, "meta 'embed_precision' is '%s': no precision this program knows", known);
    free(known);
    return ok;
}

bool concepts_other_precision(VcWorkspace *ws, const ConceptsEmbedOptions *options, bool *other, VcErr *err)
{
    ClipPrecision there;
    if (!known_precision(ws, &there, err))
        return false;
    *other = !options->automatic && there != options->precision;
    return true;
}

bool concepts_prepare_precision(VcWorkspace *ws, ClipModel *model, const uint8_t hash[32],
                                const ConceptsEmbedOptions *options, bool vectors, ConceptsEmbedReport *report,
                                VcErr *err)
{
    ClipPrecision there = CLIP_FP32;
    if (vectors && !known_precision(ws, &there, err))
        return false;
    report->precision = options->precision;
    if (vectors && !options->automatic && there != options->precision) {
        return vc_fail(err, VC_ERR_USAGE,
                       "the vectors of this workspace were made in %s, --precision asks for %s: go on with --precision "
                       "%s, or embed everything again with --replace",
                       clip_precision_name(there), clip_precision_name(options->precision), clip_precision_name(there));
    }
    if (options->automatic && vectors) {
        report->precision = there;
        snprintf(report->why, sizeof report->why, "the vectors that are there were made in %s",
                 clip_precision_name(there));
    } else if (options->automatic && !find_precision(ws, model, hash, options->pool, report, err)) {
        return false;
    }
    if (options->automatic)
        vc_info("embed: precision %s (%s)", clip_precision_name(report->precision), report->why);
    return vc_meta_set(ws, "embed_precision", clip_precision_name(report->precision), err) &&
           prepare_as(ws, model, hash, options->pool, report->precision, err);
}
