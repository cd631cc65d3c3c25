// SPDX-License-Identifier: MIT
// Whole runs on small scenes: they learn, go on to the same bits, stop on what is not a number, and keep their files.
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "nn/nn.h"
#include "tests/train/scenes.h"
#include "train/checkpoint.h"
#include "train/train.h"

#include <sys/wait.h>

static char *folder;

typedef struct {
    size_t threads;
    uint64_t stop_at;
    const char *init_from;
    bool restart;
} How;

static bool train_in(const char *name, const char *const *sets, size_t count, How how, TrainResult *result, VcErr *err)
{
    TrainRecipe recipe;
    scene_recipe(&recipe, sets, count);
    char *out = vc_path_join(folder, name);
    TrainOptions options = {.workspace = folder,
                            .out = out,
                            .threads = how.threads,
                            .stop_at = how.stop_at,
                            .init_from = &how.init_from,
                            .init_count = how.init_from != NULL,
                            .restart = how.restart};
    bool ok = train_run(&recipe, &options, result, err);
    train_recipe_finish(&recipe);
    free(out);
    return ok;
}

static char *in_run(const char *name, const char *file)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s/%s", folder, name, file);
    return path.data;
}

static void read_run_file(const char *name, const char *file, char **data, size_t *n)
{
    char *path = in_run(name, file);
    assert_ok(vc_read_file(data, n, path, 1 << 28, err));
    free(path);
}

static void assert_same_file(const char *first, const char *second, const char *file)
{
    char *a, *b;
    size_t n, m;
    read_run_file(first, file, &a, &n);
    read_run_file(second, file, &b, &m);
    if (n != m || memcmp(a, b, n) != 0)
        fail_msg("'%s' differs between '%s' and '%s'", file, first, second);
    free(a);
    free(b);
}

static void test_learns_clip(void **state)
{
    (void)state;
    const char *sets[] = {"train.epochs=14", "eval.every=50", "log.every=5", "checkpoint.every=40"};
    TrainResult r;
    assert_ok(train_in("clip", sets, 4, (How){.threads = 2}, &r, err));
    assert_int_equal(r.steps, (r.records - r.held_out) / 16 * 14);
    print_message("# clip: loss %.3f, held-out loss %.3f, t2i %.0f/%.0f/%.0f %%, chance %.0f/%.0f/%.0f %%\n", r.loss,
                  r.recall.loss, r.recall.text_to_image[0], r.recall.text_to_image[1], r.recall.text_to_image[2],
                  r.recall.chance[0], r.recall.chance[1], r.recall.chance[2]);
    assert_true(r.loss < 1.0); // ln 16 = 2.77 is where it starts
    assert_true(r.recall.text_to_image[0] > 4 * r.recall.chance[0]);
    assert_true(r.recall.image_to_text[0] > 4 * r.recall.chance[0]);
    assert_int_equal(r.recall.count, r.held_out < 64 ? r.held_out : 64);
    assert_true(r.wait_share >= 0 && r.wait_share < 1);

    char *path = in_run("clip", "loss.svg");
    assert_true(vc_exists(path));
    free(path);
    char *lines;
    size_t n, count = 0;
    read_run_file("clip", "metrics.jsonl", &lines, &n);
    for (size_t at = 0; at < n; at += strcspn(lines + at, "\n") + 1) {
        VcJson *json;
        assert_ok(vc_json_parse(&json, lines + at, strcspn(lines + at, "\n"), "metrics.jsonl", err));
        assert_true(vc_json_int(vc_json_member(json, "step"), 0) > 0);
        vc_json_destroy(&json);
        count++;
    }
    assert_int_equal(count, (r.steps + 4) / 5 + r.steps / 50 + 1); // the last step has both
    free(lines);

    TrainResult again; // a finished run is left as it is
    assert_ok(train_in("clip", sets, 4, (How){.threads = 2}, &again, err));
    assert_true(again.already_done);
    const char *other[] = {"train.epochs=3"};
    assert_error(train_in("clip", other, 1, (How){0}, &again, err), "another recipe");
}

