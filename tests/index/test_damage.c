// SPDX-License-Identifier: MIT
// Damage to the files of a set: each is refused with the file, the record where there is one, and the reason.
#include "base/file.h"
#include "base/hash.h"
#include "index/index.h"
#include "tests/index/sets.h"
#include "tests/support/test.h"

enum { RECORDS = 6, SEED = 4 };

static char *make_set(void)
{
    char *dir = test_temp_folder();
    assert_ok(sets_write(dir, SEED, RECORDS, 1 << 20, err));
    return dir;
}

static char *slurp(const char *dir, const char *name, size_t *n)
{
    char *path = vc_path_join(dir, name), *text;
    assert_ok(vc_read_file(&text, n, path, 1 << 30, err));
    free(path);
    return text;
}

static void spill(const char *dir, const char *name, const void *data, size_t n)
{
    char *path = vc_path_join(dir, name);
    FILE *f = fopen(path, "wb"); // not vc_write_file: nothing here needs a sync
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static uint32_t get32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static const char shard_name[] = "shard.00000.mds", vix_name[] = "shard.00000.mds.vix";

// Writes `shard` over the set's only shard with an index.json and side index that agree with it: only the damage inside
// is left to be found. `keep_vix`: the side index stays as it was.
static void replace_shard(const char *dir, const char *shard, size_t n, bool keep_vix)
{
    size_t k;
    VcErr e;
    char *text = slurp(dir, "index.json", &k);
    MdsIndex index;
    if (!mds_index_parse(&index, text, k, "i", &e))
        fail_msg("%s", e.text);
    MdsFile *f = &index.entries[0].raw;
    uint8_t digest[20];
    char hashes[160];
    f->bytes = n;
    vc_sha1(shard, n, digest);
    vc_hex(digest, 20, f->sha1);
    snprintf(hashes, sizeof hashes, "{\"sha1\": \"%s\", \"xxh64\": \"%016llx\"}", f->sha1,
             (unsigned long long)vc_xxh64(shard, n));
    free(f->hashes_json);
    f->hashes_json = vc_strdup(hashes);
    VcStr out = {0};
    mds_index_put(&out, &index);
    spill(dir, "index.json", out.data, out.len);
    spill(dir, shard_name, shard, n);
    if (!keep_vix) {
        char *path = vc_path_join(dir, vix_name);
        assert_int_equal(unlink(path), 0);
        free(path);
    }
    mds_index_finish(&index);
    vc_str_finish(&out);
    free(text);
}

static void refused_at_open(const char *dir, bool hash, const char *file, const char *reason)
{
    IndexReader *r = NULL;
    const IndexReaderOptions o = {.hash = hash};
    IndexVerifyReport report;
    assert_error(index_reader_open(&r, dir, &o, err), file);
    assert_error(index_reader_open(&r, dir, &o, err), reason);
    assert_error(index_verify(dir, INDEX_BAD_STOP, 0, &report, NULL, NULL, err), file);
    assert_error(index_verify(dir, INDEX_BAD_STOP, 0, &report, NULL, NULL, err), reason);
}

static void test_files(void **state)
{
    (void)state;
    char *dir = make_set();
    size_t n;
    char *shard = slurp(dir, shard_name, &n), *path = vc_path_join(dir, shard_name);
    assert_int_equal(unlink(path), 0);
    refused_at_open(dir, false, shard_name, "");
    spill(dir, shard_name, shard, n - 1);
    refused_at_open(dir, false, shard_name, "index.json says");
    spill(dir, shard_name, "", 0);
    refused_at_open(dir, false, shard_name, "index.json says");
    char *longer = vc_calloc(n + 1, 1);
    memcpy(longer, shard, n);
    spill(dir, shard_name, longer, n + 1);
    refused_at_open(dir, false, shard_name, "index.json says");
    longer[n - 1] ^= 1;
    spill(dir, shard_name, longer, n);
    refused_at_open(dir, true, shard_name, "xxh64 is");
    spill(dir, shard_name, shard, n);
    IndexReader *r;
    assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.hash = true}, err));
    index_reader_close(&r);
    free(longer);
    free(path);
    free(shard);
    char *index = slurp(dir, "index.json", &n), *index_path = vc_path_join(dir, "index.json");
    spill(dir, "index.json", index, n - 3);
    refused_at_open(dir, false, "index.json", "JSON");
    assert_int_equal(unlink(index_path), 0);
    refused_at_open(dir, false, "index.json", "missing");
    free(index_path);
    free(index);
    test_temp_remove(&dir);
}

