// SPDX-License-Identifier: MIT
// Recipes: defaults, files, overrides, and every way to be wrong.
#include "base/file.h"
#include "base/json.h"
#include "tests/support/test.h"
#include "train/train.h"

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
        "{\"#\": \"a comment\", \"objective\": \"vicha-itc\", \"image\": {\"size\": 96, \"flip\": true},\n"
        " \"model\": {\"vision\": {\"width\": 60, \"heads\": 5}}, \"data\": {\"records\": [\"a\", \"b\"]}}";
    const char *sets[] = {"image.size=128", "name=night run", "optim.lr=2.5e-4", "data.records=[\"x\"]",
                          "model.vision.mlp=100"};
    TrainRecipe recipe;
    assert_ok(load_text(&recipe, text, sets, 5, err));
    assert_int_equal(recipe.objective, TRAIN_VICHA_ITC);
    assert_int_equal(recipe.image_size, 128); // the override wins
    assert_true(recipe.flip);
    assert_int_equal(recipe.vision.width, 60);
    assert_int_equal(recipe.vision.mlp, 100);
    assert_string_equal(recipe.name, "night run");
    assert_close(recipe.lr, 2.5e-4, 0);
    assert_int_equal(recipe.records.count, 1);
    train_recipe_finish(&recipe);
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
        {"{\"objective\": \"clap\"}", "'objective' is 'clap', expected one of clip|vicha-itc"},
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

// Counts of the paper's model (its specification, section 7) and of OpenAI's ViT-B/32.
static void test_known_sizes(void **state)
{
    (void)state;
    const char *paper[] = {"objective=vicha-itc",    "image.size=256",        "model.vision.width=768",
                           "model.vision.layers=12", "model.vision.heads=12", "model.vision.patch=16",
                           "model.text.width=768",   "model.text.layers=6",   "model.text.heads=12",
                           "model.text.context=25",  "model.proj=256"};
    const char *clip[] = {"image.size=224",        "model.vision.width=768", "model.vision.layers=12",
                          "model.vision.heads=12", "model.vision.patch=32",  "model.text.width=512",
                          "model.text.layers=12",  "model.text.heads=8",     "model.text.context=77",
                          "model.proj=512",        "tokenizer.learn=49408"};
    const struct {
        const char *part;
        int64_t parameters;
        double gmac;
    } expected[] = {
        {"image tower", 85844736, 24.14}, {"concept encoder", 38012928, 0.14}, {"concept projection", 590592, 0},
        {"image projection", 196864, 0},  {"text projection", 196864, 0},      {"text encoder", 66364416, 1.07},
    };
    TrainRecipe recipe;
    VcStr text = {0};
    VcJson *json;
    assert_ok(train_recipe_load(&recipe, NULL, paper, 11, err));
    assert_ok(train_describe(&recipe, true, &text, err));
    assert_ok(vc_json_parse(&json, text.data, text.len, "description", err));
    VcJson *parts = vc_json_member(json, "parts");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        bool found = false;
        for (size_t k = 0; k < vc_json_length(parts); k++) {
            const VcJson *part = vc_json_item(parts, k);
            if (strcmp(vc_json_string(vc_json_member(part, "part"), NULL), expected[i].part) != 0)
                continue;
            found = true;
            assert_int_equal(vc_json_int(vc_json_member(part, "parameters"), -1), expected[i].parameters);
            assert_close(vc_json_number(vc_json_member(part, "forward_gflop"), -1) / 2, expected[i].gmac, 0.01);
        }
        assert_true(found);
    }
    vc_json_destroy(&json);
    train_recipe_finish(&recipe);
    vc_str_clear(&text);
    assert_ok(train_recipe_load(&recipe, NULL, clip, 11, err));
    assert_ok(train_describe(&recipe, true, &text, err));
    assert_non_null(strstr(text.data, "\"parameters\": 151277313,"));
    train_recipe_finish(&recipe);
    vc_str_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_round_trip),  cmocka_unit_test(test_file_and_overrides),
        cmocka_unit_test(test_named_tokenizer_wins), cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_wrong_files),          cmocka_unit_test(test_wrong_overrides),
        cmocka_unit_test(test_known_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
