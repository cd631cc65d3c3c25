// SPDX-License-Identifier: MIT
// What was trained is what the other commands load: pixels, token ids and embeddings are those of the trainer.
#include "base/log.h"
#include "concepts/concepts.h"
#include "nn/nn.h"
#include "tests/train/scenes.h"
#include "train/evaluate.h"
#include "train/export.h"
#include "train/import.h"
#include "train/train.h"

static char *folder;

enum { PAIRS = 12 };

typedef struct {
    TrainRecipe recipe;
    TrainData *data;
    ClipModel *clip;
    TrainModel *model;
    char *out, *exported;
} Exported;

static void train_and_open(Exported *e, const char *name, const char *const *sets, size_t count)
{
    TrainResult result;
    scene_recipe(&e->recipe, sets, count);
    e->out = vc_path_join(folder, name);
    e->exported = vc_path_join(e->out, "model");
    const TrainOptions options = {.workspace = folder, .out = e->out, .threads = 2};
    assert_ok(train_run(&e->recipe, &options, &result, err));
    assert_ok(train_data_open(&e->data, &e->recipe, folder, err));
    assert_ok(clip_open(&e->clip, e->exported, err));
    e->model = train_model_create(&e->recipe, bpe_vocabulary(clip_tokenizer(e->clip)), false);
    assert_ok(train_import(e->model, (const char *const *)&e->exported, 1, NULL, err));
}

static void finish(Exported *e)
{
    train_model_destroy(&e->model);
    clip_close(&e->clip);
    train_data_close(&e->data);
    train_recipe_finish(&e->recipe);
    free(e->out);
    free(e->exported);
}

