// SPDX-License-Identifier: MIT
// Two processes against one with twice the batch: the same losses. A process that is killed ends the job and leaves the
// last checkpoint, from which one goes on; an error and an interrupt end all of them alike.
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "tests/train/mpirun.h"
#include "tests/train/scenes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/wait.h>

static char folder[1024];

static void write_recipe(const char *name, const char *const *sets, size_t count)
{
    TrainRecipe recipe;
    scene_recipe(&recipe, sets, count);
    VcStr text = {0}, file = {0};
    train_recipe_write(&recipe, &text);
    vc_str_putf(&file, "%s/%s.json", folder, name);
    assert_ok(vc_write_file(file.data, text.data, text.len, err));
    vc_str_finish(&text);
    vc_str_finish(&file);
    train_recipe_finish(&recipe);
}

// Exit status of: prefix vicha train RECIPE -o OUT more.
static int train(const char *prefix, const char *recipe, const char *out, const char *more)
{
    VcStr command = {0};
    vc_str_putf(&command, "%s '%s' train '%s/%s.json' -q -w '%s' -o '%s/%s' --threads 1 %s >'%s/out' 2>'%s/err'",
                prefix, getenv("VICHA"), folder, recipe, folder, folder, out, more, folder, folder);
    int status = system(command.data);
    vc_str_finish(&command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static char *read_text(const char *name)
{
    char *path = vc_path_join(folder, name), *text;
    size_t n;
    assert_ok(vc_read_file(&text, &n, path, 1 << 24, err));
    free(path);
    return text;
}

static void must(int status)
{
    if (status == 0)
        return;
    char *words = read_text("err");
    fail_msg("status %d: %s", status, words);
}

// Largest difference of every number "loss..." and of "grad_norm" in two metrics.jsonl, relative to 1.
static double compare(const char *one, const char *two, size_t *lines)
{
    char *a = read_text(one), *b = read_text(two);
    double worst = 0;
    *lines = 0;
    for (char *at = a, *bt = b; *at && *bt; at += strcspn(at, "\n") + 1, bt += strcspn(bt, "\n") + 1) {
        VcJson *x = NULL, *y = NULL, *value;
        assert_ok(vc_json_parse(&x, at, strcspn(at, "\n"), one, err));
        assert_ok(vc_json_parse(&y, bt, strcspn(bt, "\n"), two, err));
        void *iter = NULL;
        const char *name;
        while (vc_json_next_member(x, &iter, &name, &value)) {
            if (!vc_has_prefix(name, "loss") && strcmp(name, "grad_norm") != 0)
                continue;
            double p = vc_json_number(value, NAN), q = vc_json_number(vc_json_member(y, name), NAN);
            const double limit = vc_has_prefix(name, "loss") ? 1e-5 : 1e-4;
            if (!(fabs(p - q) <= limit * fmax(1, fabs(p))))
                fail_msg("line %zu: %s is %.8g with one process and %.8g with several", *lines + 1, name, p, q);
            if (limit == 1e-5)
                worst = fmax(worst, fabs(p - q) / fmax(1, fabs(p)));
        }
        vc_json_destroy(&x);
        vc_json_destroy(&y);
        (*lines)++;
    }
    free(a);
    free(b);
    return worst;
}

static void check_equal(const char *name, const char *const *sets, size_t count)
{
    char one[64], two[64], more[96];
    size_t lines;
    write_recipe(name, sets, count);
    snprintf(one, sizeof one, "%s-one", name);
    must(train("", name, one, "--set train.batch=12"));
    for (int w = 2; w <= 3; w++) {
        char prefix[32];
        snprintf(two, sizeof two, "%s-%d", name, w);
        snprintf(prefix, sizeof prefix, "mpirun -n %d", w);
        snprintf(more, sizeof more, "--set train.batch=%d", 12 / w);
        must(train(prefix, name, two, more));
        VcStr a = {0}, b = {0};
        vc_str_putf(&a, "%s/metrics.jsonl", one);
        vc_str_putf(&b, "%s/metrics.jsonl", two);
        double worst = compare(a.data, b.data, &lines);
        print_message("# %s, %d processes against one: worst difference of a loss %.2g in %zu lines\n", name, w, worst,
                      lines);
        assert_true(lines >= 6);
        vc_str_finish(&a);
        vc_str_finish(&b);
    }
}

static void test_same_losses_clip(void **state)
{
    (void)state;
    static const char *const sets[] = {"objective=clip", "train.steps=6",      "log.every=1",
                                       "eval.every=0",   "checkpoint.every=0", "optim.lr=0.0003"};
    check_equal("clip", sets, 6);
}

static void test_same_losses_vicha(void **state)
{
    (void)state;
    static const char *const sets[] = {"objective=vicha", "train.steps=6",      "log.every=1",
                                       "eval.every=0",    "checkpoint.every=0", "model.dropout=0",
                                       "model.queue=48",  "loss.alpha_steps=3", "optim.accumulate=1",
                                       "optim.lr=0.0003", "optim.clip_norm=1",  "model.text.layers=4"};
    check_equal("vicha", sets, 12);
}

static void test_same_losses_plain(void **state)
{
    (void)state;
    // No teachers, padding hidden, accumulated batches, distinct captions as negatives.
    static const char *const sets[] = {"objective=vicha",        "train.steps=6",      "log.every=1",
                                       "eval.every=0",           "checkpoint.every=0", "model.dropout=0",
                                       "model.momentum=false",   "optim.accumulate=2", "model.concept_padding=hidden",
                                       "loss.duplicates=ignore", "optim.lr=0.0003"};
    check_equal("plain", sets, 11);
}

static void test_errors_are_shared(void **state)
{
    (void)state;
    static const char *const sets[] = {"train.steps=4", "train.batch=6"};
    write_recipe("errors", sets, 2);
    // What only the processes together can see.
    int status = train("mpirun -n 2", "errors", "errors-run", "--set objective=vicha --set model.queue=18");
    char *words = read_text("err");
    assert_int_not_equal(status, 0);
    assert_non_null(strstr(words, "model.queue 18 is not a multiple of the 12 pairs that 2 processes take"));
    assert_null(strstr(strstr(words, "is not a multiple") + 1, "is not a multiple")); // said once
    free(words);
    // A run of two is not gone on with by three.
    must(train("mpirun -n 2", "errors", "errors-run", ""));
    status = train("mpirun -n 3", "errors", "errors-run", "");
    words = read_text("err");
    assert_int_not_equal(status, 0);
    assert_non_null(strstr(words, "batch"));
    free(words);
}

static void test_resume(void **state)
{
    (void)state;
    static const char *const sets[] = {"objective=vicha", "train.steps=8",  "log.every=1",        "eval.every=0",
                                       "train.batch=6",   "model.queue=48", "model.text.layers=4"};
    write_recipe("resume", sets, 7);
    must(train("mpirun -n 2", "resume", "resume-whole", ""));
    assert_int_not_equal(train("mpirun -n 2", "resume", "resume-parts", "--stop-at 5"), 0);
    must(train("mpirun -n 2", "resume", "resume-parts", ""));
    VcStr command = {0};
    vc_str_putf(&command,
                "cd '%s' && cmp resume-whole/model/model.safetensors resume-parts/model/model.safetensors && "
                "cmp resume-whole/checkpoints/step-00000008/optimizer.safetensors "
                "resume-parts/checkpoints/step-00000008/optimizer.safetensors",
                folder);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
}

// The process that mpirun started as rank `rank`: of its children, the one whose environment says so.
static pid_t process_of_rank(pid_t launcher, int rank)
{
    char name[64], wanted[32];
    snprintf(name, sizeof name, "/proc/%d/task/%d/children", (int)launcher, (int)launcher);
    snprintf(wanted, sizeof wanted, "OMPI_COMM_WORLD_RANK=%d", rank);
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    int child, found = 0;
    while (!found && fscanf(f, "%d", &child) == 1) {
        char *environment;
        size_t n;
        snprintf(name, sizeof name, "/proc/%d/environ", child);
        if (!vc_read_file(&environment, &n, name, 1 << 20, NULL))
            continue;
        for (size_t at = 0; at < n; at += strlen(environment + at) + 1)
            found = strcmp(environment + at, wanted) == 0 ? child : found;
        free(environment);
    }
    fclose(f);
    assert_int_not_equal(found, 0);
    return found;
}

// Starts two processes, sends rank `rank` a signal as soon as a checkpoint has appeared, and returns whether the job
// ended with status 0. Its words are in "err".
static bool disturb(const char *recipe, const char *out, int rank, int signal_number)
{
    char *run = vc_path_join(folder, out), *checkpoints = vc_path_join(run, "checkpoints");
    assert_ok(vc_make_dirs(checkpoints, err));
    int watch = inotify_init1(IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, checkpoints, IN_MOVED_TO) >= 0);
    pid_t launcher = fork();
    if (launcher == 0) {
        char *file = vc_path_join(folder, recipe), *words = vc_path_join(folder, "err");
        int to = open(words, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        dup2(to, STDERR_FILENO);
        dup2(to, STDOUT_FILENO);
        execlp("mpirun", "mpirun", "-n", "2", getenv("VICHA"), "train", file, "-q", "-w", folder, "-o", run,
               "--threads", "1", (char *)NULL);
        _exit(127);
    }
    struct pollfd fd = {watch, POLLIN, 0};
    assert_int_equal(poll(&fd, 1, 120000), 1);
    assert_int_equal(kill(process_of_rank(launcher, rank), signal_number), 0);
    int status;
    assert_int_equal(waitpid(launcher, &status, 0), launcher);
    close(watch);
    free(run);
    free(checkpoints);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void same_model(const char *a, const char *b)
{
    VcStr command = {0};
    vc_str_putf(&command, "cd '%s' && cmp '%s/model/model.safetensors' '%s/model/model.safetensors'", folder, a, b);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
}

static void test_disturbed(void **state)
{
    (void)state;
    static const char *const sets[] = {"train.steps=40", "train.batch=6", "checkpoint.every=5", "log.every=1"};
    write_recipe("long", sets, 4);
    must(train("mpirun -n 2", "long", "calm", ""));
    // A process is lost: the job ends, what was saved stays, and a new job comes to the same bits.
    for (int rank = 0; rank < 2; rank++) {
        char out[16];
        snprintf(out, sizeof out, "lost-%d", rank);
        assert_false(disturb("long.json", out, rank, SIGKILL));
        must(train("mpirun -n 2", "long", out, ""));
        same_model("calm", out);
    }
    // A signal to one of them stops both after the same step, with a checkpoint.
    assert_false(disturb("long.json", "stopped", 1, SIGTERM));
    char *words = read_text("err");
    if (!strstr(words, "stopped after step"))
        fail_msg("the words of the interrupted run: %s", words);
    free(words);
    must(train("mpirun -n 2", "long", "stopped", ""));
    same_model("calm", "stopped");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_losses_clip),
                                       cmocka_unit_test(test_same_losses_vicha),
                                       cmocka_unit_test(test_same_losses_plain),
                                       cmocka_unit_test(test_errors_are_shared),
                                       cmocka_unit_test(test_resume),
                                       cmocka_unit_test(test_disturbed)};
    mpirun_environment();
    if (!VICHA_MPI || !mpirun_works()) {
        fprintf(stderr, "SKIP: a build without MPI, or no mpirun that starts two processes here\n");
        printf("1..0 # SKIP\n"); // TAP's word for it; a status of 77 would count as an error
        return 0;
    }
    char *made = test_temp_folder();
    snprintf(folder, sizeof folder, "%s", made);
    scene_records(folder, "records", 80, true, SIZE_MAX);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove(&made);
    return failed;
}
