// SPDX-License-Identifier: MIT
// The journal of finished images: what comes back is what was put, or nothing; cut at every byte, with every byte
// changed, by another version or with other settings.
#include "extract/journal.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/support/test.h"

#include <unistd.h>

enum { JOBS = 3 };

typedef struct {
    char *folder, *file;
    VcWorkspace ws;
} Fixture;

static int begin(void **state)
{
    Fixture *f = vc_calloc(1, sizeof *f);
    f->folder = test_temp_folder();
    assert_ok(vc_workspace_open(&f->ws, f->folder, VC_DB_CREATE, err));
    char *images = vc_workspace_path(&f->ws, "images");
    assert_ok(vc_make_dirs(images, err));
    free(images);
    f->file = vc_workspace_path(&f->ws, "images/waiting-000000");
    *state = f;
    return 0;
}

static int end(void **state)
{
    Fixture *f = *state;
    vc_workspace_close(&f->ws);
    test_temp_remove(&f->folder);
    free(f->file);
    free(f);
    return 0;
}

// Image 10, 11, 12: stored, rejected without a picture, stored with a long name.
static ExtractJob *make_job(int i)
{
    ExtractJob *job = vc_calloc(1, sizeof *job);
    VcStr key = {0};
    vc_str_putf(&key, "http://example.org/%d%s.jpg", i, i == 2 ? "/a/rather/long/name" : "");
    job->image_id = 10 + i;
    job->key = key.data;
    job->n = (size_t)(1000 + i);
    job->attempts = (unsigned)i + 1;
    memset(job->sha256, 7 * i + 1, sizeof job->sha256);
    if (i == 1) {
        job->cause = EXTRACT_TRUNCATED;
        vc_fail(&job->err, VC_ERR_FORMAT, "the end is missing");
        return job;
    }
    job->thumbnail.bytes = (size_t)(150 + 40 * i);
    job->thumbnail.jpeg = vc_alloc(job->thumbnail.bytes, 1);
    memset(job->thumbnail.jpeg, 0x40 + i, job->thumbnail.bytes);
    job->thumbnail.width = 30 + i;
    job->thumbnail.mime = "image/jpeg";
    return job;
}

static void check_job(const ExtractJob *got, int i)
{
    ExtractJob *want = make_job(i);
    assert_int_equal(got->image_id, want->image_id);
    assert_string_equal(got->key, want->key);
    assert_int_equal(got->n, want->n);
    assert_int_equal(got->attempts, want->attempts);
    assert_int_equal(got->cause, want->cause);
    assert_string_equal(got->err.text, want->err.text);
    assert_memory_equal(got->sha256, want->sha256, 32);
    assert_int_equal(got->thumbnail.bytes, want->thumbnail.bytes);
    assert_int_equal(got->thumbnail.width, want->thumbnail.width);
    if (want->thumbnail.jpeg)
        assert_memory_equal(got->thumbnail.jpeg, want->thumbnail.jpeg, want->thumbnail.bytes);
    else
        assert_null(got->thumbnail.jpeg);
    if (want->thumbnail.mime)
        assert_string_equal(got->thumbnail.mime, want->thumbnail.mime);
    else
        assert_null(got->thumbnail.mime);
    extract_job_destroy(&want);
}

static void write_journal(Fixture *f)
{
    ExtractJournal *j;
    assert_ok(extract_journal_open(&j, &f->ws, "256 90", false, err));
    for (int i = 0; i < JOBS; i++) {
        ExtractJob *job = make_job(i), *back;
        uint64_t place;
        assert_ok(extract_journal_put(j, job, &place, err));
        assert_ok(extract_journal_get(j, place, &back, err));
        check_job(back, i);
        extract_job_destroy(&back);
        extract_job_destroy(&job);
    }
    assert_ok(extract_journal_sync(j, err));
    extract_journal_close(&j, false); // as a kill leaves it
}

// How many of the images come back; each is right.
static int found(Fixture *f, const char *settings)
{
    ExtractJournal *j;
    assert_ok(extract_journal_open(&j, &f->ws, settings, false, err));
    int count = 0;
    for (int i = 0; i < JOBS; i++) {
        uint64_t place;
        ExtractJob *back;
        if (!extract_journal_find(j, 10 + i, &place))
            continue;
        assert_ok(extract_journal_get(j, place, &back, err));
        check_job(back, i);
        extract_job_destroy(&back);
        count++;
    }
    uint64_t place;
    assert_false(extract_journal_find(j, 9, &place) || extract_journal_find(j, 13, &place));
    extract_journal_close(&j, false);
    return count;
}

static void put_file(const Fixture *f, const char *data, size_t n)
{
    unlink(f->file); // a file that is cut and written again is flushed by some file systems
    FILE *file = fopen(f->file, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    fclose(file);
}

static void test_round_trip(void **state)
{
    Fixture *f = *state;
    write_journal(f);
    assert_int_equal(found(f, "256 90"), JOBS);
    assert_int_equal(found(f, "256 90"), JOBS);
    assert_int_equal(found(f, "256 80"), 0); // made with other settings: gone
    assert_false(vc_exists(f->file));
    write_journal(f);
    ExtractJournal *j;
    assert_ok(extract_journal_open(&j, &f->ws, "256 90", true, err)); // not wanted
    extract_journal_close(&j, false);
    assert_false(vc_exists(f->file));
}

static void test_damage(void **state)
{
    Fixture *f = *state;
    write_journal(f);
    char *whole;
    size_t n;
    assert_ok(vc_read_file(&whole, &n, f->file, 1 << 20, err));
    int most = 0;
    for (size_t length = 0; length <= n; length++) {
        put_file(f, whole, length);
        const int count = found(f, "256 90");
        assert_true(count >= most);
        most = count;
    }
    assert_int_equal(most, JOBS);
    for (size_t at = 0; at < n; at++) {
        whole[at] ^= 0x55;
        put_file(f, whole, n);
        assert_true(found(f, "256 90") < JOBS);
        whole[at] ^= 0x55;
    }
    free(whole);
}

// Committed images make room; a file goes with its last one.
static void test_drop(void **state)
{
    Fixture *f = *state;
    ExtractJournal *j;
    uint64_t places[JOBS];
    assert_ok(extract_journal_open(&j, &f->ws, "x", false, err));
    for (int i = 0; i < JOBS; i++) {
        ExtractJob *job = make_job(i);
        assert_ok(extract_journal_put(j, job, &places[i], err));
        extract_job_destroy(&job);
    }
    assert_true(extract_journal_bytes(j) > 0);
    for (int i = 0; i < JOBS; i++)
        extract_journal_drop(j, places[i]);
    assert_int_equal(extract_journal_bytes(j), 0);
    assert_false(vc_exists(f->file));
    ExtractJob *job = make_job(0), *back;
    assert_ok(extract_journal_put(j, job, &places[0], err));
    assert_ok(extract_journal_get(j, places[0], &back, err));
    check_job(back, 0);
    extract_job_destroy(&back);
    extract_job_destroy(&job);
    extract_journal_close(&j, true);
    char *next = vc_workspace_path(&f->ws, "images/waiting-000001");
    assert_false(vc_exists(next));
    free(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, begin, end),
        cmocka_unit_test_setup_teardown(test_damage, begin, end),
        cmocka_unit_test_setup_teardown(test_drop, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
