// SPDX-License-Identifier: MIT
// The search kernels: every entry at every level of this processor against the C reference, to the same bits, between
// closed pages; the reference against sums in double; the promises of quantize.
#include "nn/kernels/scan.h"

#include "base/cpu.h"
#include "base/rng.h"
#include "nn/nn.h"
#include "tests/support/guard.h"
#include "tests/support/test.h"

static const size_t widths[] = {0, 64, 128, 192, 512, 576};
static const size_t counts[] = {0, 1, 2, 5, 11, 12, 13, 31, 32, 33, 64, 97};
#define COUNT(of) (sizeof(of) / sizeof(of)[0])

typedef struct {
    const NnScanKernels *k, *ref;
    VcRng rng;
    bool at_end;
} Check;

static Guard bytes(Check *c, size_t n)
{
    Guard g = guard_alloc(n, c->at_end);
    for (size_t i = 0; i < n; i++)
        g.data[i] = (uint8_t)vc_rng_below(&c->rng, 256);
    return g;
}

static Guard signed_bytes(Check *c, size_t n) // -127..127, often at the ends
{
    Guard g = guard_alloc(n, c->at_end);
    for (size_t i = 0; i < n; i++) {
        const int v = (int)vc_rng_below(&c->rng, 255) - 127;
        g.data[i] = (uint8_t)(int8_t)(vc_rng_below(&c->rng, 8) == 0 ? 127 : v);
    }
    return g;
}

static Guard reals(Check *c, size_t n, float size)
{
    Guard g = guard_alloc(n * sizeof(float), c->at_end);
    for (size_t i = 0; i < n; i++)
        ((float *)(void *)g.data)[i] = ((float)vc_rng_uniform(&c->rng) * 2 - 1) * size;
    return g;
}

// Two outputs are the same bits, nothing beside them was touched; both are freed.
static bool same(Guard *a, Guard *b)
{
    const bool equal = (a->n == 0 || memcmp(a->data, b->data, a->n) == 0) && guard_intact(a) && guard_intact(b);
    guard_free(a);
    guard_free(b);
    return equal;
}

static bool check_dots_i8(Check *c)
{
    bool ok = true;
    for (size_t w = 0; w < COUNT(widths); w++) {
        for (size_t n = 0; n < COUNT(counts); n++) {
            const size_t width = widths[w], count = counts[n], stride = width + (n % 2 ? 64 : 0);
            Guard rows = signed_bytes(c, count ? (count - 1) * stride + width : 0), query = signed_bytes(c, width);
            Guard got = guard_alloc(4 * count, c->at_end), want = guard_alloc(4 * count, c->at_end);
            c->k->dots_i8((int32_t *)(void *)got.data, (int8_t *)rows.data, stride, count, (int8_t *)query.data, width);
            c->ref->dots_i8((int32_t *)(void *)want.data, (int8_t *)rows.data, stride, count, (int8_t *)query.data,
                            width);
            ok = same(&got, &want) && ok;
            guard_free(&rows);
            guard_free(&query);
        }
    }
    return ok;
}

static bool check_dots_i4(Check *c)
{
    bool ok = true;
    for (size_t w = 0; w < COUNT(widths); w++) {
        for (size_t n = 0; n < COUNT(counts); n++) {
            const size_t width = widths[w] / NN_SCAN_NIBBLES * NN_SCAN_NIBBLES, count = counts[n];
            Guard rows = bytes(c, count * width / 2), query = signed_bytes(c, width);
            Guard got = guard_alloc(4 * count, c->at_end), want = guard_alloc(4 * count, c->at_end);
            c->k->dots_i4((int32_t *)(void *)got.data, rows.data, count, (int8_t *)query.data, width);
            c->ref->dots_i4((int32_t *)(void *)want.data, rows.data, count, (int8_t *)query.data, width);
            ok = same(&got, &want) && ok;
            guard_free(&rows);
            guard_free(&query);
        }
    }
    return ok;
}

static bool check_turn(Check *c)
{
    bool ok = true;
    for (size_t w = 0; w < COUNT(widths); w++) {
        for (size_t n = 0; n < COUNT(counts); n++) {
            const size_t width = widths[w], count = counts[n], stride = width + 64;
            Guard rows = signed_bytes(c, count ? (count - 1) * stride + width : 0);
            Guard got = guard_alloc(width * count, c->at_end), want = guard_alloc(width * count, c->at_end);
            c->k->turn_i8(got.data, (int8_t *)rows.data, stride, count, width);
            c->ref->turn_i8(want.data, (int8_t *)rows.data, stride, count, width);
            ok = same(&got, &want) && ok;
            guard_free(&rows);
        }
    }
    return ok;
}

