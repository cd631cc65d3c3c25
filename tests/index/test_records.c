// SPDX-License-Identifier: MIT
// Writer and reader together: bytes, round trips, resume, append, and every damage the format says a reader refuses.
#include "base/file.h"
#include "base/hash.h"
#include "base/pool.h"
#include "index/index.h"
#include "tests/index/sets.h"
#include "tests/support/test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char *read_text(const char *dir, const char *name, size_t *n)
{
    char *path = vc_path_join(dir, name), *text;
    assert_ok(vc_read_file(&text, n, path, 1 << 30, err));
    free(path);
    return text;
}

static void write_text(const char *dir, const char *name, const void *data, size_t n)
{
    char *path = vc_path_join(dir, name);
    assert_ok(vc_write_file(path, data, n, err));
    free(path);
}

static bool has_file(const char *dir, const char *name)
{
    char *path = vc_path_join(dir, name);
    bool has = vc_exists(path);
    free(path);
    return has;
}

static void remove_file(const char *dir, const char *name)
{
    char *path = vc_path_join(dir, name);
    assert_int_equal(unlink(path), 0);
    free(path);
}

// ---- bytes ----------------------------------------------------------------------------------------------------

static void test_shard_bytes(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    static const char *const names[] = {"image", "image_id"}, *const encodings[] = {"jpeg", "int"};
    const IndexWriterOptions o = {dir, names, encodings, 2, 1024, "{}"};
    IndexWriter *w;
    assert_ok(index_writer_open(&w, &o, err));
    assert_int_equal(index_writer_state(w), INDEX_SET_NEW);
    const int64_t ids[2] = {1, 258};
    for (int i = 0; i < 2; i++) {
        const MdsField f[2] = {{(const uint8_t *)"JPG!" + i, 4 - (size_t)i}, {(const uint8_t *)&ids[i], 8}};
        assert_ok(index_writer_add(w, ids[i], f, err));
    }
    assert_ok(index_writer_commit(w, "\"seed\": 7", err));
    index_writer_close(&w);

    static const char config[] =
        "{\"column_encodings\": [\"jpeg\", \"int\"], \"column_names\": [\"image\", \"image_id\"], \"column_sizes\": "
        "[null, 8], \"compression\": null, \"format\": \"mds\", \"hashes\": [\"sha1\", \"xxh64\"], \"size_limit\": "
        "1024, \"version\": 2}";
    const uint32_t first = 16 + sizeof config - 1;
    const uint32_t head[4] = {2, first, first + 16, first + 31};
    VcStr expected = {0};
    vc_str_putn(&expected, head, 16);
    vc_str_put(&expected, config);
    vc_str_putn(&expected, "\4\0\0\0JPG!\1\0\0\0\0\0\0\0", 16);
    vc_str_putn(&expected, "\3\0\0\0PG!\2\1\0\0\0\0\0\0", 15);
    size_t n;
    char *shard = read_text(dir, "shard.00000.mds", &n);
    assert_int_equal(n, expected.len);
    assert_memory_equal(shard, expected.data, n);

    size_t vn;
    char *vix = read_text(dir, "shard.00000.mds.vix", &vn);
    assert_int_equal(vn, 32 + 2 * 16 + 4);
    assert_memory_equal(vix, "VCVIX\0\0\1\2\0\0\0\x10\0\0\0", 16);
    uint64_t size, hash;
    memcpy(&size, vix + 16, 8);
    memcpy(&hash, vix + 24, 8);
    assert_int_equal(size, n);
    assert_true(hash == vc_xxh64(shard, n));
    assert_memory_equal(vix + 32, "\1\0\0\0\0\0\0\0", 8);
    assert_memory_equal(vix + 44, "\0\0\0\0\2\1\0\0\0\0\0\0", 12);
    free(vix);
    free(shard);
    char *records = read_text(dir, "records.json", &n);
    assert_non_null(strstr(records, "\"seed\": 7"));
    free(records);
    assert_false(has_file(dir, "progress.jsonl"));
    vc_str_finish(&expected);
    test_temp_remove(&dir);
}

