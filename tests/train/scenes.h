// SPDX-License-Identifier: MIT
// A small record set whose captions can be learned: a square of one of 8 colours in one of 4 corners, on grey noise.
#pragma once

#include "base/file.h"
#include "base/rng.h"
#include "extract/extract.h"
#include "index/index.h"
#include "tests/support/test.h"
#include "train/recipe.h"

enum { SCENE_SIDE = 40 };

static const char *const scene_colours[8] = {"red", "green", "blue", "yellow", "white", "black", "purple", "orange"};
static const uint8_t scene_rgb[8][3] = {{220, 30, 30},   {30, 200, 40}, {40, 60, 220},  {230, 220, 40},
                                        {250, 250, 250}, {5, 5, 5},     {150, 40, 170}, {245, 140, 20}};
static const char *const scene_corners[4] = {"top left", "top right", "bottom left", "bottom right"};

static inline void scene_draw(uint8_t *pixels, size_t colour, size_t corner, VcRng *rng)
{
    size_t half = SCENE_SIDE / 2, x0 = corner % 2 * half + 4 + vc_rng_below(rng, 3);
    size_t y0 = corner / 2 * half + 4 + vc_rng_below(rng, 3);
    for (size_t y = 0; y < SCENE_SIDE; y++) {
        for (size_t x = 0; x < SCENE_SIDE; x++) {
            bool inside = x >= x0 && x < x0 + 11 && y >= y0 && y < y0 + 11;
            uint8_t grey = (uint8_t)(120 + vc_rng_below(rng, 20));
            for (size_t c = 0; c < 3; c++)
                pixels[3 * (y * SCENE_SIDE + x) + c] = inside ? scene_rgb[colour][c] : grey;
        }
    }
}

typedef struct {
    VcStr fields[12];
} SceneFields;

static inline MdsField scene_field(const VcStr *text)
{
    return (MdsField){(const uint8_t *)text->data, text->len};
}

static inline void scene_add(IndexWriter *writer, const Wordpiece *wp, size_t number, bool several, bool broken)
{
    VcRng rng;
    vc_rng_seed(&rng, 1000 + number);
    size_t colour = vc_rng_below(&rng, 8), corner = vc_rng_below(&rng, 4);
    uint8_t *pixels = vc_alloc(SCENE_SIDE * SCENE_SIDE, 3), *jpeg;
    size_t jpeg_size;
    scene_draw(pixels, colour, corner, &rng);
    ExtractImage image = {.width = SCENE_SIDE,
                          .height = SCENE_SIDE,
                          .channels = 3,
                          .mode = EXTRACT_RGB,
                          .orientation = 1,
                          .pixels = pixels};
    assert_ok(extract_image_encode_jpeg(&image, 92, &jpeg, &jpeg_size, err));
    free(pixels);
    char captions[2][64];
    snprintf(captions[0], 64, "a %s square at the %s", scene_colours[colour], scene_corners[corner]);
    snprintf(captions[1], 64, "the %s has a square in %s", scene_corners[corner], scene_colours[colour]);
    const char *concepts[2] = {scene_colours[colour], scene_corners[corner]};

    VcStr f[12] = {{0}}; // the columns of scene_records, in their order
    int32_t ids[128], lens[2], tokens[64], token_lens[2], concept_ids[2] = {(int32_t)colour, (int32_t)(8 + corner)};
    float scores[2] = {0.3f, 0.2f};
    size_t n = 0, m = 0;
    for (size_t i = 0; i < (several ? 2u : 1u); i++) {
        lens[i] = (int32_t)wordpiece_encode(wp, captions[i], strlen(captions[i]), WORDPIECE_ADD_CLS, ids + n, 60, NULL);
        n += (size_t)lens[i];
    }
    for (size_t i = 0; i < 2; i++) {
        token_lens[i] = (int32_t)wordpiece_encode(wp, concepts[i], strlen(concepts[i]), 0, tokens + m, 30, NULL);
        m += (size_t)token_lens[i];
    }
    vc_str_put(&f[0], captions[0]);
    mds_put_array(&f[1], MDS_I32, ids, n);
    mds_put_array(&f[2], MDS_I32, lens, several ? 2 : 1);
    vc_str_putf(&f[3], several ? "[\"%s\", \"%s\"]" : "[\"%s\"]", captions[0], captions[1]);
    mds_put_array(&f[4], MDS_I32, concept_ids, 2);
    mds_put_array(&f[5], MDS_I32, token_lens, 2);
    mds_put_array(&f[6], MDS_F32, scores, 2);
    mds_put_array(&f[7], MDS_I32, tokens, m);
    vc_str_putf(&f[8], "[\"%s\", \"%s\"]", concepts[0], concepts[1]);
    vc_str_putn(&f[9], jpeg, broken ? jpeg_size / 3 : jpeg_size);
    int64_t id = (int64_t)number + 1;
    vc_str_putn(&f[10], &id, 8);
    free(jpeg);
    MdsField fields[11];
    for (size_t i = 0; i < 11; i++)
        fields[i] = scene_field(&f[i]);
    assert_ok(index_writer_add(writer, id, fields, err));
    for (size_t i = 0; i < 11; i++)
        vc_str_finish(&f[i]);
}

