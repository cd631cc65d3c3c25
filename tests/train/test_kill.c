// SPDX-License-Identifier: MIT
// SIGKILL at many moments, some while a checkpoint is written: the run that goes on ends in the same bytes.
#include "base/log.h"
#include "tests/train/scenes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

static char *folder;
static const char *recipe_file = "recipe.json";

static pid_t start(const char *out)
{
    char *recipe = vc_path_join(folder, recipe_file), threads[] = "1";
    char *program = getenv("VICHA");
    assert_non_null(program);
    char *path = vc_path_join(folder, out);
    char *const argv[] = {
        program, (char[]){"train"},     (char[]){"-q"}, recipe, (char[]){"-w"}, folder, (char[]){"-o"},
        path,    (char[]){"--threads"}, threads,        NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child;
    assert_int_equal(posix_spawn(&child, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    free(recipe);
    free(path);
    return child;
}

// Starts the run and kills it after `events` changes in its folder and among its checkpoints. Returns whether it was
// killed: else it had finished, with status 0.
static bool run_and_kill(const char *out, int events)
{
    char *run = vc_path_join(folder, out), *checkpoints = vc_path_join(run, "checkpoints");
    assert_ok(vc_make_dirs(checkpoints, err));
    int watch = inotify_init1(IN_NONBLOCK);
    assert_true(inotify_add_watch(watch, run, IN_MODIFY | IN_CREATE | IN_MOVED_TO) >= 0);
    assert_true(inotify_add_watch(watch, checkpoints, IN_CREATE | IN_MOVED_FROM | IN_DELETE) >= 0);
    pid_t child = start(out);
    int ended = (int)syscall(SYS_pidfd_open, child, 0);
    assert_true(ended >= 0);
    struct pollfd fds[2] = {{watch, POLLIN, 0}, {ended, POLLIN, 0}};
    while (events > 0 && poll(fds, 2, -1) > 0 && !(fds[1].revents & POLLIN)) {
        _Alignas(struct inotify_event) char buffer[4096];
        ssize_t n = read(watch, buffer, sizeof buffer);
        for (ssize_t at = 0; at < n; events--)
            at += (ssize_t)(sizeof(struct inotify_event) + ((struct inotify_event *)(void *)(buffer + at))->len);
    }
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    close(watch);
    close(ended);
    free(run);
    free(checkpoints);
    if (!WIFSIGNALED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static const char *whole = "whole"; // the run that nobody disturbs

static void assert_same(const char *out, const char *file)
{
    char *data[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        VcStr path = {0};
        vc_str_putf(&path, "%s/%s/%s", folder, i ? out : whole, file);
        assert_ok(vc_read_file(&data[i], &n[i], path.data, 1 << 26, err));
        vc_str_finish(&path);
    }
    if (n[0] != n[1] || memcmp(data[0], data[1], n[0]) != 0)
        fail_msg("'%s' of run '%s' differs from that of the undisturbed run", file, out);
    free(data[0]);
    free(data[1]);
}

static void test_kill(void **state)
{
    (void)state;
    assert_false(run_and_kill("whole", 1 << 30));
    size_t kills = 0;
    for (int distance = 5; distance < 60; distance += 9) {
        char out[32];
        snprintf(out, sizeof out, "killed-%d", distance);
        for (int tries = 0; run_and_kill(out, distance + tries); tries++)
            kills++;
        static const char *const files[] = {"model/model.safetensors", "model/vocab.json", "model/config.json",
                                            "checkpoints/step-00000030/model.safetensors",
                                            "checkpoints/step-00000030/optimizer.safetensors"};
        for (size_t i = 0; i < 5; i++)
            assert_same(out, files[i]);
        char *half = vc_path_join(folder, out), *model = vc_path_join(half, "model.tmp");
        assert_false(vc_exists(model));
        free(half);
        free(model);
    }
    print_message("# killed %zu times\n", kills);
    assert_true(kills >= 7);
}

// The same with teachers, queues and all losses.
static void test_kill_vicha(void **state)
{
    (void)state;
    recipe_file = "vicha.json";
    whole = "vicha-whole";
    assert_false(run_and_kill(whole, 1 << 30));
    size_t kills = 0;
    for (int tries = 0; run_and_kill("vicha-killed", 9 + tries); tries++)
        kills++;
    assert_same("vicha-killed", "model/model.safetensors");
    assert_same("vicha-killed", "checkpoints/step-00000012/model.safetensors");
    assert_same("vicha-killed", "checkpoints/step-00000012/optimizer.safetensors");
    assert_same("vicha-killed", "checkpoint.best.safetensors");
    print_message("# killed %zu times\n", kills);
    assert_true(kills >= 2);
    recipe_file = "recipe.json";
    whole = "whole";
}

// SIGTERM while a checkpoint is being written: that one is finished, the run stops after the step it is in, with status
// 143, and goes on to the same bytes.
static void test_stop_in_a_save(void **state)
{
    (void)state;
    for (int nth = 1; nth <= 3; nth++) {
        char out[32];
        snprintf(out, sizeof out, "stopped-%d", nth);
        char *run = vc_path_join(folder, out), *checkpoints = vc_path_join(run, "checkpoints");
        assert_ok(vc_make_dirs(checkpoints, err));
        int watch = inotify_init1(0);
        assert_true(inotify_add_watch(watch, checkpoints, IN_CREATE) >= 0);
        pid_t child = start(out);
        for (int seen = 0; seen < nth;) { // "step-NNN.tmp" appears: the save has begun
            _Alignas(struct inotify_event) char buffer[4096];
            ssize_t n = read(watch, buffer, sizeof buffer);
            assert_true(n > 0);
            for (ssize_t at = 0; at < n; seen++)
                at += (ssize_t)(sizeof(struct inotify_event) + ((struct inotify_event *)(void *)(buffer + at))->len);
        }
        kill(child, SIGTERM);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        close(watch);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
        VcStr command = {0};
        vc_str_putf(&command, "! ls '%s' | grep -q tmp && ls '%s' | grep -q step-", checkpoints, checkpoints);
        assert_int_equal(system(command.data), 0);
        vc_str_finish(&command);
        assert_false(run_and_kill(out, 1 << 30)); // to the end
        assert_same(out, "model/model.safetensors");
        assert_same(out, "checkpoints/step-00000030/optimizer.safetensors");
        assert_same(out, "checkpoint.best.safetensors");
        free(run);
        free(checkpoints);
    }
}

static void write_recipe(const char *name, const char *const *sets, size_t count)
{
    TrainRecipe recipe;
    scene_recipe(&recipe, sets, count);
    VcStr text = {0};
    train_recipe_write(&recipe, &text);
    char *path = vc_path_join(folder, name);
    VcErr err;
    if (!vc_write_file(path, text.data, text.len, &err))
        exit(1);
    free(path);
    vc_str_finish(&text);
    train_recipe_finish(&recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill), cmocka_unit_test(test_kill_vicha),
                                       cmocka_unit_test(test_stop_in_a_save)};
    vc_log_set_level(VC_LOG_QUIET);
    folder = test_temp_folder();
    scene_records(folder, "records", 80, true, SIZE_MAX);
    const char *clip[] = {"train.steps=30", "checkpoint.every=3", "log.every=1", "eval.every=8", "train.batch=8"};
    const char *vicha[] = {"objective=vicha", "train.steps=12", "checkpoint.every=2", "log.every=1",
                           "eval.every=5",    "train.batch=8",  "model.queue=24",     "model.text.layers=4"};
    write_recipe("recipe.json", clip, 5);
    write_recipe("vicha.json", vicha, 8);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove(&folder);
    return failed;
}
