// SPDX-License-Identifier: MIT
// Masked image modelling (He et al., 2022): which patches are hidden, and what is to be predicted.
#include "base/err.h"
#include "nn/ops/ops.h"

#include <math.h>

// Insertion by halves would do; a bottom-up merge is as short, stable, and needs the two id buffers we have anyway.
static void argsort(int32_t *ids, int32_t *work, const nn_real *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)i;
    int32_t *from = ids, *to = work;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            const size_t mid = lo + run < n ? lo + run : n, hi = lo + 2 * run < n ? lo + 2 * run : n;
            size_t a = lo, b = mid;
            for (size_t i = lo; i < hi; i++)
                to[i] = b >= hi || (a < mid && key[from[a]] <= key[from[b]]) ? from[a++] : from[b++];
        }
        int32_t *const swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < n && from != ids; i++)
        ids[i] = from[i];
}

void nn_masking(int32_t *ids_shuffle, int32_t *ids_restore, nn_real *mask, const nn_real *noise, size_t keep, size_t B,
                size_t N)
{
    VC_ASSERT(keep <= N && N <= INT32_MAX);
    for (size_t b = 0; b < B; b++) {
        int32_t *shuffle = ids_shuffle + b * N, *restore = ids_restore + b * N;
        argsort(shuffle, restore, noise + b * N, N);
        for (size_t i = 0; i < N; i++)
            restore[shuffle[i]] = (int32_t)i;
        for (size_t i = 0; i < N && mask; i++)
            mask[b * N + (size_t)shuffle[i]] = i < keep ? 0 : 1;
    }
}

void nn_patchify(nn_real *patches, const nn_real *images, size_t B, size_t K, size_t S, size_t P)
{
    VC_ASSERT(P > 0 && S % P == 0);
    const size_t G = S / P;
    for (size_t b = 0; b < B; b++) {
        for (size_t n = 0; n < G * G; n++) {
            for (size_t p = 0; p < P; p++) {
                for (size_t q = 0; q < P; q++) {
                    for (size_t k = 0; k < K; k++)
                        *patches++ = images[((b * K + k) * S + n / G * P + p) * S + n % G * P + q];
                }
            }
        }
    }
}

void nn_standardize_rows(nn_real *y, const nn_real *x, size_t R, size_t C)
{
    for (size_t r = 0; r < R; r++, x += C, y += C) {
        double sum = 0, squares = 0;
        for (size_t c = 0; c < C; c++)
            sum += (double)x[c];
        const double mean = sum / (double)C;
        for (size_t c = 0; c < C; c++)
            squares += ((double)x[c] - mean) * ((double)x[c] - mean);
        const double root = sqrt((C > 1 ? squares / (double)(C - 1) : 0) + 1e-6);
        for (size_t c = 0; c < C; c++)
            y[c] = (nn_real)(((double)x[c] - mean) / root);
    }
}