// ---- round trip -----------------------------------------------------------------------------------------------

static void check_ints(IndexInts got, const VcStr *expected)
{
    size_t prefix = 1 + ((size_t)1 << (expected->data[0] & 3));
    assert_int_equal(got.count * 4, expected->len - prefix);
    assert_memory_equal(got.data, expected->data + prefix, got.count * 4);
}

static void check_text(IndexText got, const VcStr *expected)
{
    assert_int_equal(got.size, expected->len);
    assert_memory_equal(got.data, expected->data, got.size);
}

static void check_record(const IndexReader *r, uint64_t i, uint64_t seed, SetsRecord *e)
{
    IndexRecord got;
    assert_ok(index_reader_get(r, i, &got, err));
    sets_record(e, seed, i);
    assert_int_equal(got.image_id, e->image_id);
    check_text(got.caption, &e->value[0]);
    check_ints(got.caption_ids, &e->value[1]);
    check_ints(got.caption_lens, &e->value[2]);
    check_text(got.captions, &e->value[3]);
    check_ints(got.concept_ids, &e->value[4]);
    check_ints(got.concept_lens, &e->value[5]);
    check_ints((IndexInts){got.concept_scores.data, got.concept_scores.count}, &e->value[6]);
    check_ints(got.concept_tokens, &e->value[7]);
    check_text(got.concepts, &e->value[8]);
    assert_int_equal(got.image_form, INDEX_IMAGE_ENCODED);
    assert_int_equal(got.image_bytes, e->value[9].len);
    if (got.image_bytes > 0)
        assert_memory_equal(got.image, e->value[9].data, got.image_bytes);
    int32_t size[2] = {got.source_width, got.source_height};
    assert_memory_equal(size, e->value[11].data, 8);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        char *dir = test_temp_folder();
        VcRng rng;
        vc_rng_seed(&rng, seed);
        uint64_t records = 1 + vc_rng_below(&rng, 80), limit = 1024 + vc_rng_below(&rng, 20000);
        assert_ok(sets_write(dir, seed, records, limit, err));
        IndexReader *r;
        const IndexReaderOptions o = {.crc = true, .hash = true, .vocabulary = SETS_VOCABULARY};
        assert_ok(index_reader_open(&r, dir, &o, err));
        assert_int_equal(index_reader_total(r), records);
        assert_true(index_reader_has_crc(r));
        SetsRecord e = {0};
        uint64_t sum = 0, at;
        for (uint64_t i = 0; i < records; i++)
            check_record(r, i, seed, &e);
        for (size_t s = 0; s < index_reader_shards(r); s++) {
            const MdsEntry *entry = &index_reader_index(r)->entries[s];
            sum += index_reader_shard_total(r, s);
            assert_true(entry->raw.bytes <= limit || entry->samples == 1);
        }
        assert_int_equal(sum, records);
        assert_true(index_reader_find(r, 10 + 3 * (int64_t)(records - 1), &at));
        assert_int_equal(at, records - 1);
        assert_false(index_reader_find(r, 11, &at));
        sets_record_finish(&e);
        index_reader_close(&r);
        IndexVerifyReport report;
        assert_ok(index_verify(dir, INDEX_BAD_STOP, SETS_VOCABULARY, &report, NULL, NULL, err));
        assert_int_equal(report.records, records);
        assert_int_equal(report.bad, 0);
        test_temp_remove(&dir);
    }
}

// ---- resume and append ----------------------------------------------------------------------------------------

static void same_folder(const char *a, const char *b)
{
    VcFileList la, lb;
    assert_ok(vc_list_files(&la, a, err));
    assert_ok(vc_list_files(&lb, b, err));
    assert_int_equal(la.count, lb.count);
    for (size_t i = 0; i < la.count; i++) {
        size_t na, nb;
        assert_string_equal(la.paths[i], lb.paths[i]);
        char *x = read_text(a, la.paths[i], &na), *y = read_text(b, lb.paths[i], &nb);
        assert_int_equal(na, nb);
        assert_memory_equal(x, y, na);
        free(x);
        free(y);
    }
    vc_file_list_finish(&la);
    vc_file_list_finish(&lb);
}

