// SPDX-License-Identifier: MIT
// RandAugment against what OpenCV 4.9 and NumPy give for the same pictures (test_augment.py --table), the parameters
// of a level, the draws, and the recipe's switches.
#include "base/crc32.h"
#include "tests/support/test.h"
#include "train/augment.h"

enum { SIZES = 7 };
static const int sizes[SIZES][2] = {{1, 1}, {2, 9}, {3, 3}, {7, 5}, {33, 20}, {64, 64}, {300, 11}};

// CRC-32 of the picture that comes out, for noise of all sizes and then for a slope of all sizes.
static const struct {
    TrainAugmentOp op;
    double value;
    bool original;
    uint32_t crc[2 * SIZES];
} cases[] = {
    {TRAIN_IDENTITY,
     0,
     false,
     {0xBE40C395, 0x81205681, 0x070DC91E, 0x496BBAF0, 0x4F9DB52E, 0x356BB68F, 0x656AC9DA, 0x5192EB7E, 0x651E5B6B,
      0x00BEDF89, 0xE730647F, 0xDBC47E5E, 0x33F419B5, 0xAAFFE112}},
    {TRAIN_AUTO_CONTRAST,
     0,
     false,
     {0xBE40C395, 0x52260CAC, 0x992C0F40, 0x686E7050, 0x704F4B51, 0x356BB68F, 0x656AC9DA, 0x5192EB7E, 0xB29AAB89,
      0x79C3BA7B, 0xB91CEF86, 0x7D93388B, 0x1DE0BA11, 0xA8E027D7}},
    {TRAIN_AUTO_CONTRAST,
     0,
     true,
     {0xBE40C395, 0x7DBC1BF6, 0x892EA64C, 0x3369D22A, 0x704F4B51, 0x356BB68F, 0x656AC9DA, 0x5192EB7E, 0x83EF08AF,
      0x892EA64C, 0x3369D22A, 0xCC4C1D8F, 0xF1F68679, 0x6DE27D9E}},
    {TRAIN_EQUALIZE,
     0,
     false,
     {0xBE40C395, 0x81205681, 0x070DC91E, 0x496BBAF0, 0x2C01A6BF, 0x0A316557, 0xD735EFBE, 0x5192EB7E, 0x651E5B6B,
      0x00BEDF89, 0xE730647F, 0x27230BFF, 0x1B5BC3D4, 0x135AF4C3}},
    {TRAIN_BRIGHTNESS,
     1.36,
     false,
     {0xF1C0DCF7, 0x303A3E96, 0x31B890DF, 0xD69B859B, 0x73034157, 0x17C20BE4, 0xD1EED298, 0xD0AFD439, 0x217B3D9C,
      0xFDBAEA5A, 0x99A07E5F, 0x152B5926, 0x0D0785F4, 0x085B39B1}},
    {TRAIN_BRIGHTNESS,
     0.28,
     false,
     {0x23DE8F42, 0xE0DBAE6C, 0x5FD1A804, 0x21CC90E2, 0x8403D9DF, 0xAD4C9CEC, 0x0F263237, 0x6E56FE41, 0xD03E984D,
      0xCE17DD11, 0x90D60505, 0x41DFD31B, 0x82B8DE01, 0x830A8A56}},
    {TRAIN_SHARPNESS,
     1.36,
     false,
     {0xBE40C395, 0x81205681, 0x041877E6, 0xB3A1DD1E, 0xF3427C17, 0xAC4D2638, 0x4D7A4085, 0x5192EB7E, 0x651E5B6B,
      0x00BEDF89, 0xE730647F, 0xA68EFD5E, 0x333CAE15, 0x8586AB3A}},
    {TRAIN_SHARPNESS,
     1.36,
     true,
     {0xBE40C395, 0x81205681, 0x041877E6, 0xFF92F98E, 0xC4921C5F, 0x53DCD050, 0x1710265E, 0x5192EB7E, 0x651E5B6B,
      0x00BEDF89, 0xE730647F, 0xA68EFD5E, 0x333CAE15, 0x8586AB3A}},
    {TRAIN_SHARPNESS,
     0.46,
     false,
     {0xBE40C395, 0x81205681, 0x052646AC, 0x3424C111, 0xB053F314, 0x1BE72BF8, 0x84120582, 0x5192EB7E, 0x651E5B6B,
      0x00BEDF89, 0xE730647F, 0x7A8279FD, 0x5BAB3547, 0xA18EB9EA}},
    {TRAIN_SHEAR_X,
     0.21,
     false,
     {0xBE40C395, 0xBB3606E5, 0x8094BFB9, 0x765871DC, 0x24B19CB5, 0x2A0993AB, 0xDCE93332, 0x5192EB7E, 0x8C306085,
      0x5355F4B9, 0xF1CEAA39, 0xE523A6FD, 0x12736D77, 0x19D06BB3}},
    {TRAIN_SHEAR_X,
     -0.21,
     false,
     {0xBE40C395, 0xFC2FF75D, 0x4FB137EE, 0x48910C0F, 0xA373BCBD, 0xF968D140, 0x55F63E05, 0x5192EB7E, 0x763BA0C4,
      0x89A602FA, 0x217BB844, 0x613A5FAE, 0xC5712690, 0x18CFC82F}},
    {TRAIN_SHEAR_Y,
     0.21,
     false,
     {0xBE40C395, 0xBD6650EC, 0x331FA918, 0x73424340, 0x3762193C, 0x387140DE, 0xC1873612, 0x5192EB7E, 0xF9D1851C,
      0x867DB6D9, 0x785A151E, 0x3CA5DCA8, 0xB9517D9C, 0xCB0F74CE}},
    {TRAIN_SHEAR_Y,
     -0.3,
     false,
     {0xBE40C395, 0x8409A80F, 0x499D27BD, 0x6679F863, 0x8AC7B38A, 0x11E053CE, 0x31134715, 0x5192EB7E, 0x5CB99895,
      0xD7AD1F9C, 0xF5169D22, 0x8E8DC93E, 0x31389A4B, 0x127E4D76}},
    {TRAIN_TRANSLATE_X,
     7,
     false,
     {0xC84FD9F9, 0x674BB3CE, 0xADEEAC26, 0x5BCFF7B6, 0x588670CB, 0xD9C8884D, 0x782EC59F, 0xC84FD9F9, 0x674BB3CE,
      0xADEEAC26, 0x5BCFF7B6, 0xFDA5B896, 0xAAB53DD3, 0xFDB95CF1}},
    {TRAIN_TRANSLATE_X,
     -7,
     false,
     {0xC84FD9F9, 0x674BB3CE, 0xADEEAC26, 0x5BCFF7B6, 0xDF0C3AC0, 0x9F212DD1, 0x76B9D2E6, 0xC84FD9F9, 0x674BB3CE,
      0xADEEAC26, 0x5BCFF7B6, 0x24C1DD83, 0x120B9118, 0xEBD006B4}},
    {TRAIN_TRANSLATE_Y,
     7,
     false,
     {0xC84FD9F9, 0x716C5A09, 0xADEEAC26, 0x5BCFF7B6, 0x3F0AF38E, 0xDB0F7AFD, 0x4F64B1C4, 0xC84FD9F9, 0xFE6D3983,
      0xADEEAC26, 0x5BCFF7B6, 0xACEC026B, 0x0ABE90EA, 0x0E26DB41}},
    {TRAIN_TRANSLATE_Y,
     -7.5,
     false,
     {0xC84FD9F9, 0xF5D350FD, 0xADEEAC26, 0x5BCFF7B6, 0x9C5FBAD3, 0x35223372, 0xBE0DE4FE, 0xC84FD9F9, 0xB9E40B86,
      0xADEEAC26, 0x5BCFF7B6, 0x9B0D557B, 0x8526217E, 0xD7AAE461}},
    {TRAIN_ROTATE,
     21,
     false,
     {0x733F350B, 0xBCC035B3, 0x7739A3BF, 0xB13605EB, 0xF0C2A0A3, 0xFF8DFC9F, 0xF45EBDB3, 0x4A2B59AA, 0xCF38DBA3,
      0x19BA48CF, 0xCBA056A4, 0x7901325B, 0x8A4F114A, 0x5FAF9B75}},
    {TRAIN_ROTATE,
     -21,
     false,
     {0x733F350B, 0x862784DB, 0x5A64B352, 0x6CEDE9B1, 0xD01BE336, 0xAD210B22, 0x4038A2F4, 0x4A2B59AA, 0xD9C9B3F6,
      0xE41FBEAA, 0xC500F40A, 0xD06B1A6C, 0xA6BC03E0, 0x6915A722}},
    {TRAIN_ROTATE,
     3.7,
     false,
     {0x2081B28D, 0xE3E0BEAB, 0xDB1E91D2, 0xE93560A3, 0x6E41CAE8, 0xE48FFB00, 0x183ECF25, 0xAD517932, 0x501AD2EF,
      0x33AAE022, 0x93DEE580, 0x449FF281, 0x6E3BB65A, 0x07666BB9}},
};

