// SPDX-License-Identifier: MIT
// Kernels that work on rows: norms, softmax, sums, packed panels.
#include "tests/nn/check_kernels.h"

static double row_max_abs(const float *x, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++)
        top = fabs((double)x[i]) > top ? fabs((double)x[i]) : top;
    return top;
}

// Rows of three kinds: plain, with a large mean, nearly constant (spread 1e-6 of the mean).
static Floats norm_rows(Check *c, size_t rows, size_t width, bool at_end)
{
    Floats x = random_floats(c, rows * width, at_end, PLAIN);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < width && r % 3 != 0; i++)
            x.x[r * width + i] = r % 3 == 1 ? 100 + x.x[r * width + i] : 1 + x.x[r * width + i] * 1e-6F;
    }
    return x;
}

static void check_layernorm_form(Check *c, size_t width, bool at_end, bool gain, bool bias)
{
    enum { R = 6 };
    Floats x = norm_rows(c, R, width, at_end), g = random_floats(c, width, !at_end, PLAIN);
    Floats b = random_floats(c, width, at_end, PLAIN), y = floats(R * width, !at_end), want = floats(R * width, true);
    Floats plain = floats(R * width, true), stats[4];
    for (int i = 0; i < 4; i++)
        stats[i] = floats(R, at_end);
    c->ref->layernorm(want.x, stats[0].x, stats[1].x, x.x, gain ? g.x : NULL, bias ? b.x : NULL, R, width, 1e-12F);
    c->ref->layernorm(plain.x, NULL, NULL, x.x, gain ? g.x : NULL, NULL, R, width, 1e-12F);
    c->k->layernorm(y.x, stats[2].x, stats[3].x, x.x, gain ? g.x : NULL, bias ? b.x : NULL, R, width, 1e-12F);
    for (size_t r = 0; r < R; r++) {
        const double scale = row_max_abs(plain.x + r * width, width);
        for (size_t i = 0; i < width; i++)
            compare(c, "y", width, r * width + i, want.x[r * width + i], y.x[r * width + i],
                    4e-7 * scale + ulp_of(want.x[r * width + i]));
        compare(c, "mean", width, r, stats[0].x[r], stats[2].x[r], ulp_of(stats[0].x[r]));
        compare(c, "rstd", width, r, stats[1].x[r], stats[3].x[r], 4 * ulp_of(stats[1].x[r]));
    }
    c->k->layernorm(x.x, NULL, NULL, x.x, gain ? g.x : NULL, bias ? b.x : NULL, R, width, 1e-12F); // in place
    if (memcmp(x.x, y.x, x.guard.n) != 0)
        fail(c, "in place differs, width %zu", width);
    Floats *all[] = {&x, &g, &b, &y, &want, &plain, &stats[0], &stats[1], &stats[2], &stats[3]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
}

void check_layernorm(Check *c)
{
    for (size_t w = 1; w < WIDTHS; w++) {
        for (int form = 0; form < 8; form++)
            check_layernorm_form(c, widths[w], form % 2 != 0, (form & 2) != 0, (form & 4) != 0);
    }
    float nan_row[20] = {[3] = NAN}, y[20];
    c->k->layernorm(y, NULL, NULL, nan_row, NULL, NULL, 1, 20, 1e-5F);
    for (int i = 0; i < 20; i++) {
        if (!isnan(y[i]))
            fail(c, "a NaN in the row left y[%d] = %g", i, (double)y[i]);
    }
}

static void check_layernorm_backward_form(Check *c, size_t width, int form)
{
    enum { R = 6 };
    const bool at_end = form % 2 != 0;
    Floats x = norm_rows(c, R, width, at_end), g = random_floats(c, width, !at_end, PLAIN);
    Floats dy = random_floats(c, R * width, at_end, PLAIN), mean = floats(R, at_end), rstd = floats(R, !at_end);
    Floats y = floats(R * width, true), dx = random_floats(c, R * width, !at_end, PLAIN);
    Floats dg = random_floats(c, width, at_end, PLAIN), db = random_floats(c, width, !at_end, PLAIN);
    Floats want_dx = copy_floats(&dx, true), want_dg = copy_floats(&dg, true), want_db = copy_floats(&db, true);
    const float *gain = (form & 2) != 0 ? g.x : NULL;
    c->ref->layernorm(y.x, mean.x, rstd.x, x.x, NULL, NULL, R, width, 1e-12F);
    c->ref->layernorm_backward(want_dx.x, want_dg.x, want_db.x, dy.x, x.x, mean.x, rstd.x, gain, R, width);
    c->k->layernorm_backward((form & 4) != 0 ? NULL : dx.x, (form & 8) != 0 ? NULL : dg.x,
                             (form & 16) != 0 ? NULL : db.x, dy.x, x.x, mean.x, rstd.x, gain, R, width);
    for (size_t r = 0; r < R && (form & 4) == 0; r++) {
        // Terms of the size rstd x |dy gain| x max(1, |hat|) cancel in dx.
        const double hat = row_max_abs(y.x + r * width, width), size = row_max_abs(dy.x + r * width, width);
        const double scale = (double)rstd.x[r] * size * (gain != NULL ? row_max_abs(g.x, width) : 1) * (1 + hat);
        for (size_t i = 0; i < width; i++)
            compare(c, "dx", width, r * width + i, want_dx.x[r * width + i], dx.x[r * width + i],
                    1e-6 * scale + ulp_of(want_dx.x[r * width + i]));
    }
    const double top = row_max_abs(dy.x, R * width) * row_max_abs(y.x, R * width);
    for (size_t i = 0; i < width && (form & 8) == 0; i++)
        compare(c, "dgain", width, i, want_dg.x[i], dg.x[i], 1e-6 * R * top);
    for (size_t i = 0; i < width && (form & 16) == 0; i++)
        compare(c, "dbias", width, i, want_db.x[i], db.x[i], 0);
    Floats *all[] = {&x, &g, &dy, &mean, &rstd, &y, &dx, &dg, &db, &want_dx, &want_dg, &want_db};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
}

void check_layernorm_backward(Check *c)
{
    for (size_t w = 1; w < WIDTHS; w++) {
        for (int form = 0; form < 32; form++)
            check_layernorm_backward_form(c, widths[w], form);
    }
}

void check_softmax(Check *c)
{
    enum { R = 3 };
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 8; form++) {
            const size_t n = widths[w] * R;
            const bool at_end = form % 2 != 0;
            Floats x = random_floats(c, n, at_end, form / 2 == 2 ? SPECIAL : PLAIN), y = floats(n, !at_end);
            for (size_t i = 0; i < n && form / 2 == 1; i++) // masked entries, and whole rows of them
                x.x[i] = i % 3 == 0 || (i < widths[w] && w % 2 != 0) ? -INFINITY : x.x[i];
            for (size_t i = 0; i < n && form / 2 == 3; i++)
                x.x[i] = x.x[i] * 10 + (i % 2 != 0 ? -10000 : 0);
            Floats want = floats(n, true);
            c->ref->softmax(want.x, x.x, R, widths[w]);
            c->k->softmax(y.x, x.x, R, widths[w]);
            for (size_t i = 0; i < n; i++) {
                const double below = (double)c->ref->log_sum_exp(x.x + i / widths[w] * widths[w], widths[w]) - x.x[i];
                compare(c, "y", widths[w], i, want.x[i], y.x[i], (4 + fabs(below)) * ulp_of(want.x[i]) + 1e-37);
            }
            c->k->softmax(x.x, x.x, R, widths[w]);
            if (memcmp(x.x, y.x, x.guard.n) != 0)
                fail(c, "in place differs, width %zu", widths[w]);
            done(c, &x);
            done(c, &y);
            done(c, &want);
        }
    }
}

