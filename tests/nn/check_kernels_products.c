// SPDX-License-Identifier: MIT
// Kernels of matrix products: packed factors and the tiles made of them, in float and in bfloat16.
#include "tests/nn/check_kernels.h"

#include "nn/half.h"

// Floats beside which denormals count as nothing (gemm_pack_bf16 may flush them).
static const double tiny = 1.2e-38;

static void check_pack_form(Check *c, size_t width, size_t count, size_t k, int turned, bool at_end)
{
    const size_t lines = turned ? count : k, used = turned ? k : count, ld = used + 3;
    Floats x = random_floats(c, lines > 0 ? (lines - 1) * ld + used : 0, at_end, at_end ? SPECIAL : PLAIN);
    Floats got = floats(k * width, !at_end), want = floats(k * width, true);
    c->ref->gemm_pack(want.x, width, x.x, ld, turned, count, k);
    c->k->gemm_pack(got.x, width, x.x, ld, turned, count, k);
    if (memcmp(got.x, want.x, want.guard.n) != 0)
        fail(c, "gemm_pack differs: width %zu, %zu columns of %zu, turned %d", width, count, k, turned);
    const size_t words = (k + 1) / 2 * width;
    Floats got16 = floats(words, !at_end), want16 = floats(words, true);
    uint32_t *g = (uint32_t *)(void *)got16.x, *w = (uint32_t *)(void *)want16.x;
    c->ref->gemm_pack_bf16(w, width, x.x, ld, turned, count, k);
    c->k->gemm_pack_bf16(g, width, x.x, ld, turned, count, k);
    for (size_t i = 0; i < 2 * words; i++) {
        const float a = nn_bf16_to_f32((uint16_t)(w[i / 2] >> (i % 2 * 16))),
                    b = nn_bf16_to_f32((uint16_t)(g[i / 2] >> (i % 2 * 16)));
        compare(c, "gemm_pack_bf16", width, i, a, b, fabsf(a) < (float)tiny ? tiny : 0);
    }
    Floats *all[] = {&x, &got, &want, &got16, &want16};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
}

void check_gemm_pack(Check *c)
{
    static const size_t counts[] = {1, 3, 4, 7, 8, 11, 12, 13, 31, 32},
                        depths[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 33, 64};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (size_t k = 0; k < sizeof depths / sizeof depths[0]; k++) {
            for (int form = 0; form < 8; form++) {
                const size_t width = form % 2 ? NN_PANEL : NN_STRIP;
                if (counts[i] <= width)
                    check_pack_form(c, width, counts[i], depths[k], form / 2 % 2, form / 4 != 0);
            }
        }
    }
}

// form 0: a strip; 1: rows; 2: columns of a matrix that lies turned.
static void check_tile(Check *c, size_t rows, size_t columns, size_t k, int form, bool at_end)
{
    const size_t ldc = columns + 2, row = form == 1 ? k + 3 : 1, step = form == 0 ? NN_STRIP : form == 1 ? 1 : rows + 1;
    Floats a = random_floats(c, (rows - 1) * row + (k - 1) * step + 1, at_end, PLAIN);
    Floats panel = random_floats(c, k * NN_PANEL, !at_end, PLAIN);
    for (int add = 0; add < 2; add++) {
        Floats y = random_floats(c, (rows - 1) * ldc + columns, !at_end, PLAIN), want = copy_floats(&y, true);
        const float alpha = add ? -0.37F : 1;
        c->ref->gemm_tile(want.x, ldc, a.x, row, step, panel.x, k, rows, columns, alpha, add);
        c->k->gemm_tile(y.x, ldc, a.x, row, step, panel.x, k, rows, columns, alpha, add);
        for (size_t i = 0; i < y.guard.n / sizeof(float); i++) {
            const size_t r = i / ldc, j = i % ldc;
            double size = 0;
            for (size_t p = 0; p < k && j < columns; p++)
                size += fabs((double)a.x[r * row + p * step] * (double)panel.x[p * NN_PANEL + j]);
            compare(c, "gemm_tile", columns, i, want.x[i], y.x[i],
                    j < columns ? (double)(k + 2) * 6e-8 * size + ulp_of(want.x[i]) : 0);
        }
        done(c, &y);
        done(c, &want);
    }
    done(c, &a);
    done(c, &panel);
}

static void check_tile_bf16(Check *c, size_t rows, size_t columns, size_t k, bool at_end)
{
    const size_t ldc = columns + 2, words = (k + 1) / 2;
    Floats a = random_floats(c, k * NN_STRIP, at_end, PLAIN), b = random_floats(c, k * NN_PANEL, at_end, PLAIN);
    Floats strip = floats(words * NN_STRIP, at_end), panel = floats(words * NN_PANEL, !at_end);
    uint32_t *s = (uint32_t *)(void *)strip.x, *p = (uint32_t *)(void *)panel.x;
    c->ref->gemm_pack_bf16(s, NN_STRIP, a.x, NN_STRIP, 0, rows < NN_STRIP ? rows : NN_STRIP, k);
    c->ref->gemm_pack_bf16(p, NN_PANEL, b.x, NN_PANEL, 0, columns, k);
    for (int add = 0; add < 2; add++) {
        Floats y = random_floats(c, (rows - 1) * ldc + columns, !at_end, PLAIN), want = copy_floats(&y, true);
        c->ref->gemm_tile_bf16(want.x, ldc, s, 1, NN_STRIP, p, k, rows, columns, 1, add);
        c->k->gemm_tile_bf16(y.x, ldc, s, 1, NN_STRIP, p, k, rows, columns, 1, add);
        for (size_t i = 0; i < y.guard.n / sizeof(float); i++) {
            const size_t r = i / ldc, j = i % ldc;
            double size = 0;
            for (size_t q = 0; q < k && j < columns; q++)
                size += fabs((double)a.x[q * NN_STRIP + r] * (double)b.x[q * NN_PANEL + j]) * 1.02;
            compare(c, "gemm_tile_bf16", columns, i, want.x[i], y.x[i],
                    j < columns ? (double)(k + 2) * 6e-8 * size + ulp_of(want.x[i]) : 0);
        }
        done(c, &y);
        done(c, &want);
    }
    Floats *all[] = {&a, &b, &strip, &panel};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
}

