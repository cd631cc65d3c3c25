// SPDX-License-Identifier: MIT
// Ctrl-C: a run ends after the step it is in, with a checkpoint. A program of its own: the flag is never taken back.
#include "base/log.h"
#include "tests/train/scenes.h"
#include "train/train.h"

#include <signal.h>

static void test_interrupt(void **state)
{
    (void)state;
    char *folder = test_temp_folder();
    scene_records(folder, "records", 60, false, SIZE_MAX);
    vc_log_set_level(VC_LOG_QUIET);
    vc_interrupt_raise(SIGINT);
    const char *sets[] = {"train.steps=50", "objective=vicha"};
    TrainRecipe recipe;
    scene_recipe(&recipe, sets, 2);
    char *out = vc_path_join(folder, "run"), *sums = vc_path_join(out, "checkpoints/step-00000001/checkpoint.xxh64");
    const TrainOptions options = {.workspace = folder, .out = out, .threads = 1};
    TrainResult result;
    VcErr cause = {0};
    assert_false(train_run(&recipe, &options, &result, &cause));
    assert_int_equal(cause.code, VC_ERR_CANCELLED);
    assert_non_null(strstr(cause.text, "stopped after step 1 of 50"));
    assert_true(result.interrupted);
    assert_true(vc_exists(sums));
    train_recipe_finish(&recipe);
    free(out);
    free(sums);
    test_temp_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_interrupt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