// The lines of a run hold every part of the loss, and the parts add up to it with their weights.
static void check_part_lines(const char *name)
{
    char *lines;
    size_t n, seen = 0;
    read_run_file(name, "metrics.jsonl", &lines, &n);
    for (size_t at = 0; at < n; at += strcspn(lines + at, "\n") + 1) {
        VcJson *json;
        assert_ok(vc_json_parse(&json, lines + at, strcspn(lines + at, "\n"), "metrics.jsonl", err));
        const double loss = vc_json_number(vc_json_member(json, "loss"), NAN);
        if (isfinite(loss)) {
            static const char *const parts[] = {"loss_itc", "loss_hitc", "loss_itm", "loss_mlm", "loss_mim"};
            static const double weights[] = {1, 0.1, 1, 1, 1};
            double sum = 0;
            for (size_t i = 0; i < 5; i++)
                sum += weights[i] * vc_json_number(vc_json_member(json, parts[i]), NAN);
            assert_close(sum, loss, 1e-4 * fabs(loss));
            assert_close(vc_json_number(vc_json_member(json, "alpha"), NAN), 0.2, 0.2);
            seen++;
        }
        vc_json_destroy(&json);
    }
    assert_true(seen > 10);
    free(lines);
}

static void test_learns_vicha(void **state)
{
    (void)state;
    // Without concepts: the concept strings of these scenes give the answer away.
    const char *sets[] = {SCENE_ITC_ALONE, "train.epochs=14", "model.concepts=false"};
    TrainResult r;
    assert_ok(train_in("vicha", sets, SCENE_ITC_ALONE_COUNT + 2, (How){.threads = 2}, &r, err));
    print_message("# vicha, ITC alone: loss %.3f, t2i %.0f %%, chance %.0f %%\n", r.loss, r.recall.text_to_image[0],
                  r.recall.chance[0]);
    assert_true(r.loss < 1.0);
    assert_true(r.recall.text_to_image[0] > 4 * r.recall.chance[0]);

    const char *with[] = {"objective=vicha",   "train.epochs=10",         "optim.schedule=epoch", "model.queue=64",
                          "model.dropout=0.1", "model.momentum_keep=0.9", "loss.alpha_steps=20"};
    assert_ok(train_in("vicha-concepts", with, 7, (How){.threads = 2}, &r, err));
    print_message("# the whole with concepts: loss %.3f, t2i %.0f %%\n", r.loss, r.recall.text_to_image[0]);
    assert_true(r.loss < 9); // ln 80 + 0.1 ln 16 + ln 2 + ln 200 + 1 = 11.7 is where it starts
    check_part_lines("vicha-concepts");
    NnSafetensors *st = NULL;
    char *dir = in_run("vicha-concepts", "model");
    assert_ok(nn_safetensors_open_dir(&st, dir, "model", err));
    static const char *const names[] = {"visual_encoder.blocks.1.attn.qkv.weight",
                                        "text_encoder.bert.encoder.layer.1.attention.self.query.weight",
                                        "text_encoder.bert.embeddings.LayerNorm.bias",
                                        "kw_encoder.encoder.layer.1.output.dense.weight",
                                        "kw_proj.bias",
                                        "text_encoder.cls.predictions.transform.dense.weight",
                                        "vision_proj_hidden.0.weight",
                                        "decoder_blocks.1.mlp.fc1.bias",
                                        "temp"};
    for (size_t i = 0; i < 9; i++)
        assert_non_null(nn_safetensors_find(st, names[i]));
    nn_safetensors_close(&st);
    free(dir);
}

// 20 steps in one go; 10, stop, 10; and the same with other numbers of threads and workers: one set of bits.
static void check_resume(const char *objective, const char *name)
{
    const char *sets[] = {objective,        "train.steps=20",    "eval.every=7",  "log.every=3", "optim.accumulate=2",
                          "train.batch=12", "checkpoint.keep=9", "model.queue=36"};
    char whole[32], parts[32], threads[32];
    snprintf(whole, sizeof whole, "%s-whole", name);
    snprintf(parts, sizeof parts, "%s-parts", name);
    snprintf(threads, sizeof threads, "%s-threads", name);
    TrainResult r;
    assert_ok(train_in(whole, sets, 8, (How){.threads = 1}, &r, err));
    for (uint64_t stop = 9; stop <= 14; stop += 5) // in the middle of an epoch and of a log line
        assert_error(train_in(parts, sets, 8, (How){.threads = 1, .stop_at = stop}, &r, err), "stopped after step");
    assert_ok(train_in(parts, sets, 8, (How){.threads = 2}, &r, err));
    assert_int_equal(r.resumed_from, 14);
    const char *many[] = {
        objective,        "train.steps=20",    "eval.every=7",   "log.every=3",     "optim.accumulate=2",
        "train.batch=12", "checkpoint.keep=9", "data.workers=3", "data.prefetch=5", "model.queue=36"};
    assert_ok(train_in(threads, many, 10, (How){.threads = 3}, &r, err));
    static const char *const files[] = {"checkpoints/step-00000020/model.safetensors",
                                        "checkpoints/step-00000020/optimizer.safetensors", "model/model.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        assert_same_file(whole, parts, files[i]);
        assert_same_file(whole, threads, files[i]);
    }
}

