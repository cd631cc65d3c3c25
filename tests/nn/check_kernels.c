// SPDX-License-Identifier: MIT
// Every kernel at every level of this processor against the C reference: lengths around the vector sizes, buffers
// between closed pages at odd addresses, poisoned outputs, NaN, infinities and denormals, a sweep over the floats.
// The bounds are those of nn/kernels/kernels.h. TAP on standard output; the worst errors found stand in each line.
//
//   check_kernels            the test (exit 0, 1, or 77 where the processor has no vector level)
//   check_kernels --bench    nanoseconds per element, reference and levels
#include "tests/nn/bench_kernels.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/support/guard.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>

enum { TEST_SKIPPED = 77 };

// Where an entry stands: the kernels under test, and what was found.
typedef struct {
    const NnKernels *ref, *k;
    VcRng rng;
    double worst; // largest error in units of the bound
    bool failed;
    char why[300];
} Check;

static const size_t widths[] = {0,  1,  2,  3,  5,  7,  8,  9,  15, 16,  17,  23,  24,  31,  32,
                                33, 40, 47, 48, 63, 64, 65, 77, 97, 127, 128, 129, 255, 257, 1023};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

static double ulp_of(double x) // distance of floats at |x|
{
    int e;
    frexp(x, &e);
    return ldexp(1, (e < -125 ? -125 : e) - 24);
}

__attribute__((format(printf, 2, 3))) static void fail(Check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!c->failed)
        vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->failed = true;
}

// |got - want| within `bound`, NaN where and only where it should be.
static void compare(Check *c, const char *what, size_t n, size_t i, float want, float got, double bound)
{
    if (isnan(want) || isnan(got)) {
        if (isnan(want) != isnan(got))
            fail(c, "%s n %zu [%zu]: %.9g, should be %.9g", what, n, i, (double)got, (double)want);
        return;
    }
    if (want == got)
        return;
    const double error = fabs((double)want - (double)got);
    if (!(error <= bound))
        fail(c, "%s n %zu [%zu]: %.9g, should be %.9g within %.3g", what, n, i, (double)got, (double)want, bound);
    else if (error / bound > c->worst)
        c->worst = error / bound;
}

// ---- inputs --------------------------------------------------------------------------------------------------------

typedef enum { PLAIN, WIDE, SPECIAL, INPUTS } Input;

static float random_float(VcRng *rng, Input input)
{
    static const float special[] = {0.0F,      -0.0F,   NAN,      INFINITY, -INFINITY, 1e-45F, -1e-45F, 1e-39F,
                                    -1.1e-38F, FLT_MAX, -FLT_MAX, 88.72F,   88.73F,    -87.4F, -103.9F, -104.1F};
    switch (input) {
    case PLAIN:
        return (float)vc_rng_normal(rng) * 3;
    case WIDE:
        return (float)(vc_rng_normal(rng) * exp2(vc_rng_uniform(rng) * 40 - 30));
    default:
        return vc_rng_below(rng, 4) == 0 ? special[vc_rng_below(rng, sizeof special / sizeof special[0])]
                                         : (float)vc_rng_normal(rng) * 20;
    }
}

// A guarded array of n floats. The second copy lies at the other side of its closed pages.
typedef struct {
    Guard guard;
    float *x;
} Floats;

static Floats floats(size_t n, bool at_end)
{
    Floats f = {.guard = guard_alloc(n * sizeof(float), at_end)};
    f.x = (float *)(void *)f.guard.data;
    return f;
}

static Floats random_floats(Check *c, size_t n, bool at_end, Input input)
{
    Floats f = floats(n, at_end);
    for (size_t i = 0; i < n; i++)
        f.x[i] = random_float(&c->rng, input);
    return f;
}

static Floats copy_floats(const Floats *from, bool at_end)
{
    Floats f = floats(from->guard.n / sizeof(float), at_end);
    memcpy(f.x, from->x, from->guard.n);
    return f;
}

static void done(Check *c, Floats *f)
{
    if (!guard_intact(&f->guard))
        fail(c, "wrote beside a buffer of %zu bytes", f->guard.n);
    guard_free(&f->guard);
}

// ---- element functions ---------------------------------------------------------------------------------------------

typedef void (*UnaryFn)(float *, const float *, size_t);

