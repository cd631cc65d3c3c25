// SPDX-License-Identifier: MIT
// CLIP: image and text towers read from a Hugging Face or OpenCLIP folder, computed in fp32, bf16 or int8.
//
// Shapes: n items, d = info.dim, s = info.image_size, L = info.context. An embedding does not depend, to the last bit,
// on the items beside it, their order, the batch or the number of threads.
//
// Memory: weights stored as f32 in a layout we can use are read where they lie in the memory map; all others (f16,
// bf16, transposed projections) are converted once at open into one block. Scratch is bounded by
// threads x a chunk of some hundred tokens, whatever n. clip_prepare packs the weights of a tower once (a second copy,
// smaller by the precision); without it they are packed as they are used, which costs time and gives the same bits.
// Threads: an open ClipModel is read-only; clip_preprocess from any thread; an encode call uses its pool alone, and
// two calls at a time need two pools.
#pragma once

#include "base/err.h"
#include "base/pool.h"
#include "concepts/hub.h"
#include "concepts/tokenizer_bpe.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ClipModel ClipModel;

typedef enum { CLIP_LAYOUT_HF, CLIP_LAYOUT_OPENCLIP } ClipLayout;
typedef enum { CLIP_GELU, CLIP_QUICK_GELU } ClipActivation;

// What the layers of the blocks multiply in. bf16: weights and the rows they see are rounded; all else stays float.
// int8: bytes, weights scaled by output and rows each by its own range; the patch embedding is bf16.
// The projection at the end is float in all, and what follows the last attention is finer by one precision. Images'
// attention is bf16 but for its softmax. Cosine with fp32 on weights with outlier channels, ViT-B/32: bf16 over 0.9998,
// int8 over 0.998.
typedef enum { CLIP_FP32, CLIP_BF16, CLIP_INT8, CLIP_PRECISIONS } ClipPrecision;
const char *clip_precision_name(ClipPrecision p); // "fp32", "bf16", "int8"
bool clip_precision_by_name(const char *name, ClipPrecision *out);

typedef struct {
    size_t width, layers, heads, mlp;
    ClipActivation activation;
    double eps; // of the layer norms
} ClipTower;

typedef struct {
    ClipLayout layout;
    ClipTower image, text;
    size_t image_size, patch, dim, context, vocabulary;
    float mean[3], std[3];
    float logit_scale;   // exp() of the stored value: logits = logit_scale * image . text of normalised embeddings
    BpeClean clean;      // of the layout: hf or openclip; clip_set_clean changes what clip_encode_texts uses
    const char *storage; // "F32", "F16", "BF16": of the first weight matrix
    uint64_t parameters, mapped_bytes, converted_bytes;
} ClipInfo;

// Opens folder `dir`, or the name of a model in the local Hugging Face hub cache ("openai/clip-vit-base-patch32").
// Checks the BLAS first (nn_blas_check). Every missing or damaged file, missing or misshapen tensor and contradiction
// between configuration, weights and tokenizer is one error that says what was expected.
bool clip_open(ClipModel **out, const char *dir, VcErr *err);
void clip_close(ClipModel **model); // NULL allowed; clears

// ---- precision

// Largest |x| of every channel in front of the layers of every block: what int8 shifts range between rows and weights
// by. [layers][3 W + F]: before q/k/v, before the output layer, before fc1, before fc2.
typedef struct {
    float *image, *text;
    size_t image_count, text_count; // 0, NULL: not this tower
} ClipCalibration;
enum { CLIP_IMAGES = 1, CLIP_TEXTS = 2 };
// The `towers` from n images and texts, at fp32; either n may be 0, and that tower is then calibrated on made input (4
// images of noise and gradients, 32 texts of drawn tokens), the same at every call. Order of inputs and threads change
// no bit.
void clip_calibrate(const ClipModel *model, VcPool *pool, int towers, const float *pixels, size_t n_images,
                    const char *const *texts, size_t n_texts, ClipCalibration *out);
void clip_calibration_finish(ClipCalibration *c);
// One file, whole or not at all; `hash` is that of the weights it belongs to. Reading one of other weights or another
// shape is VC_ERR_FORMAT.
bool clip_calibration_write(const ClipCalibration *c, const char *path, const uint8_t hash[32], VcErr *err);
bool clip_calibration_read(ClipCalibration *c, const ClipModel *model, const char *path, const uint8_t hash[32],
                           VcErr *err);

// Packs the weights of these towers for `precision`; what was packed before is given back. c: for int8, or NULL
// (clip_calibrate on made input is called then). A weight that is no finite number is VC_ERR_FORMAT and leaves the
// towers as they were opened. No encoding may run at the time. fp32 packs for speed alone.
bool clip_prepare(ClipModel *model, VcPool *pool, int towers, ClipPrecision precision, const ClipCalibration *c,
                  VcErr *err);
