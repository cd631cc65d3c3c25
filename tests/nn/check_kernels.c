// SPDX-License-Identifier: MIT
// Every kernel at every level of this processor against the C reference: lengths around the vector sizes, buffers
// between closed pages at odd addresses, poisoned outputs, NaN, infinities and denormals, a sweep over the floats.
// The bounds are those of nn/kernels/kernels.h. TAP on standard output; the worst errors found stand in each line.
//
//   check_kernels            the test (exit 0, 1, or 77 where the processor has no vector level)
//   check_kernels --bench    nanoseconds per element, reference and levels
#include "tests/nn/check_kernels.h"

#include "base/cpu.h"
#include "nn/half.h"
#include "tests/nn/bench_kernels.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>

enum { TEST_SKIPPED = 77 };

const size_t widths[] = {0,  1,  2,  3,  5,  7,  8,  9,  15, 16,  17,  23,  24,  31,  32,
                         33, 40, 47, 48, 63, 64, 65, 77, 97, 127, 128, 129, 255, 257, 1023};
_Static_assert(sizeof widths / sizeof widths[0] == WIDTHS, "WIDTHS of check_kernels.h");

double ulp_of(double x) // distance of floats at |x|
{
    int e;
    frexp(x, &e);
    return ldexp(1, (e < -125 ? -125 : e) - 24);
}

void fail(Check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!c->failed)
        vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->failed = true;
}

// |got - want| within `bound`, NaN where and only where it should be.
void compare(Check *c, const char *what, size_t n, size_t i, float want, float got, double bound)
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

float random_float(VcRng *rng, Input input)
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

Floats floats(size_t n, bool at_end)
{
    Floats f = {.guard = guard_alloc(n * sizeof(float), at_end)};
    f.x = (float *)(void *)f.guard.data;
    return f;
}

Floats random_floats(Check *c, size_t n, bool at_end, Input input)
{
    Floats f = floats(n, at_end);
    for (size_t i = 0; i < n; i++)
        f.x[i] = random_float(&c->rng, input);
    return f;
}

Floats copy_floats(const Floats *from, bool at_end)
{
    Floats f = floats(from->guard.n / sizeof(float), at_end);
    memcpy(f.x, from->x, from->guard.n);
    return f;
}

void done(Check *c, Floats *f)
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

typedef void (*AgainFn)(float *, float *, const float *, size_t);

// The function's own bits, and its slope within the bound of the backward.
static void check_again(Check *c, UnaryFn fn, UnaryBackwardFn slope, AgainFn again)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 2 * INPUTS; form++) {
            const size_t n = widths[w];
            const bool at_end = form % 2 != 0;
            Floats x = random_floats(c, n, at_end, (Input)(form / 2)), d = random_floats(c, n, !at_end, PLAIN);
            Floats y = floats(n, at_end), want = floats(n, true), want_d = floats(n, true), dy = copy_floats(&d, true);
            if (n > 0)
                memset(want_d.x, 0, want_d.guard.n);
            slope(want_d.x, d.x, x.x, n);
            fn(want.x, x.x, n);
            again(y.x, d.x, x.x, n);
            for (size_t i = 0; i < n; i++) {
                compare(c, "y", n, i, want.x[i], y.x[i], 0);
                compare(c, "d", n, i, want_d.x[i], d.x[i], 5e-7 * fabs((double)dy.x[i]));
            }
            Floats *all[] = {&x, &d, &y, &want, &want_d, &dy};
            for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
                done(c, all[i]);
        }
    }
}