static void test_resume(void **state)
{
    (void)state;
    char *whole = test_temp_folder(), *dir = test_temp_folder();
    assert_ok(sets_write(whole, 5, 60, 6000, err));
    for (uint64_t stop = 0; stop < 60; stop += 7) { // left without commit at ever later places
        IndexWriter *w;
        assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
        assert_ok(sets_add(w, 5, 0, stop, err));
        index_writer_close(&w);
        assert_false(has_file(dir, "index.json"));
    }
    IndexReader *r;
    assert_error(index_reader_open(&r, dir, NULL, err), "not finished");
    // a line that was not written to its end, and a shard that was not noted
    char *path = vc_path_join(dir, "progress.jsonl");
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("{\"entry\": {\"column_enc", f);
    assert_int_equal(fclose(f), 0);
    free(path);
    write_text(dir, "shard.00007.mds", "half", 4);
    write_text(dir, "shard.00009.mds.tmp", "half", 4);
    IndexWriter *w;
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_int_equal(index_writer_state(w), INDEX_SET_PARTIAL);
    assert_true(index_writer_has(w, 10));
    assert_ok(sets_add(w, 5, 0, 60, err));
    assert_ok(index_writer_commit(w, NULL, err));
    index_writer_close(&w);
    if (has_file(dir, "shard.00009.mds.tmp"))
        remove_file(dir, "shard.00009.mds.tmp");
    same_folder(whole, dir);
    test_temp_remove(&dir);
    test_temp_remove(&whole);
}

static void test_noted_shard_is_gone(void **state)
{
    (void)state;
    char *whole = test_temp_folder(), *dir = test_temp_folder();
    assert_ok(sets_write(whole, 5, 60, 6000, err));
    IndexWriter *w;
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_ok(sets_add(w, 5, 0, 50, err));
    assert_true(index_writer_shards(w) >= 3);
    index_writer_close(&w);
    remove_file(dir, "shard.00001.mds");
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_int_equal(index_writer_shards(w), 1);
    assert_ok(sets_add(w, 5, 0, 60, err));
    assert_ok(index_writer_commit(w, NULL, err));
    index_writer_close(&w);
    same_folder(whole, dir);
    test_temp_remove(&dir);
    test_temp_remove(&whole);
}

static void test_append(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    assert_ok(sets_write(dir, 5, 20, 6000, err));
    size_t n;
    char *first = read_text(dir, "shard.00000.mds", &n);
    char *progress = NULL;
    IndexWriter *w;
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_int_equal(index_writer_state(w), INDEX_SET_COMPLETE);
    assert_true(index_writer_has(w, 10 + 3 * 19));
    assert_false(index_writer_has(w, 10 + 3 * 20));
    assert_ok(sets_add(w, 5, 0, 45, err)); // some shards finished, then stopped
    index_writer_close(&w);
    progress = read_text(dir, "progress.jsonl", &n);
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_int_equal(index_writer_state(w), INDEX_SET_PARTIAL);
    assert_ok(sets_add(w, 5, 0, 45, err));
    assert_ok(index_writer_commit(w, NULL, err));
    index_writer_close(&w);
    // killed between index.json and the removal of progress.jsonl: what it notes is there already
    write_text(dir, "progress.jsonl", progress, n);
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_int_equal(index_writer_state(w), INDEX_SET_COMPLETE);
    assert_int_equal(index_writer_records(w), 45);
    index_writer_close(&w);
    assert_false(has_file(dir, "progress.jsonl"));
    IndexReader *r;
    assert_ok(index_reader_open(&r, dir, &(IndexReaderOptions){.crc = true, .hash = true}, err));
    assert_int_equal(index_reader_total(r), 45);
    SetsRecord e = {0};
    for (uint64_t i = 0; i < 45; i++)
        check_record(r, i, 5, &e);
    sets_record_finish(&e);
    index_reader_close(&r);
    char *again = read_text(dir, "shard.00000.mds", &n);
    assert_memory_equal(first, again, n);
    free(again);
    free(first);
    free(progress);
    test_temp_remove(&dir);
}

