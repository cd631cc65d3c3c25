// SPDX-License-Identifier: MIT
#include "concepts/index_vectors.h"

#include "base/clock.h"
#include "base/mem.h"
#include "concepts/cells.h"
#include "concepts/nearest.h"
#include "concepts/store.h"
#include "concepts/vectors_i8.h"

#include <math.h>

enum { QUERIES = 200, BEST = 10 };

typedef struct {
    VectorsReader *reader;
    ConceptsModel model;
    char *path, *bytes, *cells;
} Files;

static bool open_files(Files *f, VcWorkspace *ws, VcErr *err)
{
    *f = (Files){0};
    if (!concepts_open_vectors(ws, "image", &f->reader, &f->model, err))
        return false;
    f->path = concepts_vector_path(ws, "image", f->model.name);
    f->bytes = vectors_bytes_path(f->path);
    f->cells = cells_path(f->path);
    return true;
}

static void close_files(Files *f)
{
    vectors_reader_close(&f->reader);
    concepts_model_finish(&f->model);
    free(f->path);
    free(f->bytes);
    free(f->cells);
}

// *made: the file had to be made. A damaged one is made again.
static bool need_bytes(const Files *f, bool again, VcPool *pool, VectorsBytes **out, bool *made, VcErr *err)
{
    VcErr damaged = {0};
    *made = false;
    *out = NULL;
    if (!again && vectors_bytes_open(out, f->bytes, f->reader, &damaged) && *out &&
        vectors_bytes_rows(*out) == vectors_reader_rows(f->reader))
        return true;
    vectors_bytes_close(out);
    *made = true;
    return vectors_bytes_build(f->bytes, f->reader, pool, err) && vectors_bytes_open(out, f->bytes, f->reader, err) &&
           (*out || vc_fail(err, VC_ERR_FORMAT, "'%s' changed while it was read", f->path));
}

static bool need_cells(const Files *f, const VectorsBytes *bytes, const IndexVectorsOptions *o, bool *made, VcErr *err)
{
    VcErr damaged = {0};
    Cells *c = NULL;
    const size_t count = o->count ? o->count : cells_default(vectors_reader_rows(f->reader));
    const bool fits = !o->again && cells_open(&c, f->cells, f->reader, &damaged) && c && cells_count(c) == count;
    cells_close(&c);
    *made = !fits;
    return fits || cells_build(f->cells, f->reader, bytes, count, o->pool, err);
}

static int by_value(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

typedef struct {
    const Nearest *n;
    VcPool *pool;
    size_t dim, count;
    const float *queries;   // [count][dim]
    const uint64_t *rows;   // [count] where they are stored
    uint64_t (*want)[BEST]; // exact answer, itself left out
} Measure;

// Asks query by query. want: is filled (probe 0), or compared with.
static bool ask_all(const Measure *m, size_t probe, double *recall, double *ms, VcErr *err)
{
    double *times = vc_alloc(m->count, sizeof *times);
    size_t found = 0, of = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < m->count; i++) {
        NearestQuestion q = {.vectors = m->queries + i * m->dim,
                             .count = 1,
                             .limit = BEST + 1,
                             .least = -INFINITY,
                             .probe = probe,
                             .pool = m->pool};
        NearestAnswer a = {0};
        const double start = vc_now();
        ok = nearest_find(m->n, &q, &a, err);
        times[i] = vc_now() - start;
        size_t have = 0;
        for (size_t k = 0; ok && k < a.found[0] && have < BEST; k++) {
            const uint64_t row = a.hits[k].row;
            if (row == m->rows[i])
                continue;
            if (probe == 0)
                m->want[i][have] = row;
            for (size_t w = 0; w < BEST; w++)
                found += m->want[i][w] == row;
            have++;
        }
        for (size_t k = 0; k < BEST; k++)
            of += m->want[i][k] != UINT64_MAX;
        nearest_answer_finish(&a);
    }
    qsort(times, m->count, sizeof *times, by_value);
    *ms = times[m->count / 2] * 1e3;
    *recall = of ? (double)found / (double)of : 1;
    free(times);
    return ok;
}

static bool measure(const Files *f, const IndexVectorsOptions *o, IndexVectorsReport *report, VcErr *err)
{
    const size_t dim = vectors_reader_dim(f->reader);
    const uint64_t rows = vectors_reader_rows(f->reader);
    Nearest *n = NULL;
    Measure m = {.pool = o->pool, .dim = dim, .count = rows < QUERIES ? (size_t)rows : QUERIES};
    float *queries = vc_alloc(m.count * dim, sizeof *queries);
    uint64_t *stored = vc_alloc(m.count, sizeof *stored);
    m.want = vc_alloc(m.count, sizeof *m.want);
    memset(m.want, 0xff, m.count * sizeof *m.want);
    for (size_t i = 0; i < m.count; i++) {
        stored[i] = i * rows / m.count;
        vectors_reader_floats(f->reader, stored[i], 1, queries + i * dim);
    }
    m.queries = queries;
    m.rows = stored;
    double all;
    bool ok = nearest_open(&n, f->reader, f->bytes, NULL, err) && nearest_open_cells(n, f->cells, err);
    m.n = n;
    ok = ok && ask_all(&m, 0, &all, &report->exact_ms, err);
    report->queries = m.count;
    report->cells = ok ? nearest_cells(n) : 0;
    for (size_t probe = 1; ok && report->probe_count < INDEX_PROBES && probe <= report->cells; probe *= 4) {
        IndexVectorsProbe *p = &report->probes[report->probe_count++];
        p->probe = probe;
        ok = ask_all(&m, probe, &p->recall_at_10, &p->ms, err);
    }
    nearest_close(&n);
    free(queries);
    free(stored);
    free(m.want);
    return ok;
}

bool concepts_index_vectors(VcWorkspace *ws, const IndexVectorsOptions *o, IndexVectorsReport *report, VcErr *err)
{
    Files f;
    VectorsBytes *bytes = NULL;
    *report = (IndexVectorsReport){0};
    const double start = vc_now();
    bool ok = open_files(&f, ws, err) && need_bytes(&f, o->again, o->pool, &bytes, &report->made_bytes, err);
    report->byte_seconds = vc_now() - start;
    if (ok) {
        report->rows = vectors_reader_rows(f.reader);
        report->dim = vectors_reader_dim(f.reader);
    }
    if (ok && o->cells) {
        ok = need_cells(&f, bytes, o, &report->made_cells, err);
        report->cell_seconds = vc_now() - start - report->byte_seconds;
        ok = ok && measure(&f, o, report, err);
    }
    vectors_bytes_close(&bytes);
    close_files(&f);
    return ok;
}

bool concepts_index_bytes(VcWorkspace *ws, VcPool *pool, VcErr *err)
{
    Files f;
    VectorsBytes *bytes = NULL;
    bool made;
    const bool ok = open_files(&f, ws, err) && need_bytes(&f, false, pool, &bytes, &made, err);
    vectors_bytes_close(&bytes);
    close_files(&f);
    return ok;
}