static void check_unary(Check *c, UnaryFn ref, UnaryFn fn, double ulps, double absolute)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 2 * INPUTS; form++) {
            const size_t n = widths[w];
            const bool at_end = form % 2 != 0;
            Floats x = random_floats(c, n, at_end, (Input)(form / 2)), y = floats(n, !at_end), want = floats(n, true);
            ref(want.x, x.x, n);
            fn(y.x, x.x, n);
            for (size_t i = 0; i < n; i++)
                compare(c, "y", n, i, want.x[i], y.x[i], ulps * ulp_of(want.x[i]) + absolute);
            fn(x.x, x.x, n); // in place
            if (memcmp(x.x, y.x, n * sizeof(float)) != 0)
                fail(c, "in place differs, n %zu", n);
            done(c, &x);
            done(c, &y);
            done(c, &want);
        }
    }
    // Every 1021st float.
    enum { BLOCK = 4096 };
    static float x[BLOCK], y[BLOCK], want[BLOCK];
    for (uint64_t u = 0; u < UINT32_MAX;) {
        size_t n = 0;
        for (; n < BLOCK && u <= UINT32_MAX; n++, u += 1021) {
            const uint32_t bits = (uint32_t)u;
            memcpy(&x[n], &bits, sizeof bits);
        }
        ref(want, x, n);
        fn(y, x, n);
        for (size_t i = 0; i < n; i++)
            compare(c, "sweep: y", (size_t)u, i, want[i], y[i], ulps * ulp_of(want[i]) + absolute);
    }
}

static void check_exp(Check *c)
{
    check_unary(c, c->ref->exp, c->k->exp, 2, 0);
}

static void check_gelu(Check *c)
{
    check_unary(c, c->ref->gelu, c->k->gelu, 8, 1e-37);
}

static void check_quick_gelu(Check *c)
{
    check_unary(c, c->ref->quick_gelu, c->k->quick_gelu, 5, 2e-37);
}

typedef void (*UnaryBackwardFn)(float *, const float *, const float *, size_t);

static void check_unary_backward(Check *c, UnaryBackwardFn ref, UnaryBackwardFn fn)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 4 * INPUTS; form++) {
            const size_t n = widths[w];
            const bool at_end = form % 2 != 0, from_zero = form % 4 < 2;
            const Input input = (Input)(form / 4);
            Floats x = random_floats(c, n, at_end, input), dy = random_floats(c, n, !at_end, PLAIN);
            Floats dx = random_floats(c, n, at_end, PLAIN);
            if (from_zero && n > 0)
                memset(dx.x, 0, dx.guard.n);
            Floats want = copy_floats(&dx, true);
            ref(want.x, dy.x, x.x, n);
            fn(dx.x, dy.x, x.x, n);
            for (size_t i = 0; i < n; i++)
                compare(c, "dx", n, i, want.x[i], dx.x[i],
                        5e-7 * fabs((double)dy.x[i]) + (from_zero ? 0 : ulp_of(want.x[i])));
            done(c, &x);
            done(c, &dy);
            done(c, &dx);
            done(c, &want);
        }
    }
}

static void check_gelu_backward(Check *c)
{
    check_unary_backward(c, c->ref->gelu_backward, c->k->gelu_backward);
}

static void check_quick_gelu_backward(Check *c)
{
    check_unary_backward(c, c->ref->quick_gelu_backward, c->k->quick_gelu_backward);
}

// ---- rows ----------------------------------------------------------------------------------------------------------

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

static void check_layernorm(Check *c)
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

static void check_layernorm_backward(Check *c)
{
    for (size_t w = 1; w < WIDTHS; w++) {
        for (int form = 0; form < 32; form++)
            check_layernorm_backward_form(c, widths[w], form);
    }
}

static void check_softmax(Check *c)
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

static void check_softmax_backward(Check *c)
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

static void check_log_sum_exp(Check *c)
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

static void check_dot(Check *c)
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

// ---- exact ones ----------------------------------------------------------------------------------------------------

static void same_bits(Check *c, const char *what, const Floats *want, const Floats *got, size_t width)
{
    for (size_t i = 0; i < got->guard.n / sizeof(float); i++)
        compare(c, what, width, i, want->x[i], got->x[i], 0);
}

