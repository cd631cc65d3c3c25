// SPDX-License-Identifier: MIT
// The image store: what a reader and libarchive get back, shard sizes, and every state that a crash or a person can
// leave.
#include "extract/store.h"

#include "base/file.h"
#include "base/log.h"
#include "extract/reader.h"
#include "tests/support/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct {
    char *folder;
    VcWorkspace ws;
    ExtractStore *store;
    ExtractStoreOptions options;
} Fixture;

static void open_store(Fixture *f)
{
    assert_ok(extract_store_open(&f->store, &f->ws, &f->options, err));
}

static int begin(void **state)
{
    Fixture *f = vc_calloc(1, sizeof *f);
    f->folder = test_temp_folder();
    f->options = (ExtractStoreOptions){.shard_count = 1, .shard_images = 100, .shard_bytes = 1 << 30};
    assert_ok(vc_workspace_open(&f->ws, f->folder, VC_DB_CREATE, err));
    assert_ok(vc_db_exec(f->ws.db, "INSERT INTO source(source_id, name) VALUES(1, 's')", err));
    open_store(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    Fixture *f = *state;
    extract_store_close(&f->store);
    vc_workspace_close(&f->ws);
    test_temp_remove(&f->folder);
    free(f);
    return 0;
}

// A "JPEG" of this image: two magic bytes and its number, of a length that is no multiple of a block.
static size_t fake_jpeg(int64_t id, uint8_t out[2000])
{
    const size_t n = 700 + (size_t)id * 13;
    memset(out, (int)id, n);
    out[0] = 0xFF;
    out[1] = 0xD8;
    return n;
}

static void add(Fixture *f, int64_t id)
{
    uint8_t jpeg[2000];
    VcStr sql = {0};
    vc_str_putf(&sql, "INSERT OR IGNORE INTO image(image_id, source_id, key) VALUES(%d, 1, 'k%d')", (int)id, (int)id);
    assert_ok(vc_db_exec(f->ws.db, sql.data, err));
    vc_str_finish(&sql);
    const ExtractRecord record = {.image_id = id,
                                  .jpeg = jpeg,
                                  .jpeg_bytes = fake_jpeg(id, jpeg),
                                  .text = "a caption\n",
                                  .text_bytes = 10,
                                  .json = "{}\n",
                                  .json_bytes = 3};
    assert_ok(extract_store_add(f->store, &record, err));
}

static void commit(Fixture *f, int64_t first, int64_t last)
{
    assert_ok(vc_db_begin(f->ws.db, err));
    for (int64_t id = first; id <= last; id++)
        add(f, id);
    assert_ok(extract_store_sync(f->store, err));
    assert_ok(vc_db_commit(f->ws.db, err));
    assert_ok(extract_store_committed(f->store, err));
}

static void reopen(Fixture *f)
{
    extract_store_close(&f->store);
    open_store(f);
}

static bool readable(Fixture *f, int64_t id)
{
    ExtractReader *reader;
    uint8_t *bytes, wanted[2000];
    size_t n;
    assert_ok(extract_reader_open(&reader, &f->ws, err));
    const bool ok = extract_reader_read(reader, id, &bytes, &n, NULL);
    if (ok) {
        assert_int_equal(n, fake_jpeg(id, wanted));
        assert_memory_equal(bytes, wanted, n);
        free(bytes);
    }
    extract_reader_close(&reader);
    return ok;
}

static void check_readable(Fixture *f, int64_t first, int64_t last)
{
    for (int64_t id = first; id <= last; id++)
        if (!readable(f, id))
            fail_msg("image %d cannot be read", (int)id);
}

static int64_t stored(Fixture *f)
{
    int64_t n;
    assert_ok(vc_db_int(f->ws.db, "SELECT count(*) FROM image_file", 0, &n, err));
    return n;
}

// Members of a finished shard as libarchive reads it.
static int members(Fixture *f, const char *name)
{
    char *path = vc_path_join(f->folder, name);
    struct archive *a = archive_read_new();
    archive_read_support_format_tar(a);
    assert_int_equal(archive_read_open_filename(a, path, 4096), ARCHIVE_OK);
    struct archive_entry *e;
    int n = 0;
    while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
        assert_int_equal(archive_entry_mtime(e), 0);
        assert_int_equal(archive_entry_uid(e), 0);
        assert_int_equal(archive_entry_filetype(e), AE_IFREG);
        n++;
    }
    assert_null(archive_error_string(a));
    archive_read_free(a);
    free(path);
    return n;
}

static char *at(Fixture *f, const char *name)
{
    return vc_path_join(f->folder, name);
}

static bool there(Fixture *f, const char *name)
{
    char *path = at(f, name);
    const bool is = vc_exists(path);
    free(path);
    return is;
}

static void test_round_trip(void **state)
{
    Fixture *f = *state;
    commit(f, 1, 5);
    check_readable(f, 1, 5); // from the part
    assert_false(readable(f, 6));
    commit(f, 6, 9);
    assert_ok(extract_store_finish(f->store, err));
    check_readable(f, 1, 9); // from the finished shard
    assert_int_equal(members(f, "images/00000.tar"), 27);
    assert_false(there(f, "images/00000.tar.part"));
    assert_ok(extract_store_finish(f->store, err)); // nothing open: nothing happens
    commit(f, 10, 10);
    assert_true(there(f, "images/00001.tar.part"));
}

