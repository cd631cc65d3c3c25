// SPDX-License-Identifier: MIT
// The resampler against a slow, plain one written from the specification: whole pictures first, windows by cutting.
// meson runs it once for every instruction set (VC_CPU).
#include "extract/resample.h"

#include "base/rng.h"
#include "tests/support/test.h"

static double cubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0.0;
}

// One output sample of a line of `n` bytes `step` apart.
static uint8_t plain_sample(const uint8_t *line, size_t step, int n, double from, double to, int out, int i)
{
    const double scale = (double)((float)to - (float)from) / out, stretch = scale > 1 ? scale : 1;
    const double support = 2 * stretch, centre = (float)from + (i + 0.5) * scale;
    const int lo = (int)fmax((int)(centre - support + 0.5), 0), hi = (int)fmin((int)(centre + support + 0.5), n);
    double w[4096], total = 0;
    for (int k = lo; k < hi; k++)
        total += w[k - lo] = cubic((k - centre + 0.5) * (1.0 / stretch));
    int64_t sum = 1 << 21;
    for (int k = lo; k < hi; k++) {
        const double v = w[k - lo] / total * (1 << 22);
        sum += (int64_t)(v + (v < 0 ? -0.5 : 0.5)) * line[(size_t)k * step];
    }
    sum >>= 22;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void plain_resample(uint8_t *out, const uint8_t *src, int w, int h, int c, ExtractBox b, int ow, int oh)
{
    const bool across = ow != w || b.left != 0 || b.right != ow, down = oh != h || b.top != 0 || b.bottom != oh;
    uint8_t *middle = vc_alloc((size_t)(h * ow), (size_t)c);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < ow; x++)
            for (int k = 0; k < c; k++)
                middle[(y * ow + x) * c + k] =
                    across ? plain_sample(src + y * w * c + k, (size_t)c, w, b.left, b.right, ow, x)
                           : src[(y * w + x) * c + k];
    for (int y = 0; y < oh; y++)
        for (int x = 0; x < ow; x++)
            for (int k = 0; k < c; k++)
                out[(y * ow + x) * c + k] =
                    down ? plain_sample(middle + x * c + k, (size_t)(ow * c), h, b.top, b.bottom, oh, y)
                         : middle[(y * ow + x) * c + k];
    free(middle);
}

static ExtractWindow random_window(VcRng *rng, int w, int h)
{
    const int width = 1 + (int)vc_rng_below(rng, (uint64_t)w), height = 1 + (int)vc_rng_below(rng, (uint64_t)h);
    return (ExtractWindow){(int)vc_rng_below(rng, (uint64_t)(w - width + 1)),
                           (int)vc_rng_below(rng, (uint64_t)(h - height + 1)), width, height};
}

static void equals_the_plain_one(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 7);
    for (int round = 0; round < 300; round++) {
        const int w = 1 + (int)vc_rng_below(&rng, round % 3 ? 60 : 6), h = 1 + (int)vc_rng_below(&rng, 60);
        const int c = 1 + (int)vc_rng_below(&rng, 4), ow = 1 + (int)vc_rng_below(&rng, 70),
                  oh = round % 7 ? 1 + (int)vc_rng_below(&rng, 70) : h;
        ExtractBox box = {0, 0, w, h};
        if (round % 2) {
            box.left = vc_rng_uniform(&rng) * w * 0.6;
            box.right = box.left + (w - box.left) * (0.05 + 0.9 * vc_rng_uniform(&rng));
            box.top = (double)vc_rng_below(&rng, (uint64_t)h);
            box.bottom = box.top + (double)(1 + vc_rng_below(&rng, (uint64_t)h - (uint64_t)box.top));
        }
        uint8_t *src = vc_alloc((size_t)(w * h), (size_t)c), *want = vc_alloc((size_t)(ow * oh), (size_t)c);
        for (int i = 0; i < w * h * c; i++) // extremes too, so that over- and undershoot are clamped
            src[i] = (uint8_t)(vc_rng_below(&rng, 3) == 0 ? 255 * vc_rng_below(&rng, 2) : vc_rng_below(&rng, 256));
        plain_resample(want, src, w, h, c, box, ow, oh);
        for (int part = 0; part < 3; part++) {
            const ExtractWindow v = part == 0 ? (ExtractWindow){0, 0, ow, oh} : random_window(&rng, ow, oh);
            uint8_t *got = vc_alloc((size_t)(v.width * v.height), (size_t)c);
            extract_resample(got, src, w, h, c, box, ow, oh, v);
            for (int y = 0; y < v.height; y++)
                assert_memory_equal(got + y * v.width * c, want + ((v.y + y) * ow + v.x) * c, (size_t)(v.width * c));
            free(got);
        }
        free(src);
        free(want);
    }
}

