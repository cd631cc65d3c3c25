// SPDX-License-Identifier: MIT
// The tape's bookkeeping, the parameter block, the optimizer and its schedules, the helpers without gradients, and the
// corners that finite differences cannot see. Runs without reference data.
#include "nn/nn.h"

#include "tests/support/test.h"

typedef struct {
    NnContext ctx;
    NnTape *t;
} Fixture;

static int set_up(void **state)
{
    Fixture *f = vc_calloc(1, sizeof *f);
    nn_context_init(&f->ctx, NULL);
    f->t = nn_tape_create(&f->ctx);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    nn_tape_destroy(&f->t);
    nn_context_finish(&f->ctx);
    free(f);
    return 0;
}

static void only_what_needs_a_gradient_is_recorded(void **state)
{
    Fixture *f = *state;
    nn_real value[6] = {1, -2, 3, 4, -5, 6}, grad[6] = {0};
    NnVar *constant = nn_input(f->t, value, NN_SHAPE(2, 3));
    NnVar *y = nn_gelu(f->t, nn_softmax(f->t, constant));
    assert_false(y->needs_grad);
    assert_int_equal(nn_tape_count(f->t), 0);
    NnVar *x = nn_leaf(f->t, value, grad, NN_SHAPE(2, 3));
    nn_tape_record(f->t, false);
    assert_false(nn_gelu(f->t, x)->needs_grad);
    assert_int_equal(nn_tape_count(f->t), 0);
    nn_tape_record(f->t, true);
    assert_true(nn_gelu(f->t, x)->needs_grad);
    assert_int_equal(nn_tape_count(f->t), 1);
    nn_backward(f->t, nn_sum(f->t, nn_detach(f->t, x))); // a constant loss: nothing to do
    for (int i = 0; i < 6; i++)
        assert_true(grad[i] == 0);
}

static void gradients_add_to_what_is_there(void **state)
{
    Fixture *f = *state;
    nn_real value[2] = {1, 2}, grad[2] = {10, 20};
    for (int pass = 1; pass <= 3; pass++) {
        nn_tape_reset(f->t);
        NnVar *x = nn_leaf(f->t, value, grad, NN_SHAPE(2));
        nn_backward(f->t, nn_sum(f->t, nn_scale(f->t, x, 3)));
        assert_close((double)grad[0], 10 + 3 * pass, 1e-6);
        assert_close((double)grad[1], 20 + 3 * pass, 1e-6);
    }
}

static void kept_gradients_survive(void **state)
{
    Fixture *f = *state;
    nn_real value[3] = {1, 2, 3}, grad[3] = {0};
    NnVar *x = nn_leaf(f->t, value, grad, NN_SHAPE(3));
    NnVar *a = nn_scale(f->t, x, 2), *b = nn_add(f->t, a, a), *c = nn_scale(f->t, nn_add(f->t, b, a), 5);
    nn_keep_grad(a);
    nn_keep_grad(b);
    nn_backward(f->t, nn_sum(f->t, c));
    assert_null(c->grad); // passed on, its memory used again
    for (int i = 0; i < 3; i++) {
        assert_close((double)b->grad[i], 5, 0);
        assert_close((double)a->grad[i], 15, 0);
        assert_close((double)grad[i], 30, 0);
    }
}

// A chain of n equal ops needs two gradients at a time, not n.
static void gradient_memory_is_used_again(void **state)
{
    Fixture *f = *state;
    enum { N = 100000, LENGTH = 50 };
    nn_real *value = vc_calloc(N, sizeof *value), *grad = vc_calloc(N, sizeof *grad);
    NnVar *x = nn_leaf(f->t, value, grad, NN_SHAPE(N));
    for (int i = 0; i < LENGTH; i++)
        x = nn_gelu(f->t, x);
    NnVar *loss = nn_sum(f->t, x);
    const size_t before = nn_tape_peak(f->t);
    nn_backward(f->t, loss);
    assert_true(nn_tape_peak(f->t) - before < 4 * N * sizeof(nn_real));
    const size_t peak = nn_tape_peak(f->t);
    nn_tape_reset(f->t);
    nn_gelu(f->t, nn_leaf(f->t, value, grad, NN_SHAPE(N)));
    assert_int_equal(nn_tape_peak(f->t), peak); // a reset gives the memory back to the tape
    free(value);
    free(grad);
}