void check_softmax_backward(Check *c)
{
    enum { R = 3 };
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 4; form++) {
            const size_t n = widths[w] * R;
            const bool at_end = form % 2 != 0;
            Floats x = random_floats(c, n, true, PLAIN), y = floats(n, at_end);
            Floats dy = random_floats(c, n, !at_end, WIDE), dx = random_floats(c, n, at_end, PLAIN);
            if (form < 2 && n > 0)
                memset(dx.x, 0, dx.guard.n);
            Floats want = copy_floats(&dx, true);
            c->ref->softmax(y.x, x.x, R, widths[w]);
            c->ref->softmax_backward(want.x, dy.x, y.x, R, widths[w]);
            c->k->softmax_backward(dx.x, dy.x, y.x, R, widths[w]);
            for (size_t i = 0; i < n; i++) {
                const double top = row_max_abs(dy.x + i / widths[w] * widths[w], widths[w]);
                compare(c, "dx", widths[w], i, want.x[i], dx.x[i],
                        1e-6 * top * y.x[i] + (form < 2 ? 0 : ulp_of(want.x[i])));
            }
            done(c, &x);
            done(c, &y);
            done(c, &dy);
            done(c, &dx);
            done(c, &want);
        }
    }
}

void check_log_sum_exp(Check *c)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 8; form++) {
            const size_t n = widths[w];
            Floats x = random_floats(c, n, form % 2 != 0, form / 2 == 2 ? SPECIAL : PLAIN);
            for (size_t i = 0; i < n && form / 2 == 1; i++)
                x.x[i] = i % 3 == 0 || w % 2 != 0 ? -INFINITY : x.x[i];
            for (size_t i = 0; i < n && form / 2 == 3; i++)
                x.x[i] = x.x[i] * 100 + 1000;
            const float want = c->ref->log_sum_exp(x.x, n), got = c->k->log_sum_exp(x.x, n);
            compare(c, "log sum exp", n, 0, want, got, 2e-7 + ulp_of(want));
            done(c, &x);
        }
    }
}