static void opaque_alpha_changes_nothing(void **state)
{
    (void)state;
    enum { W = 37, H = 23, OW = 20, OH = 31 };
    uint8_t rgba[W * H * 4], rgb[W * H * 3], a[OW * OH * 4], b[OW * OH * 3];
    for (int i = 0; i < W * H; i++)
        for (int k = 0; k < 4; k++) {
            rgba[4 * i + k] = (uint8_t)(k == 3 ? 255 : i * (7 + k));
            if (k < 3)
                rgb[3 * i + k] = rgba[4 * i + k];
        }
    const ExtractBox box = {0, 0, W, H};
    const ExtractWindow all = {0, 0, OW, OH};
    extract_resample_alpha(a, rgba, W, H, 4, box, OW, OH, all);
    extract_resample(b, rgb, W, H, 3, box, OW, OH, all);
    for (int i = 0; i < OW * OH; i++) {
        assert_memory_equal(a + 4 * i, b + 3 * i, 3);
        assert_int_equal(a[4 * i + 3], 255);
    }
    // What is invisible does not bleed: a transparent red half leaves the blue one blue.
    for (int i = 0; i < W * H; i++)
        memcpy(rgba + 4 * i, i % W < W / 2 ? (uint8_t[]){255, 0, 0, 0} : (uint8_t[]){0, 0, 255, 255}, 4);
    extract_resample_alpha(a, rgba, W, H, 4, box, OW, OH, all);
    for (int i = 0; i < OW * OH; i++)
        assert_true(a[4 * i + 3] == 0 || a[4 * i] == 0);
}

static void nearest_picks_centres(void **state)
{
    (void)state;
    const uint8_t src[] = {1, 2, 3, 4, 5, 6};
    uint8_t out[12];
    extract_nearest(out, src, 6, 1, 1, (ExtractBox){0, 0, 6, 1}, 3, 1, (ExtractWindow){0, 0, 3, 1});
    assert_memory_equal(out, ((uint8_t[]){2, 4, 6}), 3);
    extract_nearest(out, src, 6, 1, 1, (ExtractBox){0, 0, 6, 1}, 12, 1, (ExtractWindow){3, 0, 5, 1});
    assert_memory_equal(out, ((uint8_t[]){2, 3, 3, 4, 4}), 5);
    extract_nearest(out, src, 3, 1, 2, (ExtractBox){1, 0, 3, 1}, 2, 1, (ExtractWindow){0, 0, 2, 1});
    assert_memory_equal(out, ((uint8_t[]){3, 4, 5, 6}), 4);
}

static void sixteen_bits_keep_a_constant(void **state)
{
    (void)state;
    uint16_t src[30 * 20], out[17 * 9];
    for (size_t i = 0; i < 600; i++)
        src[i] = 51966;
    extract_resample_16(out, src, 30, 20, (ExtractBox){0, 0, 30, 20}, 17, 9, (ExtractWindow){0, 0, 17, 9});
    for (size_t i = 0; i < 17 * 9; i++)
        assert_int_equal(out[i], 51966);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_plain_one),
        cmocka_unit_test(opaque_alpha_changes_nothing),
        cmocka_unit_test(nearest_picks_centres),
        cmocka_unit_test(sixteen_bits_keep_a_constant),
    };
    return cmocka_run_group_tests_name("resample", tests, NULL, NULL);
}
