// SPDX-License-Identifier: MIT
// What the image vectors say: near duplicates, by the search of blocks of them among all, and images that are like no
// other, by blocks of rows against blocks of rows.
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "concepts/duplicates_private.h"
#include "concepts/nearest.h"
#include "concepts/store.h"
#include "concepts/vectors_i8.h"
#include "nn/nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEEPERS = 256, OTHERS = 4096 };

typedef struct {
    VectorsReader *reader;
    VcPool *pool;
    size_t dim;
    const DuplicateImages *set;
    const size_t *places; // of the images in `rows`
    float *rows;
} Load;

static void load_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    Load *l = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        vectors_reader_floats(l->reader, (uint64_t)l->set->images[l->places[i]].row, 1, l->rows + i * l->dim);
    concepts_normalize(l->rows + begin * l->dim, end - begin, l->dim); // float16 rounds lengths to some 3e-4 of 1
}

static void load(Load *l, const size_t *places, size_t n, float *rows)
{
    l->places = places;
    l->rows = rows;
    vc_parallel_for(l->pool, n, 64, load_rows, l);
}

// --- near duplicates

enum { HITS = 64 }; // hits a keeper is asked for at first; one that has more is asked again alone

typedef struct {
    DuplicateImages *set;
    const Nearest *nearest;
    VectorsReader *reader;
    VcPool *pool;
    double least;
    size_t *order, count;    // places of images with a vector that are not marked, the preferred first
    size_t *turn;            // [rows] which turn of `order` a row has
    uint64_t *open;          // bit a row: its turn has not been, and it is not marked
    size_t keepers[KEEPERS]; // turns
    float *vectors;          // [KEEPERS][dim]
} Near;

static bool is_open(const Near *n, size_t row)
{
    return n->open[row / 64] >> (row % 64) & 1;
}

static size_t row_of(const Near *n, size_t turn)
{
    return (size_t)n->set->images[n->order[turn]].row;
}

// The next images that still stand, from *at on.
static size_t next_keepers(Near *n, size_t *at)
{
    size_t count = 0;
    for (; *at < n->count && count < KEEPERS; ++*at) {
        if (is_open(n, row_of(n, *at)))
            n->keepers[count++] = *at;
    }
    const size_t dim = vectors_reader_dim(n->reader);
    for (size_t i = 0; i < count; i++)
        vectors_reader_floats(n->reader, row_of(n, n->keepers[i]), 1, n->vectors + i * dim);
    return count;
}

static void close_turn(Near *n, size_t turn)
{
    n->open[row_of(n, turn) / 64] &= ~(UINT64_C(1) << row_of(n, turn) % 64);
}

static bool find_hits(Near *n, size_t first, size_t count, size_t limit, NearestAnswer *answer, VcErr *err)
{
    const NearestQuestion q = {.vectors = n->vectors + first * vectors_reader_dim(n->reader),
                               .count = count,
                               .limit = limit,
                               .allowed = n->open,
                               .least = (float)n->least,
                               .pool = n->pool};
    return nearest_find(n->nearest, &q, answer, err);
}

// Marks what is like a keeper and has its turn later.
static void mark_hits(Near *n, size_t keeper, const NearestHit *hits, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        const size_t turn = n->turn[hits[k].row];
        if (turn <= keeper || !is_open(n, (size_t)hits[k].row))
            continue;
        duplicates_put(n->set, n->order[keeper], n->order[turn], DUPLICATE_EMBEDDING, 1 - (double)hits[k].score);
        close_turn(n, turn);
    }
}

static bool mark_block(Near *n, size_t count, VcErr *err)
{
    NearestAnswer all = {0};
    bool ok = find_hits(n, 0, count, HITS, &all, err);
    for (size_t i = 0; ok && i < count; i++) {
        const size_t keeper = n->keepers[i];
        if (!is_open(n, row_of(n, keeper))) // another of the block has marked it
            continue;
        if (all.found[i] < HITS) {
            mark_hits(n, keeper, all.hits + i * all.stride, all.found[i]);
        } else {
            NearestAnswer more = {0};
            ok = find_hits(n, i, 1, n->count, &more, err);
            if (ok)
                mark_hits(n, keeper, more.hits, more.found[0]);
            nearest_answer_finish(&more);
        }
        close_turn(n, keeper);
    }
    nearest_answer_finish(&all);
    return ok;
}

