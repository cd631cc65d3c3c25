// SPDX-License-Identifier: MIT
// Vector search: by nibbles, by bytes and by float16 the same hits to the last bit, and those of a plain loop; filters,
// ties, stale and damaged files of bytes; the rotation.
#include "concepts/nearest.h"

#include "base/file.h"
#include "base/rng.h"
#include "concepts/cells.h"
#include "concepts/rotation.h"
#include "concepts/vectors_i8.h"
#include "concepts/vectors_private.h"
#include "nn/nn.h"
#include "tests/support/test.h"

enum { DIM = 100, ROWS = 9000, QUERIES = 40 };

static const uint8_t model[32] = {1, 2, 3};

typedef enum { LOOSE, CLUSTERED, OUTLIERS, KINDS } Kind;

static float normal(VcRng *rng)
{
    float s = 0;
    for (int i = 0; i < 6; i++)
        s += (float)vc_rng_uniform(rng) - 0.5F;
    return s;
}

// Rows in groups around 20 centres, or with two channels far larger than the others as CLIP has them. Every 97th row
// is the one before it again.
static float *make_rows(Kind kind, size_t rows, uint64_t seed)
{
    VcRng rng;
    vc_rng_seed(&rng, seed);
    float centres[20][DIM], *x = vc_alloc(rows * DIM, sizeof *x);
    for (size_t c = 0; c < 20; c++) {
        for (size_t i = 0; i < DIM; i++)
            centres[c][i] = normal(&rng);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < DIM; i++) {
            float v = normal(&rng);
            if (kind == CLUSTERED)
                v = centres[r % 20][i] + 0.3F * v;
            if (kind == OUTLIERS && i < 2)
                v = 12 + v;
            x[r * DIM + i] = r % 97 == 96 ? x[(r - 1) * DIM + i] : v;
        }
    }
    return x;
}

typedef struct {
    char *folder, *path, *bytes;
    VectorsReader *reader;
    Nearest *nearest, *plain; // with and without the bytes
} Fixture;

static void write_rows(const char *path, const float *x, size_t n)
{
    VectorsWriter *w = NULL;
    uint64_t rows;
    assert_ok(vectors_writer_open(&w, path, DIM, model, 0, err));
    assert_ok(vectors_writer_append(w, x, n, err));
    assert_ok(vectors_writer_sync(w, &rows, err));
    vectors_writer_close(&w);
    assert_int_equal(rows, n);
}

static void open_fixture(Fixture *f, Kind kind, size_t rows)
{
    f->folder = test_temp_folder();
    f->path = vc_path_join(f->folder, "image-m.f16");
    f->bytes = vectors_bytes_path(f->path);
    assert_true(vc_has_suffix(f->bytes, "/image-m.i8"));
    float *x = make_rows(kind, rows, 1);
    write_rows(f->path, x, rows);
    free(x);
    assert_ok(vectors_reader_open(&f->reader, f->path, rows, err));
    const char *notice;
    assert_ok(nearest_open(&f->plain, f->reader, f->bytes, &notice, err));
    assert_non_null(notice);
    assert_int_equal(nearest_byte_rows(f->plain), 0);
    assert_ok(vectors_bytes_build(f->bytes, f->reader, NULL, err));
    assert_ok(nearest_open(&f->nearest, f->reader, f->bytes, &notice, err));
    assert_null(notice);
    assert_int_equal(nearest_byte_rows(f->nearest), rows);
}

static void close_fixture(Fixture *f)
{
    nearest_close(&f->nearest);
    nearest_close(&f->plain);
    vectors_reader_close(&f->reader);
    test_temp_remove(&f->folder);
    free(f->path);
    free(f->bytes);
}

static float *make_queries(Kind kind, size_t n)
{
    float *q = make_rows(kind, n, 2);
    for (size_t i = 0; i < DIM; i++)
        q[i] *= 1e-4F; // length does not count
    return q;
}

