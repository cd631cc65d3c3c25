// SPDX-License-Identifier: MIT
// Layout, little-endian, each part begins at a multiple of 64: a header of 64 bytes; centres f32[cells][dim]; starts
// u64[cells + 1]; numbers u32[rows]; scales f32[rows]; errors f32[rows]; bytes [rows][width]. Rows stand in the order
// of their cells, then of their numbers.
#include "concepts/cells.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "concepts/mine.h"
#include "concepts/mine_top.h"
#include "concepts/vectors_private.h"
#include "nn/nn.h"

#include <math.h>

enum { ROUNDS = 8, SAMPLE_EACH = 64, PIECE = 2048, MOST_CELLS = 65536 };

typedef struct {
    uint8_t magic[8];
    uint32_t dim, cells, width, fingerprint;
    uint64_t rows;
    uint32_t table_crc; // of centres and starts
    uint32_t unused[6];
    uint32_t crc; // of what stands before
} Header;
_Static_assert(sizeof(Header) == 64, "one part of 64 bytes");

static const uint8_t magic[8] = {'V', 'C', 'I', 'V', 'F', 0, 0, 1};

typedef struct {
    size_t centres, starts, numbers, scales, errors, bytes, end;
} Places;

static size_t up(size_t n)
{
    return (n + 63) / 64 * 64;
}

static Places places(const Header *h)
{
    Places p = {.centres = sizeof *h};
    p.starts = up(p.centres + (size_t)h->cells * h->dim * 4);
    p.numbers = up(p.starts + ((size_t)h->cells + 1) * 8);
    p.scales = up(p.numbers + h->rows * 4);
    p.errors = up(p.scales + h->rows * 4);
    p.bytes = up(p.errors + h->rows * 4);
    p.end = p.bytes + h->rows * h->width;
    return p;
}

struct Cells {
    VcMap map;
    Header header;
    Places at;
};

char *cells_path(const char *f16_path)
{
    VcStr path = {0};
    const size_t n = strlen(f16_path);
    vc_str_putn(&path, f16_path, vc_has_suffix(f16_path, ".f16") ? n - 4 : n);
    vc_str_put(&path, ".ivf");
    return path.data;
}

size_t cells_default(uint64_t rows)
{
    const size_t n = (size_t)sqrt((double)rows);
    return n < 1 ? 1 : n > MOST_CELLS ? MOST_CELLS : n;
}

// --- k-means ---------------------------------------------------------------------------------------------------------

typedef struct {
    const VectorsReader *r;
    VcPool *pool;
    size_t dim, cells;
    float *centres;   // [cells][dim], unit
    uint16_t *halves; // the same as float16: what rows are compared with
    float *x;         // [PIECE][dim]
    uint32_t *best;   // [PIECE]
    float *scores;    // [PIECE]
} Build;

static void put_halves(Build *b)
{
    for (size_t c = 0; c < b->cells; c++)
        vectors_unit(b->centres + c * b->dim, b->dim);
    nn_f32_to_f16_array(b->halves, b->centres, b->cells * b->dim);
}

// The cell of rows first, first + step, ...: best[n], their floats in x[n].
static bool assign(Build *b, MineTop *top, uint64_t first, uint64_t step, size_t n, VcErr *err)
{
    for (size_t i = 0; i < n; i++)
        vectors_reader_floats(b->r, first + i * step, 1, b->x + i * b->dim);
    const uint64_t last = first + (n - 1) * step;
    return mine_top_run(top, b->x, n, 1, b->best, b->scores) ||
           vc_fail(err, VC_ERR_FORMAT, "the vectors are damaged: one of rows %llu to %llu has no direction",
                   (unsigned long long)first, (unsigned long long)last);
}

static MineTop *compare_with_centres(const Build *b)
{
    const CoarseRows rows = {(const uint8_t *)b->halves, b->dim * sizeof *b->halves, b->dim};
    return mine_top_create(rows, NULL, b->cells, MINE_SLICE_BYTES, b->pool);
}