static void padding_rows_get_no_gradient(void **state)
{
    Fixture *f = *state;
    nn_real table[4 * 2] = {0}, grad[4 * 2] = {0};
    static const int32_t ids[6] = {1, 0, 3, 0, 1, 1};
    NnVar *x = nn_embedding(f->t, nn_leaf(f->t, table, grad, NN_SHAPE(4, 2)), ids, 2, 3, 0);
    assert_int_equal(x->shape.rank, 3);
    nn_backward(f->t, nn_sum(f->t, x));
    static const double want[4] = {0, 3, 0, 1};
    for (int i = 0; i < 8; i++)
        assert_close((double)grad[i], want[i / 2], 0);
}

static void hidden_keys_have_no_weight(void **state)
{
    Fixture *f = *state;
    enum { T = 5, C = 4 };
    nn_real q[T * C], dq[T * C] = {0}, mask[T] = {0, 0, 0, -10000, -10000};
    for (int i = 0; i < T * C; i++)
        q[i] = (nn_real)(i % 7) - 3;
    NnVar *x = nn_leaf(f->t, q, dq, NN_SHAPE(1, T, C));
    NnVar *value = nn_input(f->t, q, NN_SHAPE(1, T, C));
    NnVar *masked = nn_attention(f->t, x, x, value, 2, mask, false);
    // The same with the last two keys cut off.
    NnVar *short_keys = nn_input(f->t, q, NN_SHAPE(1, T - 2, C));
    NnVar *cut = nn_attention(f->t, x, short_keys, short_keys, 2, NULL, false);
    for (int i = 0; i < T * C; i++)
        assert_close((double)masked->value[i], (double)cut->value[i], 1e-6);
    // A causal mask: the first token sees itself only.
    NnVar *causal = nn_attention(f->t, x, x, value, 2, NULL, true);
    for (int i = 0; i < C; i++)
        assert_close((double)causal->value[i], (double)q[i], 1e-6);
}

static void a_batch_without_a_counted_row_is_no_loss(void **state)
{
    Fixture *f = *state;
    nn_real logits[6] = {1, 2, 3, 4, 5, 6}, grad[6] = {0}, targets[6] = {0}, weight[2] = {0};
    static const int32_t none[2] = {NN_IGNORE_LABEL, NN_IGNORE_LABEL};
    NnVar *x = nn_leaf(f->t, logits, grad, NN_SHAPE(2, 3));
    NnVar *parts[] = {nn_cross_entropy(f->t, x, none), nn_soft_cross_entropy(f->t, x, targets, none),
                      nn_mse(f->t, x, targets, weight)};
    NnVar *loss = nn_weighted_sum(f->t, parts, (const double[]){1, 1, 1}, 3);
    assert_true(loss->value[0] == 0);
    nn_backward(f->t, loss);
    for (int i = 0; i < 6; i++)
        assert_true(grad[i] == 0);
}

static void cross_entropy_stands_large_logits(void **state)
{
    Fixture *f = *state;
    nn_real logits[6] = {1e4, 0, -1e4, -1e4, -1e4 + 2, -1e4 + 1}, grad[6] = {0};
    static const int32_t labels[2] = {0, 1};
    NnVar *x = nn_leaf(f->t, logits, grad, NN_SHAPE(2, 3));
    NnVar *loss = nn_cross_entropy(f->t, x, labels);
    const double want = log(exp(-2) + 1 + exp(-1)) / 2;
    assert_close((double)loss->value[0], want, 1e-3); // floats near 1e4 are 1e-3 apart
    nn_backward(f->t, loss);
    assert_true(grad[0] == 0 && isfinite(grad[4]) && grad[4] < 0);
}

static void dropout_drops_its_share(void **state)
{
    Fixture *f = *state;
    enum { N = 200001 };
    nn_real *value = vc_calloc(N, sizeof *value);
    for (size_t i = 0; i < N; i++)
        value[i] = 1;
    VcRng rng, again;
    vc_rng_seed(&rng, 3);
    again = rng;
    NnVar *x = nn_input(f->t, value, NN_SHAPE(N));
    assert_ptr_equal(nn_dropout(f->t, x, 0, &rng), x);
    assert_memory_equal(&rng, &again, sizeof rng);
    const NnVar *y = nn_dropout(f->t, x, 0.25, &rng), *same = nn_dropout(f->t, x, 0.25, &again);
    assert_memory_equal(y->value, same->value, N * sizeof(nn_real));
    const NnVar *other = nn_dropout(f->t, x, 0.25, &rng);
    size_t kept = 0, both = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(y->value[i] == 0 || fabs((double)y->value[i] - 4.0 / 3) < 1e-6);
        kept += y->value[i] > 0;
        both += y->value[i] > 0 && other->value[i] > 0;
    }
    assert_close((double)kept / N, 0.75, 0.005);   // 5 sigma
    assert_close((double)both / N, 0.5625, 0.006); // masks of two calls are independent
    free(value);
}

