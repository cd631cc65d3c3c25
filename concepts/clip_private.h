// SPDX-License-Identifier: MIT
// The inside of a ClipModel, shared by the clip_*.c files. Internal to concepts/.
//
// Letters: n images or texts, T tokens of one of them, R rows (tokens of all), W width of a tower, H heads, D = W/H,
// F width of the MLP, d of the joint space.
#pragma once

#include "base/mem.h"
#include "concepts/clip.h"
#include "extract/extract.h"
#include "nn/nn.h"

typedef struct {
    const float *w, *b; // w[out][in]; b may be NULL
} ClipLinear;

typedef struct {
    const float *gain, *bias;
} ClipNorm;

typedef struct {
    ClipNorm norm1, norm2;
    ClipLinear q, k, v, o, fc1, fc2;
} ClipBlock;

struct ClipModel {
    ClipInfo info;
    char *dir;
    Bpe *bpe;
    NnSafetensors *weights; // the map that views point into
    VcArena *converted;     // weights that could not be viewed
    int32_t pool_id;        // a text is pooled where this id stands first; -1: at its largest id
    // image tower
    const float *class_token, *image_positions; // [W], [1 + patches][W]
    ClipLinear patch;                           // [W][3 * P * P]
    ClipNorm pre, post;
    ClipBlock *image_blocks;
    ClipLinear image_projection; // [d][W]
    // text tower
    const float *tokens, *text_positions; // [vocabulary][W], [L][W]
    ClipBlock *text_blocks;
    ClipNorm final;
    ClipLinear text_projection;
};

// clip.c: which of the two layouts lies in m->dir, by the files there.
bool clip_choose_layout(ClipModel *m, VcErr *err);
// clip_config.c: fills m->info (but what comes from weights) and m->pool_id from the folder's configuration.
bool clip_read_config(ClipModel *m, VcErr *err);
// clip_load.c: opens the weights and fills every pointer.
bool clip_load_weights(ClipModel *m, VcErr *err);

// ---- clip_tower.c ----

// Memory of one thread for at most `rows` rows of one tower; all but the arena are views into one block.
typedef struct {
    NnContext nn;
    float *block;
    float *x, *h, *q, *k, *v, *a; // [R][W] residual stream, normalised or projected rows, attention
    float *f;                     // [R][F], also the patch columns
} ClipWork;
void clip_work_init(ClipWork *w, const ClipTower *tower, size_t rows, size_t columns); // columns: 3 * P * P or 0
void clip_work_finish(ClipWork *w);

// y[R][out] = x[R][in] w^T + b; add: y += instead.
void clip_linear(const ClipWork *w, float *y, const float *x, ClipLinear layer, size_t rows, size_t in, size_t out,
                 bool add);
void clip_norm(const ClipWork *w, float *y, const float *x, ClipNorm norm, size_t rows, size_t width, double eps);

// Sequences lie one after the other in x: sequence i has lengths[i] rows.
typedef struct {
    size_t count;
    const size_t *lengths;
    bool causal;
} ClipPacking;
// One whole block on w->x.
void clip_block(ClipWork *w, const ClipTower *t, const ClipBlock *b, const ClipPacking *p, size_t rows);
// The last block for one row of each sequence alone (pooled[i]: its place in the sequence), which then stand at the
// head of w->x: [count][W]. Keys and values are still those of all rows.
void clip_last_block(ClipWork *w, const ClipTower *t, const ClipBlock *b, const ClipPacking *p, size_t rows,
                     const size_t *pooled);

// ---- clip_preprocess.c ----

// The s x s RGB crop of an encoded image before scaling (u8), in one of the two orders. Released by the caller.
bool clip_crop(ExtractImage *out, ClipLayout order, bool upright, int s, const uint8_t *bytes, size_t n, VcErr *err);
