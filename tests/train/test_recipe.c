// SPDX-License-Identifier: MIT
// Recipes: defaults, files, overrides, and every way to be wrong.
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "nn/nn.h"
#include "tests/support/test.h"
#include "train/train.h"

#include <stdlib.h>

static bool load_text(TrainRecipe *recipe, const char *text, const char *const *sets, size_t set_count, VcErr *err)
{
    char *folder = test_temp_folder();
    char *path = vc_path_join(folder, "recipe.json");
    assert_true(vc_write_file(path, text, strlen(text), err));
    bool ok = train_recipe_load(recipe, path, sets, set_count, err);
    free(path);
    test_temp_remove(&folder);
    return ok;
}

static void test_defaults_round_trip(void **state)
{
    (void)state;
    TrainRecipe first, second;
    assert_ok(train_recipe_load(&first, NULL, NULL, 0, err));
    VcStr text = {0}, again = {0};
    train_recipe_write(&first, &text);
    assert_ok(load_text(&second, text.data, NULL, 0, err));
    train_recipe_write(&second, &again);
    assert_string_equal(text.data, again.data);
    assert_true(train_recipe_fingerprint(&first) == train_recipe_fingerprint(&second));
    assert_int_equal(second.vision.mlp, 4 * second.vision.width); // resolved, not the 0 of the default
    assert_string_equal(second.records.items[0], "records");
    assert_non_null(strstr(text.data, "\"lr\": 0.001,\n"));
    vc_str_finish(&text);
    vc_str_finish(&again);
    train_recipe_finish(&first);
    train_recipe_finish(&second);
}

static void test_file_and_overrides(void **state)
{
    (void)state;
    const char *text =
        "{\"#\": \"a comment\", \"objective\": \"vicha\", \"image\": {\"size\": 96, \"flip\": true},\n"
        " \"model\": {\"vision\": {\"width\": 60, \"heads\": 5}}, \"data\": {\"records\": [\"a\", \"b\"]}}";
    const char *sets[] = {"image.size=128", "name=night run", "optim.lr=2.5e-4", "data.records=[\"x\"]",
                          "model.vision.mlp=100"};
    TrainRecipe recipe;
    assert_ok(load_text(&recipe, text, sets, 5, err));
    assert_int_equal(recipe.objective, TRAIN_VICHA);
    assert_int_equal(recipe.image_size, 128); // the override wins
    assert_true(recipe.flip);
    assert_int_equal(recipe.vision.width, 60);
    assert_int_equal(recipe.vision.mlp, 100);
    assert_string_equal(recipe.name, "night run");
    assert_close(recipe.lr, 2.5e-4, 0);
    assert_int_equal(recipe.records.count, 1);
    train_recipe_finish(&recipe);
}

// An objective's own defaults come before the file and the overrides, wherever those name the objective.
static void test_own_defaults(void **state)
{
    (void)state;
    TrainRecipe r;
    assert_ok(train_recipe_load(&r, NULL, NULL, 0, err));
    assert_close(r.crop_min, 0.6, 0);
    assert_int_equal(r.randaugment_n, 0);
    train_recipe_finish(&r);
    const char *sets[] = {"image.flip=false", "objective=vicha"};
    assert_ok(load_text(&r, "{\"image\": {\"crop_min\": 0.5}}", sets, 2, err));
    assert_close(r.crop_min, 0.5, 0);
    assert_false(r.flip);
    assert_int_equal(r.randaugment_n, 2);
    assert_close(r.randaugment_m, 7, 0);
    assert_false(r.randaugment_original);
    assert_int_equal(r.context, 25);
    train_recipe_finish(&r);
    assert_ok(load_text(&r, "{\"objective\": \"vicha\"}", NULL, 0, err));
    assert_close(r.crop_min, 0.2, 0);
    assert_true(r.flip);
    train_recipe_finish(&r);
    VcStr keys = {0};
    train_recipe_print_keys(&keys);
    assert_non_null(strstr(keys.data, "[0.6; \"vicha\" 0.2, 0.01 to 1]"));
    vc_str_finish(&keys);
}

