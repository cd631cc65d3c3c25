// SPDX-License-Identifier: MIT
// Every kind of source: what it gives for good input, and that bad input is an entry with a problem or one clear error.
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

// Writes the text as a file of the temporary folder; the path is the caller's.
static char *file_with_bytes(const char *name, const char *text, size_t n)
{
    char *path = vc_path_join(folder, name);
    assert_ok(vc_write_file(path, text, n, err));
    return path;
}

static char *file_with(const char *name, const char *text)
{
    return file_with_bytes(name, text, strlen(text));
}

// All entries as text: "key: caption | caption {split}\n", or "key! problem\n".
static char *read_all(const char *path, const ExtractSourceOptions *options, size_t *repaired)
{
    static const ExtractSourceOptions none = {0};
    ExtractSource *source;
    assert_ok(extract_source_open(&source, path, options ? options : &none, err));
    VcStr out = {0};
    size_t repairs = 0;
    for (;;) {
        ExtractEntry e;
        bool more = true;
        assert_ok(extract_source_next(source, &e, &more, err));
        if (!more)
            break;
        if (e.problem)
            vc_str_putf(&out, "%s! %s", e.key, e.problem);
        else
            vc_str_putf(&out, "%s:", e.key);
        for (size_t i = 0; i < e.caption_count; i++)
            vc_str_putf(&out, "%s %s", i ? " |" : "", e.captions[i]);
        if (e.split)
            vc_str_putf(&out, " {%s}", e.split);
        vc_str_putc(&out, '\n');
        repairs += e.repaired;
    }
    extract_source_close(&source);
    if (repaired)
        *repaired = repairs;
    return out.data ? out.data : vc_strdup("");
}

static void expect_entries(const char *name, const char *text, const ExtractSourceOptions *options, const char *wanted)
{
    char *path = file_with(name, text), *got = read_all(path, options, NULL);
    assert_string_equal(got, wanted);
    free(got);
    free(path);
}

#define expect_error(name, text, options, words)                                 \
    do {                                                                         \
        char *path_ = file_with(name, text);                                     \
        ExtractSource *source_;                                                  \
        assert_error(extract_source_open(&source_, path_, options, err), words); \
        assert_null(source_);                                                    \
        free(path_);                                                             \
    } while (0)

static void test_csv(void **state)
{
    (void)state;
    expect_entries("a.csv",
                   "url,caption\nhttp://h/1.jpg,plain\r\nhttp://h/2.jpg,\"comma, \"\"quoted\"\"\nand a line\"\n", NULL,
                   "http://h/1.jpg: plain\nhttp://h/2.jpg: comma, \"quoted\"\nand a line\n");
    // other order, other names, empty lines, a byte order mark, no newline at the end
    expect_entries("a.csv", "\xEF\xBB\xBFid,TEXT,URL\n\n7,seven,http://h/7.jpg\n\n8,eight,http://h/8.jpg", NULL,
                   "http://h/7.jpg: seven\nhttp://h/8.jpg: eight\n");
    // too few columns, and a quote that is never closed: only their lines are lost
    expect_entries("a.csv", "caption,image\nfine,1.jpg\nalone\n\"open,2.jpg\nfine,3.jpg\n", NULL,
                   "1.jpg: fine\n#line 3! line 3 names no image: it has 1 columns\n"
                   "#line 4! line 4: a quotation mark is opened and never closed\n3.jpg: fine\n");
    const ExtractSourceOptions by_name = {.image_col = "pic", .caption_col = "words"};
    expect_entries("a.csv", "words,pic,url\nw,p.jpg,http://x\n", &by_name, "p.jpg: w\n");
    const ExtractSourceOptions by_number = {.url_col = "2", .caption_col = "0"};
    expect_entries("a.csv", "one,two,http://h/1.jpg\n", &by_number, "http://h/1.jpg: one\n");
    const ExtractSourceOptions absent = {.caption_col = "title"}, far = {.url_col = "9"}, none = {0};
    expect_error("a.csv", "url,caption\nx,y\n", &absent, "has no column 'title'; its first line is 'url', 'caption'");
    expect_error("a.csv", "url,caption\nx,y\n", &far, "has 2 columns, numbered from 0");
    expect_error("a.csv", "1,2\n3,4\n", &none, "cannot tell which column holds the image");
}