// Centres become the means of their rows in the sample; one without rows takes a row of the sample.
static bool round_of_means(Build *b, uint64_t step, uint64_t sample, uint64_t turn, VcErr *err)
{
    double *sums = vc_calloc(b->cells * b->dim, sizeof *sums);
    uint64_t *counts = vc_calloc(b->cells, sizeof *counts);
    MineTop *top = compare_with_centres(b);
    bool ok = true;
    VC_ASSERT(sample > 0);
    for (uint64_t at = 0; ok && at < sample; at += PIECE) {
        const size_t n = sample - at < PIECE ? (size_t)(sample - at) : PIECE;
        ok = assign(b, top, at * step, step, n, err);
        for (size_t i = 0; ok && i < n; i++) {
            double *sum = sums + b->best[i] * b->dim;
            for (size_t k = 0; k < b->dim; k++)
                sum[k] += b->x[i * b->dim + k];
            counts[b->best[i]]++;
        }
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    for (size_t c = 0; ok && c < b->cells; c++) {
        if (counts[c] == 0) {
            vectors_reader_floats(b->r, (c * 7919 + turn * 104729) % sample * step, 1, b->centres + c * b->dim);
            continue;
        }
        for (size_t k = 0; k < b->dim; k++)
            b->centres[c * b->dim + k] = (float)(sums[c * b->dim + k] / (double)counts[c]);
    }
    put_halves(b);
    mine_top_destroy(&top);
    free(counts);
    free(sums);
    return ok;
}

static bool find_centres(Build *b, VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(b->r), most = (uint64_t)b->cells * SAMPLE_EACH;
    const uint64_t step = rows > most ? rows / most : 1, sample = rows / step;
    for (size_t c = 0; c < b->cells; c++)
        vectors_reader_floats(b->r, c * sample / b->cells * step, 1, b->centres + c * b->dim);
    put_halves(b);
    bool ok = true;
    for (uint64_t turn = 0; ok && turn < ROUNDS && b->cells > 1; turn++)
        ok = round_of_means(b, step, sample, turn, err);
    return ok;
}

// cell[rows] of every row, and how many rows each cell has in starts[1, cells].
static bool assign_all(Build *b, uint32_t *cell, uint64_t *starts, VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(b->r);
    MineTop *top = compare_with_centres(b);
    bool ok = true;
    for (uint64_t at = 0; ok && at < rows; at += PIECE) {
        const size_t n = rows - at < PIECE ? (size_t)(rows - at) : PIECE;
        ok = assign(b, top, at, 1, n, err);
        vectors_reader_forget(b->r, at, at + n);
        for (size_t i = 0; ok && i < n; i++) {
            cell[at + i] = b->best[i];
            starts[b->best[i] + 1]++;
        }
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    mine_top_destroy(&top);
    return ok;
}

// --- writing ---------------------------------------------------------------------------------------------------------

static bool put(VcAtomicFile *f, const void *data, size_t n, VcErr *err)
{
    static const uint8_t zeros[64] = {0};
    const size_t fill = up(n) - n;
    if ((n && fwrite(data, 1, n, f->file) != n) || (fill && fwrite(zeros, 1, fill, f->file) != fill))
        return vc_fail_errno(err, "cannot write to '%s'", f->tmp);
    return true;
}

static bool write_rows(VcAtomicFile *f, const VectorsBytes *bytes, const Header *h, const uint32_t *numbers, VcErr *err)
{
    float *values = vc_alloc(h->rows, sizeof *values);
    bool ok = put(f, numbers, h->rows * sizeof *numbers, err);
    for (int part = 0; ok && part < 2; part++) {
        for (uint64_t i = 0; i < h->rows; i++) {
            const CoarseBlock row = vectors_bytes_block(bytes, numbers[i], 1);
            values[i] = part == 0 ? row.scale[0] : row.error[0];
        }
        ok = put(f, values, h->rows * sizeof *values, err);
    }
    for (uint64_t i = 0; ok && i < h->rows; i++)
        ok = put(f, vectors_bytes_block(bytes, numbers[i], 1).rows, h->width, err);
    free(values);
    return ok;
}

static bool write_file(const char *path, const Build *b, const VectorsBytes *bytes, const uint32_t *cell,
                       uint64_t *starts, VcErr *err)
{
    Header h = {.dim = (uint32_t)b->dim,
                .cells = (uint32_t)b->cells,
                .width = (uint32_t)nn_scan_width(b->dim),
                .rows = vectors_reader_rows(b->r)};
    memcpy(h.magic, magic, sizeof magic);
    h.fingerprint = vectors_fingerprint(b->r, h.rows);
    for (size_t c = 0; c < b->cells; c++)
        starts[c + 1] += starts[c];
    uint64_t *next = vc_alloc(b->cells, sizeof *next);
    memcpy(next, starts, b->cells * sizeof *next);
    uint32_t *numbers = vc_alloc(h.rows + 1, sizeof *numbers);
    for (uint64_t r = 0; r < h.rows; r++)
        numbers[next[cell[r]]++] = (uint32_t)r;
    const uint32_t crcs[2] = {vc_crc32(b->centres, b->cells * b->dim * 4), vc_crc32(starts, (b->cells + 1) * 8)};
    h.table_crc = vc_crc32(crcs, sizeof crcs);
    h.crc = vc_crc32(&h, offsetof(Header, crc));
    VcAtomicFile f = {0};
    const bool ok = vc_atomic_begin(&f, path, err) && put(&f, &h, sizeof h, err) &&
                    put(&f, b->centres, b->cells * b->dim * 4, err) && put(&f, starts, (b->cells + 1) * 8, err) &&
                    write_rows(&f, bytes, &h, numbers, err) && vc_atomic_commit(&f, err);
    vc_atomic_discard(&f);
    free(next);
    free(numbers);
    return ok;
}

bool cells_build(const char *path, const VectorsReader *r, const VectorsBytes *bytes, size_t count, VcPool *pool,
                 VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(r);
    VC_ASSERT(vectors_bytes_rows(bytes) == rows && rows > 0);
    Build b = {.r = r, .pool = pool, .dim = vectors_reader_dim(r), .cells = count > rows ? (size_t)rows : count};
    b.cells = b.cells < 1 ? 1 : b.cells > MOST_CELLS ? MOST_CELLS : b.cells;
    b.centres = vc_alloc_aligned(b.cells * b.dim, sizeof *b.centres);
    b.halves = vc_alloc_aligned(b.cells * b.dim, sizeof *b.halves);
    b.x = vc_alloc_aligned(PIECE * b.dim, sizeof *b.x);
    b.best = vc_alloc(PIECE, sizeof *b.best);
    b.scores = vc_alloc(PIECE, sizeof *b.scores);
    uint32_t *cell = vc_alloc(rows, sizeof *cell);
    uint64_t *starts = vc_calloc(b.cells + 1, sizeof *starts);
    const bool ok =
        find_centres(&b, err) && assign_all(&b, cell, starts, err) && write_file(path, &b, bytes, cell, starts, err);
    free(b.centres);
    free(b.halves);
    free(b.x);
    free(b.best);
    free(b.scores);
    free(cell);
    free(starts);
    return ok;
}

// --- reading ---------------------------------------------------------------------------------------------------------

static bool check(const Cells *c, const char *path, VcErr *err)
{
    const Header *h = &c->header;
    const uint32_t crcs[2] = {vc_crc32(c->map.data + c->at.centres, (size_t)h->cells * h->dim * 4),
                              vc_crc32(c->map.data + c->at.starts, ((size_t)h->cells + 1) * 8)};
    bool ok = vc_crc32(crcs, sizeof crcs) == h->table_crc;
    const uint64_t *starts = (const uint64_t *)(const void *)(c->map.data + c->at.starts);
    for (size_t i = 0; ok && i < h->cells; i++)
        ok = starts[i] <= starts[i + 1];
    ok = ok && starts[0] == 0 && starts[h->cells] == h->rows;
    const uint32_t *numbers = (const uint32_t *)(const void *)(c->map.data + c->at.numbers);
    for (uint64_t i = 0; ok && i < h->rows; i++)
        ok = numbers[i] < h->rows;
    return ok || vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged; make it again with 'vicha index-vectors'", path);
}

bool cells_open(Cells **out, const char *path, const VectorsReader *r, VcErr *err)
{
    *out = NULL;
    if (!vc_exists(path))
        return true;
    Cells *c = vc_calloc(1, sizeof *c);
    bool ok = vc_map_open(&c->map, path, err), fits = false;
    if (ok && (c->map.size < sizeof c->header || memcmp(c->map.data, magic, sizeof magic) != 0 ||
               vc_crc32(c->map.data, offsetof(Header, crc)) != ((const Header *)(const void *)c->map.data)->crc)) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is no file of cells, or damaged; make it with 'vicha index-vectors'",
                     path);
    }
    if (ok) {
        memcpy(&c->header, c->map.data, sizeof c->header);
        const Header *h = &c->header;
        fits = h->dim == vectors_reader_dim(r) && h->rows == vectors_reader_rows(r) && h->rows < UINT32_MAX &&
               h->width == nn_scan_width(h->dim) && h->cells > 0 && h->cells <= MOST_CELLS &&
               h->fingerprint == vectors_fingerprint(r, h->rows);
        c->at = places(h);
        if (fits && c->map.size != up(c->at.end)) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is short; make it again with 'vicha index-vectors'", path);
        }
        ok = ok && (!fits || check(c, path, err));
    }
    if (!ok || !fits)
        cells_close(&c);
    *out = c;
    return ok;
}

