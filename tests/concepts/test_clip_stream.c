// SPDX-License-Identifier: MIT
// concepts/clip_stream.h: order, bits, pictures that fail in the middle; and JPEGs decoded at a part of their size.
#include "concepts/clip_stream.h"
#include "concepts/concepts.h"
#include "extract/extract.h"
#include "tests/concepts/clip_maker.h"

#include <math.h>

enum { PICTURES = 10, MANY = 10000 };

typedef struct {
    uint8_t *bytes[PICTURES];
    size_t sizes[PICTURES];
    bool wanted[PICTURES]; // decodes
} Pictures;

// Waves and an edge: frequencies as a photo has them, and some it does not.
static void make_picture(uint8_t **bytes, size_t *n, int width, int height, int seed)
{
    ExtractImage image = {.width = width, .height = height, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
    image.pixels = vc_alloc((size_t)width * (size_t)height, 3);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < 3; c++) {
                const double wave = sin((x * (3 + c) + y * seed) * 6.0 / width) * 60 + cos(x * y * 1e-3 + seed) * 40;
                image.pixels[((size_t)y * (size_t)width + (size_t)x) * 3 + (size_t)c] =
                    (uint8_t)(128 + wave * (x * height > y * width ? 1 : -0.5));
            }
        }
    }
    assert_ok(extract_image_encode_jpeg(&image, 90, bytes, n, err));
    extract_image_finish(&image);
}

static void make_pictures(Pictures *p)
{
    for (int i = 0; i < PICTURES; i++) {
        p->wanted[i] = i % 4 != 2;
        make_picture(&p->bytes[i], &p->sizes[i], 41 + 7 * i, 90 - 5 * i, i);
        if (i == 2)
            p->sizes[i] /= 2; // cut
        if (i == 6)
            memset(p->bytes[i], 'x', 16); // something else
    }
}

static void free_pictures(Pictures *p)
{
    for (int i = 0; i < PICTURES; i++)
        free(p->bytes[i]);
}

// Picture id % PICTURES; every 977th cannot be read at all.
static bool read_picture(void *ctx, size_t worker, int64_t id, uint8_t **bytes, size_t *n, VcErr *e)
{
    (void)worker;
    const Pictures *p = ctx;
    if (id % 977 == 976)
        return vc_fail(e, VC_ERR_IO, "no such shard");
    const size_t i = (size_t)(id % PICTURES);
    *bytes = vc_alloc(p->sizes[i], 1);
    memcpy(*bytes, p->bytes[i], p->sizes[i]);
    *n = p->sizes[i];
    return true;
}

static void check_item(const ClipStreamItem *item, int64_t id, const Pictures *p, const float *vectors, size_t d)
{
    const size_t i = (size_t)(id % PICTURES);
    assert_int_equal(item->id, id);
    if (id % 977 == 976) {
        assert_null(item->vector);
        assert_int_equal(item->err->code, VC_ERR_IO);
    } else if (!p->wanted[i]) {
        assert_null(item->vector);
        assert_int_equal(item->err->code, VC_ERR_FORMAT);
    } else {
        assert_non_null(item->vector);
        assert_memory_equal(item->vector, vectors + i * d, d * sizeof *vectors);
    }
}

// `count` ids through a stream, in pieces of at most `most`.
static void run_stream(const ClipStreamOptions *o, int64_t count, size_t most, const Pictures *p, const float *vectors)
{
    ClipStream *s = NULL;
    const size_t d = clip_info(o->model)->dim;
    assert_ok(clip_stream_open(&s, o, err));
    const size_t piece = clip_stream_piece(s), put = most < piece ? most : piece;
    ClipStreamItem *items = vc_calloc(piece, sizeof *items);
    int64_t *ids = vc_calloc(piece, sizeof *ids), in = 0, out = 0;
    for (size_t n = 1; n > 0;) {
        for (bool room = true; room && in < count;) {
            size_t k = 0;
            for (; k < put && in + (int64_t)k < count; k++)
                ids[k] = in + (int64_t)k;
            room = clip_stream_put(s, ids, k);
            in += room ? (int64_t)k : 0;
        }
        n = clip_stream_next(s, items);
        for (size_t i = 0; i < n; i++)
            check_item(&items[i], out++, p, vectors, d);
    }
    assert_int_equal(out, count);
    assert_true(count == 0 || clip_stream_times(s).encode_seconds > 0);
    free(items);
    free(ids);
    clip_stream_close(&s);
    assert_null(s);
}

