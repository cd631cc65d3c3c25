// SPDX-License-Identifier: MIT
// Blocking after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with the order of
// loops of BLIS (Van Zee and van de Geijn, 2015): panels of B in the first cache, a block of A in the second.
#include "nn/product.h"

#include "base/err.h"
#include "nn/kernels/kernels.h"

#include <stdint.h>
#include <string.h>

#ifndef NN_DOUBLE

enum {
    DEPTH = 256,      // terms of a block: a panel of them is 32 KiB
    STRIPS = 16,      // strips of A in a task: 192 KiB
    TASKS = 16,       // wanted, so that threads of any number finish together
    PANELS = 4 << 20, // numbers of packed B at a time: what is larger goes in several rounds
    SMALL = 1 << 18   // multiply-adds below which cutting costs more than a second thread gives
};

// A word is a float, or two bfloat16.
typedef struct {
    const NnKernels *kernels;
    const NnProduct *p;
    bool half;            // bfloat16
    size_t words;         // of the K terms of a column
    size_t depth;         // terms of a block, but for the last
    size_t column, width; // columns of this round
    size_t strips;        // of a task
    size_t group, groups; // panels of a task; tasks side by side
    bool local;           // few rows: the task that uses a panel packs it, block by block
    void *panels;         // [panel][words][NN_PANEL]; local: [worker][words of a block][NN_PANEL]
    void *strip_work;     // half: [worker][strips][words of a block][NN_STRIP]
} Round;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pieces(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

static size_t words_of(const Round *r, size_t terms)
{
    return r->half ? (terms + 1) / 2 : terms;
}

static void *word_at(void *words, size_t i)
{
    return (char *)words + i * sizeof(uint32_t);
}

static void pack(const Round *r, void *to, size_t width, const nn_real *x, size_t ld, bool turned, size_t count,
                 size_t depth)
{
    if (r->half) {
        r->kernels->gemm_pack_bf16(to, width, x, ld, turned, count, depth);
    } else {
        r->kernels->gemm_pack(to, width, x, ld, turned, count, depth);
    }
}

// Terms [at, at+depth) of panel j.
static void pack_panel(const Round *r, void *panel, size_t j, size_t at, size_t depth)
{
    const NnProduct *p = r->p;
    const bool turned = p->tb == NN_TRANSPOSED;
    const size_t column = r->column + j * NN_PANEL;
    pack(r, panel, NN_PANEL, p->b + (turned ? column * p->ldb + at : at * p->ldb + column), p->ldb, turned,
         least(NN_PANEL, r->column + r->width - column), depth);
}

static void pack_panels(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const Round *r = arg;
    for (size_t j = begin; j < end; j++)
        pack_panel(r, word_at(r->panels, j * NN_PANEL * r->words), j, 0, r->p->k);
}

static void fill_bias(const Round *r, size_t row, size_t rows, size_t column, size_t columns)
{
    const NnProduct *p = r->p;
    for (size_t i = row; i < row + rows; i++) {
        nn_real *c = p->c + i * p->ldc + column;
        if (p->add) {
            r->kernels->add(c, p->bias + column, columns);
        } else {
            memcpy(c, p->bias + column, columns * sizeof *c);
        }
    }
}

// The work of one task: rows [row, row+rows), panels [first, last).
typedef struct {
    size_t row, rows, first, last;
    void *panel, *strips; // of the worker
} Task;

// Terms [at, at+depth) of the task.
static void multiply(const Round *r, const Task *t, size_t at, size_t depth)
{
    const NnProduct *p = r->p;
    const size_t step_row = p->ta == NN_PLAIN ? p->lda : 1, step_term = p->ta == NN_PLAIN ? 1 : p->lda;
    const nn_real *a = p->a + t->row * step_row + at * step_term;
    const int add = p->add || p->bias || at > 0;
    const size_t strip = NN_STRIP * words_of(r, depth);
    for (size_t i = 0; i < t->rows && r->half; i += NN_STRIP) {
        pack(r, word_at(t->strips, i / NN_STRIP * strip), NN_STRIP, a + i * step_row, p->lda, p->ta == NN_PLAIN,
             least(NN_STRIP, t->rows - i), depth);
    }
    for (size_t j = t->first; j < t->last; j++) {
        const size_t column = r->column + j * NN_PANEL, columns = least(NN_PANEL, r->column + r->width - column);
        void *panel = r->local ? t->panel : word_at(r->panels, (j * r->words + words_of(r, at)) * NN_PANEL);
        if (r->local)
            pack_panel(r, panel, j, at, depth);
        nn_real *c = p->c + t->row * p->ldc + column;
        if (!r->half)
            r->kernels->gemm_tile(c, p->ldc, a, step_row, step_term, panel, depth, t->rows, columns, 1, add);
        for (size_t i = 0; i < t->rows && r->half; i += NN_STRIP) {
            r->kernels->gemm_tile_bf16(c + i * p->ldc, p->ldc, word_at(t->strips, i / NN_STRIP * strip), 1, NN_STRIP,
                                       panel, depth, least(NN_STRIP, t->rows - i), columns, 1, add);
        }
    }
}

static void run_tasks(void *arg, size_t begin, size_t end, size_t worker)
{
    const Round *r = arg;
    const NnProduct *p = r->p;
    const size_t panels = pieces(r->width, NN_PANEL), block = words_of(r, r->depth);
    Task t = {.panel = word_at(r->panels, worker * block * NN_PANEL)};
    if (r->half)
        t.strips = word_at(r->strip_work, worker * STRIPS * NN_STRIP * block);
    for (size_t task = begin; task < end; task++) {
        t.row = task / r->groups * r->strips * NN_STRIP;
        t.rows = least(r->strips * NN_STRIP, p->m - t.row);
        t.first = task % r->groups * r->group;
        t.last = least(t.first + r->group, panels);
        if (p->bias) {
            const size_t column = r->column + t.first * NN_PANEL;
            fill_bias(r, t.row, t.rows, column, least(t.last * NN_PANEL, r->width) + r->column - column);
        }
        for (size_t at = 0; at < p->k; at += r->depth)
            multiply(r, &t, at, least(r->depth, p->k - at));
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
    Round r = {.kernels = ctx->kernels, .p = p, .half = ctx->precision == NN_PRECISION_BF16};
    const size_t terms = r.half ? 2 : 1; // of a word; a block has whole ones
    r.words = words_of(&r, p->k);
    r.depth = pieces(pieces(p->k, pieces(p->k, DEPTH * terms)), terms) * terms;
    r.local = p->m <= STRIPS * NN_STRIP && p->n > TASKS * NN_PANEL;
    const size_t most = PANELS / r.words / NN_PANEL * NN_PANEL, block = words_of(&r, r.depth);
    size_t width = least(pieces(p->n, NN_PANEL) * NN_PANEL, most > NN_PANEL ? most : NN_PANEL);
    if (r.local)
        width = p->n;
    const size_t threads = vc_pool_threads(pool);
    r.panels = vc_arena_alloc(ctx->scratch, r.local ? threads * block * NN_PANEL : width * r.words, sizeof(uint32_t));
    if (r.half)
        r.strip_work = vc_arena_alloc(ctx->scratch, threads * STRIPS * NN_STRIP * block, sizeof(uint32_t));
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
    // Without vectors the BLAS is faster than our reference, but for bfloat16, which it does not have.
    if (p->k > 0 &&
        (ctx->precision == NN_PRECISION_BF16 || ctx->kernels->gemm_tile != nn_kernels_reference()->gemm_tile)) {
        packed(ctx, p);
        return;
    }
#endif
    by_blas(ctx, p);
}