static void assert_same(const NearestAnswer *a, const NearestAnswer *b, size_t count)
{
    assert_int_equal(a->stride, b->stride);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a->found[i], b->found[i]);
        for (size_t k = 0; k < a->found[i]; k++) {
            const NearestHit *x = &a->hits[i * a->stride + k], *y = &b->hits[i * b->stride + k];
            assert_int_equal(x->row, y->row);
            assert_memory_equal(&x->score, &y->score, sizeof x->score);
        }
    }
}

// The hits against cosines in double: none outside is better, order and scores are right.
static void check_answer(const Fixture *f, const NearestQuestion *q, const NearestAnswer *a)
{
    const size_t rows = (size_t)vectors_reader_rows(f->reader);
    float *x = vc_alloc(rows * DIM, sizeof *x);
    double *cosine = vc_alloc(rows, sizeof *cosine);
    bool *hit = vc_alloc(rows, sizeof *hit);
    vectors_reader_floats(f->reader, 0, rows, x);
    for (size_t i = 0; i < q->count; i++) {
        double norm = 0;
        size_t wanted = 0;
        for (size_t k = 0; k < DIM; k++)
            norm += (double)q->vectors[i * DIM + k] * q->vectors[i * DIM + k];
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, own = 0;
            for (size_t k = 0; k < DIM; k++) {
                sum += (double)x[r * DIM + k] * q->vectors[i * DIM + k];
                own += (double)x[r * DIM + k] * x[r * DIM + k];
            }
            cosine[r] = sum / sqrt(own * norm);
            hit[r] = false;
            wanted += (!q->allowed || (q->allowed[r / 64] >> r % 64 & 1)) && cosine[r] >= q->least;
        }
        assert_int_equal(a->found[i], wanted < q->limit ? wanted : q->limit);
        double worst = INFINITY;
        for (size_t k = 0; k < a->found[i]; k++) {
            const NearestHit *h = &a->hits[i * a->stride + k];
            assert_close(h->score, cosine[h->row], 1e-6);
            assert_false(hit[h->row]);
            hit[h->row] = true;
            worst = cosine[h->row] < worst ? cosine[h->row] : worst;
            assert_true(!q->allowed || (q->allowed[h->row / 64] >> h->row % 64 & 1));
            if (k > 0)
                assert_true(h[-1].score > h->score || (h[-1].score == h->score && h[-1].row < h->row));
        }
        for (size_t r = 0; r < rows && a->found[i] == q->limit; r++)
            assert_true(hit[r] || (q->allowed && !(q->allowed[r / 64] >> r % 64 & 1)) || cosine[r] <= worst + 1e-6);
    }
    free(x);
    free(cosine);
    free(hit);
}

static void ask(const Fixture *f, NearestQuestion *q)
{
    NearestAnswer coarse, plain, exact;
    assert_ok(nearest_find(f->nearest, q, &coarse, err));
    assert_ok(nearest_find(f->plain, q, &plain, err));
    q->exact = true;
    assert_ok(nearest_find(f->nearest, q, &exact, err));
    q->exact = false;
    assert_same(&coarse, &plain, q->count);
    assert_same(&coarse, &exact, q->count);
    check_answer(f, q, &coarse);
    nearest_answer_finish(&coarse);
    nearest_answer_finish(&plain);
    nearest_answer_finish(&exact);
}

static void test_answers(void **state)
{
    (void)state;
    static const size_t limits[] = {1, 10, 100, ROWS, 3 * ROWS};
    for (Kind kind = 0; kind < KINDS; kind++) {
        Fixture f;
        open_fixture(&f, kind, ROWS);
        float *queries = make_queries(kind, QUERIES);
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
            NearestQuestion q = {
                .vectors = queries, .count = limits[i] > 100 ? 2 : QUERIES, .limit = limits[i], .least = -INFINITY};
            ask(&f, &q);
            q.count = 1;
            ask(&f, &q);
            q.least = kind == LOOSE ? 0.2F : 0.9F;
            ask(&f, &q);
            q.least = 2;
            ask(&f, &q);
        }
        free(queries);
        close_fixture(&f);
    }
}

