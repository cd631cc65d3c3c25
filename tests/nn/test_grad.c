// SPDX-License-Identifier: MIT
// Every op's backward against central finite differences of its forward, in the double compilation.
#include "op_cases.h"

#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

_Static_assert(sizeof(nn_real) == 8, "this test is for the double compilation");

enum { MAX_PROBES = 60 }; // numbers of a leaf that are tried

typedef struct {
    const OpCase *c;
    NnTape *t;
    nn_real *value[OP_MAX_LEAVES], *grad[OP_MAX_LEAVES], *dy;
    size_t size[OP_MAX_LEAVES];
} Fixture;

static NnVar *build(Fixture *f, bool with_grad)
{
    NnVar *leaf[OP_MAX_LEAVES];
    nn_tape_reset(f->t);
    for (size_t i = 0; i < f->c->leaves; i++)
        leaf[i] = with_grad ? nn_leaf(f->t, f->value[i], f->grad[i], f->c->small[i])
                            : nn_input(f->t, f->value[i], f->c->small[i]);
    return f->c->build(f->t, leaf);
}

static double objective(Fixture *f)
{
    const NnVar *y = build(f, false);
    double sum = 0;
    for (size_t i = 0; i < y->size; i++)
        sum += y->value[i] * f->dy[i];
    return sum;
}

// Worst error of leaf i, relative to its largest gradient.
static double worst_of_leaf(Fixture *f, size_t i)
{
    double largest = 0, worst = 0;
    for (size_t j = 0; j < f->size[i]; j++)
        largest = fmax(largest, fabs(f->grad[i][j]));
    const size_t stride = f->size[i] / MAX_PROBES + 1;
    for (size_t j = 0; j < f->size[i]; j += stride) {
        const nn_real keep = f->value[i][j];
        f->value[i][j] = keep + f->c->step;
        const double up = objective(f);
        f->value[i][j] = keep - f->c->step;
        const double down = objective(f);
        f->value[i][j] = keep;
        worst = fmax(worst, fabs((up - down) / (2 * f->c->step) - f->grad[i][j]));
    }
    assert_true(largest > 0);
    return worst / largest;
}

static void check_case(void **state)
{
    Fixture f = {.c = *state};
    NnContext ctx;
    nn_context_init(&ctx, NULL);
    f.t = nn_tape_create(&ctx);
    VcRng rng;
    vc_rng_seed(&rng, 77);
    for (size_t i = 0; i < f.c->leaves; i++) {
        assert_true(nn_shape_count(&f.c->small[i], &f.size[i]));
        f.value[i] = vc_alloc(f.size[i], sizeof(nn_real));
        f.grad[i] = vc_calloc(f.size[i], sizeof(nn_real));
        for (size_t j = 0; j < f.size[i]; j++)
            f.value[i][j] = f.c->offset + f.c->scale * vc_rng_normal(&rng);
    }
    NnVar *y = build(&f, true);
    const size_t out_size = y->size;
    f.dy = vc_alloc(out_size, sizeof(nn_real));
    for (size_t i = 0; i < out_size; i++)
        f.dy[i] = vc_rng_normal(&rng);
    nn_backward_from(f.t, y, f.dy);
    for (size_t i = 0; i < f.c->leaves; i++) {
        const double worst = worst_of_leaf(&f, i);
        printf("# %s: input %zu: worst error %.1e, bound %.0e\n", f.c->name, i, worst, f.c->bound);
        assert_true(worst <= f.c->bound);
    }
    for (size_t i = 0; i < f.c->leaves; i++) {
        free(f.value[i]);
        free(f.grad[i]);
    }
    free(f.dy);
    nn_tape_destroy(&f.t);
    nn_context_finish(&ctx);
}

int main(void)
{
    struct CMUnitTest *tests = vc_calloc(op_case_count, sizeof *tests);
    for (size_t i = 0; i < op_case_count; i++) {
        union { // cmocka wants void *; the case is only read
            const OpCase *from;
            void *to;
        } state = {&op_cases[i]};
        tests[i] = (struct CMUnitTest){.name = op_cases[i].name, .test_func = check_case, .initial_state = state.to};
    }
    const int failed = _cmocka_run_group_tests("grad", tests, op_case_count, NULL, NULL);
    free(tests);
    return failed;
}