static void test_resume_bits(void **state)
{
    (void)state;
    check_resume("objective=clip", "bits-clip");
    check_resume("objective=vicha", "bits-vicha");
}

// Losses in metrics.jsonl: lines after the checkpoint are written again, not twice, and with the same numbers.
static void test_metrics_of_a_killed_run(void **state)
{
    (void)state;
    const char *sets[] = {"train.steps=12", "log.every=1", "checkpoint.every=5", "checkpoint.keep=2"};
    TrainResult r;
    assert_ok(train_in("killed-whole", sets, 4, (How){.threads = 1}, &r, err));
    assert_error(train_in("killed", sets, 4, (How){.threads = 1, .stop_at = 8}, &r, err), "stopped after step 8");
    char *newest = in_run("killed", "checkpoints/step-00000008"), *metrics = in_run("killed", "metrics.jsonl");
    VcStr command = {0};
    // as if the checkpoint of step 8 had not been finished, a log line neither: back to step 5
    vc_str_putf(&command, "mv '%s' '%s.tmp' && printf '{\"step\": 9, \"lo' >> '%s'", newest, newest, metrics);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
    free(newest);
    free(metrics);
    assert_ok(train_in("killed", sets, 4, (How){.threads = 1}, &r, err));
    assert_int_equal(r.resumed_from, 5);
    char *a, *b;
    size_t n, m;
    read_run_file("killed-whole", "metrics.jsonl", &a, &n);
    read_run_file("killed", "metrics.jsonl", &b, &m);
    size_t at = 0, bt = 0, lines = 0;
    while (at < n && bt < m) {
        size_t la = strcspn(a + at, ","), lb = strcspn(b + bt, ",");
        la += 1 + strcspn(a + at + la + 1, ","); // step and epoch
        lb += 1 + strcspn(b + bt + lb + 1, ",");
        la += 1 + strcspn(a + at + la + 1, ","); // and loss
        lb += 1 + strcspn(b + bt + lb + 1, ",");
        assert_int_equal(la, lb);
        assert_memory_equal(a + at, b + bt, la);
        at += strcspn(a + at, "\n") + 1;
        bt += strcspn(b + bt, "\n") + 1;
        lines++;
    }
    assert_int_equal(lines, 13);
    assert_true(at >= n && bt >= m);
    free(a);
    free(b);
    assert_same_file("killed-whole", "killed", "model/model.safetensors");
}

static void test_not_a_number(void **state)
{
    (void)state;
    TrainResult r;
    VcErr cause = {0};
    // A weight that is not a number, as an overflow leaves behind.
    const char *plain[] = {"train.steps=3"};
    assert_ok(train_in("poison", plain, 1, (How){.threads = 1}, &r, err));
    char *model = in_run("poison", "model"), *file = in_run("poison", "model/model.safetensors"), *data;
    size_t n;
    assert_ok(vc_read_file(&data, &n, file, 1 << 28, err));
    NnSafetensors *st = NULL;
    assert_ok(nn_safetensors_open(&st, file, err));
    const NnStored *w = nn_safetensors_find(st, "visual_projection.weight");
    size_t offset = n - 4 * 32 * 48; // found below by its own bytes: the map holds what the file holds
    for (size_t i = 0; i + w->bytes <= n; i++)
        if (memcmp(data + i, w->data, w->bytes) == 0)
            offset = i;
    nn_safetensors_close(&st);
    const float nan_value = NAN;
    memcpy(data + offset, &nan_value, sizeof nan_value);
    assert_ok(vc_write_file(file, data, n, err));
    free(data);
    assert_false(train_in("poisoned", plain, 1, (How){.threads = 1, .init_from = model}, &r, &cause));
    if (!strstr(cause.text, "the loss of step 1 is nan (epoch 0, batch 0)"))
        fail_msg("error text '%s'", cause.text);
    char *ids;
    read_run_file("poisoned", "bad_batch.json", &ids, &n);
    VcJson *json;
    assert_ok(vc_json_parse(&json, ids, n, "bad_batch.json", err));
    assert_int_equal(vc_json_length(vc_json_member(json, "image_ids")), 16);
    vc_json_destroy(&json);
    free(ids);
    free(model);
    free(file);
}

