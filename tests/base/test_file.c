// SPDX-License-Identifier: MIT
// Whole-or-nothing files, maps and folder walks.
#include "base/file.h"

#include "tests/support/test.h"

#include <signal.h>
#include <sys/resource.h>

static char *folder;

static char *at(const char *name)
{
    return vc_path_join(folder, name);
}

static void test_atomic(void **state)
{
    (void)state;
    char *path = at("out"), *tmp = at("out.tmp");
    VcAtomicFile f;
    assert_ok(vc_write_file(path, "old", 3, err));
    assert_ok(vc_atomic_begin(&f, path, err));
    fputs("new", f.file);
    VcMap map;
    assert_ok(vc_map_open(&map, path, err)); // until the commit readers see the old file
    assert_memory_equal(map.data, "old", 3);
    vc_map_close(&map);
    assert_ok(vc_atomic_commit(&f, err));
    assert_false(vc_exists(tmp));
    char *text;
    assert_ok(vc_read_file(&text, NULL, path, 100, err));
    assert_string_equal(text, "new");
    free(text);
    assert_ok(vc_atomic_begin(&f, path, err));
    fputs("half", f.file);
    vc_atomic_discard(&f);
    assert_false(vc_exists(tmp));
    assert_ok(vc_read_file(&text, NULL, path, 100, err));
    assert_string_equal(text, "new");
    free(text);
    free(tmp);
    free(path);
}

// RLIMIT_FSIZE plays the full disk: the write fails, the old file stays, nothing is left over.
static void test_full_disk(void **state)
{
    (void)state;
    char *path = at("full"), *tmp = at("full.tmp");
    assert_ok(vc_write_file(path, "old", 3, err));
    static char big[200000];
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    VcErr failure = {0};
    bool written = vc_write_file(path, big, sizeof big, &failure);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(written);
    assert_non_null(strstr(failure.text, "full.tmp"));
    assert_false(vc_exists(tmp));
    char *text;
    assert_ok(vc_read_file(&text, NULL, path, 100, err));
    assert_string_equal(text, "old");
    free(text);
    free(tmp);
    free(path);
}

static void test_walk(void **state)
{
    (void)state;
    char *dir = at("walk/b/c"), *top = at("walk");
    assert_ok(vc_make_dirs(dir, err));
    assert_ok(vc_make_dirs(dir, err)); // twice is fine
    static const char *const names[] = {"walk/z.jpg", "walk/b/c/1.jpg", "walk/b/.hidden", "walk/a.jpg"};
    for (size_t i = 0; i < 4; i++) {
        char *path = at(names[i]);
        assert_ok(vc_write_file(path, "x", 1, err));
        free(path);
    }
    VcFileList list;
    assert_ok(vc_list_files(&list, top, err));
    assert_int_equal(list.count, 3);
    assert_string_equal(list.paths[0], "a.jpg");
    assert_string_equal(list.paths[1], "b/c/1.jpg");
    assert_string_equal(list.paths[2], "z.jpg");
    vc_file_list_finish(&list);
    assert_error(vc_list_files(&list, "/nonexistent", err), "cannot read the folder '/nonexistent'");
    free(dir);
    free(top);
}

static void test_odd_files(void **state)
{
    (void)state;
    char *empty = at("empty"), *copy = at("copy");
    VcMap map;
    assert_ok(vc_write_file(empty, "", 0, err));
    assert_ok(vc_map_open(&map, empty, err));
    assert_null(map.data);
    vc_map_close(&map);
    assert_error(vc_map_open(&map, folder, err), "not a regular file");
    assert_ok(vc_write_file(empty, "12345", 5, err));
    assert_ok(vc_copy_file(empty, copy, err));
    char *text;
    size_t n;
    assert_ok(vc_read_file(&text, &n, copy, 5, err));
    assert_int_equal(n, 5);
    free(text);
    assert_error(vc_read_file(&text, &n, copy, 4, err), "larger than the limit of 4");
    assert_string_equal(vc_path_base("a/b/c.jpg"), "c.jpg");
    free(empty);
    free(copy);
}

static int setup(void **state)
{
    (void)state;
    folder = test_temp_folder();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_atomic), cmocka_unit_test(test_full_disk),
                                       cmocka_unit_test(test_walk), cmocka_unit_test(test_odd_files)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
