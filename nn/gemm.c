// SPDX-License-Identifier: MIT
#include "nn/gemm.h"

#include "base/log.h"

#include <cblas.h>
#include <limits.h>
#include <pthread.h>

#ifdef NN_DOUBLE
#define CBLAS_GEMM cblas_dgemm
#else
#define CBLAS_GEMM cblas_sgemm
#endif

// Below this many multiply-adds a product is one call: cutting costs more than a second thread gives.
enum { SMALL = 1 << 19 };
// Tiles of at most about this size: the BLAS packs both panels at every call, which costs 256 x 512 tiles 10 per cent
// and these 5 to 8 (2048 x 2048 x 2048, one thread). Smaller ones where there would be too few for the threads, down to
// a tile of TILE_WORK multiply-adds (tens of microseconds) or TILE_AREA results: the gradient of a weight is a small
// result with many terms.
enum {
    TILE_ROWS = 384,
    TILE_COLUMNS = 768,
    TILE_STEP = 16,
    TILES_WANTED = 8,
    TILE_WORK = 1 << 22,
    TILE_AREA = 64 * 64
};

// What was found before we set anything; written once.
static struct {
    pthread_once_t once;
    int threads; // of the BLAS at start
} blas_start = {.once = PTHREAD_ONCE_INIT};

static void blas_one_thread(void)
{
    blas_start.threads = openblas_get_num_threads();
    if (blas_start.threads <= 1)
        return;
    openblas_set_num_threads(1);
    // The variable is the user's word; what OpenBLAS found by itself (the processor count) is not.
    const char *asked = getenv("OPENBLAS_NUM_THREADS");
    if (asked != NULL) {
        vc_warn("OPENBLAS_NUM_THREADS=%s has no effect: matrix products are spread over the program's own threads "
                "(--threads N), and OpenBLAS runs with one",
                asked);
    } else {
        vc_debug("OpenBLAS would use %d threads; it runs with one, under the program's own (--threads N)",
                 blas_start.threads);
    }
}

// An OpenMP build of OpenBLAS keeps the thread count per calling thread, so every thread says it once.
static void enter_blas(void)
{
    static _Thread_local bool told;
    pthread_once(&blas_start.once, blas_one_thread);
    if (!told && openblas_get_parallel() == OPENBLAS_OPENMP) {
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        pthread_mutex_lock(&lock);
        openblas_set_num_threads(1);
        pthread_mutex_unlock(&lock);
    }
    told = true;
}

int nn_blas_start_threads(void)
{
    pthread_once(&blas_start.once, blas_one_thread);
    return blas_start.threads;
}

int nn_blas_set_threads(int threads)
{
    enter_blas();
    const int before = openblas_get_num_threads();
    openblas_set_num_threads(threads);
    return before;
}

static CBLAS_TRANSPOSE cblas_trans(NnTranspose t)
{
    return t == NN_TRANSPOSED ? CblasTrans : CblasNoTrans;
}

