// SPDX-License-Identifier: MIT
// Decoding to Pillow's bytes (golden/clip/images), what must be refused, and the conversions by hand-made values.
#include "extract/image.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "tests/support/test.h"

static void sha256_of(const ExtractImage *rgb, char hex[65])
{
    uint8_t digest[32];
    vc_sha256(rgb->pixels, (size_t)3 * (size_t)rgb->width * (size_t)rgb->height, digest);
    vc_hex(digest, sizeof digest, hex);
}

static void golden_images(void **state)
{
    (void)state;
    char *dir = test_shared("golden/clip/images");
    if (dir == NULL)
        skip();
    static const char *const modes[] = {"L", "LA", "RGB", "RGBA", "CMYK", "P", "1", "I;16"};
    char *list = vc_path_join(dir, "images.json");
    VcJson *json = NULL;
    assert_ok(vc_json_read_file(&json, list, 1 << 20, err));
    print_message("# file                  mode  orientation  rgb  upright\n");
    size_t wrong = 0;
    for (size_t i = 0; i < vc_json_length(json); i++) {
        const VcJson *row = vc_json_item(json, i);
        const char *file = vc_json_string(vc_json_member(row, "file"), NULL);
        char *path = vc_path_join(dir, file), hex[65], *bytes;
        size_t n;
        assert_ok(vc_read_file(&bytes, &n, path, 1 << 24, err));
        ExtractImage im, rgb;
        assert_ok(extract_image_decode(&im, (const uint8_t *)bytes, n, err));
        assert_string_equal(modes[im.mode], vc_json_string(vc_json_member(row, "mode"), NULL));
        assert_int_equal(im.width, vc_json_int(vc_json_member(row, "width"), 0));
        assert_int_equal(im.height, vc_json_int(vc_json_member(row, "height"), 0));
        assert_int_equal(im.orientation, vc_json_int(vc_json_member(row, "exif_orientation"), 0));
        extract_image_drop(&rgb, &im);
        sha256_of(&rgb, hex);
        const bool plain = strcmp(hex, vc_json_string(vc_json_member(row, "sha256_rgb"), NULL)) == 0;
        extract_image_finish(&rgb);
        extract_image_upright(&im);
        extract_image_drop(&rgb, &im);
        sha256_of(&rgb, hex);
        const bool upright = strcmp(hex, vc_json_string(vc_json_member(row, "sha256_rgb_upright"), NULL)) == 0;
        print_message("# %-21s %-5s %11d  %s  %s\n", file, modes[im.mode], im.orientation, plain ? "same" : "DIFFERS",
                      upright ? "same" : "DIFFERS");
        wrong += !plain + !upright;
        extract_image_finish(&rgb);
        extract_image_finish(&im);
        free(bytes);
        free(path);
    }
    assert_int_equal(vc_json_length(json), 18);
    assert_int_equal(wrong, 0);
    vc_json_destroy(&json);
    free(list);
    free(dir);
}

// A picture that any test may use: smooth, RGB or grey.
static void make_picture(ExtractImage *im, int width, int height, int channels)
{
    *im = (ExtractImage){.width = width,
                         .height = height,
                         .channels = channels,
                         .orientation = 1,
                         .mode = channels == 1 ? EXTRACT_GRAY : EXTRACT_RGB};
    im->pixels = vc_alloc((size_t)width * (size_t)height, (size_t)channels);
    for (int i = 0; i < width * height * channels; i++)
        im->pixels[i] = (uint8_t)(128 + 90 * sin(i * 0.01) + (i / channels) % width);
}

static void jpeg_goes_round(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        ExtractImage im, back;
        make_picture(&im, 61, 43, channels);
        uint8_t *bytes;
        size_t n;
        assert_ok(extract_image_encode_jpeg(&im, 95, &bytes, &n, err));
        assert_string_equal(extract_image_sniff(bytes, n), "jpeg");
        assert_ok(extract_image_decode(&back, bytes, n, err));
        assert_int_equal(back.mode, im.mode);
        assert_int_equal(back.width, 61);
        assert_int_equal(back.height, 43);
        extract_image_finish(&back);
        extract_image_finish(&im);
        free(bytes);
    }
}

