// SPDX-License-Identifier: MIT
// What is accepted, what it becomes, and why the rest is rejected, on files made here byte by byte.
#include "extract/extract.h"
#include "extract/sniff.h"
#include "tests/support/test.h"

#include <zlib.h>

static ExtractThumbnailOptions defaults(void)
{
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    return o;
}

// Left half red, right half blue; the caller frees.
static uint8_t *make_jpeg(int w, int h, size_t *n)
{
    ExtractImage image = {.width = w, .height = h, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
    image.pixels = vc_calloc((size_t)w * (size_t)h, 3);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            image.pixels[(y * w + x) * 3 + (x < w / 2 ? 0 : 2)] = 220;
    uint8_t *bytes;
    assert_ok(extract_image_encode_jpeg(&image, 90, &bytes, n, err));
    free(image.pixels);
    return bytes;
}

static void put_be32(VcStr *s, uint32_t v)
{
    const uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    vc_str_putn(s, b, 4);
}

static void put_chunk(VcStr *s, const char *type, const void *data, size_t n)
{
    put_be32(s, (uint32_t)n);
    const size_t at = s->len;
    vc_str_putn(s, type, 4);
    vc_str_putn(s, data, n);
    put_be32(s, (uint32_t)crc32(0, (const uint8_t *)s->data + at, (unsigned)(n + 4)));
}

typedef struct {
    uint32_t w, h;
    uint8_t depth, type, interlace;
    size_t raw;     // bytes of rows that are packed; SIZE_MAX: as many as belong there
    int flip;       // byte of the packed data to damage, -1: none
    size_t luggage; // bytes of a text chunk
    bool no_end;
} Png;

// RGBA: top half opaque green, bottom half transparent black. Other types: zeros.
static VcStr make_png(Png p)
{
    const size_t channels = p.type == 6 ? 4 : p.type == 2 ? 3 : 1, row = 1 + (p.w * channels * p.depth + 7) / 8;
    const size_t raw = p.raw == SIZE_MAX ? row * p.h : p.raw;
    uint8_t *rows = vc_calloc(raw + 1, 1);
    for (size_t y = 0; p.type == 6 && y < p.h / 2; y++)
        for (size_t x = 0; x < p.w && p.depth == 8 && (y + 1) * row <= raw; x++) {
            rows[y * row + 1 + x * 4 + 1] = 200;
            rows[y * row + 1 + x * 4 + 3] = 255;
        }
    uLongf packed = compressBound(raw);
    uint8_t *data = vc_alloc(packed, 1);
    assert_int_equal(compress(data, &packed, rows, raw), Z_OK);
    if (p.flip >= 0)
        data[p.flip < (int)packed ? p.flip : (int)packed - 1] ^= 0xFF;
    VcStr s = {0}, head = {0};
    vc_str_putn(&s, "\x89PNG\r\n\x1a\n", 8);
    put_be32(&head, p.w);
    put_be32(&head, p.h);
    const uint8_t rest[5] = {p.depth, p.type, 0, 0, p.interlace};
    vc_str_putn(&head, rest, 5);
    put_chunk(&s, "IHDR", head.data, head.len);
    if (p.luggage) {
        char *text = vc_calloc(p.luggage, 1);
        put_chunk(&s, "tEXt", text, p.luggage);
        free(text);
    }
    put_chunk(&s, "IDAT", data, packed);
    if (!p.no_end)
        put_chunk(&s, "IEND", "", 0);
    vc_str_finish(&head);
    free(data);
    free(rows);
    return s;
}

static ExtractCause judge(const void *bytes, size_t n, const ExtractThumbnailOptions *o)
{
    ExtractThumbnail t;
    VcErr err = {0};
    const ExtractCause cause = extract_thumbnail(&t, bytes, n, o, &err);
    if (cause != EXTRACT_OK && err.text[0] == 0)
        fail_msg("cause %s without words", extract_cause_name(cause));
    if (cause != EXTRACT_OK && t.jpeg)
        fail_msg("rejected, but there are bytes");
    free(t.jpeg);
    return cause;
}

static void check_pixel(const ExtractImage *image, int x, int y, int r, int g, int b)
{
    const uint8_t *p = image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
    if (abs(p[0] - r) > 8 || abs(p[1] - g) > 8 || abs(p[2] - b) > 8)
        fail_msg("pixel %d,%d is %d,%d,%d, expected %d,%d,%d", x, y, p[0], p[1], p[2], r, g, b);
}

static ExtractImage shrink(const void *bytes, size_t n, const ExtractThumbnailOptions *o, ExtractThumbnail *t)
{
    ExtractImage image;
    assert_ok(extract_thumbnail(t, bytes, n, o, err) == EXTRACT_OK);
    assert_ok(extract_image_decode(&image, t->jpeg, t->bytes, err));
    assert_int_equal(image.width, t->width);
    assert_int_equal(image.height, t->height);
    assert_int_equal(image.mode, EXTRACT_RGB);
    free(t->jpeg);
    return image;
}

static void test_fits(void **state)
{
    (void)state;
    static const struct {
        ExtractFit fit;
        int w, h, size, want_w, want_h;
    } cases[] = {
        {EXTRACT_FIT_SHORTEST, 640, 480, 256, 341, 256}, {EXTRACT_FIT_SHORTEST, 480, 640, 256, 256, 341},
        {EXTRACT_FIT_SHORTEST, 200, 100, 256, 200, 100}, // never larger
        {EXTRACT_FIT_CROP, 640, 480, 224, 224, 224},     {EXTRACT_FIT_CROP, 300, 100, 224, 224, 100},
        {EXTRACT_FIT_PAD, 640, 480, 256, 256, 256},      {EXTRACT_FIT_PAD, 100, 50, 256, 256, 256},
        {EXTRACT_FIT_KEEP, 1001, 77, 256, 1001, 77},     {EXTRACT_FIT_SHORTEST, 1600, 16, 1, 100, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        uint8_t *jpeg = make_jpeg(cases[i].w, cases[i].h, &n);
        ExtractThumbnailOptions o = defaults();
        o.fit = cases[i].fit;
        o.size = cases[i].size;
        ExtractThumbnail t;
        ExtractImage image = shrink(jpeg, n, &o, &t);
        assert_int_equal(image.width, cases[i].want_w);
        assert_int_equal(image.height, cases[i].want_h);
        assert_int_equal(t.original_width, cases[i].w);
        assert_string_equal(t.mime, "image/jpeg");
        if (cases[i].fit == EXTRACT_FIT_PAD) {
            check_pixel(&image, 2, 2, 255, 255, 255);
            check_pixel(&image, 128 + 30, 128, 0, 0, 220);
        } else if (image.width > 20 && image.height > 20) {
            check_pixel(&image, 2, 2, 220, 0, 0);
            check_pixel(&image, image.width - 3, image.height - 3, 0, 0, 220);
        }
        extract_image_finish(&image);
        free(jpeg);
    }
}

// An APP1 segment with this orientation, right behind the start marker.
static void test_orientation(void **state)
{
    (void)state;
    size_t n;
    uint8_t *jpeg = make_jpeg(64, 32, &n);
    for (int orientation = 1; orientation <= 8; orientation++) {
        uint8_t exif[36] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i',  'f', 0, 0, 'M', 'M', 0, '*', 0,
                            0,    0,    8, 0,  1,   1,   0x12, 0,   3, 0, 0,   0,   1, 0,   (uint8_t)orientation};
        VcStr s = {0};
        vc_str_putn(&s, jpeg, 2);
        vc_str_putn(&s, exif, sizeof exif);
        vc_str_putn(&s, jpeg + 2, n - 2);
        const ExtractThumbnailOptions o = defaults();
        ExtractThumbnail t;
        ExtractImage image = shrink(s.data, s.len, &o, &t);
        const bool turned = orientation >= 5;
        assert_int_equal(image.width, turned ? 32 : 64);
        assert_int_equal(t.original_width, turned ? 32 : 64);
        // where the red half went
        static const int red[9][2] = {{0, 0}, {2, 2}, {61, 2}, {61, 2}, {2, 2}, {2, 2}, {2, 2}, {2, 61}, {2, 61}};
        check_pixel(&image, red[orientation][0], red[orientation][1], 220, 0, 0);
        extract_image_finish(&image);
        vc_str_finish(&s);
    }
    free(jpeg);
}

static void test_jpeg_damage(void **state)
{
    (void)state;
    const ExtractThumbnailOptions o = defaults();
    size_t n;
    uint8_t *jpeg = make_jpeg(80, 60, &n);
    assert_int_equal(judge(jpeg, n, &o), EXTRACT_OK);
    assert_int_equal(judge("", 0, &o), EXTRACT_EMPTY);
    for (size_t length = 1; length < n; length++) {
        const ExtractCause cause = judge(jpeg, length, &o);
        if (cause != EXTRACT_TRUNCATED && !(length == 1 && cause == EXTRACT_NOT_IMAGE))
            fail_msg("the first %zu of %zu bytes: %s", length, n, extract_cause_name(cause));
    }
    size_t sof = 2;
    while (jpeg[sof + 1] != 0xC0)
        sof += 2 + (size_t)(jpeg[sof + 2] << 8 | jpeg[sof + 3]);
    uint8_t *copy = vc_alloc(n, 1);
#define WITH(offset, value, wanted) \
    memcpy(copy, jpeg, n);          \
    copy[sof + (offset)] = (value); \
    assert_int_equal(judge(copy, n, &o), wanted)
    WITH(4, 12, EXTRACT_UNSUPPORTED);   // bits a sample
    WITH(1, 0xC3, EXTRACT_UNSUPPORTED); // lossless
    WITH(6, 0, EXTRACT_CORRUPT);        // height 0
    WITH(6, 200, EXTRACT_TRUNCATED);    // more rows than there are
    WITH(9, 2, EXTRACT_UNSUPPORTED);    // components
    WITH(9, 1, EXTRACT_CORRUPT);        // a header of another length
    memcpy(copy, jpeg, n);
    memset(copy + sof + 5, 0xFF, 4);
    assert_int_equal(judge(copy, n, &o), EXTRACT_TOO_LARGE);
#undef WITH
    // any byte wrong: some answer, and never a crash
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, jpeg, n);
        copy[i] ^= 0x55;
        judge(copy, n, &o);
    }
    free(copy);
    free(jpeg);
}

