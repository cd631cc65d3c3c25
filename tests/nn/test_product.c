// SPDX-License-Identifier: MIT
// nn_product: every way it goes, against sums in double, at every level, and the same bits for any number of threads.
#include "nn/product.h"

#include "base/cpu.h"
#include "base/rng.h"
#include "nn/half.h"
#include "nn/kernels/kernels.h"
#include "tests/support/test.h"

typedef struct {
    size_t m, n, k;
} Shape;

// One tile, edges of strips and panels, several blocks of terms, several tasks, packing by the task that uses it (few
// rows, many columns), more than one round (a packed right factor of more than 16 MiB), and nothing to do.
static const Shape shapes[] = {{1, 1, 1},     {12, 32, 16},   {13, 33, 17},    {200, 40, 300}, {97, 130, 257},
                               {20, 700, 90}, {250, 7, 1000}, {1, 33, 140000}, {5, 6, 0},      {0, 4, 3}};

static float *random_floats(VcRng *rng, size_t n)
{
    float *v = vc_alloc(n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(int32_t)(vc_rng_u64(rng) >> 32) * 0x1p-30F;
    return v;
}

static float *copy_of(const float *x, size_t n)
{
    float *v = vc_alloc(n + 1, sizeof *v);
    memcpy(v, x, n * sizeof *v);
    return v;
}

static double factor(float x, NnPrecision precision)
{
    return (double)(precision == NN_PRECISION_BF16 ? nn_bf16_to_f32(nn_f32_to_bf16(x)) : x);
}

// Rows of C are longer than N: what lies between them must stay.
static void check_result(const NnProduct *p, NnPrecision precision, const float *start)
{
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->ldc; j++) {
            const float old = start[i * p->ldc + j], got = p->c[i * p->ldc + j];
            if (j >= p->n) {
                assert_memory_equal(&old, &got, sizeof got);
                continue;
            }
            double sum = (p->add ? (double)old : 0) + (p->bias ? (double)p->bias[j] : 0), size = fabs(sum);
            for (size_t t = 0; t < p->k; t++) {
                const double a = factor(p->a[p->ta == NN_PLAIN ? i * p->lda + t : t * p->lda + i], precision);
                const double b = factor(p->b[p->tb == NN_PLAIN ? t * p->ldb + j : j * p->ldb + t], precision);
                sum += a * b;
                size += fabs(a * b);
            }
            assert_close((double)got, sum, 6e-8 * size * (sqrt((double)p->k) + 4));
        }
    }
}

static void check_shape(NnContext *ctx, VcPool *pool, VcRng *rng, Shape s, int form)
{
    NnProduct p = {.ta = form & 1 ? NN_TRANSPOSED : NN_PLAIN,
                   .tb = form & 2 ? NN_TRANSPOSED : NN_PLAIN,
                   .m = s.m,
                   .n = s.n,
                   .k = s.k,
                   .add = (form & 4) != 0};
    p.lda = (p.ta == NN_PLAIN ? s.k : s.m) + 1;
    p.ldb = (p.tb == NN_PLAIN ? s.n : s.k) + 2;
    p.ldc = s.n + 3;
    float *a = random_floats(rng, p.lda * (p.ta == NN_PLAIN ? s.m : s.k));
    float *b = random_floats(rng, p.ldb * (p.tb == NN_PLAIN ? s.k : s.n)), *bias = random_floats(rng, s.n);
    float *start = random_floats(rng, s.m * p.ldc), *one = copy_of(start, s.m * p.ldc),
          *more = copy_of(start, s.m * p.ldc);
    for (size_t i = 0; i < s.m * p.ldc && !p.add; i++) { // must not be read
        if (i % p.ldc < s.n)
            one[i] = more[i] = NAN;
    }
    p.a = a;
    p.b = b;
    p.bias = form & 8 ? bias : NULL;
    p.c = one;
    ctx->pool = NULL;
    nn_product(ctx, &p);
    check_result(&p, ctx->precision, start);
    p.c = more;
    ctx->pool = pool;
    nn_product(ctx, &p);
    assert_memory_equal(one, more, s.m * p.ldc * sizeof *one);
    float *all[] = {a, b, bias, start, one, more};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void every_shape_and_level(NnPrecision precision)
{
    static const uint32_t levels[] = {0, VC_CPU_AVX2, VC_CPU_AVX2 | VC_CPU_AVX512,
                                      VC_CPU_AVX2 | VC_CPU_AVX512 | VC_CPU_AVX512_BF16};
    VcPool *pool = vc_pool_create(3);
    NnContext ctx;
    nn_context_init(&ctx, NULL);
    ctx.precision = precision;
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        if ((vc_cpu_flags() & levels[l]) != levels[l])
            continue;
        NnKernels kernels;
        nn_kernels_init(&kernels, levels[l]);
        ctx.kernels = &kernels;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            for (int form = 0; form < (shapes[s].k > 100000 ? 4 : 16); form++) // 4: the ways it lies
                check_shape(&ctx, pool, &rng, shapes[s], form);
        }
    }
    nn_context_finish(&ctx);
    vc_pool_destroy(&pool);
}

static void in_float(void **state)
{
    (void)state;
    every_shape_and_level(NN_PRECISION_FP32);
}

static void in_bfloat16(void **state)
{
    (void)state;
    every_shape_and_level(NN_PRECISION_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_float), cmocka_unit_test(in_bfloat16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
