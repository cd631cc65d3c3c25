// SPDX-License-Identifier: MIT
// Ops: pairs of free functions on raw row-major buffers. docs/BACKWARD.md derives the backward of each that is not
// obvious; forward and backward stand next to each other in one file.
//
// Rules of every pair:
//  - forward overwrites its outputs and the `saved` values that its backward reads; both are memory of the caller;
//  - backward ADDS to every gradient it is given, and skips a gradient that is NULL;
//  - inputs and outputs do not overlap unless a comment allows it;
//  - nothing is allocated but scratch (ctx->scratch, given back), nothing global is read, nothing fails: shapes and ids
//    are checked with VC_ASSERT, so ids that come from a file must have been checked before;
//  - the result is the same bits for any number of threads.
//
// Letters: B batch, T tokens, C width, H heads, D width of a head, R rows (any leading dimensions), I/O width in/out,
// V classes or words, N patches, P side of a patch, G side of the grid of patches.
#pragma once

#include "base/rng.h"
#include "nn/context.h"

#include <stdbool.h>

// ---- linear.c: y[R,O] = x[R,I] w[O,I]^T + b[O]; b may be NULL. Also the product A B^T of two variables.
void nn_linear_forward(const NnContext *ctx, nn_real *y, const nn_real *x, const nn_real *w, const nn_real *b, size_t R,
                       size_t I, size_t O);
void nn_linear_backward(const NnContext *ctx, nn_real *dx, nn_real *dw, nn_real *db, const nn_real *dy,
                        const nn_real *x, const nn_real *w, size_t R, size_t I, size_t O);
// The gradient of x alone; add false overwrites: a gradient's first term need not find zeros.
void nn_linear_input_grad(const NnContext *ctx, nn_real *dx, bool add, const nn_real *dy, const nn_real *w, size_t R,
                          size_t I, size_t O);

// ---- layer_norm.c: y = (x - mean) * rstd * g[C] + b[C], biased variance, rstd = 1/sqrt(var + eps).
// Saved: mean[R], rstd[R].
void nn_layer_norm_forward(const NnContext *ctx, nn_real *y, nn_real *mean, nn_real *rstd, const nn_real *x,
                           const nn_real *g, const nn_real *b, double eps, size_t R, size_t C);
void nn_layer_norm_backward(const NnContext *ctx, nn_real *dx, nn_real *dg, nn_real *db, const nn_real *dy,
                            const nn_real *x, const nn_real *mean, const nn_real *rstd, const nn_real *g, size_t R,
                            size_t C);

// ---- gelu.c: GELU 0.5 x (1 + erf(x/sqrt 2)), and OpenAI's x * sigmoid(1.702 x). y may be x in forward.
void nn_gelu_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t n);
void nn_gelu_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *x, size_t n);
void nn_quick_gelu_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t n);
void nn_quick_gelu_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *x, size_t n);

// ---- mlp.c: y[R,O] = w2 gelu(w1 x' + b1) + b2, w1[F,I], w2[O,F]; x' is x[R,I], or with g and b[I] its norm as in
// layer_norm.c. Saved: h[R,F], what goes into the activation, NULL when no backward will follow; with g also mean[R]
// and rstd[R]. Backward adds, but for dx with add_dx false, which it overwrites (not with g).
typedef struct {
    const nn_real *w1, *b1, *w2, *b2, *g, *b;
    size_t I, F, O;
    double eps;
    bool quick; // x * sigmoid(1.702 x)
} NnMlp;
typedef struct {
    nn_real *h, *mean, *rstd;
} NnMlpSaved;
typedef struct {
    nn_real *w1, *b1, *w2, *b2, *g, *b; // each may be NULL
} NnMlpGrads;
void nn_mlp_forward(const NnContext *ctx, nn_real *y, const NnMlpSaved *saved, const nn_real *x, const NnMlp *m,
                    size_t R);
void nn_mlp_backward(const NnContext *ctx, nn_real *dx, bool add_dx, const NnMlpGrads *grads, const nn_real *dy,
                     const nn_real *x, const NnMlpSaved *saved, const NnMlp *m, size_t R);

