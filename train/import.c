// SPDX-License-Identifier: MIT
#include "base/file.h"
#include "base/mem.h"
#include "concepts/concepts.h"
#include "train/import_private.h"
#include "train/model/state.h"
#include "train/train.h"

#include <dirent.h>
#include <math.h>

// ---- opening ----

static bool is_weight_file(const char *name)
{
    static const char *const endings[] = {".safetensors", ".pth", ".pt", ".bin"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (vc_has_suffix(name, endings[i]))
            return true;
    }
    return false;
}

// The only weight file of a folder, or NULL; freed with free().
static char *only_weights(const char *dir)
{
    DIR *d = opendir(dir);
    char *found = NULL;
    size_t count = 0;
    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.' || !is_weight_file(e->d_name))
            continue;
        free(found);
        found = vc_path_join(dir, e->d_name);
        count++;
    }
    if (d != NULL)
        closedir(d);
    if (count != 1) {
        free(found);
        found = NULL;
    }
    return found;
}

static char *find_in_folder(const char *dir)
{
    static const char *const stems[][2] = {{"model", "pytorch_model"}, {"open_clip_model", "open_clip_pytorch_model"}};
    char *found = NULL;
    for (size_t i = 0; found == NULL && i < 2; i++)
        found = nn_weights_find(dir, stems[i][0], stems[i][1]);
    if (found == NULL)
        found = only_weights(dir);
    if (found == NULL) { // a run
        char *model = vc_path_join(dir, "model");
        found = nn_weights_find(model, "model", "pytorch_model");
        free(model);
    }
    return found;
}

bool train_weights_open(NnSafetensors **out, const char *path, VcErr *err)
{
    if (vc_exists(path) && !vc_is_directory(path))
        return nn_weights_open(out, path, err);
    char *dir = NULL;
    if (!clip_find(&dir, path, err))
        return false;
    char *file = find_in_folder(dir);
    const bool ok = file != NULL
                        ? nn_weights_open(out, file, err)
                        : vc_fail(err, VC_ERR_IO,
                                  "'%s' holds no weights: neither model.safetensors, pytorch_model.bin, an index of "
                                  "either, nor one single weight file",
                                  dir);
    free(file);
    free(dir);
    return ok;
}

static bool open_source(TrainSource *s, const char *text, VcErr *err)
{
    static const char *const parts[] = {
        [TRAIN_FILL_VISUAL] = "visual=", [TRAIN_FILL_TEXT] = "text=", [TRAIN_FILL_CONCEPTS] = "concepts="};
    *s = (TrainSource){.path = text};
    for (TrainFill p = TRAIN_FILL_VISUAL; p <= TRAIN_FILL_CONCEPTS; p++) {
        if (vc_has_prefix(text, parts[p])) {
            s->part = p;
            s->path = text + strlen(parts[p]);
        }
    }
    if (!train_weights_open(&s->set, s->path, err))
        return vc_prefix(err, "cannot start from '%s'", text);
    s->naming = train_naming_of(s->set);
    s->used = vc_calloc(nn_safetensors_count(s->set) + 1, sizeof *s->used);
    return true;
}

// ---- one parameter ----

bool train_import_may_fill(TrainFill part, const char *target)
{
    switch (part) {
    case TRAIN_FILL_VISUAL:
        return vc_has_prefix(target, "visual_encoder.");
    case TRAIN_FILL_TEXT:
        return vc_has_prefix(target, "text_encoder.") || vc_has_prefix(target, "kw_encoder.");
    case TRAIN_FILL_CONCEPTS:
        return vc_has_prefix(target, "kw_encoder.");
    default:
        return true;
    }
}

static void mark_used(TrainSource *s, const NnStored *tensor)
{
    s->used[tensor - nn_safetensors_at(s->set, 0)] = true; // the tensors of a set are one array
}

static bool is_position_table(const char *name)
{
    return (vc_has_suffix(name, "pos_embed") && !vc_has_prefix(name, "decoder_")) ||
           strcmp(name, "vision_model.embeddings.position_embedding.weight") == 0;
}

static size_t square_root(size_t n)
{
    const size_t r = (size_t)lround(sqrt((double)n));
    return r * r == n ? r : 0;
}