void check_gemm_tile(Check *c)
{
    static const size_t row_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25},
                        columns[] = {1, 7, 8, 9, 15, 16, 17, 24, 31, NN_PANEL}, depths[] = {1, 2, 3, 16, 33, 129};
    for (size_t r = 0; r < sizeof row_counts / sizeof row_counts[0]; r++) {
        for (size_t j = 0; j < sizeof columns / sizeof columns[0]; j++) {
            for (size_t k = 0; k < sizeof depths / sizeof depths[0]; k++) {
                const bool at_end = (r + j + k) % 2 != 0;
                for (int form = row_counts[r] <= NN_STRIP ? 0 : 1; form < 3; form++)
                    check_tile(c, row_counts[r], columns[j], depths[k], form, at_end);
                if (row_counts[r] <= NN_STRIP)
                    check_tile_bf16(c, row_counts[r], columns[j], depths[k], at_end);
            }
        }
    }
}

// ---- attention

enum { LONG = 50 };

static void check_attention_form(Check *c, size_t keys, size_t lanes, int form, bool at_end)
{
    const size_t n = keys > 0 ? (keys - 1) * NN_PANEL + lanes : 0;
    Floats s = random_floats(c, n, at_end, PLAIN), mask = random_floats(c, keys, !at_end, PLAIN);
    Floats row[4][2];                               // top, sum, rescale, scale; what is wanted and got
    for (size_t i = 0; i < n && form % 3 == 1; i++) // hidden entries, and whole columns of them
        s.x[i] = i % 5 == 0 || i % NN_PANEL % 4 == 0 ? -INFINITY : s.x[i];
    for (int r = 0; r < 4; r++) {
        row[r][0] = floats(lanes, true);
        for (size_t i = 0; i < lanes; i++) // nothing before this tile, or a tile before it
            row[r][0].x[i] = r == 0 ? (form % 2 != 0 ? -INFINITY : 2) : r == 1 ? (float)(form % 2 == 0) : 0.25F;
        row[r][1] = copy_floats(&row[r][0], at_end);
    }
    const float *m = form / 3 % 2 != 0 ? mask.x : NULL;
    Floats want = copy_floats(&s, true), weights = copy_floats(&s, at_end), start = copy_floats(&s, true);
    c->ref->attention_exp(want.x, keys, lanes, m, row[0][0].x, row[1][0].x, row[2][0].x);
    c->k->attention_exp(s.x, keys, lanes, m, row[0][1].x, row[1][1].x, row[2][1].x);
    c->k->attention_weights(weights.x, keys, lanes, m, row[0][1].x, row[3][1].x);
    for (size_t i = 0; i < n; i++) {
        const size_t lane = i % NN_PANEL;
        if (lane >= lanes) {
            compare(c, "beside the lanes", keys, i, start.x[i], s.x[i], 0);
            continue;
        }
        const double below = fabs(log((double)want.x[i] + 1e-38));
        compare(c, "attention_exp", keys, i, want.x[i], s.x[i], (4 + below) * ulp_of(want.x[i]) + 1e-37);
        if (row[0][1].x[lane] > -INFINITY)
            compare(c, "attention_weights", keys, i, s.x[i] * 0.25F, weights.x[i], 0);
    }
    for (size_t i = 0; i < lanes; i++) {
        compare(c, "top", keys, i, row[0][0].x[i], row[0][1].x[i], 0);
        compare(c, "sum", keys, i, row[1][0].x[i], row[1][1].x[i], (double)(keys + 6) * 6e-8 * row[1][0].x[i] + 1e-37);
        const double fall = fabs(log((double)row[2][0].x[i] + 1e-38));
        compare(c, "rescale", keys, i, row[2][0].x[i], row[2][1].x[i], (4 + fall) * ulp_of(row[2][0].x[i]) + 1e-37);
    }
    Floats d = random_floats(c, n, !at_end, PLAIN), want_d = copy_floats(&d, true);
    c->ref->attention_slopes(want_d.x, want.x, keys, lanes, row[3][0].x);
    c->k->attention_slopes(d.x, want.x, keys, lanes, row[3][1].x);
    if (memcmp(d.x, want_d.x, d.guard.n) != 0)
        fail(c, "attention_slopes differs, %zu keys", keys);
    Floats *all[] = {&s, &mask, &want, &weights, &start, &d, &want_d};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
    for (int i = 0; i < 8; i++)
        done(c, &row[i / 2][i % 2]);
}

void check_attention(Check *c)
{
    for (size_t keys = 0; keys < LONG; keys += keys < 4 ? 1 : 9) {
        for (int form = 0; form < 12; form++) {
            check_attention_form(c, keys, NN_PANEL, form, form >= 6);
            check_attention_form(c, keys, NN_PANEL / 2, form, form < 6);
        }
    }
}
