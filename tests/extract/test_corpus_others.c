// SPDX-License-Identifier: MIT
// Hostile and odd GIF, TIFF, WebP, AVIF and foreign files, made here: as test_corpus.c.
#include "tests/extract/corpus_expect.h"

#include <vips/vips.h>
#include <zlib.h>

// --- GIF

static void test_gif(void **state)
{
    (void)state;
    char name[100];
    for (int i = 0; i < 64; i++) {
        const CorpusGif k = {.w = 50,
                             .h = 40,
                             .interlaced = i & 1,
                             .clear = i & 2,
                             .local = i & 4,
                             .old = i & 8,
                             .frames = i & 16 ? 3 : 0};
        if (k.old && (k.clear || k.frames))
            continue;
        snprintf(name, sizeof name, "GIF, interlaced %d, clear %d, local %d, frames %d", k.interlaced, k.clear, k.local,
                 k.frames);
        VcStr s = corpus_gif(&k);
        if (k.clear) // the colour of the top left is not cleared by itself: index 0 is
            expect_scene(name, &s, 50, 40, CLEAR);
        else
            expect_scene(name, &s, 50, 40, COLOUR);
        vc_str_finish(&s);
    }
    VcStr s = corpus_gif(&(CorpusGif){.w = 50, .h = 40, .x = 10, .y = 8, .fw = 30, .fh = 20});
    expect("GIF whose frame is smaller than its screen", s.data, s.len, "ok");
    vc_str_finish(&s);
    s = corpus_gif(&(CorpusGif){.w = 50, .h = 40});
    enum { FRAME = 13 + 24 };
    expect_scene("GIF", &s, 50, 40, COLOUR);
    expect("GIF without its last byte", s.data, s.len - 1, "ok");
    for (size_t n = 6; n + 2 < s.len; n++) {
        snprintf(name, sizeof name, "GIF cut at %zu of %zu", n, s.len);
        expect(name, s.data, n, "truncated");
    }
    with_byte("GIF without columns", &s, 6, 0, "corrupt");
    with_byte("GIF without rows", &s, 8, 0, "corrupt");
    with_byte("GIF with a table that is not there", &s, 10, 0x87, "corrupt truncated");
    with_byte("GIF frame of more columns", &s, FRAME + 5, 60, "truncated");
    with_byte("GIF frame outside", &s, FRAME + 2, 1, "corrupt");
    with_byte("GIF frame of 65,000 rows", &s, FRAME + 8, 0xFF, "truncated");
    with_byte("GIF with codes of 0 bits", &s, FRAME + 10, 0, "corrupt");
    with_byte("GIF with codes of 12 bits", &s, FRAME + 10, 12, "corrupt");
    with_byte("GIF with a code that cannot be", &s, FRAME + 12, 0xF8, "corrupt");
    with_byte("GIF with an unknown block", &s, FRAME, 'x', "corrupt");
    with_byte("GIF that ends before a frame", &s, FRAME, ';', "corrupt");
    with_byte("GIF of 65,000 columns", &s, 7, 0xFF, "aspect too_large");
    VcStr big = {0};
    vc_str_putn(&big, s.data, s.len);
    memset(big.data + 6, 0xFF, 4);
    expect("GIF of 4 gigapixels", big.data, big.len, "too_large");
    memset(big.data + FRAME + 5, 0xFF, 4);
    expect("GIF frame of 4 gigapixels", big.data, big.len, "too_large");
    vc_str_finish(&big);
    every_byte("GIF with a byte changed", &s, 1);
    vc_str_finish(&s);
    end();
}

// --- TIFF

