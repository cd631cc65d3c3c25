// SPDX-License-Identifier: MIT
// PyTorch checkpoints: what is right is read, what would run code or lies is refused with words that say what.
#include "nn/torch_file.h"

#include "base/file.h"
#include "tests/nn/torch_maker.h"
#include "tests/support/test.h"

static char *folder;
static const float values[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static char *in_folder(const char *name)
{
    return vc_path_join(folder, name);
}

// Without a sync: there are many.
static void put_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

// Archive "weights/..." around a pickle, with the eight values under data/0. Freed with free().
static char *archive(const char *name, const VcStr *pickle, bool zip64)
{
    ZipMaker zip = {0};
    zip_put(&zip, "weights/data.pkl", vc_str_get(pickle), pickle->len);
    zip_put(&zip, "weights/byteorder", "little", 6);
    zip_put(&zip, "weights/data/0", values, sizeof values);
    zip_put(&zip, "weights/version", "3\n", 2);
    zip_end(&zip, zip64);
    char *path = in_folder(name);
    put_file(path, zip.body.data, zip.body.len);
    zip_free(&zip);
    return path;
}

static void begin(VcStr *s)
{
    vc_str_clear(s);
    vc_str_putn(s, "\x80\x02", 2);
}

// A dict {NAME: tensor} alone in a pickle.
static void one_tensor(VcStr *s, const char *class, int64_t elements, int64_t offset, const int64_t *sizes,
                       const int64_t *strides, size_t rank)
{
    begin(s);
    vc_str_putc(s, '}');
    op_text(s, "w");
    op_tensor(s, class, "0", elements, offset, sizes, strides, rank);
    vc_str_put(s, "s.");
}

// The file is refused, with these words in the error.
static void refused(const VcStr *pickle, const char *words)
{
    char *path = archive("refused.pth", pickle, false);
    NnSafetensors *st = NULL;
    assert_error(nn_weights_open(&st, path, err), words);
    assert_null(st);
    free(path);
}

static void test_views(void **state)
{
    (void)state;
    VcStr s = {0};
    begin(&s);
    vc_str_put(&s, "}(");
    op_text(&s, "whole");
    op_tensor(&s, "FloatStorage", "0", 8, 0, (int64_t[]){2, 4}, (int64_t[]){4, 1}, 2);
    op_text(&s, "turned"); // [4,2], columns of the same storage
    op_tensor(&s, "FloatStorage", "0", 8, 0, (int64_t[]){4, 2}, (int64_t[]){1, 4}, 2);
    op_text(&s, "part");
    op_tensor(&s, "FloatStorage", "0", 8, 5, (int64_t[]){3}, (int64_t[]){1}, 1);
    op_text(&s, "odd"); // every second
    op_tensor(&s, "FloatStorage", "0", 8, 1, (int64_t[]){1, 3}, (int64_t[]){99, 2}, 2);
    op_text(&s, "same"); // one element seen three times, as expand makes it
    op_tensor(&s, "FloatStorage", "0", 8, 6, (int64_t[]){3}, (int64_t[]){0}, 1);
    op_text(&s, "scalar");
    op_tensor(&s, "FloatStorage", "0", 8, 7, NULL, NULL, 0);
    op_text(&s, "empty");
    op_tensor(&s, "FloatStorage", "0", 8, 8, (int64_t[]){0, 5}, (int64_t[]){5, 1}, 2);
    op_text(&s, "epoch");
    op_int(&s, 3);
    vc_str_put(&s, "u.");
    for (int zip64 = 0; zip64 < 2; zip64++) {
        char *path = archive("views.pth", &s, zip64);
        NnSafetensors *st = NULL;
        assert_ok(nn_weights_open(&st, path, err));
        assert_int_equal(nn_safetensors_count(st), 7);
        float x[8];
        assert_ok(nn_safetensors_load_f32(st, "whole", NN_SHAPE(2, 4), x, err));
        assert_memory_equal(x, values, sizeof values);
        assert_ok(nn_safetensors_load_f32(st, "turned", NN_SHAPE(4, 2), x, err));
        assert_memory_equal(x, ((float[]){0, 4, 1, 5, 2, 6, 3, 7}), sizeof values);
        assert_ok(nn_safetensors_load_f32(st, "part", NN_SHAPE(3), x, err));
        assert_memory_equal(x, values + 5, 3 * sizeof *x);
        assert_ok(nn_safetensors_load_f32(st, "odd", NN_SHAPE(1, 3), x, err));
        assert_memory_equal(x, ((float[]){1, 3, 5}), 3 * sizeof *x);
        assert_ok(nn_safetensors_load_f32(st, "same", NN_SHAPE(3), x, err));
        assert_memory_equal(x, ((float[]){6, 6, 6}), 3 * sizeof *x);
        assert_ok(nn_safetensors_load_f32(st, "scalar", NN_SCALAR, x, err));
        assert_true(x[0] == 7);
        assert_ok(nn_safetensors_load_f32(st, "empty", NN_SHAPE(0, 5), x, err));
        assert_error(nn_safetensors_load_f32(st, "part", NN_SHAPE(4), x, err), "has shape [3], expected [4]");
        nn_safetensors_close(&st);
        free(path);
    }
    vc_str_finish(&s);
}

// {"epoch": 1, "model": {"module.a.weight": ..., "module.b": {"c": ...}}} with an OrderedDict and its attributes.
static void test_nested(void **state)
{
    (void)state;
    VcStr s = {0};
    begin(&s);
    vc_str_put(&s, "}(");
    op_text(&s, "epoch");
    op_int(&s, 1);
    op_text(&s, "optimizer");
    vc_str_put(&s, "}(");
    op_text(&s, "lr");
    vc_str_putn(&s, "G\x3f\xf0\0\0\0\0\0\0u", 10);
    op_text(&s, "model");
    op_global(&s, "collections", "OrderedDict");
    vc_str_put(&s, ")R(");
    op_text(&s, "module.a.weight");
    op_tensor(&s, "FloatStorage", "0", 8, 0, (int64_t[]){8}, (int64_t[]){1}, 1);
    op_text(&s, "module.b");
    vc_str_putc(&s, '}');
    op_text(&s, "c");
    op_global(&s, "torch._utils", "_rebuild_parameter");
    vc_str_putc(&s, '(');
    op_tensor(&s, "IntStorage", "0", 8, 2, (int64_t[]){2}, (int64_t[]){1}, 1);
    vc_str_put(&s, "\x88}tRsu}");
    op_text(&s, "_metadata");
    vc_str_put(&s, "}sbu.");
    char *path = archive("nested.pt", &s, false);
    NnSafetensors *st = NULL;
    assert_ok(nn_torch_open(&st, path, err));
    assert_int_equal(nn_safetensors_count(st), 2);
    assert_string_equal(nn_safetensors_at(st, 0)->name, "a.weight");
    assert_string_equal(nn_safetensors_at(st, 1)->name, "b.c");
    assert_int_equal(nn_safetensors_at(st, 1)->dtype, NN_I32);
    nn_safetensors_close(&st);
    free(path);
    vc_str_finish(&s);
}

static void test_code(void **state)
{
    (void)state;
    VcStr s = {0};
    static const char *const hostile[][3] = {{"os", "system", "refuses 'os.system'"},
                                             {"builtins", "eval", "refuses 'builtins.eval'"},
                                             {"torch", "load", "refuses 'torch.load'"},
                                             {"torch._utils", "_rebuild_tensor_v2.x", "refuses 'torch._utils._rebuild"},
                                             {"collections", "OrderedDic", "refuses 'collections.OrderedDic'"},
                                             {"argparse", "Namespace", "refuses 'argparse.Namespace'"},
                                             {"a\x1b[31m", "b", "refuses 'a?[31m.b'"},
                                             {"", "", "refuses '.'"}};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        begin(&s); // named and called
        op_global(&s, hostile[i][0], hostile[i][1]);
        vc_str_put(&s, "(");
        op_text(&s, "echo owned");
        vc_str_put(&s, "tR.");
        refused(&s, hostile[i][2]);
        begin(&s); // named by the newer operation, and thrown away
        op_text(&s, hostile[i][0]);
        op_text(&s, hostile[i][1]);
        vc_str_put(&s, "\x93"
                       "0}.");
        refused(&s, hostile[i][2]);
    }
    begin(&s); // the oldest way to construct
    vc_str_put(&s, "(");
    op_text(&s, "x");
    vc_str_put(&s, "ios\nsystem\n.");
    refused(&s, "refuses 'os.system'");
    begin(&s);
    op_global(&s, "collections", "OrderedDict");
    vc_str_put(&s, ")\x81.");
    refused(&s, "the construction of an object");
    begin(&s);
    op_global(&s, "torch", "FloatStorage");
    vc_str_put(&s, ")R.");
    refused(&s, "refuses 'torch.FloatStorage(...)'");
    begin(&s);
    vc_str_put(&s, "]}b.");
    refused(&s, "attributes of an object that is no dict");
    begin(&s);
    vc_str_put(&s, "\x82\x01.");
    refused(&s, "an extension code");
    begin(&s);
    vc_str_put(&s, "\x8f.");
    refused(&s, "refuses 'a set'");
    vc_str_finish(&s);
}