// Most rows need no float16: the bytes are really used.
static void test_leaves_out(void **state)
{
    (void)state;
    Fixture f;
    open_fixture(&f, LOOSE, ROWS);
    float *queries = make_queries(LOOSE, QUERIES);
    NearestQuestion q = {.vectors = queries, .count = QUERIES, .limit = 10, .least = -INFINITY};
    NearestAnswer a;
    assert_ok(nearest_find(f.nearest, &q, &a, err));
    assert_true(a.fine >= (uint64_t)QUERIES * 10 && a.fine < (uint64_t)QUERIES * ROWS / 20);
    const uint64_t by_bytes = a.fine;
    nearest_answer_finish(&a);
    uint64_t by_nibbles = 0;
    for (size_t i = 0; i < QUERIES; i++) {
        q.vectors = queries + i * DIM;
        q.count = 1;
        assert_ok(nearest_find(f.nearest, &q, &a, err));
        by_nibbles += a.fine;
        nearest_answer_finish(&a);
    }
    assert_true(by_nibbles > by_bytes && by_nibbles < (uint64_t)QUERIES * ROWS / 4);
    free(queries);
    close_fixture(&f);
}

static void test_filters(void **state)
{
    (void)state;
    Fixture f;
    open_fixture(&f, CLUSTERED, ROWS);
    float *queries = make_queries(CLUSTERED, QUERIES);
    uint64_t allowed[ROWS / 64 + 1];
    static const uint64_t every[] = {1, 2, 7, 49, 51, 1000, ROWS};
    for (size_t e = 0; e < sizeof every / sizeof every[0]; e++) {
        memset(allowed, 0, sizeof allowed);
        for (uint64_t r = 0; r < ROWS; r += every[e])
            allowed[r / 64] |= 1ULL << r % 64;
        allowed[ROWS / 64] |= ~0ULL << ROWS % 64; // rows that do not exist are not found
        NearestQuestion q = {.vectors = queries, .count = 5, .limit = 20, .allowed = allowed, .least = -INFINITY};
        ask(&f, &q);
        q.count = 1;
        q.least = 0.8F;
        ask(&f, &q);
    }
    memset(allowed, 0, sizeof allowed);
    NearestQuestion q = {.vectors = queries, .count = 2, .limit = 20, .allowed = allowed, .least = -INFINITY};
    NearestAnswer a;
    assert_ok(nearest_find(f.nearest, &q, &a, err));
    assert_int_equal(a.found[0] + a.found[1], 0);
    nearest_answer_finish(&a);
    free(queries);
    close_fixture(&f);
}

// Bits depend neither on the threads nor on the queries beside.
static void test_same_bits(void **state)
{
    (void)state;
    enum { MANY = 150 };
    Fixture f;
    open_fixture(&f, CLUSTERED, ROWS);
    float *queries = make_queries(CLUSTERED, MANY);
    NearestQuestion q = {.vectors = queries, .count = MANY, .limit = 15, .least = -INFINITY};
    NearestAnswer all;
    assert_ok(nearest_find(f.nearest, &q, &all, err));
    for (size_t threads = 2; threads <= 3; threads++) {
        NearestAnswer again;
        q.pool = vc_pool_create(threads);
        assert_ok(nearest_find(f.nearest, &q, &again, err));
        assert_same(&all, &again, MANY);
        nearest_answer_finish(&again);
        vc_pool_destroy(&q.pool);
    }
    for (size_t i = 0; i < MANY; i += 13) {
        NearestQuestion one = {.vectors = queries + i * DIM, .count = 1, .limit = 15, .least = -INFINITY};
        NearestAnswer a, part = {.hits = all.hits + i * all.stride, .found = all.found + i, .stride = all.stride};
        assert_ok(nearest_find(f.nearest, &one, &a, err));
        assert_same(&a, &part, 1);
        nearest_answer_finish(&a);
    }
    nearest_answer_finish(&all);
    free(queries);
    close_fixture(&f);
}

