// SPDX-License-Identifier: MIT
// Products against plain C in double, the same bits on any number of threads, and the check of the BLAS against
// products that are broken on purpose.
#include "nn/gemm.h"

#include "base/log.h"
#include "base/rng.h"
#include "tests/support/test.h"

#include <signal.h>

typedef struct {
    NnGemmShape s;
    nn_real *a, *b, *c, *start;
    size_t a_count, b_count, c_count;
} Case;

static nn_real *random_reals(VcRng *rng, size_t n)
{
    nn_real *x = vc_alloc(n > 0 ? n : 1, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (nn_real)(2 * vc_rng_uniform(rng) - 1);
    return x;
}

static Case make_case(VcRng *rng, size_t m, size_t n, size_t k, int form)
{
    const NnTranspose ta = (form & 1) != 0 ? NN_TRANSPOSED : NN_PLAIN, tb = (form & 2) != 0 ? NN_TRANSPOSED : NN_PLAIN;
    Case t = {.s = {ta, tb, m, n, k, (form & 4) != 0 ? (nn_real)1.5 : 1, (form & 8) != 0 ? (nn_real)-0.5 : 0,
                    (ta == NN_TRANSPOSED ? m : k) + (size_t)(form >> 4),
                    (tb == NN_TRANSPOSED ? k : n) + (size_t)(form >> 4), n + (size_t)(form >> 4)}};
    t.a_count = t.s.lda * (ta == NN_TRANSPOSED ? k : m);
    t.b_count = t.s.ldb * (tb == NN_TRANSPOSED ? n : k);
    t.c_count = t.s.ldc * m;
    t.a = random_reals(rng, t.a_count);
    t.b = random_reals(rng, t.b_count);
    t.c = random_reals(rng, t.c_count);
    t.start = vc_alloc(t.c_count + 1, sizeof *t.start);
    for (size_t i = 0; i < m; i++) { // beta 0 must not read C, and nobody may write behind a row
        for (size_t j = 0; j < n && t.s.beta == 0; j++)
            t.c[i * t.s.ldc + j] = (nn_real)NAN;
    }
    memcpy(t.start, t.c, t.c_count * sizeof *t.c);
    return t;
}

static void free_case(Case *t)
{
    free(t->a);
    free(t->b);
    free(t->c);
    free(t->start);
}

static void run(const Case *t, VcPool *pool)
{
    const NnGemmShape *s = &t->s;
    nn_gemm(pool, s->ta, s->tb, s->m, s->n, s->k, s->alpha, t->a, s->lda, t->b, s->ldb, s->beta, t->c, s->ldc);
}

static void check_element(const Case *t, size_t i, size_t j)
{
    const NnGemmShape *s = &t->s;
    double sum = 0, size = 0;
    for (size_t p = 0; p < s->k; p++) {
        const double a = t->a[s->ta == NN_TRANSPOSED ? p * s->lda + i : i * s->lda + p];
        const double b = t->b[s->tb == NN_TRANSPOSED ? j * s->ldb + p : p * s->ldb + j];
        sum += a * b;
        size += fabs(a * b);
    }
    const double start = s->beta == 0 ? 0 : s->beta * t->start[i * s->ldc + j];
    const double eps = sizeof(nn_real) == 4 ? 1.2e-7 : 2.3e-16;
    assert_close(t->c[i * s->ldc + j], s->alpha * sum + start,
                 eps * (double)(s->k + 4) * (fabs(s->alpha) * size + fabs(start)) + 1e-300);
}

// Every element of small products; rows and columns on a grid of large ones, their ends included.
static void check_case(const Case *t)
{
    const NnGemmShape *s = &t->s;
    const size_t step_i = s->m * s->n * s->k > 4000000 ? 13 : 1, step_j = s->m * s->n * s->k > 4000000 ? 11 : 1;
    for (size_t i = 0; i < s->m; i += step_i) {
        for (size_t j = 0; j < s->n; j += step_j)
            check_element(t, i, j);
    }
    for (size_t i = 0; i < s->m; i++) {
        check_element(t, i, s->n - 1);
        for (size_t j = s->n; j < s->ldc; j++)
            assert_true(t->c[i * s->ldc + j] == t->start[i * s->ldc + j]);
    }
    for (size_t j = 0; j < s->n; j++)
        check_element(t, s->m - 1, j);
}

static void test_products(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {
        {1, 1, 1},     {1, 1, 100},    {1, 300, 7},   {300, 1, 7},    {2, 3, 5},      {16, 16, 16},
        {17, 33, 65},  {50, 50, 64},   {77, 77, 16},  {256, 8, 256},  {257, 512, 5},  {255, 513, 31},
        {600, 40, 64}, {40, 1100, 64}, {300, 700, 9}, {513, 1030, 3}, {33, 3000, 17},
    };
    VcPool *pool = vc_pool_create(2);
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int form = 0; form < 32; form++) {
            Case t = make_case(&rng, shapes[i][0], shapes[i][1], shapes[i][2], form);
            run(&t, form % 3 == 0 ? NULL : pool);
            check_case(&t);
            free_case(&t);
        }
    }
    vc_pool_destroy(&pool);
}