static void check_gelus_again(Check *c)
{
    check_again(c, c->k->gelu, c->ref->gelu_backward, c->k->gelu_again);
    check_again(c, c->k->quick_gelu, c->ref->quick_gelu_backward, c->k->quick_gelu_again);
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
    const NnAdamwStep step = {0.9999F, 3e-4F, 0.9F, 0.999F, 0.1F, 0.001F, 1.7F, 1e-8F, 0.7F};
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

// Against the float that is rounded. Places: an element's bits are those it has alone.
static void check_to_bf16(Check *c, UnaryFn real, void (*fn)(void *, const float *, size_t), const char *what)
{
    for (size_t w = 0; w < WIDTHS; w++) {
        for (int form = 0; form < 2 * INPUTS; form++) {
            const size_t n = widths[w];
            Floats x = random_floats(c, n, form % 2 != 0, (Input)(form / 2)), want = floats(n, true);
            Guard half = guard_alloc(2 * n, form % 2 == 0);
            real(want.x, x.x, n);
            fn(half.data, x.x, n);
            for (size_t i = 0; i < n; i++) {
                uint16_t h, alone;
                memcpy(&h, half.data + 2 * i, sizeof h);
                fn(&alone, x.x + i, 1);
                if (h != alone)
                    fail(c, "%s: %a gives other bits alone", what, (double)x.x[i]);
                uint16_t nearest; // FLT_MAX rounds to infinity
                c->ref->f32_to_bf16(&nearest, &want.x[i], 1);
                const float rounded = nn_bf16_to_f32(nearest), got = nn_bf16_to_f32(h);
                const bool same = h == nearest || (isnan(rounded) && isnan(got));
                if (!same)
                    compare(c, what, n, i, want.x[i], got, fabs((double)want.x[i]) * (1.0 / 256 + 1e-4) + 1e-36);
            }
            if (!guard_intact(&half))
                fail(c, "%s wrote beside its %zu numbers", what, n);
            guard_free(&half);
            done(c, &x);
            done(c, &want);
        }
    }
}

static void copy_floats_to(float *y, const float *x, size_t n)
{
    if (n > 0)
        memcpy(y, x, n * sizeof *y);
}

static void check_activations_bf16(Check *c)
{
    check_to_bf16(c, copy_floats_to, c->k->round_bf16, "round_bf16");
    check_to_bf16(c, c->ref->gelu, c->k->gelu_bf16, "gelu_bf16");
    check_to_bf16(c, c->ref->quick_gelu, c->k->quick_gelu_bf16, "quick_gelu_bf16");
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
    {"gelu_again, quick_gelu_again", check_gelus_again},
    {"layernorm", check_layernorm},
    {"layernorm_backward", check_layernorm_backward},
    {"softmax", check_softmax},
    {"softmax_backward", check_softmax_backward},
    {"log_sum_exp", check_log_sum_exp},
    {"dot", check_dot},
    {"pack_panel, panel_product", check_panels},
    {"gemm_pack, gemm_pack_bf16", check_gemm_pack},
    {"gemm_tile, gemm_tile_bf16", check_gemm_tile},
    {"attention_exp, attention_weights, attention_slopes", check_attention},
    {"round_bf16, gelu_bf16, quick_gelu_bf16", check_activations_bf16},
    {"quantize", check_quantize},
    {"gemm_tile_int8, dequantize", check_int8},
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

static void tile_saturates(int32_t *c, const uint32_t *a, size_t row, const uint32_t *panel, size_t words, size_t rows)
{
    nn_kernels_reference()->gemm_tile_int8(c, a, row, panel, words, rows);
    for (size_t i = 0; i < rows * NN_PANEL; i++) // as vpmaddubsw does with large pairs
        c[i] = words == 1 && c[i] > 2 * INT16_MAX ? 2 * INT16_MAX : c[i];
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
    NnKernels bytes_broken = *nn_kernels_reference();
    bytes_broken.gemm_tile_int8 = tile_saturates;
    VcErr err;
    return found(check_int8, &bytes_broken) && found(check_exp, &exp_broken) && found(check_elementwise, &sum_broken) &&
           found(check_gelu, &coarse) && !found(check_gelu, &exp_broken) && !nn_kernels_check(&coarse, &err) &&
           nn_kernels_check(nn_kernels_reference(), &err);
}

static const struct {
    const char *name;
    uint32_t flags;
} level_flags[] = {{"avx2", VC_CPU_AVX2},
                   {"avxvnni", VC_CPU_AVX2 | VC_CPU_AVX_VNNI},
                   {"avx512", VC_CPU_AVX2 | VC_CPU_AVX512},
                   {"avx512 bf16", VC_CPU_AVX2 | VC_CPU_AVX512 | VC_CPU_AVX512_BF16},
                   {"avx512 vnni", VC_CPU_AVX2 | VC_CPU_AVX512 | VC_CPU_AVX512_VNNI}};
enum { LEVELS = sizeof level_flags / sizeof level_flags[0] };

int main(int argc, char **argv)
{
    NnKernels levels[LEVELS];
    size_t count = 0;
    const uint32_t flags = vc_cpu_flags();
    const char *names[LEVELS];
    for (size_t i = 0; i < LEVELS; i++) {
        if ((flags & level_flags[i].flags) == level_flags[i].flags) {
            names[count] = level_flags[i].name;
            nn_kernels_init(&levels[count++], level_flags[i].flags);
        }
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
            printf("%sok %zu - %s %s: ", c.failed ? "not " : "", l * ENTRIES + e + 1, names[l], entries[e].name);
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