ClipPrecision clip_precision(const ClipModel *model, int tower); // of one tower; CLIP_FP32 after clip_open
uint64_t clip_packed_bytes(const ClipModel *model);

// A model of seeded random weights without a tokenizer, for measuring: "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-H/14".
bool clip_open_random(ClipModel **out, const char *arch, uint64_t seed, VcErr *err);
// The usual name of an architecture ("ViT-B/16"), or one made of its sizes; returns `out`.
const char *clip_arch_name(const ClipInfo *info, char out[48]);
// Floating-point operations of one image, and of one text of `tokens` tokens (multiply and add are two).
double clip_image_flops(const ClipInfo *info);
double clip_text_flops(const ClipInfo *info, size_t tokens);

// One part of the model in folder `dir` on its own; file: what it is called there. VC_ERR_IO: missing.
typedef enum { CLIP_PART_CONFIG, CLIP_PART_WEIGHTS, CLIP_PART_TOKENIZER, CLIP_PARTS } ClipPart;
bool clip_check_part(const char *dir, ClipPart part, char file[64], VcErr *err);
// All parts together, and every weight a finite number.
bool clip_check_whole(const char *dir, VcErr *err);

// The tokenizer of model `name` alone; a folder with only tokenizer files will do. *clean and *context come from the
// model's configuration, hf and 77 where there is none.
bool clip_open_tokenizer(Bpe **bpe, BpeClean *clean, size_t *context, const char *name, VcErr *err);

const ClipInfo *clip_info(const ClipModel *model);
const char *clip_dir(const ClipModel *model);      // the folder it was read from; NULL for a random model
const Bpe *clip_tokenizer(const ClipModel *model); // NULL for a random model
void clip_set_clean(ClipModel *model, BpeClean clean);

// Where `name` lies: itself if it is a folder, else its snapshot in $HF_HUB_CACHE, $HF_HOME/hub or
// ~/.cache/huggingface/hub. *dir is freed with free().
bool clip_find(char **dir, const char *name, VcErr *err);

// How a picture becomes the model's input. order: of the conversions, each layout's own. upright: the EXIF orientation
// is applied first, which neither reference does. reduced: a large JPEG may be decoded at 1/2, 1/4 or 1/8 of its size,
// as long as that leaves CLIP_REDUCED_SIDES times s and CLIP_REDUCED_LEAST pixels each way; embeddings of ViT-B/32 then
// have a cosine of at least 0.9998, bf16's bound, with those of the exact pixels.
enum { CLIP_REDUCED_SIDES = 2, CLIP_REDUCED_LEAST = 448 };
typedef struct {
    ClipLayout order;
    bool upright, reduced;
} ClipPreprocess;
ClipPreprocess clip_preprocess_of(const ClipModel *model); // the layout's order, nothing else
// What goes with a precision: exact pixels with fp32, reduced with the others.
ClipPreprocess clip_preprocess_at(const ClipModel *model, ClipPrecision precision);

// Decodes `n` bytes and gives pixels[3*s*s], channel-major: resized, cropped, (u/255 - mean)/std: bit-equal to the
// reference of the order unless `reduced`. extract_image_init must have been called.
bool clip_preprocess(const ClipModel *model, const uint8_t *bytes, size_t n, float *pixels, VcErr *err);
bool clip_preprocess_as(const ClipModel *model, ClipPreprocess how, const uint8_t *bytes, size_t n, float *pixels,
                        VcErr *err);

// pixels[n][3][s][s] -> out[n][d], projected, not normalised. A NULL pool runs everything on this thread.
void clip_encode_images(const ClipModel *model, VcPool *pool, const float *pixels, size_t n, float *out);
size_t clip_images_at_a_time(const ClipModel *model); // that a thread takes through all layers
// The same, and the residual stream of image 0..n-1: hidden[layers+1][n][tokens][width], 0 after the first layer norm.
void clip_image_hidden(const ClipModel *model, const float *pixels, size_t n, float *hidden);

// texts[n] -> out[n][d], projected, not normalised. Texts are cut at their end token and packed by length.
// Broken UTF-8 counts as U+FFFD. Fails only when the process was interrupted.
bool clip_encode_texts(const ClipModel *model, VcPool *pool, const char *const *texts, size_t n, float *out,
                       VcErr *err);
// The same from ids[n][L]; an id outside the vocabulary is VC_ERR_FORMAT. Pooled is the first end token of a row.
bool clip_encode_ids(const ClipModel *model, VcPool *pool, const int32_t *ids, size_t n, float *out, VcErr *err);

void clip_normalize(float *rows, size_t n, size_t d); // each row to length 1; a zero row stays
