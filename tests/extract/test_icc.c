// SPDX-License-Identifier: MIT
// Matrix profiles: what is sRGB is known as such, and the rest is converted as by libvips' engine.
#include "base/rng.h"
#include "base/str.h"
#include "extract/extract.h"
#include "extract/icc.h"
#include "extract/vips_rows.h"
#include "tests/support/test.h"

#include <math.h>

static const double srgb_xyz[3][3] = {{.4361, .2225, .0139}, {.3851, .7169, .0971}, {.1431, .0606, .7141}};
static const double adobe_xyz[3][3] = {{.6097, .3111, .0195}, {.2053, .6257, .0609}, {.1492, .0632, .7446}};

static void put_be(VcStr *s, uint32_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        vc_str_putc(s, (char)(v >> (8 * i)));
}

static void put_zeros(VcStr *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        vc_str_putc(s, 0);
}

static void put_curve(VcStr *s, double gamma, int entries) // gamma 0: sRGB's as a table
{
    vc_str_putn(s, "curv\0\0\0\0", 8);
    put_be(s, gamma > 0 ? 1 : (uint32_t)entries, 4);
    if (gamma > 0)
        put_be(s, (uint32_t)lround(gamma * 256), 2);
    for (int i = 0; gamma <= 0 && i < entries; i++) {
        const double v = i / (entries - 1.0), l = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
        put_be(s, (uint32_t)lround(l * 65535), 2);
    }
    while (s->len % 4)
        vc_str_putc(s, 0);
}

// Version 2, display, RGB: three colorants, one curve for all, the names and the white that libraries insist on.
static VcStr make_profile(const double xyz[3][3], double gamma, int entries)
{
    static const char names[][5] = {"desc", "cprt", "wtpt", "rXYZ", "gXYZ", "bXYZ", "rTRC", "gTRC", "bTRC"};
    static const double white[3] = {.9642, 1, .8249};
    VcStr body = {0}, s = {0};
    uint32_t at[9], size[9];
    for (int i = 0; i < 9; i++) {
        at[i] = (uint32_t)body.len;
        if (i == 0) {
            vc_str_putn(&body, "desc\0\0\0\0\0\0\0\5test", 17);
            put_zeros(&body, 79);
        } else if (i == 1) {
            vc_str_putn(&body, "text\0\0\0\0none\0\0\0\0", 16);
        } else if (i <= 5) {
            vc_str_putn(&body, "XYZ \0\0\0\0", 8);
            for (int k = 0; k < 3; k++)
                put_be(&body, (uint32_t)(int32_t)lround((i == 2 ? white[k] : xyz[i - 3][k]) * 65536), 4);
        } else if (i == 6) {
            put_curve(&body, gamma, entries);
        } else {
            at[i] = at[6];
        }
        size[i] = i > 6 ? size[6] : (uint32_t)body.len - at[i];
    }
    put_be(&s, 128 + 4 + 9 * 12 + (uint32_t)body.len, 4);
    vc_str_putn(&s, "\0\0\0\0\2\x40\0\0mntrRGB XYZ ", 20);
    put_zeros(&s, 12);
    vc_str_putn(&s, "acsp", 4);
    put_zeros(&s, 28);
    put_be(&s, 63190, 4);
    put_be(&s, 65536, 4);
    put_be(&s, 54061, 4);
    put_zeros(&s, 128 - s.len);
    put_be(&s, 9, 4);
    for (int i = 0; i < 9; i++) {
        vc_str_putn(&s, names[i], 4);
        put_be(&s, 128 + 4 + 9 * 12 + at[i], 4);
        put_be(&s, size[i], 4);
    }
    vc_str_putn(&s, body.data, body.len);
    vc_str_finish(&body);
    return s;
}

static void test_srgb(void **state)
{
    (void)state;
    static const struct {
        const double (*xyz)[3];
        double gamma;
        int entries;
        bool wanted;
    } cases[] = {{srgb_xyz, 0, 1024, true},
                 {srgb_xyz, 0, 4096, true},
                 {srgb_xyz, 2.2, 0, false},
                 {srgb_xyz, 1.8, 0, false},
                 {adobe_xyz, 0, 1024, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        VcStr s = make_profile(cases[i].xyz, cases[i].gamma, cases[i].entries);
        if (extract_icc_is_srgb((const uint8_t *)s.data, s.len) != cases[i].wanted)
            fail_msg("case %zu", i);
        for (size_t n = 0; n < s.len; n += 7) { // in memory of its own size: the sanitizer sees a read too far
            uint8_t *copy = vc_alloc(n + 1, 1), pixel[3] = {1, 2, 3};
            memcpy(copy, s.data, n);
            extract_icc_is_srgb(copy, n);
            extract_icc_to_srgb(pixel, 1, copy, n);
            free(copy);
        }
        vc_str_finish(&s);
    }
}

static void test_against_engine(void **state)
{
    (void)state;
    enum { N = 4096 };
    static const struct {
        const double (*xyz)[3];
        double gamma;
    } cases[] = {{adobe_xyz, 2.2}, {srgb_xyz, 1.8}, {adobe_xyz, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        VcStr s = make_profile(cases[i].xyz, cases[i].gamma, 1024);
        uint8_t *ours = vc_alloc(N, 3), *engine = vc_alloc(N, 3);
        VcRng rng;
        vc_rng_seed(&rng, i);
        for (int k = 0; k < 3 * N; k++)
            ours[k] = engine[k] = (uint8_t)vc_rng_below(&rng, 256);
        assert_true(extract_icc_to_srgb(ours, N, (const uint8_t *)s.data, s.len));
        int worst = 0;
        assert_true(extract_vips_engine(engine, N, 1, false, (const uint8_t *)s.data, s.len));
        for (int k = 0; k < 3 * N; k++)
            worst = abs(ours[k] - engine[k]) > worst ? abs(ours[k] - engine[k]) : worst;
        if (worst > 2)
            fail_msg("case %zu: %d levels from the engine", i, worst);
        free(ours);
        free(engine);
        vc_str_finish(&s);
    }
}

static int start(void **state)
{
    (void)state;
    return extract_image_init(NULL) ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_srgb), cmocka_unit_test(test_against_engine)};
    return cmocka_run_group_tests(tests, start, NULL);
}
