// SPDX-License-Identifier: MIT
// nn_rows_linear at every level of this processor: against sums in double, and the bits of a row among others.
#include "nn/rows.h"

#include "base/cpu.h"
#include "base/rng.h"
#include "nn/kernels/kernels.h"
#include "tests/support/test.h"

static const uint32_t levels[] = {0, VC_CPU_AVX2, VC_CPU_AVX2 | VC_CPU_AVX512};

static float *random_floats(VcRng *rng, size_t n)
{
    float *v = vc_alloc(n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)vc_rng_normal(rng);
    return v;
}

static void check_shape(const NnContext *ctx, VcRng *rng, size_t R, size_t I, size_t O, bool add)
{
    float *x = random_floats(rng, R * I), *w = random_floats(rng, O * I), *b = random_floats(rng, O);
    float *y = random_floats(rng, R * O), *start = vc_alloc(R * O + 1, sizeof *start);
    memcpy(start, y, R * O * sizeof *y);
    if (!add)
        for (size_t i = 0; i < R * O; i++)
            y[i] = NAN; // must not be read
    nn_rows_linear(ctx, y, x, w, b, R, I, O, add);
    for (size_t r = 0; r < R; r++)
        for (size_t o = 0; o < O; o++) {
            const double old = add ? (double)start[r * O + o] : 0;
            double sum = b[o] + old, size = fabs((double)b[o]) + fabs(old);
            for (size_t i = 0; i < I; i++) {
                sum += (double)x[r * I + i] * (double)w[o * I + i];
                size += fabs((double)x[r * I + i] * (double)w[o * I + i]);
            }
            assert_close(y[r * O + o], sum, 6e-8 * size * (sqrt((double)I) + 4));
        }
    // Every row alone, and the last rows as a batch of their own.
    float *alone = vc_alloc(R * O + 1, sizeof *alone);
    for (size_t r = 0; r < R; r++) {
        memcpy(alone, start + r * O, O * sizeof *alone);
        nn_rows_linear(ctx, alone, x + r * I, w, b, 1, I, O, add);
        assert_memory_equal(alone, y + r * O, O * sizeof *alone);
    }
    const size_t from = R / 3;
    memcpy(alone, start + from * O, (R - from) * O * sizeof *alone);
    nn_rows_linear(ctx, alone, x + from * I, w, b, R - from, I, O, add);
    assert_memory_equal(alone, y + from * O, (R - from) * O * sizeof *alone);
    free(x);
    free(w);
    free(b);
    free(y);
    free(start);
    free(alone);
}

static void every_level(void **state)
{
    (void)state;
    static const size_t rows[] = {1, 2, 5, 6, 7, 12, 13, 25, 40}, in[] = {1, 3, 4, 31, 64, 256, 257, 600},
                        out[] = {1, 4, 7, 32, 33, 64, 90};
    for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
        if ((vc_cpu_flags() & levels[l]) != levels[l]) {
            print_message("# this processor lacks level %zu\n", l);
            continue;
        }
        NnKernels kernels;
        nn_kernels_init(&kernels, levels[l]);
        NnContext ctx;
        nn_context_init(&ctx, NULL);
        ctx.kernels = &kernels;
        VcRng rng;
        vc_rng_seed(&rng, 11);
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
                for (size_t o = 0; o < sizeof out / sizeof out[0]; o++)
                    if ((r + i + o + l) % 3 == 0) // a third of all, another third at each level
                        check_shape(&ctx, &rng, rows[r], in[i], out[o], (r + o) % 2 == 1);
        print_message("# level '%s' holds\n", kernels.name);
        nn_context_finish(&ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_level)};
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