static void test_changed_settings(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    IndexWriter *w;
    assert_ok(sets_open(&w, dir, 6000, "{\"a\": 1, \"b\": \"x\", \"gone\": true}", err));
    assert_ok(sets_add(w, 5, 0, 40, err));
    index_writer_close(&w);
    static const char other[] = "{\"a\": 2, \"b\": \"x\", \"new\": null}";
    assert_error(sets_open(&w, dir, 6000, other, err), "a (1 then, 2 now)"); // unfinished
    assert_ok(sets_open(&w, dir, 6000, "{\"a\": 1, \"b\": \"x\", \"gone\": true}", err));
    assert_ok(sets_add(w, 5, 0, 40, err));
    assert_ok(index_writer_commit(w, NULL, err));
    index_writer_close(&w);
    assert_error(sets_open(&w, dir, 6000, other, err),
                 "a (1 then, 2 now), gone (true then, nothing now), new (nothing");
    assert_error(sets_open(&w, dir, 100, "{}", err), "between 1 KiB and 4 GiB");
    static const char *const names[] = {"image", "image_id"}, *const encodings[] = {"jpeg", "int"};
    const IndexWriterOptions o = {dir, names, encodings, 2, 6000, "{\"a\": 1, \"b\": \"x\", \"gone\": true}"};
    assert_error(index_writer_open(&w, &o, err), "other columns");
    remove_file(dir, "records.json");
    assert_error(sets_open(&w, dir, 6000, "{}", err), "no records.json");
    test_temp_remove(&dir);
    dir = test_temp_folder();
    assert_ok(sets_open(&w, dir, 6000, "{}", err));
    assert_error(index_writer_commit(w, NULL, err), "no record");
    index_writer_close(&w);
    test_temp_remove(&dir);
}

// A file that cannot grow (a full disk, a quota): an error, nothing half-written under a final name, and the next run
// ends as an undisturbed one.
static void test_full_disk(void **state)
{
    (void)state;
    char *whole = test_temp_folder(), *dir = test_temp_folder();
    assert_ok(sets_write(whole, 5, 60, 6000, err));
    for (rlim_t limit = 0; limit < 7000; limit += 1300) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            VcErr err = {0};
            const struct rlimit r = {limit, limit};
            signal(SIGXFSZ, SIG_IGN);
            bool failed = setrlimit(RLIMIT_FSIZE, &r) == 0 && !sets_write(dir, 5, 60, 6000, &err);
            if (!failed || err.code != VC_ERR_IO || strstr(err.text, dir) == NULL)
                print_error("limit %d: %s\n", (int)limit, failed ? err.text : "no failure");
            _exit(failed && err.code == VC_ERR_IO && strstr(err.text, dir) != NULL ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_false(has_file(dir, "index.json"));
        for (int i = 0; i < 20; i++) { // shards there are whole ones
            char name[32];
            snprintf(name, sizeof name, "shard.%05d.mds", i);
            if (!has_file(dir, name))
                continue;
            size_t n, m;
            char *a = read_text(dir, name, &n), *b = read_text(whole, name, &m);
            assert_int_equal(n, m);
            assert_memory_equal(a, b, n);
            free(a);
            free(b);
        }
    }
    IndexWriter *w;
    assert_ok(sets_open(&w, dir, 6000, "{\"seed\": 1}", err));
    assert_ok(sets_add(w, 5, 0, 60, err));
    assert_ok(index_writer_commit(w, NULL, err));
    index_writer_close(&w);
    same_folder(whole, dir);
    test_temp_remove(&dir);
    test_temp_remove(&whole);
}

typedef struct {
    IndexReader *reader;
    uint64_t sums[200];
} Threads;

static void read_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    Threads *t = ctx;
    for (size_t i = begin; i < end; i++) {
        IndexRecord r;
        VcErr err;
        bool usable;
        VC_ASSERT(index_reader_take(t->reader, i, &r, &usable, &err) && usable);
        t->sums[i] = vc_xxh64(r.image, r.image_bytes) + (uint64_t)r.image_id;
    }
}

