// SPDX-License-Identifier: MIT
// Vector files: every byte of the layout, going on after a kill, and files that lie.
#include "base/file.h"
#include "base/rng.h"
#include "concepts/concepts.h"
#include "nn/nn.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <zlib.h>

static const uint8_t hash[32] = {1, 2, 3, [31] = 9};

typedef struct {
    char *folder, *path;
} Fixture;

static int setup(void **state)
{
    Fixture *f = vc_calloc(1, sizeof *f);
    f->folder = test_temp_folder();
    f->path = vc_path_join(f->folder, "image-m.f16");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    test_temp_remove(&f->folder);
    free(f->path);
    free(f);
    return 0;
}

// Row i of `dim` numbers: the same on every call.
static void make_row(float *x, size_t dim, uint64_t i)
{
    VcRng rng;
    vc_rng_seed(&rng, i + 1);
    for (size_t k = 0; k < dim; k++)
        x[k] = (float)vc_rng_normal(&rng);
}

static void append(VectorsWriter *w, size_t dim, uint64_t from, uint64_t to)
{
    float *x = vc_alloc(dim, sizeof *x);
    for (uint64_t i = from; i < to; i++) {
        make_row(x, dim, i);
        assert_ok(vectors_writer_append(w, x, 1, err));
    }
    free(x);
}

static void write_rows(const char *path, size_t dim, uint64_t n)
{
    VectorsWriter *w;
    uint64_t rows = 0;
    assert_ok(vectors_writer_open(&w, path, dim, hash, 0, err));
    append(w, dim, 0, n);
    assert_ok(vectors_writer_sync(w, &rows, err));
    assert_int_equal(rows, n);
    vectors_writer_close(&w);
    assert_null(w);
}

static uint32_t u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static void every_byte_is_as_written_down(void **state)
{
    Fixture *f = *state;
    enum { DIM = 5 };
    VectorsWriter *w;
    uint64_t rows;
    const float x[2][DIM] = {{3, 4, 0, 0, 0}, {0, 0, -2, 0, 0}};
    assert_ok(vectors_writer_open(&w, f->path, DIM, hash, 0, err));
    assert_ok(vectors_writer_append(w, x[0], 2, err));
    assert_ok(vectors_writer_sync(w, &rows, err));
    vectors_writer_close(&w);

    char *bytes, *crc, *crc_path = NULL;
    size_t n;
    assert_ok(vc_read_file(&bytes, &n, f->path, 1 << 24, err));
    assert_int_equal(n, 4096 + 4096 * 64); // one block of rows of 10 bytes, padded to 64
    assert_memory_equal(bytes, "VCVEC\0\0\1", 8);
    assert_int_equal(u32(bytes + 8), DIM);
    assert_int_equal(u32(bytes + 12), 1);
    assert_int_equal(u32(bytes + 16), 2);
    assert_int_equal(u32(bytes + 20), 0);
    assert_int_equal(u32(bytes + 24), 64);
    assert_int_equal(u32(bytes + 28), 4096);
    assert_memory_equal(bytes + 32, hash, 32);
    assert_int_equal(u32(bytes + 64), crc32(0, (const uint8_t *)bytes, 64));
    for (size_t i = 68; i < 4096; i++)
        assert_int_equal(bytes[i], 0);
    uint16_t row[2][DIM];
    memcpy(row[0], bytes + 4096, sizeof row[0]);
    memcpy(row[1], bytes + 4096 + 64, sizeof row[1]);
    assert_int_equal(row[0][0], nn_f32_to_f16(0.6f));
    assert_int_equal(row[0][1], nn_f32_to_f16(0.8f));
    assert_int_equal(row[1][2], 0xBC00); // -1
    for (size_t i = 4096 + 128; i < n; i++)
        assert_int_equal(bytes[i], 0);
    for (size_t i = 4096 + 10; i < 4096 + 64; i++)
        assert_int_equal(bytes[i], 0);

    VcStr name = {0};
    vc_str_putf(&name, "%s.crc", f->path);
    crc_path = name.data;
    size_t crc_size;
    assert_ok(vc_read_file(&crc, &crc_size, crc_path, 100, err));
    assert_int_equal(crc_size, 4);
    assert_int_equal(u32(crc), crc32(0, (const uint8_t *)bytes + 4096, 4096 * 64));
    free(bytes);
    free(crc);
    free(crc_path);
}