// Sums so long that no tile is small: one product, not a search without end.
static void test_long_sum(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 4);
    Case t = make_case(&rng, 2, 1, 4300000, 2);
    run(&t, NULL);
    check_case(&t);
    free_case(&t);
}

static void test_no_terms(void **state)
{
    (void)state;
    nn_real c[6] = {1, 2, 3, 4, 5, (nn_real)NAN};
    nn_gemm(NULL, NN_PLAIN, NN_PLAIN, 2, 2, 0, 1, NULL, 0, NULL, 2, 2, c, 3);
    assert_true(c[0] == 2 && c[1] == 4 && c[2] == 3 && c[3] == 8 && c[4] == 10 && isnan(c[5]));
    c[0] = (nn_real)NAN;
    nn_gemm(NULL, NN_PLAIN, NN_PLAIN, 2, 2, 0, 1, NULL, 0, NULL, 2, 0, c, 3);
    assert_true(c[0] == 0 && c[1] == 0 && c[2] == 3 && c[3] == 0);
    nn_gemm(NULL, NN_PLAIN, NN_PLAIN, 0, 2, 2, 1, NULL, 2, c, 2, 0, NULL, 2);
    nn_gemm(NULL, NN_PLAIN, NN_PLAIN, 2, 0, 2, 1, c, 2, NULL, 0, 0, NULL, 0);
}

static void test_same_bits_on_any_threads(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 2);
    for (int form = 0; form < 4; form++) {
        Case t = make_case(&rng, 700, 1300, 97, form);
        run(&t, NULL);
        nn_real *one = vc_alloc(t.c_count, sizeof *one);
        memcpy(one, t.c, t.c_count * sizeof *one);
        for (size_t threads = 2; threads <= 5; threads++) {
            VcPool *pool = vc_pool_create(threads);
            memset(t.c, 0xff, t.c_count * sizeof *t.c);
            run(&t, pool);
            assert_memory_equal(t.c, one, t.c_count * sizeof *one);
            vc_pool_destroy(&pool);
        }
        free(one);
        free_case(&t);
    }
}

static void test_batches(void **state)
{
    (void)state;
    enum { B = 5, H = 3, T = 9, D = 4, LD = 3 * H * D };
    VcRng rng;
    vc_rng_seed(&rng, 3);
    // Scores of attention from packed q, k, v: sample b, head h, scores [T,T] = q k^T.
    nn_real *qkv = random_reals(&rng, B * T * LD), *p = vc_alloc(B * H * T * T, sizeof *p);
    const NnGemmShape s = {NN_PLAIN, NN_TRANSPOSED, T, T, D, (nn_real)0.5, 0, LD, LD, T};
    VcPool *pool = vc_pool_create(3);
    const NnStride2 in = {(size_t)T * LD, D}, out = {(size_t)H * T * T, (size_t)T * T};
    nn_gemm_batch2(pool, &s, B, H, qkv, in, qkv + (size_t)H * D, in, p, out);
    for (size_t i = 0; i < (size_t)B * H * T * T; i++) {
        const size_t b = i / (H * T * T), h = i / (T * T) % H, t = i / T % T, u = i % T;
        double sum = 0;
        for (size_t d = 0; d < D; d++)
            sum += 0.5 * qkv[(b * T + t) * LD + h * D + d] * qkv[(b * T + u) * LD + (H + h) * D + d];
        assert_close(p[i], sum, 1e-6);
    }
    // One stride, with nothing to sum: only beta.
    const NnGemmShape none = {NN_PLAIN, NN_PLAIN, 2, 2, 0, 1, 0, 0, 2, 2};
    nn_gemm_batch(pool, &none, 3, qkv, 0, qkv, 0, p, 4);
    for (int i = 0; i < 12; i++)
        assert_true(p[i] == 0);
    vc_pool_destroy(&pool);
    free(qkv);
    free(p);
}