static void parameters_live_in_one_block(void **state)
{
    Fixture *f = *state;
    NnParams p;
    nn_params_init(&p);
    const size_t a = nn_params_add(&p, "a.weight", NN_SHAPE(3, 5), NN_PARAM_DECAY);
    const size_t b = nn_params_add(&p, "temp", NN_SCALAR, 0);
    const size_t c = nn_params_add(&p, "positions", NN_SHAPE(7), NN_PARAM_FROZEN);
    assert_int_equal(nn_params_find(&p, "temp"), b);
    assert_true(nn_params_find(&p, "tem") == SIZE_MAX);
    assert_int_equal(nn_params_count_trainable(&p), 16);
    nn_params_allocate(&p, true);
    for (size_t i = 0; i < p.count; i++) {
        assert_int_equal(p.items[i].offset * sizeof(nn_real) % 64, 0);
        assert_true(i == 0 || p.items[i].offset >= p.items[i - 1].offset + p.items[i - 1].size);
    }
    assert_int_equal(p.items[a].size, 15);
    const NnVar *frozen = nn_param(f->t, &p, c);
    assert_false(frozen->needs_grad);
    assert_ptr_equal(nn_param(f->t, &p, b)->grad, p.grad + p.items[b].offset);
    nn_params_finish(&p);
    nn_params_finish(&p);
}

// The formula of torch.optim.AdamW in double, number by number.
static void adamw_follows_its_formula(void **state)
{
    Fixture *f = *state;
    enum { N = 40001 }; // several chunks
    NnParams p;
    nn_params_init(&p);
    static const unsigned flags[] = {NN_PARAM_DECAY, 0, NN_PARAM_FROZEN};
    for (size_t i = 0; i < 3; i++)
        nn_params_add(&p, (const char *[]){"w", "b", "fixed"}[i], NN_SHAPE(N), flags[i]);
    nn_params_allocate(&p, true);
    VcRng rng;
    vc_rng_seed(&rng, 4);
    double *x = vc_calloc(p.size, sizeof *x), *m = vc_calloc(p.size, sizeof *m), *v = vc_calloc(p.size, sizeof *v);
    for (size_t i = 0; i < 3 * N; i++) {
        const size_t at = p.items[i / N].offset + i % N;
        p.value[at] = (nn_real)vc_rng_normal(&rng);
        x[at] = (double)p.value[at];
    }
    const NnAdamw a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.1};
    const double lr = 0.01, scale = 0.5;
    for (uint64_t t = 1; t <= 3; t++) {
        for (size_t i = 0; i < 3 * N; i++) {
            const size_t at = p.items[i / N].offset + i % N;
            p.grad[at] = i / N == 2 ? 0 : (nn_real)vc_rng_normal(&rng);
            const double g = scale * (double)p.grad[at];
            if (i / N == 2)
                continue;
            x[at] *= 1 - (i / N == 0 ? lr * a.weight_decay : 0);
            m[at] = a.beta1 * m[at] + (1 - a.beta1) * g;
            v[at] = a.beta2 * v[at] + (1 - a.beta2) * g * g;
            x[at] -=
                lr / (1 - pow(a.beta1, (double)t)) * m[at] / (sqrt(v[at]) / sqrt(1 - pow(a.beta2, (double)t)) + a.eps);
        }
        nn_adamw_step(&f->ctx, &p, &a, lr, t, scale);
    }
    for (size_t i = 0; i < p.size; i++)
        assert_close((double)p.value[i], x[i], 2e-6);
    double squares = 0;
    for (size_t i = 0; i < p.size; i++)
        squares += (double)p.grad[i] * (double)p.grad[i];
    assert_close(nn_grad_norm(&f->ctx, &p), sqrt(squares), 1e-9 * sqrt(squares));
    free(x);
    free(m);
    free(v);
    nn_params_finish(&p);
}