static bool check_tile(Check *c)
{
    bool ok = true;
    for (size_t w = 0; w < COUNT(widths); w++) {
        for (size_t n = 0; n < COUNT(counts); n++) {
            const size_t width = widths[w], count = counts[n], stride = width + (n % 2 ? 64 : 0);
            Guard rows = bytes(c, count ? (count - 1) * stride + width : 0);
            Guard panel = signed_bytes(c, width * NN_SCAN_LANES);
            const size_t out = 4 * count * NN_SCAN_LANES;
            Guard got = guard_alloc(out, c->at_end), want = guard_alloc(out, c->at_end);
            c->k->tile_i8((int32_t *)(void *)got.data, rows.data, stride, count, (int8_t *)panel.data, width / 4);
            c->ref->tile_i8((int32_t *)(void *)want.data, rows.data, stride, count, (int8_t *)panel.data, width / 4);
            ok = same(&got, &want) && ok;
            guard_free(&rows);
            guard_free(&panel);
        }
    }
    return ok;
}

static bool check_above(Check *c)
{
    bool ok = true;
    for (size_t n = 0; n < COUNT(counts); n++) {
        const size_t count = counts[n];
        Guard sums = reals(c, count * NN_SCAN_LANES, 1), scale = reals(c, count, 1e-3F), spread = reals(c, count, 1);
        Guard gain = reals(c, NN_SCAN_LANES, 0.1F), least = reals(c, NN_SCAN_LANES, 0.5F);
        Guard shift = reals(c, NN_SCAN_LANES, 1);
        int32_t *sum = (int32_t *)(void *)sums.data, *offset = (int32_t *)(void *)shift.data;
        for (size_t i = 0; i < count * NN_SCAN_LANES; i++)
            sum[i] = (int32_t)vc_rng_below(&c->rng, 2000) - 1000;
        for (size_t i = 0; i < NN_SCAN_LANES; i++)
            offset[i] = (int32_t)vc_rng_below(&c->rng, 200) - 100;
        float *thresholds = (float *)(void *)least.data, *scales = (float *)(void *)scale.data;
        thresholds[3] = -INFINITY;
        thresholds[4] = NAN;
        if (count > 4) { // a score that is the threshold itself, a row without a scale
            scales[1] = NAN;
            thresholds[7] = (float)(sum[2 * NN_SCAN_LANES + 7] - offset[7]) * scales[2] +
                            ((float *)(void *)spread.data)[2] * ((float *)(void *)gain.data)[7];
        }
        Guard got = guard_alloc(4 * count, c->at_end), want = guard_alloc(4 * count, c->at_end);
        c->k->above((uint32_t *)(void *)got.data, sum, scales, (float *)(void *)spread.data, count, offset,
                    (float *)(void *)gain.data, thresholds);
        c->ref->above((uint32_t *)(void *)want.data, sum, scales, (float *)(void *)spread.data, count, offset,
                      (float *)(void *)gain.data, thresholds);
        if (count > 4)
            ok = ok && (((uint32_t *)(void *)want.data)[2] >> 7 & 1) && ((uint32_t *)(void *)want.data)[1] == 0;
        ok = same(&got, &want) && ok;
        got = guard_alloc((count + 31) / 32 * 4, c->at_end);
        want = guard_alloc((count + 31) / 32 * 4, c->at_end);
        c->k->above_one((uint32_t *)(void *)got.data, sum, scales, (float *)(void *)spread.data, count, 0.1F, 0.05F);
        c->ref->above_one((uint32_t *)(void *)want.data, sum, scales, (float *)(void *)spread.data, count, 0.1F, 0.05F);
        ok = same(&got, &want) && ok;
        Guard *all[] = {&sums, &scale, &spread, &gain, &least, &shift};
        for (size_t i = 0; i < COUNT(all); i++)
            guard_free(all[i]);
    }
    return ok;
}

static bool check_dots_f16(Check *c)
{
    static const size_t lengths[] = {0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100, 512, 513};
    bool ok = true;
    for (size_t w = 0; w < COUNT(lengths); w++) {
        for (size_t m = 0; m < COUNT(counts); m++) {
            const size_t n = lengths[w], count = counts[m], stride = 2 * n + (m % 2 ? 6 : 0);
            Guard query = reals(c, n, 1), rows = bytes(c, count ? (count - 1) * stride + 2 * n : 0);
            for (size_t i = 0; i + 1 < rows.n; i += 2) { // sizes up to 1 and denormals; no NaN
                rows.data[i + 1] &= 0xbb;
            }
            Guard got = guard_alloc(8 * count, c->at_end), want = guard_alloc(8 * count, c->at_end);
            float *g = (float *)(void *)got.data, *r = (float *)(void *)want.data;
            c->k->dots_f16(g, g + count, rows.data, stride, count, (float *)(void *)query.data, n);
            c->ref->dots_f16(r, r + count, rows.data, stride, count, (float *)(void *)query.data, n);
            ok = same(&got, &want) && ok;
            guard_free(&query);
            guard_free(&rows);
        }
    }
    return ok;
}