static void check_elementwise(Check *c)
{
    enum { R = 3 };
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 2 * INPUTS; form++) {
            const size_t n = widths[w] * R;
            const bool at_end = form % 2 != 0;
            Floats x = random_floats(c, n, at_end, (Input)(form / 2)), y = random_floats(c, n, !at_end, PLAIN);
            Floats row = random_floats(c, widths[w], at_end, PLAIN), want = copy_floats(&y, true);
            Floats sum = copy_floats(&row, !at_end);
            const float a = random_float(&c->rng, PLAIN);
            c->ref->add(want.x, x.x, n);
            c->k->add(y.x, x.x, n);
            same_bits(c, "add", &want, &y, n);
            c->ref->scale(want.x, a, n);
            c->k->scale(y.x, a, n);
            same_bits(c, "scale", &want, &y, n);
            c->ref->axpy(want.x, a, x.x, n);
            c->k->axpy(y.x, a, x.x, n);
            same_bits(c, "axpy", &want, &y, n);
            c->ref->add_rows(want.x, row.x, R, widths[w]);
            c->k->add_rows(y.x, row.x, R, widths[w]);
            same_bits(c, "add_rows", &want, &y, n);
            c->ref->sum_rows(row.x, x.x, R, widths[w]);
            c->k->sum_rows(sum.x, x.x, R, widths[w]);
            same_bits(c, "sum_rows", &row, &sum, n);
            done(c, &x);
            done(c, &y);
            done(c, &row);
            done(c, &want);
            done(c, &sum);
        }
    }
}

static void check_adamw(Check *c)
{
    const NnAdamwStep step = {0.9999F, 3e-4F, 0.9F, 0.999F, 1.7F, 1e-8F, 0.7F};
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 2 * INPUTS; form++) {
            const size_t n = widths[w];
            const bool at_end = form % 2 != 0;
            Floats got[4], want[4];
            for (int i = 0; i < 4; i++) { // p, m, v, g
                got[i] = random_floats(c, n, at_end == (i % 2 != 0), i == 3 ? (Input)(form / 2) : PLAIN);
                for (size_t j = 0; j < n && i == 2; j++)
                    got[i].x[j] = fabsf(got[i].x[j]);
                want[i] = copy_floats(&got[i], true);
            }
            for (int t = 0; t < 3; t++) {
                c->ref->adamw(want[0].x, want[1].x, want[2].x, want[3].x, n, &step);
                c->k->adamw(got[0].x, got[1].x, got[2].x, got[3].x, n, &step);
            }
            for (int i = 0; i < 4; i++) {
                same_bits(c, i == 0 ? "p" : i == 1 ? "m" : i == 2 ? "v" : "g", &want[i], &got[i], n);
                done(c, &got[i]);
                done(c, &want[i]);
            }
        }
    }
}

static void check_half(Check *c)
{
    typedef void (*Widen)(float *, const void *, size_t);
    typedef void (*Narrow)(void *, const float *, size_t);
    const Widen widen[2][2] = {{c->ref->f16_to_f32, c->k->f16_to_f32}, {c->ref->bf16_to_f32, c->k->bf16_to_f32}};
    const Narrow narrow[2][2] = {{c->ref->f32_to_f16, c->k->f32_to_f16}, {c->ref->f32_to_bf16, c->k->f32_to_bf16}};
    for (int type = 0; type < 2; type++) {
        Guard half = guard_alloc(2 * 65536 + 1, true),
              back[2] = {guard_alloc(2 * 65536, false), guard_alloc(2 * 65536, true)};
        Floats wide[2] = {floats(65536, true), floats(65536, false)};
        for (uint32_t h = 0; h < 65536; h++) { // all values, at an odd address
            const uint16_t u = (uint16_t)h;
            memcpy(half.data + 1 + (size_t)2 * h, &u, 2);
        }
        for (int which = 0; which < 2; which++) {
            widen[type][which](wide[which].x, half.data + 1, 65536);
            narrow[type][which](back[which].data, wide[0].x, 65536);
        }
        if (memcmp(wide[0].x, wide[1].x, wide[0].guard.n) != 0 || memcmp(back[0].data, back[1].data, back[0].n) != 0)
            fail(c, "%s differs over all 65536 values", type == 0 ? "f16" : "bf16");
        for (uint64_t u = 0; u <= UINT32_MAX; u += 4099 * (uint64_t)1009) { // floats between the halves, 1009 a block
            for (uint64_t i = 0; i < 1009; i++) {
                const uint32_t bits = (uint32_t)(u + i * 4099);
                memcpy(&wide[0].x[i], &bits, sizeof bits);
            }
            narrow[type][0](back[0].data, wide[0].x, 1009);
            narrow[type][1](back[1].data, wide[0].x, 1009);
            if (memcmp(back[0].data, back[1].data, 2 * 1009) != 0)
                fail(c, "%s rounds differently near bits %#llx", type == 0 ? "f16" : "bf16", (unsigned long long)u);
        }
        done(c, &wide[0]);
        done(c, &wide[1]);
        guard_free(&half);
        guard_free(&back[0]);
        guard_free(&back[1]);
        for (size_t w = 0; w < WIDTHS; w++) { // odd lengths between closed pages
            for (int at_end = 0; at_end < 2; at_end++) {
                Floats x = random_floats(c, widths[w], at_end != 0, SPECIAL), y = floats(widths[w], at_end == 0);
                Guard h = guard_alloc(2 * widths[w], at_end == 0), want = guard_alloc(2 * widths[w], true);
                narrow[type][1](h.data, x.x, widths[w]);
                narrow[type][0](want.data, x.x, widths[w]);
                if (memcmp(h.data, want.data, h.n) != 0 || !guard_intact(&h))
                    fail(c, "narrow n %zu", widths[w]);
                widen[type][1](y.x, h.data, widths[w]);
                widen[type][0](x.x, h.data, widths[w]);
                if (memcmp(x.x, y.x, x.guard.n) != 0)
                    fail(c, "widen n %zu", widths[w]);
                done(c, &x);
                done(c, &y);
                guard_free(&h);
                guard_free(&want);
            }
        }
    }
}

