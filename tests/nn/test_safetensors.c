// SPDX-License-Identifier: MIT
// Weight files: what is written is read back; a header that lies in any way is refused with words that say how.
#include "nn/safetensors.h"

#include "base/file.h"
#include "nn/half.h"
#include "tests/support/test.h"

#include <signal.h>
#include <sys/resource.h>

static char *folder;

static char *in_folder(const char *name)
{
    return vc_path_join(folder, name);
}

// A file from a header text and data bytes; length < 0: the text's own.
static char *raw_file(const char *name, const char *header, int64_t length, const void *data, size_t n)
{
    char *path = in_folder(name);
    VcStr bytes = {0};
    const uint64_t claimed = length < 0 ? strlen(header) : (uint64_t)length;
    vc_str_putn(&bytes, &claimed, sizeof claimed);
    vc_str_put(&bytes, header);
    vc_str_putn(&bytes, data, n);
    assert_ok(vc_write_file(path, bytes.data, bytes.len, err));
    vc_str_finish(&bytes);
    return path;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const float f32[6] = {1, -2.5F, 3e-40F, INFINITY, 0, 65504};
    static const double f64[2] = {1.0 / 3, -0.0};
    static const int32_t i32[3] = {INT32_MIN, 0, INT32_MAX};
    static const int64_t i64[1] = {INT64_MIN};
    static const uint64_t u64[4] = {0, 1, UINT64_MAX, 42};
    static const uint8_t flags[3] = {1, 0, 1};
    static const uint16_t f16[3] = {0x3c00, 0x0001, 0x7bff}, bf16[2] = {0x3f80, 0xff80};
    const NnToStore tensors[] = {
        {"z.flags", NN_BOOL, NN_SHAPE(3), flags}, {"w \"quoted\" \xc3\xa9", NN_F32, NN_SHAPE(2, 3), f32},
        {"a.f64", NN_F64, NN_SHAPE(2), f64},      {"rng", NN_U64, NN_SHAPE(4), u64},
        {"ids", NN_I32, NN_SHAPE(3), i32},        {"scalar", NN_I64, NN_SCALAR, i64},
        {"empty", NN_F32, NN_SHAPE(0, 7), NULL},  {"half", NN_F16, NN_SHAPE(3), f16},
        {"brain", NN_BF16, NN_SHAPE(2), bf16},
    };
    enum { COUNT = sizeof tensors / sizeof tensors[0] };
    const NnMetadata metadata[] = {{"format", "pt"}, {"step", "12\n\"x\""}};
    for (int order = NN_STORE_SORTED; order <= NN_STORE_GIVEN; order++) {
        char *path = in_folder("round.safetensors");
        assert_ok(nn_safetensors_write(path, tensors, COUNT, metadata, 2, (NnStoreOrder)order, err));
        NnSafetensors *st = NULL;
        assert_ok(nn_safetensors_open(&st, path, err));
        assert_int_equal(nn_safetensors_count(st), COUNT);
        for (size_t i = 1; i < COUNT; i++)
            assert_true(strcmp(nn_safetensors_at(st, i - 1)->name, nn_safetensors_at(st, i)->name) < 0);
        for (size_t i = 0; i < COUNT; i++) {
            const NnStored *t = nn_safetensors_find(st, tensors[i].name);
            assert_non_null(t);
            assert_int_equal(t->dtype, tensors[i].dtype);
            assert_true(nn_shape_equal(&t->shape, &tensors[i].shape));
            if (t->bytes > 0)
                assert_memory_equal(t->data, tensors[i].data, t->bytes);
            if (order == NN_STORE_SORTED) // every tensor is aligned for its type
                assert_int_equal((uintptr_t)t->data % nn_dtype_size(t->dtype), 0);
        }
        assert_string_equal(nn_safetensors_metadata(st, "step"), "12\n\"x\"");
        assert_null(nn_safetensors_metadata(st, "absent"));
        assert_null(nn_safetensors_find(st, "absent"));

        float x[6];
        double d[3];
        int64_t n[4];
        assert_ok(nn_safetensors_load_f32(st, "a.f64", NN_SHAPE(2), x, err));
        assert_true(x[0] == 1.0F / 3 && x[1] == 0 && signbit(x[1]));
        assert_ok(nn_safetensors_load_f32(st, "half", NN_SHAPE(3), x, err));
        assert_true(x[0] == 1 && x[1] == ldexpf(1, -24) && x[2] == 65504);
        assert_ok(nn_safetensors_load_f64(st, "half", NN_SHAPE(3), d, err));
        assert_true(d[0] == 1 && d[1] == ldexp(1, -24) && d[2] == 65504);
        assert_ok(nn_safetensors_load_f32(st, "brain", NN_SHAPE(2), x, err));
        assert_true(x[0] == 1 && x[1] == -INFINITY);
        assert_ok(nn_safetensors_load_i64(st, "ids", NN_SHAPE(3), n, err));
        assert_true(n[0] == INT32_MIN && n[2] == INT32_MAX);
        assert_ok(nn_safetensors_load_i64(st, "z.flags", NN_SHAPE(3), n, err));
        assert_true(n[0] == 1 && n[1] == 0 && n[2] == 1);
        uint64_t raw[4];
        assert_ok(nn_safetensors_load_raw(st, "rng", NN_U64, NN_SHAPE(4), raw, err));
        assert_memory_equal(raw, u64, sizeof u64);
        nn_safetensors_close(&st);
        nn_safetensors_close(&st);
        free(path);
    }
}