// The table of offsets and the configuration.
static void test_shard_head(void **state)
{
    (void)state;
    static const struct {
        size_t at; // of the u32 that is changed
        uint32_t value;
        bool relative;
        const char *reason;
    } cases[] = {
        {0, RECORDS + 1, false, "holds 7 records, index.json says 6"},
        {0, 0, false, "holds 0 records"},
        {4, 8, false, "first offset 8 is outside"},
        {4, UINT32_MAX, false, "is outside the shard"},
        {4, 1, true, ""}, // the configuration gets a byte of the first record
        {8, 0, false, "record 0: offsets do not increase"},
        {12, UINT32_MAX, false, "record 2: offsets do not increase"},
        {4 + 4 * RECORDS, 1, true, "last offset"},
        {4 + 4 * RECORDS, (uint32_t)-1, true, "last offset"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = make_set();
        size_t n;
        char *shard = slurp(dir, shard_name, &n);
        uint32_t value = cases[i].value + (cases[i].relative ? get32(shard + cases[i].at) : 0);
        memcpy(shard + cases[i].at, &value, 4);
        replace_shard(dir, shard, n, false);
        refused_at_open(dir, true, shard_name, cases[i].reason);
        free(shard);
        test_temp_remove(&dir);
    }
    static const char *const changes[][3] = {
        {"\"caption_ids\"", "\"caption_zzz\"", "not in sorted order"},
        {"\"image_size\"", "\"image_sizf\"", "names other columns"},
        {"\"jpeg\"", "\"json\"", "names other columns"},
        {"{\"column", "[\"column", "JSON"},
        {"\"column_sizes\"", "\"column_sizex\"", "missing key 'column_sizes'"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *dir = make_set();
        size_t n;
        char *shard = slurp(dir, shard_name, &n);
        char *at = memmem(shard, n, changes[i][0], strlen(changes[i][0]));
        assert_non_null(at);
        memcpy(at, changes[i][1], strlen(changes[i][1]));
        replace_shard(dir, shard, n, false);
        refused_at_open(dir, true, shard_name, changes[i][2]);
        free(shard);
        test_temp_remove(&dir);
    }
}

// ---- records --------------------------------------------------------------------------------------------------

// Rewrites record 2 of the set by `change`, everything around it kept in order; the reader must say why it is bad.
typedef void (*ChangeFn)(SetsRecord *r);

static void bad_record(ChangeFn change, int32_t vocabulary, const char *reason)
{
    char *dir = test_temp_folder();
    IndexWriter *w;
    SetsRecord rec = {0};
    assert_ok(sets_open(&w, dir, 1 << 20, "{}", err));
    for (uint64_t i = 0; i < RECORDS; i++) {
        MdsField f[SETS_COLUMNS];
        sets_record(&rec, SEED, i);
        if (i == 2)
            change(&rec);
        sets_fields(&rec, f);
        assert_ok(index_writer_add(w, rec.image_id, f, err));
    }
    assert_ok(index_writer_commit(w, NULL, err));
    index_writer_close(&w);
    sets_record_finish(&rec);
    IndexReader *r;
    IndexRecord got;
    IndexVerifyReport report;
    assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.vocabulary = vocabulary, .crc = true}, err));
    for (uint64_t i = 0; i < RECORDS; i++)
        if (i != 2)
            assert_ok(index_reader_get(r, i, &got, err));
    assert_error(index_reader_get(r, 2, &got, err), reason);
    assert_error(index_reader_get(r, 2, &got, err), "shard.00000.mds' record 2: ");
    index_reader_close(&r);
    assert_error(index_verify(dir, INDEX_BAD_STOP, vocabulary, &report, NULL, NULL, err), reason);
    assert_ok(index_verify(dir, INDEX_BAD_SKIP, vocabulary, &report, NULL, NULL, err));
    assert_int_equal(report.bad, 1);
    assert_int_equal(report.records, RECORDS);
    test_temp_remove(&dir);
}

