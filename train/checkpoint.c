// SPDX-License-Identifier: MIT
#include "train/checkpoint.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/model/state.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { CHECKPOINT_FORMAT = 1, MAX_STATE = 1 << 20 };

static const char model_name[] = "model.safetensors", optimizer_name[] = "optimizer.safetensors",
                  state_name[] = "state.json", sums_name[] = "checkpoint.xxh64";
static const char *const summed[] = {model_name, optimizer_name, state_name};
enum { SUMMED = 3 };

static bool remove_flat(const char *dir, VcErr *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT || vc_fail_errno(err, "cannot open '%s'", dir);
    bool ok = true;
    for (struct dirent *entry = readdir(d); ok && entry; entry = readdir(d)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(d), entry->d_name, 0) != 0)
            ok = vc_fail_errno(err, "cannot remove '%s/%s'", dir, entry->d_name);
    }
    closedir(d);
    if (ok && rmdir(dir) != 0)
        ok = vc_fail_errno(err, "cannot remove '%s'", dir);
    return ok;
}

static bool save_file(const char *dir, const char *name, const NnToStore *tensors, size_t n, VcErr *err)
{
    const NnMetadata format = {"format", "pt"};
    char *path = vc_path_join(dir, name);
    bool ok = nn_safetensors_write(path, tensors, n, &format, 1, NN_STORE_SORTED, err);
    free(path);
    return ok;
}

static bool save_model(const char *dir, const TrainModel *model, VcErr *err)
{
    NnToStore *tensors;
    VcArena *arena = vc_arena_create("checkpoint");
    size_t n = train_model_tensors(model, arena, &tensors);
    bool ok = save_file(dir, model_name, tensors, n, err);
    vc_arena_destroy(&arena);
    return ok;
}

static bool save_moments(const char *dir, const NnParams *params, VcErr *err)
{
    NnToStore *tensors = vc_calloc(2 * params->count, sizeof *tensors);
    VcArena *names = vc_arena_create("names");
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        static const char *const endings[] = {".exp_avg", ".exp_avg_sq"};
        for (size_t k = 0; k < 2; k++) {
            size_t size = strlen(p->name) + 16;
            char *name = vc_arena_alloc(names, size, 1);
            snprintf(name, size, "%s%s", p->name, endings[k]);
            tensors[2 * i + k] = (NnToStore){name, NN_F32, p->shape, (k ? params->v : params->m) + p->offset};
        }
    }
    bool ok = save_file(dir, optimizer_name, tensors, 2 * params->count, err);
    free(tensors);
    vc_arena_destroy(&names);
    return ok;
}

static bool save_state(const char *dir, const TrainState *s, VcErr *err)
{
    VcStr text = {0};
    vc_str_putf(&text, "{\"format\": %d, \"step\": %" PRIu64 ", \"data\": ", CHECKPOINT_FORMAT, s->step);
    index_state_put(&text, &s->data);
    vc_str_putf(&text,
                ", \"loss_sum\": %.17g, \"loss_count\": %" PRIu64 ", \"recipe\": \"%016" PRIx64
                "\", \"tokenizer\": \"%016" PRIx64 "\", \"seconds\": %.3f, \"part_sums\": [",
                s->loss_sum, s->loss_count, s->recipe, s->tokenizer, s->seconds);
    for (size_t i = 0; i < TRAIN_MAX_LOSSES; i++)
        vc_str_putf(&text, "%s%.17g", i ? ", " : "", s->part_sums[i]);
    vc_str_put(&text, "]}\n");
    char *path = vc_path_join(dir, state_name);
    bool ok = vc_write_file(path, text.data, text.len, err);
    free(path);
    vc_str_finish(&text);
    return ok;
}

static bool sum_file(const char *dir, const char *name, uint64_t *sum, VcErr *err)
{
    char *path = vc_path_join(dir, name);
    VcMap map = {0};
    bool ok = vc_map_open(&map, path, err);
    if (ok)
        *sum = vc_xxh64(map.data, map.size);
    vc_map_close(&map);
    free(path);
    return ok;
}

static bool put_sums(const char *dir, VcStr *text, VcErr *err)
{
    for (size_t i = 0; i < SUMMED; i++) {
        uint64_t sum;
        if (!sum_file(dir, summed[i], &sum, err))
            return false;
        vc_str_putf(text, "%016" PRIx64 "  %s\n", sum, summed[i]);
    }
    return true;
}

