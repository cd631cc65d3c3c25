// SPDX-License-Identifier: MIT
// The float program against the double compilation (outputs and gradients, at sizes of several chunks), and against
// itself with other numbers of threads, to the bit.
#include "op_cases_double.h"

#include "tests/support/test.h"

_Static_assert(sizeof(nn_real) == 4, "this test is for the float compilation");

static double worst_difference(const double *a, const double *b, size_t n)
{
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]))
            return INFINITY;
        largest = fmax(largest, fabs(b[i]));
        worst = fmax(worst, fabs(a[i] - b[i]));
    }
    return worst > 0 ? worst / largest : 0;
}

static void float_agrees_with_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < op_case_count; i++) {
        const OpCase *c = &op_cases[i];
        OpRun got, want;
        op_case_run(&got, c, true, NULL, 11);
        op_case_run_double(&want, i, true, 11);
        assert_int_equal(got.count, want.count);
        double worst = 0;
        for (size_t j = 0; j < got.count; j++) {
            assert_int_equal(got.size[j], want.size[j]);
            worst = fmax(worst, worst_difference(got.values[j], want.values[j], got.size[j]));
        }
        printf("# %s: float from double %.1e, bound %.0e\n", c->name, worst, c->agree);
        if (!(worst <= c->agree))
            fail_msg("%s: float differs from double by %.3g of the largest value, bound %.3g", c->name, worst,
                     c->agree);
        op_run_finish(&got);
        op_run_finish(&want);
    }
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    VcPool *pools[] = {vc_pool_create(1), vc_pool_create(2), vc_pool_create(4)};
    for (size_t i = 0; i < op_case_count; i++) {
        OpRun alone;
        op_case_run(&alone, &op_cases[i], true, NULL, 12);
        for (size_t p = 0; p < 3; p++) {
            OpRun run;
            op_case_run(&run, &op_cases[i], true, pools[p], 12);
            for (size_t j = 0; j < run.count; j++)
                if (memcmp(run.values[j], alone.values[j], run.size[j] * sizeof(double)) != 0)
                    fail_msg("%s: %zu threads change the bits of %s %zu", op_cases[i].name, vc_pool_threads(pools[p]),
                             j ? "gradient" : "output", j ? j - 1 : 0);
            op_run_finish(&run);
        }
        op_run_finish(&alone);
    }
    for (size_t p = 0; p < 3; p++)
        vc_pool_destroy(&pools[p]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_agrees_with_double),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