static void set_ints(VcStr *field, const int32_t *values, size_t n)
{
    vc_str_clear(field);
    mds_put_array(field, MDS_I32, values, n);
}

static void long_lens(SetsRecord *r)
{
    set_ints(&r->value[1], (int32_t[]){1, 2, 3}, 3);
    set_ints(&r->value[2], (int32_t[]){2, 2}, 2);
}

static void negative_lens(SetsRecord *r)
{
    set_ints(&r->value[1], (int32_t[]){1, 2, 3}, 3);
    set_ints(&r->value[2], (int32_t[]){4, -1}, 2);
}

static void negative_id(SetsRecord *r)
{
    set_ints(&r->value[1], (int32_t[]){1, -2, 3}, 3);
    set_ints(&r->value[2], (int32_t[]){3}, 1);
}

static void large_id(SetsRecord *r)
{
    set_ints(&r->value[1], (int32_t[]){1, 2, SETS_VOCABULARY}, 3);
    set_ints(&r->value[2], (int32_t[]){3}, 1);
}

static void set_concepts(SetsRecord *r, size_t ids, size_t scores, size_t lens, float last, int32_t token)
{
    set_ints(&r->value[4], (int32_t[]){5, 6, 7}, ids);
    vc_str_clear(&r->value[6]);
    mds_put_array(&r->value[6], MDS_F32, (float[]){0.5f, 0.4f, last}, scores);
    set_ints(&r->value[5], (int32_t[]){1, 1, 1}, lens);
    set_ints(&r->value[7], (int32_t[]){1, 2, token}, 3);
}

static void few_scores(SetsRecord *r)
{
    set_concepts(r, 3, 2, 3, 0.3f, 3);
}

static void rising_scores(SetsRecord *r)
{
    set_concepts(r, 3, 3, 3, 0.45f, 3);
}

static void nan_score(SetsRecord *r)
{
    set_concepts(r, 3, 3, 3, NAN, 3);
}

static void few_concept_lens(SetsRecord *r)
{
    set_concepts(r, 3, 3, 2, 0.3f, 3);
}

static void few_concepts(SetsRecord *r)
{
    set_concepts(r, 2, 2, 3, 0.3f, 3);
}

static void large_concept_token(SetsRecord *r)
{
    set_concepts(r, 3, 3, 3, 0.3f, 1 << 30);
}

static void negative_concept(SetsRecord *r)
{
    set_concepts(r, 3, 3, 3, 0.3f, 3);
    set_ints(&r->value[4], (int32_t[]){5, 6, -7}, 3);
}

static void test_records(void **state)
{
    (void)state;
    bad_record(long_lens, 0, "column 'caption_lens' sums to 4, there are 3 tokens");
    bad_record(negative_lens, 0, "column 'caption_lens': length -1");
    bad_record(negative_id, 0, "column 'caption_ids': id -2 is negative");
    bad_record(large_id, SETS_VOCABULARY, "column 'caption_ids': id 500 is negative or at or over 500");
    bad_record(few_scores, 0, "column 'concept_scores' has 2 values for 3 concepts");
    bad_record(rising_scores, 0, "column 'concept_scores' is not descending at 2");
    bad_record(nan_score, 0, "not descending at 2");
    bad_record(few_concept_lens, 0, "column 'concept_lens' sums to 2, there are 3 tokens");
    bad_record(few_concepts, 0, "column 'concept_lens' has 3 values for 2 concepts");
    bad_record(large_concept_token, SETS_VOCABULARY, "column 'concept_tokens': id 1073741824");
    bad_record(negative_concept, 0, "column 'concept_ids': id -7");
}