static uint8_t *make_picture(int w, int h, int kind)
{
    uint8_t *pixels = vc_alloc((size_t)w * (size_t)h, 3), *p = pixels;
    uint32_t state = (uint32_t)(w * 1000 + h);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            for (int c = 0; c < 3; c++) {
                state = state * 1664525u + 1013904223u;
                *p++ = kind ? (uint8_t)(40 + (5 * x + 3 * y + 17 * c) % 150) : (uint8_t)(state >> 24);
            }
        }
    }
    return pixels;
}

static void test_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 2 * SIZES; k++) {
            int w = sizes[k % SIZES][0], h = sizes[k % SIZES][1];
            size_t bytes = 3 * (size_t)w * (size_t)h;
            uint8_t *pixels = make_picture(w, h, k / SIZES), *scratch = vc_alloc(bytes, 1);
            train_augment_apply((TrainAugment){cases[i].op, cases[i].value}, pixels, scratch, w, h, cases[i].original);
            if (vc_crc32(pixels, bytes) != cases[i].crc[k])
                fail_msg("%s %g on picture %d (%d x %d) is not the reference's", train_augment_name(cases[i].op),
                         cases[i].value, k, w, h);
            free(scratch);
            free(pixels);
        }
    }
}

// With and without vector instructions.
static void test_plain(void **state)
{
    setenv("VC_CPU", "none", 1);
    test_reference(state);
    unsetenv("VC_CPU");
}