static void test_tsv(void **state)
{
    (void)state;
    // CC3M: caption, tab, URL, no header, quotation marks are text
    expect_entries("a.tsv", "a \"quoted man\thttp://h/1.jpg\nthe 2nd \thttps://h/2.jpg\n", NULL,
                   "http://h/1.jpg: a \"quoted man\nhttps://h/2.jpg: the 2nd\n");
    // Flickr8k: the caption's number is no part of the name
    expect_entries("a.tsv", "1000_a.jpg#0\tA child .\n1000_a.jpg#1\tA girl .\n", NULL,
                   "1000_a.jpg: A child .\n1000_a.jpg: A girl .\n");
    expect_entries("a.tsv", "", NULL, "");
    // a line over the limit is one broken line
    VcStr s = {0};
    vc_str_put(&s, "caption\turl\n");
    for (int i = 0; i < 150000; i++)
        vc_str_put(&s, "very long ");
    vc_str_put(&s, "\thttp://h/1.jpg\nshort\thttp://h/2.jpg\n");
    expect_entries("a.tsv", s.data, NULL, "#line 2! line 2: the line is longer than 1 MiB\nhttp://h/2.jpg: short\n");
    vc_str_finish(&s);
    // a zero byte in a name, and one in a caption
    static const char zeros[] = "caption\turl\nx\thttp://h/\0.jpg\na\0b\thttp://h/2.jpg\n";
    char *path = file_with_bytes("a.tsv", zeros, sizeof zeros - 1), *got = read_all(path, NULL, NULL);
    assert_string_equal(got, "#line 2! the image's name has a zero byte in it\nhttp://h/2.jpg: a b\n");
    free(got);
    free(path);
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const names[] = {"a.tsv", "a.jsonl", "a.json"};
    static const char *const texts[] = {"caption\turl\ncaf\xE9 noir\thttp://h/1.jpg\nna\xC3\xAFve\thttp://h/2.jpg\n",
                                        "{\"url\": \"http://h/1.jpg\", \"caption\": \"caf\xE9 noir\"}\n"
                                        "{\"url\": \"http://h/2.jpg\", \"caption\": \"na\xC3\xAFve\"}\n",
                                        "[{\"url\": \"http://h/1.jpg\", \"caption\": \"caf\xE9 noir\"},\n"
                                        "{\"url\": \"http://h/2.jpg\", \"caption\": \"na\xC3\xAFve\"}]\n"};
    for (int i = 0; i < 3; i++) {
        char *path = file_with(names[i], texts[i]);
        size_t repaired;
        char *got = read_all(path, NULL, &repaired);
        assert_string_equal(got, "http://h/1.jpg: caf\xEF\xBF\xBD noir\nhttp://h/2.jpg: na\xC3\xAFve\n");
        assert_int_equal(repaired, 1);
        free(got);
        free(path);
    }
}

static void test_json_list(void **state)
{
    (void)state;
    expect_entries(
        "a.json",
        "[{\"image\": \"coco/1.jpg\", \"caption\": \"one\", \"image_id\": 1},\n"
        " {\"image\": \"2.jpg\", \"caption\": [\"a\", \" b \", \"\"], \"kwords\": [1]},\n"
        " [\"3.jpg\", \"pair\"], {\"caption\": \"no image\"}, 7, {\"image\": \"5.jpg\"}]",
        NULL,
        "coco/1.jpg: one\n2.jpg: a | b\n3.jpg: pair\n#item 4! item 4 names no image: it has no text member 'image'\n"
        "#item 5! item 5 is no JSON object\n5.jpg:\n");
}

