// SPDX-License-Identifier: MIT
// Column encodings, record bytes and index.json against bytes and text written by hand.
#include "index/index.h"
#include "tests/support/test.h"

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {
        {"bytes", 0},
        {"jpeg", 0},
        {"png", 0},
        {"str", 0},
        {"json", 0},
        {"int", 8},
        {"uint8", 1},
        {"uint16", 2},
        {"uint32", 4},
        {"uint64", 8},
        {"int8", 1},
        {"int16", 2},
        {"int32", 4},
        {"int64", 8},
        {"float16", 2},
        {"float32", 4},
        {"float64", 8},
        {"ndarray:int32", 0},
        {"ndarray:uint8:256,256,3", 196608},
        {"ndarray:int32:2", 8},
        {"ndarray:float16:2, 3", 12},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        MdsEncoding e;
        assert_ok(mds_encoding_parse(&e, good[i].text, err));
        assert_int_equal(e.size, good[i].size);
    }
    MdsEncoding e;
    assert_error(mds_encoding_parse(&e, "pkl", err), "'pkl'");
    assert_error(mds_encoding_parse(&e, "ndarray", err), "without a type");
    assert_error(mds_encoding_parse(&e, "ndarray:", err), "without a type");
    assert_error(mds_encoding_parse(&e, "ndarray:complex64", err), "'complex64'");
    assert_error(mds_encoding_parse(&e, "ndarray:int32:", err), "not a list");
    assert_error(mds_encoding_parse(&e, "ndarray:int32:0", err), "not a list");
    assert_error(mds_encoding_parse(&e, "ndarray:int32:2,,3", err), "not a list");
    assert_error(mds_encoding_parse(&e, "ndarray:int32:-2", err), "not a list");
    assert_error(mds_encoding_parse(&e, "ndarray:int32:65536,65536", err), "4 GiB");
    assert_error(mds_encoding_parse(&e, "ndarray:int32:99999999999999999999", err), "");
    assert_error(mds_encoding_parse(&e, "strint", err), "'strint'");
}

static MdsSchema make_schema(void)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    static const char *const encodings[] = {"int", "str", "ndarray:int32", "uint8", "ndarray:float32:2", "bytes"};
    MdsSchema s;
    assert_ok(mds_schema_make(&s, names, encodings, 6, err));
    return s;
}

#define BYTES(s) ((MdsField){(const uint8_t *)(s), sizeof(s) - 1})

static const char record_bytes[] = "\x02\0\0\0"                       // length of b
                                   "\x0a\0\0\0"                       // length of c
                                   "\x01\0\0\0"                       // length of f
                                   "\x15\xcd\x5b\x07\0\0\0\0"         // a = 123456789
                                   "hi"                               // b
                                   "\x04\x02\xff\xff\xff\xff\0\1\0\0" // c: one axis of width 1, 2 values: -1, 256
                                   "\x07"                             // d = 7
                                   "\0\0\x80\x3f\0\0\0\x40"           // e = 1.0, 2.0
                                   "!";                               // f

static void test_record_bytes(void **state)
{
    (void)state;
    MdsSchema s = make_schema();
    const int32_t c[] = {-1, 256};
    VcStr array = {0}, out = {0};
    mds_put_array(&array, MDS_I32, c, 2);
    MdsField fields[6] = {BYTES("\x15\xcd\x5b\x07\0\0\0\0"),        BYTES("hi"),
                          {(const uint8_t *)array.data, array.len}, BYTES("\x07"),
                          BYTES("\0\0\x80\x3f\0\0\0\x40"),          BYTES("!")};
    assert_ok(mds_record_put(&out, &s, fields, err));
    assert_int_equal(out.len, sizeof record_bytes - 1);
    assert_memory_equal(out.data, record_bytes, out.len);
    MdsField back[6];
    assert_ok(mds_record_parse(&s, (const uint8_t *)out.data, out.len, back, err));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(back[i].size, fields[i].size);
        assert_memory_equal(back[i].data, fields[i].data, fields[i].size);
    }
    fields[3].size = 0;
    assert_error(mds_record_put(&out, &s, fields, err), "'d' has 0 bytes instead of 1");
    mds_schema_finish(&s);
    vc_str_finish(&array);
    vc_str_finish(&out);
}