// Numbers that can be followed by hand. The turned picture samples whole pixels but for the middle of the rotation,
// which is that of the area and not of the grid.
static void test_by_hand(void **state)
{
    (void)state;
    uint8_t scratch[27], row[9] = {50, 10, 0, 100, 10, 9, 200, 10, 3};
    static const uint8_t contrast[9] = {0, 10, 0, 85, 10, 255, 255, 10, 85},
                         moved[9] = {100, 10, 9, 200, 10, 3, 128, 128, 128};
    uint8_t p[27];
    memcpy(p, row, 9);
    train_augment_apply((TrainAugment){TRAIN_AUTO_CONTRAST, 0}, p, scratch, 3, 1, false);
    assert_memory_equal(p, contrast, 9);
    memcpy(p, row, 9);
    train_augment_apply((TrainAugment){TRAIN_TRANSLATE_X, 1}, p, scratch, 3, 1, false);
    assert_memory_equal(p, moved, 9);
    memset(p, 0, 27);
    memset(p + 12, 130, 3); // the middle of 3 x 3: blur 50, and 50 + 1.36 * 80
    train_augment_apply((TrainAugment){TRAIN_SHARPNESS, 1.36}, p, scratch, 3, 3, false);
    assert_int_equal(p[12], 158);
    memset(p + 12, 255, 3);
    uint8_t q[27];
    memcpy(q, p, 27);
    train_augment_apply((TrainAugment){TRAIN_SHARPNESS, 1.36}, p, scratch, 3, 3, false);
    train_augment_apply((TrainAugment){TRAIN_SHARPNESS, 1.36}, q, scratch, 3, 3, true);
    assert_int_equal(p[12], 255); // 98 + 1.36 * 157 = 311
    assert_int_equal(q[12], 311 - 256);
}

static void test_levels(void **state)
{
    (void)state;
    static const struct {
        TrainAugmentOp op;
        double seven, ten;
    } at[] = {{TRAIN_BRIGHTNESS, 1.36, 1.9}, {TRAIN_SHARPNESS, 1.36, 1.9}, {TRAIN_SHEAR_X, 0.21, 0.3},
              {TRAIN_SHEAR_Y, 0.21, 0.3},    {TRAIN_TRANSLATE_X, 7, 10},   {TRAIN_TRANSLATE_Y, 7, 10},
              {TRAIN_ROTATE, 21, 30}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        bool turns = at[i].op >= TRAIN_SHEAR_X;
        assert_close(train_augment_at(at[i].op, 7, false).value, at[i].seven, 1e-12);
        assert_close(train_augment_at(at[i].op, 10, false).value, at[i].ten, 1e-12);
        assert_close(train_augment_at(at[i].op, 7, true).value, turns ? -at[i].seven : at[i].seven, 1e-12);
    }
    assert_string_equal(train_augment_name(TRAIN_TRANSLATE_Y), "TranslateY");
}

// Each operation and each sign equally often, half of them kept, and twice the same is possible.
static void test_draws(void **state)
{
    (void)state;
    enum { TRIES = 40000 };
    VcRng rng;
    vc_rng_seed(&rng, 9);
    double kept = 0, count[TRAIN_AUGMENTS] = {0}, negative = 0, turning = 0, twice = 0;
    for (int i = 0; i < TRIES; i++) {
        TrainAugment a[2];
        size_t n = train_augment_draw(&rng, 2, 7, a);
        assert_true(n <= 2);
        kept += (double)n;
        twice += n == 2 && a[0].op == a[1].op;
        for (size_t k = 0; k < n; k++) {
            count[a[k].op]++;
            turning += a[k].op >= TRAIN_SHEAR_X;
            negative += a[k].op >= TRAIN_SHEAR_X && a[k].value < 0;
        }
    }
    assert_close(kept / TRIES, 1, 0.02);
    for (int op = 0; op < TRAIN_AUGMENTS; op++)
        assert_close(count[op] / kept, 0.1, 0.006);
    assert_close(negative / turning, 0.5, 0.015);
    assert_close(twice / TRIES, 0.025, 0.003);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_plain), cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_levels),    cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