// NOLINTNEXTLINE(readability-function-size): the BLAS's own list of arguments
void nn_gemm_direct(NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha, const nn_real *a,
                    size_t lda, const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc)
{
    CBLAS_GEMM(CblasRowMajor, cblas_trans(ta), cblas_trans(tb), (blasint)m, (blasint)n, (blasint)k, alpha, a,
               (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

static void check_arguments(NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, size_t lda, size_t ldb,
                            size_t ldc)
{
    VC_ASSERT(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    VC_ASSERT(lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    VC_ASSERT(lda >= (ta == NN_TRANSPOSED ? m : k));
    VC_ASSERT(ldb >= (tb == NN_TRANSPOSED ? k : n));
    VC_ASSERT(ldc >= n);
}

// C = beta C, for products without terms.
static void only_beta(size_t m, size_t n, nn_real beta, nn_real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
    }
}

typedef struct {
    NnTranspose ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    nn_real alpha, beta;
    const nn_real *a, *b;
    nn_real *c;
    size_t rows, columns; // of a tile
    size_t across, down;  // tiles side by side, and one above the other
} Tiles;

static void run_tiles(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const Tiles *t = ctx;
    enter_blas();
    for (size_t tile = begin; tile < end; tile++) {
        const size_t i = tile / t->across * t->rows, j = tile % t->across * t->columns;
        const size_t m = t->m - i < t->rows ? t->m - i : t->rows;
        const size_t n = t->n - j < t->columns ? t->n - j : t->columns;
        nn_gemm_direct(t->ta, t->tb, m, n, t->k, t->alpha, t->a + i * (t->ta == NN_TRANSPOSED ? 1 : t->lda), t->lda,
                       t->b + j * (t->tb == NN_TRANSPOSED ? t->ldb : 1), t->ldb, t->beta, t->c + i * t->ldc + j,
                       t->ldc);
    }
}

// n in even pieces of at most about `size`, each a multiple of TILE_STEP so that the BLAS's inner tile is full.
static size_t piece(size_t n, size_t size)
{
    const size_t pieces = (n + size - 1) / size;
    const size_t each = (n + pieces - 1) / pieces;
    return (each + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Depends on the shape alone.
static void choose_tiles(Tiles *t)
{
    size_t rows = least(t->m, TILE_ROWS), columns = least(t->n, TILE_COLUMNS);
    for (;;) {
        t->rows = piece(t->m, rows);
        t->columns = piece(t->n, columns);
        t->across = (t->n + t->columns - 1) / t->columns;
        t->down = (t->m + t->rows - 1) / t->rows;
        if (t->across * t->down >= TILES_WANTED || rows * columns <= TILE_AREA ||
            rows * columns <= (size_t)TILE_WORK / t->k)
            return;
        if (rows >= columns) {
            rows = (rows + 1) / 2;
        } else {
            columns = (columns + 1) / 2;
        }
    }
}

// NOLINTNEXTLINE(readability-function-size)
void nn_gemm(VcPool *pool, NnTranspose ta, NnTranspose tb, size_t m, size_t n, size_t k, nn_real alpha,
             const nn_real *a, size_t lda, const nn_real *b, size_t ldb, nn_real beta, nn_real *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    check_arguments(ta, tb, m, n, k, lda, ldb, ldc);
    if (k == 0) {
        only_beta(m, n, beta, c, ldc);
        return;
    }
    if (m * n <= (size_t)SMALL / k) {
        enter_blas();
        nn_gemm_direct(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    Tiles t = {.ta = ta,
               .tb = tb,
               .m = m,
               .n = n,
               .k = k,
               .lda = lda,
               .ldb = ldb,
               .ldc = ldc,
               .alpha = alpha,
               .beta = beta,
               .a = a,
               .b = b,
               .c = c};
    choose_tiles(&t);
    vc_parallel_for(pool, t.down * t.across, 1, run_tiles, &t);
}

typedef struct {
    const NnGemmShape *s;
    size_t inner;
    const nn_real *a, *b;
    nn_real *c;
    NnStride2 sa, sb, sc;
} Batch;

static void run_batch(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const Batch *t = ctx;
    const NnGemmShape *s = t->s;
    enter_blas();
    for (size_t index = begin; index < end; index++) {
        const size_t i = index / t->inner, j = index % t->inner;
        nn_gemm_direct(s->ta, s->tb, s->m, s->n, s->k, s->alpha, t->a + i * t->sa.outer + j * t->sa.inner, s->lda,
                       t->b + i * t->sb.outer + j * t->sb.inner, s->ldb, s->beta,
                       t->c + i * t->sc.outer + j * t->sc.inner, s->ldc);
    }
}

void nn_gemm_batch2(VcPool *pool, const NnGemmShape *s, size_t outer, size_t inner, const nn_real *a, NnStride2 sa,
                    const nn_real *b, NnStride2 sb, nn_real *c, NnStride2 sc)
{
    if (outer == 0 || inner == 0 || s->m == 0 || s->n == 0)
        return;
    check_arguments(s->ta, s->tb, s->m, s->n, s->k, s->lda, s->ldb, s->ldc);
    if (s->k == 0) {
        for (size_t i = 0; i < outer; i++) {
            for (size_t j = 0; j < inner; j++)
                only_beta(s->m, s->n, s->beta, c + i * sc.outer + j * sc.inner, s->ldc);
        }
        return;
    }
    Batch t = {s, inner, a, b, c, sa, sb, sc};
    const size_t work = s->m * s->n * s->k;
    const size_t chunk = work >= SMALL ? 1 : SMALL / work; // items a thread takes at a time
    vc_parallel_for(pool, outer * inner, chunk, run_batch, &t);
}

void nn_gemm_batch(VcPool *pool, const NnGemmShape *s, size_t count, const nn_real *a, size_t stride_a,
                   const nn_real *b, size_t stride_b, nn_real *c, size_t stride_c)
{
    nn_gemm_batch2(pool, s, count, 1, a, (NnStride2){stride_a, 0}, b, (NnStride2){stride_b, 0}, c,
                   (NnStride2){stride_c, 0});
}