static void vectors_come_in_order_with_the_bits_of_one(void **state)
{
    (void)state;
    char *dir = make_clip(&make_default);
    ClipModel *m = NULL;
    assert_ok(clip_open(&m, dir, err));
    const size_t s = make_default.image, d = make_default.dim;
    Pictures p;
    make_pictures(&p);
    for (int precision = 0; precision < CLIP_PRECISIONS; precision++) {
        assert_ok(clip_prepare(m, NULL, CLIP_IMAGES, (ClipPrecision)precision, NULL, err));
        float *vectors = vc_calloc(PICTURES * d, sizeof *vectors), *pixels = vc_alloc(3 * s * s, sizeof *pixels);
        for (size_t i = 0; i < PICTURES; i++) {
            VcErr why = {0};
            assert_int_equal(clip_preprocess(m, p.bytes[i], p.sizes[i], pixels, &why), p.wanted[i]);
            if (p.wanted[i])
                clip_encode_images(m, NULL, pixels, 1, vectors + i * d);
        }
        ClipStreamOptions o = {.model = m, .how = clip_preprocess_of(m), .read = read_picture, .ctx = &p};
        for (o.threads = 1; o.threads <= 3; o.threads++) {
            run_stream(&o, precision == CLIP_INT8 && o.threads == 2 ? MANY : 500, 8, &p, vectors);
            run_stream(&o, 37, 3, &p, vectors);
            run_stream(&o, 0, 1, &p, vectors);
        }
        o.batch = o.threads = 2;
        run_stream(&o, 51, 8, &p, vectors);
        o.expected = 5;
        run_stream(&o, 5, 8, &p, vectors);
        free(vectors);
        free(pixels);
    }
    free_pictures(&p);
    clip_close(&m);
    test_temp_remove(&dir);
}

static void closing_drops_what_waits(void **state)
{
    (void)state;
    char *dir = make_clip(&make_default);
    ClipModel *m = NULL;
    assert_ok(clip_open(&m, dir, err));
    Pictures p;
    make_pictures(&p);
    const ClipStreamOptions o = {
        .model = m, .how = clip_preprocess_of(m), .threads = 2, .batch = 2, .read = read_picture, .ctx = &p};
    ClipStream *s = NULL;
    assert_ok(clip_stream_open(&s, &o, err));
    assert_int_equal(clip_stream_piece(s), 1);
    int64_t id = 0;
    while (clip_stream_put(s, &id, 1))
        id++;
    assert_int_equal(id, 2 * CLIP_STREAM_AHEAD); // then there is no room
    ClipStreamItem item;
    assert_int_equal(clip_stream_next(s, &item), 1);
    assert_true(clip_stream_put(s, &id, 1));
    clip_stream_close(&s);
    clip_stream_close(&s);
    free_pictures(&p);
    clip_close(&m);
    test_temp_remove(&dir);
}

// Largest and mean difference in levels between two preprocessings of a picture; -1: they fail.
static void compare_reduced(const ClipModel *m, const uint8_t *bytes, size_t n, double *largest, double *mean)
{
    const ClipInfo *info = clip_info(m);
    const size_t each = info->image_size * info->image_size;
    float *a = vc_alloc(3 * each, sizeof *a), *b = vc_alloc(3 * each, sizeof *b);
    ClipPreprocess how = clip_preprocess_of(m);
    assert_ok(clip_preprocess_as(m, how, bytes, n, a, err));
    how.reduced = true;
    assert_ok(clip_preprocess_as(m, how, bytes, n, b, err));
    *largest = *mean = 0;
    for (size_t i = 0; i < 3 * each; i++) {
        const double level = fabs((double)a[i] - (double)b[i]) * (double)info->std[i / each] * 255;
        *largest = level > *largest ? level : *largest;
        *mean += level / (double)(3 * each);
    }
    free(a);
    free(b);
}

static void large_jpegs_may_be_decoded_smaller(void **state)
{
    (void)state;
    char *dir = make_clip(&make_default); // 40 x 40
    ClipModel *m = NULL;
    assert_ok(clip_open(&m, dir, err));
    static const struct {
        int width, height;
        bool reduced;
    } sizes[] = {{41, 90, false}, {1400, 895, false}, {896, 900, true}, {1801, 897, true}, {1999, 1792, true}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *bytes = NULL;
        size_t n = 0;
        double largest, mean;
        make_picture(&bytes, &n, sizes[i].width, sizes[i].height, (int)i);
        compare_reduced(m, bytes, n, &largest, &mean);
        print_message("# %d x %d: largest difference %.2f levels, mean %.3f\n", sizes[i].width, sizes[i].height,
                      largest, mean);
        ExtractReduced r;
        assert_int_equal(extract_image_decode_reduced(&r, bytes, n, CLIP_REDUCED_LEAST), sizes[i].reduced);
        extract_image_finish(&r.image);
        assert_true(sizes[i].reduced ? largest > 0 && largest < 24 && mean < 1.0 : largest == 0);
        // What is cut or no JPEG is for the whole decoder to judge.
        assert_false(extract_image_decode_reduced(&r, bytes, n / 2, CLIP_REDUCED_LEAST));
        assert_false(extract_image_decode_reduced(&r, bytes + 1, n - 1, CLIP_REDUCED_LEAST));
        VcErr why = {0};
        float *pixels = vc_alloc(3 * 40 * 40, sizeof *pixels);
        const ClipPreprocess how = {.order = CLIP_LAYOUT_HF, .reduced = true};
        assert_false(clip_preprocess_as(m, how, bytes, n / 2, pixels, &why));
        assert_int_equal(why.code, VC_ERR_FORMAT);
        free(pixels);
        free(bytes);
    }
    clip_close(&m);
    test_temp_remove(&dir);
}

int main(void)
{
    if (!extract_image_init(NULL))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_come_in_order_with_the_bits_of_one),
        cmocka_unit_test(closing_drops_what_waits),
        cmocka_unit_test(large_jpegs_may_be_decoded_smaller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
