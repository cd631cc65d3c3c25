// SPDX-License-Identifier: MIT
// The primitives of data parallelism: in a world of one, and in worlds of two and three that this program starts with
// mpirun from itself.
#include "base/rng.h"
#include "tests/train/mpirun.h"
#include "train/reducer.h"

#include <fcntl.h>
#include <sys/wait.h>

static TrainParallel *world; // NULL: of one

static void test_numbers(void **state)
{
    (void)state;
    size_t w = train_parallel_size(world), r = train_parallel_rank(world);
    assert_true(r < w);
    double sum[3] = {1, (double)r, 0.1 * (double)(r + 1)};
    train_parallel_sum(world, sum, 3);
    assert_true(sum[0] == (double)w && sum[1] == (double)(w * (w - 1) / 2));
    double expected = 0;
    for (size_t i = 0; i < w; i++)
        expected += 0.1 * (double)(i + 1);
    assert_true(sum[2] == expected); // in the order of the ranks: to the bit

    int64_t most[2] = {(int64_t)r, -(int64_t)r};
    train_parallel_max(world, most, 2);
    assert_int_equal(most[0], w - 1);
    assert_int_equal(most[1], 0);

    uint64_t mine[2] = {r, 100 + r}, all[8][2];
    train_parallel_gather(world, mine, sizeof mine, all);
    for (size_t i = 0; i < w; i++)
        assert_true(all[i][0] == i && all[i][1] == 100 + i);

    char text[16];
    snprintf(text, sizeof text, "of rank %zu", r);
    train_parallel_share(world, text, sizeof text);
    assert_string_equal(text, "of rank 0");
    train_parallel_wait(world);
    assert_ok(train_parallel_check(world, err));
}

static void test_agreement(void **state)
{
    (void)state;
    size_t w = train_parallel_size(world), r = train_parallel_rank(world);
    assert_ok(train_parallel_agree(world, true, err));
    VcErr err = {.code = VC_ERR_FORMAT};
    snprintf(err.text, sizeof err.text, "shard of %zu is broken", r);
    bool last = r == w - 1; // one process fails: all of them do, with its words
    assert_false(train_parallel_agree(world, !last, &err));
    assert_int_equal(err.code, VC_ERR_FORMAT);
    char words[64];
    snprintf(words, sizeof words, w > 1 ? "process %zu: shard of %zu is broken" : "shard of 0 is broken", w - 1, w - 1);
    assert_string_equal(err.text, words);
    VcErr untouched = {.code = VC_OK, .text = "nothing"};
    assert_true(train_parallel_agree(world, true, &untouched));
    assert_string_equal(untouched.text, "nothing");
}

// ---- a small network: rows of a global batch of 12, cut among the processes
enum { GLOBAL = 12, IN = 5, OUT = 4, LAYERS = 6 };

static void make_params(NnParams *params)
{
    nn_params_init(params);
    for (size_t i = 0; i < LAYERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer.%zu", i);
        nn_params_add(params, name, NN_SHAPE(IN, IN), 0);
        if (i == 2)
            nn_params_add(params, "frozen", NN_SHAPE(7), NN_PARAM_FROZEN);
    }
    nn_params_add(params, "out", NN_SHAPE(OUT, IN), 0);
    nn_params_add(params, "unused", NN_SHAPE(3), 0);
    nn_params_allocate(params, true);
    VcRng rng;
    vc_rng_seed(&rng, 5);
    for (size_t i = 0; i < params->size; i++)
        params->value[i] = (nn_real)(0.5 * vc_rng_normal(&rng));
}

// Contrastive: every row against every other of the whole batch, so that the gradient crosses the processes.
static double loss_of(NnTape *t, NnParams *params, TrainParallel *p, size_t first, size_t rows)
{
    static nn_real input[GLOBAL * IN];
    VcRng rng;
    vc_rng_seed(&rng, 6);
    for (size_t i = 0; i < GLOBAL * IN; i++)
        input[i] = (nn_real)vc_rng_normal(&rng);
    NnVar *x = nn_input(t, input + first * IN, NN_SHAPE(rows, IN));
    for (size_t i = 0; i < LAYERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "layer.%zu", i);
        x = nn_add(t, x, nn_gelu(t, nn_linear(t, x, nn_param(t, params, nn_params_find(params, name)), NULL)));
    }
    x = nn_l2_normalize(t, nn_linear(t, x, nn_param(t, params, nn_params_find(params, "out")), NULL));
    NnVar *all = train_parallel_gather_var(p, t, x);
    int32_t *labels = nn_tape_alloc_ids(t, rows); // its right neighbour
    for (size_t i = 0; i < rows; i++)
        labels[i] = (int32_t)((first + i + 1) % GLOBAL);
    NnVar *loss = nn_cross_entropy(t, nn_scale(t, nn_matmul_nt(t, x, all), 5), labels);
    double value = (double)loss->value[0];
    nn_backward(t, loss);
    return value;
}