// "auto" is one of the others once it is resolved, so that a run goes on in what it began with.
static void test_automatic_precision(void **state)
{
    (void)state;
    const char *set = "precision=auto";
    const char *before = getenv("VC_CPU");
    char *kept = before ? vc_strdup(before) : NULL;
    TrainRecipe recipe;
    assert_ok(train_recipe_load(&recipe, NULL, &set, 1, err));
    assert_int_equal(recipe.precision, vc_cpu_flags() & VC_CPU_AVX512_BF16 ? NN_PRECISION_BF16 : NN_PRECISION_FP32);
    train_recipe_finish(&recipe);
    setenv("VC_CPU", "avx2", 1);
    assert_ok(train_recipe_load(&recipe, NULL, &set, 1, err));
    assert_int_equal(recipe.precision, NN_PRECISION_FP32);
    VcStr text = {0};
    train_recipe_write(&recipe, &text);
    assert_non_null(strstr(text.data, "\"precision\": \"fp32\""));
    vc_str_finish(&text);
    train_recipe_finish(&recipe);
    if (kept) {
        setenv("VC_CPU", kept, 1);
    } else {
        unsetenv("VC_CPU");
    }
    free(kept);
}

static void test_named_tokenizer_wins(void **state)
{
    (void)state;
    TrainRecipe recipe;
    const char *set = "tokenizer.dir=some/clip";
    assert_ok(train_recipe_load(&recipe, NULL, &set, 1, err));
    assert_int_equal(recipe.tokenizer_learn, 0);
    train_recipe_finish(&recipe);
}

static void test_fingerprint(void **state)
{
    (void)state;
    const char *const habits[] = {"log.every=3", "checkpoint.keep=9", "data.workers=7", "eval.every=1", "name=x"};
    const char *const numbers[] = {"seed=1", "optim.lr=0.5", "train.batch=3", "image.flip=true", "data.records=\"z\""};
    TrainRecipe plain, other;
    assert_ok(train_recipe_load(&plain, NULL, NULL, 0, err));
    for (size_t i = 0; i < 5; i++) {
        assert_ok(train_recipe_load(&other, NULL, &habits[i], 1, err));
        assert_true(train_recipe_fingerprint(&plain) == train_recipe_fingerprint(&other));
        train_recipe_finish(&other);
        assert_ok(train_recipe_load(&other, NULL, &numbers[i], 1, err));
        assert_false(train_recipe_fingerprint(&plain) == train_recipe_fingerprint(&other));
        train_recipe_finish(&other);
    }
    train_recipe_finish(&plain);
}

static void test_wrong_files(void **state)
{
    (void)state;
    const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"optim\": {\"lrr\": 1}}", "unknown key 'optim.lrr'; did you mean 'optim.lr'"},
        {"{\"lr\": 0.1}", "did you mean 'optim.lr'"},
        {"{\"optimizer\": {\"lr\": 0.1}}", "unknown key 'optimizer'"},
        {"{\"colour of the sky\": 1}", "'vicha train --keys' lists all"},
        {"{\"optim\": 3}", "'optim' is a section"},
        {"{\"model\": {\"vision\": 3}}", "'model.vision' is a section"},
        {"{\"train\": {\"batch\": 1}}", "'train.batch' is 1, expected 2 to"},
        {"{\"train\": {\"batch\": 2.5}}", "must be a whole number"},
        {"{\"train\": {\"batch\": \"64\"}}", "must be a whole number"},
        {"{\"train\": {\"batch\": {\"a\": 1}}}", "must be a whole number"},
        {"{\"image\": {\"flip\": 1}}", "must be true or false"},
        {"{\"objective\": \"clap\"}", "'objective' is 'clap', expected one of clip|vicha"},
        {"{\"data\": {\"records\": []}}", "'data.records' must be a path or a list"},
        {"{\"data\": {\"records\": [\"a\", 1]}}", "item 2 of 'data.records'"},
        {"{\"image\": {\"size\": 65}}", "not a multiple of model.vision.patch"},
        {"{\"model\": {\"text\": {\"heads\": 3}}}", "not a multiple of its 3 heads"},
        {"{\"image\": {\"crop_min\": 0.9, \"crop_max\": 0.8}}", "is above"},
        {"{\"tokenizer\": {\"learn\": 0}}", "name a tokenizer"},
        {"{\"tokenizer\": {\"vocab\": \"v\"}}", "go together"},
        {"{\"tokenizer\": {\"dir\": \"d\", \"vocab\": \"v\", \"merges\": \"m\"}}", "not both"},
        {"[1]", "one JSON object"},
        {"{\"seed\": ", "recipe.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainRecipe recipe;
        assert_error(load_text(&recipe, cases[i].text, NULL, 0, err), cases[i].words);
    }
}