// Also in mlp.c: y[R,O] = w norm(x) + bias, norm as in layer_norm.c over x[R,I]. Saved: mean[R], rstd[R].
typedef struct {
    const nn_real *g, *b, *w, *bias; // bias may be NULL
    size_t I, O;
    double eps;
} NnNormLinear;
typedef struct {
    nn_real *g, *b, *w, *bias; // each may be NULL
} NnNormLinearGrads;
void nn_norm_linear_forward(const NnContext *ctx, nn_real *y, nn_real *mean, nn_real *rstd, const nn_real *x,
                            const NnNormLinear *m, size_t R);
void nn_norm_linear_backward(const NnContext *ctx, nn_real *dx, const NnNormLinearGrads *grads, const nn_real *dy,
                             const nn_real *x, const nn_real *mean, const nn_real *rstd, const NnNormLinear *m,
                             size_t R);

// ---- softmax.c: rows of [R,C]. Backward reads the output y. y may be x in forward.
void nn_softmax_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t R, size_t C);
void nn_softmax_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *y, size_t R, size_t C);

// ---- attention.c: per sample and head o = softmax(scale q k^T + mask) v.
// The four matrices lie in rows of ld reals: token t, head h of sample b starts at base + (b*T + t)*ld + h*D, so that
// packed qkv rows [3C] are q = qkv, k = qkv + C, v = qkv + 2C with ld = 3C, and separate ones have ld = C. Gradients
// have the layout of their values. Saved: the output, and stats[B,H,Tq,2]: the
// largest score of a row and 1 / its sum of exponentials, so that backward makes the same probabilities again.
typedef struct {
    size_t B, H, Tq, Tk, D;
    size_t ldq, ldk, ldv, ldo;
    double scale;            // usually 1/sqrt(D)
    const nn_real *key_mask; // [S,Tk] added to the scores of each key (0 seen, large negative hidden), or NULL
    bool causal;             // query i sees keys 0 .. i + Tk - Tq only
    // Keys and values of S samples, shared: sample b of q attends to sample source[b] < S of them, so that texts can
    // look at images of other pairs without a copy. NULL: S = B, everyone its own.
    const int32_t *source;
    size_t S;
    // Dropout of the probabilities by nn_dropout_factors, the same in forward and in backward: each block of scores has
    // a stream of its own, made of the seed and the block's number. 0: none.
    double dropout;
    uint64_t seed;
} NnAttention;
// stats may be NULL when no backward will follow. a->S need not be set where source is NULL.
void nn_attention_forward(const NnContext *ctx, nn_real *o, nn_real *stats, const nn_real *q, const nn_real *k,
                          const nn_real *v, const NnAttention *a);
void nn_attention_backward(const NnContext *ctx, nn_real *dq, nn_real *dk, nn_real *dv, const nn_real *dout,
                           const nn_real *o, const nn_real *stats, const nn_real *q, const nn_real *k, const nn_real *v,
                           const NnAttention *a);

// ---- gather.c: y[r] = x[index[r]] for r < R, out of M rows; embedding look-up is the same. Backward adds the rows
// back in the order of r; rows of index `skip` get no gradient (padding row of an embedding; -1: none).
void nn_gather_forward(const NnContext *ctx, nn_real *y, const nn_real *x, const int32_t *index, size_t R, size_t M,
                       size_t C);
void nn_gather_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const int32_t *index, int32_t skip,
                        size_t R, size_t M, size_t C);

// ---- concat.c: along tokens, y[B, T1+T2.., C]: copies x[B or 1, T, C] to tokens [at, at+T) of y[B,Ty,C]; one_for_all:
// x has one sample that every sample of y gets (a class token), and its gradient is the sum over the batch.
void nn_concat_forward(const NnContext *ctx, nn_real *y, const nn_real *x, bool one_for_all, size_t B, size_t T,
                       size_t at, size_t Ty, size_t C);