// A run killed at any point leaves rows past the committed number; going on gives the bytes of an undisturbed run.
static void going_on_equals_never_stopping(void **state)
{
    Fixture *f = *state;
    enum { DIM = 40, TOTAL = 9000 };
    char *whole_path = vc_path_join(f->folder, "whole.f16"), *whole, *parts;
    write_rows(whole_path, DIM, TOTAL);
    const uint64_t committed[] = {1, 63, 4095, 4096, 4097, 8192, 8999};
    uint64_t at = 0;
    VectorsWriter *w;
    for (size_t i = 0; i < sizeof committed / sizeof *committed; i++) {
        uint64_t rows;
        assert_ok(vectors_writer_open(&w, f->path, DIM, hash, at, err));
        append(w, DIM, at, committed[i]);
        assert_ok(vectors_writer_sync(w, &rows, err));
        at = rows;
        append(w, DIM, 100000, 100000 + 300);          // never committed, but
        assert_ok(vectors_writer_sync(w, &rows, err)); // already in the file
        vectors_writer_close(&w);
        VectorsReader *r;
        assert_ok(vectors_reader_open(&r, f->path, at, err));
        assert_ok(vectors_reader_verify(r, err));
        vectors_reader_close(&r);
    }
    assert_ok(vectors_writer_open(&w, f->path, DIM, hash, at, err));
    append(w, DIM, at, TOTAL);
    uint64_t rows;
    assert_ok(vectors_writer_sync(w, &rows, err));
    vectors_writer_close(&w);
    size_t n, m;
    assert_ok(vc_read_file(&whole, &n, whole_path, 1 << 24, err));
    assert_ok(vc_read_file(&parts, &m, f->path, 1 << 24, err));
    assert_int_equal(n, m);
    assert_memory_equal(whole, parts, n);
    free(whole);
    free(parts);
    free(whole_path);
}

static void rows_come_back_as_unit_vectors(void **state)
{
    Fixture *f = *state;
    enum { DIM = 96, N = 4100 };
    write_rows(f->path, DIM, N);
    VectorsReader *r;
    assert_ok(vectors_reader_open(&r, f->path, N, err));
    assert_int_equal(vectors_reader_dim(r), DIM);
    assert_memory_equal(vectors_reader_model(r), hash, 32);
    float x[DIM], y[DIM];
    for (uint64_t i = 0; i < N; i += 411) {
        make_row(x, DIM, i);
        vectors_reader_floats(r, i, 1, y);
        double norm = 0, dot = 0;
        for (size_t k = 0; k < DIM; k++) {
            norm += (double)x[k] * x[k];
            dot += (double)x[k] * y[k];
        }
        assert_close(dot / sqrt(norm), 1, 1e-3);
    }
    assert_ok(vectors_reader_verify(r, err));
    vectors_reader_close(&r);
}

static void rows_without_direction_are_refused_whole(void **state)
{
    Fixture *f = *state;
    VectorsWriter *w;
    uint64_t rows;
    const float x[3][2] = {{1, 0}, {0, 0}, {1, 1}}, nan[1][2] = {{NAN, 1}}, inf[1][2] = {{INFINITY, 1}};
    assert_ok(vectors_writer_open(&w, f->path, 2, hash, 0, err));
    assert_error(vectors_writer_append(w, x[0], 3, err), "vector 1");
    assert_error(vectors_writer_append(w, nan[0], 1, err), "not finite");
    assert_error(vectors_writer_append(w, inf[0], 1, err), "not finite");
    assert_ok(vectors_writer_sync(w, &rows, err));
    assert_int_equal(rows, 0);
    vectors_writer_close(&w);
}

static void patch(const char *path, off_t at, const void *data, size_t n)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, n, at), n);
    close(fd);
}

