// SPDX-License-Identifier: MIT
// Is the BLAS that the loader found the one we linked, and are its products right? Reports of the kind this guards
// against: OpenBLAS #5243 (crash in sgemm_beta on a new processor), nixpkgs #124250 (AVX-512 kernels wrong in
// 0.3.13-0.3.15), #1147 (Zen kernels wrong), and a reference libblas in the place of OpenBLAS (right, at 1/100 speed).
#include "nn/gemm.h"

#include "base/mem.h"

#include <cblas.h>
#include <dlfcn.h>
#include <float.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>

#ifdef NN_DOUBLE
static const char gemm_symbol[] = "cblas_dgemm";
static const double real_eps = DBL_EPSILON;
#else
static const char gemm_symbol[] = "cblas_sgemm";
static const double real_eps = FLT_EPSILON;
#endif

static const char *threading_name(void)
{
    switch (openblas_get_parallel()) {
    case OPENBLAS_THREAD:
        return "pthreads";
    case OPENBLAS_OPENMP:
        return "OpenMP";
    default:
        return "none";
    }
}

// The file of a symbol as the dynamic loader resolves it for everybody, "" when unknown.
static void symbol_file(const char *symbol, char *out, size_t size)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, symbol);
    const bool known = address != NULL && dladdr(address, &info) != 0 && info.dli_fname != NULL;
    snprintf(out, size, "%s", known ? info.dli_fname : "");
}

void nn_blas_info(NnBlasInfo *out)
{
    *out = (NnBlasInfo){
        .corename = openblas_get_corename(),
        .config = openblas_get_config(),
        .threads = nn_blas_start_threads(),
        .processors = openblas_get_num_procs(),
        .threading = threading_name(),
        .env_coretype = getenv("OPENBLAS_CORETYPE"),
        .env_threads = getenv("OPENBLAS_NUM_THREADS"),
        .env_omp_threads = getenv("OMP_NUM_THREADS"),
    };
    symbol_file(gemm_symbol, out->file, sizeof out->file);
}

void nn_blas_describe(VcStr *out)
{
    NnBlasInfo info;
    nn_blas_info(&info);
    vc_str_putf(out, "core type %s%s, %s, threads: %s, %s", info.corename,
                info.env_coretype != NULL ? " (set by OPENBLAS_CORETYPE)" : "", info.config, info.threading, info.file);
}

// Small and thin shapes, sizes around the inner tiles of the usual kernels (8, 16, 24, 48), and each dimension once
// past the outer blocks of the cache blocking.
static const struct {
    size_t m, n, k;
} shapes[] = {
    {1, 1, 1},    {1, 17, 64},  {17, 1, 33},   {3, 5, 7},    {16, 16, 16}, {25, 49, 9},
    {50, 50, 64}, {33, 47, 65}, {130, 40, 97}, {9, 20, 800}, {800, 5, 9},  {5, 800, 9},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], PAD = 3 };

typedef struct {
    nn_real *a, *b, *at, *bt, *c, *start; // at, bt: the same matrices stored transposed
    double *sum, *size;                   // A B and |A| |B|
} Work;

static nn_real next_value(uint64_t *state) // [-1, 1), 20 bits: float products of two are not exact, as in real work
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (nn_real)((double)(int64_t)(*state >> 44) / 524288.0 - 1.0);
}

static void fill(Work *w, size_t m, size_t n, size_t k, uint64_t *state)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t p = 0; p < k; p++)
            w->a[i * (k + PAD) + p] = w->at[p * (m + PAD) + i] = next_value(state);
    }
    for (size_t p = 0; p < k; p++) {
        for (size_t j = 0; j < n; j++)
            w->b[p * (n + PAD) + j] = w->bt[j * (k + PAD) + p] = next_value(state);
    }
    for (size_t i = 0; i < m * (n + PAD); i++)
        w->start[i] = next_value(state);
    memset(w->sum, 0, m * n * sizeof *w->sum);
    memset(w->size, 0, m * n * sizeof *w->size);
    for (size_t i = 0; i < m; i++) {
        for (size_t p = 0; p < k; p++) {
            const double a = w->a[i * (k + PAD) + p];
            for (size_t j = 0; j < n; j++) {
                const double t = a * w->b[p * (n + PAD) + j];
                w->sum[i * n + j] += t;
                w->size[i * n + j] += fabs(t);
            }
        }
    }
}

static bool compare(const Work *w, size_t m, size_t n, size_t k, NnTranspose ta, NnTranspose tb, double alpha,
                    double beta, VcErr *err)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n + PAD; j++) {
            const double got = w->c[i * (n + PAD) + j], start = w->start[i * (n + PAD) + j];
            double want = start, allowed = 0; // the padding of a row is not the product's to write
            if (j < n) {
                want = alpha * w->sum[i * n + j] + (beta == 0 ? 0 : beta * start);
                allowed = 2 * (double)(k + 4) * real_eps * (fabs(alpha) * w->size[i * n + j] + fabs(beta * start));
            } else if (beta == 0) {
                continue; // NaN there; the pass with beta looks at it
            }
            if (!(fabs(got - want) <= allowed)) {
                return vc_fail(err, VC_ERR_FORMAT,
                               "%s is wrong: %zu x %zu x %zu, A %s, B %s, beta %g: element [%zu][%zu] is %.9g and "
                               "should be %.9g",
                               gemm_symbol + 6, m, n, k, ta == NN_TRANSPOSED ? "transposed" : "plain",
                               tb == NN_TRANSPOSED ? "transposed" : "plain", beta, i, j, got, want);
            }
        }
    }
    return true;
}