static void check_broken(const char *name, const char *text, const char *const *pieces)
{
    char *path = file_with(name, text), *got = read_all(path, NULL, NULL);
    const char *at = got;
    for (; *pieces; pieces++) {
        const char *found = strstr(at, *pieces);
        if (!found)
            fail_msg("'%s' lacks '%s'", got, *pieces);
        at = found + strlen(*pieces);
    }
    free(got);
    free(path);
}

static void test_json_broken(void **state)
{
    (void)state;
    check_broken("a.json", "[{\"image\": \"1.jpg\"}, {\"image\": tru}, {\"image\": \"3.jpg\"}]",
                 (const char *const[]){"1.jpg:\n", "#item 2! ", "item 2 is not valid JSON", "3.jpg:\n", NULL});
    check_broken("a.json", "[{\"image\": \"1.jpg\"}, {\"image\": \"2.j",
                 (const char *const[]){"1.jpg:\n", "#item 2! ", "nothing after it can be read", NULL});
    check_broken("a.json", "[oops", (const char *const[]){"#item 1! ", NULL});
    check_broken("a.jsonl", "{\"image\": \"1.jpg\"}\n{broken\n\n{\"image\": \"3.jpg\"}\n[]\n",
                 (const char *const[]){"1.jpg:\n", "#line 2! ", "3.jpg:\n", "#line 5! line 5 is no JSON object", NULL});
    // JSON lines under the other name
    expect_entries("a.json", "{\"image\": \"1.jpg\", \"caption\": \"x\"}\n{\"image\": \"2.jpg\"}\n", NULL,
                   "1.jpg: x\n2.jpg:\n");
    const ExtractSourceOptions none = {0};
    expect_error("a.json", "{\"a\": 1}", &none, "neither COCO captions nor a Karpathy split");
    expect_error("a.json", "hello", &none, "expected a JSON array");
    expect_error("a.json", "{\"images\": [{\"file_name\": \"1.jpg\", \"id\": 1}]}", &none, "should be COCO captions");
    expect_entries("a.json", "", NULL, "");
    expect_entries("a.json", "[]", NULL, "");
    expect_entries("a.jsonl", "", NULL, "");
}

static void test_coco(void **state)
{
    (void)state;
    static const char text[] =
        "{\"info\": {\"year\": 2014, \"x\": \"]}\"}, \"images\": [{\"id\": 9, \"file_name\": \"b.jpg\", \"coco_url\": "
        "\"http://c/b.jpg\"},"
        " {\"id\": 4, \"file_name\": \"a.jpg\", \"coco_url\": \"http://c/a.jpg\"}],"
        " \"annotations\": [{\"image_id\": 4, \"id\": 1, \"caption\": \"an a\"}, {\"image_id\": 9, \"id\": 2, "
        "\"caption\": \"a b\"},"
        " {\"image_id\": 5, \"id\": 3, \"caption\": \"lost\"}, {\"image_id\": 4, \"id\": 4, \"caption\": \"two\"}]}";
    expect_entries("a.json", text, NULL,
                   "b.jpg:\na.jpg:\na.jpg: an a\nb.jpg: a b\n#annotation 3! annotation 3 names image 5, which the file "
                   "does not list\n"
                   "a.jpg: two\n");
    const ExtractSourceOptions by_url = {.url_col = "coco_url"};
    char *path = file_with("a.json", text), *got = read_all(path, &by_url, NULL);
    assert_int_equal(strncmp(got, "http://c/b.jpg:\nhttp://c/a.jpg:\nhttp://c/a.jpg: an a\n", 53), 0);
    free(got);
    free(path);
}