// A parameter that only one loss reads is no number: the error names that loss and no other.
static void test_not_a_number_of_each_loss(void **state)
{
    (void)state;
    static const struct {
        const char *parameter, *loss;
    } cases[] = {{"vision_proj_hidden.0.bias", "the hitc loss of step 3 is nan"},
                 {"itm_head.bias", "the itm loss of step 3 is nan"},
                 {"text_encoder.cls.predictions.bias", "the mlm loss of step 3 is nan"},
                 {"mae_proj.bias", "the mim loss of step 3 is nan"},
                 {"image_queue", "the itc loss of step 3 is nan"},
                 {"temp", "the itc, hitc loss of step 3 is nan"}};
    const char *sets[] = {"objective=vicha", "train.steps=4", "model.text.layers=4", "model.queue=32",
                          "loss.itm=1",      "eval.every=0",  "loss.alpha=0"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainResult r;
        const How stop = {.threads = 1, .stop_at = 2, .restart = true};
        assert_error(train_in("parts", sets, 7, stop, &r, err), "stopped after step 2");
        char *path = in_run("parts", "checkpoints/step-00000002/model.safetensors"), *data;
        size_t n, at = SIZE_MAX;
        assert_ok(vc_read_file(&data, &n, path, 1 << 28, err));
        NnSafetensors *st = NULL;
        assert_ok(nn_safetensors_open(&st, path, err));
        const NnStored *w = nn_safetensors_find(st, cases[i].parameter);
        assert_non_null(w);
        uint64_t header;
        memcpy(&header, data, sizeof header);
        for (size_t k = 8 + header; k + w->bytes <= n && at == SIZE_MAX; k += 4)
            at = memcmp(data + k, w->data, w->bytes) == 0 ? k : at;
        const float nan_value = NAN;
        memcpy(data + at, &nan_value, sizeof nan_value);
        nn_safetensors_close(&st);
        assert_ok(vc_write_file(path, data, n, err));
        VcStr sums = {0};
        static const char *const files[] = {"model.safetensors", "optimizer.safetensors", "state.json"};
        for (size_t f = 0; f < 3; f++) {
            char name[80], *bytes;
            size_t size;
            snprintf(name, sizeof name, "checkpoints/step-00000002/%s", files[f]);
            read_run_file("parts", name, &bytes, &size);
            vc_str_putf(&sums, "%016llx  %s\n", (unsigned long long)vc_xxh64(bytes, size), files[f]);
            free(bytes);
        }
        char *sum_path = in_run("parts", "checkpoints/step-00000002/checkpoint.xxh64");
        assert_ok(vc_write_file(sum_path, sums.data, sums.len, err));
        assert_error(train_in("parts", sets, 7, (How){.threads = 1}, &r, err), cases[i].loss);
        char *ids = in_run("parts", "bad_batch.json");
        assert_true(vc_exists(ids));
        assert_int_equal(unlink(ids), 0);
        free(ids);
        free(sum_path);
        free(path);
        free(data);
        vc_str_finish(&sums);
    }
}

static void test_init_from(void **state)
{
    (void)state;
    const char *sets[] = {"train.steps=2", "optim.lr=0", "optim.min_lr=0", "seed=1"};
    const char *other[] = {"train.steps=2", "optim.lr=0", "optim.min_lr=0", "seed=2"};
    TrainResult r;
    assert_ok(train_in("first", sets, 4, (How){.threads = 1}, &r, err));
    char *model = in_run("first", "model");
    assert_ok(train_in("second", other, 4, (How){.threads = 1, .init_from = model}, &r, err));
    assert_same_file("first", "second", "model/model.safetensors");
    const char *wide[] = {"train.steps=2", "objective=vicha"};
    assert_error(train_in("third", wide, 2, (How){.init_from = model}, &r, err), "has a name and shape of this model");
    assert_error(train_in("fourth", sets, 4, (How){.init_from = folder}, &r, err), "cannot start from");
    free(model);
}

static void damage(const char *run, const char *file, long at, int length)
{
    char *path = in_run(run, file), *data;
    size_t n;
    assert_ok(vc_read_file(&data, &n, path, 1 << 28, err));
    if (length < 0)
        n = (size_t)((long)n + length);
    else
        data[at < 0 ? (long)n + at : at] ^= 1;
    assert_ok(vc_write_file(path, data, n, err));
    free(data);
    free(path);
}