void check_dot(Check *c)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 4; form++) {
            const size_t n = widths[w];
            Floats a = random_floats(c, n, form % 2 != 0, (Input)(form / 2)),
                   b = random_floats(c, n, form % 2 == 0, PLAIN);
            double size = 0;
            for (size_t i = 0; i < n; i++)
                size += fabs((double)a.x[i] * b.x[i]);
            const float want = c->ref->dot(a.x, b.x, n);
            compare(c, "dot", n, 0, want, c->k->dot(a.x, b.x, n), ulp_of(want) + 1e-15 * size);
            done(c, &a);
            done(c, &b);
        }
    }
}

// Panels of weights: packed to the same bits; a product within the bound, rows and columns beyond it untouched.
static void check_panel(Check *c, size_t rows, size_t columns, size_t k, bool at_end)
{
    const size_t ldw = k + 3, ldx = k + 1, ldy = columns + 2;
    Floats w = random_floats(c, (columns - 1) * ldw + k, at_end, PLAIN), panel = floats(k * NN_PANEL, !at_end);
    Floats want_panel = floats(k * NN_PANEL, true), x = random_floats(c, (rows - 1) * ldx + k, at_end, PLAIN);
    c->ref->pack_panel(want_panel.x, w.x, ldw, columns, k);
    c->k->pack_panel(panel.x, w.x, ldw, columns, k);
    if (memcmp(panel.x, want_panel.x, panel.guard.n) != 0)
        fail(c, "pack_panel differs, %zu columns of %zu", columns, k);
    for (int add = 0; add < 2; add++) {
        Floats y = random_floats(c, (rows - 1) * ldy + columns, !at_end, PLAIN), want = copy_floats(&y, true);
        c->ref->panel_product(want.x, ldy, x.x, ldx, panel.x, rows, columns, k, add);
        c->k->panel_product(y.x, ldy, x.x, ldx, panel.x, rows, columns, k, add);
        for (size_t i = 0; i < y.guard.n / sizeof(float); i++) {
            double size = 0;
            for (size_t p = 0; p < k && i % ldy < columns; p++)
                size += fabs((double)x.x[i / ldy * ldx + p] * (double)panel.x[p * NN_PANEL + i % ldy]);
            const double bound = (double)(k + 1) * 6e-8 * size + ulp_of(want.x[i]);
            compare(c, "panel_product", columns, i, want.x[i], y.x[i], i % ldy < columns ? bound : 0);
        }
        done(c, &y);
        done(c, &want);
    }
    Floats *all[] = {&w, &panel, &want_panel, &x};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        done(c, all[i]);
}

void check_panels(Check *c)
{
    static const size_t row_counts[] = {1, 2, 5, 6, 7, 11, 12, 13, 25}, columns[] = {1, 3, 4, 7, 31, NN_PANEL},
                        depths[] = {1, 2, 3, 4, 5, 64, 129};
    for (size_t r = 0; r < sizeof row_counts / sizeof row_counts[0]; r++) {
        for (size_t j = 0; j < sizeof columns / sizeof columns[0]; j++) {
            for (size_t k = 0; k < sizeof depths / sizeof depths[0]; k++)
                check_panel(c, row_counts[r], columns[j], depths[k], (r + j + k) % 2 != 0);
        }
    }
}
