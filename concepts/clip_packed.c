// SPDX-License-Identifier: MIT
// A tower's layers packed for a precision (concepts/clip.h, ClipPrecision).
//
// int8: of an input channel with largest magnitude a in the rows and w in the weights, rows are divided and weights
// multiplied by sqrt(a / w) (Xiao et al., 2023, eq. 4 with alpha 1/2), so that neither side's range is spent on a few
// channels. Before q/k/v and fc1 the division is in the gains of the layer norm, before o and fc2 it is one factor of
// a channel.
#include "concepts/clip_private.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

static const char *const names[CLIP_PRECISIONS] = {"fp32", "bf16", "int8"};

const char *clip_precision_name(ClipPrecision p)
{
    return names[p];
}

bool clip_precision_by_name(const char *name, ClipPrecision *out)
{
    for (int p = 0; p < CLIP_PRECISIONS; p++) {
        if (strcmp(name, names[p]) == 0) {
            *out = (ClipPrecision)p;
            return true;
        }
    }
    return false;
}

// ---- one tower ----

typedef struct {
    ClipPackedTower *t;
    VcPool *pool;
    NnPackedKind kind;
    bool now;
    VcErr *err;
} Packer;

static NnPackedPart part(ClipLinear l, size_t out)
{
    return (NnPackedPart){l.w, l.b, out, 1};
}

// What the weights of each input are multiplied by, and its inverse for the rows; *inverse NULL: nothing.
static const float *columns_of(const Packer *p, const float *absmax, const ClipLinear *layers, size_t count, size_t out,
                               size_t in, const float **inverse)
{
    *inverse = NULL;
    if (p->kind != NN_PACKED_INT8 || absmax == NULL)
        return NULL;
    float *columns = vc_arena_zalloc(p->t->arena, in, sizeof *columns),
          *under = vc_arena_alloc(p->t->arena, in, sizeof *under);
    for (size_t l = 0; l < count; l++) {
        for (size_t o = 0; o < out; o++) {
            for (size_t i = 0; i < in; i++)
                columns[i] = fabsf(layers[l].w[o * in + i]) > columns[i] ? fabsf(layers[l].w[o * in + i]) : columns[i];
        }
    }
    for (size_t i = 0; i < in; i++) {
        const float ratio = sqrtf(absmax[i] / columns[i]);
        columns[i] = ratio > 1e-5F && ratio < 1e5F ? ratio : 1; // also where one of the two is 0 or no number
        under[i] = 1 / columns[i];
    }
    *inverse = under;
    return columns;
}

static bool pack(const Packer *p, NnPacked *to, const NnPackedPart *parts, size_t count, size_t in,
                 const float *columns)
{
    return nn_packed_init(to, p->pool, p->kind, parts, count, in, columns, p->now, p->err);
}

static ClipNorm divide(const Packer *p, ClipNorm norm, const float *inverse, size_t width)
{
    if (inverse == NULL)
        return norm;
    float *gain = vc_arena_alloc(p->t->arena, width, sizeof *gain),
          *bias = vc_arena_alloc(p->t->arena, width, sizeof *bias);
    for (size_t i = 0; i < width; i++) {
        gain[i] = norm.gain[i] * inverse[i];
        bias[i] = norm.bias[i] * inverse[i];
    }
    return (ClipNorm){gain, bias};
}

// absmax[3 W + F] of the block, or NULL. last: what follows its attention is packed finer by one precision.
static bool pack_block(const Packer *all, ClipPackedBlock *to, const ClipBlock *b, const ClipTower *t,
                       const float *absmax, bool last)
{
    const Packer *p = all;
    Packer finer = *all;
    if (finer.kind != NN_PACKED_FP32)
        finer.kind--;
    const size_t width = t->width, wide = t->mlp;
    const ClipLinear qkv[3] = {b->q, b->k, b->v};
    NnPackedPart q = part(b->q, width);
    const size_t head = width / t->heads;
    const NnPackedPart kv[2] = {part(b->k, width), part(b->v, width)};
    const NnPackedPart o = part(b->o, width), fc1 = part(b->fc1, wide), fc2 = part(b->fc2, width);
    if (p->t->half)
        q.factor = (float)(1 / sqrt((double)head)); // softmax sees it there alone
    const float *inverse, *most = absmax;
    const float *columns = columns_of(p, most, qkv, 3, width, width, &inverse);
    to->norm1 = divide(p, b->norm1, inverse, width);
    bool ok = pack(p, &to->q, &q, 1, width, columns) && pack(p, &to->kv, kv, 2, width, columns);
    // Behind the last attention stands one row of an image or text.
    p = last ? &finer : all;
    most = most != NULL ? most + width : NULL;
    columns = columns_of(p, most, &b->o, 1, width, width, &to->o_columns);
    ok = ok && pack(p, &to->o, &o, 1, width, columns);
    most = most != NULL ? most + width : NULL;
    columns = columns_of(p, most, &b->fc1, 1, wide, width, &inverse);
    to->norm2 = divide(p, b->norm2, inverse, width);
    ok = ok && pack(p, &to->fc1, &fc1, 1, width, columns);
    most = most != NULL ? most + width : NULL;
    columns = columns_of(p, most, &b->fc2, 1, width, wide, &to->fc2_columns);
    return ok && pack(p, &to->fc2, &fc2, 1, wide, columns);
}

