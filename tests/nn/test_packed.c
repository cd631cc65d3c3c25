// SPDX-License-Identifier: MIT
// Packed layers against sums in double: every kind, odd sizes, parts side by side, columns, activations, rows whose
// bits do not depend on their neighbours; what is no number.
#include "nn/nn.h"

#include "base/cpu.h"
#include "base/rng.h"
#include "tests/support/test.h"

#include <math.h>

typedef struct {
    size_t rows, in, out[2];
    bool columns, gelu;
} Shape;

static float *random_array(VcRng *rng, size_t n, float scale)
{
    float *x = vc_alloc(n > 0 ? n : 1, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)vc_rng_normal(rng) * scale;
    return x;
}

typedef struct {
    const Shape *s;
    size_t out;
    float *w, *b, *x, *columns, *inverse;
    NnPacked packed;
} Layer;

static NnPackedRows make_rows(const NnKernels *k, const Layer *l, const float *x, size_t rows)
{
    NnPackedRows r = {.kind = l->packed.kind, .words = l->packed.words};
    r.data = vc_alloc(rows * r.words, sizeof *r.data);
    r.scale = vc_alloc(rows, sizeof *r.scale);
    r.zero = vc_calloc(rows, sizeof *r.zero);
    float *work = vc_alloc(l->s->in, sizeof *work);
    for (size_t i = 0; i < rows; i++) {
        const bool bytes = r.kind == NN_PACKED_INT8;
        for (size_t j = 0; j < l->s->in; j++)
            work[j] = x[i * l->s->in + j] * (bytes || l->inverse == NULL ? 1 : l->inverse[j]);
        nn_packed_put(k, &r, i, work, l->s->in, bytes ? l->inverse : NULL);
    }
    free(work);
    return r;
}

static NnActivation activation_of(const NnKernels *k, const Layer *l)
{
    return l->s->gelu ? (NnActivation){k->gelu, k->gelu_bf16} : (NnActivation){0};
}

// The same layer to bfloat16 rows, `at` numbers from the left: y rounded, and nothing else is touched.
static void check_half_output(const NnKernels *k, const Layer *l, const NnPackedRows *x, size_t rows, const float *y,
                              float *panel)
{
    enum { AT = 6 };
    const size_t words = (l->out + AT + 3) / 2;
    uint32_t *data = vc_calloc(rows * words, sizeof *data);
    const NnPackedRows half = {.kind = NN_PACKED_BF16, .words = words, .data = data};
    const NnPackedOut out = {.half = &half, .at = AT, .activation = activation_of(k, l)};
    nn_packed_linear(k, &l->packed, x, rows, &out, panel);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < 2 * words; j++) {
            uint16_t h;
            memcpy(&h, (const uint8_t *)(data + r * words) + 2 * j, sizeof h);
            const float want = j < AT || j >= AT + l->out ? 0 : y[r * (l->out + 1) + j - AT];
            const double got = (double)nn_bf16_to_f32(h), bound = fabs((double)want) * (1.0 / 256 + 1e-4) + 1e-36;
            assert_true(isfinite(want) ? fabs(got - (double)want) <= bound : !isfinite(got));
        }
    }
    free(data);
}

static void run(const NnKernels *k, const Layer *l, const float *x, size_t rows, float *y, bool add)
{
    NnPackedRows r = make_rows(k, l, x, rows);
    float *panel = vc_alloc(l->packed.words * NN_PANEL, sizeof *panel);
    const NnPackedOut out = {.y = y, .ldy = l->out + 1, .add = add, .activation = activation_of(k, l)};
    nn_packed_linear(k, &l->packed, &r, rows, &out, panel);
    if (!add)
        check_half_output(k, l, &r, rows, y, panel);
    free(panel);
    free(r.data);
    free(r.scale);
    free(r.zero);
}

static void check_layer(const NnKernels *k, const Layer *l, const char *what)
{
    const Shape *s = l->s;
    const size_t ld = l->out + 1;
    static const double relative[] = {3e-7, 8e-3, 2e-2}; // of the length of row and weights: fp32, bf16, int8
    float *y = vc_calloc(s->rows * ld, sizeof *y), *again = vc_calloc(s->rows * ld, sizeof *again);
    run(k, l, l->x, s->rows, y, false);
    for (size_t r = 0; r < s->rows; r++) {
        for (size_t o = 0; o < l->out; o++) {
            const double part = o < s->out[0] ? 1 : 0.5; // the second part's factor
            double sum = 0, xx = 0, ww = 0;
            for (size_t i = 0; i < s->in; i++) {
                const double a = l->x[r * s->in + i], w = l->w[o * s->in + i] * part;
                sum += a * w;
                xx += a * a;
                ww += w * w;
            }
            const double z = sum + l->b[o] * part, want = s->gelu ? z * 0.5 * erfc(-z / sqrt(2)) : z;
            const double bound = relative[l->packed.kind] * (sqrt(xx * ww) + 1e-6) + 1e-6 * fabs(z);
            if (!(fabs(y[r * ld + o] - want) <= bound))
                fail_msg("%s: row %zu, output %zu: %g, should be %g within %g", what, r, o, (double)y[r * ld + o], want,
                         bound);
        }
        assert_true(y[r * ld + l->out] == 0); // beside the row
    }
    for (size_t r = 0; r < s->rows; r++) // alone, and added to what is there
        run(k, l, l->x + r * s->in, 1, again + r * ld, true);
    assert_memory_equal(again, y, s->rows * ld * sizeof *y);
    free(y);
    free(again);
}

