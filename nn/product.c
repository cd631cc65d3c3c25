// SPDX-License-Identifier: MIT
// Blocking after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with the order of
// loops of BLIS (Van Zee and van de Geijn, 2015): panels of B in the first cache, a block of A in the second.
#include "nn/product.h"

#include "base/err.h"
#include "nn/kernels/kernels.h"

#include <string.h>

#ifndef NN_DOUBLE

enum {
    DEPTH = 256,      // terms of a block: a panel of them is 32 KiB
    STRIPS = 16,      // strips of A in a task: 192 KiB
    TASKS = 16,       // wanted, so that threads of any number finish together
    PANELS = 4 << 20, // numbers of packed B at a time: what is larger goes in several rounds
    SMALL = 1 << 18   // multiply-adds below which cutting costs more than a second thread gives
};

typedef struct {
    const NnKernels *kernels;
    const NnProduct *p;
    size_t depth;         // terms of a block, but for the last
    size_t column, width; // columns of this round
    size_t strips;        // of a task
    size_t group, groups; // panels of a task; tasks side by side
    nn_real *panels;      // [panel][K][NN_PANEL]; local: [worker][depth][NN_PANEL]
    bool local;           // few rows: the task that uses a panel packs it, block by block
} Round;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pieces(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

// Terms [at, at+depth) of panel j.
static void pack_panel(const Round *r, nn_real *panel, size_t j, size_t at, size_t depth)
{
    const NnProduct *p = r->p;
    const bool turned = p->tb == NN_TRANSPOSED;
    const size_t column = r->column + j * NN_PANEL;
    r->kernels->gemm_pack(panel, NN_PANEL, p->b + (turned ? column * p->ldb + at : at * p->ldb + column), p->ldb,
                          turned, least(NN_PANEL, r->column + r->width - column), depth);
}

static void pack_panels(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const Round *r = arg;
    for (size_t j = begin; j < end; j++)
        pack_panel(r, r->panels + j * NN_PANEL * r->p->k, j, 0, r->p->k);
}

static void fill_bias(const NnProduct *p, size_t row, size_t rows, size_t column, size_t columns)
{
    for (size_t i = row; i < row + rows; i++) {
        nn_real *c = p->c + i * p->ldc + column;
        for (size_t j = 0; j < columns; j++)
            c[j] = (p->add ? c[j] : 0) + p->bias[column + j];
    }
}

// Rows [row, row+rows) of the columns of panels [first, last), terms [at, at+depth).
static void multiply(const Round *r, nn_real *work, size_t row, size_t rows, size_t first, size_t last, size_t at,
                     size_t depth)
{
    const NnProduct *p = r->p;
    const size_t step_row = p->ta == NN_PLAIN ? p->lda : 1, step_term = p->ta == NN_PLAIN ? 1 : p->lda;
    for (size_t j = first; j < last; j++) {
        const size_t column = r->column + j * NN_PANEL, columns = least(NN_PANEL, r->column + r->width - column);
        const nn_real *panel = r->local ? work : r->panels + (j * p->k + at) * NN_PANEL;
        if (r->local)
            pack_panel(r, work, j, at, depth);
        r->kernels->gemm_tile(p->c + row * p->ldc + column, p->ldc, p->a + row * step_row + at * step_term, step_row,
                              step_term, panel, depth, rows, columns, 1, p->add || p->bias || at > 0);
    }
}

static void run_tasks(void *arg, size_t begin, size_t end, size_t worker)
{
    const Round *r = arg;
    const NnProduct *p = r->p;
    const size_t panels = pieces(r->width, NN_PANEL);
    nn_real *work = r->panels + worker * r->depth * NN_PANEL; // local
    for (size_t task = begin; task < end; task++) {
        const size_t row = task / r->groups * r->strips * NN_STRIP, rows = least(r->strips * NN_STRIP, p->m - row);
        const size_t first = task % r->groups * r->group, last = least(first + r->group, panels);
        if (p->bias) {
            const size_t column = r->column + first * NN_PANEL;
            fill_bias(p, row, rows, column, least(last * NN_PANEL, r->width) + r->column - column);
        }
        for (size_t at = 0; at < p->k; at += r->depth)
            multiply(r, work, row, rows, first, last, at, least(r->depth, p->k - at));
    }
}

// Depends on the shape alone.
static void plan(Round *r)
{
    const NnProduct *p = r->p;
    const size_t strips = pieces(p->m, NN_STRIP), panels = pieces(r->width, NN_PANEL);
    r->strips = r->local ? strips : least(STRIPS, pieces(strips, TASKS));
    const size_t blocks = pieces(strips, r->strips);
    r->groups = blocks >= TASKS ? 1 : least(panels, pieces(TASKS, blocks));
    r->group = r->local ? 1 : pieces(panels, r->groups);
    r->groups = pieces(panels, r->group);
}

static void packed(const NnContext *ctx, const NnProduct *p)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    VcPool *pool = p->m * p->n <= SMALL / p->k ? NULL : ctx->pool;
    Round r = {.kernels = ctx->kernels, .p = p};
    r.depth = pieces(p->k, pieces(p->k, DEPTH));
    r.local = p->m <= STRIPS * NN_STRIP && p->n > TASKS * NN_PANEL;
    const size_t most = PANELS / p->k / NN_PANEL * NN_PANEL;
    size_t width = least(pieces(p->n, NN_PANEL) * NN_PANEL, most > NN_PANEL ? most : NN_PANEL);
    if (r.local)
        width = p->n;
    r.panels = vc_arena_alloc(ctx->scratch, r.local ? vc_pool_threads(pool) * r.depth * NN_PANEL : width * p->k,
                              sizeof(nn_real));
    for (r.column = 0; r.column < p->n; r.column += width) {
        r.width = least(width, p->n - r.column);
        plan(&r);
        if (!r.local)
            vc_parallel_for(pool, pieces(r.width, NN_PANEL), 1, pack_panels, &r);
        vc_parallel_for(pool, pieces(pieces(p->m, NN_STRIP), r.strips) * r.groups, 1, run_tasks, &r);
    }
    vc_arena_release(ctx->scratch, mark);
}
#endif

static void by_blas(const NnContext *ctx, const NnProduct *p)
{
    for (size_t i = 0; i < p->m && p->bias; i++) {
        nn_real *c = p->c + i * p->ldc;
        for (size_t j = 0; j < p->n; j++)
            c[j] = (p->add ? c[j] : 0) + p->bias[j];
    }
    nn_gemm(ctx->pool, p->ta, p->tb, p->m, p->n, p->k, 1, p->a, p->lda, p->b, p->ldb, p->add || p->bias ? 1 : 0, p->c,
            p->ldc);
}

void nn_product(const NnContext *ctx, const NnProduct *p)
{
    if (p->m == 0 || p->n == 0)
        return;
    VC_ASSERT(p->lda >= (p->ta == NN_TRANSPOSED ? p->m : p->k) && p->ldb >= (p->tb == NN_TRANSPOSED ? p->k : p->n) &&
              p->ldc >= p->n);
#ifndef NN_DOUBLE
    if (p->k > 0 && ctx->kernels->gemm_tile != nn_kernels_reference()->gemm_tile) {
        packed(ctx, p);
        return;
    }
#endif
    by_blas(ctx, p);
}