static const struct {
    const char *name;
    void (*check)(Check *);
} entries[] = {
    {"exp", check_exp},
    {"gelu", check_gelu},
    {"gelu_backward", check_gelu_backward},
    {"quick_gelu", check_quick_gelu},
    {"quick_gelu_backward", check_quick_gelu_backward},
    {"layernorm", check_layernorm},
    {"layernorm_backward", check_layernorm_backward},
    {"softmax", check_softmax},
    {"softmax_backward", check_softmax_backward},
    {"log_sum_exp", check_log_sum_exp},
    {"dot", check_dot},
    {"add, scale, axpy, add_rows, sum_rows", check_elementwise},
    {"adamw", check_adamw},
    {"f16 and bf16", check_half},
};
enum { ENTRIES = sizeof entries / sizeof entries[0] };

// ---- the test of the test ------------------------------------------------------------------------------------------

static void exp_off_by_six(float *y, const float *x, size_t n) // ulp, in the last element
{
    nn_kernels_reference()->exp(y, x, n);
    if (n > 0 && isfinite(y[n - 1]))
        y[n - 1] *= 1.0000007F;
}

static void sum_rows_backwards(float *out, const float *x, size_t rows, size_t width)
{
    for (size_t r = rows; r-- > 0;)
        nn_kernels_reference()->add(out, x + r * width, width);
}

static bool found(void (*check)(Check *), const NnKernels *broken)
{
    Check c = {.ref = nn_kernels_reference(), .k = broken};
    vc_rng_seed(&c.rng, 1);
    check(&c);
    return c.failed;
}

// Broken kernels must be found, here and by the short check of vicha doctor.
static bool finds_broken_kernels(void)
{
    NnKernels exp_broken = *nn_kernels_reference(), sum_broken = exp_broken;
    exp_broken.exp = exp_off_by_six;
    sum_broken.sum_rows = sum_rows_backwards;
    NnKernels coarse = exp_broken;
    coarse.gelu = coarse.quick_gelu; // another function altogether
    VcErr err;
    return found(check_exp, &exp_broken) && found(check_elementwise, &sum_broken) && found(check_gelu, &coarse) &&
           !found(check_gelu, &exp_broken) && !nn_kernels_check(&coarse, &err) &&
           nn_kernels_check(nn_kernels_reference(), &err);
}

int main(int argc, char **argv)
{
    NnKernels levels[2];
    size_t count = 0;
    const uint32_t flags = vc_cpu_flags(), steps[] = {VC_CPU_AVX2, VC_CPU_AVX2 | VC_CPU_AVX512};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if ((flags & steps[i]) == steps[i])
            nn_kernels_init(&levels[count++], steps[i]);
    }
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_kernels(levels, count);
        return 0;
    }
    if (count == 0) {
        printf("1..0 # SKIP this processor (or VC_CPU) has no vector level to compare\n");
        return TEST_SKIPPED;
    }
    printf("1..%zu\n", count * ENTRIES + 1);
    bool failed = false;
    for (size_t l = 0; l < count; l++) {
        for (size_t e = 0; e < ENTRIES; e++) {
            Check c = {.ref = nn_kernels_reference(), .k = &levels[l]};
            vc_rng_seed(&c.rng, 1);
            entries[e].check(&c);
            printf("%sok %zu - %s %s: ", c.failed ? "not " : "", l * ENTRIES + e + 1, levels[l].name, entries[e].name);
            if (c.failed)
                printf("%s\n", c.why);
            else if (c.worst == 0)
                printf("the same bits\n");
            else
                printf("worst error %.2f of the bound\n", c.worst);
            failed |= c.failed;
        }
    }
    const bool finds = finds_broken_kernels();
    printf("%sok %zu - broken kernels are found\n", finds ? "" : "not ", count * ENTRIES + 1);
    return failed || !finds ? 1 : 0;
}