static void test_broken(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        size_t n;
        const char *words;
    } cases[] = {
        {"", 0, "ends in the middle"},
        {"}", 1, "ends in the middle"},
        {".", 1, "other than one value"},
        {"}}.", 3, "other than one value"},
        {"(}.", 3, "other than one value"},
        {"}.", 2, "holds no tensors"},
        {"X\xff\xff\xff\xff.", 6, "ends in the middle"},
        {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", 10, "ends in the middle"},
        {"\x8c\x02\xc3\x28.", 5, "not UTF-8"},
        {"h\x07.", 3, "a memo that was never set"},
        {"}r\xff\xff\xff\xff.", 7, "a memo number"},
        {"q\x01.", 3, "the stack is empty"},
        {"]N0.", 4, "holds no tensors"},
        {"Nt.", 3, "a mark is missing"},
        {"}Nu.", 4, "a mark is missing"},
        {"}(NNNu.", 7, "a key without a value"},
        {"}Ns.", 4, "the stack is empty"},
        {"NNa.", 4, "no list"},
        {"NNNs.", 5, "no dict"},
        {"(NNR.", 5, "a call of something"},
        {"NQ.", 3, "no tuple"},
        {")Q.", 3, "other than a storage"},
        {"N\x87.", 3, "the stack is empty"},
        {"\x8b\xff\xff\xff\xff.", 6, "ends in the middle"},
        {"\x8a\x09"
         "123456789.",
         12, "more than 64 bits"},
        {"\x80\x01.", 3, "protocol"},
        {"\xff.", 2, "operation 0xff"},
        {"I1\n.", 4, "operation 0x49"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        VcStr s = {0};
        begin(&s);
        vc_str_putn(&s, cases[i].program, cases[i].n);
        refused(&s, cases[i].words);
        vc_str_finish(&s);
    }
}

static void test_lies(void **state)
{
    (void)state;
    VcStr s = {0};
    static const int64_t eight[] = {8}, one[] = {1}, nine[] = {9}, minus[] = {-1}, huge[] = {INT64_MAX, 4},
                         far[] = {INT64_MAX / 2, 1}, pair[] = {2, 2}, many[] = {1000000, 1000000}, zero[] = {0, 0};
    one_tensor(&s, "FloatStorage", 9, 0, eight, one, 1);
    refused(&s, "a storage of 9 elements, but the archive holds 32 bytes");
    one_tensor(&s, "FloatStorage", -1, 0, eight, one, 1);
    refused(&s, "a storage of -1 elements");
    one_tensor(&s, "FloatStorage", INT64_MAX, 0, eight, one, 1);
    refused(&s, "a storage of");
    one_tensor(&s, "FloatStorage", 8, 0, nine, one, 1);
    refused(&s, "beyond its storage");
    one_tensor(&s, "FloatStorage", 8, 1, eight, one, 1);
    refused(&s, "beyond its storage");
    one_tensor(&s, "FloatStorage", 8, -1, one, one, 1);
    refused(&s, "beyond its storage");
    one_tensor(&s, "FloatStorage", 8, INT64_MAX, one, one, 1);
    refused(&s, "beyond its storage");
    one_tensor(&s, "FloatStorage", 8, 0, minus, one, 1);
    refused(&s, "a size or a stride that is none");
    one_tensor(&s, "FloatStorage", 8, 0, pair, (int64_t[]){1, -1}, 2);
    refused(&s, "a size or a stride that is none");
    one_tensor(&s, "FloatStorage", 8, 0, huge, pair, 2);
    refused(&s, "memory");
    one_tensor(&s, "FloatStorage", 8, 0, pair, far, 2);
    refused(&s, "beyond its storage");
    one_tensor(&s, "FloatStorage", 8, 0, many, zero, 2); // 4 TB out of one element
    refused(&s, ".contiguous()");
    one_tensor(&s, "FloatStorage", 8, 0, (int64_t[9]){0}, (int64_t[9]){0}, 9);
    refused(&s, "9 dimensions");
    one_tensor(&s, "ComplexFloatStorage", 4, 0, one, one, 1);
    refused(&s, "refuses 'torch.ComplexFloatStorage'");
    begin(&s);
    vc_str_putc(&s, '}');
    op_text(&s, "w");
    op_tensor(&s, "FloatStorage", "../0", 8, 0, one, one, 1);
    vc_str_put(&s, "s.");
    refused(&s, "its bytes are not in the archive");
    vc_str_finish(&s);
}

// Containers that hold themselves, and a few bytes that stand for very many values.
static void test_bombs(void **state)
{
    (void)state;
    VcStr s = {0};
    begin(&s);
    vc_str_putn(&s, "]q\0h\0a.", 7); // a list in itself
    refused(&s, "too deep or repeat without end");
    begin(&s);
    vc_str_putn(&s, "(]q\0", 4); // a billion empty lists in 15 levels of lists of lists
    for (int level = 1; level <= 15; level++) {
        vc_str_put(&s, "](");
        for (int i = 0; i < 4; i++)
            vc_str_putn(&s, (char[]){'h', (char)(level - 1)}, 2);
        vc_str_putn(&s, (char[]){'e', 'q', (char)level}, 3);
    }
    vc_str_put(&s, "t.");
    refused(&s, "too deep or repeat without end");
    begin(&s);
    for (size_t i = 0; i < 5000000; i++)
        vc_str_putc(&s, 'N');
    vc_str_putc(&s, '.');
    refused(&s, "makes more than 4194304 values");
    vc_str_finish(&s);
}

static void test_archives(void **state)
{
    (void)state;
    VcStr s = {0};
    one_tensor(&s, "FloatStorage", 8, 0, (int64_t[]){8}, (int64_t[]){1}, 1);
    char *path = archive("whole.pth", &s, true), *text;
    size_t n;
    assert_ok(vc_read_file(&text, &n, path, 1 << 20, err));
    char *cut = in_folder("cut.pth");
    NnSafetensors *st = NULL;
    for (size_t i = 4; i < n; i++) { // a download that stopped, at every byte
        put_file(cut, text, i);
        assert_error(nn_weights_open(&st, cut, err), "zip");
    }
    ZipMaker zip = {0};
    zip_put(&zip, "w/data.pkl", s.data, s.len);
    zip.method = 8;
    zip_put(&zip, "w/data/0", values, sizeof values);
    zip_end(&zip, false);
    assert_ok(vc_write_file(cut, zip.body.data, zip.body.len, err));
    assert_error(nn_weights_open(&st, cut, err), "'w/data/0' is compressed");
    zip_free(&zip);
    static const char *const names[][2] = {{"w/x", "it has no data.pkl"},
                                           {"w/data.pkl", "two entries"},
                                           {"v/data.pkl", "two checkpoints"},
                                           {"w/constants.pkl", "TorchScript"},
                                           {"w/byteorder", "big-endian"}};
    for (size_t i = 0; i < 5; i++) {
        if (i > 0)
            zip_put(&zip, "w/data.pkl", s.data, s.len);
        zip_put(&zip, names[i][0], "big", 3);
        zip_end(&zip, false);
        assert_ok(vc_write_file(cut, zip.body.data, zip.body.len, err));
        assert_error(nn_weights_open(&st, cut, err), names[i][1]);
        zip_free(&zip);
    }
    static const char old[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    assert_ok(vc_write_file(cut, old, sizeof old - 1, err));
    assert_error(nn_weights_open(&st, cut, err), "save it again");
    assert_ok(vc_write_file(cut, "\x80\x04N.", 4, err));
    assert_error(nn_weights_open(&st, cut, err), "no PyTorch checkpoint");
    assert_ok(vc_write_file(cut, "", 0, err));
    assert_error(nn_weights_open(&st, cut, err), "no safetensors file");
    assert_error(nn_torch_open(&st, cut, err), "no zip archive");
    free(text);
    free(cut);
    free(path);
    vc_str_finish(&s);
}

static void test_folder(void **state)
{
    (void)state;
    NnSafetensors *st = NULL;
    assert_error(nn_weights_open_dir(&st, folder, "model", "pytorch_model", err), "holds no weights");
    VcStr s = {0};
    one_tensor(&s, "FloatStorage", 8, 0, (int64_t[]){8}, (int64_t[]){1}, 1);
    char *a = archive("pytorch_model-00001-of-00001.bin", &s, false), *b = in_folder("pytorch_model.bin.index.json");
    static const char index[] = "{\"weight_map\": {\"w\": \"pytorch_model-00001-of-00001.bin\"}}";
    assert_ok(vc_write_file(b, index, sizeof index - 1, err));
    assert_ok(nn_weights_open_dir(&st, folder, "model", "pytorch_model", err));
    assert_non_null(nn_safetensors_find(st, "w"));
    nn_safetensors_close(&st);
    assert_int_equal(unlink(b), 0);
    char *c = archive("pytorch_model.bin", &s, false);
    assert_ok(nn_weights_open_dir(&st, folder, "model", "pytorch_model", err));
    nn_safetensors_close(&st);
    free(a);
    free(b);
    free(c);
    vc_str_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),    cmocka_unit_test(test_nested), cmocka_unit_test(test_code),
        cmocka_unit_test(test_broken),   cmocka_unit_test(test_lies),   cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_archives), cmocka_unit_test(test_folder),
    };
    folder = test_temp_folder();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove(&folder);
    return failed;
}