static void test_png(void **state)
{
    (void)state;
    const ExtractThumbnailOptions o = defaults();
    const Png good = {.w = 40, .h = 20, .depth = 8, .type = 6, .raw = SIZE_MAX, .flip = -1};
    VcStr s = make_png(good);
    ExtractThumbnail t;
    ExtractImage image = shrink(s.data, s.len, &o, &t);
    assert_string_equal(t.mime, "image/png");
    check_pixel(&image, 20, 2, 0, 200, 0);
    check_pixel(&image, 20, 17, 255, 255, 255);
    extract_image_finish(&image);
    for (size_t length = 8; length < s.len; length++)
        assert_int_equal(judge(s.data, length, &o), EXTRACT_TRUNCATED);
    vc_str_finish(&s);

    static const struct {
        Png png;
        ExtractCause wanted;
    } cases[] = {
        {{40, 20, 16, 2, 0, SIZE_MAX, -1, 0, false}, EXTRACT_OK},
        {{40, 20, 8, 0, 0, SIZE_MAX, -1, 0, false}, EXTRACT_OK},
        {{40, 20, 1, 0, 0, SIZE_MAX, -1, 0, false}, EXTRACT_OK},
        {{40, 20, 8, 6, 0, SIZE_MAX, -1, 5000, false}, EXTRACT_OK},
        {{40, 20, 8, 6, 0, SIZE_MAX, -1, 0, true}, EXTRACT_TRUNCATED},
        {{40, 20, 8, 6, 0, SIZE_MAX, 12, 0, false}, EXTRACT_CORRUPT},
        {{40, 20, 8, 6, 0, SIZE_MAX, 100000, 0, false}, EXTRACT_CORRUPT}, // only the checksum
        {{40, 20, 8, 6, 0, 100, -1, 0, false}, EXTRACT_CORRUPT},          // too few rows
        {{40, 20, 8, 6, 0, 1 << 20, -1, 0, false}, EXTRACT_CORRUPT},      // too many
        {{40, 20, 8, 5, 0, SIZE_MAX, -1, 0, false}, EXTRACT_CORRUPT},     // no such type
        {{40, 20, 4, 2, 0, SIZE_MAX, -1, 0, false}, EXTRACT_CORRUPT},     // nor such a depth of it
        {{40, 20, 8, 3, 0, SIZE_MAX, -1, 0, false}, EXTRACT_CORRUPT},     // palette without one
        {{0, 20, 8, 2, 0, 100, -1, 0, false}, EXTRACT_CORRUPT},
        {{12000, 12000, 8, 2, 0, 100, -1, 0, false}, EXTRACT_TOO_LARGE},
        {{0x7FFFFFFF, 0x7FFFFFFF, 8, 2, 0, 100, -1, 0, false}, EXTRACT_TOO_LARGE},
        {{0x7FFFFFFF, 0x7FFFFFFF, 16, 6, 1, 100, -1, 0, false}, EXTRACT_TOO_LARGE},
        {{9000, 9000, 16, 6, 1, 100, -1, 0, false}, EXTRACT_TOO_LARGE}, // interlaced: all of it in memory
        {{1, 1, 8, 0, 0, SIZE_MAX, -1, 0, false}, EXTRACT_TOO_SMALL},
        {{20000, 3, 8, 0, 0, SIZE_MAX, -1, 0, false}, EXTRACT_ASPECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s = make_png(cases[i].png);
        const ExtractCause cause = judge(s.data, s.len, &o);
        if (cause != cases[i].wanted)
            fail_msg("PNG case %zu: %s, expected %s", i, extract_cause_name(cause),
                     extract_cause_name(cases[i].wanted));
        vc_str_finish(&s);
    }
}

static void test_strip(void **state)
{
    (void)state;
    VcStr s = make_png((Png){.w = 4, .h = 4, .depth = 8, .type = 2, .raw = SIZE_MAX, .flip = -1, .luggage = 99999}),
          out = {0};
    ExtractHeader header;
    assert_int_equal(extract_sniff(&header, (const uint8_t *)s.data, s.len, NULL), EXTRACT_OK);
    assert_true(header.noise);
    extract_png_strip(&out, (const uint8_t *)s.data, s.len);
    assert_true(out.len < 200);
    assert_int_equal(extract_sniff(&header, (const uint8_t *)out.data, out.len, NULL), EXTRACT_OK);
    assert_false(header.noise);
    vc_str_finish(&s);
    vc_str_finish(&out);
}

static void test_foreign(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        ExtractCause wanted;
    } cases[] = {
#define CASE(text, wanted) {text, sizeof text - 1, wanted}
        CASE("<!DOCTYPE html><html><body>404</body></html>", EXTRACT_NOT_IMAGE),
        CASE("\xEF\xBB\xBF  <html>", EXTRACT_NOT_IMAGE),
        CASE("\xFF\xFE<\0h\0t\0m\0l\0", EXTRACT_NOT_IMAGE),
        CASE("{\"error\": 403}", EXTRACT_NOT_IMAGE),
        CASE("\x1f\x8b\x08\0\0\0\0\0", EXTRACT_NOT_IMAGE),
        CASE("\0\0\0\x18"
             "ftypisom\0\0\2\0isomiso2",
             EXTRACT_NOT_IMAGE),
        CASE("\r\n\xFF\xD8\xFF\xE0", EXTRACT_NOT_IMAGE),
        CASE("<?xml version=\"1.0\"?><svg width='9'/>", EXTRACT_UNSUPPORTED),
        CASE("II*\0\x08\0\0\0", EXTRACT_CORRUPT),
        CASE("II+\0\x08\0\0\0", EXTRACT_UNSUPPORTED),
        CASE("BM\0\0\0\0", EXTRACT_UNSUPPORTED),
        CASE("%PDF-1.4", EXTRACT_UNSUPPORTED),
        CASE("P6\n100000 100000\n255\n", EXTRACT_UNSUPPORTED),
        CASE("\0\0\0\x1c"
             "ftypavif\0\0\0\0",
             EXTRACT_CORRUPT),
        CASE("\xFF\xD8", EXTRACT_TRUNCATED),
        CASE("\xFF\xD8\xFF\xD9", EXTRACT_CORRUPT),
        CASE("GIF89a", EXTRACT_TRUNCATED),
        CASE("GIF89a\1\0\1\0\0\0\0;", EXTRACT_CORRUPT),
        CASE("RIFF\xFF\0\0\0WEBPVP8L\1\0\0\0\x2f\xff\xff\xff\xff\0\0\0\0\0", EXTRACT_TOO_LARGE),
        CASE("RIFF\x04\0\0\0WEBP", EXTRACT_TRUNCATED),
#undef CASE
    };
    const ExtractThumbnailOptions o = defaults();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        // in memory of exactly this size: a read too far is seen by the sanitizer
        uint8_t *copy = vc_alloc(cases[i].n, 1);
        memcpy(copy, cases[i].bytes, cases[i].n);
        const ExtractCause cause = judge(copy, cases[i].n, &o);
        free(copy);
        if (cause != cases[i].wanted)
            fail_msg("case %zu: %s, expected %s", i, extract_cause_name(cause), extract_cause_name(cases[i].wanted));
    }
}

