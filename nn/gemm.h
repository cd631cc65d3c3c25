// SPDX-License-Identifier: MIT
// Matrix products, and the BLAS behind them (the one place with cblas).
//
// A product is cut into tiles whose size depends on its shape alone; the pool's threads take tiles. So a result is the
// same bits for any number of threads. The BLAS itself runs with one thread: two levels of threads fight. Where the
// user asked for more BLAS threads by OPENBLAS_NUM_THREADS, a warning says once that --threads is the setting here.
// The bits do depend on the BLAS and its core type (nn_blas_describe).
//
// Threads: any, also several products at a time on pools of their own.
#pragma once

#include "base/err.h"
#include "base/pool.h"
#include "base/str.h"
#include "nn/real.h"

#include <stddef.h>

typedef enum { NN_PLAIN, NN_TRANSPOSED } NnTranspose;

// C[M,N] = alpha op(A)[M,K] op(B)[K,N] + beta C. Row-major; lda, ldb, ldc are the lengths of a row IN MEMORY:
// A is stored [M, lda >= K], or [K, lda >= M] when transposed; B is [K, ldb >= N], or [N, ldb >= K] when transposed.
// A linear layer y = x W^T with W [out, in] is nn_gemm(pool, NN_PLAIN, NN_TRANSPOSED, rows, out, in, 1, x, in, W, in,
// 0, y, out). beta 0 does not read C (NaN there does not matter). M, N or K may be 0. pool may be NULL.
// C must not overlap A or B.
void nn_gemm(VcPool *pool, NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha,
             const nn_real *a, size_t lda, const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc);

// `count` small products of one shape, spread over the pool one product at a time: attention's scores and values.
// The i-th takes a + i*stride_a and so on; strides are in elements. For two levels (batch, head) with one stride each
// use nn_gemm_batch2: item (i, j) takes a + i*a1 + j*a2.
typedef struct {
    NnTranspose ta, tb;
    size_t m, n, k;
    nn_real alpha, beta;
    size_t lda, ldb, ldc;
} NnGemmShape;
void nn_gemm_batch(VcPool *pool, const NnGemmShape *s, size_t count, const nn_real *a, size_t stride_a,
                   const nn_real *b, size_t stride_b, nn_real *c, size_t stride_c);
typedef struct {
    size_t outer, inner; // elements to the next item of the outer and of the inner index
} NnStride2;
void nn_gemm_batch2(VcPool *pool, const NnGemmShape *s, size_t outer, size_t inner, const nn_real *a, NnStride2 sa,
                    const nn_real *b, NnStride2 sb, nn_real *c, NnStride2 sc);

// Called by every stage that computes, before its first product (concepts embed and mine, embed, query, train, doctor,
// bench). In a few milliseconds: is the BLAS the one we linked, and are its products right, against plain C, for
// several shapes x transposes, beta 0 over NaN and padded rows? A crash inside the BLAS is caught too. The error names
// core type, configuration, file and the mend. Also sets the BLAS to one thread.
// Call it from the main thread, before threads are made: it installs signal handlers for its short time.
bool nn_blas_check(VcErr *err);

typedef struct {
    const char *corename;  // "Haswell", "SkylakeX", ...: the kernels that the BLAS chose
    const char *config;    // its own words: version and build options
    int threads;           // as found at start, before we set it to one
    int processors;        // as the BLAS counts them
    const char *threading; // "pthreads", "OpenMP", "none"
    char file[512];        // the mapped library that cblas_sgemm comes from
    const char *env_coretype, *env_threads, *env_omp_threads; // OPENBLAS_CORETYPE, OPENBLAS_NUM_THREADS,
                                                              // OMP_NUM_THREADS; NULL when not set
} NnBlasInfo;
void nn_blas_info(NnBlasInfo *out);
// One line: "OpenBLAS 0.3.21, core type Haswell (set by OPENBLAS_CORETYPE), pthreads, 1 thread, /usr/lib/...".
void nn_blas_describe(VcStr *out);

// For measuring what the BLAS's own threads would give (vicha doctor, vicha bench): sets its thread count and returns
// the one before. nn_gemm sets it back to 1 only at the first call of a process.
int nn_blas_set_threads(int threads);

// The product itself, one BLAS call on this thread, nothing checked or cut: for nn/ and its tests.
void nn_gemm_direct(NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha, const nn_real *a,
                    size_t lda, const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc);
int nn_blas_start_threads(void); // the BLAS's thread count before we set it to one

// The check, with another product in the place of the BLAS, so that tests can prove that it finds broken ones.
typedef void (*NnGemmFn)(NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha, const nn_real *a,
                         size_t lda, const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc);
bool nn_gemm_check_with(NnGemmFn gemm, VcErr *err);