static void count_bad(void *ctx, const char *reason)
{
    assert_non_null(strstr(reason, "record 2"));
    ++*(int *)ctx;
}

// Damage that only the CRC sees, damage that only parsing sees, and the three ways to go on.
static void test_bytes_and_policies(void **state)
{
    (void)state;
    char *dir = make_set();
    size_t n;
    char *shard = slurp(dir, shard_name, &n);
    uint32_t begin = get32(shard + 4 + 4 * 2), end = get32(shard + 4 + 4 * 3);
    shard[end - 1] ^= 0x40; // in image_size: nothing but the CRC can tell
    VcErr e;
    IndexReader *r;
    IndexRecord got;
    replace_shard(dir, shard, n, true); // the old side index belongs to other bytes
    assert_error(index_reader_open(&r, dir, NULL, err), "xxh64");
    size_t vn;
    char *vix = slurp(dir, vix_name, &vn);
    uint64_t hash = vc_xxh64(shard, n);
    memcpy(vix + 24, &hash, 8);
    uint32_t crc = 0xFFFFFFFFu; // the plain bit-by-bit CRC-32: an opinion other than zlib's
    for (size_t i = 0; i < vn - 4; i++) {
        crc ^= (uint8_t)vix[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1)));
    }
    crc = ~crc;
    memcpy(vix + vn - 4, &crc, 4);
    spill(dir, vix_name, vix, vn);
    assert_ok(index_reader_open(&r, dir, NULL, err));
    assert_ok(index_reader_get(r, 2, &got, err)); // not asked to look at CRCs
    index_reader_close(&r);
    assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.crc = true}, err));
    assert_error(index_reader_get(r, 2, &got, err), "record 2: its CRC is not the one in the side index");
    bool usable;
    assert_error(index_reader_take(r, 2, &got, &usable, err), "record 2: its CRC");
    index_reader_close(&r);
    for (int policy = INDEX_BAD_SKIP; policy <= INDEX_BAD_LIST; policy++) {
        const IndexReaderOptions o = {.crc = true, .on_bad = (IndexOnBad)policy};
        assert_ok(index_reader_open(&r, dir, &o, err));
        for (uint64_t i = 0; i < RECORDS; i++) {
            assert_true(index_reader_take(r, i, &got, &usable, &e));
            assert_int_equal(usable, i != 2);
        }
        assert_int_equal(index_reader_bad(r), 1);
        index_reader_close(&r);
    }
    int listed = 0;
    IndexVerifyReport report;
    assert_ok(index_verify(dir, INDEX_BAD_LIST, 0, &report, count_bad, &listed, err));
    assert_int_equal(listed, 1);
    assert_int_equal(report.bad, 1);

    shard[begin] = (char)0xFF; // the length of the caption
    shard[begin + 3] = 0x7F;
    replace_shard(dir, shard, n, false);
    assert_ok(index_reader_open(&r, dir, NULL, err));
    assert_error(index_reader_get(r, 2, &got, err), "record 2: column 'caption' has");
    index_reader_close(&r);
    free(vix);
    free(shard);
    test_temp_remove(&dir);
}