static bool save_sums(const char *dir, VcErr *err)
{
    VcStr text = {0};
    char *path = vc_path_join(dir, sums_name);
    bool ok = put_sums(dir, &text, err) && vc_write_file(path, text.data, text.len, err);
    free(path);
    vc_str_finish(&text);
    return ok;
}

static char *checkpoints_folder(const char *run)
{
    return vc_path_join(run, "checkpoints");
}

static char *step_folder(const char *parent, uint64_t step, const char *ending)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/step-%08" PRIu64 "%s", parent, step, ending);
    return path.data;
}

typedef struct {
    uint64_t *steps;
    size_t count, cap;
} StepList;

static int compare_steps(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// Steps of the folders "step-NNN", ascending; unfinished ones ("step-NNN.tmp") are not among them.
static bool list_steps(const char *parent, StepList *list, VcErr *err)
{
    DIR *d = opendir(parent);
    if (!d)
        return errno == ENOENT || vc_fail_errno(err, "cannot open '%s'", parent);
    for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
        int64_t step;
        if (!vc_has_prefix(entry->d_name, "step-") || !vc_parse_i64(entry->d_name + 5, &step) || step < 0)
            continue;
        list->steps = vc_grow(list->steps, &list->cap, list->count + 1, sizeof *list->steps);
        list->steps[list->count++] = (uint64_t)step;
    }
    closedir(d);
    if (list->count > 1)
        qsort(list->steps, list->count, sizeof *list->steps, compare_steps);
    return true;
}

static bool remove_old(const char *parent, size_t keep, VcErr *err)
{
    StepList list = {0};
    bool ok = list_steps(parent, &list, err);
    for (size_t i = 0; ok && i + keep < list.count; i++) {
        char *old = step_folder(parent, list.steps[i], ""), *gone = step_folder(parent, list.steps[i], ".tmp");
        // Renamed first: killed half-way, it is not taken for a checkpoint.
        ok = remove_flat(gone, err) && (rename(old, gone) == 0 || vc_fail_errno(err, "cannot rename '%s'", old)) &&
             remove_flat(gone, err);
        free(old);
        free(gone);
    }
    free(list.steps);
    return ok;
}

bool train_checkpoint_save(const char *run, const TrainState *state, const TrainModel *model, size_t keep, VcErr *err)
{
    char *parent = checkpoints_folder(run);
    char *path = step_folder(parent, state->step, ""), *tmp = step_folder(parent, state->step, ".tmp");
    bool written = remove_flat(tmp, err) && vc_make_dirs(tmp, err) && save_model(tmp, model, err) &&
                   save_moments(tmp, &model->params, err) && save_state(tmp, state, err) && save_sums(tmp, err);
    bool ok = written && remove_flat(path, err) &&
              (rename(tmp, path) == 0 || vc_fail_errno(err, "cannot rename '%s' to '%s'", tmp, path)) &&
              vc_sync_parent(path, err);
    if (!ok) {
        remove_flat(tmp, NULL);
        vc_prefix(err, "cannot write checkpoint '%s'", path);
    }
    ok = ok && remove_old(parent, keep, err);
    free(parent);
    free(path);
    free(tmp);
    return ok;
}

bool train_checkpoint_newest(const char *run, char **path, uint64_t *step, VcErr *err)
{
    char *parent = checkpoints_folder(run);
    StepList list = {0};
    bool ok = list_steps(parent, &list, err);
    *path = NULL;
    if (ok && list.count > 0) {
        *step = list.steps[list.count - 1];
        *path = step_folder(parent, *step, "");
    }
    free(list.steps);
    free(parent);
    return ok;
}

bool train_checkpoint_clear(const char *run, VcErr *err)
{
    char *parent = checkpoints_folder(run);
    bool ok = remove_old(parent, 0, err);
    free(parent);
    return ok;
}