static bool find_near(Near *n, VcErr *err)
{
    VcProgress *progress = vc_progress_begin("dedup", "images", n->count);
    bool ok = true;
    for (size_t at = 0, before = 0; ok && at < n->count; before = at) {
        const size_t keepers = next_keepers(n, &at);
        ok = (keepers == 0 || mark_block(n, keepers, err)) &&
             (!vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted; nothing was marked"));
        vc_progress_add(progress, at - before, 0);
    }
    vc_progress_end(&progress);
    return ok;
}

// A row that has no direction is like nothing.
static bool has_direction(const VectorsReader *r, uint64_t row, float *x)
{
    vectors_reader_floats(r, row, 1, x);
    double sum = 0;
    for (size_t i = 0; i < vectors_reader_dim(r); i++)
        sum += (double)x[i] * x[i];
    return sum > 0 && isfinite(sum);
}

bool duplicates_by_embedding(VcWorkspace *ws, const DuplicatesOptions *o, DuplicateImages *set, int64_t *without_vector,
                             VcErr *err)
{
    ConceptsModel model = {0};
    Nearest *nearest = NULL;
    Near n = {.pool = o->pool, .set = set, .least = o->min_cosine};
    bool ok = concepts_open_vectors(ws, "image", &n.reader, &model, err);
    if (ok) {
        char *path = concepts_vector_path(ws, "image", model.name), *bytes = vectors_bytes_path(path);
        ok = nearest_open(&nearest, n.reader, bytes, NULL, err);
        free(bytes);
        free(path);
    }
    if (ok) {
        const uint64_t rows = vectors_reader_rows(n.reader);
        n.nearest = nearest;
        n.order = vc_alloc(set->count, sizeof *n.order);
        n.turn = vc_calloc(rows + 1, sizeof *n.turn);
        n.open = vc_calloc(rows / 64 + 1, sizeof *n.open);
        n.vectors = vc_alloc(KEEPERS * vectors_reader_dim(n.reader), sizeof *n.vectors);
        for (size_t i = 0; i < set->count; i++) {
            const DuplicateImage *image = &set->images[i];
            const bool has = image->row >= 0 && (uint64_t)image->row < rows;
            *without_vector += !has;
            if (!has || image->marked || !has_direction(n.reader, (uint64_t)image->row, n.vectors))
                continue;
            n.turn[image->row] = n.count;
            n.open[image->row / 64] |= UINT64_C(1) << image->row % 64;
            n.order[n.count++] = i;
        }
        ok = find_near(&n, err);
    }
    nearest_close(&nearest);
    vectors_reader_close(&n.reader);
    concepts_model_finish(&model);
    free(n.order);
    free(n.turn);
    free(n.open);
    free(n.vectors);
    return ok;
}

// --- outliers

typedef struct {
    Load load;
    size_t *sample, *block, sample_count;
    size_t neighbours;
    float *best; // [KEEPERS, OUTLIER_NEIGHBOURS], falling
    float *a, *b, *products;
} Far;

// Keeps the largest values; an image's product with itself is left out.
static void take_best(Far *f, size_t count, size_t from, size_t others)
{
    for (size_t i = 0; i < count; i++) {
        float *best = f->best + i * OUTLIER_NEIGHBOURS;
        for (size_t k = 0; k < others; k++) {
            const float value = f->products[i * others + k];
            if (value <= best[f->neighbours - 1] || f->sample[from + k] == f->block[i])
                continue;
            size_t at = f->neighbours - 1;
            for (; at > 0 && best[at - 1] < value; at--)
                best[at] = best[at - 1];
            best[at] = value;
        }
    }
}

static void measure_block(Far *f, size_t count, Outlier *out)
{
    for (size_t i = 0; i < count * OUTLIER_NEIGHBOURS; i++)
        f->best[i] = -2;
    load(&f->load, f->block, count, f->a);
    for (size_t at = 0; at < f->sample_count; at += OTHERS) {
        const size_t others = f->sample_count - at < OTHERS ? f->sample_count - at : OTHERS;
        load(&f->load, f->sample + at, others, f->b);
        nn_gemm(f->load.pool, NN_PLAIN, NN_TRANSPOSED, count, others, f->load.dim, 1, f->a, f->load.dim, f->b,
                f->load.dim, 0, f->products, others);
        take_best(f, count, at, others);
    }
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t k = 0; k < f->neighbours; k++)
            sum += f->best[i * OUTLIER_NEIGHBOURS + k];
        out[i] = (Outlier){f->load.set->images[f->block[i]].id, sum / (double)f->neighbours};
    }
}