static void test_threads(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    assert_ok(sets_write(dir, 6, 200, 20000, err));
    static Threads one, four;
    assert_ok(index_reader_open(&one.reader, dir, &(IndexReaderOptions){.crc = true}, err));
    four.reader = one.reader;
    VcPool *pool = vc_pool_create(4);
    vc_parallel_for(NULL, 200, 3, read_chunk, &one);
    vc_parallel_for(pool, 200, 3, read_chunk, &four);
    assert_memory_equal(one.sums, four.sums, sizeof one.sums);
    vc_pool_destroy(&pool);
    index_reader_close(&one.reader);
    test_temp_remove(&dir);
}

// ---- packing --------------------------------------------------------------------------------------------------

static void test_pack(void **state)
{
    (void)state;
    char *whole = test_temp_folder(), *dir = test_temp_folder();
    assert_ok(sets_write(whole, 9, 40, 6000, err));
    assert_ok(sets_write(dir, 9, 40, 6000, err));
    uint64_t done;
    assert_error(index_set_pack(dir, 0, &done, err), "level 0");
    assert_ok(index_set_pack(dir, 6, &done, err));
    assert_true(done >= 3);
    assert_true(has_file(dir, "shard.00000.mds.gz"));
    assert_false(has_file(dir, "shard.00000.mds"));
    IndexReader *r;
    assert_error(index_reader_open(&r, dir, NULL, err), "--unpack");
    IndexVerifyReport report;
    assert_ok(index_verify(dir, INDEX_BAD_STOP, 0, &report, NULL, NULL, err));
    assert_true(report.packed);
    assert_int_equal(report.records, 40);
    assert_ok(index_set_pack(dir, 6, &done, err));
    assert_int_equal(done, 0);
    size_t n;
    char *gz = read_text(dir, "shard.00001.mds.gz", &n);
    assert_memory_equal(gz, "\x1f\x8b\x08", 3);
    gz[n / 2] = (char)(gz[n / 2] ^ 1);
    write_text(dir, "shard.00001.mds.gz", gz, n);
    assert_error(index_set_unpack(dir, &done, err), "shard.00001.mds.gz");
    assert_error(index_verify(dir, INDEX_BAD_STOP, 0, &report, NULL, NULL, err), "xxh64");
    gz[n / 2] = (char)(gz[n / 2] ^ 1);
    write_text(dir, "shard.00001.mds.gz", gz, n);
    free(gz);
    assert_ok(index_set_unpack(dir, &done, err));
    assert_true(done >= 3);
    same_folder(whole, dir);
    test_temp_remove(&dir);
    test_temp_remove(&whole);
}

// A gzip form whose hashes are right but whose content is not what index.json says.
static void bad_gzip(const char *dir, const char *name, const uint8_t *data, size_t n, const char *reason)
{
    size_t old_size, k;
    char *index = read_text(dir, "index.json", &k), *keep = vc_strndup(index, k);
    char *gz = read_text(dir, name, &old_size);
    VcErr e;
    MdsIndex parsed;
    if (!mds_index_parse(&parsed, index, k, "i", &e))
        fail_msg("%s", e.text);
    uint8_t digest[20];
    char hashes[160];
    MdsFile *f = &parsed.entries[0].zip;
    f->bytes = n;
    vc_sha1(data, n, digest);
    vc_hex(digest, 20, f->sha1);
    snprintf(hashes, sizeof hashes, "{\"sha1\": \"%s\", \"xxh64\": \"%016llx\"}", f->sha1,
             (unsigned long long)vc_xxh64(data, n));
    free(f->hashes_json);
    f->hashes_json = vc_strdup(hashes);
    VcStr text = {0};
    mds_index_put(&text, &parsed);
    write_text(dir, "index.json", text.data, text.len);
    write_text(dir, name, data, n);
    uint64_t done;
    assert_error(index_set_unpack(dir, &done, err), reason);
    write_text(dir, name, gz, old_size);
    write_text(dir, "index.json", keep, k);
    mds_index_finish(&parsed);
    vc_str_finish(&text);
    free(keep);
    free(gz);
    free(index);
}