static bool check_sums(const char *path, VcErr *err)
{
    char *sums = vc_path_join(path, sums_name), *found = NULL;
    size_t n = 0;
    VcStr expected = {0};
    bool ok = vc_read_file(&found, &n, sums, 4096, err) && put_sums(path, &expected, err);
    if (ok && (n != expected.len || memcmp(found, expected.data, n) != 0)) {
        const char *bad = sums_name;
        for (size_t i = 0, at = 0; i < SUMMED; i++) {
            size_t line = strcspn(expected.data + at, "\n") + 1;
            char *text = vc_strndup(expected.data + at, line);
            if (!strstr(found, text) && strstr(found, summed[i]))
                bad = summed[i];
            free(text);
            at += line;
        }
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' does not match its sum in '%s'", bad, sums_name);
    }
    free(found);
    free(sums);
    vc_str_finish(&expected);
    return ok;
}

static bool get_count(const VcJson *json, const char *key, uint64_t *out, const char *what, VcErr *err)
{
    int64_t value;
    if (!vc_json_get_int(json, key, &value, what, err))
        return false;
    if (value < 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' in %s is negative", key, what);
    *out = (uint64_t)value;
    return true;
}

static bool get_hash(const VcJson *json, const char *key, uint64_t *out, const char *what, VcErr *err)
{
    const char *text;
    char *end;
    if (!vc_json_get_string(json, key, &text, what, err))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 16);
    if (strlen(text) != 16 || *end || errno)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' in %s is no sum of 16 digits", key, what);
    return true;
}

static bool parse_state(const char *file, TrainState *s, VcErr *err)
{
    VcJson *json = NULL;
    int64_t format;
    if (!vc_json_read_file(&json, file, MAX_STATE, err))
        return false;
    bool ok = vc_json_get_int(json, "format", &format, file, err);
    if (ok && format != CHECKPOINT_FORMAT) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' has format %" PRId64 "; this program knows %d", file, format,
                     CHECKPOINT_FORMAT);
    }
    ok = ok && get_count(json, "step", &s->step, file, err) &&
         get_count(json, "loss_count", &s->loss_count, file, err) &&
         vc_json_get_number(json, "loss_sum", &s->loss_sum, file, err) &&
         vc_json_get_number(json, "seconds", &s->seconds, file, err) &&
         get_hash(json, "recipe", &s->recipe, file, err) && get_hash(json, "tokenizer", &s->tokenizer, file, err) &&
         index_state_parse(&s->data, vc_json_member(json, "data"), file, err);
    const VcJson *parts = vc_json_member(json, "part_sums");
    for (size_t i = 0; ok && i < TRAIN_MAX_LOSSES; i++)
        s->part_sums[i] = vc_json_number(vc_json_item(parts, i), 0);
    vc_json_destroy(&json);
    return ok;
}

static bool damaged(const char *path, VcErr *err)
{
    VcErr whole = err ? *err : (VcErr){0};
    return vc_fail(err, whole.code,
                   "checkpoint '%s' cannot be used: %s; remove that folder to go on from the one before", path,
                   whole.text);
}

bool train_checkpoint_state(const char *path, TrainState *state, VcErr *err)
{
    char *file = vc_path_join(path, state_name);
    bool ok = check_sums(path, err) && parse_state(file, state, err);
    free(file);
    return ok || damaged(path, err);
}

static bool load_moments(NnParams *params, const NnSafetensors *st, VcErr *err)
{
    VcStr name = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        vc_str_clear(&name);
        vc_str_putf(&name, "%s.exp_avg", p->name);
        ok = nn_safetensors_load_raw(st, name.data, NN_F32, p->shape, params->m + p->offset, err);
        vc_str_put(&name, "_sq");
        ok = ok && nn_safetensors_load_raw(st, name.data, NN_F32, p->shape, params->v + p->offset, err);
    }
    vc_str_finish(&name);
    return ok;
}

bool train_checkpoint_load(const char *path, TrainModel *model, VcErr *err)
{
    NnSafetensors *weights = NULL, *optimizer = NULL;
    char *model_path = vc_path_join(path, model_name), *optimizer_path = vc_path_join(path, optimizer_name);
    bool ok = nn_safetensors_open(&weights, model_path, err) && nn_safetensors_open(&optimizer, optimizer_path, err) &&
              train_model_read(model, weights, err) && load_moments(&model->params, optimizer, err);
    nn_safetensors_close(&weights);
    nn_safetensors_close(&optimizer);
    free(model_path);
    free(optimizer_path);
    return ok || damaged(path, err);
}