static void test_bad_queries(void **state)
{
    (void)state;
    Fixture f;
    open_fixture(&f, LOOSE, 100);
    float x[DIM] = {0};
    NearestQuestion q = {.vectors = x, .count = 1, .limit = 3, .least = -INFINITY};
    NearestAnswer a;
    assert_error(nearest_find(f.nearest, &q, &a, err), "no direction");
    x[3] = NAN;
    assert_error(nearest_find(f.nearest, &q, &a, err), "no direction");
    x[3] = INFINITY;
    assert_error(nearest_find(f.nearest, &q, &a, err), "no direction");
    x[3] = 1e-30F;
    assert_ok(nearest_find(f.nearest, &q, &a, err));
    assert_int_equal(a.found[0], 3);
    nearest_answer_finish(&a);
    q.count = 0;
    assert_ok(nearest_find(f.nearest, &q, &a, err));
    nearest_answer_finish(&a);
    close_fixture(&f);
}

// Rows that were added later are scanned as float16; rows that changed make the bytes stale.
static void test_stale(void **state)
{
    (void)state;
    Fixture f;
    open_fixture(&f, LOOSE, ROWS);
    VectorsWriter *w = NULL;
    uint64_t rows;
    float *more = make_rows(LOOSE, 5000, 9);
    assert_ok(vectors_writer_open(&w, f.path, DIM, model, ROWS, err));
    assert_ok(vectors_writer_append(w, more, 5000, err));
    assert_ok(vectors_writer_sync(w, &rows, err));
    vectors_writer_close(&w);
    Fixture grown = f;
    assert_ok(vectors_reader_open(&grown.reader, f.path, rows, err));
    assert_ok(nearest_open(&grown.nearest, grown.reader, f.bytes, NULL, err));
    assert_ok(nearest_open(&grown.plain, grown.reader, NULL, NULL, err));
    assert_int_equal(nearest_byte_rows(grown.nearest), ROWS);
    NearestQuestion q = {.vectors = more, .count = 6, .limit = 10, .least = -INFINITY};
    ask(&grown, &q);
    nearest_close(&grown.nearest);
    nearest_close(&grown.plain);
    vectors_reader_close(&grown.reader);
    // The same number of other rows, also where only the unfinished block differs.
    for (int turn = 0; turn < 2; turn++) {
        float *other = make_rows(LOOSE, ROWS, turn == 0 ? 5 : 1);
        other[(ROWS - 1) * DIM] += 1;
        write_rows(f.path, other, ROWS);
        free(other);
        assert_ok(vectors_reader_open(&grown.reader, f.path, ROWS, err));
        VectorsBytes *b = NULL;
        assert_ok(vectors_bytes_open(&b, f.bytes, grown.reader, err));
        assert_null(b);
        vectors_reader_close(&grown.reader);
    }
    free(more);
    close_fixture(&f);
}