// Puts a value into the header and makes its checksum right again: only the checks of meaning are left.
static void forge(const char *path, off_t at, const void *data, size_t n)
{
    char *bytes;
    size_t size;
    patch(path, at, data, n);
    assert_ok(vc_read_file(&bytes, &size, path, 1 << 24, err));
    uint32_t crc = (uint32_t)crc32(0, (const uint8_t *)bytes, 64);
    patch(path, 64, &crc, 4);
    free(bytes);
}

static void a_header_that_lies_is_found_out(void **state)
{
    Fixture *f = *state;
    VectorsReader *r;
    const struct {
        off_t at;
        uint64_t value;
        size_t bytes;
        const char *words;
    } lies[] = {{8, 0, 4, "impossible header"},  {8, 70000, 4, "impossible header"},
                {8, 64, 4, "impossible header"}, {12, 2, 4, "type 2"},
                {24, 0, 4, "impossible header"}, {24, UINT32_MAX, 4, "impossible"},
                {28, 1, 4, "impossible header"}, {16, 3, 8, "is short"}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        write_rows(f->path, 8, 10);
        forge(f->path, lies[i].at, &lies[i].value, lies[i].bytes);
        assert_error(vectors_reader_open(&r, f->path, 10, err), lies[i].words);
        assert_null(r);
    }
    write_rows(f->path, 8, 10);
    uint64_t many = UINT64_MAX;
    forge(f->path, 16, &many, 8);
    assert_error(vectors_reader_open(&r, f->path, UINT64_MAX, err), "is short");
    assert_error(vectors_reader_open(&r, f->path, UINT64_MAX / 64 + 2, err), "is short");
    write_rows(f->path, 8, 10);
    assert_error(vectors_reader_open(&r, f->path, 11, err), "is short");
    patch(f->path, 9, "x", 1);
    assert_error(vectors_reader_open(&r, f->path, 10, err), "checksum of its header");
    patch(f->path, 0, "x", 1);
    assert_error(vectors_reader_open(&r, f->path, 10, err), "no vector file");
}

static void every_cut_is_an_error(void **state)
{
    Fixture *f = *state;
    const off_t cuts[] = {0, 1, 67, 4095, 4096, 4097, 4096 + 9 * 64, 4096 + 10 * 64 - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        VectorsReader *r;
        VectorsWriter *w;
        write_rows(f->path, 8, 10);
        assert_int_equal(truncate(f->path, cuts[i]), 0);
        assert_error(vectors_reader_open(&r, f->path, 10, err), f->path);
        assert_error(vectors_writer_open(&w, f->path, 8, hash, 10, err), f->path);
        assert_null(w);
    }
}

static void a_flipped_bit_is_found_by_verify(void **state)
{
    Fixture *f = *state;
    write_rows(f->path, 8, 5000);
    VectorsReader *r;
    patch(f->path, 4096 + 4500 * 64, "\x55", 1);
    assert_ok(vectors_reader_open(&r, f->path, 5000, err));
    assert_error(vectors_reader_verify(r, err), "block 1");
    vectors_reader_close(&r);
    // The unfinished block may be a newer one than the rows in use: only finished blocks are compared then.
    assert_ok(vectors_reader_open(&r, f->path, 4999, err));
    assert_ok(vectors_reader_verify(r, err));
    vectors_reader_close(&r);
}

static void another_model_does_not_go_on(void **state)
{
    Fixture *f = *state;
    VectorsWriter *w;
    const uint8_t other[32] = {7};
    write_rows(f->path, 8, 10);
    assert_error(vectors_writer_open(&w, f->path, 8, other, 10, err), "another model");
    assert_error(vectors_writer_open(&w, f->path, 9, hash, 10, err), "another model");
    assert_error(vectors_writer_open(&w, f->path, 8, hash, 11, err), "is short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_byte_is_as_written_down, setup, teardown),
        cmocka_unit_test_setup_teardown(going_on_equals_never_stopping, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_come_back_as_unit_vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_without_direction_are_refused_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_header_that_lies_is_found_out, setup, teardown),
        cmocka_unit_test_setup_teardown(every_cut_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_bit_is_found_by_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(another_model_does_not_go_on, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