// Rows and width of a table [rows, width] or [1, rows, width].
static bool table_of(const NnShape *s, size_t *rows, size_t *width)
{
    if (s->rank < 2 || s->rank > 3 || (s->rank == 3 && s->dim[0] != 1))
        return false;
    *rows = s->dim[s->rank - 2];
    *width = s->dim[s->rank - 1];
    return *rows > 1 && *width > 0;
}

// A table of patch positions for another grid, or with a distillation token after the class token.
static bool load_positions(const TrainSource *s, TrainTarget *target, const NnStored *t)
{
    size_t rows, width, to_rows, to_width;
    if (!table_of(&t->shape, &rows, &width) || !table_of(&target->info->shape, &to_rows, &to_width) ||
        width != to_width)
        return false;
    const size_t prefix = square_root(rows - 1) > 0 ? 1 : 2;
    const size_t from = square_root(rows - prefix), to = square_root(to_rows - 1);
    if (from == 0 || to == 0)
        return false;
    nn_real *table = vc_alloc(rows * width, sizeof *table);
    const bool ok = nn_safetensors_load_real(s->set, t->name, t->shape, table, NULL);
    if (ok) {
        memmove(table + width, table + prefix * width, (rows - prefix) * width * sizeof *table);
        nn_interpolate_positions(target->value, table, 1, from, to, width);
        target->from_grid = from;
        target->to_grid = to;
    }
    free(table);
    return ok;
}

static bool load_joined(const TrainSource *s, const NnParamInfo *p, const TrainNamed *named, nn_real *out)
{
    NnShape third = p->shape;
    if (third.rank == 0 || third.dim[0] % 3 != 0)
        return false;
    third.dim[0] /= 3;
    for (size_t i = 0; i < 3; i++) {
        if (!nn_shape_equal(&named->tensors[i]->shape, &third))
            return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < 3; i++)
        ok = nn_safetensors_load_real(s->set, named->tensors[i]->name, third, out + i * (p->size / 3), NULL);
    return ok;
}

// Same values in the same order: shapes that differ in dimensions of 1 alone.
static bool same_but_ones(const NnShape *a, const NnShape *b)
{
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a->rank && a->dim[i] == 1)
            i++;
        while (j < b->rank && b->dim[j] == 1)
            j++;
        if (i == a->rank || j == b->rank)
            return i == a->rank && j == b->rank;
        if (a->dim[i++] != b->dim[j++])
            return false;
    }
}

// The loaders take these: what has been looked at first does not fail half-way.
static bool is_real(NnDtype dtype)
{
    return dtype == NN_F32 || dtype == NN_F16 || dtype == NN_BF16 || dtype == NN_F64;
}

// True when the target has its values from this source; else its fate may say why not.
static bool fill(TrainSource *s, TrainTarget *target)
{
    const NnParamInfo *p = target->info;
    const TrainNamed named = train_named(s->set, &s->naming, p->name);
    if (named.count == 0)
        return false;
    const NnStored *t = named.tensors[0];
    TrainFate fate = TRAIN_FATE_MISFIT;
    bool real = true;
    for (size_t i = 0; i < named.count; i++)
        real = real && is_real(named.tensors[i]->dtype);
    if (real && named.count == 3) {
        if (load_joined(s, p, &named, target->value))
            fate = TRAIN_FATE_JOINED;
    } else if (real && same_but_ones(&t->shape, &p->shape)) {
        if (nn_safetensors_load_real(s->set, t->name, t->shape, target->value, NULL))
            fate = TRAIN_FATE_LOADED;
    } else if (real && is_position_table(p->name)) {
        if (load_positions(s, target, t))
            fate = TRAIN_FATE_INTERPOLATED;
    }
    if (fate != TRAIN_FATE_MISFIT || target->fate == TRAIN_FATE_ABSENT) {
        target->fate = fate;
        target->source = s;
        target->tensor = t;
    }
    for (size_t i = 0; fate != TRAIN_FATE_MISFIT && i < named.count; i++)
        mark_used(s, named.tensors[i]);
    s->loaded += fate != TRAIN_FATE_MISFIT;
    return fate != TRAIN_FATE_MISFIT;
}