static void test_same_input_same_bytes(void **state)
{
    (void)state;
    static const float x[4] = {1, 2, 3, 4};
    const NnToStore forth[] = {
        {"a", NN_F32, NN_SHAPE(4), x}, {"b", NN_F16, NN_SHAPE(3), x}, {"c", NN_F32, NN_SHAPE(1), x}};
    const NnToStore back[] = {forth[2], forth[1], forth[0]};
    char *one = in_folder("one"), *two = in_folder("two"), *first = NULL, *second = NULL;
    size_t n, m;
    assert_ok(nn_safetensors_write(one, forth, 3, NULL, 0, NN_STORE_SORTED, err));
    assert_ok(nn_safetensors_write(two, back, 3, NULL, 0, NN_STORE_SORTED, err));
    assert_ok(vc_read_file(&first, &n, one, 10000, err));
    assert_ok(vc_read_file(&second, &m, two, 10000, err));
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    uint64_t header;
    memcpy(&header, first, sizeof header);
    assert_int_equal(header % 8, 0);
    free(first);
    free(second);
    free(one);
    free(two);
}

static void test_load_errors(void **state)
{
    (void)state;
    static const float x[6];
    static const uint64_t big[2] = {1, (uint64_t)INT64_MAX + 1};
    static const int64_t wide[2] = {1, (int64_t)INT32_MAX + 1};
    const NnToStore tensors[] = {
        {"w", NN_F32, NN_SHAPE(2, 3), x}, {"big", NN_U64, NN_SHAPE(2), big}, {"wide", NN_I64, NN_SHAPE(2), wide}};
    char *path = in_folder("load.safetensors");
    assert_ok(nn_safetensors_write(path, tensors, 3, NULL, 0, NN_STORE_GIVEN, err));
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_open(&st, path, err));
    float f[6] = {7};
    double d[6];
    int64_t i[2] = {7};
    int32_t j[2] = {7};
    const float *view;
    assert_error(nn_safetensors_load_f32(st, "w", NN_SHAPE(3, 2), f, err),
                 "tensor 'w' has shape [2, 3], expected [3, 2]");
    assert_error(nn_safetensors_load_f32(st, "w", NN_SHAPE(3, 2), f, err), "load.safetensors");
    assert_error(nn_safetensors_load_f32(st, "v", NN_SHAPE(3), f, err), "tensor 'v' is missing (shape [3] expected)");
    assert_error(nn_safetensors_load_f32(st, "wide", NN_SHAPE(2), f, err), "is stored as I64, expected F32");
    assert_error(nn_safetensors_load_f64(st, "wide", NN_SHAPE(2), d, err), "is stored as I64, expected F64");
    assert_error(nn_safetensors_load_i64(st, "w", NN_SHAPE(2, 3), i, err), "is stored as F32, expected an integer");
    assert_error(nn_safetensors_load_i64(st, "big", NN_SHAPE(2), i, err), "element 1 does not fit");
    assert_error(nn_safetensors_load_i32(st, "wide", NN_SHAPE(2), j, err), "element 1 does not fit");
    assert_error(nn_safetensors_load_raw(st, "wide", NN_U64, NN_SHAPE(2), i, err), "is stored as I64, expected U64");
    assert_error(nn_safetensors_view_f32(st, "w", NN_SHAPE(6), &view, err), "has shape [2, 3], expected [6]");
    assert_true(f[0] == 7 && i[0] == 7 && j[0] == 7);
    assert_ok(nn_safetensors_view_f32(st, "w", NN_SHAPE(2, 3), &view, err));
    assert_ptr_equal(view, nn_safetensors_find(st, "w")->data);
    nn_safetensors_close(&st);
    free(path);
}

