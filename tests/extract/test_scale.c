// SPDX-License-Identifier: MIT
// The scaler: vector loops give the bytes of the plain ones, flat stays flat, and the result is that of Lanczos in
// double precision on the whole picture.
#include "base/rng.h"
#include "extract/scale.h"
#include "tests/support/test.h"

#include <math.h>

static uint8_t *noise(size_t n, uint64_t seed)
{
    VcRng rng;
    vc_rng_seed(&rng, seed);
    uint8_t *p = vc_alloc(n, 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)vc_rng_below(&rng, 256);
    return p;
}

static uint8_t *scale(const uint8_t *in, int w, int h, double ex, double ey, int ow, int oh)
{
    uint8_t *out = vc_calloc(3 * (size_t)ow * (size_t)oh + EXTRACT_SCALER_SLACK, 1);
    ExtractScaler *s = extract_scaler_create(w, h, ex, ey, ow, oh, out);
    for (int y = 0; y < h; y++) {
        memcpy(extract_scaler_row(s), in + 3 * (size_t)w * (size_t)y, 3 * (size_t)w);
        extract_scaler_push(s);
    }
    extract_scaler_destroy(&s);
    return out;
}

static void test_kernels(void **state)
{
    (void)state;
    const ExtractScaleKernels *k = extract_scale_vector();
    if (!k) {
        print_message("no vector kernels on this processor\n");
        return;
    }
    enum { N = 300, TAPS = 36, OUT = 90 };
    uint8_t *rows = noise(TAPS * (N + 64), 1), a[N + 64], b[N + 64];
    const uint8_t *pointers[TAPS];
    VcRng rng;
    vc_rng_seed(&rng, 2);
    int16_t weights[OUT * TAPS];
    int first[OUT];
    for (int i = 0; i < TAPS; i++)
        pointers[i] = rows + i * (N + 64);
    for (int round = 0; round < 200; round++) {
        const int taps = 4 + 4 * (int)vc_rng_below(&rng, TAPS / 4), bits = 8 + (int)vc_rng_below(&rng, 13);
        const size_t n = 1 + vc_rng_below(&rng, N);
        for (int i = 0; i < OUT * TAPS; i++)
            weights[i] = (int16_t)((int)vc_rng_below(&rng, 65536) - 32768);
        for (int i = 0; i < OUT; i++)
            first[i] = (int)vc_rng_below(&rng, 100 - TAPS);
        k->down(a, pointers, weights, taps, bits, n);
        extract_scale_plain.down(b, pointers, weights, taps, bits, n);
        assert_memory_equal(a, b, n);
        const int count = 1 + (int)vc_rng_below(&rng, OUT);
        k->across(a, rows, first, weights, taps, bits, count);
        extract_scale_plain.across(b, rows, first, weights, taps, bits, count);
        assert_memory_equal(a, b, 3 * (size_t)count);
    }
    free(rows);
}

static double lanczos(double x)
{
    const double pi = acos(-1);
    x = fabs(x);
    return x < 1e-12 ? 1 : x >= 3 ? 0 : 3 * sin(pi * x) * sin(pi * x / 3) / (pi * pi * x * x);
}

// One output value by the definition, without rounding between the passes.
static double exact(const uint8_t *in, int w, int h, double ex, double ey, int ow, int oh, int x, int y, int c)
{
    const double sx = ex / ow, sy = ey / oh, fx = sx < 1 ? 1 : sx, fy = sy < 1 ? 1 : sy;
    double sum = 0, total = 0;
    for (int v = 0; v < h; v++) {
        const double wy = oh == h && ey == h ? v == y : lanczos((v + 0.5 - (y + 0.5) * sy) / fy);
        for (int u = 0; wy != 0 && u < w; u++) {
            const double wx = ow == w && ex == w ? u == x : lanczos((u + 0.5 - (x + 0.5) * sx) / fx);
            sum += wy * wx * in[3 * (v * w + u) + c];
            total += wy * wx;
        }
    }
    sum /= total;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

static void test_against_definition(void **state)
{
    (void)state;
    static const struct {
        int w, h;
        double ex, ey;
        int ow, oh;
    } cases[] = {{64, 48, 64, 48, 31, 23}, {50, 40, 49.5, 39.25, 20, 16}, {40, 30, 40, 30, 40, 7},
                 {40, 30, 40, 30, 9, 30},  {300, 20, 300, 20, 10, 3},     {5, 70, 5, 70, 2, 11},
                 {3, 2, 3, 2, 1, 1},       {7, 9, 6.5, 9, 7, 9},          {33, 21, 33, 21, 33, 21}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int w = cases[i].w, h = cases[i].h, ow = cases[i].ow, oh = cases[i].oh;
        uint8_t *in = noise(3 * (size_t)w * (size_t)h, 10 + i);
        // Noise over mid-grey: what clamps between the passes is not in the definition.
        for (int k = 0; k < 3 * w * h; k++)
            in[k] = (uint8_t)(96 + in[k] / 4);
        uint8_t *out = scale(in, w, h, cases[i].ex, cases[i].ey, ow, oh);
        for (int y = 0; y < oh; y++) {
            for (int x = 0; x < ow; x++) {
                for (int c = 0; c < 3; c++) {
                    const double want = exact(in, w, h, cases[i].ex, cases[i].ey, ow, oh, x, y, c);
                    if (fabs(out[3 * (y * ow + x) + c] - want) > 1.3)
                        fail_msg("case %zu at %d,%d: %d, expected %.2f", i, x, y, out[3 * (y * ow + x) + c], want);
                }
            }
        }
        free(out);
        free(in);
    }
}

static void test_flat(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 3);
    for (int round = 0; round < 60; round++) {
        const int w = 1 + (int)vc_rng_below(&rng, 400), h = 1 + (int)vc_rng_below(&rng, 400);
        const int ow = 1 + (int)vc_rng_below(&rng, (uint64_t)w), oh = 1 + (int)vc_rng_below(&rng, (uint64_t)h);
        const int v = (int)vc_rng_below(&rng, 256);
        uint8_t *in = vc_alloc(3 * (size_t)w * (size_t)h, 1);
        memset(in, v, 3 * (size_t)w * (size_t)h);
        uint8_t *out = scale(in, w, h, w, h, ow, oh);
        for (int i = 0; i < 3 * ow * oh; i++)
            if (out[i] != v)
                fail_msg("%dx%d to %dx%d: %d became %d", w, h, ow, oh, v, out[i]);
        free(out);
        free(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels), cmocka_unit_test(test_against_definition),
                                       cmocka_unit_test(test_flat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
