// SPDX-License-Identifier: MIT
// Annotations of tasks: which shape an object has, what of it is the image, the text, the concepts, and the rest.
#include "base/file.h"
#include "extract/source.h"
#include "tests/support/test.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = test_temp_folder();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

static const char *shown(const char *text)
{
    return text ? text : "-";
}

// Every entry as "key second shape kind {fields} [concepts] [second concepts]: captions".
static void expect_list(const char *json, const ExtractSourceOptions *options, const char *wanted)
{
    static const ExtractSourceOptions none = {0};
    char *path = vc_path_join(folder, "source.json");
    assert_ok(vc_write_file(path, json, strlen(json), err));
    ExtractSource *source;
    assert_ok(extract_source_open(&source, path, options ? options : &none, err));
    VcStr out = {0};
    for (;;) {
        ExtractEntry e;
        bool more;
        assert_ok(extract_source_next(source, &e, &more, err));
        if (!more)
            break;
        vc_str_putf(&out, "%s %s %s %s %s %s %s:", e.key, shown(e.second_key), shown(e.shape), shown(e.kind),
                    shown(e.fields), shown(e.concepts), shown(e.second_concepts));
        for (size_t i = 0; i < e.caption_count; i++)
            vc_str_putf(&out, "%s %s", i ? " |" : "", e.captions[i]);
        if (e.split)
            vc_str_putf(&out, " {%s}", e.split);
        vc_str_putc(&out, '\n');
    }
    extract_source_close(&source);
    free(path);
    assert_string_equal(vc_str_get(&out), wanted);
    vc_str_finish(&out);
}

static void test_captions(void **state)
{
    (void)state;
    expect_list("[{\"image\": \"a.jpg\", \"caption\": \"one\", \"image_id\": 7, \"kwords\": [\"x\", \"caf\\u00e9\"]},"
                " {\"image\": \"b.jpg\", \"caption\": [\"one\", \"two\"]},"
                " {\"image\": \"c.jpg\", \"caption\": \"plain\", \"width\": 3, \"kwords\": [1]}]",
                NULL,
                "a.jpg - caption - {\"image_id\": 7} [\"x\", \"caf\xC3\xA9\"] -: one\n"
                "b.jpg - captions - - - -: one | two\n"
                "c.jpg - - - - - -: plain\n");
}

static void test_vqa(void **state)
{
    (void)state;
    expect_list("[{\"question_id\": 5, \"question\": \"Why?\", \"image\": \"a.jpg\", \"dataset\": \"vqa\", \"answer\":"
                " [\"yes\", \"no\"], \"kwords\": [\"x\"]}]",
                NULL,
                "a.jpg - vqa question {\"question_id\": 5, \"dataset\": \"vqa\", \"answer\": [\"yes\", \"no\"]} [\"x\"]"
                " -: Why?\n");
}

static void test_nlvr(void **state)
{
    (void)state;
    expect_list("[{\"sentence\": \"Two dogs.\", \"label\": \"False\", \"images\": [\"l.png\", \"r.png\"], \"kwords1\":"
                " [\"x\"], \"kwords2\": [\"y\"]}, {\"sentence\": \"s\", \"images\": [\"l.png\"]},"
                " {\"sentence\": \"s\", \"images\": [\"l.png\", 3]}]",
                NULL,
                "l.png r.png nlvr sentence {\"label\": \"False\"} [\"x\"] [\"y\"]: Two dogs.\n"
                "#item 2 - - - - - -:\n"
                "#item 3 - - - - - -:\n");
}

static void test_entailment(void **state)
{
    (void)state;
    expect_list("[{\"image\": \"4705\", \"sentence\": \"A hat.\", \"label\": \"neutral\"},"
                " {\"image\": \"4706.jpg\", \"sentence\": \"A hat.\", \"label\": \"contradiction\"},"
                " {\"image\": \"4707.jpg\", \"sentence\": \"a caption\", \"label\": \"other\"}]",
                NULL,
                "4705.jpg - entailment hypothesis {\"label\": \"neutral\"} - -: A hat.\n"
                "4706.jpg - entailment hypothesis {\"label\": \"contradiction\"} - -: A hat.\n"
                "4707.jpg - - - - - -: a caption\n");
}

static void test_grounding(void **state)
{
    (void)state;
    expect_list("[{\"ref_id\": 12, \"text\": \"man left\", \"image\": \"a.jpg\"}]", NULL,
                "a.jpg - grounding expression {\"ref_id\": 12} - -: man left\n");
}

static void test_numbers_of_images(void **state)
{
    (void)state;
    expect_list("{\"images\": [{\"filename\": \"a.jpg\", \"cocoid\": 9, \"split\": \"val\", \"sentences\":"
                " [{\"raw\": \"one\"}, {\"raw\": \"two\"}]}]}",
                NULL, "a.jpg - caption - {\"image_id\": 9} - -: one | two {val}\n");
    expect_list("{\"images\": [{\"file_name\": \"a.jpg\", \"id\": 4}], \"annotations\": [{\"image_id\": 4, \"caption\":"
                " \"one\"}]}",
                NULL, "a.jpg - - - - - -:\na.jpg - caption - {\"image_id\": 4} - -: one\n");
}

static void test_options(void **state)
{
    (void)state;
    const ExtractSourceOptions options = {.split = "train", .replace = "images", .replacement = "images_train"};
    expect_list("[[\"images/1.jpg\", \"a\"], [\"images/images/2.jpg\", \"b\"], [\"image/3.jpg\", \"c\"]]", &options,
                "images_train/1.jpg - - - - - -: a {train}\n"
                "images_train/images_train/2.jpg - - - - - -: b {train}\n"
                "image/3.jpg - - - - - -: c {train}\n");
    // Named columns are taken for what they were called.
    const ExtractSourceOptions named = {.caption_col = "answer"};
    expect_list("[{\"question\": \"Why?\", \"image\": \"a.jpg\", \"answer\": \"so\"}]", &named,
                "a.jpg - - - - - -: so\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_captions),   cmocka_unit_test(test_vqa),       cmocka_unit_test(test_nlvr),
        cmocka_unit_test(test_entailment), cmocka_unit_test(test_grounding), cmocka_unit_test(test_numbers_of_images),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