static void test_array_prefix(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        const char *prefix;
        size_t size;
    } cases[] = {{0, "\x04\x00", 2},
                 {255, "\x04\xff", 2},
                 {256, "\x05\x00\x01", 3},
                 {65535, "\x05\xff\xff", 3},
                 {65536, "\x06\x00\x00\x01\x00", 5}};
    uint8_t *zeros = vc_calloc(65536, 1);
    MdsEncoding form;
    assert_ok(mds_encoding_parse(&form, "ndarray:uint8", err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        VcStr out = {0};
        MdsArray a;
        mds_put_array(&out, MDS_U8, zeros, cases[i].count);
        assert_int_equal(out.len, cases[i].size + cases[i].count);
        assert_memory_equal(out.data, cases[i].prefix, cases[i].size);
        assert_ok(mds_array_parse(&a, &form, (const uint8_t *)out.data, out.len, err));
        assert_int_equal(a.count, cases[i].count);
        assert_int_equal(a.ndim, 1);
        vc_str_finish(&out);
    }
    free(zeros);
}

static void bad_array(const char *encoding, const char *bytes, size_t n, const char *reason)
{
    MdsEncoding form;
    MdsArray a;
    assert_ok(mds_encoding_parse(&form, encoding, err));
    uint8_t *exact = vc_alloc(n + (n == 0), 1); // its own block, so that a read past the end is seen
    memcpy(exact, bytes, n);
    assert_error(mds_array_parse(&a, &form, exact, n, err), reason);
    free(exact);
}

static void test_bad_arrays(void **state)
{
    (void)state;
    bad_array("ndarray:int32", "", 0, "without its prefix");
    bad_array("ndarray:int32", "\x00", 1, "no axes");
    bad_array("ndarray:int32", "\x04", 1, "prefix of 2 bytes in a field of 1");
    bad_array("ndarray:int32", "\xff", 1, "prefix of 505 bytes");
    bad_array("ndarray:int32", "\x04\x02....", 6, "promises 2 values of 4 bytes, the field has 4");
    bad_array("ndarray:int32", "\x04\x01........", 10, "promises 1 values");
    bad_array("ndarray:int32", "\x07\xff\xff\xff\xff\xff\xff\xff\xff", 9, "more values than its 9 bytes");
    // 2^32 x 2^32 x 1 values: the product overflows 64 bits
    bad_array("ndarray:int8", "\x0f\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0", 25, "more values");
    bad_array("ndarray:int32:2", ".......", 7, "7 bytes instead of 8");
}

static void bad_record(const MdsSchema *s, size_t at, char byte, size_t length, const char *reason)
{
    size_t n = sizeof record_bytes - 1;
    n = length < n ? length : n;
    uint8_t *copy = vc_alloc(n + 1, 1);
    memcpy(copy, record_bytes, n);
    if (at < n)
        copy[at] = (uint8_t)byte;
    MdsField fields[6];
    uint8_t *exact = vc_alloc(n, 1);
    memcpy(exact, copy, n);
    assert_error(mds_record_parse(s, exact, n, fields, err), reason);
    free(exact);
    free(copy);
}

static void test_bad_records(void **state)
{
    (void)state;
    MdsSchema s = make_schema();
    const size_t all = sizeof record_bytes - 1;
    bad_record(&s, all, 0, 11, "too few for the lengths");
    bad_record(&s, all, 0, all - 1, "column 'f' has 1 bytes, the record only 0 more");
    bad_record(&s, 0, 1, all, "column 'c'"); // b shorter: everything moves
    bad_record(&s, 3, '\x7f', all, "column 'b' has 2130706434 bytes, the record only");
    bad_record(&s, 8, 0, all, "1 bytes are left after the last column");
    bad_record(&s, 20, '\xff', all, "column 'b' is not valid UTF-8");
    bad_record(&s, 22, '\x00', all, "column 'c': array of no axes");
    mds_schema_finish(&s);
}

// ---- index.json -----------------------------------------------------------------------------------------------

// What Python's json.dumps(..., sort_keys=True) gives for this entry.
static const char entry_json[] =
    "{\"column_encodings\": [\"jpeg\", \"int\"], \"column_names\": [\"image\", \"image_id\"], "
    "\"column_sizes\": [null, 8], \"compression\": null, \"format\": \"mds\", \"hashes\": [\"sha1\", \"xxh64\"], "
    "\"raw_data\": {\"basename\": \"shard.00000.mds\", \"bytes\": 321, \"hashes\": "
    "{\"sha1\": \"0123456789abcdef0123456789abcdef01234567\", \"xxh64\": \"0123456789abcdef\"}}, \"samples\": 3, "
    "\"size_limit\": 67108864, \"version\": 2, \"zip_data\": null}";

