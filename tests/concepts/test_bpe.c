// SPDX-License-Identifier: MIT
// The CLIP tokenizer against golden/clip: every row in three kinds of cleaning, then broken folders.
#include "concepts/text_clean.h"
#include "concepts/tokenizer_bpe.h"

#include "base/file.h"
#include "base/json.h"
#include "tests/support/test.h"

enum { CONTEXT = 77 };

static Bpe *full;
static VcJson *rows;

// ---- golden rows ----

typedef struct {
    char name[32];
    size_t rows, wrong[3];
} Category;

static Category *category_of(Category *list, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    Category *c = &list[(*count)++];
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

static bool same_ids(const VcJson *want, const int32_t *ids, size_t n)
{
    if (vc_json_length(want) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (vc_json_int(vc_json_item(want, i), -1) != ids[i])
            return false;
    return true;
}

static void golden_rows(void **state)
{
    (void)state;
    Category categories[64] = {0};
    size_t count = 0, bad[3] = {0};
    BpeCache *cache = bpe_cache_create();
    for (size_t r = 0; r < vc_json_length(rows); r++) {
        const VcJson *row = vc_json_item(rows, r), *openclip = vc_json_member(row, "openclip");
        const VcJson *hf = vc_json_member(row, "hf"), *openai = vc_json_member(row, "openai");
        const VcJson *want[] = {hf ? hf : openclip, openclip, openai ? openai : openclip};
        size_t n;
        const char *text = vc_json_string(vc_json_member(row, "text"), &n);
        Category *c = category_of(categories, &count, vc_json_string(vc_json_member(row, "category"), NULL));
        c->rows++;
        for (int k = 0; k < 3; k++) {
            int32_t ids[CONTEXT], again[CONTEXT];
            const size_t got = bpe_encode(full, NULL, (BpeClean)k, text, n, ids, CONTEXT);
            if (!same_ids(want[k], ids, got)) {
                c->wrong[k]++;
                bad[k]++;
                print_message("#   differs: kind %d, %s: '%s'\n", k, c->name, text);
            }
            // Twice through the cache: filled by the first, read by the second.
            for (int pass = 0; pass < 2; pass++) {
                assert_int_equal(bpe_encode(full, cache, (BpeClean)k, text, n, again, CONTEXT), got);
                assert_memory_equal(again, ids, got * sizeof ids[0]);
            }
        }
    }
    bpe_cache_destroy(&cache);
    print_message("# category       rows  wrong: hf openclip openai\n");
    for (size_t i = 0; i < count; i++)
        print_message("# %-14s %4zu        %4zu %8zu %6zu\n", categories[i].name, categories[i].rows,
                      categories[i].wrong[0], categories[i].wrong[1], categories[i].wrong[2]);
    assert_int_equal(vc_json_length(rows), 312);
    assert_int_equal(bad[0], 0);
    assert_int_equal(bad[1], 0);
    assert_int_equal(bad[2], 0);
}

static void model_folders_agree_with_their_ids(void **state)
{
    (void)state;
    static const char *const names[] = {"golden/clip/model-hf-tiny", "golden/clip/model-openclip-gelu-f16"};
    for (int i = 0; i < 2; i++) {
        char *dir = test_shared(names[i]);
        Bpe *bpe = NULL;
        assert_ok(bpe_open(&bpe, dir, err));
        assert_int_equal(bpe_start_id(bpe), bpe_vocabulary(bpe) - 2);
        assert_int_equal(bpe_end_id(bpe), bpe_vocabulary(bpe) - 1);
        assert_int_equal(bpe_pad_id(bpe), bpe_end_id(bpe));
        bpe_close(&bpe);
        free(dir);
    }
}

static void copy_into(const char *from, const char *name, const char *to)
{
    char *source = vc_path_join(from, name), *target = vc_path_join(to, name);
    assert_ok(vc_copy_file(source, target, err));
    free(source);
    free(target);
}

static void write_into(const char *dir, const char *name, const char *text)
{
    char *path = vc_path_join(dir, name);
    assert_ok(vc_write_file(path, text, strlen(text), err));
    free(path);
}

static void one_file_equals_two(void **state)
{
    (void)state;
    char *from = test_shared("golden/clip/model-hf-tiny"), *dir = test_temp_folder();
    copy_into(from, "tokenizer.json", dir);
    Bpe *one = NULL, *two = NULL;
    assert_ok(bpe_open(&one, dir, err));
    assert_ok(bpe_open(&two, from, err));
    for (size_t r = 0; r < vc_json_length(rows); r++) {
        size_t n;
        const char *text = vc_json_string(vc_json_member(vc_json_item(rows, r), "text"), &n);
        int32_t a[CONTEXT], b[CONTEXT];
        const size_t got = bpe_encode(one, NULL, BPE_CLEAN_HF, text, n, a, CONTEXT);
        assert_int_equal(got, bpe_encode(two, NULL, BPE_CLEAN_HF, text, n, b, CONTEXT));
        assert_memory_equal(a, b, got * sizeof a[0]);
    }
    bpe_close(&one);
    bpe_close(&two);
    test_temp_remove(&dir);
    free(from);
}

static void damaged_folders_are_named(void **state)
{
    (void)state;
    char *from = test_shared("golden/clip/model-hf-tiny"), *other = test_shared("golden/clip/tokenizer-full");
    char *dir = test_temp_folder();
    Bpe *bpe = NULL;
    assert_error(bpe_open(&bpe, dir, err), "vocab.json");
    copy_into(from, "vocab.json", dir);
    assert_error(bpe_open(&bpe, dir, err), "merges.txt is missing");
    copy_into(other, "merges.txt", dir); // another model's merges
    assert_error(bpe_open(&bpe, dir, err), "is not in the vocabulary");
    write_into(dir, "merges.txt", "#version: 0.2\ni n\nnospace\n");
    assert_error(bpe_open(&bpe, dir, err), "merge 2");
    write_into(dir, "merges.txt", "#version: 0.2\n");
    assert_error(bpe_open(&bpe, dir, err), "no merges");
    copy_into(from, "merges.txt", dir);
    write_into(dir, "vocab.json", "{\"hello\": 0, \"world\": 1}");
    assert_error(bpe_open(&bpe, dir, err), "tokenizer of another model");
    write_into(dir, "vocab.json", "{\"a\": 0, \"b\": 99999999999}");
    assert_error(bpe_open(&bpe, dir, err), "expected an id");
    write_into(dir, "vocab.json", "{\"a\": 0, \"b\": 0}");
    assert_error(bpe_open(&bpe, dir, err), "same id");
    write_into(dir, "vocab.json", "[1, 2]");
    assert_error(bpe_open(&bpe, dir, err), "vocab.json");
    write_into(dir, "vocab.json", "{\"a\": 0");
    assert_error(bpe_open(&bpe, dir, err), "not valid JSON");
    assert_null(bpe);
    test_temp_remove(&dir);
    free(from);
    free(other);
}

static void long_words_are_quick_and_whole(void **state)
{
    (void)state;
    // 400,000 letters without a space: the usual search for the best pair would take hours.
    const size_t n = 400000;
    char *word = vc_alloc(n, 1);
    for (size_t i = 0; i < n; i++)
        word[i] = "thequickbrownfxjmpsvlazydg"[(i * 7919 + i / 13) % 26];
    int32_t *ids = NULL;
    size_t cap = 0;
    const size_t count = bpe_encode_all(full, NULL, BPE_CLEAN_HF, word, n, &ids, &cap);
    VcStr back = {0};
    for (size_t i = 0; i < count; i++)
        vc_str_put(&back, bpe_token(full, ids[i]));
    assert_int_equal(back.len, n + 4);
    assert_memory_equal(back.data, word, n);
    assert_string_equal(back.data + n, "</w>");
    vc_str_finish(&back);
    free(ids);
    free(word);
}

static void broken_utf8_and_zeros(void **state)
{
    (void)state;
    static const char bytes[] = "a\xff\xfe\xc3 b\0c\xf0\x9f\x98";
    static const char repaired[] = "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd b\0c\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";
    for (int k = 0; k < 3; k++) {
        int32_t a[CONTEXT], b[CONTEXT];
        const size_t n = bpe_encode(full, NULL, (BpeClean)k, bytes, sizeof bytes - 1, a, CONTEXT);
        assert_int_equal(n, bpe_encode(full, NULL, (BpeClean)k, repaired, sizeof repaired - 1, b, CONTEXT));
        assert_memory_equal(a, b, n * sizeof a[0]);
        assert_int_equal(bpe_encode(full, NULL, (BpeClean)k, "a b c d e", 9, a, 2), 2); // start and end alone
    }
}

// ---- without reference data ----

static void html_like_python(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"&amp;&lt", "&<"},
        {"&notit; &notin; &not", "\xC2\xACit; \xE2\x88\x89 \xC2\xAC"},
        {"&#x41;&#66&#0;&#xD800;&#x110000;&#1;", "AB\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"&#128;&#99999999999999999999;", "\xE2\x82\xAC\xEF\xBF\xBD"},
        {"&NotEqualTilde;&zwnj;&ZZZ;&;&", "\xE2\x89\x82\xCC\xB8\xE2\x80\x8C&ZZZ;&;&"},
        {"&ampamp; &CounterClockwiseContourIntegral;", "&amp; \xE2\x88\xB3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Runes r = {0}, want = {0};
        runes_put_utf8(&r, cases[i].in, strlen(cases[i].in));
        runes_put_utf8(&want, cases[i].out, strlen(cases[i].out));
        text_html_unescape(&r);
        assert_int_equal(r.len, want.len);
        assert_memory_equal(r.data, want.data, want.len * sizeof *want.data);
        runes_finish(&r);
        runes_finish(&want);
    }
}

static void entity_table_is_searchable(void **state)
{
    (void)state;
    size_t entries = 0;
    for (const char *at = text_html_entities; *at != '\0';) { // each name must be found under its own text
        const size_t n = strcspn(at, "!:");
        const char *codes = at + n + 1;
        Runes r = {0};
        runes_put(&r, '&');
        runes_put_utf8(&r, at, n);
        runes_put(&r, ';');
        text_html_unescape(&r);
        assert_int_equal(r.data[0], strtoul(codes, NULL, 16));
        runes_finish(&r);
        at = strchr(at, ' ') + 1;
        entries++;
    }
    assert_int_equal(entries, 2125);
}

int main(void)
{
    const struct CMUnitTest free_standing[] = {
        cmocka_unit_test(html_like_python),
        cmocka_unit_test(entity_table_is_searchable),
    };
    const struct CMUnitTest golden[] = {
        cmocka_unit_test(golden_rows),
        cmocka_unit_test(model_folders_agree_with_their_ids),
        cmocka_unit_test(one_file_equals_two),
        cmocka_unit_test(damaged_folders_are_named),
        cmocka_unit_test(long_words_are_quick_and_whole),
        cmocka_unit_test(broken_utf8_and_zeros),
    };
    char *dir = test_shared("golden/clip/tokenizer-full"), *path = test_shared("golden/clip/tokenizer_strings.json");
    int failed;
    if (dir == NULL || path == NULL) {
        failed = cmocka_run_group_tests_name("bpe", free_standing, NULL, NULL);
        return failed ? failed : 0;
    }
    VcErr err = {0};
    if (!bpe_open(&full, dir, &err) || !vc_json_read_file(&rows, path, 1 << 24, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    struct CMUnitTest all[sizeof free_standing / sizeof free_standing[0] + sizeof golden / sizeof golden[0]];
    memcpy(all, free_standing, sizeof free_standing);
    memcpy(all + sizeof free_standing / sizeof free_standing[0], golden, sizeof golden);
    failed = cmocka_run_group_tests_name("bpe", all, NULL, NULL);
    bpe_close(&full);
    vc_json_destroy(&rows);
    free(dir);
    free(path);
    return failed;
}