static void test_wrong_overrides(void **state)
{
    (void)state;
    const struct {
        const char *set, *words;
    } cases[] = {
        {"batch", "expected key=value"},
        {"=3", "expected key=value"},
        {"train.bach=3", "did you mean 'train.batch'"},
        {"train.batch=many", "must be a whole number"},
        {"train.batch=1e99", "expected 2 to"},
        {"optim.lr=NaN", "must be a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainRecipe recipe;
        assert_error(train_recipe_load(&recipe, NULL, &cases[i].set, 1, err), cases[i].words);
    }
    TrainRecipe recipe;
    assert_error(train_recipe_load(&recipe, "/nonexistent/recipe.json", NULL, 0, err), "/nonexistent/recipe.json");
}

// ---- sizes: section 7 of the specification, and OpenAI's ViT-B/32

static VcJson *describe(const char *const *sets, size_t count, const char *const *more, size_t more_count)
{
    const char *all[64];
    TrainRecipe recipe;
    VcStr text = {0};
    VcJson *json;
    memcpy(all, sets, count * sizeof *all);
    for (size_t i = 0; i < more_count; i++)
        all[count + i] = more[i];
    assert_ok(train_recipe_load(&recipe, NULL, all, count + more_count, err));
    assert_ok(train_describe(&recipe, true, &text, err));
    assert_ok(vc_json_parse(&json, text.data, text.len, "description", err));
    train_recipe_finish(&recipe);
    vc_str_finish(&text);
    return json;
}

static const VcJson *row_of(const VcJson *json, const char *list, const char *part)
{
    const VcJson *rows = vc_json_member(json, list);
    for (size_t i = 0; i < vc_json_length(rows); i++) {
        const VcJson *row = vc_json_item(rows, i);
        const char *name = vc_json_string(vc_json_member(row, "part"), NULL);
        if (name && strcmp(name, part) == 0)
            return row;
    }
    fail_msg("no '%s' in '%s'", part, list);
    return NULL;
}

static int64_t number_of(const VcJson *json, const char *key)
{
    return vc_json_int(vc_json_member(json, key), -1);
}

static const char *const paper[] = {"objective=vicha",        "image.size=256",        "model.vision.width=768",
                                    "model.vision.layers=12", "model.vision.heads=12", "model.vision.patch=16",
                                    "model.text.width=768",   "model.text.layers=12",  "model.text.heads=12",
                                    "model.text.context=25",  "model.proj=256",        "train.batch=32"};
enum { PAPER = 12 };

static void test_paper_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        int64_t parameters;
    } expected[] = {
        {"image tower", 85844736},
        {"text and fusion encoder", 123075072},
        {"MLM head", 123697722 - 123075072},
        {"concept encoder", 38012928},
        {"concept projection", 590592},
        {"image projection", 196864},
        {"text projection", 196864},
        {"ITM head", 1538},
        {"temperature", 1},
        {"HITC image projections", 1968640 / 2},
        {"HITC text projections", 1968640 / 2},
    };
    VcJson *json = describe(paper, PAPER, NULL, 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(number_of(row_of(json, "parts", expected[i].part), "parameters"), expected[i].parameters);
    assert_int_equal(number_of(row_of(json, "parts", "MIM pixels"), "parameters") +
                         number_of(row_of(json, "parts", "MIM mask token"), "parameters") +
                         number_of(row_of(json, "parts", "MIM decoder"), "parameters"),
                     15359232);
    assert_int_equal(number_of(json, "parameters"), 265869117);
    assert_int_equal(number_of(json, "momentum"), 248539706);
    assert_int_equal(number_of(json, "frozen"), 197376);
    vc_json_destroy(&json);

    static const char *const no_extras[] = {"loss.hitc=0", "loss.mim=0"};
    json = describe(paper, PAPER, no_extras, 2);
    assert_int_equal(number_of(json, "parameters"), 248541245);
    vc_json_destroy(&json);
    static const char *const albef[] = {"loss.hitc=0", "loss.mim=0", "model.concepts=false"};
    json = describe(paper, PAPER, albef, 3);
    assert_int_equal(number_of(json, "parameters"), 209937725);
    vc_json_destroy(&json);
    static const char *const larger[] = {"image.size=384"};
    json = describe(paper, PAPER, larger, 1);
    assert_int_equal(number_of(row_of(json, "parts", "image tower"), "parameters"), 86090496);
    vc_json_destroy(&json);
}