bool clip_pack_tower(ClipPackedTower *t, const ClipModel *m, bool image, VcPool *pool, ClipPrecision precision,
                     const float *c, bool now, VcErr *err)
{
    const ClipTower *tower = image ? &m->info.image : &m->info.text;
    const ClipBlock *blocks = image ? m->image_blocks : m->text_blocks;
    const size_t columns = 3 * m->info.patch * m->info.patch, channels = 3 * tower->width + tower->mlp;
    static const NnPackedKind kinds[CLIP_PRECISIONS] = {NN_PACKED_FP32, NN_PACKED_BF16, NN_PACKED_INT8};
    *t = (ClipPackedTower){.precision = precision, .packed = now, .layers = tower->layers};
    // An image's many keys are worth it, and heads of an odd size would not stand on whole words.
    t->half = image && precision != CLIP_FP32 && tower->width / tower->heads % 2 == 0;
    t->blocks = vc_calloc(tower->layers, sizeof *t->blocks);
    t->arena = vc_arena_create("clip norms");
    Packer p = {t, pool, kinds[precision], now, err};
    bool ok = true;
    for (size_t l = 0; ok && l < tower->layers; l++) {
        ok = pack_block(&p, &t->blocks[l], &blocks[l], tower, c != NULL ? c + l * channels : NULL,
                        l + 1 == tower->layers) ||
             vc_prefix(err, "%s block %zu of '%s'", image ? "image" : "text", l, m->dir != NULL ? m->dir : "a model");
        // The pages of the file are not needed any more; where they are, they are read again.
        if (now)
            nn_safetensors_drop(m->weights);
    }
    p.kind = precision == CLIP_FP32 ? NN_PACKED_FP32 : NN_PACKED_BF16;
    const NnPackedPart first = part(m->patch, tower->width),
                       last = part(image ? m->image_projection : m->text_projection, m->info.dim);
    if (ok && image)
        ok = pack(&p, &t->first, &first, 1, columns, NULL) || vc_prefix(err, "the patch embedding");
    p.kind = NN_PACKED_FP32; // one row of an image or text: its rounding would be seen and its time is not
    ok = ok && (pack(&p, &t->last, &last, 1, tower->width, NULL) || vc_prefix(err, "the projection"));
    if (!ok)
        clip_packed_finish(t);
    return ok;
}

void clip_packed_finish(ClipPackedTower *t)
{
    for (size_t l = 0; t->blocks != NULL && l < t->layers; l++) {
        ClipPackedBlock *b = &t->blocks[l];
        NnPacked *all[] = {&b->q, &b->kv, &b->o, &b->fc1, &b->fc2};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            nn_packed_finish(all[i]);
    }
    nn_packed_finish(&t->first);
    nn_packed_finish(&t->last);
    free(t->blocks);
    vc_arena_destroy(&t->arena);
    *t = (ClipPackedTower){0};
}

// ---- the model ----

bool clip_view_towers(ClipModel *m, VcErr *err)
{
    m->works = clip_works_create();
    return clip_pack_tower(&m->image_tower, m, true, NULL, CLIP_FP32, NULL, false, err) &&
           clip_pack_tower(&m->text_tower, m, false, NULL, CLIP_FP32, NULL, false, err);
}

bool clip_prepare(ClipModel *m, VcPool *pool, int towers, ClipPrecision precision, const ClipCalibration *c, VcErr *err)
{
    ClipCalibration own = {0};
    if (precision == CLIP_INT8 && c == NULL) {
        clip_calibrate(m, pool, towers, NULL, 0, NULL, 0, &own);
        c = &own;
    }
    bool ok = true;
    for (int image = 1; ok && image >= 0; image--) {
        if ((towers & (image ? CLIP_IMAGES : CLIP_TEXTS)) == 0)
            continue;
        ClipPackedTower *t = image ? &m->image_tower : &m->text_tower;
        clip_works_clear(m->works);
        clip_packed_finish(t);
        const float *absmax = c == NULL ? NULL : image ? c->image : c->text;
        VcErr ignored = {0};
        ok = clip_pack_tower(t, m, image, pool, precision, absmax, true, err);
        if (!ok)
            clip_pack_tower(t, m, image, NULL, CLIP_FP32, NULL, false, &ignored); // as it was opened
    }
    clip_calibration_finish(&own);
    return ok;
}

ClipPrecision clip_precision(const ClipModel *m, int tower)
{
    return (tower & CLIP_IMAGES) != 0 ? m->image_tower.precision : m->text_tower.precision;
}

static uint64_t tower_bytes(const ClipPackedTower *t)
{
    uint64_t sum = nn_packed_bytes(&t->first) + nn_packed_bytes(&t->last);
    for (size_t l = 0; l < t->layers; l++) {
        const ClipPackedBlock *b = &t->blocks[l];
        sum += nn_packed_bytes(&b->q) + nn_packed_bytes(&b->kv) + nn_packed_bytes(&b->o) + nn_packed_bytes(&b->fc1) +
               nn_packed_bytes(&b->fc2);
    }
    return sum;
}

uint64_t clip_packed_bytes(const ClipModel *m)
{
    return tower_bytes(&m->image_tower) + tower_bytes(&m->text_tower);
}