static void test_tiff_kinds(void **state)
{
    (void)state;
    static const struct {
        int bits, samples, photometric;
        unsigned looks;
    } kinds[] = {{8, 1, 1, GREY},    {8, 1, 0, GREY},   {16, 1, 1, GREY},  {8, 3, 2, COLOUR},
                 {16, 3, 2, COLOUR}, {4, 1, 3, COLOUR}, {8, 1, 3, COLOUR}, {8, 4, 2, CLEAR},
                 {16, 4, 2, CLEAR},  {8, 2, 1, GREY},   {8, 4, 5, INK}};
    static const int compressions[] = {1, 8, 32773};
    char name[100];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (int v = 0; v < 36; v++) {
            const CorpusTiff k = {.w = 45,
                                  .h = 38,
                                  .bits = kinds[i].bits,
                                  .samples = kinds[i].samples,
                                  .photometric = kinds[i].photometric,
                                  .compression = compressions[v % 3],
                                  .big = v / 3 & 1,
                                  .rows = v / 6 & 1 ? 7 : 0,
                                  .tiled = v / 12 == 1,
                                  .planar = v / 12 == 2,
                                  .pages = v / 6 & 1 ? 2 : 1};
            if (k.tiled && k.rows)
                continue;
            const bool read = !(k.planar && k.bits < 8);
            snprintf(name, sizeof name,
                     "TIFF %d x %d bits, kind %d, compression %d, big %d, rows %d, tiled %d, planar %d", k.samples,
                     k.bits, k.photometric, k.compression, k.big, k.rows, k.tiled, k.planar);
            VcStr s = corpus_tiff(&k);
            if (!read)
                expect(name, s.data, s.len, "unsupported");
            else if (k.samples == 2) // grey with alpha: the luma is there where it is not clear
                expect(name, s.data, s.len, "ok");
            else
                expect_scene(name, &s, 45, 38, kinds[i].looks);
            vc_str_finish(&s);
        }
    }
    static const int few[] = {1, 2, 4};
    for (size_t i = 0; i < 3; i++) {
        VcStr s = corpus_tiff(
            &(CorpusTiff){.w = 45, .h = 38, .bits = few[i], .samples = 1, .photometric = 1, .compression = 1});
        expect("TIFF of few levels", s.data, s.len, "ok");
        vc_str_finish(&s);
    }
    for (int orientation = 1; orientation <= 8; orientation++) {
        VcStr s = corpus_tiff(&(CorpusTiff){
            .w = 45, .h = 38, .bits = 8, .samples = 3, .photometric = 2, .compression = 1, .orientation = orientation});
        ExtractThumbnail t;
        char words[200];
        assert_string_equal(judge(&t, s.data, s.len, words, sizeof words), "ok");
        assert_int_equal(t.width, orientation >= 5 ? 38 : 45);
        free(t.jpeg);
        vc_str_finish(&s);
    }
    end();
}

static void tiff_value(const char *name, const VcStr *file, int tag, uint32_t value, const char *causes)
{
    VcStr t = {0};
    vc_str_putn(&t, file->data, file->len);
    const size_t at = corpus_tiff_value(file, tag);
    assert_true(at > 0);
    if (t.data[at - 6] == 3) { // SHORT
        t.data[at] = (char)value;
        t.data[at + 1] = (char)(value >> 8);
    } else {
        for (int i = 0; i < 4; i++)
            t.data[at + (size_t)i] = (char)(value >> (8 * i));
    }
    expect(name, t.data, t.len, causes);
    vc_str_finish(&t);
}