// Tensors at odd addresses load, and have no view.
static void test_unaligned(void **state)
{
    (void)state;
    uint8_t data[1 + 8 + 4] = {9};
    const float f[2] = {1.5F, -2};
    const uint16_t h[2] = {0x3c00, 0xc000};
    memcpy(data + 1, f, 8);
    memcpy(data + 9, h, 4);
    char *path = raw_file("odd.safetensors",
                          "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                          "\"f\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]},"
                          "\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[9,13]}}  ",
                          -1, data, sizeof data);
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_open(&st, path, err));
    if ((uintptr_t)nn_safetensors_find(st, "f")->data % 4 == 0)
        fail_msg("the test's tensor is aligned by accident");
    float x[2];
    const float *view = x;
    assert_ok(nn_safetensors_view_f32(st, "f", NN_SHAPE(2), &view, err));
    assert_null(view);
    assert_ok(nn_safetensors_load_f32(st, "f", NN_SHAPE(2), x, err));
    assert_memory_equal(x, f, 8);
    assert_ok(nn_safetensors_load_f32(st, "h", NN_SHAPE(2), x, err));
    assert_true(x[0] == 1 && x[1] == -2);
    nn_safetensors_close(&st);
    free(path);
}

#define T8 "\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]"

// Every way of lying, each with 8 bytes of data behind it, and the words of the refusal.
static const struct {
    const char *header;
    int64_t length;
    const char *words;
} lies[] = {
    {"{\"a\":{" T8 "}}", 1000, "is cut short: header of 1000 bytes"},
    {"{\"a\":{" T8 "}}", INT64_MAX, "at most 100000000 are accepted"},
    {"{\"a\":{" T8 "}}", 100000001, "at most 100000000 are accepted"},
    {"{\"a\":{" T8 "}}", 10, "is not valid JSON"},
    {"{\"a\":{" T8 "}}", 0, "does not begin with '{'"},
    {"[]", -1, "does not begin with '{'"},
    {"<!DOCTYPE html>", -1, "does not begin with '{'"},
    {"{\"a\":{" T8 "}", -1, "is not valid JSON"},
    {"{\"a\":{" T8 "}}x", -1, "is not valid JSON"},
    {"{\"a\xff\":{" T8 "}}", -1, "is not valid JSON"},
    {"{\"a\\u0000\":{" T8 "}}", -1, "is not valid JSON"},
    {"{\"a\":{" T8 "},\"a\":{" T8 "}}", -1, "duplicate"},
    {"{\"a\":7}", -1, "tensor 'a': not an object"},
    {"{\"a\":{\"shape\":[8],\"data_offsets\":[0,8]}}", -1, "'dtype' is missing"},
    {"{\"a\":{\"dtype\":8,\"shape\":[8],\"data_offsets\":[0,8]}}", -1, "'dtype' is missing or no string"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", -1, "unknown dtype 'F8_E4M3'"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,8]}}", -1, "'shape' is missing"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":8,\"data_offsets\":[0,8]}}", -1, "'shape' is missing or no array"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-8],\"data_offsets\":[0,8]}}", -1, "no size"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8.0],\"data_offsets\":[0,8]}}", -1, "no size"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[\"8\"],\"data_offsets\":[0,8]}}", -1, "no size"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]}}", -1, "is not valid JSON"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,8],\"data_offsets\":[0,8]}}", -1, "9 dimensions, at most 8"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[7],\"data_offsets\":[0,8]}}", -1,
     "U8 [7] needs 7 bytes, its data_offsets give 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,8]}}", -1, "needs 32 bytes, its data_offsets give 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", -1,
     "more than memory can address"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", -1, "more than memory can"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,2147483649,2],\"data_offsets\":[0,8]}}", -1,
     "more than memory can"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8]}}", -1, "'data_offsets' is missing"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8]}}", -1, "'data_offsets' is missing or no pair"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8,8]}}", -1, "no pair"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,0]}}", -1, "do not run forwards"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[-1,7]}}", -1, "do not run forwards"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", -1,
     "ends at byte 9 of the data, but the file holds only 8"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[9223372036854775799,9223372036854775807]}}", -1,
     "holds only 8"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[7],\"data_offsets\":[0,7]}}", -1, "1 bytes after the last tensor"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[7],\"data_offsets\":[1,8]}}", -1, "1 bytes before tensor 'a'"},
    {"{}", -1, "8 bytes after the last tensor"},
    {"{\"a\":{" T8 "},\"b\":{" T8 "}}", -1, "overlap"},
    {"{\"a\":{" T8 "},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[7,8]}}", -1, "overlap"},
    {"{\"a\":{" T8 "},\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[3,3]}}", -1, "overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
     "\"data_offsets\":[4,8]}}",
     -1, "1 bytes before tensor 'b'"},
    {"{\"__metadata__\":[],\"a\":{" T8 "}}", -1, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"x\":1},\"a\":{" T8 "}}", -1, "__metadata__ 'x' is no string"},
};

