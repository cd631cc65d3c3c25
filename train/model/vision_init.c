// SPDX-License-Identifier: MIT
// First values that let a small ViT learn from little data: see vision_init.h.
#include "train/model/vision_init.h"

#include "base/err.h"
#include "base/mem.h"
#include "nn/nn.h"

#include <math.h>

typedef struct {
    double order; // sort key: spatial frequency, chroma later than luma
    size_t colour, u, v;
} Filter;

static int by_order(const void *a, const void *b)
{
    const Filter *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    size_t p = (x->colour * 4096 + x->v) * 4096 + x->u, q = (y->colour * 4096 + y->v) * 4096 + y->u;
    return p < q ? -1 : p > q;
}

static double cosine(size_t n, size_t frequency, size_t at)
{
    double size = (double)n, f = (double)frequency;
    return cos(3.14159265358979323846 * ((double)at + 0.5) * f / size) * sqrt((frequency ? 2 : 1) / size);
}

void train_init_dct_patches(TrainModel *model, size_t index)
{
    // Lightness, and the two axes of colour; each of length 1.
    static const double colours[3][3] = {{0.57735026919, 0.57735026919, 0.57735026919},
                                         {0.70710678119, -0.70710678119, 0},
                                         {0.40824829046, 0.40824829046, -0.81649658093}};
    const double chroma_delay = 2; // colour needs less detail than lightness
    const NnParamInfo *info = &model->params.items[index];
    const size_t filters = info->shape.dim[0], n = info->shape.dim[2];
    VC_ASSERT(n > 0 && info->shape.dim[1] == 3 && info->shape.dim[3] == n);
    Filter *list = vc_alloc(3 * n * n, sizeof *list);
    for (size_t c = 0, k = 0; c < 3; c++) {
        for (size_t v = 0; v < n; v++) {
            for (size_t u = 0; u < n; u++, k++)
                list[k] = (Filter){hypot((double)u, (double)v) + (c ? chroma_delay : 0), c, u, v};
        }
    }
    qsort(list, 3 * n * n, sizeof *list, by_order);
    nn_real *out = model->params.value + info->offset;
    for (size_t k = 0; k < filters; k++) {
        const Filter *f = &list[k % (3 * n * n)];
        // Amplitudes in pictures fall with frequency about as 1/f: this gain makes the outputs alike in size.
        double gain = pow(1 + hypot((double)f->u, (double)f->v), 1.2) / (double)n;
        for (size_t c = 0; c < 3; c++) {
            for (size_t y = 0; y < n; y++) {
                for (size_t x = 0; x < n; x++)
                    *out++ = (nn_real)(gain * colours[f->colour][c] * cosine(n, f->v, y) * cosine(n, f->u, x));
            }
        }
    }
    free(list);
}

void train_init_grid_positions(TrainModel *model, size_t index, double scale)
{
    const NnParamInfo *info = &model->params.items[index];
    const size_t rank = info->shape.rank, width = info->shape.dim[rank - 1], tokens = info->shape.dim[rank - 2];
    const size_t grid = (size_t)(sqrt((double)(tokens - 1)) + 0.5);
    VC_ASSERT(info->size == tokens * width && grid * grid + 1 == tokens);
    nn_real *out = model->params.value + info->offset;
    nn_sincos_positions(out, grid, width);
    for (size_t i = 0; i < info->size; i++)
        out[i] *= (nn_real)scale;
}

void train_init_mimetic_attention(TrainModel *model, const TrainLayer *layer, size_t width)
{
    const NnParams *params = &model->params;
    const nn_real kept = NN_R(0.3), fed_back = NN_R(0.4);
    const size_t parts = layer->joined ? 3 : 1, square = width * width;
    VC_ASSERT(params->items[layer->q_w].size == parts * square);
    nn_real *q = params->value + params->items[layer->q_w].offset;
    nn_real *k = layer->joined ? q + square : params->value + params->items[layer->k_w].offset;
    const nn_real *v = layer->joined ? q + 2 * square : params->value + params->items[layer->v_w].offset;
    nn_real *out = params->value + params->items[layer->out_w].offset;
    for (size_t i = 0; i < square; i++)
        k[i] = q[i] + kept * k[i];
    for (size_t i = 0; i < width; i++) {
        for (size_t j = 0; j < width; j++)
            out[i * width + j] = kept * out[i * width + j] - fed_back * v[j * width + i];
    }
}