static void layers_agree_with_double(void **state)
{
    (void)state;
    static const Shape shapes[] = {{1, 1, {1, 0}, false, false},     {13, 7, {5, 3}, false, true},
                                   {12, 64, {32, 32}, true, false},  {25, 33, {31, 40}, true, true},
                                   {40, 130, {96, 1}, false, false}, {3, 515, {20, 0}, true, false}};
    static const uint32_t levels[] = {0, VC_CPU_AVX2, VC_CPU_AVX2 | VC_CPU_AVX512, UINT32_MAX};
    VcRng rng;
    vc_rng_seed(&rng, 7);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const Shape *s = &shapes[i];
        Layer l = {.s = s, .out = s->out[0] + s->out[1]};
        l.w = random_array(&rng, l.out * s->in, 0.3F);
        l.b = random_array(&rng, l.out, 1);
        l.x = random_array(&rng, s->rows * s->in, 1);
        for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
            NnKernels k;
            nn_kernels_init(&k, levels[level] & vc_cpu_flags());
            for (int form = 0; form < 4; form++) { // 3: float that stays a view
                const NnPackedKind kind = form == 3 ? NN_PACKED_FP32 : (NnPackedKind)form;
                const bool columns = s->columns && form < 3;
                l.columns = columns ? vc_alloc(s->in, sizeof *l.columns) : NULL;
                l.inverse = columns ? vc_alloc(s->in, sizeof *l.inverse) : NULL;
                for (size_t c = 0; columns && c < s->in; c++) {
                    l.columns[c] = ldexpf(1, (int)(c % 4)); // powers of two: what they do is exact
                    l.inverse[c] = 1 / l.columns[c];
                }
                const NnPackedPart parts[] = {{l.w, l.b, s->out[0], 1},
                                              {l.w + s->out[0] * s->in, l.b + s->out[0], s->out[1], 0.5F}};
                assert_ok(nn_packed_init(&l.packed, NULL, kind, parts, s->out[1] > 0 ? 2 : 1, s->in, l.columns,
                                         form < 3, err));
                char what[64];
                snprintf(what, sizeof what, "%s, form %d, shape %zu", k.name, form, i);
                check_layer(&k, &l, what);
                nn_packed_finish(&l.packed);
                free(l.columns);
                free(l.inverse);
            }
        }
        free(l.w);
        free(l.b);
        free(l.x);
    }
}

static void weights_that_are_no_numbers(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < 6; i++) {
            float w[8] = {1, 2, 3, 4, 5, 6, 7, 8}, b[2] = {0, 1};
            (i < 3 ? w + 5 : b + 1)[0] = bad[i % 3];
            const NnPackedPart part = {w, b, 2, 1};
            NnPacked p;
            assert_error(nn_packed_init(&p, NULL, (NnPackedKind)kind, &part, 1, 4, NULL, true, err),
                         "no finite number");
        }
    }
}

// Rows that are no numbers stay apart from their neighbours; denormals count as what they are, or as 0.
static void rows_that_are_no_numbers(void **state)
{
    (void)state;
    enum { IN = 40, OUT = 33, ROWS = 5 };
    VcRng rng;
    vc_rng_seed(&rng, 3);
    for (int kind = 0; kind < 3; kind++) {
        const Shape s = {ROWS, IN, {OUT, 0}, false, false};
        Layer l = {.s = &s, .out = OUT};
        l.w = random_array(&rng, OUT * IN, 1);
        l.x = random_array(&rng, ROWS * IN, 1);
        l.x[1 * IN + 3] = NAN;
        l.x[2 * IN + 4] = INFINITY;
        for (int i = 0; i < IN; i++)
            l.x[3 * IN + i] = 1e-41F;
        const NnPackedPart part = {l.w, NULL, OUT, 1};
        assert_ok(nn_packed_init(&l.packed, NULL, (NnPackedKind)kind, &part, 1, IN, NULL, true, err));
        float y[ROWS * (OUT + 1)] = {0}, alone[OUT + 1] = {0};
        run(nn_kernels(), &l, l.x, ROWS, y, false);
        for (int o = 0; o < OUT; o++) {
            assert_true(isnan(y[(OUT + 1) + o]));
            assert_false(isfinite(y[2 * (OUT + 1) + o]));
            assert_true(fabsf(y[3 * (OUT + 1) + o]) < 1e-38F);
            assert_true(isfinite(y[4 * (OUT + 1) + o]));
        }
        run(nn_kernels(), &l, l.x + 4 * IN, 1, alone, false);
        assert_memory_equal(alone, y + 4 * (OUT + 1), OUT * sizeof *alone);
        nn_packed_finish(&l.packed);
        free(l.w);
        free(l.x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_agree_with_double),
        cmocka_unit_test(weights_that_are_no_numbers),
        cmocka_unit_test(rows_that_are_no_numbers),
    };
    return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