static bool check_shape(NnGemmFn gemm, Work *w, size_t m, size_t n, size_t k, uint64_t *state, VcErr *err)
{
    fill(w, m, n, k, state);
    for (int form = 0; form < 8; form++) {
        const NnTranspose ta = (form & 1) != 0 ? NN_TRANSPOSED : NN_PLAIN;
        const NnTranspose tb = (form & 2) != 0 ? NN_TRANSPOSED : NN_PLAIN;
        const nn_real alpha = (form & 4) != 0 ? (nn_real)0.75 : 1, beta = (form & 4) != 0 ? (nn_real)-0.5 : 0;
        for (size_t i = 0; i < m * (n + PAD); i++)
            w->c[i] = beta == 0 ? (nn_real)NAN : w->start[i];
        gemm(ta, tb, m, n, k, alpha, ta == NN_TRANSPOSED ? w->at : w->a, ta == NN_TRANSPOSED ? m + PAD : k + PAD,
             tb == NN_TRANSPOSED ? w->bt : w->b, tb == NN_TRANSPOSED ? k + PAD : n + PAD, beta, w->c, n + PAD);
        if (!compare(w, m, n, k, ta, tb, alpha, beta, err))
            return false;
    }
    return true;
}

static bool check_all(NnGemmFn gemm, Work *w, VcErr *err)
{
    uint64_t state = 1;
    for (size_t i = 0; i < SHAPES; i++) {
        if (!check_shape(gemm, w, shapes[i].m, shapes[i].n, shapes[i].k, &state, err))
            return false;
    }
    return true;
}

// A kernel for another processor raises SIGILL, a broken one SIGSEGV: on this thread, since the BLAS has one. The
// handlers stand only while the check runs; a signal that another thread raised is given back to its old action.
static _Thread_local sigjmp_buf crash_return;
static _Thread_local volatile sig_atomic_t crash_armed;

static void on_crash(int number)
{
    if (crash_armed)
        siglongjmp(crash_return, number);
    signal(number, SIG_DFL);
    raise(number);
}

static bool check_guarded(NnGemmFn gemm, Work *w, VcErr *err)
{
    static const int numbers[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    struct sigaction old[NUMBERS], guard = {.sa_handler = on_crash};
    sigemptyset(&guard.sa_mask);
    for (int i = 0; i < NUMBERS; i++)
        sigaction(numbers[i], &guard, &old[i]);
    volatile bool ok = false;
    const int crash = sigsetjmp(crash_return, 1);
    if (crash == 0) {
        crash_armed = 1;
        ok = check_all(gemm, w, err);
    } else {
        vc_fail(err, VC_ERR_FORMAT, "%s crashed with signal %d (%s)", gemm_symbol + 6, crash, strsignal(crash));
    }
    crash_armed = 0;
    for (int i = 0; i < NUMBERS; i++)
        sigaction(numbers[i], &old[i], NULL);
    return ok;
}

bool nn_gemm_check_with(NnGemmFn gemm, VcErr *err)
{
    size_t most = 0, product = 0;
    for (size_t i = 0; i < SHAPES; i++) {
        const size_t m = shapes[i].m, n = shapes[i].n, k = shapes[i].k;
        const size_t sizes[] = {m * (k + PAD), k * (m + PAD), k * (n + PAD), n * (k + PAD), m * (n + PAD)};
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++)
            most = sizes[j] > most ? sizes[j] : most;
        product = m * n > product ? m * n : product;
    }
    nn_real *reals = vc_calloc(6 * most, sizeof *reals);
    double *doubles = vc_calloc(2 * product, sizeof *doubles);
    Work w = {reals,   reals + most,     reals + 2 * most, reals + 3 * most, reals + 4 * most, reals + 5 * most,
              doubles, doubles + product};
    const bool ok = check_guarded(gemm, &w, err);
    free(reals);
    free(doubles);
    return ok;
}

bool nn_blas_check(VcErr *err)
{
    NnBlasInfo info;
    nn_blas_info(&info); // also sets one thread
    char ours[sizeof info.file];
    symbol_file("openblas_get_config", ours, sizeof ours);
    if (strcmp(info.file, ours) != 0) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "the matrix products would come from '%s' and not from OpenBLAS ('%s'): another BLAS was loaded "
                       "before it. Look at LD_PRELOAD and LD_LIBRARY_PATH, or install libopenblas0 and build again",
                       info.file, ours);
    }
    if (nn_gemm_check_with(nn_gemm_direct, err))
        return true;
    if (info.env_coretype != NULL) {
        return vc_prefix(err,
                         "the BLAS of this machine cannot be used (%s, core type %s, '%s'; OPENBLAS_CORETYPE=%s is set "
                         "in the environment: unset it, or install another OpenBLAS)",
                         info.config, info.corename, info.file, info.env_coretype);
    }
    return vc_prefix(err,
                     "the BLAS of this machine cannot be used (%s, core type %s, '%s'; set OPENBLAS_CORETYPE=Haswell "
                     "or install another OpenBLAS)",
                     info.config, info.corename, info.file);
}