void nn_concat_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, bool one_for_all, size_t B, size_t T,
                        size_t at, size_t Ty, size_t C);

// ---- patch_embed.c: convolution whose stride is its kernel, tokens in row-major patch order:
// y[B,N,O] = columns[B*N, K*P*P] w[O,K,P,P]^T + b[O] of images[B,K,S,S], N = (S/P)^2. Saved: columns.
void nn_patch_columns(const NnContext *ctx, nn_real *columns, const nn_real *images, size_t B, size_t K, size_t S,
                      size_t P);
void nn_patch_embed_forward(const NnContext *ctx, nn_real *y, nn_real *columns, const nn_real *images, const nn_real *w,
                            const nn_real *b, size_t B, size_t K, size_t S, size_t P, size_t O);
void nn_patch_embed_backward(const NnContext *ctx, nn_real *dimages, nn_real *dw, nn_real *db, const nn_real *dy,
                             const nn_real *columns, const nn_real *w, size_t B, size_t K, size_t S, size_t P,
                             size_t O);

// ---- add.c: y[R,C] = a[R,C] + b[C], b repeated over R (R = 1: plain sum). y may be a. Backward of a is an addition.
void nn_add_forward(const NnContext *ctx, nn_real *y, const nn_real *a, const nn_real *b, size_t R, size_t C);
void nn_add_backward(const NnContext *ctx, nn_real *da, nn_real *db, const nn_real *dy, size_t R, size_t C);
// dx[n] += x[n].
void nn_accumulate(const NnContext *ctx, nn_real *dx, const nn_real *x, size_t n);
void nn_copy(const NnContext *ctx, nn_real *y, const nn_real *x, size_t n); // y[n] = x[n], by all threads
// x[n] = 0, by all threads: a gradient is zeroed before the first backward adds to it.
void nn_zero(const NnContext *ctx, nn_real *x, size_t n);
// y[N,M] = x[M,N]^T; backward of it is itself, adding.
void nn_transpose_forward(const NnContext *ctx, nn_real *y, const nn_real *x, size_t M, size_t N);
void nn_transpose_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, size_t M, size_t N);

// ---- l2norm.c: y = x / max(||x||, 1e-12) per row. Saved: norm[R], already clamped; backward reads y and norm.
void nn_l2_normalize_forward(const NnContext *ctx, nn_real *y, nn_real *norm, const nn_real *x, size_t R, size_t C);
void nn_l2_normalize_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const nn_real *y,
                              const nn_real *norm, size_t R, size_t C);

// ---- cross_entropy.c: both give the mean over the counted rows and return their number; rows whose label is -100 are
// not counted. No counted row: loss 0, no gradient (torch would give NaN). Backward needs nothing saved.
// Hard: -log softmax(x)[label].
#define NN_IGNORE_LABEL (-100)
size_t nn_cross_entropy_forward(const NnContext *ctx, nn_real *loss, const nn_real *logits, const int32_t *labels,
                                size_t R, size_t V);
void nn_cross_entropy_backward(const NnContext *ctx, nn_real *dlogits, nn_real dloss, const nn_real *logits,
                               const int32_t *labels, size_t R, size_t V);
// Soft: -sum_j target_j log softmax(x)_j. labels only say which rows count and may be NULL (all). Targets [R,V] are
// constants and need not sum to 1.
size_t nn_soft_cross_entropy_forward(const NnContext *ctx, nn_real *loss, const nn_real *logits, const nn_real *targets,
                                     const int32_t *labels, size_t R, size_t V);
void nn_soft_cross_entropy_backward(const NnContext *ctx, nn_real *dlogits, nn_real dloss, const nn_real *logits,
                                    const nn_real *targets, const int32_t *labels, size_t R, size_t V);

// ---- mse.c: mean over the rows with weight of the row's mean square error:
// sum_r weight[r] mean_c (x-target)^2 / sum_r weight[r]; weight NULL: all 1. All weights 0: loss 0, no gradient.
void nn_mse_forward(const NnContext *ctx, nn_real *loss, const nn_real *x, const nn_real *target, const nn_real *weight,
                    size_t R, size_t C);
