// SPDX-License-Identifier: MIT
// Half precision against arithmetic in double: every 16-bit value, and every rounding boundary between two of them.
#include "nn/half.h"

#include "nn/tensor.h"
#include "tests/support/test.h"

// The value of a finite f16 or bf16 from its fields, in double: independent of the code under test.
static double value_of(uint32_t h, int exponent_bits, int mantissa_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int e = (int)(h >> mantissa_bits) & ((1 << exponent_bits) - 1);
    const double m = (double)(h & ((1u << mantissa_bits) - 1)) / (1 << mantissa_bits);
    const double v = e == 0 ? ldexp(m, 1 - bias) : ldexp(1 + m, e - bias);
    return (h >> 15) != 0 ? -v : v;
}

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static void check_format(int exponent_bits, int mantissa_bits, float (*widen)(uint16_t), uint16_t (*narrow)(float))
{
    const uint32_t infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
    for (uint32_t h = 0; h < 65536; h++) {
        const uint32_t a = h & 0x7fff;
        const float f = widen((uint16_t)h);
        if (a > infinity) {
            assert_true(isnan(f) && !!signbit(f) == (h >> 15 != 0));
            const uint16_t back = narrow(f);
            assert_true((back & 0x7fff) > infinity && (back >> 15) == (h >> 15));
            assert_int_equal(back, h | 1u << (mantissa_bits - 1)); // the payload is kept, made quiet
            continue;
        }
        if (a == infinity)
            assert_true(isinf(f) && !!signbit(f) == (h >> 15 != 0));
        else
            assert_true(f == value_of(h, exponent_bits, mantissa_bits) && !!signbit(f) == (h >> 15 != 0));
        assert_int_equal(narrow(f), h);
        if (a >= infinity)
            continue;
        // Half-way to the next value away from zero, and one float step to either side of it. The next value of the
        // largest is what the format would hold with one more exponent: beyond half-way, infinity.
        const double here = value_of(a, exponent_bits, mantissa_bits);
        const double step = a + 1 < infinity ? value_of(a + 1, exponent_bits, mantissa_bits) - here
                                             : here - value_of(a - 1, exponent_bits, mantissa_bits);
        const float middle = (float)(here + step / 2); // exact: two bits more than the format has
        if ((double)middle != here + step / 2)
            continue; // bf16's smallest denormal: half of it is no float... (checked below)
        const float sign = h >> 15 != 0 ? -1.0F : 1.0F;
        assert_int_equal(narrow(sign * middle), (a & 1) != 0 ? h + 1 : h); // ties to even
        assert_int_equal(narrow(sign * nextafterf(middle, 0)), h);
        assert_int_equal(narrow(sign * nextafterf(middle, INFINITY)), h + 1);
    }
}

static void test_f16(void **state)
{
    (void)state;
    check_format(5, 10, nn_f16_to_f32, nn_f32_to_f16);
    assert_int_equal(nn_f32_to_f16(65504), 0x7bff);
    assert_int_equal(nn_f32_to_f16(65519.996F), 0x7bff);
    assert_int_equal(nn_f32_to_f16(65520), 0x7c00);
    assert_int_equal(nn_f32_to_f16(-1e30F), 0xfc00);
    assert_int_equal(nn_f32_to_f16(ldexpf(1, -25)), 0); // a tie between 0 and the smallest: to even
    assert_int_equal(nn_f32_to_f16(ldexpf(1.0001F, -25)), 1);
    assert_int_equal(nn_f32_to_f16(ldexpf(-1, -149)), 0x8000);
    assert_int_equal(nn_f32_to_f16(ldexpf(1.9999F, -15)), 0x400); // the largest denormal rounds up to a normal
}

static void test_bf16(void **state)
{
    (void)state;
    // bf16 -> f32 changes no bit, a signalling NaN included; then f32 -> bf16 makes it quiet.
    for (uint32_t h = 0; h < 65536; h++)
        assert_int_equal(bits(nn_bf16_to_f32((uint16_t)h)), h << 16);
    check_format(8, 7, nn_bf16_to_f32, nn_f32_to_bf16);
    assert_int_equal(nn_f32_to_bf16(3.4028235e38F), 0x7f80);
    assert_int_equal(nn_f32_to_bf16(1e-45F), 0);
}

// Arrays, at odd addresses and lengths, equal the single conversions.
static void test_arrays(void **state)
{
    (void)state;
    enum { N = 65536 };
    uint8_t *half = vc_alloc(2 * N + 3, 1), *back = vc_alloc(2 * N + 3, 1);
    float *wide = vc_alloc(N, sizeof *wide);
    for (uint32_t i = 0; i < N; i++) {
        const uint16_t h = (uint16_t)i;
        memcpy(half + 1 + (size_t)2 * i, &h, 2);
    }
    for (size_t n = N - 17; n <= N; n++) {
        nn_f16_to_f32_array(wide, half + 1, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(bits(wide[i]), bits(nn_f16_to_f32((uint16_t)i)));
        nn_f32_to_f16_array(back + 1, wide, n);
        nn_bf16_to_f32_array(wide, half + 1, n);
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, back + 1 + 2 * i, 2);
            assert_int_equal(h, nn_f32_to_f16(nn_f16_to_f32((uint16_t)i)));
            assert_int_equal(bits(wide[i]), i << 16);
        }
        nn_f32_to_bf16_array(back + 1, wide, n);
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, back + 1 + 2 * i, 2);
            assert_int_equal(h, nn_f32_to_bf16(nn_bf16_to_f32((uint16_t)i)));
        }
    }
    free(half);
    free(back);
    free(wide);
}

static void test_shapes(void **state)
{
    (void)state;
    size_t n;
    const NnShape scalar = NN_SCALAR, matrix = NN_SHAPE(3, 4), empty = NN_SHAPE(SIZE_MAX, SIZE_MAX, 0);
    const NnShape huge = NN_SHAPE(SIZE_MAX / 2 + 1, 2), wide = NN_SHAPE(SIZE_MAX / 4 + 1);
    assert_true(nn_shape_count(&scalar, &n) && n == 1);
    assert_true(nn_shape_bytes(&matrix, NN_F32, &n) && n == 48);
    assert_true(nn_shape_count(&empty, &n) && n == 0);
    assert_false(nn_shape_count(&huge, &n));
    assert_true(nn_shape_bytes(&wide, NN_U8, &n));
    assert_false(nn_shape_bytes(&wide, NN_F32, &n));
    assert_true(nn_shape_equal(&matrix, &NN_SHAPE(3, 4)));
    assert_false(nn_shape_equal(&matrix, &NN_SHAPE(4, 3)) || nn_shape_equal(&matrix, &NN_SHAPE(3, 4, 1)));
    char text[NN_SHAPE_TEXT];
    assert_string_equal(nn_shape_text(&matrix, text), "[3, 4]");
    assert_string_equal(nn_shape_text(&scalar, text), "[]");
    const NnShape longest = NN_SHAPE(SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX);
    assert_int_equal(strlen(nn_shape_text(&longest, text)), 8 * 20 + 7 * 2 + 2);
    for (int i = 0; i < NN_DTYPES; i++) {
        NnDtype back;
        assert_true(nn_dtype_parse(nn_dtype_name((NnDtype)i), &back) && back == (NnDtype)i);
    }
    NnDtype none;
    assert_false(nn_dtype_parse("F8_E4M3", &none) || nn_dtype_parse("", &none) || nn_dtype_parse("f32", &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