static void clipping_shortens_only(void **state)
{
    (void)state;
    assert_true(nn_clip_scale(0.5, 1) == 1);
    assert_true(nn_clip_scale(3, 0) == 1);
    assert_close(nn_clip_scale(4, 1), 1 / 4.000001, 1e-15);
    assert_true(nn_clip_scale(1, 1) <= 1);
}

static void schedules_hold_their_ends(void **state)
{
    (void)state;
    // The published values of the 1M pretraining run, epochs 0 to 10, in units of 1e-5 (spec 4.2).
    static const double published[11] = {10, 9.818, 9.286, 8.447, 7.369, 6.140, 4.860, 3.631, 2.553, 1.714, 1.182};
    const NnVichaSchedule s = {.start = 1e-5, .peak = 1e-4, .min = 1e-5, .warmup = 20, .epochs = 11};
    for (uint64_t epoch = 1; epoch < 11; epoch++)
        assert_close(nn_vicha_lr_at(&s, epoch, 0) * 1e5, published[epoch], 5e-4);
    assert_close(nn_vicha_lr_at(&s, 0, 2001) * 1e5, published[0], 1e-12);
    assert_true(nn_vicha_lr_at(&s, 0, 0) == 1e-5 && nn_vicha_lr_at(&s, 0, 100) == 1e-5);
    assert_close(nn_vicha_lr_at(&s, 0, 101), 1.45e-5, 1e-18);
    assert_true(nn_vicha_lr(&s, 1000) == 1e-5);

    const NnCosineSchedule c = {.peak = 2, .min = 0.5, .warmup = 10, .total = 111};
    assert_close(nn_cosine_lr(&c, 0), 0.2, 1e-15);
    assert_close(nn_cosine_lr(&c, 9), 2, 1e-15);
    assert_close(nn_cosine_lr(&c, 10), 2, 1e-15);
    assert_close(nn_cosine_lr(&c, 60), 1.25, 1e-12);
    assert_close(nn_cosine_lr(&c, 110), 0.5, 1e-15);
    assert_close(nn_cosine_lr(&c, 999), 0.5, 1e-15);
    for (uint64_t step = 11; step < 120; step++)
        assert_true(nn_cosine_lr(&c, step) <= nn_cosine_lr(&c, step - 1));
    const NnCosineSchedule tiny = {.peak = 1, .min = 0, .warmup = 0, .total = 1};
    assert_true(nn_cosine_lr(&tiny, 0) == 1);
}

static void masking_sorts_and_restores(void **state)
{
    (void)state;
    enum { B = 3, N = 197, KEEP = 49 };
    nn_real noise[B * N], mask[B * N];
    int32_t shuffle[B * N], restore[B * N];
    VcRng rng;
    vc_rng_seed(&rng, 6);
    for (int i = 0; i < B * N; i++)
        noise[i] = (nn_real)vc_rng_below(&rng, 50); // with ties
    nn_masking(shuffle, restore, mask, noise, KEEP, B, N);
    for (int b = 0; b < B; b++) {
        const int32_t *s = shuffle + b * N;
        for (int i = 0; i < N; i++) {
            assert_int_equal(restore[b * N + s[i]], i);
            assert_true(mask[b * N + s[i]] == (i < KEEP ? 0 : 1));
            if (i > 0) {
                const nn_real before = noise[b * N + s[i - 1]], here = noise[b * N + s[i]];
                assert_true(before < here || (before == here && s[i - 1] < s[i]));
            }
        }
    }
}

static void positions_keep_what_they_must(void **state)
{
    (void)state;
    enum { G = 5, C = 3, OUT = 9 };
    nn_real in[(2 + G * G) * C], out[(2 + OUT * OUT) * C];
    for (int i = 0; i < (2 + G * G) * C; i++)
        in[i] = (nn_real)(i * 31 % 17);
    nn_interpolate_positions(out, in, 2, G, G, C); // the same grid: nothing changes
    for (int i = 0; i < (2 + G * G) * C; i++)
        assert_close((double)out[i], (double)in[i], 1e-5);
    for (int i = 0; i < G * G; i++) // a plane stays a plane where the border is far
        in[(2 + i) * C] = (nn_real)(2 * (int)(i / G) - i % G);
    nn_interpolate_positions(out, in, 2, G, OUT, C);
    const double y = (4 + 0.5) * G / OUT - 0.5, x = (4 + 0.5) * G / OUT - 0.5;
    assert_close((double)out[(2 + 4 * OUT + 4) * C], 2 * y - x, 1e-5);
    assert_memory_equal(out, in, 2 * C * sizeof(nn_real));
}