static void test_tiff_damage(void **state)
{
    (void)state;
    char name[100];
    const CorpusTiff k = {.w = 45, .h = 38, .bits = 8, .samples = 3, .photometric = 2, .compression = 1};
    VcStr s = corpus_tiff(&k);
    for (size_t n = 4; n < s.len - 4; n++) { // the number of the next page may be missing
        if (n > 40 && n + 250 < s.len && n % 16)
            continue;
        snprintf(name, sizeof name, "TIFF cut at %zu of %zu", n, s.len);
        expect(name, s.data, n, "truncated corrupt");
    }
    static const struct {
        int tag;
        uint32_t value;
        const char *causes;
    } lies[] = {
        {256, 0, "corrupt"},
        {257, 0, "corrupt"},
        {256, 46, "corrupt"},
        {257, 39, "corrupt"},
        {256, 65535, "aspect corrupt truncated"},
        {259, 0, "unsupported"},
        {259, 6, "unsupported"},
        {259, 34712, "unsupported"},
        {259, 50000, "unsupported"},
        {259, 50001, "unsupported"},
        {259, 34925, "unsupported"},
        {259, 7, "corrupt truncated"},
        {259, 5, "corrupt truncated"},
        {259, 8, "corrupt truncated"},
        {262, 8, "unsupported"},
        {262, 32844, "unsupported"},
        {262, 34892, "unsupported"},
        {262, 3, "corrupt unsupported"},
        {273, 0, "corrupt"},
        {273, 4, "corrupt"},
        {273, 0xFFFFFFFF, "corrupt"},
        {279, 0, "corrupt"},
        {279, 0xFFFFFFFF, "truncated"},
        {279, 100, "corrupt truncated"},
        {277, 0, "unsupported corrupt"},
        {277, 4, "corrupt truncated unsupported"},
        {277, 65535, "unsupported"},
        {339, 3, "unsupported"},
        {339, 2, "unsupported"},
        {339, 6, "unsupported"},
        {284, 2, "corrupt truncated"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        snprintf(name, sizeof name, "TIFF whose tag %d says %u", lies[i].tag, lies[i].value);
        tiff_value(name, &s, lies[i].tag, lies[i].value, lies[i].causes);
    }
    with_byte("TIFF whose directory lies outside", &s, 7, 0x7F, "corrupt");
    with_byte("TIFF whose directory is its header", &s, 4, 0, "any");
    with_byte("BigTIFF", &s, 2, 43, "unsupported");
    every_byte("TIFF with a byte changed", &s, 7);
    vc_str_finish(&s);
    s = corpus_tiff(
        &(CorpusTiff){.w = 45, .h = 38, .bits = 8, .samples = 3, .photometric = 2, .compression = 8, .rows = 7});
    every_byte("packed TIFF with a byte changed", &s, 1);
    vc_str_finish(&s);
    s = corpus_tiff(&(CorpusTiff){.w = 45, .h = 38, .bits = 8, .samples = 3, .photometric = 2, .compression = 8});
    for (size_t i = 8; i < 60; i++) { // what deflate holds is checked by libtiff's zlib
        snprintf(name, sizeof name, "packed TIFF with byte %zu changed", i);
        with_byte(name, &s, i, (uint8_t)s.data[i] ^ 0x55, "corrupt ok");
    }
    vc_str_finish(&s);
    s = corpus_tiff(
        &(CorpusTiff){.w = 45, .h = 38, .bits = 8, .samples = 3, .photometric = 2, .compression = 1, .pages = 2});
    every_byte("TIFF of two pages with a byte changed", &s, 97);
    vc_str_finish(&s);
    end();
}

// --- WebP and AVIF, where libvips can make them

static VipsImage *scene(int w, int h, int bands)
{
    uint8_t *p = vc_alloc((size_t)w * (size_t)h, (size_t)bands), *q = p;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < bands; c++)
                *q++ = corpus_sample(w, h, x, y, c);
    VipsImage *raw =
        vips_image_new_from_memory_copy(p, (size_t)w * (size_t)h * (size_t)bands, w, h, bands, VIPS_FORMAT_UCHAR);
    VipsImage *out = NULL;
    free(p);
    assert_int_equal(vips_copy(raw, &out, "interpretation", VIPS_INTERPRETATION_sRGB, NULL), 0);
    g_object_unref(raw);
    return out;
}

static bool webp(VcStr *out, int w, int h, int bands, bool lossless, int pages)
{
    VipsImage *image = scene(w, h * pages, bands);
    void *data = NULL;
    size_t n = 0;
    if (pages > 1)
        vips_image_set_int(image, "page-height", h);
    const bool ok = vips_webpsave_buffer(image, &data, &n, "Q", 95, "lossless", lossless, NULL) == 0;
    g_object_unref(image);
    vips_error_clear();
    vc_str_clear(out);
    if (ok)
        vc_str_putn(out, data, n);
    g_free(data);
    return ok;
}

static void test_webp(void **state)
{
    (void)state;
    VcStr s = {0}, t = {0};
    char name[100];
    if (!webp(&s, 64, 48, 3, false, 1))
        skip();
    for (int v = 0; v < 4; v++) {
        assert_true(webp(&s, 64, 48, v & 1 ? 4 : 3, v & 2, 1));
        expect_scene(v & 1 ? "WebP with alpha" : "WebP", &s, 64, 48, v & 1 ? CLEAR : COLOUR);
        for (size_t n = 12; n < s.len; n++) {
            snprintf(name, sizeof name, "WebP %d cut at %zu of %zu", v, n, s.len);
            expect(name, s.data, n, "truncated");
        }
        every_byte("WebP with a byte changed", &s, 1);
        insert(&t, &s, s.len, "PK\3\4 a zip behind it", 20);
        expect_scene("WebP with a zip behind it", &t, 64, 48, v & 1 ? CLEAR : COLOUR);
        with_byte("RIFF that is no WebP", &s, 8, 'A', "not_image");
    }
    assert_true(webp(&s, 64, 48, 3, true, 3));
    ExtractThumbnail moving;
    char words[200];
    assert_string_equal(judge(&moving, s.data, s.len, words, sizeof words), "ok"); // the first frame
    assert_int_equal(moving.height, 48);
    free(moving.jpeg);
    memset(s.data + 24, 0xFF, 6); // the canvas of VP8X
    expect("WebP with a canvas of 2^48 pixels", s.data, s.len, "too_large");
    vc_str_finish(&s);
    vc_str_finish(&t);
    end();
}