static void test_damaged_checkpoints(void **state)
{
    (void)state;
    const char *sets[] = {"train.steps=9", "checkpoint.every=2", "checkpoint.keep=2"};
    const struct {
        const char *file, *words;
        long at;
        int length;
    } cases[] = {
        {"model.safetensors", "'model.safetensors' does not match its sum", -1, 0},
        {"optimizer.safetensors", "'optimizer.safetensors' does not match its sum", -5000, 0},
        {"optimizer.safetensors", "'optimizer.safetensors' does not match its sum", 0, -1},
        {"state.json", "'state.json' does not match its sum", 12, 0},
        {"checkpoint.xxh64", "does not match its sum", 3, 0},
        {"checkpoint.xxh64", "does not match its sum", 0, -30},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainResult r;
        const How stop = {.threads = 1, .stop_at = 6, .restart = true};
        assert_error(train_in("damaged", sets, 3, stop, &r, err), "stopped after step 6");
        char file[80];
        snprintf(file, sizeof file, "checkpoints/step-00000006/%s", cases[i].file);
        damage("damaged", file, cases[i].at, cases[i].length);
        assert_error(train_in("damaged", sets, 3, (How){.threads = 1}, &r, err), cases[i].words);
        assert_error(train_in("damaged", sets, 3, (How){.threads = 1}, &r, err), "remove that folder");
        VcStr command = {0};
        vc_str_putf(&command, "rm -r '%s/damaged/checkpoints/step-00000006'", folder);
        assert_int_equal(system(command.data), 0);
        vc_str_finish(&command);
        assert_error(train_in("damaged", sets, 3, (How){.threads = 1, .stop_at = 5}, &r, err), "stopped after step 5");
        assert_int_equal(r.resumed_from, 4); // the advice works: the one before
    }
}

// Files may grow to some size and no further, as on a full disk: the run fails, the checkpoint before stays good.
static void test_full_disk(void **state)
{
    (void)state;
    const char *sets[] = {"train.steps=8", "checkpoint.keep=1", "checkpoint.every=4"};
    TrainResult r;
    assert_error(train_in("full", sets, 3, (How){.threads = 1, .stop_at = 4}, &r, err), "stopped after step 4");
    VcStr command = {0}; // a process of its own, because limits stay
    TrainRecipe recipe;
    VcStr text = {0};
    scene_recipe(&recipe, sets, 3);
    train_recipe_write(&recipe, &text);
    train_recipe_finish(&recipe);
    char *file = in_run("full", "same.json");
    assert_ok(vc_write_file(file, text.data, text.len, err));
    vc_str_putf(&command, "trap '' XFSZ; ulimit -f 200; '%s' train -q '%s' -w '%s' -o '%s/full' >'%s/full/log' 2>&1",
                getenv("VICHA"), file, folder, folder, folder);
    int status = system(command.data);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    char *log;
    size_t n;
    read_run_file("full", "log", &log, &n);
    if (!strstr(log, "cannot write checkpoint"))
        fail_msg("log is '%s'", log);
    free(log);
    free(file);
    vc_str_finish(&command);
    vc_str_finish(&text);
    char *half = in_run("full", "checkpoints/step-00000008.tmp"), *whole = in_run("full", "checkpoints/step-00000008");
    assert_false(vc_exists(half));
    assert_false(vc_exists(whole));
    free(half);
    free(whole);
    assert_ok(train_in("full", sets, 3, (How){.threads = 1}, &r, err));
    assert_int_equal(r.resumed_from, 4);
}

static void test_other_records(void **state)
{
    (void)state;
    const char *sets[] = {"train.steps=6"};
    TrainResult r;
    assert_error(train_in("moved", sets, 1, (How){.threads = 1, .stop_at = 2}, &r, err), "stopped after");
    VcStr command = {0};
    vc_str_putf(&command, "mv '%s/records' '%s/kept' && mv '%s/other' '%s/records'", folder, folder, folder, folder);
    assert_int_equal(system(command.data), 0);
    assert_error(train_in("moved", sets, 1, (How){.threads = 1}, &r, err), "fingerprint");
    vc_str_clear(&command);
    vc_str_putf(&command, "mv '%s/records' '%s/other' && mv '%s/kept' '%s/records'", folder, folder, folder, folder);
    assert_int_equal(system(command.data), 0);
    vc_str_finish(&command);
}

static int set_up(void **state)
{
    (void)state;
    vc_log_set_level(VC_LOG_QUIET);
    folder = test_temp_folder();
    scene_records(folder, "records", 320, true, SIZE_MAX);
    scene_records(folder, "other", 50, false, SIZE_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns_clip),  cmocka_unit_test(test_learns_vicha),
        cmocka_unit_test(test_resume_bits),  cmocka_unit_test(test_metrics_of_a_killed_run),
        cmocka_unit_test(test_not_a_number), cmocka_unit_test(test_not_a_number_of_each_loss),
        cmocka_unit_test(test_init_from),    cmocka_unit_test(test_damaged_checkpoints),
        cmocka_unit_test(test_full_disk),    cmocka_unit_test(test_other_records),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