static const struct {
    const char *name;
    bool (*check)(Check *);
} entries[] = {{"dots_i8", check_dots_i8}, {"dots_i4", check_dots_i4}, {"turn_i8", check_turn},
               {"tile_i8", check_tile},    {"above", check_above},     {"dots_f16", check_dots_f16}};

static bool agrees(size_t entry, const NnScanKernels *k)
{
    bool ok = true;
    for (int at_end = 0; at_end < 2; at_end++) {
        Check c = {.k = k, .ref = nn_scan_kernels_reference(), .at_end = at_end};
        vc_rng_seed(&c.rng, 7 + (uint64_t)at_end);
        ok = entries[entry].check(&c) && ok;
    }
    return ok;
}

static void test_levels(void **state)
{
    (void)state;
    const uint32_t flags = vc_cpu_flags(), levels[] = {0, VC_CPU_AVX2, VC_CPU_AVX2 | VC_CPU_AVX512,
                                                       VC_CPU_AVX2 | VC_CPU_AVX512 | VC_CPU_AVX512_VNNI};
    for (size_t l = 0; l < COUNT(levels); l++) {
        if ((flags & levels[l]) != levels[l])
            continue;
        NnScanKernels k;
        nn_scan_kernels_init(&k, levels[l]);
        for (size_t e = 0; e < COUNT(entries); e++) {
            if (!agrees(e, &k))
                fail_msg("%s of level '%s' differs from the reference", entries[e].name, k.name);
        }
    }
}

// Broken kernels, one error each, must be found by the checks above.
static void dots_broken(int32_t *out, const int8_t *rows, size_t stride, size_t count, const int8_t *query,
                        size_t width)
{
    nn_scan_kernels_reference()->dots_i8(out, rows, stride, count, query, width);
    if (count > 12 && width > 128)
        out[12] += rows[12 * stride + width - 1] == 127;
}

static void f16_broken(float *out, float *norms, const void *rows, size_t stride, size_t count, const float *query,
                       size_t n)
{
    nn_scan_kernels_reference()->dots_f16(out, norms, rows, stride, count, query, n);
    if (count == 97 && n == 513)
        out[96] = nextafterf(out[96], 1);
}

static void nibbles_broken(int32_t *out, const uint8_t *rows, size_t count, const int8_t *query, size_t width)
{
    nn_scan_kernels_reference()->dots_i4(out, rows, count, query, width);
    if (count == 13 && width == 512)
        out[12] += 2;
}

static void test_finds_broken(void **state)
{
    (void)state;
    NnScanKernels k = *nn_scan_kernels_reference();
    k.dots_i8 = dots_broken;
    assert_false(agrees(0, &k));
    k.dots_f16 = f16_broken;
    assert_false(agrees(5, &k));
    k.dots_i4 = nibbles_broken;
    assert_false(agrees(1, &k));
    assert_true(agrees(3, &k));
}

// The reference against plain arithmetic.
static void test_reference(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 3);
    enum { N = 200, ROWS = 3 };
    float query[N], out[ROWS], norms[ROWS];
    uint16_t rows[ROWS][N];
    for (size_t i = 0; i < N; i++)
        query[i] = (float)vc_rng_uniform(&rng) - 0.5F;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < N; i++)
            rows[r][i] = nn_f32_to_f16((float)vc_rng_uniform(&rng) - 0.5F);
    }
    nn_scan_kernels_reference()->dots_f16(out, norms, rows, sizeof rows[0], ROWS, query, N);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, norm = 0;
        for (size_t i = 0; i < N; i++) {
            const double x = nn_f16_to_f32(rows[r][i]);
            sum += x * query[i];
            norm += x * x;
        }
        assert_close(out[r], sum, 2e-6);
        assert_close(norms[r], norm, 2e-6);
    }
}

// Packed queries and turned rows give the products of the bytes.
static void test_pack(void **state)
{
    (void)state;
    enum { WIDTH = 128, ROWS = 13 };
    VcRng rng;
    vc_rng_seed(&rng, 4);
    static int8_t queries[NN_SCAN_LANES][WIDTH], rows[ROWS][WIDTH], panel[WIDTH * NN_SCAN_LANES];
    static uint8_t turned[ROWS][WIDTH];
    static int32_t c[ROWS][NN_SCAN_LANES], shift[NN_SCAN_LANES], want[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < WIDTH; i++)
            rows[r][i] = (int8_t)((int)vc_rng_below(&rng, 255) - 127);
    }
    for (size_t j = 0; j < NN_SCAN_LANES; j++) {
        for (size_t i = 0; i < WIDTH; i++)
            queries[j][i] = (int8_t)((int)vc_rng_below(&rng, 255) - 127);
        shift[j] = nn_scan_pack(panel, j, queries[j], WIDTH);
    }
    const NnScanKernels *k = nn_scan_kernels();
    k->turn_i8(turned[0], rows[0], WIDTH, ROWS, WIDTH);
    k->tile_i8(c[0], turned[0], WIDTH, ROWS, panel, WIDTH / 4);
    for (size_t j = 0; j < NN_SCAN_LANES; j++) {
        k->dots_i8(want, rows[0], WIDTH, ROWS, queries[j], WIDTH);
        for (size_t r = 0; r < ROWS; r++)
            assert_int_equal(c[r][j] - shift[j], want[r]);
    }
}