static void test_lies(void **state)
{
    (void)state;
    static const uint8_t data[8];
    NnSafetensors *st = NULL;
    char *good = raw_file("good.safetensors",
                          "{\"a\":{" T8 "},\"e\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[8,8]},"
                          "\"d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}   ",
                          -1, data, 8);
    assert_ok(nn_safetensors_open(&st, good, err)); // what the lies vary is right
    nn_safetensors_close(&st);
    free(good);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        char *path = raw_file("lie.safetensors", lies[i].header, lies[i].length, data, 8);
        assert_error(nn_safetensors_open(&st, path, err), lies[i].words);
        assert_error(nn_safetensors_open(&st, path, err), "lie.safetensors");
        assert_null(st);
        free(path);
    }
}

// A file cut at every length is refused at every length.
static void test_cut_anywhere(void **state)
{
    (void)state;
    static const float x[5] = {1, 2, 3, 4, 5};
    const NnToStore tensors[] = {{"a", NN_F32, NN_SHAPE(5), x}, {"b", NN_U8, NN_SHAPE(3), x}};
    char *path = in_folder("whole"), *cut = in_folder("cut"), *bytes = NULL;
    size_t n;
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_write(path, tensors, 2, NULL, 0, NN_STORE_GIVEN, err));
    assert_ok(vc_read_file(&bytes, &n, path, 10000, err));
    for (size_t length = 0; length < n; length++) {
        assert_ok(vc_write_file(cut, bytes, length, err));
        assert_error(nn_safetensors_open(&st, cut, err), "cut'");
    }
    assert_ok(vc_write_file(cut, bytes, n, err));
    assert_ok(nn_safetensors_open(&st, cut, err));
    nn_safetensors_close(&st);
    free(bytes);
    free(path);
    free(cut);
}

static void write_text(const char *name, const char *text)
{
    char *path = in_folder(name);
    assert_ok(vc_write_file(path, text, strlen(text), err));
    free(path);
}

static void test_shards(void **state)
{
    (void)state;
    static const float x[2] = {1, 2}, y[3] = {3, 4, 5};
    const NnToStore a = {"a", NN_F32, NN_SHAPE(2), x}, b = {"b", NN_F32, NN_SHAPE(3), y};
    const NnToStore both[] = {a, b};
    const NnMetadata metadata = {"format", "pt"};
    char *first = in_folder("model-00001-of-00002.safetensors"),
         *second = in_folder("model-00002-of-00002.safetensors");
    char *index = in_folder("model.safetensors.index.json");
    NnSafetensors *st = NULL;
    assert_error(nn_safetensors_open_dir(&st, folder, "model", err), "neither 'model.safetensors' nor");
    assert_ok(nn_safetensors_write(first, &a, 1, &metadata, 1, NN_STORE_SORTED, err));
    assert_ok(nn_safetensors_write(second, &b, 1, NULL, 0, NN_STORE_SORTED, err));
    write_text("model.safetensors.index.json",
               "{\"metadata\":{\"total_size\":20},\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\","
               "\"b\":\"model-00002-of-00002.safetensors\"}}");
    assert_ok(nn_safetensors_open_dir(&st, folder, "model", err));
    float got[3];
    assert_int_equal(nn_safetensors_count(st), 2);
    assert_ok(nn_safetensors_load_f32(st, "b", NN_SHAPE(3), got, err));
    assert_memory_equal(got, y, sizeof y);
    assert_string_equal(nn_safetensors_metadata(st, "format"), "pt");
    assert_error(nn_safetensors_load_f32(st, "b", NN_SHAPE(2), got, err), "model-00002-of-00002.safetensors");
    nn_safetensors_close(&st);

    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"model-00002-of-00002.safetensors\"}}");
    assert_error(nn_safetensors_open(&st, index, err), "tensor 'a' should be in 'model-00002-of-00002.safetensors'");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../model.safetensors\"}}");
    assert_error(nn_safetensors_open(&st, index, err), "name of a file in the same folder");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":7}}");
    assert_error(nn_safetensors_open(&st, index, err), "name of a file in the same folder");
    write_text("model.safetensors.index.json", "{\"weight_map\":{}}");
    assert_error(nn_safetensors_open(&st, index, err), "'weight_map' is missing, empty");
    write_text("model.safetensors.index.json", "[1]");
    assert_error(nn_safetensors_open(&st, index, err), "'weight_map' is missing");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"model-00009-of-00002.safetensors\"}}");
    assert_error(nn_safetensors_open(&st, index, err), "model-00009-of-00002.safetensors");

    assert_ok(nn_safetensors_write(second, both, 2, NULL, 0, NN_STORE_SORTED, err));
    write_text(
        "model.safetensors.index.json",
        "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"}}");
    assert_error(nn_safetensors_open(&st, index, err), "tensor 'a' is in '");
    free(first);
    free(second);
    free(index);
}