// ---- the check -----------------------------------------------------------------------------------------------------

static void plain(NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha, const nn_real *a,
                  size_t lda, const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            nn_real sum = 0;
            for (size_t p = 0; p < k; p++)
                sum += a[ta == NN_TRANSPOSED ? p * lda + i : i * lda + p] *
                       b[tb == NN_TRANSPOSED ? j * ldb + p : p * ldb + j];
            c[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
        }
    }
}

#define ARGUMENTS                                                                                              \
    NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha, const nn_real *a, size_t lda, \
        const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc

static void reads_c(ARGUMENTS) // multiplies C by beta 0 and so keeps NaN
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] *= beta;
    }
    plain(ta, tb, m, n, k, alpha, a, lda, b, ldb, 1, c, ldc);
}

static void slightly_wrong(ARGUMENTS) // one element in the last column, by a thousandth
{
    plain(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (m == 33)
        c[7 * ldc + n - 1] *= (nn_real)1.001;
}

static void forgets_transpose(ARGUMENTS) // of square matrices, where nothing is out of bounds
{
    plain(m == n && n == k ? NN_PLAIN : ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void writes_padding(ARGUMENTS)
{
    plain(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    c[n] = 0;
}

static void drops_last_term(ARGUMENTS) // of long sums
{
    plain(ta, tb, m, n, k > 600 ? k - 1 : k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void illegal_instruction(ARGUMENTS)
{
    plain(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (m == 50)
        raise(SIGILL);
}

static void bad_address(ARGUMENTS)
{
    plain(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (m == 130)
        raise(SIGSEGV);
}

static void test_check_finds_broken_products(void **state)
{
    (void)state;
    assert_ok(nn_gemm_check_with(plain, err));
    assert_error(nn_gemm_check_with(reads_c, err), "is wrong");
    assert_error(nn_gemm_check_with(slightly_wrong, err), "gemm is wrong: 33 x 47 x 65");
    assert_error(nn_gemm_check_with(forgets_transpose, err), "A transposed");
    assert_error(nn_gemm_check_with(writes_padding, err), "beta -0.5");
    assert_error(nn_gemm_check_with(drops_last_term, err), "x 800");
    assert_error(nn_gemm_check_with(illegal_instruction, err), "crashed with signal 4");
    assert_error(nn_gemm_check_with(bad_address, err), "crashed with signal 11");
    assert_ok(nn_gemm_check_with(plain, err)); // and goes on after a crash
}

static void test_this_blas(void **state)
{
    (void)state;
    assert_ok(nn_blas_check(err));
    NnBlasInfo info;
    nn_blas_info(&info);
    assert_true(info.threads >= 1 && info.processors >= 1);
    assert_non_null(strstr(info.file, "blas"));
    VcStr line = {0};
    nn_blas_describe(&line);
    assert_non_null(strstr(line.data, info.corename));
    assert_non_null(strstr(line.data, info.file));
    vc_str_finish(&line);
    assert_int_equal(nn_blas_set_threads(1), 1); // the check has set it
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),  cmocka_unit_test(test_long_sum),
        cmocka_unit_test(test_no_terms),  cmocka_unit_test(test_same_bits_on_any_threads),
        cmocka_unit_test(test_batches),   cmocka_unit_test(test_check_finds_broken_products),
        cmocka_unit_test(test_this_blas),
    };
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