static void test_side_index(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t flip;
        const char *reason;
    } cases[] = {{0, 1, "wrong magic"}, {7, 3, "version 2"}, {8, 1, "counts 7 entries"}, {12, 1, "entries of 17 bytes"},
                 {16, 1, "own CRC"},    {40, 1, "own CRC"},  {32, 1, "own CRC"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = make_set();
        size_t n;
        char *vix = slurp(dir, vix_name, &n);
        vix[cases[i].at] = (char)((uint8_t)vix[cases[i].at] ^ cases[i].flip);
        spill(dir, vix_name, vix, n);
        refused_at_open(dir, false, vix_name, cases[i].reason);
        free(vix);
        test_temp_remove(&dir);
    }
    char *dir = make_set(), *other = test_temp_folder();
    assert_ok(sets_write(other, SEED + 1, RECORDS, 1 << 20, err));
    size_t n;
    char *vix = slurp(other, vix_name, &n);
    spill(dir, vix_name, vix, n);
    refused_at_open(dir, false, vix_name, "is for a shard of");
    spill(dir, vix_name, vix, n - 16);
    refused_at_open(dir, false, vix_name, "counts 6 entries");
    spill(dir, vix_name, "VCVIX", 5);
    refused_at_open(dir, false, vix_name, "wrong magic");
    free(vix);
    char *path = vc_path_join(dir, vix_name);
    assert_int_equal(unlink(path), 0);
    IndexReader *r;
    assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.crc = true}, err)); // optional
    assert_false(index_reader_has_crc(r));
    index_reader_close(&r);
    uint64_t done;
    assert_ok(index_set_rebuild_vix(dir, &done, err));
    assert_int_equal(done, 1);
    assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.crc = true}, err));
    IndexRecord got;
    for (uint64_t i = 0; i < RECORDS; i++)
        assert_ok(index_reader_get(r, i, &got, err));
    uint64_t at;
    assert_true(index_reader_find(r, 13, &at));
    assert_int_equal(at, 1);
    index_reader_close(&r);
    free(path);
    test_temp_remove(&dir);
    test_temp_remove(&other);
}

// Any byte of a shard flipped: refused at open, refused as a record, or seen by the hashes; and never a crash.
static void test_any_byte(void **state)
{
    (void)state;
    char *dir = make_set();
    size_t n;
    char *shard = slurp(dir, shard_name, &n);
    VcRng rng;
    vc_rng_seed(&rng, 3);
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)vc_rng_below(&rng, n);
        char old = shard[at];
        shard[at] = (char)(old ^ (1 << vc_rng_below(&rng, 8)));
        spill(dir, shard_name, shard, n);
        IndexVerifyReport report;
        assert_error(index_verify(dir, INDEX_BAD_STOP, 0, &report, NULL, NULL, err), shard_name);
        IndexReader *r;
        VcErr e;
        IndexRecord got;
        bool bad = !index_reader_open(&r, dir, &(IndexReaderOptions){.crc = true}, &e);
        for (uint64_t k = 0; !bad && k < RECORDS; k++)
            bad |= !index_reader_get(r, k, &got, &e);
        bool in_records = at >= get32(shard + 4) && at >= 8 + 4 * RECORDS;
        if (in_records)
            assert_true(bad); // the CRC sees every flip there
        index_reader_close(&r);
        r = NULL;
        shard[at] = old;
    }
    free(shard);
    test_temp_remove(&dir);
}