static void test_shard_numbers(void **state)
{
    Fixture *f = *state;
    extract_store_close(&f->store);
    f->options = (ExtractStoreOptions){.shard_index = 1, .shard_count = 3, .shard_images = 2, .shard_bytes = 1 << 30};
    open_store(f);
    for (int64_t id = 1; id <= 3; id++) {
        assert_false(extract_store_full(f->store));
        commit(f, 2 * id, 2 * id + 1);
    }
    assert_true(there(f, "images/00001.tar") && there(f, "images/00004.tar") && there(f, "images/00007.tar"));
    commit(f, 8, 8);
    // another part of the work goes on in the same workspace: the open shard is finished, the numbers are its own
    extract_store_close(&f->store);
    f->options.shard_index = 0;
    open_store(f);
    assert_true(there(f, "images/00010.tar"));
    commit(f, 9, 9);
    assert_true(there(f, "images/00012.tar.part"));
    check_readable(f, 2, 9);
}

static void test_shard_bytes(void **state)
{
    Fixture *f = *state;
    extract_store_close(&f->store);
    f->options.shard_bytes = 10000;
    open_store(f);
    int64_t id = 1;
    for (; !extract_store_full(f->store); id++) {
        assert_true(id < 20);
        assert_ok(vc_db_begin(f->ws.db, err));
        add(f, id);
        assert_ok(extract_store_sync(f->store, err));
        assert_ok(vc_db_commit(f->ws.db, err));
        if (extract_store_full(f->store))
            break;
        assert_ok(extract_store_committed(f->store, err));
    }
    assert_ok(extract_store_committed(f->store, err));
    assert_int_equal(members(f, "images/00000.tar"), 3 * id);
}

// A transaction that never committed: its bytes are cut off.
static void test_rollback_and_tail(void **state)
{
    Fixture *f = *state;
    commit(f, 1, 3);
    assert_ok(vc_db_begin(f->ws.db, err));
    add(f, 4);
    assert_ok(extract_store_sync(f->store, err));
    vc_db_rollback(f->ws.db);
    extract_store_rolled_back(f->store);
    commit(f, 5, 5);
    char *part = at(f, "images/00000.tar.part");
    uint64_t size, longer;
    assert_ok(vc_file_size(part, &size, err));
    FILE *file = fopen(part, "ab"); // a kill between the sync and the commit
    assert_non_null(file);
    for (int i = 0; i < 5000; i++)
        putc('x', file);
    fclose(file);
    reopen(f);
    assert_ok(vc_file_size(part, &longer, err));
    assert_int_equal(longer, size);
    commit(f, 6, 6);
    assert_ok(extract_store_finish(f->store, err));
    assert_int_equal(members(f, "images/00000.tar"), 3 * 5);
    check_readable(f, 5, 6);
    check_readable(f, 1, 3);
    free(part);
}

// The file system lost bytes that were synced: the images in them are made again, the rest stays.
static void test_short_part(void **state)
{
    Fixture *f = *state;
    commit(f, 1, 6);
    int64_t offset;
    assert_ok(vc_db_int(f->ws.db, "SELECT offset FROM image_file WHERE image_id = 4", 0, &offset, err));
    extract_store_close(&f->store);
    char *part = at(f, "images/00000.tar.part");
    assert_int_equal(truncate(part, offset + 100), 0);
    free(part);
    open_store(f);
    // 4 is cut, 3 may have lost its caption: both go
    assert_int_equal(stored(f), 2);
    commit(f, 3, 6);
    assert_ok(extract_store_finish(f->store, err));
    assert_int_equal(members(f, "images/00000.tar"), 18);
    check_readable(f, 1, 6);
}

// The shard under its temporary name, cut at every byte: images that are wholly there stay, the others are made again,
// and the shard ends at a record.
static void test_every_byte(void **state)
{
    Fixture *f = *state;
    assert_ok(vc_db_exec(f->ws.db, "PRAGMA synchronous = OFF", err));
    vc_log_set_level(VC_LOG_QUIET);
    commit(f, 1, 2);
    assert_ok(vc_db_exec(f->ws.db,
                         "CREATE TABLE kept_file AS SELECT * FROM image_file; CREATE TABLE kept_shard AS SELECT * FROM"
                         " shard",
                         err));
    extract_store_close(&f->store);
    char *part = at(f, "images/00000.tar.part"), *whole;
    size_t n;
    assert_ok(vc_read_file(&whole, &n, part, 1 << 20, err));
    int64_t most = 0;
    for (size_t length = 0; length <= n; length++) {
        unlink(part); // a file that is cut and written again is flushed by some file systems
        FILE *file = fopen(part, "wbe");
        assert_non_null(file);
        assert_int_equal(fwrite(whole, 1, length, file), length);
        fclose(file);
        assert_ok(vc_db_exec(f->ws.db,
                             "BEGIN; DELETE FROM image_file; DELETE FROM shard; INSERT INTO image_file SELECT *"
                             " FROM kept_file; INSERT INTO shard SELECT * FROM kept_shard; COMMIT",
                             err));
        open_store(f);
        int64_t bytes;
        uint64_t size;
        assert_ok(vc_db_int(f->ws.db, "SELECT bytes FROM shard", 0, &bytes, err));
        assert_ok(vc_file_size(part, &size, err));
        assert_int_equal(bytes, size);
        assert_true(size <= length && size % 512 == 0);
        const int64_t left = stored(f);
        assert_true(left >= most && left <= 2); // a longer piece never holds less
        if (left != most || length % 64 == 0)
            check_readable(f, 1, left);
        most = left;
        extract_store_close(&f->store);
    }
    assert_int_equal(most, 2);
    vc_log_set_level(VC_LOG_INFO);
    open_store(f);
    free(whole);
    free(part);
}