static VcStr index_text(void)
{
    VcStr s = {0};
    vc_str_putf(&s, "{\"shards\": [%s], \"version\": 2, \"x_vc\": {\"fingerprint\": \"", entry_json);
    // printf 0123456789abcdef0123456789abcdef01234567 | sha256sum
    vc_str_put(&s, "deb87fabd17715bb31ad4cf4ffb9494eeb15f8d33d85b031a301c64ab3417eaa");
    vc_str_put(&s, "\", \"set\": 1, \"total\": 3}}");
    return s;
}

static void test_index_text(void **state)
{
    (void)state;
    VcStr plain = {0}, out = {0}, text = index_text();
    vc_str_putf(&plain, "{\"shards\": [%s], \"version\": 2}", entry_json);
    MdsIndex index;
    assert_ok(mds_index_parse(&index, plain.data, plain.len, "i", err));
    assert_int_equal(index.total, 3);
    assert_int_equal(index.entries[0].samples, 3);
    assert_int_equal(index.entries[0].size_limit, 67108864);
    mds_entry_put(&out, &index.entries[0]);
    assert_string_equal(vc_str_get(&out), entry_json);
    vc_str_clear(&out);
    mds_config_put(&out, &index.entries[0]);
    assert_string_equal(vc_str_get(&out),
                        "{\"column_encodings\": [\"jpeg\", \"int\"], \"column_names\": [\"image\", \"image_id\"], "
                        "\"column_sizes\": [null, 8], \"compression\": null, \"format\": \"mds\", "
                        "\"hashes\": [\"sha1\", \"xxh64\"], \"size_limit\": 67108864, \"version\": 2}");
    assert_ok(mds_config_check(&index.entries[0], out.data, out.len, err));
    vc_str_clear(&out);
    mds_index_put(&out, &index);
    assert_string_equal(vc_str_get(&out), vc_str_get(&text));
    mds_index_finish(&index);
    assert_ok(mds_index_parse(&index, out.data, out.len, "i", err)); // our own block is checked and holds
    mds_index_finish(&index);
    vc_str_finish(&plain);
    vc_str_finish(&out);
    vc_str_finish(&text);
}

static void test_escapes(void **state)
{
    (void)state;
    static const char *const names[] = {"b\xC3\xA4\"", "\xF0\x9F\x90\x95"};
    static const char *const encodings[] = {"str", "int"};
    MdsEntry e = {.hashes_json = vc_strdup("[]")};
    assert_ok(mds_schema_make(&e.schema, names, encodings, 2, err));
    VcStr out = {0};
    mds_config_put(&out, &e);
    assert_non_null(strstr(out.data, "\"column_names\": [\"b\\u00e4\\\"\", \"\\ud83d\\udc15\"]"));
    assert_non_null(strstr(out.data, "\"size_limit\": null"));
    vc_str_finish(&out);
    mds_entry_finish(&e);
}

// Replaces the first `from` of the valid index by `to`; parsing must fail for `reason`.
static void bad_index(const char *from, const char *to, const char *reason)
{
    VcStr text = index_text(), changed = {0};
    const char *at = strstr(text.data, from);
    if (at == NULL)
        fail_msg("'%s' is not in the index", from);
    vc_str_putn(&changed, text.data, (size_t)(at - text.data));
    vc_str_put(&changed, to);
    vc_str_put(&changed, at + strlen(from));
    MdsIndex index;
    assert_error(mds_index_parse(&index, changed.data, changed.len, "dir/index.json", err), reason);
    assert_error(mds_index_parse(&index, changed.data, changed.len, "dir/index.json", err), "dir/index.json");
    vc_str_finish(&text);
    vc_str_finish(&changed);
}

