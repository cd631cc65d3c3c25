// SPDX-License-Identifier: MIT
// A convolution with stride = kernel is a linear layer on the patches: one copy to columns and one product.
#include "base/err.h"
#include "nn/ops/chunk.h"
#include "nn/ops/ops.h"

#include <string.h>

typedef struct {
    const nn_real *images, *dcolumns;
    nn_real *columns, *dimages;
    size_t K, S, P, G; // G = S/P patches in a row
} PatchJob;

// Row n of a sample's columns is a patch in (channel, row, column) order, as the weight [O,K,P,P] has it.
static void columns_of_samples(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const PatchJob *job = arg;
    const size_t P = job->P, S = job->S, G = job->G, width = job->K * P * P;
    for (size_t b = begin; b < end; b++) {
        for (size_t n = 0; n < G * G; n++) {
            nn_real *row = job->columns + (b * G * G + n) * width;
            for (size_t k = 0; k < job->K; k++) {
                for (size_t p = 0; p < P; p++) {
                    memcpy(row + (k * P + p) * P, job->images + ((b * job->K + k) * S + n / G * P + p) * S + n % G * P,
                           P * sizeof *row);
                }
            }
        }
    }
}

void nn_patch_columns(const NnContext *ctx, nn_real *columns, const nn_real *images, size_t B, size_t K, size_t S,
                      size_t P)
{
    VC_ASSERT(P > 0 && S % P == 0);
    PatchJob job = {.images = images, .columns = columns, .K = K, .S = S, .P = P, .G = S / P};
    vc_parallel_for(ctx->pool, B, nn_chunk_rows(K * S * S), columns_of_samples, &job);
}

void nn_patch_embed_forward(const NnContext *ctx, nn_real *y, nn_real *columns, const nn_real *images, const nn_real *w,
                            const nn_real *b, size_t B, size_t K, size_t S, size_t P, size_t O)
{
    nn_patch_columns(ctx, columns, images, B, K, S, P);
    nn_linear_forward(ctx, y, columns, w, b, B * (S / P) * (S / P), K * P * P, O);
}

static void images_of_samples(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const PatchJob *job = arg;
    const size_t P = job->P, S = job->S, G = job->G, width = job->K * P * P;
    for (size_t b = begin; b < end; b++) {
        for (size_t n = 0; n < G * G; n++) {
            const nn_real *row = job->dcolumns + (b * G * G + n) * width;
            for (size_t k = 0; k < job->K; k++) {
                for (size_t p = 0; p < P; p++) {
                    nn_real *pixels = job->dimages + ((b * job->K + k) * S + n / G * P + p) * S + n % G * P;
                    for (size_t c = 0; c < P; c++)
                        pixels[c] += row[(k * P + p) * P + c];
                }
            }
        }
    }
}

void nn_patch_embed_backward(const NnContext *ctx, nn_real *dimages, nn_real *dw, nn_real *db, const nn_real *dy,
                             const nn_real *columns, const nn_real *w, size_t B, size_t K, size_t S, size_t P, size_t O)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    const size_t N = (S / P) * (S / P), width = K * P * P;
    nn_real *dcolumns = dimages ? vc_arena_zalloc(ctx->scratch, B * N * width, sizeof(nn_real)) : NULL;
    nn_linear_backward(ctx, dcolumns, dw, db, dy, columns, w, B * N, width, O);
    if (dimages) {
        PatchJob job = {.dcolumns = dcolumns, .dimages = dimages, .K = K, .S = S, .P = P, .G = S / P};
        vc_parallel_for(ctx->pool, B, nn_chunk_rows(K * S * S), images_of_samples, &job);
    }
    vc_arena_release(ctx->scratch, mark);
}