static void test_part_gone(void **state)
{
    Fixture *f = *state;
    commit(f, 1, 3);
    extract_store_close(&f->store);
    char *part = at(f, "images/00000.tar.part");
    assert_int_equal(unlink(part), 0);
    free(part);
    open_store(f);
    assert_int_equal(stored(f), 0);
    commit(f, 1, 3);
    check_readable(f, 1, 3);
}

// Killed between the rename and the row that says so; killed between the trailer and the rename.
static void test_finish_halfway(void **state)
{
    Fixture *f = *state;
    commit(f, 1, 3);
    assert_ok(extract_store_finish(f->store, err));
    assert_ok(vc_db_exec(f->ws.db, "UPDATE shard SET finished = 0", err));
    f->options.shard_images = 3;
    reopen(f);
    assert_false(extract_store_full(f->store)); // the full one is not open any more
    f->options.shard_images = 100;
    reopen(f);
    commit(f, 4, 4);
    assert_true(there(f, "images/00001.tar.part"));
    check_readable(f, 1, 4);
    extract_store_close(&f->store);
    char *part = at(f, "images/00001.tar.part");
    FILE *file = fopen(part, "ab");
    assert_non_null(file);
    for (int i = 0; i < 1024; i++)
        putc(0, file);
    fclose(file);
    free(part);
    open_store(f);
    commit(f, 5, 5);
    assert_ok(extract_store_finish(f->store, err));
    assert_int_equal(members(f, "images/00001.tar"), 6);
}

static void test_reader_damage(void **state)
{
    Fixture *f = *state;
    commit(f, 1, 4);
    assert_ok(extract_store_finish(f->store, err));
    static const struct {
        const char *sql, *words;
    } cases[] = {
        {"UPDATE image_file SET bytes = 1000000 WHERE image_id = 4", "shorter than the database says"},
        {"UPDATE image_file SET bytes = -1 WHERE image_id = 4", "is damaged"},
        {"UPDATE image_file SET bytes = 9000000000000 WHERE image_id = 4", "is damaged"},
        {"UPDATE image_file SET bytes = 700, offset = offset + 1 WHERE image_id = 4", "no JPEG"},
        {"UPDATE image_file SET shard = 77 WHERE image_id = 4", "00077.tar': No such file"},
        {"DELETE FROM image_file WHERE image_id = 4", "no image is stored under number 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ExtractReader *reader;
        uint8_t *bytes = NULL;
        size_t n = 0;
        assert_ok(vc_db_exec(f->ws.db, cases[i].sql, err));
        assert_ok(extract_reader_open(&reader, &f->ws, err));
        assert_error(extract_reader_read(reader, 4, &bytes, &n, err), cases[i].words);
        assert_ok(extract_reader_read(reader, 1, &bytes, &n, err)); // the others are not touched
        free(bytes);
        extract_reader_close(&reader);
        extract_reader_close(&reader);
    }
}

// More shards than descriptors that a reader keeps.
static void test_many_shards(void **state)
{
    Fixture *f = *state;
    extract_store_close(&f->store);
    f->options.shard_images = 1;
    open_store(f);
    for (int64_t id = 1; id <= 20; id++)
        commit(f, id, id);
    ExtractReader *reader;
    assert_ok(extract_reader_open(&reader, &f->ws, err));
    for (int i = 0; i < 60; i++) {
        uint8_t *bytes, wanted[2000];
        size_t n;
        const int64_t id = 1 + i * 7 % 20;
        assert_ok(extract_reader_read(reader, id, &bytes, &n, err));
        assert_int_equal(n, fake_jpeg(id, wanted));
        assert_memory_equal(bytes, wanted, n);
        free(bytes);
    }
    extract_reader_close(&reader);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip), TEST(test_shard_numbers),  TEST(test_shard_bytes),       TEST(test_rollback_and_tail),
        TEST(test_short_part), TEST(test_part_gone),      TEST(test_rollback_and_tail), TEST(test_every_byte),
        TEST(test_part_gone),  TEST(test_finish_halfway), TEST(test_reader_damage),     TEST(test_many_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