static void test_write_errors(void **state)
{
    (void)state;
    static const float x[2];
    const NnToStore twins[] = {
        {"a", NN_F32, NN_SHAPE(2), x}, {"b", NN_F32, NN_SHAPE(1), x}, {"a", NN_F32, NN_SHAPE(1), x}};
    const NnToStore nameless = {"", NN_F32, NN_SHAPE(1), x}, broken = {"\xff", NN_F32, NN_SHAPE(1), x};
    char *path = in_folder("bad.safetensors");
    assert_error(nn_safetensors_write(path, twins, 3, NULL, 0, NN_STORE_GIVEN, err), "two tensors are named 'a'");
    assert_error(nn_safetensors_write(path, &nameless, 1, NULL, 0, NN_STORE_GIVEN, err), "empty or not UTF-8");
    assert_error(nn_safetensors_write(path, &broken, 1, NULL, 0, NN_STORE_GIVEN, err), "empty or not UTF-8");
    assert_false(vc_exists(path));
    assert_error(nn_safetensors_write("/nonexistent/x", twins, 1, NULL, 0, NN_STORE_GIVEN, err), "/nonexistent/x");
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_write(path, NULL, 0, NULL, 0, NN_STORE_SORTED, err)); // no tensors: an empty set
    assert_ok(nn_safetensors_open(&st, path, err));
    assert_int_equal(nn_safetensors_count(st), 0);
    assert_null(nn_safetensors_find(st, "a"));
    nn_safetensors_close(&st);
    free(path);
}

// A disk that is full, played by a limit on the size of files: an error, the old file stays, nothing else is left.
static void test_full_disk(void **state)
{
    (void)state;
    static float x[5000];
    const NnToStore small = {"a", NN_F32, NN_SHAPE(5), x}, large = {"a", NN_F32, NN_SHAPE(5000), x};
    char *path = in_folder("w.safetensors");
    assert_ok(nn_safetensors_write(path, &small, 1, NULL, 0, NN_STORE_GIVEN, err));
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    VcErr e = {0};
    const bool written = nn_safetensors_write(path, &large, 1, NULL, 0, NN_STORE_GIVEN, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(written);
    assert_int_equal(e.code, VC_ERR_IO);
    assert_non_null(strstr(e.text, "w.safetensors"));
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_open(&st, path, err));
    assert_int_equal(nn_safetensors_at(st, 0)->count, 5);
    nn_safetensors_close(&st);
    VcFileList list;
    assert_ok(vc_list_files(&list, folder, err));
    assert_int_equal(list.count, 1);
    vc_file_list_finish(&list);
    free(path);
}

// Files of other programs: the golden models, in three storage types.
static void test_reference_files(void **state)
{
    (void)state;
    char *dir = test_shared("golden/clip/model-hf-tiny");
    if (dir == NULL)
        skip();
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_open_dir(&st, dir, "model", err));
    float *w = vc_alloc((size_t)64 * 3 * 8 * 8, sizeof *w);
    assert_ok(
        nn_safetensors_load_f32(st, "vision_model.embeddings.patch_embedding.weight", NN_SHAPE(64, 3, 8, 8), w, err));
    double sum = 0;
    for (size_t i = 0; i < (size_t)64 * 3 * 8 * 8; i++)
        sum += fabs((double)w[i]);
    assert_true(sum > 1 && sum < 1e5);
    int64_t positions[77];
    assert_ok(nn_safetensors_load_i64(st, "text_model.embeddings.position_ids", NN_SHAPE(1, 77), positions, err));
    assert_true(positions[0] == 0 && positions[76] == 76);
    nn_safetensors_close(&st);
    free(w);
    free(dir);
}

static int set_up(void **state)
{
    (void)state;
    folder = test_temp_folder();
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
        // each in a fresh folder
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_input_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_load_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unaligned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shards, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reference_files, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
