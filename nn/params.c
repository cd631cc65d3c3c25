// SPDX-License-Identifier: MIT
#include "base/err.h"
#include "nn/tape.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 / sizeof(nn_real) };

void nn_params_init(NnParams *params)
{
    *params = (NnParams){0};
}

void nn_params_finish(NnParams *params)
{
    for (size_t i = 0; i < params->count; i++)
        free(params->items[i].name);
    free(params->items);
    free(params->value);
    free(params->grad);
    free(params->m);
    free(params->v);
    *params = (NnParams){0};
}

size_t nn_params_add(NnParams *params, const char *name, NnShape shape, unsigned flags)
{
    VC_ASSERT(!params->value);
    VC_ASSERT(nn_params_find(params, name) == SIZE_MAX);
    size_t size, end;
    VC_ASSERT(nn_shape_count(&shape, &size) && size > 0);
    VC_ASSERT(vc_add_size(params->size, size, &end) && vc_add_size(end, ALIGN - 1, &end));
    params->items = vc_grow(params->items, &params->cap, params->count + 1, sizeof *params->items);
    params->items[params->count] =
        (NnParamInfo){.name = vc_strdup(name), .shape = shape, .size = size, .offset = params->size, .flags = flags};
    params->size = end / ALIGN * ALIGN;
    return params->count++;
}

static nn_real *zeroed_block(size_t n)
{
    nn_real *block = vc_alloc_aligned(n, sizeof *block);
    memset(block, 0, n * sizeof *block);
    return block;
}

void nn_params_allocate(NnParams *params, bool with_moments)
{
    VC_ASSERT(!params->value);
    params->value = zeroed_block(params->size);
    if (!with_moments)
        return;
    params->grad = zeroed_block(params->size);
    params->m = zeroed_block(params->size);
    params->v = zeroed_block(params->size);
}

size_t nn_params_find(const NnParams *params, const char *name)
{
    for (size_t i = 0; i < params->count; i++) {
        if (strcmp(params->items[i].name, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

size_t nn_params_count_trainable(const NnParams *params)
{
    size_t n = 0;
    for (size_t i = 0; i < params->count; i++)
        n += params->items[i].flags & NN_PARAM_FROZEN ? 0 : params->items[i].size;
    return n;
}

void nn_params_zero_grad(NnParams *params)
{
    memset(params->grad, 0, params->size * sizeof *params->grad);
}