typedef struct {
    const NnParams *params;
    size_t told[8], count;
    nn_real grad[8]; // first number of the gradient when it was told
} Told;

static void tell(void *user, size_t index)
{
    Told *told = user;
    told->told[told->count] = index;
    told->grad[told->count++] = told->params->grad[told->params->items[index].offset];
}

static void gradients_are_told_when_they_are_final(void **state)
{
    Fixture *f = *state;
    NnParams params;
    nn_params_init(&params);
    size_t shared = nn_params_add(&params, "shared", NN_SHAPE(2, 2), 0),
           late = nn_params_add(&params, "late", NN_SHAPE(2, 2), 0);
    nn_params_add(&params, "frozen", NN_SHAPE(2, 2), NN_PARAM_FROZEN);
    size_t aside = nn_params_add(&params, "aside", NN_SHAPE(2, 2), 0);
    nn_params_allocate(&params, true);
    for (size_t i = 0; i < params.size; i++)
        params.value[i] = (nn_real)(i + 1);
    Told told = {.params = &params};
    nn_tape_on_ready(f->t, tell, &told);
    for (int round = 0; round < 2; round++) { // the second after a reset: told again
        told.count = 0;
        nn_tape_reset(f->t);
        nn_params_zero_grad(&params);
        const nn_real one[4] = {1, 1, 1, 1};
        NnVar *x = nn_input(f->t, one, NN_SHAPE(2, 2));
        x = nn_linear(f->t, x, nn_param(f->t, &params, shared), NULL);
        nn_linear(f->t, x, nn_param(f->t, &params, aside), NULL); // does not reach the loss
        x = nn_linear(f->t, x, nn_param(f->t, &params, late), NULL);
        x = nn_linear(f->t, x, nn_param(f->t, &params, 2), NULL);
        x = nn_linear(f->t, x, nn_param(f->t, &params, shared), NULL); // read a second time
        nn_backward(f->t, nn_sum(f->t, x));
        assert_int_equal(told.count, 3);
        assert_int_equal(told.told[0], late);
        assert_int_equal(told.told[1], aside);
        assert_int_equal(told.told[2], shared);
        for (int i = 0; i < 3; i++)
            assert_true(told.grad[i] == params.grad[params.items[told.told[i]].offset]);
        assert_true(told.grad[0] != 0 && told.grad[1] == 0 && told.grad[2] != 0);
    }
    nn_tape_on_ready(f->t, NULL, NULL);
    nn_params_finish(&params);
}

static void twice_backward(void *user, const nn_real *dy, nn_real *dx)
{
    (*(int *)user)++;
    dx[0] += 2 * dy[0];
    dx[1] += 2 * dy[1];
}

static void a_custom_op_passes_its_gradient(void **state)
{
    Fixture *f = *state;
    nn_real value[2] = {3, 4}, grad[2] = {0}, twice[3] = {6, 8, 0};
    int calls = 0;
    NnVar *x = nn_leaf(f->t, value, grad, NN_SHAPE(2));
    NnVar *y = nn_custom(f->t, x, twice, NN_SHAPE(3), twice_backward, &calls);
    nn_backward(f->t, nn_sum(f->t, y));
    assert_int_equal(calls, 1);
    assert_true(grad[0] == 2 && grad[1] == 2);
    nn_tape_reset(f->t);
    nn_custom(f->t, nn_input(f->t, value, NN_SHAPE(2)), twice, NN_SHAPE(3), twice_backward, &calls);
    assert_int_equal(nn_tape_count(f->t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_what_needs_a_gradient_is_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradients_add_to_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kept_gradients_survive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradient_memory_is_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(padding_rows_get_no_gradient, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hidden_keys_have_no_weight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_without_a_counted_row_is_no_loss, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cross_entropy_stands_large_logits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dropout_drops_its_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parameters_live_in_one_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(adamw_follows_its_formula, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gradients_are_told_when_they_are_final, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_custom_op_passes_its_gradient, set_up, tear_down),
        cmocka_unit_test(clipping_shortens_only),
        cmocka_unit_test(schedules_hold_their_ends),
        cmocka_unit_test(masking_sorts_and_restores),
        cmocka_unit_test(positions_keep_what_they_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
