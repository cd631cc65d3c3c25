// SPDX-License-Identifier: MIT
// Kernels of products of bytes: all are exact, so every level must give the reference's bits.
#include "tests/nn/check_kernels.h"

enum { MOST_ROWS = 25 };

static void check_quantize_row(Check *c, size_t n, Input input, bool at_end, float scale_by, bool scaled)
{
    Floats columns = random_floats(c, n, !at_end, PLAIN);
    const float *by = scaled ? columns.x : NULL;
    Floats x = random_floats(c, n, at_end, input);
    for (size_t i = 0; i < n; i++)
        x.x[i] *= scale_by;
    Guard want = guard_alloc(n, true), got = guard_alloc(n, !at_end);
    float scale[2] = {-1, -2};
    int32_t zero[2] = {-1, -2};
    c->ref->quantize(want.data, &scale[0], &zero[0], x.x, by, n);
    c->k->quantize(got.data, &scale[1], &zero[1], x.x, by, n);
    compare(c, "quantize: scale", n, 0, scale[0], scale[1], 0);
    if (zero[0] != zero[1] || memcmp(want.data, got.data, n) != 0 || !guard_intact(&got))
        fail(c, "quantize differs, n %zu, zero %d and %d", n, (int)zero[0], (int)zero[1]);
    // What it means: values come back within half a step.
    for (size_t i = 0; i < n && scale[1] > 0; i++)
        compare(c, "quantize: x", n, i, scaled ? x.x[i] * by[i] : x.x[i], scale[1] * (float)(got.data[i] - zero[1]),
                (double)scale[1] * 0.502);
    guard_free(&want);
    guard_free(&got);
    done(c, &x);
    done(c, &columns);
}

void check_quantize(Check *c)
{
    static const float scales[] = {1, 1e-20F, 1e-38F, 0, 1e30F};
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 2 * INPUTS; form++) {
            for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++)
                check_quantize_row(c, widths[w], (Input)(form / 2), form % 2 != 0, scales[s], s == 0 && form % 3 == 0);
        }
    }
}

static void random_bytes(Check *c, Guard *g, bool extreme)
{
    static const uint8_t ends[] = {0, 1, 127, 128, 129, 255};
    for (size_t i = 0; i < g->n; i++)
        g->data[i] = extreme ? ends[vc_rng_below(&c->rng, sizeof ends)] : (uint8_t)vc_rng_below(&c->rng, 256);
}

static void check_tile_int8(Check *c, size_t rows, size_t words, bool at_end, bool extreme)
{
    const size_t row = words + (at_end ? 3 : 0);
    Guard a = guard_alloc(((rows - 1) * row + words) * 4, at_end), panel = guard_alloc(words * NN_PANEL * 4, !at_end);
    Guard want = guard_alloc(rows * NN_PANEL * 4, true), got = guard_alloc(rows * NN_PANEL * 4, !at_end);
    random_bytes(c, &a, extreme);
    random_bytes(c, &panel, extreme);
    const uint32_t *x = (const uint32_t *)(const void *)a.data, *p = (const uint32_t *)(const void *)panel.data;
    c->ref->gemm_tile_int8((int32_t *)(void *)want.data, x, row, p, words, rows);
    c->k->gemm_tile_int8((int32_t *)(void *)got.data, x, row, p, words, rows);
    if (memcmp(want.data, got.data, want.n) != 0 || !guard_intact(&got))
        fail(c, "gemm_tile_int8 differs, %zu rows of %zu words", rows, words);
    guard_free(&a);
    guard_free(&panel);
    guard_free(&want);
    guard_free(&got);
}

static void check_dequantize(Check *c, size_t rows, bool at_end)
{
    const size_t n = rows * NN_PANEL;
    Floats scale = random_floats(c, rows, at_end, at_end ? SPECIAL : PLAIN), y = floats(n, !at_end);
    Floats width = random_floats(c, NN_PANEL, at_end, PLAIN), bias = random_floats(c, NN_PANEL, !at_end, PLAIN);
    Floats want = floats(n, true);
    int32_t sums[MOST_ROWS * NN_PANEL], zero[MOST_ROWS], columns[NN_PANEL];
    for (size_t i = 0; i < n; i++)
        sums[i] = (int32_t)vc_rng_below(&c->rng, 200000000) - 100000000;
    for (size_t r = 0; r < rows; r++)
        zero[r] = (int32_t)vc_rng_below(&c->rng, 256);
    for (size_t j = 0; j < NN_PANEL; j++)
        columns[j] = (int32_t)vc_rng_below(&c->rng, 200000) - 100000;
    c->ref->dequantize(want.x, sums, scale.x, zero, width.x, columns, bias.x, rows);
    c->k->dequantize(y.x, sums, scale.x, zero, width.x, columns, bias.x, rows);
    for (size_t i = 0; i < n; i++)
        compare(c, "dequantize", rows, i, want.x[i], y.x[i], 0);
    Floats *all[] = {&scale, &y, &width, &bias, &want};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
}

void check_int8(Check *c)
{
    static const size_t depths[] = {1, 2, 3, 5, 16, 33, 200};
    for (size_t rows = 1; rows <= MOST_ROWS; rows++) {
        for (size_t k = 0; k < sizeof depths / sizeof depths[0]; k++) {
            for (int form = 0; form < 4; form++)
                check_tile_int8(c, rows, depths[k], form % 2 != 0, form / 2 != 0);
        }
        check_dequantize(c, rows, false);
        check_dequantize(c, rows, true);
    }
}