static void test_bad_gzip(void **state)
{
    (void)state;
    char *dir = test_temp_folder();
    uint64_t done;
    size_t n;
    assert_ok(sets_write(dir, 9, 3, 60000, err));
    assert_ok(index_set_pack(dir, 1, &done, err));
    static const char name[] = "shard.00000.mds.gz";
    char *gz = read_text(dir, name, &n);
    VcStr s = {0};
    vc_str_putn(&s, gz, n);
    vc_str_putc(&s, 'x');
    bad_gzip(dir, name, (const uint8_t *)s.data, s.len, "1 bytes follow the gzip member");
    vc_str_clear(&s);
    vc_str_putn(&s, gz, n);
    vc_str_putn(&s, gz, n);
    bad_gzip(dir, name, (const uint8_t *)s.data, s.len, "follow the gzip member");
    bad_gzip(dir, name, (const uint8_t *)gz, n - 1, "not a whole gzip member");
    bad_gzip(dir, name, (const uint8_t *)gz, 20, "not a whole gzip member");
    bad_gzip(dir, name, (const uint8_t *)gz, 0, "not a whole gzip member");
    bad_gzip(dir, name, (const uint8_t *)"plain", 5, "not a whole gzip member");
    vc_str_finish(&s);
    free(gz);
    test_temp_remove(&dir);
}

static void test_image_z(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        VcRng rng;
        vc_rng_seed(&rng, seed);
        uint32_t w = 1 + (uint32_t)vc_rng_below(&rng, 40), h = 1 + (uint32_t)vc_rng_below(&rng, 40), c = 1 + seed % 4;
        uint8_t pixels[40 * 40 * 4], *back;
        for (size_t i = 0; i < sizeof pixels; i++)
            pixels[i] = (uint8_t)(vc_rng_below(&rng, 4) + i / 64);
        VcStr z = {0};
        uint32_t bw, bh, bc;
        assert_ok(index_image_z_put(&z, pixels, w, h, c, 6, err));
        const uint8_t *data = (const uint8_t *)z.data;
        assert_ok(index_image_z_decode(data, z.len, &back, &bw, &bh, &bc, err));
        assert_int_equal(bw, w);
        assert_int_equal(bh, h);
        assert_int_equal(bc, c);
        assert_memory_equal(back, pixels, (size_t)w * h * c);
        free(back);
        for (size_t cut = 0; cut < z.len; cut++) {
            uint8_t *part = vc_alloc(cut + 1, 1);
            memcpy(part, data, cut);
            assert_error(index_image_z_decode(part, cut, &back, &bw, &bh, &bc, err), "image_z");
            free(part);
        }
        vc_str_putc(&z, 0);
        assert_error(index_image_z_decode((uint8_t *)z.data, z.len, &back, &bw, &bh, &bc, err), "after the zlib");
        z.len--;
        z.data[4] = (char)(h + 1);
        assert_error(index_image_z_decode((uint8_t *)z.data, z.len, &back, &bw, &bh, &bc, err), "less than its size");
        z.data[4] = (char)(h - 1);
        if (h > 1)
            assert_error(index_image_z_decode((uint8_t *)z.data, z.len, &back, &bw, &bh, &bc, err), "more than");
        z.data[4] = (char)h;
        z.data[6] = 2;
        assert_error(index_image_z_decode((uint8_t *)z.data, z.len, &back, &bw, &bh, &bc, err), "filter 2");
        z.data[0] = 9;
        assert_error(index_image_z_decode((uint8_t *)z.data, z.len, &back, &bw, &bh, &bc, err), "version 9");
        vc_str_finish(&z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shard_bytes), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_resume),      cmocka_unit_test(test_noted_shard_is_gone),
        cmocka_unit_test(test_append),      cmocka_unit_test(test_changed_settings),
        cmocka_unit_test(test_full_disk),   cmocka_unit_test(test_threads),
        cmocka_unit_test(test_pack),        cmocka_unit_test(test_bad_gzip),
        cmocka_unit_test(test_image_z),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