// Writes DIR/records with `count` scenes; `broken`: number of a record whose JPEG is cut, or SIZE_MAX.
static inline void scene_records(const char *dir, const char *name, size_t count, bool several, size_t broken)
{
    static const char *const names[] = {"caption",     "caption_ids",  "caption_lens",   "captions",
                                        "concept_ids", "concept_lens", "concept_scores", "concept_tokens",
                                        "concepts",    "image",        "image_id"};
    static const char *const encodings[] = {
        "str",           "ndarray:int32", "ndarray:int32", "json", "ndarray:int32", "ndarray:int32", "ndarray:float32",
        "ndarray:int32", "json",          "jpeg",          "int"};
    static const char vocabulary[] =
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nthe\nsquare\nat\nhas\nin\ntop\nbottom\nleft\n"
        "right\nred\ngreen\nblue\nyellow\nwhite\nblack\npurple\norange\n";
    assert_ok(extract_image_init(err));
    Wordpiece *wp = NULL;
    assert_ok(wordpiece_open_memory(&wp, vocabulary, sizeof vocabulary - 1, "vocabulary", err));
    char *path = vc_path_join(dir, name);
    IndexWriterOptions options = {path, names, encodings, 11, 65536, "{}"};
    IndexWriter *writer = NULL;
    assert_ok(index_writer_open(&writer, &options, err));
    for (size_t i = 0; i < count; i++)
        scene_add(writer, wp, i, several, i == broken);
    assert_ok(index_writer_commit(writer, NULL, err));
    index_writer_close(&writer);
    wordpiece_close(&wp);
    free(path);
}

// The contrastive loss of a batch alone: settings of objective "vicha" with all else off.
#define SCENE_ITC_ALONE                                                                                 \
    "objective=vicha", "loss.itm=0", "loss.mlm=0", "loss.hitc=0", "loss.mim=0", "model.momentum=false", \
        "model.dropout=0"
enum { SCENE_ITC_ALONE_COUNT = 7 };

// A recipe that learns the scenes in seconds, with more settings on top.
static inline void scene_recipe(TrainRecipe *recipe, const char *const *sets, size_t count)
{
    const char *all[64] = {
        "image.size=32",         "model.vision.patch=8",  "model.vision.width=48", "model.vision.heads=3",
        "model.vision.layers=2", "model.text.width=32",   "model.text.heads=2",    "model.text.layers=2",
        "model.text.context=16", "model.proj=32",         "tokenizer.learn=600",   "train.batch=16",
        "image.crop_min=0.8",    "optim.warmup_steps=10", "optim.lr=0.002",        "data.holdout=0.2",
        "eval.samples=64",       "eval.every=0",          "checkpoint.every=0",    "tokenizer.words=200",
        "data.prefetch=2",       "image.flip=false",      "image.randaugment_n=0"};
    size_t n = 23;
    for (size_t i = 0; i < count; i++)
        all[n++] = sets[i];
    assert_ok(train_recipe_load(recipe, NULL, all, n, err));
}
