// SPDX-License-Identifier: MIT
#include "train/model/state.h"

#include "base/mem.h"

#include <inttypes.h>

static void put_params(const NnParams *params, NnToStore *out, size_t *n)
{
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        out[(*n)++] = (NnToStore){p->name, NN_F32, p->shape, params->value + p->offset};
    }
}

// Columns of the file are rows here.
static float *to_columns(const float *rows, size_t length, size_t width, VcArena *arena)
{
    float *out = vc_arena_alloc(arena, length * width, sizeof *out);
    for (size_t i = 0; i < length; i++) {
        for (size_t j = 0; j < width; j++)
            out[j * length + i] = rows[i * width + j];
    }
    return out;
}

size_t train_model_tensors(const TrainModel *model, VcArena *arena, NnToStore **out)
{
    const TrainQueue *q = &model->queue;
    size_t n = 0;
    *out = vc_arena_alloc(arena, model->params.count + model->momentum.count + 3, sizeof **out);
    put_params(&model->params, *out, &n);
    put_params(&model->momentum, *out, &n);
    if (q->length == 0)
        return n;
    const NnShape shape = NN_SHAPE(q->width, q->length);
    const size_t at = q->room * q->width;
    int64_t *next = vc_arena_alloc(arena, 1, sizeof *next);
    *next = (int64_t)q->next;
    (*out)[n++] = (NnToStore){"image_queue", NN_F32, shape, to_columns(q->images + at, q->length, q->width, arena)};
    (*out)[n++] = (NnToStore){"text_queue", NN_F32, shape, to_columns(q->texts + at, q->length, q->width, arena)};
    (*out)[n++] = (NnToStore){"queue_ptr", NN_I64, NN_SHAPE(1), next};
    return n;
}

static bool read_params(NnParams *params, const NnSafetensors *st, VcErr *err)
{
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        if (!nn_safetensors_load_raw(st, p->name, NN_F32, p->shape, params->value + p->offset, err))
            return false;
    }
    return true;
}

static bool read_queue(const TrainQueue *q, const NnSafetensors *st, const char *name, float *rows, VcErr *err)
{
    float *columns = vc_alloc(q->length * q->width, sizeof *columns);
    bool ok = nn_safetensors_load_f32(st, name, NN_SHAPE(q->width, q->length), columns, err);
    for (size_t i = 0; ok && i < q->length; i++) {
        for (size_t j = 0; j < q->width; j++)
            rows[i * q->width + j] = columns[j * q->length + i];
    }
    free(columns);
    return ok;
}

bool train_model_read_queues(TrainModel *model, const NnSafetensors *st, VcErr *err)
{
    TrainQueue *q = &model->queue;
    int64_t next = 0;
    if (q->length == 0)
        return true;
    const size_t at = q->room * q->width;
    if (!read_queue(q, st, "image_queue", q->images + at, err) ||
        !read_queue(q, st, "text_queue", q->texts + at, err) ||
        !nn_safetensors_load_i64(st, "queue_ptr", NN_SHAPE(1), &next, err))
        return false;
    if (next < 0 || (uint64_t)next >= q->length) {
        return vc_fail(err, VC_ERR_FORMAT, "queue_ptr of '%s' is %" PRId64 ", the queue has %zu places",
                       nn_safetensors_path(st), next, q->length);
    }
    q->next = (size_t)next;
    return true;
}

bool train_model_read(TrainModel *model, const NnSafetensors *st, VcErr *err)
{
    return read_params(&model->params, st, err) && read_params(&model->momentum, st, err) &&
           train_model_read_queues(model, st, err);
}
