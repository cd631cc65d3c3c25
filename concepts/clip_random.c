// SPDX-License-Identifier: MIT
// Models of the published sizes with random weights, and what they cost.
#include "concepts/clip_private.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t image, patch, width, layers, heads, text_width, text_layers, text_heads, dim;
} archs[] = {
    {"ViT-B/32", 224, 32, 768, 12, 12, 512, 12, 8, 512},
    {"ViT-B/16", 224, 16, 768, 12, 12, 512, 12, 8, 512},
    {"ViT-L/14", 224, 14, 1024, 24, 16, 768, 12, 12, 768},
    {"ViT-H/14", 224, 14, 1280, 32, 16, 1024, 24, 16, 1024},
};

const char *clip_arch_name(const ClipInfo *info, char out[48])
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (archs[i].width == info->image.width && archs[i].layers == info->image.layers) {
            snprintf(out, 48, "%.6s%zu%s", archs[i].name, info->patch, info->image_size == 224 ? "" : "@");
            if (info->image_size != 224)
                snprintf(out + strlen(out), 48 - strlen(out), "%zu", info->image_size);
            return out;
        }
    }
    snprintf(out, 48, "ViT-%zux%zu/%zu@%zu", info->image.width, info->image.layers, info->patch, info->image_size);
    return out;
}

// `rows` rows through every block, `last` of them through what follows the keys and values of the last one.
static double tower_flops(const ClipTower *t, double rows, double last, double seen)
{
    const double w = (double)t->width, f = (double)t->mlp;
    const double wide = 2 * w * w + 2 * w * f; // query, out, MLP
    const double row = 2 * (wide + 2 * w * w) + 4 * seen * w,
                 end = 2 * (rows * 2 * w * w + last * wide) + 4 * last * seen * w;
    return (double)(t->layers - 1) * rows * row + end;
}

double clip_image_flops(const ClipInfo *info)
{
    const size_t side = info->image_size / info->patch;
    const double grid = (double)side, tokens = grid * grid + 1;
    const double patches = 2 * grid * grid * 3 * (double)(info->patch * info->patch) * (double)info->image.width;
    return patches + tower_flops(&info->image, tokens, 1, tokens) + 2 * (double)(info->image.width * info->dim);
}

double clip_text_flops(const ClipInfo *info, size_t tokens)
{
    return tower_flops(&info->text, (double)tokens, 1, (double)tokens) + 2 * (double)(info->text.width * info->dim);
}

static const float *numbers(ClipModel *m, VcRng *rng, size_t n, double spread, float mean)
{
    float *v = vc_arena_alloc(m->converted, n, sizeof *v);
    const float scale = (float)(spread * sqrt(12.0)); // uniform of that deviation: quick to draw
    for (size_t i = 0; i < n; i++)
        v[i] = mean + scale * ((float)vc_rng_uniform(rng) - 0.5F);
    m->info.parameters += n;
    return v;
}

static ClipLinear linear(ClipModel *m, VcRng *rng, size_t out, size_t in)
{
    return (ClipLinear){numbers(m, rng, out * in, 1.0 / sqrt((double)in), 0), numbers(m, rng, out, 0.02, 0)};
}

static ClipNorm norm(ClipModel *m, VcRng *rng, size_t width)
{
    return (ClipNorm){numbers(m, rng, width, 0.1, 1), numbers(m, rng, width, 0.1, 0)};
}

static ClipBlock *blocks(ClipModel *m, VcRng *rng, const ClipTower *t)
{
    ClipBlock *list = vc_calloc(t->layers, sizeof *list);
    const size_t w = t->width;
    for (size_t i = 0; i < t->layers; i++) {
        list[i] = (ClipBlock){.norm1 = norm(m, rng, w),
                              .norm2 = norm(m, rng, w),
                              .q = linear(m, rng, w, w),
                              .k = linear(m, rng, w, w),
                              .v = linear(m, rng, w, w),
                              .o = linear(m, rng, w, w),
                              .fc1 = linear(m, rng, t->mlp, w),
                              .fc2 = linear(m, rng, w, t->mlp)};
    }
    return list;
}

bool clip_open_random(ClipModel **out, const char *arch, uint64_t seed, VcErr *err)
{
    size_t i = 0;
    while (i < sizeof archs / sizeof archs[0] && strcmp(archs[i].name, arch) != 0)
        i++;
    if (i == sizeof archs / sizeof archs[0]) {
        return vc_fail(err, VC_ERR_USAGE,
                       "there is no architecture '%s': expected ViT-B/32, ViT-B/16, ViT-L/14 or ViT-H/14", arch);
    }
    if (!nn_blas_check(err))
        return false;
    ClipModel *m = vc_calloc(1, sizeof *m);
    m->info = (ClipInfo){
        .layout = CLIP_LAYOUT_HF,
        .image = {archs[i].width, archs[i].layers, archs[i].heads, 4 * archs[i].width, CLIP_QUICK_GELU, 1e-5},
        .text = {archs[i].text_width, archs[i].text_layers, archs[i].text_heads, 4 * archs[i].text_width,
                 CLIP_QUICK_GELU, 1e-5},
        .image_size = archs[i].image,
        .patch = archs[i].patch,
        .dim = archs[i].dim,
        .context = 77,
        .vocabulary = 49408,
        .mean = {0.48F, 0.46F, 0.41F},
        .std = {0.27F, 0.26F, 0.28F},
        .logit_scale = 100.0F,
        .storage = "F32"};
    m->converted = vc_arena_create("clip weights");
    m->pool_id = 49407;
    VcRng rng;
    vc_rng_seed(&rng, seed);
    const ClipInfo *info = &m->info;
    const size_t w = info->image.width, tw = info->text.width, p = info->patch, grid = info->image_size / p;
    m->class_token = numbers(m, &rng, w, 0.3, 0);
    m->image_positions = numbers(m, &rng, (grid * grid + 1) * w, 0.2, 0);
    m->patch.w = numbers(m, &rng, w * 3 * p * p, 1.0 / sqrt((double)(3 * p * p)), 0);
    m->pre = norm(m, &rng, w);
    m->post = norm(m, &rng, w);
    m->image_blocks = blocks(m, &rng, &info->image);
    m->image_projection.w = numbers(m, &rng, info->dim * w, 1.0 / sqrt((double)w), 0);
    m->tokens = numbers(m, &rng, info->vocabulary * tw, 0.7, 0);
    m->text_positions = numbers(m, &rng, info->context * tw, 0.2, 0);
    m->text_blocks = blocks(m, &rng, &info->text);
    m->final = norm(m, &rng, tw);
    m->text_projection.w = numbers(m, &rng, info->dim * tw, 1.0 / sqrt((double)tw), 0);
    m->info.converted_bytes = m->info.parameters * sizeof(float);
    if (!clip_view_towers(m, err)) {
        clip_close(&m);
        return false;
    }
    *out = m;
    return true;
}
