// SPDX-License-Identifier: MIT
// What int8 needs to know of the rows in front of its layers: the largest magnitude of every channel, seen at fp32 on
// a sample. Kept as a safetensors file: image.absmax [layers, 3 W + F] and text.absmax, with the weights' hash.
#include "concepts/clip_private.h"

#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

enum { MADE_IMAGES = 4, MADE_TEXTS = 32, MADE_TOKENS = 10 };

static size_t count_of(const ClipTower *t)
{
    return t->layers * (3 * t->width + t->mlp);
}

// ---- made input ----

// Waves of different length and colour with noise upon them, in the model's own scale.
static float *made_pixels(const ClipInfo *info)
{
    const size_t s = info->image_size;
    float *pixels = vc_alloc(MADE_IMAGES * 3 * s * s, sizeof *pixels), *at = pixels;
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (size_t i = 0; i < MADE_IMAGES; i++) {
        for (size_t c = 0; c < 3; c++) {
            const double fx = vc_rng_uniform(&rng) * 0.2, fy = vc_rng_uniform(&rng) * 0.2,
                         noise = 0.1 + 0.1 * (double)i;
            const double phase = vc_rng_uniform(&rng) * 6.28;
            for (size_t k = 0; k < s * s; k++) {
                const size_t row = k / s;
                const double wave = 0.5 + 0.4 * sin(fx * (double)(k % s) + fy * (double)row + phase);
                const double u = wave + noise * (vc_rng_uniform(&rng) - 0.5);
                *at++ = ((float)(u < 0 ? 0 : u > 1 ? 1 : u) - info->mean[c]) / info->std[c];
            }
        }
    }
    return pixels;
}

// Start, drawn tokens, end. The end is the largest id, or the one the model pools at.
static int32_t *made_ids(const ClipModel *m)
{
    const size_t context = m->info.context, length = context < MADE_TOKENS ? context : MADE_TOKENS;
    VC_ASSERT(context > 0);
    int32_t *ids = vc_alloc(MADE_TEXTS * context, sizeof *ids);
    const int32_t end = m->pool_id >= 0 ? m->pool_id : (int32_t)m->info.vocabulary - 1;
    VcRng rng;
    vc_rng_seed(&rng, 2);
    for (size_t i = 0; i < MADE_TEXTS * context; i++) {
        const size_t place = i % context;
        const int32_t drawn = (int32_t)vc_rng_below(&rng, m->info.vocabulary);
        ids[i] = place == 0 && end > 0 ? end - 1 : place + 1 < length && drawn != end ? drawn : end;
    }
    return ids;
}

// ---- the measure ----

typedef struct {
    float **of; // [threads][count]
    size_t threads, count;
} Gathered;

static Gathered gather_begin(VcPool *pool, size_t count)
{
    Gathered g = {.threads = vc_pool_threads(pool), .count = count};
    g.of = vc_alloc(g.threads, sizeof *g.of);
    for (size_t i = 0; i < g.threads; i++)
        g.of[i] = vc_calloc(count, sizeof(float));
    return g;
}

// The largest of all threads; releases the rest.
static float *gather_end(Gathered *g)
{
    float *most = g->of[0];
    for (size_t t = 1; t < g->threads; t++) {
        for (size_t i = 0; i < g->count; i++)
            most[i] = g->of[t][i] > most[i] ? g->of[t][i] : most[i];
        free(g->of[t]);
    }
    free(g->of);
    return most;
}

static void calibrate_image(const ClipModel *plain, VcPool *pool, const float *pixels, size_t n, ClipCalibration *out)
{
    out->image_count = count_of(&plain->info.image);
    Gathered g = gather_begin(pool, out->image_count);
    float *made = n == 0 ? made_pixels(&plain->info) : NULL;
    clip_measure_images(plain, pool, made != NULL ? made : pixels, made != NULL ? MADE_IMAGES : n, g.of);
    free(made);
    out->image = gather_end(&g);
}

static void calibrate_text(const ClipModel *plain, VcPool *pool, const char *const *texts, size_t n,
                           ClipCalibration *out)
{
    out->text_count = count_of(&plain->info.text);
    Gathered g = gather_begin(pool, out->text_count);
    if (n > 0) {
        clip_measure_texts(plain, pool, texts, n, g.of);
    } else {
        int32_t *ids = made_ids(plain);
        clip_measure_ids(plain, pool, ids, MADE_TEXTS, g.of);
        free(ids);
    }
    out->text = gather_end(&g);
}

void clip_calibrate(const ClipModel *model, VcPool *pool, int towers, const float *pixels, size_t n_images,
                    const char *const *texts, size_t n_texts, ClipCalibration *out)
{
    VcErr err = {0};
    ClipModel plain = *model; // the same weights, unpacked
    const bool viewed = clip_view_towers(&plain, &err);
    VC_ASSERT(viewed); // views of float need nothing that can fail
    *out = (ClipCalibration){0};
    if ((towers & CLIP_IMAGES) != 0)
        calibrate_image(&plain, pool, pixels, n_images, out);
    if ((towers & CLIP_TEXTS) != 0)
        calibrate_text(&plain, pool, texts, n_texts, out);
    clip_works_destroy(&plain.works);
    clip_packed_finish(&plain.image_tower);
    clip_packed_finish(&plain.text_tower);
}

void clip_calibration_finish(ClipCalibration *c)
{
    free(c->image);
    free(c->text);
    *c = (ClipCalibration){0};
}

// ---- the file ----

static void hash_text(const uint8_t hash[32], char out[65])
{
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

bool clip_calibration_write(const ClipCalibration *c, const char *path, const uint8_t hash[32], VcErr *err)
{
    char text[65];
    hash_text(hash, text);
    const NnMetadata metadata[] = {{"weights", text}};
    const NnToStore tensors[] = {{"image.absmax", NN_F32, NN_SHAPE(c->image_count), c->image},
                                 {"text.absmax", NN_F32, NN_SHAPE(c->text_count), c->text}};
    return nn_safetensors_write(path, tensors, 2, metadata, 1, NN_STORE_SORTED, err);
}

static bool read_one(float **out, const NnSafetensors *st, const char *name, size_t count, VcErr *err)
{
    *out = vc_alloc(count, sizeof **out);
    if (!nn_safetensors_load_f32(st, name, NN_SHAPE(count), *out, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!((*out)[i] >= 0 && (*out)[i] < INFINITY)) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s' in '%s' has a value that is no magnitude", name,
                           nn_safetensors_path(st));
        }
    }
    return true;
}

bool clip_calibration_read(ClipCalibration *c, const ClipModel *model, const char *path, const uint8_t hash[32],
                           VcErr *err)
{
    NnSafetensors *st = NULL;
    char text[65];
    hash_text(hash, text);
    *c = (ClipCalibration){.image_count = count_of(&model->info.image), .text_count = count_of(&model->info.text)};
    bool ok = nn_safetensors_open(&st, path, err);
    const char *weights = ok ? nn_safetensors_metadata(st, "weights") : NULL;
    if (ok && (weights == NULL || strcmp(weights, text) != 0))
        ok = vc_fail(err, VC_ERR_FORMAT, "the calibration '%s' belongs to other weights", path);
    ok = ok && read_one(&c->image, st, "image.absmax", c->image_count, err) &&
         read_one(&c->text, st, "text.absmax", c->text_count, err);
    nn_safetensors_close(&st);
    if (!ok)
        clip_calibration_finish(c);
    return ok;
}