static void damage_is_an_error(void **state)
{
    (void)state;
    ExtractImage im, out = {0};
    make_picture(&im, 200, 150, 3);
    uint8_t *bytes;
    size_t n;
    assert_ok(extract_image_encode_jpeg(&im, 90, &bytes, &n, err));
    for (size_t cut = 0; cut < n; cut += n / 23 + 1)
        assert_error(extract_image_decode(&out, bytes, cut, err), cut < 3 ? "not an image" : "cannot decode jpeg");
    // Any byte may be wrong: an error or a picture, never a crash (run under a sanitizer in CI).
    for (size_t at = 0; at < n; at += n / 150 + 1) {
        VcErr err = {0};
        bytes[at] ^= 0x5A;
        if (extract_image_decode(&out, bytes, n, &err))
            extract_image_finish(&out);
        else
            assert_true(err.text[0] != '\0');
        bytes[at] ^= 0x5A;
    }
    free(bytes);
    extract_image_finish(&im);
}

static void only_listed_formats_are_opened(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><rect width='8' height='8'/></svg>",
        "%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
        "P6\n2 2\n255\n123456789012",
        "<html><body>404</body></html>",
        "",
        "GIF8",
        "BM\0\0",
    };
    ExtractImage out = {0};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_error(extract_image_decode(&out, (const uint8_t *)refused[i], strlen(refused[i]), err), "not an image");
    assert_error(extract_image_decode(&out, (const uint8_t *)"GIF89a\1\0\1\0\0", 11, err), "cannot decode gif");
    assert_error(extract_image_decode(&out, (const uint8_t *)"\x89PNG\r\n\x1A\n", 8, err), "cannot decode png");
}

static void huge_sizes_are_refused_before_they_cost(void **state)
{
    (void)state;
    // A PNG header that promises 60000 x 60000 RGB pixels and no data.
    static const uint8_t png[] = {0x89, 'P',  'N',  'G', '\r', '\n', 0x1A, '\n', 0, 0, 0, 13, 'I',  'H',  'D',  'R', 0,
                                  0,    0xEA, 0x60, 0,   0,    0xEA, 0x60, 8,    2, 0, 0, 0,  0xE4, 0x11, 0x1E, 0x2A};
    ExtractImage out = {0};
    assert_error(extract_image_decode(&out, png, sizeof png, err), "png");
}

static void conversions_by_hand(void **state)
{
    (void)state;
    uint8_t cmyk[] = {0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 100, 50, 0, 51};
    ExtractImage im = {.width = 4, .height = 1, .channels = 4, .mode = EXTRACT_CMYK, .orientation = 1, .pixels = cmyk},
                 rgb;
    extract_image_drop(&rgb, &im);
    static const uint8_t want[] = {255, 255, 255, 0, 255, 255, 0, 0, 0, 124, 164, 204};
    assert_memory_equal(rgb.pixels, want, sizeof want);
    extract_image_finish(&rgb);
    uint8_t rgba[] = {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128, 255, 255, 255, 1};
    im = (ExtractImage){.width = 4, .height = 1, .channels = 4, .mode = EXTRACT_RGBA, .orientation = 1, .pixels = rgba};
    extract_image_flatten(&rgb, &im);
    static const uint8_t flat[] = {10, 20, 30, 255, 255, 255, 127, 177, 227, 255, 255, 255};
    assert_memory_equal(rgb.pixels, flat, sizeof flat);
    extract_image_finish(&rgb);
}

static void orientations_by_hand(void **state)
{
    (void)state;
    // Stored "ab/cd/ef" (2 wide, 3 high) and how each EXIF value shows it upright.
    static const char *const upright[] = {"",       "abcdef", "badcfe", "fedcba", "efcdab",
                                          "acebdf", "ecafdb", "fdbeca", "bdface"};
    for (int o = 1; o <= 8; o++) {
        ExtractImage im = {.width = 2, .height = 3, .channels = 1, .mode = EXTRACT_GRAY, .orientation = o};
        im.pixels = (uint8_t *)vc_strdup("abcdef");
        extract_image_upright(&im);
        assert_memory_equal(im.pixels, upright[o], 6);
        assert_int_equal(im.width, o >= 5 ? 3 : 2);
        assert_int_equal(im.orientation, 1);
        extract_image_finish(&im);
    }
}

int main(void)
{
    VcErr err = {0};
    if (!extract_image_init(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_images),        cmocka_unit_test(jpeg_goes_round),
        cmocka_unit_test(damage_is_an_error),   cmocka_unit_test(only_listed_formats_are_opened),
        cmocka_unit_test(conversions_by_hand),  cmocka_unit_test(huge_sizes_are_refused_before_they_cost),
        cmocka_unit_test(orientations_by_hand),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