static int by_nearest(const void *a, const void *b)
{
    const Outlier *x = a, *y = b;
    if (x->nearest != y->nearest)
        return x->nearest < y->nearest ? -1 : 1;
    return x->image_id < y->image_id ? -1 : x->image_id > y->image_id;
}

static bool read_rows(VcWorkspace *ws, uint64_t rows, DuplicateImages *set, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0;
    bool row, ok = vc_db_prepare(ws->db, &stmt,
                                 "SELECT image_id, row FROM image WHERE status >= 0 AND row IS NOT NULL AND row < ?"
                                 " ORDER BY row",
                                 err);
    if (ok)
        vc_bind_int(stmt, 1, (int64_t)rows);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        set->images = vc_grow(set->images, &cap, set->count + 1, sizeof *set->images);
        set->images[set->count++] = (DuplicateImage){.id = vc_column_int(stmt, 0), .row = vc_column_int(stmt, 1)};
    }
    vc_stmt_finish(&stmt);
    return ok && (set->count > OUTLIER_NEIGHBOURS ||
                  vc_fail(err, VC_ERR_USAGE, "%zu images have a vector; more than %d are needed to compare them",
                          set->count, OUTLIER_NEIGHBOURS));
}

static void choose_sample(Far *f, size_t count)
{
    f->sample = vc_alloc(count, sizeof *f->sample);
    for (size_t i = 0; i < count; i++)
        f->sample[i] = i;
    f->sample_count = count < OUTLIER_SAMPLE ? count : OUTLIER_SAMPLE;
    VcRng rng;
    vc_rng_seed(&rng, count);
    for (size_t i = 0; f->sample_count < count && i < f->sample_count; i++) {
        const size_t other = i + (size_t)vc_rng_below(&rng, count - i), swap = f->sample[i];
        f->sample[i] = f->sample[other];
        f->sample[other] = swap;
    }
}

static bool measure_all(Far *f, Outlier *all, VcErr *err)
{
    const size_t count = f->load.set->count;
    VcProgress *progress = vc_progress_begin("outliers", "images", count);
    bool ok = true;
    for (size_t at = 0; ok && at < count; at += KEEPERS) {
        const size_t n = count - at < KEEPERS ? count - at : KEEPERS;
        for (size_t i = 0; i < n; i++)
            f->block[i] = at + i;
        measure_block(f, n, all + at);
        vc_progress_add(progress, n, 0);
        ok = !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    vc_progress_end(&progress);
    return ok;
}

bool duplicates_outliers(VcWorkspace *ws, VcPool *pool, size_t n, Outlier **out, size_t *count, VcErr *err)
{
    ConceptsModel model = {0};
    DuplicateImages set = {0};
    Far f = {.load = {.pool = pool, .set = &set}, .neighbours = OUTLIER_NEIGHBOURS};
    *out = NULL;
    *count = 0;
    bool ok = nn_blas_check(err) && concepts_open_vectors(ws, "image", &f.load.reader, &model, err) &&
              read_rows(ws, vectors_reader_rows(f.load.reader), &set, err);
    if (ok) {
        f.load.dim = vectors_reader_dim(f.load.reader);
        choose_sample(&f, set.count);
        f.block = vc_alloc(KEEPERS, sizeof *f.block);
        f.best = vc_alloc((size_t)KEEPERS * OUTLIER_NEIGHBOURS, sizeof *f.best);
        f.a = vc_alloc(KEEPERS * f.load.dim, sizeof *f.a);
        f.b = vc_alloc(OTHERS * f.load.dim, sizeof *f.b);
        f.products = vc_alloc((size_t)KEEPERS * OTHERS, sizeof *f.products);
        *out = vc_alloc(set.count, sizeof **out);
        ok = measure_all(&f, *out, err);
    }
    if (ok) {
        qsort(*out, set.count, sizeof **out, by_nearest);
        *count = set.count < n ? set.count : n;
    }
    vectors_reader_close(&f.load.reader);
    concepts_model_finish(&model);
    free(set.images);
    free(f.sample);
    free(f.block);
    free(f.best);
    free(f.a);
    free(f.b);
    free(f.products);
    return ok;
}