void cells_close(Cells **cells)
{
    if (!cells || !*cells)
        return;
    vc_map_close(&(*cells)->map);
    free(*cells);
    *cells = NULL;
}

size_t cells_count(const Cells *c)
{
    return c->header.cells;
}

void cells_nearest(const Cells *c, const float *unit, size_t n, uint32_t *cells)
{
    const size_t count = c->header.cells, dim = c->header.dim;
    const float *centres = (const float *)(const void *)(c->map.data + c->at.centres);
    float *scores = vc_alloc(count, sizeof *scores), *best = vc_alloc(n, sizeof *best);
    for (size_t i = 0; i < count; i++)
        scores[i] = nn_kernels()->dot(centres + i * dim, unit, dim);
    concepts_top_k(scores, count, n, cells, best);
    free(scores);
    free(best);
}

CoarseBlock cells_block(const Cells *c, size_t cell)
{
    const uint8_t *data = c->map.data;
    const uint64_t *starts = (const uint64_t *)(const void *)(data + c->at.starts);
    const uint64_t at = starts[cell];
    return (CoarseBlock){
        .rows = (const int8_t *)data + c->at.bytes + at * c->header.width,
        .scale = (const float *)(const void *)(data + c->at.scales) + at,
        .error = (const float *)(const void *)(data + c->at.errors) + at,
        .numbers = (const uint32_t *)(const void *)(data + c->at.numbers) + at,
        .count = (size_t)(starts[cell + 1] - at),
        .width = c->header.width,
    };
}
