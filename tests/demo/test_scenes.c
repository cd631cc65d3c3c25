// SPDX-License-Identifier: MIT
// Sets of scenes: the same seed gives the same bytes, the truth agrees with the captions, every word is known.
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "demo/dataset.h"
#include "demo/scene.h"
#include "demo/truth.h"
#include "extract/extract.h"
#include "tests/support/test.h"

#include <ctype.h>

static void write_set(const char *dir, uint64_t seed, size_t count, size_t threads)
{
    VcPool *pool = vc_pool_create(threads);
    assert_ok(demo_set_write(&(DemoSet){dir, seed, count, 96}, pool, err));
    vc_pool_destroy(&pool);
}

static uint64_t hash_file(const char *dir, const char *name)
{
    char *path = vc_path_join(dir, name), *data = NULL;
    size_t n = 0;
    assert_ok(vc_read_file(&data, &n, path, 1u << 30, err));
    uint64_t hash = vc_xxh3(data, n);
    free(path);
    free(data);
    return hash;
}

static void same_seed_same_bytes(void **state)
{
    char *a = test_temp_folder(), *b = test_temp_folder(), *c = test_temp_folder();
    VcFileList one, two;
    (void)state;
    write_set(a, 5, 40, 1);
    write_set(b, 5, 40, 3);
    write_set(c, 6, 40, 1);
    assert_ok(vc_list_files(&one, a, err));
    assert_ok(vc_list_files(&two, b, err));
    assert_int_equal(one.count, 40 + 3);
    assert_int_equal(two.count, one.count);
    for (size_t i = 0; i < one.count; i++) {
        assert_string_equal(one.paths[i], two.paths[i]);
        if (hash_file(a, one.paths[i]) != hash_file(b, one.paths[i]))
            fail_msg("'%s' differs between one thread and three", one.paths[i]);
    }
    assert_int_not_equal(hash_file(a, "captions.jsonl"), hash_file(c, "captions.jsonl"));
    assert_int_not_equal(hash_file(a, "images/000000.jpg"), hash_file(c, "images/000000.jpg"));
    vc_file_list_finish(&one);
    vc_file_list_finish(&two);
    test_temp_remove(&a);
    test_temp_remove(&b);
    test_temp_remove(&c);
}

static void picture_does_not_depend_on_count(void **state)
{
    char *a = test_temp_folder(), *b = test_temp_folder();
    (void)state;
    write_set(a, 9, 20, 2);
    write_set(b, 9, 7, 2);
    assert_int_equal(hash_file(a, "images/000006.jpg"), hash_file(b, "images/000006.jpg"));
    test_temp_remove(&a);
    test_temp_remove(&b);
}

// Every picture decodes at its size, and every object lies in it with most of it to be seen.
static void objects_are_in_the_picture(void **state)
{
    enum { SIDE = 96 };
    uint8_t *pixels = vc_alloc((size_t)SIDE * SIDE, 3);
    size_t shapes[DEMO_SHAPES] = {0}, colours[DEMO_COLOURS] = {0}, hidden = 0, several = 0;
    size_t textures[DEMO_TEXTURES] = {0}, backgrounds[DEMO_BACKGROUNDS] = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 1500; seed++) {
        DemoScene s;
        VcRng rng;
        vc_rng_seed(&rng, seed);
        demo_scene_sample(&s, &rng, SIDE);
        demo_scene_paint(&s, pixels);
        assert_in_range(s.object_count, 1, 4);
        assert_in_range(s.group_count, 1, s.object_count);
        assert_in_range(s.quality, 50, 95);
        several += s.object_count > 1;
        backgrounds[s.background]++;
        for (size_t i = 0; i < s.object_count; i++) {
            const DemoObject *o = &s.objects[i];
            assert_true(o->box[0] >= 0 && o->box[1] >= 0 && o->box[2] > 4 && o->box[3] > 4);
            assert_true(o->box[0] + o->box[2] <= SIDE && o->box[1] + o->box[3] <= SIDE);
            if (o->visible < DEMO_VISIBLE - 0.12f)
                fail_msg("seed %llu: object %zu shows only %.2f", (unsigned long long)seed, i, (double)o->visible);
            hidden += o->visible < 0.98f;
            shapes[s.groups[o->group].shape]++;
            colours[s.groups[o->group].colour]++;
            textures[s.groups[o->group].texture]++;
        }
        for (size_t i = 0; i < s.group_count; i++)
            for (size_t j = 0; j < i; j++)
                assert_int_not_equal(s.groups[i].shape, s.groups[j].shape);
    }
    for (size_t i = 0; i < DEMO_SHAPES; i++)
        assert_true(shapes[i] > 40);
    for (size_t i = 0; i < DEMO_COLOURS; i++)
        assert_true(colours[i] > 10);
    for (size_t i = 0; i < DEMO_TEXTURES; i++)
        assert_true(textures[i] > 40);
    for (size_t i = 0; i < DEMO_BACKGROUNDS; i++)
        assert_true(backgrounds[i] > 80);
    assert_true(hidden > 100);
    assert_true(several > 800);
    free(pixels);
}

static void pictures_decode(void **state)
{
    char *dir = test_temp_folder();
    (void)state;
    write_set(dir, 11, 12, 2);
    for (size_t i = 0; i < 12; i++) {
        VcStr name = {0};
        size_t n = 0;
        char *bytes = NULL;
        ExtractImage image;
        vc_str_putf(&name, "%s/images/%06zu.jpg", dir, i);
        assert_ok(vc_read_file(&bytes, &n, vc_str_get(&name), 1u << 20, err));
        assert_ok(extract_image_decode(&image, (const uint8_t *)bytes, n, err));
        assert_int_equal(image.width, 96);
        assert_int_equal(image.height, 96);
        assert_int_equal(image.channels, 3);
        extract_image_finish(&image);
        free(bytes);
        vc_str_finish(&name);
    }
    test_temp_remove(&dir);
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strcasestr(p, word)); p++)
        if ((p == text || !isalpha((unsigned char)p[-1])) && !isalpha((unsigned char)p[n]))
            return true;
    return false;
}