static void check_gradients(size_t bytes)
{
    size_t w = train_parallel_size(world), r = train_parallel_rank(world), rows = GLOBAL / w;
    NnContext ctx;
    nn_context_init(&ctx, NULL);
    NnTape *t = nn_tape_create(&ctx);
    NnParams whole, part;
    make_params(&whole);
    make_params(&part);
    double expected = loss_of(t, &whole, NULL, 0, GLOBAL);
    TrainReducer *reducer = train_reducer_create(world, &part, bytes);
    for (int step = 0; step < 3; step++) {
        nn_tape_reset(t);
        nn_params_zero_grad(&part);
        train_reducer_begin(reducer, t);
        double loss = loss_of(t, &part, world, r * rows, rows);
        train_reducer_end(reducer, t);
        assert_ok(train_parallel_check(world, err));
        train_parallel_sum(world, &loss, 1);
        assert_close(loss / (double)w, expected, 1e-6);
        // Some leave before the end of the backward pass; the bucket of "unused" never becomes final.
        if (w > 1 && bytes < 500 && step > 0)
            assert_true(train_reducer_early(reducer) > 2);
    }
    double worst = 0, largest = 0;
    for (size_t i = 0; i < part.count; i++) {
        const NnParamInfo *info = &part.items[i];
        for (size_t k = info->offset; k < info->offset + info->size; k++) {
            worst = fmax(worst, fabs((double)(part.grad[k] / (nn_real)w - whole.grad[k])));
            largest = fmax(largest, fabs((double)whole.grad[k]));
        }
    }
    assert_true(largest > 0.01);
    assert_close(worst, 0, 1e-6 * largest + 1e-7);
    if (w > 1) {
        assert_true(train_reducer_buckets(reducer) >= (bytes < 500 ? 4 : 2)); // the frozen one cuts
        assert_true(train_reducer_waited(reducer) >= 0);
        // The same bits everywhere.
        nn_real *all = vc_calloc(w * part.size, sizeof *all);
        train_parallel_gather(world, part.grad, part.size * sizeof *all, all);
        for (size_t i = 1; i < w; i++)
            assert_memory_equal(all, all + i * part.size, part.size * sizeof *all);
        free(all);
    } else {
        assert_null(reducer);
    }
    train_reducer_destroy(&reducer);
    nn_params_finish(&whole);
    nn_params_finish(&part);
    nn_tape_destroy(&t);
    nn_context_finish(&ctx);
}

static void test_gradients(void **state)
{
    (void)state;
    check_gradients(64);
    check_gradients(1 << 20);
}

// A peer that does not answer: after the timeout everything returns at once, and the error says who waited.
static void test_silence(void **state)
{
    (void)state;
    size_t w = train_parallel_size(world);
    if (w == 1)
        return;
    if (train_parallel_rank(world) == w - 1) {
        for (;;)
            pause(); // the silence itself, until the others' abort ends it
    } else {
        int64_t value = 3;
        train_parallel_max(world, &value, 1);
        assert_error(train_parallel_check(world, err), "waited 1 s for the others");
        double more = 2;
        train_parallel_sum(world, &more, 1); // does nothing any more
        assert_true(more == 2);
        assert_error(train_parallel_agree(world, true, err), "is lost or stands still");
    }
}

static int run_as_one_of_several(bool silence)
{
    VcErr err;
    if (!train_parallel_begin(&world, silence ? 1 : 60, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (train_parallel_rank(world) > 0) { // one report is enough
        int none = open("/dev/null", O_WRONLY);
        dup2(none, STDOUT_FILENO);
        close(none);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_agreement),
                                       cmocka_unit_test(test_gradients)},
                            last[] = {cmocka_unit_test(test_silence)};
    int failed = silence ? cmocka_run_group_tests(last, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
    if (silence && failed == 0 && train_parallel_rank(world) == 0)
        fprintf(stderr, "silence noticed\n");
    train_parallel_end(&world, !silence);
    return failed;
}

static char *program;

static void start_world(int processes)
{
    VcStr command = {0};
    vc_str_putf(&command, "mpirun -n %d '%s' primitives >/dev/null", processes, program);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
}

static void test_worlds(void **state)
{
    (void)state;
    if (!VICHA_MPI || !mpirun_works()) {
        print_message("# SKIP: a build without MPI, or no mpirun that starts two processes here\n");
        skip();
    }
    start_world(1);
    start_world(2);
    start_world(3);
}

static void test_lost_peer(void **state)
{
    (void)state;
    if (!VICHA_MPI || !mpirun_works())
        skip();
    VcStr command = {0};
    vc_str_putf(
        &command,
        "out=$(mpirun -n 2 '%s' silence 2>&1) && exit 3; case $out in *'silence noticed'*) ;; *) exit 4 ;; esac",
        program);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1)
        return run_as_one_of_several(strcmp(argv[1], "silence") == 0);
    mpirun_environment();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers),   cmocka_unit_test(test_agreement),
                                       cmocka_unit_test(test_gradients), cmocka_unit_test(test_silence),
                                       cmocka_unit_test(test_worlds),    cmocka_unit_test(test_lost_peer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