static void test_avif(void **state)
{
    (void)state;
    VipsImage *image = scene(64, 48, 3);
    void *data = NULL;
    size_t n = 0;
    const bool ok =
        vips_heifsave_buffer(image, &data, &n, "Q", 90, "compression", VIPS_FOREIGN_HEIF_COMPRESSION_AV1, NULL) == 0;
    g_object_unref(image);
    vips_error_clear();
    if (!ok)
        skip();
    VcStr s = {0};
    vc_str_putn(&s, data, n);
    g_free(data);
    char name[100];
    expect_scene("AVIF", &s, 64, 48, COLOUR);
    for (size_t length = 12; length < s.len; length++) {
        snprintf(name, sizeof name, "AVIF cut at %zu of %zu", length, s.len);
        expect(name, s.data, length, "truncated corrupt");
    }
    every_byte("AVIF with a byte changed", &s, 5);
    const uint8_t *size = memmem(s.data, s.len, "ispe", 4);
    assert_non_null(size);
    const size_t at = (size_t)(size - (const uint8_t *)s.data) + 8;
    with_byte("AVIF of 2^30 columns", &s, at, 0x40, "too_large aspect");
    with_byte("AVIF of more columns", &s, at + 2, 1, "corrupt truncated");
    with_byte("AVIF without columns", &s, at + 3, 0, "corrupt");
    memcpy(s.data + 8, "isom", 4);
    expect("AVIF that says it is a film", s.data, s.len, "not_image");
    vc_str_finish(&s);
    end();
}

// --- what is no picture of ours, whatever its name