// All captions of `image`, joined by newlines.
static void captions_of(VcStr *out, const char *path, const char *image, size_t *lines)
{
    VcJsonStream *stream = NULL;
    VcJson *item = NULL;
    assert_ok(vc_json_stream_open(&stream, path, VC_JSON_LINES, NULL, err));
    for (;;) {
        assert_ok(vc_json_stream_next(stream, &item, NULL, err));
        if (!item)
            break;
        if (strcmp(vc_json_string(vc_json_member(item, "image"), NULL), image) == 0) {
            vc_str_putf(out, "%s\n", vc_json_string(vc_json_member(item, "caption"), NULL));
            (*lines)++;
        }
        vc_json_destroy(&item);
    }
    vc_json_stream_close(&stream);
}

// A kind is "mentioned" exactly when one of its words stands in a caption of the picture.
static void truth_agrees_with_captions(void **state)
{
    char *dir = test_temp_folder();
    char *truth_path = vc_path_join(dir, "truth.jsonl"), *captions = vc_path_join(dir, "captions.jsonl");
    DemoTruth truth;
    size_t unmentioned = 0, objects = 0;
    (void)state;
    write_set(dir, 21, 250, 2);
    assert_ok(demo_truth_read(&truth, truth_path, err));
    assert_int_equal(truth.image_count, 250);
    for (size_t i = 0; i < truth.image_count; i++) {
        const DemoTrueImage *image = &truth.images[i];
        VcStr text = {0};
        size_t lines = 0;
        captions_of(&text, captions, image->image, &lines);
        assert_in_range(lines, 1, 3);
        for (size_t j = 0; j < image->object_count; j++) {
            const DemoTrueObject *o = &image->objects[j];
            bool named = false;
            for (size_t w = 0; w < truth.word_count; w++)
                named = named || (truth.words[w].cls == o->cls && has_word(vc_str_get(&text), truth.words[w].word));
            if (named != o->mentioned)
                fail_msg("%s: '%s' is %s, captions: %s", image->image, truth.classes[o->cls],
                         o->mentioned ? "mentioned" : "not mentioned", vc_str_get(&text));
            unmentioned += !named;
            objects++;
        }
        vc_str_finish(&text);
    }
    assert_true(unmentioned > 0 && unmentioned < objects / 2);
    demo_truth_finish(&truth);
    free(truth_path);
    free(captions);
    test_temp_remove(&dir);
}

// Line `number` (from 0) of a text.
static void assert_line(const char *text, size_t number, const char *expected)
{
    const char *p = text;
    for (size_t i = 0; i < number; i++) {
        p = strchr(p, '\n');
        assert_non_null(p);
        p++;
    }
    size_t n = strcspn(p, "\n");
    if (n != strlen(expected) || memcmp(p, expected, n) != 0)
        fail_msg("line %zu is '%.*s', expected '%s'", number, (int)n, p, expected);
}

static void vocabulary_knows_every_word(void **state)
{
    char *dir = test_temp_folder();
    char *path = vc_path_join(dir, "vocab.txt"), *captions = vc_path_join(dir, "captions.jsonl"), *text = NULL;
    VcJsonStream *stream = NULL;
    VcJson *item = NULL;
    size_t n = 0, words = 0;
    (void)state;
    write_set(dir, 33, 400, 2);
    assert_ok(vc_read_file(&text, &n, path, 1u << 20, err));
    assert_line(text, 0, "[PAD]");
    assert_line(text, 100, "[UNK]");
    assert_line(text, 101, "[CLS]");
    assert_line(text, 102, "[SEP]");
    assert_line(text, 103, "[MASK]");
    assert_ok(vc_json_stream_open(&stream, captions, VC_JSON_LINES, NULL, err));
    for (;;) {
        assert_ok(vc_json_stream_next(stream, &item, NULL, err));
        if (!item)
            break;
        char *caption = vc_strdup(vc_json_string(vc_json_member(item, "caption"), NULL));
        for (char *p = caption; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        for (char *p = caption + strspn(caption, " ,."); *p; p += strspn(p, " ,.")) {
            size_t length = strcspn(p, " ,.");
            VcStr line = {0};
            vc_str_putf(&line, "\n%.*s\n", (int)length, p);
            if (!strstr(text, vc_str_get(&line)))
                fail_msg("vocab.txt lacks a word of '%s': %s", caption, vc_str_get(&line));
            vc_str_finish(&line);
            p += length;
            words++;
        }
        free(caption);
        vc_json_destroy(&item);
    }
    assert_true(words > 2000);
    vc_json_stream_close(&stream);
    free(text);
    free(path);
    free(captions);
    test_temp_remove(&dir);
}

static void unwritable_folder(void **state)
{
    char *dir = test_temp_folder();
    char *file = vc_path_join(dir, "file"), *below = vc_path_join(file, "set");
    (void)state;
    assert_ok(vc_write_file(file, "x", 1, err));
    assert_error(demo_set_write(&(DemoSet){below, 1, 2, 64}, NULL, err), "file");
    free(file);
    free(below);
    test_temp_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bytes),       cmocka_unit_test(picture_does_not_depend_on_count),
        cmocka_unit_test(objects_are_in_the_picture), cmocka_unit_test(pictures_decode),
        cmocka_unit_test(truth_agrees_with_captions), cmocka_unit_test(vocabulary_knows_every_word),
        cmocka_unit_test(unwritable_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