static void damage(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    const int c = fgetc(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(c ^ 0x40, file);
    fclose(file);
}

static void test_damage(void **state)
{
    (void)state;
    Fixture f;
    VectorsBytes *b = NULL;
    open_fixture(&f, LOOSE, ROWS);
    assert_ok(vectors_bytes_open(&b, f.bytes, f.reader, err));
    assert_ok(vectors_bytes_verify(b, err));
    vectors_bytes_close(&b);
    damage(f.bytes, 4096 + 5000);
    assert_ok(vectors_bytes_open(&b, f.bytes, f.reader, err));
    assert_error(vectors_bytes_verify(b, err), "block 0");
    vectors_bytes_close(&b);
    damage(f.bytes, 4096 + 5000);
    damage(f.bytes, 4096 + 3 * (4096 * 128 + 4 * 4096) + 4096 * 64 + 2 * 4 * 4096 + 7); // the second block of nibbles
    assert_ok(vectors_bytes_open(&b, f.bytes, f.reader, err));
    assert_error(vectors_bytes_verify(b, err), "block 1 of nibbles");
    vectors_bytes_close(&b);
    damage(f.bytes, -20); // an error of the last rows
    assert_error(vectors_bytes_open(&b, f.bytes, f.reader, err), "damaged");
    Nearest *n = NULL;
    const char *notice;
    assert_ok(nearest_open(&n, f.reader, f.bytes, &notice, err));
    assert_non_null(strstr(notice, "damaged"));
    assert_int_equal(nearest_byte_rows(n), 0);
    nearest_close(&n);
    assert_int_equal(truncate(f.bytes, 9000), 0);
    assert_error(vectors_bytes_open(&b, f.bytes, f.reader, err), "size");
    assert_int_equal(truncate(f.bytes, 100), 0);
    assert_error(vectors_bytes_open(&b, f.bytes, f.reader, err), "too short");
    close_fixture(&f);
}

// Products stay, one number is spread over all, and the errors of nibbles hold for queries of every kind.
static void test_rotation(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 2, 3, 100, 128, 640, 768, 1024};
    VcRng rng;
    vc_rng_seed(&rng, 8);
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        float x[1024], y[1024], one[1024] = {0};
        double before = 0, after = 0, size = 0, top = 0;
        const size_t n = widths[w];
        for (size_t i = 0; i < n; i++) {
            x[i] = normal(&rng);
            y[i] = x[i] + normal(&rng);
            before += (double)x[i] * y[i];
            size += (double)y[i] * y[i];
        }
        one[n / 2] = 1;
        rotation_apply(x, n);
        rotation_apply(y, n);
        rotation_apply(one, n);
        for (size_t i = 0; i < n; i++) {
            after += (double)x[i] * y[i];
            top = fmax(top, (double)fabsf(one[i]));
        }
        assert_close(after, before, 1e-5 * size);
        assert_true(n < 100 || top < 5 / sqrt((double)n));
    }
    Fixture f;
    VectorsBytes *bytes = NULL;
    double worst = 0;
    open_fixture(&f, OUTLIERS, ROWS);
    assert_ok(vectors_bytes_open(&bytes, f.bytes, f.reader, err));
    for (size_t r = 0; r < 500; r++) {
        float x[DIM], query[DIM], turned[128];
        int8_t q[128];
        int32_t sum;
        float scale, blur, length;
        double cosine = 0;
        vectors_reader_floats(f.reader, r, 1, x);
        vectors_reader_floats(f.reader, r % 3 == 0 ? r : ROWS - r - 1, 1, query); // also the row itself
        vectors_unit(x, DIM);
        vectors_unit(query, DIM);
        for (size_t i = 0; i < DIM; i++)
            cosine += (double)x[i] * query[i];
        vectors_nibbles_query(turned, query, DIM);
        nn_scan_quantize(q, &scale, &blur, &length, turned, 128);
        const CoarseBlock b = vectors_bytes_nibbles(bytes, r, 1);
        nn_scan_kernels()->dots_i4(&sum, b.nibbles, 1, q, b.width);
        const double off = fabs((double)sum * b.scale[0] * scale + vectors_nibbles_base(bytes, query) - cosine);
        assert_true(off <= b.error[0] + 1.3 * (double)blur);
        worst = off / b.error[0] > worst ? off / b.error[0] : worst;
    }
    assert_true(worst > 0.2 && worst < 0.9); // 7 deviations: the largest of 500 is near 3
    vectors_bytes_close(&bytes);
    close_fixture(&f);
}