static void test_paper_operations(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        double student, teacher;
    } expected[] = {
        {"concept branch", 0.15, 0.15},
        {"image tower", 24.14, 24.14},
        {"text layers", 1.07, 1.07},
        {"ITC", 0.034, 0.034},
        {"ITM", 3 * 3.20, 0},
        {"MLM", 4.26 + 0.60, 4.26 + 0.60},
        {"MIM", 9.78, 0},
    };
    VcJson *json = describe(paper, PAPER, NULL, 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const VcJson *row = row_of(json, "forward_gmac", expected[i].part);
        assert_close(vc_json_number(vc_json_member(row, "student"), -1), expected[i].student, 0.015);
        assert_close(vc_json_number(vc_json_member(row, "teacher"), -1), expected[i].teacher, 0.015);
    }
    assert_close(vc_json_number(vc_json_member(json, "gflop_per_sample"), -1), 358, 1);
    const double here = vc_json_number(vc_json_member(json, "gflop_per_sample_here"), -1);
    assert_true(here > 250 && here < 330); // keys of the images once: 5.7 GMAC less, three times
    vc_json_destroy(&json);
    static const char *const hour[] = {"model.text.context=14"};
    json = describe(paper, PAPER, hour, 1);
    assert_close(vc_json_number(vc_json_member(json, "gflop_per_sample"), -1), 333, 1);
    vc_json_destroy(&json);
}

static void test_clip_size(void **state)
{
    (void)state;
    static const char *const clip[] = {"image.size=224",        "model.vision.width=768", "model.vision.layers=12",
                                       "model.vision.heads=12", "model.vision.patch=32",  "model.text.width=512",
                                       "model.text.layers=12",  "model.text.heads=8",     "model.text.context=77",
                                       "model.proj=512",        "tokenizer.learn=49408"};
    VcJson *json = describe(clip, 11, NULL, 0);
    assert_int_equal(number_of(json, "parameters"), 151277313);
    vc_json_destroy(&json);
}