static void test_karpathy_and_vg(void **state)
{
    (void)state;
    expect_entries(
        "a.json",
        "{\"images\": [{\"filepath\": \"val2014\", \"filename\": \"1.jpg\", \"split\": \"test\", \"cocoid\": 1,"
        " \"sentences\": [{\"tokens\": [\"a\"], \"raw\": \"A cat.\"}, {\"raw\": \"Two.\"}]},"
        " {\"filename\": \"2.jpg\", \"split\": \"restval\", \"sentences\": []}, {\"sentences\": []}], \"dataset\": "
        "\"coco\"}",
        NULL, "val2014/1.jpg: A cat. | Two. {test}\n2.jpg: {restval}\n#item 3! item 3 names no image\n");
    expect_entries(
        "a.json",
        "[{\"id\": 107, \"regions\": [{\"phrase\": \"the clock\", \"image_id\": 107}, {\"phrase\": \"a sign\"}]},"
        " {\"regions\": [{\"phrase\": \"x\", \"image_id\": 3}]}, {\"regions\": []}]",
        NULL, "107.jpg: the clock | a sign\n3.jpg: x\n#item 3! item 3 names no image\n");
}

static void test_folder(void **state)
{
    (void)state;
    char *photos = vc_path_join(folder, "photos"), *sub = vc_path_join(photos, "sub");
    assert_ok(vc_make_dirs(sub, err));
    static const struct {
        const char *name, *text;
    } files[] = {{"photos/b.jpg", "x"},
                 {"photos/b.txt", "first\n\n second \nthird"},
                 {"photos/a.PNG", "x"},
                 {"photos/sub/c.jpeg", "x"},
                 {"photos/README.md", "x"},
                 {"photos/list.json", "[]"},
                 {"photos/plain", "\xFF\xD8\xFF\xE0xxxx"},
                 {"photos/notes", "words"},
                 {"photos/.hidden.jpg", "x"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        free(file_with(files[i].name, files[i].text));
    char *got = read_all(photos, NULL, NULL);
    assert_string_equal(got, "a.PNG:\nb.jpg: first | second | third\nplain:\nsub/c.jpeg:\n");
    free(got);
    ExtractSource *source;
    const ExtractSourceOptions none = {0};
    assert_error(extract_source_open(&source, "/nonexistent/folder", &none, err),
                 "'/nonexistent/folder': No such file");
    expect_error("a.doc", "x", &none, "unknown kind of source");
    expect_error("a.parquet", "x", &none, "Parquet is not read");
    if (geteuid() != 0) {
        assert_int_equal(chmod(sub, 0), 0);
        assert_error(extract_source_open(&source, photos, &none, err), "cannot read the folder");
        assert_int_equal(chmod(sub, 0755), 0);
    }
    free(sub);
    free(photos);
}

static void test_fingerprint(void **state)
{
    (void)state;
    const ExtractSourceOptions none = {0};
    char *path = file_with("f.tsv", "caption\turl\n");
    ExtractSource *a, *b;
    assert_ok(extract_source_open(&a, path, &none, err));
    assert_ok(extract_source_open(&b, path, &none, err));
    assert_string_equal(extract_source_fingerprint(a), extract_source_fingerprint(b));
    extract_source_close(&b);
    free(path);
    path = file_with("f.tsv", "caption\turl\nx\thttp://h/1.jpg\n");
    assert_ok(extract_source_open(&b, path, &none, err));
    assert_string_not_equal(extract_source_fingerprint(a), extract_source_fingerprint(b));
    extract_source_close(&a);
    extract_source_close(&b);
    extract_source_close(&b);
    free(path);
}

static void test_urls(void **state)
{
    (void)state;
    assert_true(extract_is_url("http://h/x") && extract_is_url("HTTPS://h/x"));
    assert_false(extract_is_url("ftp://h/x") || extract_is_url("x.jpg") || extract_is_url("/http://"));
    assert_true(extract_has_scheme("ftp://h/x") && extract_has_scheme("data:image/png;base64,AA") &&
                extract_has_scheme("file:///x"));
    assert_false(extract_has_scheme("C:x.jpg") || extract_has_scheme("a/b:c.jpg") || extract_has_scheme("x.jpg"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_tsv),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_json_list),
        cmocka_unit_test(test_json_broken),
        cmocka_unit_test(test_coco),
        cmocka_unit_test(test_karpathy_and_vg),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