static void test_cells(void **state)
{
    (void)state;
    Fixture f;
    open_fixture(&f, CLUSTERED, ROWS);
    char *path = cells_path(f.path);
    VectorsBytes *bytes = NULL;
    Cells *c = NULL;
    assert_ok(cells_open(&c, path, f.reader, err));
    assert_null(c);
    assert_error(nearest_open_cells(f.nearest, path, err), "no index");
    assert_ok(vectors_bytes_open(&bytes, f.bytes, f.reader, err));
    assert_ok(cells_build(path, f.reader, bytes, 40, NULL, err));
    char *one = NULL, *two = NULL;
    size_t n, m;
    assert_ok(vc_read_file(&one, &n, path, SIZE_MAX / 2, err));
    VcPool *pool = vc_pool_create(3);
    assert_ok(cells_build(path, f.reader, bytes, 40, pool, err));
    assert_ok(vc_read_file(&two, &m, path, SIZE_MAX / 2, err));
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    // Every row is in one cell.
    assert_ok(cells_open(&c, path, f.reader, err));
    assert_int_equal(cells_count(c), 40);
    bool *seen = vc_calloc(ROWS, sizeof *seen);
    for (size_t i = 0; i < 40; i++) {
        const CoarseBlock b = cells_block(c, i);
        for (size_t r = 0; r < b.count; r++) {
            assert_false(seen[b.numbers[r]]);
            seen[b.numbers[r]] = true;
            const CoarseBlock own = vectors_bytes_block(bytes, b.numbers[r], 1);
            assert_memory_equal(own.rows, b.rows + r * b.width, b.width);
            assert_true(own.scale[0] == b.scale[r] && own.error[0] == b.error[r]);
        }
    }
    for (size_t r = 0; r < ROWS; r++)
        assert_true(seen[r]);
    // All cells give the exact answer; few find most of it, and what they find has the same bits.
    float *queries = make_queries(CLUSTERED, QUERIES);
    NearestQuestion q = {.vectors = queries, .count = QUERIES, .limit = 10, .least = -INFINITY, .pool = pool};
    NearestAnswer exact, all, few;
    assert_ok(nearest_open_cells(f.nearest, path, err));
    assert_int_equal(nearest_cells(f.nearest), 40);
    assert_ok(nearest_find(f.nearest, &q, &exact, err));
    q.probe = 1000;
    assert_ok(nearest_find(f.nearest, &q, &all, err));
    assert_same(&exact, &all, QUERIES);
    q.probe = 4;
    assert_ok(nearest_find(f.nearest, &q, &few, err));
    size_t found = 0;
    for (size_t i = 0; i < QUERIES; i++) {
        for (size_t k = 0; k < few.found[i]; k++) {
            for (size_t w = 0; w < 10; w++) {
                const NearestHit *h = &few.hits[i * 10 + k], *e = &exact.hits[i * 10 + w];
                assert_true(h->row != e->row || memcmp(&h->score, &e->score, sizeof h->score) == 0);
                found += h->row == e->row;
            }
        }
    }
    assert_true(found > (size_t)QUERIES * 10 * 8 / 10);
    nearest_answer_finish(&exact);
    nearest_answer_finish(&all);
    nearest_answer_finish(&few);
    cells_close(&c);
    damage(path, 64 + 100);
    assert_error(cells_open(&c, path, f.reader, err), "damaged");
    damage(path, 20);
    assert_error(cells_open(&c, path, f.reader, err), "damaged");
    vc_pool_destroy(&pool);
    vectors_bytes_close(&bytes);
    free(seen);
    free(queries);
    free(one);
    free(two);
    free(path);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_leaves_out),  cmocka_unit_test(test_filters),
        cmocka_unit_test(test_same_bits), cmocka_unit_test(test_bad_queries), cmocka_unit_test(test_stale),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_rotation),    cmocka_unit_test(test_cells)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
