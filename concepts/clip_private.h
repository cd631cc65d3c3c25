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

// ---- clip_packed.c: the layers as they are computed

typedef struct {
    ClipNorm norm1, norm2; // int8: divided by the columns below
    NnPacked q, kv, o, fc1, fc2;
    const float *o_columns, *fc2_columns; // what rows are multiplied by before o and fc2; NULL: nothing
} ClipPackedBlock;

typedef struct {
    ClipPrecision precision;
    bool packed;    // else views of the weights
    bool half;      // q, k and v are bfloat16 between the layers
    NnPacked first; // patch embedding; zero in the text tower
    NnPacked last;  // projection
    ClipPackedBlock *blocks;
    size_t layers;
    VcArena *arena; // columns and norms
} ClipPackedTower;

// Makes *t from a tower's weights; c: its part of a calibration, for int8. `now` false: views.
bool clip_pack_tower(ClipPackedTower *t, const ClipModel *m, bool image, VcPool *pool, ClipPrecision precision,
                     const float *c, bool now, VcErr *err);
void clip_packed_finish(ClipPackedTower *t);
bool clip_view_towers(ClipModel *m, VcErr *err); // both, as clip_open leaves them

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
    ClipPackedTower image_tower, text_tower;
    struct ClipWorks *works;
};

// clip.c: which of the two layouts lies in m->dir, by the files there.
bool clip_choose_layout(ClipModel *m, VcErr *err);
// clip_config.c: fills m->info (but what comes from weights) and m->pool_id from the folder's configuration.
bool clip_read_config(ClipModel *m, VcErr *err);
// clip_load.c: opens the weights and fills every pointer.
bool clip_load_weights(ClipModel *m, VcErr *err);

// ---- clip_tower.c ----

// Memory of one thread for at most `rows` rows of one tower.
typedef struct {
    NnContext nn;
    const ClipTower *tower;
    const ClipPackedTower *packed;
    VcArena *memory;
    bool half;          // q, k and v are bfloat16
    size_t row_words;   // 32-bit words of W of them
    float *x, *a;       // [R][W] residual stream, attention
    uint32_t *qkv;      // [R][3 W], floats or bfloat16
    uint32_t *keys;     // [L][2 W] keys and values of one sequence whose rows do not stand together
    float *row, *panel; // one row, one panel of weights
    NnPackedRows h;     // [R] rows before a layer
    NnPackedRows f, g;  // [CLIP_MLP_ROWS][F] behind the activation in bfloat16 (int8 alone), before fc2
    size_t rows;        // there is room for
    float *absmax;      // [layers][3 W + F]: gathers the largest |x| of each channel; NULL: not
} ClipWork;
enum { CLIP_MLP_ROWS = 108 }; // most rows of the MLP's wide side at a time: a multiple of NN_STRIP
// columns: inputs of the first layer, or 0; keys: longest sequence that may share rows, or 0.
void clip_work_init(ClipWork *w, const ClipTower *tower, const ClipPackedTower *packed, size_t rows, size_t columns,
                    size_t keys);
void clip_work_finish(ClipWork *w);

// Work memory is kept by the model between calls: what it costs to be given pages is a tenth of a small batch.
// Threads: any.
typedef struct ClipWorks ClipWorks;
ClipWorks *clip_works_create(void);
void clip_works_clear(ClipWorks *works); // before weights are packed anew
void clip_works_destroy(ClipWorks **works);
// One that was given back for the same sizes, or a new one; absmax is NULL.
ClipWork *clip_work_take(const ClipModel *m, bool image, size_t rows, size_t columns, size_t keys);
void clip_work_give(const ClipModel *m, ClipWork *w); // NULL allowed

// w->h[at..at+rows) becomes x, row by row, normalised by `norm`, as `kind` reads it.
void clip_norm_rows(ClipWork *w, NnPackedKind kind, const float *x, ClipNorm norm, size_t rows);
void clip_layer(const ClipWork *w, const NnPacked *p, const NnPackedRows *x, size_t rows, float *y, size_t ldy,
                bool add);

// Sequences in x. A sequence has `length` tokens; the first `shared` of them are those of the sequence before it, the
// others, at least one, are the rows first.. of x. Images share nothing.
typedef struct {
    size_t length, shared, first;
    size_t pooled; // row of x that the last block gives
} ClipSequence;
typedef struct {
    size_t count;
    const ClipSequence *of;
    bool causal;
} ClipPacking;
// ---- clip_attention.c: w->a from w->qkv. pooled: one query of each sequence, row i of the queries, which is its last
// token where attention is causal.
void clip_attend(ClipWork *w, const ClipPacking *p, bool pooled);

// Whole block `l` on the `rows` rows of w->x.
void clip_block(ClipWork *w, size_t l, const ClipPacking *p, size_t rows);
// The last block for the pooled row of each sequence alone, which then stand at the head of w->x: [count][W].
// Keys and values are still those of all rows. Pooled rows rise.
void clip_last_block(ClipWork *w, const ClipPacking *p, size_t rows);

// ---- clip_image.c, clip_text.c: an encoding at fp32 that gathers absmax[thread], the layout of ClipWork.absmax ----

void clip_measure_images(const ClipModel *m, VcPool *pool, const float *pixels, size_t n, float *const *absmax);
void clip_measure_texts(const ClipModel *m, VcPool *pool, const char *const *texts, size_t n, float *const *absmax);
void clip_measure_ids(const ClipModel *m, VcPool *pool, const int32_t *ids, size_t n, float *const *absmax);

// ---- clip_preprocess.c ----

// The s x s RGB crop of an encoded image before scaling (u8), in one of the two orders. Released by the caller.
bool clip_crop(ExtractImage *out, ClipPreprocess how, int s, const uint8_t *bytes, size_t n, VcErr *err);