static void check_quantized(const float *x, size_t n)
{
    int8_t q[640];
    float scale, error, length;
    double rest = 0, sum = 0;
    memset(q, 99, sizeof q);
    nn_scan_quantize(q, &scale, &error, &length, x, n);
    int top = 0;
    for (size_t i = 0; i < n; i++) {
        const double near = (double)q[i] * scale;
        assert_true(fabs(x[i] - near) <= 0.500001 * scale + 1e-12);
        rest += (x[i] - near) * (x[i] - near);
        sum += near * near;
        top = abs(q[i]) > top ? abs(q[i]) : top;
    }
    assert_int_equal(top, scale > 0 ? 127 : 0);
    assert_true(error >= sqrt(rest) && error <= sqrt(rest) * 1.0001 + 2e-5);
    assert_true(length >= sqrt(sum) && length <= sqrt(sum) * 1.0001);
    for (size_t i = n; i < nn_scan_width(n); i++)
        assert_int_equal(q[i], 0);
    assert_int_equal(q[nn_scan_width(n)], 99);
}

static void test_quantize(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 5);
    float x[512] = {0};
    check_quantized(x, 512);
    for (int turn = 0; turn < 200; turn++) {
        const size_t n = 1 + vc_rng_below(&rng, 512);
        for (size_t i = 0; i < n; i++)
            x[i] = (float)(vc_rng_uniform(&rng) - 0.5) * (turn % 3 == 0 && i == n / 2 ? 20.0F : 0.2F);
        check_quantized(x, n);
    }
    int8_t q[64];
    float scale, error, length;
    for (int turn = 0; turn < 3; turn++) {
        float bad[3] = {1, turn == 0 ? NAN : turn == 1 ? INFINITY : 1e30F, 2};
        nn_scan_quantize(q, &scale, &error, &length, bad, 3);
        assert_true(isnan(scale));
        assert_true(q[0] == 0 && q[1] == 0 && q[2] == 0);
    }
}

// Nibbles, read through their product with unit queries, stand for the row as well as promised.
static void test_nibbles(void **state)
{
    (void)state;
    enum { WIDTH = 256 };
    VcRng rng;
    vc_rng_seed(&rng, 6);
    float x[WIDTH] = {0}, scale, error;
    uint8_t row[WIDTH / 2];
    int8_t query[WIDTH] = {0};
    for (int turn = 0; turn < 50; turn++) {
        double square = 0, product = 0, rest = 0;
        for (size_t i = 0; i < WIDTH; i++) {
            x[i] = (float)vc_rng_normal(&rng) * (turn == 7 && i == 3 ? 100.0F : 0.1F);
            square += (double)x[i] * x[i];
        }
        nn_scan_nibbles(row, &scale, &error, x, WIDTH);
        for (size_t i = 0; i < WIDTH; i++) {
            int32_t twice;
            query[i] = 2;
            nn_scan_kernels_reference()->dots_i4(&twice, row, 1, query, WIDTH);
            query[i] = 0;
            const double near = (double)scale * twice / 2;
            assert_true(abs(twice / 2) <= 15 && twice / 2 % 2 != 0);
            rest += (x[i] - near) * (x[i] - near);
            product += (x[i] - near) * x[i];
        }
        assert_true(error >= sqrt(rest) && error <= sqrt(rest) * 1.001 + 1e-5 * sqrt(square));
        assert_close(product / square, 0, 1e-6); // at right angles
        assert_true(turn == 7 || error < 0.16 * sqrt(square));
    }
    memset(x, 0, sizeof x);
    nn_scan_nibbles(row, &scale, &error, x, WIDTH);
    assert_true(scale == 0 && error == 0);
    for (int turn = 0; turn < 3; turn++) {
        x[9] = turn == 0 ? NAN : turn == 1 ? INFINITY : 1e30F;
        nn_scan_nibbles(row, &scale, &error, x, WIDTH);
        assert_true(isnan(scale));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels),    cmocka_unit_test(test_finds_broken),
                                       cmocka_unit_test(test_reference), cmocka_unit_test(test_pack),
                                       cmocka_unit_test(test_quantize),  cmocka_unit_test(test_nibbles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