static double worst_error(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static void compare(Exported *e)
{
    size_t side = (size_t)e->recipe.image_size, pixels = 3 * side * side, width = (size_t)e->recipe.proj;
    TrainSampler *sampler = train_sampler_create(&e->recipe, e->data, clip_tokenizer(e->clip));
    TrainBatch batch;
    train_batch_init(&batch, &e->recipe, PAIRS);
    for (size_t i = 0; i < PAIRS; i++)
        batch.records[i] = 3 * i;
    assert_ok(train_sampler_fill(sampler, &batch, PAIRS, true, err));
    NnContext context;
    nn_context_init(&context, NULL);
    NnTape *tape = nn_tape_create(&context);
    nn_tape_record(tape, false);
    NnVar *images = e->model->ops->images(e->model, tape, &batch),
          *texts = e->model->ops->texts(e->model, tape, &batch);

    float *input = vc_alloc(PAIRS * pixels, sizeof *input), *output = vc_alloc(PAIRS * width, sizeof *output);
    char captions[PAIRS][64];
    const char *list[PAIRS];
    for (size_t i = 0; i < PAIRS; i++) {
        IndexRecord record;
        assert_ok(train_data_get(e->data, batch.records[i], &record, err));
        assert_ok(clip_preprocess(e->clip, record.image, record.image_bytes, input + i * pixels, err));
        snprintf(captions[i], sizeof captions[i], "%.*s", (int)record.caption.size, record.caption.data);
        list[i] = captions[i];
    }
    assert_memory_equal(input, batch.images, PAIRS * pixels * sizeof *input);
    clip_encode_images(e->clip, NULL, input, PAIRS, output);
    clip_normalize(output, PAIRS, width);
    double image_error = worst_error(output, images->value, PAIRS * width);
    assert_ok(clip_encode_texts(e->clip, NULL, list, PAIRS, output, err));
    clip_normalize(output, PAIRS, width);
    double text_error = worst_error(output, texts->value, PAIRS * width);
    print_message("# worst error of normalised embeddings: images %.2g, texts %.2g\n", image_error, text_error);
    assert_true(image_error < 1e-5);
    assert_true(text_error < 1e-5);
    // not equal because empty: embeddings of different pictures differ
    assert_true(worst_error(images->value, images->value + width, width) > 1e-3);

    float scale = clip_info(e->clip)->logit_scale;
    assert_true(scale > 5 && scale <= 100.01f);
    free(input);
    free(output);
    nn_tape_destroy(&tape);
    nn_context_finish(&context);
    train_batch_finish(&batch);
    train_sampler_destroy(&sampler);
}

static void test_same_embeddings(void **state)
{
    (void)state;
    Exported e;
    const char *quick[] = {"train.steps=15"};
    train_and_open(&e, "quick", quick, 1);
    compare(&e);
    finish(&e);
    // exact GELU, odd sizes, heads that are no power of two, an image of another size than the records
    const char *odd[] = {"train.steps=15",        "model.activation=gelu", "model.vision.width=60",
                         "model.vision.heads=5",  "model.vision.mlp=100",  "model.vision.layers=3",
                         "model.text.width=36",   "model.text.heads=3",    "model.text.layers=1",
                         "model.proj=20",         "image.size=48",         "image.upscale=true",
                         "model.vision.patch=12", "model.text.context=24", "tokenizer.learn=530"};
    train_and_open(&e, "odd", odd, 15);
    compare(&e);
    finish(&e);
}

static void test_named_tokenizer(void **state)
{
    (void)state;
    char *path = test_shared("golden/clip/model-hf-tiny");
    if (!path)
        skip();
    VcStr set = {0};
    vc_str_putf(&set, "tokenizer.dir=%s", path);
    const char *sets[] = {set.data, "train.steps=3"};
    Exported e;
    train_and_open(&e, "named", sets, 2);
    assert_int_equal(clip_info(e.clip)->vocabulary, 1514);
    compare(&e);
    finish(&e);
    vc_str_clear(&set);
    vc_str_putf(&set, "tokenizer.vocab=%s/vocab.json", path);
    VcStr merges = {0};
    vc_str_putf(&merges, "tokenizer.merges=%s/merges.txt", path);
    const char *files[] = {set.data, merges.data, "train.steps=3"};
    train_and_open(&e, "files", files, 3);
    compare(&e);
    finish(&e);
    vc_str_finish(&set);
    vc_str_finish(&merges);
    free(path);
    const char *absent[] = {"tokenizer.dir=/nonexistent"};
    TrainRecipe recipe;
    TrainResult result;
    scene_recipe(&recipe, absent, 1);
    char *out = vc_path_join(folder, "absent");
    const TrainOptions options = {.workspace = folder, .out = out, .threads = 1};
    assert_error(train_run(&recipe, &options, &result, err), "tokenizer");
    train_recipe_finish(&recipe);
    free(out);
}

// Any text has an encoding in a learned vocabulary, and the pieces spell the text.
static void test_learned_tokenizer_spells_anything(void **state)
{
    (void)state;
    char *dir = vc_path_join(folder, "quick/tokenizer");
    Bpe *bpe = NULL;
    assert_ok(bpe_open(&bpe, dir, err));
    free(dir);
    VcRng rng;
    vc_rng_seed(&rng, 77);
    int32_t *ids = NULL;
    size_t cap = 0;
    for (int round = 0; round < 2000; round++) {
        VcStr text = {0};
        size_t n = vc_rng_below(&rng, 12);
        for (size_t i = 0; i < n; i++) {
            char utf8[4];
            static const uint32_t most[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
            uint32_t code = 1 + (uint32_t)vc_rng_below(&rng, most[vc_rng_below(&rng, 4)]);
            if (code >= 0xD800 && code < 0xE000)
                code = 'a' + code % 26;
            vc_str_putn(&text, utf8, vc_utf8_encode(code, utf8));
        }
        size_t count = bpe_encode_all(bpe, NULL, BPE_CLEAN_HF, vc_str_get(&text), text.len, &ids, &cap);
        for (size_t i = 0; i < count; i++)
            assert_non_null(bpe_token(bpe, ids[i]));
        bool visible = false;
        for (size_t i = 0; i < text.len; i++)
            visible = visible || (text.data[i] > ' ' && text.data[i] < 127);
        assert_true(count > 0 || !visible);
        vc_str_finish(&text);
    }
    const char *known = "a red square at the top left"; // whole words were learned
    assert_int_equal(bpe_encode_all(bpe, NULL, BPE_CLEAN_HF, known, strlen(known), &ids, &cap), 7);
    VcStr spelled = {0};
    const char *unknown = "zebra\xC3\xA9 42";
    size_t count = bpe_encode_all(bpe, NULL, BPE_CLEAN_HF, unknown, strlen(unknown), &ids, &cap);
    for (size_t i = 0; i < count; i++)
        vc_str_put(&spelled, bpe_token(bpe, ids[i]));
    assert_string_equal(spelled.data, "zebra\xC3\x83\xC2\xA9</w>4</w>2</w>"); // bytes by their stand-ins
    vc_str_finish(&spelled);
    free(ids);
    bpe_close(&bpe);
}

static void test_recall(void **state)
{
    (void)state;
    // three pairs, the last two of one caption
    const float scores[9] = {0.9f, 0.1f, 0.1f, 0.5f, 0.4f, 0.4f, 0.3f, 0.2f, 0.2f};
    const int32_t group[3] = {0, 1, 1};
    TrainRecall r;
    train_recall(scores, group, 3, &r);
    assert_close(r.image_to_text[0], 100.0 / 3, 1e-9); // images 2 and 3 prefer text 1
    assert_close(r.text_to_image[0], 100, 1e-9);       // either image is right for text 2 and 3
    assert_close(r.image_to_text[1], 100, 1e-9);
    assert_close(r.chance[0], 100 * (1.0 / 3 + 2.0 / 3 + 2.0 / 3) / 3, 1e-9);
    assert_close(r.chance[1], 100, 1e-9); // five of three
    const float equal[4] = {0.5f, 0.5f, 0.5f, 0.5f};
    const int32_t apart[2] = {0, 1};
    train_recall(equal, apart, 2, &r); // one score for everything earns nothing
    assert_close(r.image_to_text[0], 0, 0);
    assert_close(r.text_to_image[0], 0, 0);
    const float nothing[4] = {NAN, NAN, NAN, NAN};
    train_recall(nothing, apart, 2, &r);
    assert_close(r.image_to_text[0], 0, 0);
}

static int set_up(void **state)
{
    (void)state;
    vc_log_set_level(VC_LOG_QUIET);
    folder = test_temp_folder();
    scene_records(folder, "records", 100, false, SIZE_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_embeddings),
        cmocka_unit_test(test_named_tokenizer),
        cmocka_unit_test(test_learned_tokenizer_spells_anything),
        cmocka_unit_test(test_recall),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