void nn_mse_backward(const NnContext *ctx, nn_real *dx, nn_real dloss, const nn_real *x, const nn_real *target,
                     const nn_real *weight, size_t R, size_t C);

// ---- dropout.c: y = x * mask / (1-p), mask drawn from `rng` (one number of the stream is used, whatever n and the
// threads). 0 <= p < 1. Saved: mask[n] of 0 and 1.
void nn_dropout_forward(const NnContext *ctx, nn_real *y, uint8_t *mask, const nn_real *x, double p, VcRng *rng,
                        size_t n);
void nn_dropout_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, const uint8_t *mask, double p, size_t n);
// The gradient in place: d becomes that of the input.
void nn_dropout_again(const NnContext *ctx, nn_real *d, const uint8_t *mask, double p, size_t n);
// factors[n] of 0 and 1/(1-p), a function of the seed alone: for ops that drop values they do not keep.
void nn_dropout_factors(nn_real *factors, double p, uint64_t seed, size_t n);

// ---- scale.c: y[n] = c x[n]; c is a constant or made of a scalar parameter s: s, exp(s) (CLIP's logit scale),
// 1/s (a temperature). ds += f'(s) sum dy x.
typedef enum { NN_SCALE_BY, NN_SCALE_EXP, NN_SCALE_INVERSE } NnScaleKind;
void nn_scale_forward(const NnContext *ctx, nn_real *y, const nn_real *x, nn_real c, size_t n);
void nn_scale_backward(const NnContext *ctx, nn_real *dx, const nn_real *dy, nn_real c, size_t n);
nn_real nn_scale_factor(NnScaleKind kind, nn_real s);
void nn_scale_backward_scalar(const NnContext *ctx, nn_real *ds, const nn_real *dy, const nn_real *x, NnScaleKind kind,
                              nn_real s, size_t n);

// ---- reduce.c: sum of x[n], in double, in an order that depends on n alone.
double nn_sum_forward(const NnContext *ctx, const nn_real *x, size_t n);
void nn_sum_backward(const NnContext *ctx, nn_real *dx, nn_real dsum, size_t n); // dx[n] += dsum
// out[C] += sum over the rows of x[R,C]: the gradient of everything that was repeated over rows.
void nn_sum_rows(const NnContext *ctx, nn_real *out, const nn_real *x, size_t R, size_t C);

// ---- masking.c: helpers of masked image modelling, without gradients. images[B,K,S,S].
// ids_shuffle[B,N] = argsort of noise[B,N] (ascending, ties by index), ids_restore its inverse, mask[B,N] 0 for the
// first `keep` of the shuffled order and 1 (hidden) for the rest. mask may be NULL.
void nn_masking(int32_t *ids_shuffle, int32_t *ids_restore, nn_real *mask, const nn_real *noise, size_t keep, size_t B,
                size_t N);
// patches[B,N,P*P*K], a patch in (row, column, channel) order.
void nn_patchify(nn_real *patches, const nn_real *images, size_t B, size_t K, size_t S, size_t P);
// Each row standardised by its own mean and UNBIASED variance: (x - mean) / sqrt(var + 1e-6). y may be x.
void nn_standardize_rows(nn_real *y, const nn_real *x, size_t R, size_t C);

// ---- positions.c, without gradients.
// Bicubic (a = -0.75, half-pixel centres, border clamped, no antialias, as torch's interpolate with align_corners
// false) of a G x G grid of C features to out_G x out_G. The first `prefix` rows (class token) are copied.
void nn_interpolate_positions(nn_real *out, const nn_real *in, size_t prefix, size_t G, size_t out_G, size_t C);
// Fixed sin-cos positions out[1 + G*G, C], C a multiple of 4: row 0 is zero, then the grid row by row; the first half
// codes the COLUMN, the second the ROW; each half is [sin(C/4), cos(C/4)] of w_k = 10000^(-k/(C/4)).
void nn_sincos_positions(nn_real *out, size_t G, size_t C);