static void test_objective_fits(void **state)
{
    (void)state;
    static const struct {
        const char *set, *words;
    } cases[] = {
        {"model.queue=100", "not a multiple of train.batch 64 (64 would be)"},
        {"model.text.fusion_layer=4", "fusion layers from model.text.fusion_layer 4 on; model.text.layers is 4"},
        {"model.text.positions=20", "below model.text.context"},
        {"loss.hitc_levels=6", "there are 2"},
        {"loss.hitc_weights=[1]", "has 1 numbers for 2 levels"},
        {"loss.hitc_weights=[1,\"x\"]", "item 2 of 'loss.hitc_weights' is not a number"},
        {"loss.hitc_weights=[1,-1]", "expected 0 to"},
        {"loss.hitc_weights=3", "must be a list"},
        {"loss.mim_ratio=1", "leaves 0 of 64 patches seen"},
        {"loss.mim_ratio=0", "leaves 64 of 64 patches seen"},
        {"model.decoder.width=30", "not a multiple of 4"},
        {"model.decoder.heads=5", "not a multiple of its 5 heads"},
        {"loss.alpha=1.5", "expected 0 to 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainRecipe recipe;
        const char *sets[] = {"objective=vicha", cases[i].set};
        assert_error(train_recipe_load(&recipe, NULL, sets, 2, err), cases[i].words);
    }
    static const char *const none[] = {"objective=vicha", "loss.itc=0", "loss.hitc=0",
                                       "loss.itm=0",      "loss.mlm=0", "loss.mim=0"};
    TrainRecipe recipe;
    assert_error(train_recipe_load(&recipe, NULL, none, 6, err), "nothing to train");
    static const char *const levels[] = {"objective=vicha", "loss.hitc_weights=[0.5, 2]"};
    assert_ok(train_recipe_load(&recipe, NULL, levels, 2, err));
    assert_int_equal(recipe.fusion_layer, 2);
    assert_int_equal(recipe.hitc_levels, 2);
    assert_close(recipe.hitc_weights.items[1], 2, 0);
    VcStr text = {0};
    train_recipe_write(&recipe, &text);
    assert_non_null(strstr(text.data, "\"hitc_weights\": [0.5, 2]"));
    vc_str_finish(&text);
    train_recipe_finish(&recipe);
}

// Every recipe of the program loads, says what it is for, and is what its name promises.
static void test_builtins(void **state)
{
    (void)state;
    size_t count;
    const TrainBuiltin *all = train_builtins(&count);
    assert_true(count >= 4);
    for (size_t i = 0; i < count; i++) {
        TrainRecipe recipe;
        VcJson *json = NULL;
        assert_ok(train_recipe_load(&recipe, all[i].name, NULL, 0, err));
        assert_string_equal(recipe.name, all[i].name);
        assert_ok(vc_json_parse(&json, all[i].text, strlen(all[i].text), all[i].name, err));
        assert_non_null(vc_json_string(vc_json_member(json, "#"), NULL));
        vc_json_destroy(&json);
        train_recipe_finish(&recipe);
    }
    TrainRecipe large, small;
    assert_ok(train_recipe_load(&large, "vicha-1m", NULL, 0, err));
    assert_int_equal(large.vision.width, 768);
    assert_int_equal(large.image_size, 256);
    assert_int_equal(large.queue, 65536);
    assert_int_equal(large.epochs, 11);
    assert_int_equal(large.warmup_steps, 2000);
    assert_true(large.lr == 1e-4 && large.min_lr == 1e-5 && large.clip_norm == 0 &&
                large.schedule == TRAIN_SCHEDULE_EPOCH);
    train_recipe_finish(&large);
    const char *sets[] = {"train.epochs=3"};
    assert_ok(train_recipe_load(&small, "vicha-small", sets, 1, err));
    assert_int_equal(small.vision.width, 192);
    assert_int_equal(small.batch, 16);
    assert_int_equal(small.queue, 4096);
    assert_int_equal(small.epochs, 3);
    train_recipe_finish(&small);
    assert_error(train_recipe_load(&small, "vicha-smal", NULL, 0, err), "vicha-small");
    assert_null(train_builtin_find("vicha-smal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_round_trip), cmocka_unit_test(test_file_and_overrides),
        cmocka_unit_test(test_own_defaults),        cmocka_unit_test(test_named_tokenizer_wins),
        cmocka_unit_test(test_fingerprint),         cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_wrong_overrides),     cmocka_unit_test(test_paper_parameters),
        cmocka_unit_test(test_paper_operations),    cmocka_unit_test(test_clip_size),
        cmocka_unit_test(test_objective_fits),      cmocka_unit_test(test_builtins),
        cmocka_unit_test(test_automatic_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