// Columns that are ours by name but not by encoding, and sets without what ours need.
static void test_columns(void **state)
{
    (void)state;
    static const struct {
        const char *names[3], *encodings[3];
        size_t count;
        const char *reason;
    } cases[] = {
        {{"image"}, {"jpeg"}, 1, "no column 'image_id'"},
        {{"image_id"}, {"int"}, 1, "no column 'image' or 'image_z'"},
        {{"image", "image_id"}, {"str", "int"}, 2, "column 'image' has encoding 'str'"},
        {{"image", "image_id"}, {"jpeg", "int32"}, 2, "column 'image_id' has encoding 'int32', expected int"},
        {{"caption", "image", "image_id"}, {"bytes", "jpeg", "int"}, 3, "column 'caption' has encoding 'bytes'"},
        {{"caption_ids", "image", "image_id"}, {"ndarray:int64", "jpeg", "int"}, 3, "expected ndarray:int32"},
        {{"concept_scores", "image", "image_id"}, {"ndarray:float64", "jpeg", "int"}, 3, "expected ndarray:float32"},
        {{"image_id", "image_z"}, {"int", "str"}, 2, "column 'image_z' has encoding 'str', expected bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = test_temp_folder();
        const IndexWriterOptions o = {dir, cases[i].names, cases[i].encodings, cases[i].count, 4096, "{}"};
        IndexWriter *w;
        assert_ok(index_writer_open(&w, &o, err));
        static const uint8_t array[] = {4, 1, 0, 0, 0, 0, 0, 0, 0, 0}, zeros[8] = {0};
        MdsField f[3];
        for (size_t c = 0; c < cases[i].count; c++) {
            MdsEncoding form;
            assert_ok(mds_encoding_parse(&form, cases[i].encodings[c], err));
            f[c] = form.kind == MDS_NDARRAY ? (MdsField){array, 2 + mds_type_size(form.type)}
                                            : (MdsField){zeros, form.size > 0 ? form.size : 3};
        }
        assert_ok(index_writer_add(w, 1, f, err));
        assert_ok(index_writer_commit(w, NULL, err));
        index_writer_close(&w);
        IndexReader *r;
        assert_error(index_reader_open(&r, dir, NULL, err), cases[i].reason);
        assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.any_columns = true}, err));
        const MdsSchema *schema;
        MdsField back[MDS_MAX_COLUMNS];
        assert_ok(index_reader_fields(r, 0, &schema, back, err));
        assert_int_equal(schema->count, cases[i].count);
        index_reader_close(&r);
        test_temp_remove(&dir);
    }
}

// Images as pixels, with a shape in the encoding and with one in the record.
static void test_pixel_columns(void **state)
{
    (void)state;
    static const char *const names[] = {"extra", "image", "image_id"};
    for (int fixed = 0; fixed < 2; fixed++) {
        const char *const encodings[] = {"float64", fixed ? "ndarray:uint8:2,3,3" : "ndarray:uint8", "int"};
        char *dir = test_temp_folder();
        const IndexWriterOptions o = {dir, names, encodings, 3, 4096, "{}"};
        IndexWriter *w;
        assert_ok(index_writer_open(&w, &o, err));
        uint8_t image[22] = {3 << 2, 2, 3, 3};
        for (int k = 0; k < 18; k++)
            image[4 + k] = (uint8_t)(k + 1);
        const int64_t id = 5;
        MdsField f[3] = {{(const uint8_t *)"\0\0\0\0\0\0\0\0", 8},
                         {fixed ? image + 4 : image, fixed ? 18 : 22},
                         {(const uint8_t *)&id, 8}};
        assert_ok(index_writer_add(w, id, f, err));
        uint8_t flat[] = {1 << 2, 3, 1, 2, 3};
        f[1] = (MdsField){flat, sizeof flat};
        if (!fixed)
            assert_ok(index_writer_add(w, id, f, err));
        assert_ok(index_writer_commit(w, NULL, err));
        index_writer_close(&w);
        IndexReader *r;
        IndexRecord got;
        assert_ok(index_reader_open(&r, dir, NULL, err));
        assert_ok(index_reader_get(r, 0, &got, err));
        assert_int_equal(got.image_form, INDEX_IMAGE_PIXELS);
        assert_int_equal(got.height, 2);
        assert_int_equal(got.width, 3);
        assert_int_equal(got.channels, 3);
        assert_int_equal(got.image[17], 18);
        assert_null(got.caption.data);
        if (!fixed)
            assert_error(index_reader_get(r, 1, &got, err), "column 'image' is not height x width x channels");
        index_reader_close(&r);
        test_temp_remove(&dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),      cmocka_unit_test(test_shard_head),
        cmocka_unit_test(test_records),    cmocka_unit_test(test_bytes_and_policies),
        cmocka_unit_test(test_side_index), cmocka_unit_test(test_any_byte),
        cmocka_unit_test(test_columns),    cmocka_unit_test(test_pixel_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