static void test_gif(void **state)
{
    (void)state;
    // 2x2, one frame, from the table white, black
    static const uint8_t gif[] = "GIF89a\2\0\2\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\2\0\2\0\0\2\3D\x34\5\0;";
    ExtractThumbnailOptions o = defaults();
    assert_int_equal(judge(gif, sizeof gif - 1, &o), EXTRACT_OK);
    for (size_t n = 6; n < sizeof gif - 2; n++) // the trailer may be missing
        if (judge(gif, n, &o) == EXTRACT_OK)
            fail_msg("the first %zu bytes of a GIF are accepted", n);
}

static void test_limits(void **state)
{
    (void)state;
    size_t n;
    uint8_t *jpeg = make_jpeg(300, 100, &n);
    ExtractThumbnailOptions o = defaults();
    o.min_size = 101;
    assert_int_equal(judge(jpeg, n, &o), EXTRACT_TOO_SMALL);
    o = defaults();
    o.max_aspect = 2.9;
    assert_int_equal(judge(jpeg, n, &o), EXTRACT_ASPECT);
    o.max_aspect = 3;
    assert_int_equal(judge(jpeg, n, &o), EXTRACT_OK);
    o = defaults();
    o.max_bytes = n - 1;
    assert_int_equal(judge(jpeg, n, &o), EXTRACT_TOO_LARGE);
    o = defaults();
    o.max_pixels = 29999;
    assert_int_equal(judge(jpeg, n, &o), EXTRACT_TOO_LARGE);
    free(jpeg);
}

static void test_causes(void **state)
{
    (void)state;
    for (unsigned i = 0; extract_cause_at(i) != EXTRACT_OK; i++) {
        const int cause = extract_cause_at(i);
        assert_true(cause < 0 && -cause < EXTRACT_CAUSES_MAX);
        assert_string_not_equal(extract_cause_name(cause), "unknown");
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(extract_cause_name(cause), extract_cause_name(extract_cause_at(k)));
    }
    assert_string_equal(extract_cause_name(-99), "unknown");
}

static int start(void **state)
{
    (void)state;
    return extract_image_init(NULL) ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fits), cmocka_unit_test(test_orientation), cmocka_unit_test(test_jpeg_damage),
        cmocka_unit_test(test_png),  cmocka_unit_test(test_strip),       cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_gif),  cmocka_unit_test(test_limits),      cmocka_unit_test(test_causes),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