static void test_bad_indexes(void **state)
{
    (void)state;
    bad_index("{\"shards\"", "{\"shards", "JSON");
    bad_index("}, \"samples\"", "}, \"sample\"", "samples");
    bad_index("\"version\": 2, \"x_vc\"", "\"version\": 3, \"x_vc\"", "version 3");
    bad_index("\"version\": 2, \"x_vc\"", "\"x_vc\"", "version");
    bad_index("\"version\": 2, \"zip", "\"version\": 1, \"zip", "version 1");
    bad_index("\"mds\"", "\"csv\"", "'csv'");
    bad_index("{\"shards\": [{", "{\"shards\": 5, \"x\": [{", "'shards' is not a list");
    bad_index("{\"shards\": [{", "{\"shards\": [7, {", "not an object");
    static const char *const keys[] = {"column_encodings", "column_names", "column_sizes", "compression",
                                       "format",           "hashes",       "raw_data",     "samples",
                                       "size_limit",       "zip_data",     "basename",     "bytes"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        VcStr from = {0}, to = {0};
        vc_str_putf(&from, "\"%s\":", keys[i]);
        vc_str_putf(&to, "\"no_%s\":", keys[i]);
        bad_index(from.data, to.data, keys[i]);
        vc_str_finish(&from);
        vc_str_finish(&to);
    }
    bad_index("[null, 8]", "[null, 8, 8]", "2 column names, 2 encodings and 3 sizes");
    bad_index("[null, 8]", "[null]", "2 column names, 2 encodings and 1 sizes");
    bad_index("[null, 8]", "[null, 4]", "size of column 'image_id' contradicts its encoding 'int'");
    bad_index("[null, 8]", "[5, 8]", "size of column 'image' contradicts");
    bad_index("[null, 8]", "{}", "'column_sizes' is not a list");
    bad_index("[\"image\", \"image_id\"]", "[\"image_id\", \"image\"]", "'image' is not in sorted order");
    bad_index("[\"image\", \"image_id\"]", "[\"image\", \"image\"]", "'image' is named twice");
    bad_index("[\"image\", \"image_id\"]", "[\"image\", 3]", "'column_names' is not a string");
    bad_index("[\"jpeg\"", "[\"pkl\"", "'pkl'");
    bad_index("[\"jpeg\"", "[\"ndarray\"", "without a type");
    bad_index("[\"sha1\", \"xxh64\"]", "[\"xxh64\", \"sha1\"]", "not sorted");
    bad_index("[\"sha1\", \"xxh64\"]", "[\"md5\", \"xxh64\"]", "missing key 'md5'");
    bad_index("\"samples\": 3", "\"samples\": 0", "'samples' is 0");
    bad_index("\"samples\": 3", "\"samples\": \"3\"", "samples");
    bad_index("\"samples\": 3", "\"samples\": 1099511627777", "'samples' is");
    bad_index("\"bytes\": 321", "\"bytes\": -1", "'bytes' is -1");
    bad_index("\"bytes\": 321", "\"bytes\": 4294967296", "4 GiB");
    bad_index("\"xxh64\": \"0", "\"xxh64\": \"X", "lower-case digits");
    bad_index("\"zip_data\": null", "\"zip_data\": {}", "zip_data");
    bad_index("\"compression\": null", "\"compression\": \"gz:6\"", "contradict each other");
    bad_index("\"size_limit\": 67108864", "\"size_limit\": -5", "size_limit");
    bad_index("\"set\": 1", "\"set\": 2", "newer vicha");
    bad_index("\"total\": 3", "\"total\": 4", "not that of the shards");
    bad_index("\"fingerprint\": \"", "\"fingerprint\": \"0", "not that of the shards");
    static const char *const names[] = {"/etc/passwd", "../x", "a/../x", "a/b/c", "..", ".", "",
                                        "a/",          "a/..", "a/.",    "./x",   "/"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        bad_index("shard.00000.mds", names[i], "is not a file in the set's folder");
}

static void test_too_many_records(void **state)
{
    (void)state;
    VcStr text = {0}, entry = {0};
    const char *at = strstr(entry_json, "\"samples\": 3");
    vc_str_putf(&entry, "%.*s\"samples\": 1099511627776%s", (int)(at - entry_json), entry_json, at + 12);
    vc_str_putf(&text, "{\"shards\": [%s, %s], \"version\": 2}", entry.data, entry_json);
    MdsIndex index;
    assert_error(mds_index_parse(&index, text.data, text.len, "i", err), "more than 2^40 records");
    vc_str_finish(&text);
    vc_str_finish(&entry);
}

static void test_merged_basenames(void **state)
{
    (void)state;
    VcStr text = {0};
    const char *at = strstr(entry_json, "shard.00000.mds");
    vc_str_putf(&text, "{\"shards\": [%.*s00000/%s], \"version\": 2}", (int)(at - entry_json), entry_json, at);
    MdsIndex index;
    assert_ok(mds_index_parse(&index, text.data, text.len, "i", err));
    assert_string_equal(index.entries[0].raw.basename, "00000/shard.00000.mds");
    mds_index_finish(&index);
    vc_str_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodings),        cmocka_unit_test(test_record_bytes),
        cmocka_unit_test(test_array_prefix),     cmocka_unit_test(test_bad_arrays),
        cmocka_unit_test(test_bad_records),      cmocka_unit_test(test_index_text),
        cmocka_unit_test(test_escapes),          cmocka_unit_test(test_bad_indexes),
        cmocka_unit_test(test_too_many_records), cmocka_unit_test(test_merged_basenames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