static void test_foreign(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        const char *causes;
    } cases[] = {
#define CASE(name, text, causes) {name, text, sizeof text - 1, causes}
        CASE("nothing", "", "empty"),
        CASE("a zero", "\0", "not_image"),
        CASE("zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "not_image"),
        CASE("a page", "<!doctype html><img src=x>", "not_image"),
        CASE("a page after spaces", " \r\n\t <HTML><head></head>", "not_image"),
        CASE("XML", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "not_image"),
        CASE("JSON", "{\"error\": \"gone\"}", "not_image"),
        CASE("words", "404 page not found", "not_image"),
        CASE("a program",
             "\x7f"
             "ELF\2\1\1\0\0\0\0\0",
             "not_image"),
        CASE("a program for Windows", "MZ\x90\0\3\0\0\0\4\0\0\0", "not_image"),
        CASE("a zip", "PK\3\4\24\0\0\0\10\0", "not_image"),
        CASE("gzip, an SVGZ perhaps", "\x1f\x8b\x08\0\0\0\0\0\0\3", "not_image"),
        CASE("7z", "7z\xbc\xaf\x27\x1c\0\4", "not_image"),
        CASE("a film (MP4)",
             "\0\0\0\x18"
             "ftypmp42\0\0\0\0mp42isom",
             "not_image"),
        CASE("a film (Matroska)", "\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f", "not_image"),
        CASE("a film (AVI)", "RIFF\x24\0\0\0AVI LIST\0\0\0\0hdrl", "not_image"),
        CASE("sound", "ID3\4\0\0\0\0\0\0", "not_image"),
        CASE("a font", "wOF2\0\1\0\0", "not_image"),
        CASE("SVG", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "unsupported"),
        CASE("SVG that names a file",
             "<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>"
             "<svg>&x;</svg>",
             "unsupported"),
        CASE("PDF", "%PDF-1.7\n", "unsupported"),
        CASE("PostScript", "%!PS-Adobe-3.0 EPSF-3.0\n", "unsupported"),
        CASE("BMP", "BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "unsupported"),
        CASE("ICO", "\0\0\1\0\1\0\x10\x10", "unsupported"),
        CASE("CUR", "\0\0\2\0\1\0\x10\x10", "unsupported"),
        CASE("ICNS", "icns\0\0\1\0", "unsupported"),
        CASE("Photoshop", "8BPS\0\1\0\0\0\0\0\0", "unsupported"),
        CASE("JPEG 2000", "\0\0\0\x0cjP  \r\n\x87\n", "unsupported"),
        CASE("JPEG 2000 stream", "\xff\x4f\xff\x51\0\x29\0\0", "unsupported"),
        CASE("JPEG XL", "\0\0\0\x0cJXL \r\n\x87\n", "unsupported"),
        CASE("JPEG XL stream", "\xff\x0a\xfa\x1f\x01", "unsupported"),
        CASE("PBM", "P1\n2 2\n1 0 0 1\n", "unsupported"),
        CASE("PGM", "P5 2 2 255\nabcd", "unsupported"),
        CASE("PPM bomb", "P6\n100000 100000\n255\n", "unsupported"),
        CASE("PAM", "P7\nWIDTH 2\n", "unsupported"),
        CASE("Radiance", "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "unsupported"),
        CASE("FITS", "SIMPLE  =                    T", "unsupported"),
        CASE("MATLAB", "MATLAB 5.0 MAT-file", "unsupported"),
        CASE("VIPS", "\x08\xf2\xa6\xb6\0\0\0\1", "unsupported"),
        CASE("OpenEXR", "\x76\x2f\x31\x01\2\0\0\0", "unsupported"),
        CASE("QOI", "qoif\0\0\0\1\0\0\0\1\3\0", "unsupported"),
        CASE("DDS", "DDS \x7c\0\0\0", "unsupported"),
        CASE("SGI", "\x01\xda\x01\x01\0\3", "unsupported"),
        CASE("GIMP", "gimp xcf file\0", "unsupported"),
        CASE("DjVu", "AT&TFORM\0\0\0\0DJVU", "unsupported"),
        CASE("MNG", "\x8aMNG\r\n\x1a\n\0\0\0\x1cMHDR", "unsupported"),
        CASE("JNG", "\x8bJNG\r\n\x1a\n\0\0\0\x10JHDR", "unsupported"),
        CASE("BigTIFF", "II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0", "unsupported"),
        CASE("MSL, a program of ImageMagick", "<?xml version=\"1.0\"?><image><read filename=\"/etc/passwd\"/></image>",
             "not_image"),
        CASE("MVG, another", "push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x'\n", "not_image"),
        CASE("two bytes of a JPEG", "\xFF\xD8", "truncated"),
        CASE("a JPEG of nothing", "\xFF\xD8\xFF\xD9", "corrupt"),
        CASE("the name of a PNG", "\x89PNG\r\n\x1a\n", "truncated"),
        CASE("a PNG through a text filter", "\x89PNG\n\x1a\n\0\0\0\rIHDR", "not_image"),
        CASE("the name of a WebP", "RIFF\4\0\0\0WEBP", "truncated"),
        CASE("the name of a GIF", "GIF89a", "truncated"),
        CASE("GIF of another year", "GIF90a\1\0\1\0\0\0\0;", "not_image"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].name, cases[i].bytes, cases[i].n, cases[i].causes);
    end();
}

// The bytes decide, not the name: each picture is taken for what it is, and luggage of any kind is not stored.
static void test_many_limits(void **state)
{
    (void)state;
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    o.max_pixels = 45 * 38 - 1;
    VcStr files[] = {
        corpus_png(&(CorpusPng){.w = 45, .h = 38, .type = 2, .depth = 8}),
        corpus_gif(&(CorpusGif){.w = 45, .h = 38}),
        corpus_tiff(&(CorpusTiff){.w = 45, .h = 38, .bits = 8, .samples = 3, .photometric = 2, .compression = 1}),
        {0}};
    assert_true(corpus_jpeg(&files[3], &(CorpusJpeg){.w = 45, .h = 38, .space = 'Y'}));
    for (size_t i = 0; i < 4; i++) {
        ExtractThumbnail t;
        VcErr err = {0};
        assert_int_equal(extract_thumbnail(&t, (const uint8_t *)files[i].data, files[i].len, &o, &err),
                         EXTRACT_TOO_LARGE);
        vc_str_finish(&files[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gif),         cmocka_unit_test(test_tiff_kinds), cmocka_unit_test(test_tiff_damage),
        cmocka_unit_test(test_webp),        cmocka_unit_test(test_avif),       cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_many_limits),
    };
    return cmocka_run_group_tests(tests, corpus_start, corpus_summary);
}