static void list_targets(TrainImport *im)
{
    const NnParams *sets[] = {&im->model->params, &im->model->momentum};
    im->targets = vc_calloc(sets[0]->count + sets[1]->count + 1, sizeof *im->targets);
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sets[k]->count; i++) {
            im->targets[im->target_count++] =
                (TrainTarget){.info = &sets[k]->items[i], .value = sets[k]->value + sets[k]->items[i].offset};
        }
    }
}

// The student of "NAME_m.REST": "NAME.REST", or NULL.
static const TrainTarget *student_of(const TrainImport *im, const char *name)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL || dot - name < 3 || strncmp(dot - 2, "_m", 2) != 0)
        return NULL;
    VcStr student = {0};
    vc_str_putn(&student, name, (size_t)(dot - 2 - name));
    vc_str_put(&student, dot);
    const size_t index = nn_params_find(&im->model->params, student.data);
    vc_str_finish(&student);
    return index != SIZE_MAX ? &im->targets[index] : NULL;
}

static void fill_all(TrainImport *im)
{
    for (size_t i = 0; i < im->target_count; i++) {
        bool done = false;
        for (size_t k = im->count; !done && k-- > 0;) {
            if (train_import_may_fill(im->sources[k].part, im->targets[i].info->name))
                done = fill(&im->sources[k], &im->targets[i]);
        }
    }
    for (size_t i = im->model->params.count; i < im->target_count; i++) {
        TrainTarget *teacher = &im->targets[i];
        const TrainTarget *student = teacher->fate < TRAIN_FATE_LOADED ? student_of(im, teacher->info->name) : NULL;
        if (student == NULL || student->info->size != teacher->info->size)
            continue;
        memcpy(teacher->value, student->value, student->info->size * sizeof *student->value);
        *teacher = (TrainTarget){.info = teacher->info, .value = teacher->value, .fate = TRAIN_FATE_COPIED};
    }
}

// Queues of features belong to the teachers and projections they were made with: taken only where all of those were.
static void fill_queues(TrainImport *im)
{
    for (size_t k = im->count; im->model->queue.length > 0 && im->queues == NULL && k-- > 0;) {
        TrainSource *s = &im->sources[k];
        bool whole = s->part == TRAIN_FILL_ALL && nn_safetensors_find(s->set, "image_queue") != NULL;
        for (size_t i = im->model->params.count; whole && i < im->target_count; i++)
            whole = im->targets[i].source == s && im->targets[i].fate >= TRAIN_FATE_LOADED;
        if (whole && train_model_read_queues(im->model, s->set, NULL))
            im->queues = s;
    }
    static const char *const names[] = {"image_queue", "text_queue", "queue_ptr"};
    for (size_t i = 0; im->queues != NULL && i < 3; i++)
        mark_used(&im->sources[im->queues - im->sources], nn_safetensors_find(im->queues->set, names[i]));
}

static bool check_sources(const TrainImport *im, VcErr *err)
{
    for (size_t k = 0; k < im->count; k++) {
        const TrainSource *s = &im->sources[k];
        if (s->loaded == 0) {
            return vc_fail(err, VC_ERR_FORMAT,
                           "cannot start from '%s': none of its %zu tensors (%s) has a name and shape of this model%s",
                           s->path, nn_safetensors_count(s->set), train_naming_text(&s->naming),
                           k + 1 < im->count ? " that no later source has" : "");
        }
    }
    return true;
}

bool train_import(TrainModel *model, const char *const *sources, size_t count, const char *run, VcErr *err)
{
    TrainImport im = {.model = model, .sources = vc_calloc(count + 1, sizeof *im.sources)};
    bool ok = true;
    list_targets(&im);
    for (; ok && im.count < count; im.count += ok)
        ok = open_source(&im.sources[im.count], sources[im.count], err);
    if (ok) {
        fill_all(&im);
        fill_queues(&im);
        train_import_say(&im);
        ok = check_sources(&im, err) && (run == NULL || train_import_write(&im, run, err));
    }
    for (size_t k = 0; k < im.count; k++) {
        nn_safetensors_close(&im.sources[k].set);
        free(im.sources[k].used);
    }
    free(im.sources);
    free(im.targets);
    return ok;
}
