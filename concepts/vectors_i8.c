// SPDX-License-Identifier: MIT
// Layout: the header of vector files with type 2; blocks of 4096 rows of bytes and their 4096 float scales; blocks of
// the same rows as nibbles, their 4096 float scales and 4096 float errors; then the 4096 float errors of every block of
// bytes; the mean of the unit rows, which is taken off before they become nibbles, as floats; then a u32 over the rows
// this was made from and a u32 CRC-32 of errors, mean and that.
#include "concepts/vectors_i8.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "concepts/rotation.h"
#include "concepts/vectors_private.h"
#include "nn/nn.h"

#include <math.h>

enum { TAIL = 8, BLOCK_FLOATS = VECTORS_BLOCK_ROWS * (int)sizeof(float) };

static const double deviations = 7; // of the product of what nibbles lose

struct VectorsBytes {
    VcMap map;
    char *path;
    size_t dim, width, wide; // wide: numbers of a row of nibbles
    uint64_t rows;
};

static size_t block_bytes(size_t width)
{
    return VECTORS_BLOCK_ROWS * width + BLOCK_FLOATS;
}

static size_t nibble_block_bytes(size_t wide)
{
    return VECTORS_BLOCK_ROWS * wide / 2 + 2 * (size_t)BLOCK_FLOATS;
}

static uint64_t blocks_of(uint64_t rows)
{
    return (rows + VECTORS_BLOCK_ROWS - 1) / VECTORS_BLOCK_ROWS;
}

char *vectors_bytes_path(const char *f16_path)
{
    VcStr path = {0};
    const size_t n = strlen(f16_path);
    vc_str_putn(&path, f16_path, vc_has_suffix(f16_path, ".f16") ? n - 4 : n);
    vc_str_put(&path, ".i8");
    return path.data;
}

size_t vectors_nibbles_width(size_t dim)
{
    return (dim + NN_SCAN_NIBBLES - 1) / NN_SCAN_NIBBLES * NN_SCAN_NIBBLES;
}

void vectors_nibbles_query(float *to, const float *x, size_t dim)
{
    const size_t wide = vectors_nibbles_width(dim);
    memcpy(to, x, dim * sizeof *to);
    memset(to + dim, 0, (wide - dim) * sizeof *to);
    rotation_apply(to, wide);
}

// --- building --------------------------------------------------------------------------------------------------------

typedef struct {
    const VectorsReader *r;
    uint64_t first;
    size_t dim, width, wide;
    uint8_t *block;    // of bytes, or of nibbles: rows, scales, errors of nibbles
    float *errors;     // [rows of whole blocks] of bytes
    const float *mean; // [dim]
    float *work;       // [threads][dim + wide]
} Build;

static float *unit_row(const Build *b, size_t i, size_t worker)
{
    float *x = b->work + worker * (b->dim + b->wide);
    vectors_reader_floats(b->r, b->first + i, 1, x);
    vectors_unit(x, b->dim);
    return x;
}

static void make_bytes(void *ctx, size_t begin, size_t end, size_t worker)
{
    Build *b = ctx;
    float *scales = (float *)(void *)(b->block + VECTORS_BLOCK_ROWS * b->width), length;
    for (size_t i = begin; i < end; i++) {
        const float *x = unit_row(b, i, worker);
        float *error = &b->errors[b->first + i];
        nn_scan_quantize((int8_t *)b->block + i * b->width, &scales[i], error, &length, x, b->dim);
        coarse_never_left_out(&scales[i], error);
    }
}

static void make_nibbles(void *ctx, size_t begin, size_t end, size_t worker)
{
    Build *b = ctx;
    float *scales = (float *)(void *)(b->block + VECTORS_BLOCK_ROWS * b->wide / 2);
    float *errors = scales + VECTORS_BLOCK_ROWS;
    const double share = deviations / sqrt((double)b->wide - 1);
    for (size_t i = begin; i < end; i++) {
        float *x = unit_row(b, i, worker), *rotated = x + b->dim;
        for (size_t k = 0; k < b->dim; k++)
            x[k] -= b->mean[k];
        vectors_nibbles_query(rotated, x, b->dim);
        nn_scan_nibbles(b->block + i * b->wide / 2, &scales[i], &errors[i], rotated, b->wide);
        errors[i] = (float)(errors[i] * (share < 1 ? share : 1));
        coarse_never_left_out(&scales[i], &errors[i]);
    }
}

static bool put(VcAtomicFile *f, const void *data, size_t n, VcErr *err)
{
    return n == 0 || fwrite(data, 1, n, f->file) == n || vc_fail_errno(err, "cannot write to '%s'", f->tmp);
}

static bool write_blocks(Build *b, void (*make)(void *, size_t, size_t, size_t), size_t bytes, VcAtomicFile *f,
                         VcAtomicFile *sums, VcPool *pool, VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(b->r);
    bool ok = true;
    for (b->first = 0; ok && b->first < rows; b->first += VECTORS_BLOCK_ROWS) {
        const uint64_t left = rows - b->first;
        const size_t n = left < VECTORS_BLOCK_ROWS ? (size_t)left : VECTORS_BLOCK_ROWS;
        memset(b->block, 0, bytes);
        vc_parallel_for(pool, n, 64, make, b);
        vectors_reader_forget(b->r, b->first, b->first + n);
        const uint32_t crc = vc_crc32(b->block, bytes);
        ok = put(f, b->block, bytes, err) && put(sums, &crc, sizeof crc, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    return ok;
}

// Of rows at even distances, up to MEAN_ROWS of them. What is not finite does not count.
static void find_mean(const Build *b, float *mean)
{
    enum { MEAN_ROWS = 1 << 16 };
    const uint64_t rows = vectors_reader_rows(b->r), n = rows < MEAN_ROWS ? rows : MEAN_ROWS;
    double *sum = vc_calloc(b->dim, sizeof *sum);
    float *x = b->work;
    for (uint64_t i = 0; i < n; i++) {
        vectors_reader_floats(b->r, rows * i / n, 1, x);
        vectors_unit(x, b->dim);
        for (size_t k = 0; k < b->dim; k++)
            sum[k] += isfinite(x[k]) ? (double)x[k] : 0;
    }
    for (size_t k = 0; k < b->dim; k++)
        mean[k] = n ? (float)(sum[k] / (double)n) : 0;
    vectors_reader_forget(b->r, 0, rows);
    free(sum);
}

bool vectors_bytes_build(const char *path, const VectorsReader *r, VcPool *pool, VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(r);
    const size_t dim = vectors_reader_dim(r);
    Build b = {.r = r, .dim = dim, .width = nn_scan_width(dim), .wide = vectors_nibbles_width(dim)};
    const size_t bytes = block_bytes(b.width), nibbles = nibble_block_bytes(b.wide);
    uint8_t header[VECTORS_HEADER_BYTES];
    vectors_header_encode(header, dim, VECTORS_I8, b.width, rows, vectors_reader_model(r));
    b.block = vc_alloc_aligned(bytes > nibbles ? bytes : nibbles, 1);
    b.work = vc_alloc(vc_pool_threads(pool) * (dim + b.wide), sizeof *b.work);
    const size_t error_bytes = (size_t)blocks_of(rows) * BLOCK_FLOATS, mean_bytes = dim * sizeof(float);
    b.errors = vc_calloc(error_bytes + mean_bytes + TAIL, 1);
    float *mean = b.errors + error_bytes / sizeof *mean;
    find_mean(&b, mean);
    b.mean = mean;
    VcStr sums_path = {0};
    vc_str_putf(&sums_path, "%s.crc", path);
    VcAtomicFile f = {0}, sums = {0};
    bool ok = vc_atomic_begin(&f, path, err) && vc_atomic_begin(&sums, sums_path.data, err) &&
              put(&f, header, sizeof header, err) && write_blocks(&b, make_bytes, bytes, &f, &sums, pool, err) &&
              write_blocks(&b, make_nibbles, nibbles, &f, &sums, pool, err);
    uint8_t *tail = (uint8_t *)(mean + dim);
    uint32_t of = ok ? vectors_fingerprint(r, rows) : 0;
    memcpy(tail, &of, sizeof of);
    const uint32_t crc = vc_crc32(b.errors, error_bytes + mean_bytes + 4);
    memcpy(tail + 4, &crc, sizeof crc);
    // The checksums first: a file without its own is only ever the old one.
    ok = ok && put(&f, b.errors, error_bytes + mean_bytes + TAIL, err) && vc_atomic_commit(&sums, err) &&
         vc_atomic_commit(&f, err);
    vc_atomic_discard(&f);
    vc_atomic_discard(&sums);
    vc_str_finish(&sums_path);
    free(b.errors);
    free(b.work);
    free(b.block);
    return ok;
}

// --- reading ---------------------------------------------------------------------------------------------------------

static const uint8_t *nibbles_of(const VectorsBytes *b)
{
    return b->map.data + VECTORS_HEADER_BYTES + blocks_of(b->rows) * block_bytes(b->width);
}

static const uint8_t *errors_of(const VectorsBytes *b)
{
    return nibbles_of(b) + blocks_of(b->rows) * nibble_block_bytes(b->wide);
}

static bool check(const VectorsBytes *b, VcErr *err)
{
    const uint64_t blocks = blocks_of(b->rows), all = VECTORS_HEADER_BYTES + b->dim * sizeof(float) + TAIL,
                   block = block_bytes(b->width) + nibble_block_bytes(b->wide) + BLOCK_FLOATS;
    if (blocks > (SIZE_MAX - all) / block || all + blocks * block != b->map.size) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' has not the size of its %llu rows: remove it, or make it again with 'vicha index-vectors'",
                       b->path, (unsigned long long)b->rows);
    }
    const uint8_t *errors = errors_of(b);
    const size_t n = (size_t)blocks * BLOCK_FLOATS + b->dim * sizeof(float) + 4;
    uint32_t crc;
    memcpy(&crc, errors + n, sizeof crc);
    if (crc != vc_crc32(errors, n)) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged: remove it, or make it again with 'vicha index-vectors'",
                       b->path);
    }
    return true;
}

bool vectors_bytes_open(VectorsBytes **out, const char *path, const VectorsReader *r, VcErr *err)
{
    *out = NULL;
    if (!vc_exists(path))
        return true;
    VectorsBytes *b = vc_calloc(1, sizeof *b);
    b->path = vc_strdup(path);
    b->dim = vectors_reader_dim(r);
    b->width = nn_scan_width(b->dim);
    b->wide = vectors_nibbles_width(b->dim);
    VectorsHeader h = {0};
    bool ok =
        vc_map_open(&b->map, path, err) && vectors_header_decode(&h, VECTORS_I8, b->map.data, b->map.size, path, err);
    bool fits = ok && h.dim == vectors_reader_dim(r) && memcmp(h.hash, vectors_reader_model(r), 32) == 0 &&
                h.rows <= vectors_reader_rows(r) && h.rows < UINT32_MAX;
    if (fits) {
        uint32_t of;
        b->rows = h.rows;
        ok = check(b, err);
        if (ok)
            memcpy(&of, b->map.data + b->map.size - TAIL, sizeof of);
        fits = ok && of == vectors_fingerprint(r, h.rows);
    }
    if (!ok || !fits)
        vectors_bytes_close(&b);
    *out = b;
    return ok;
}

void vectors_bytes_close(VectorsBytes **bytes)
{
    VectorsBytes *b = bytes ? *bytes : NULL;
    if (!b)
        return;
    vc_map_close(&b->map);
    free(b->path);
    free(b);
    *bytes = NULL;
}

uint64_t vectors_bytes_rows(const VectorsBytes *b)
{
    return b->rows;
}

CoarseBlock vectors_bytes_block(const VectorsBytes *b, uint64_t begin, size_t n)
{
    const uint64_t number = begin / VECTORS_BLOCK_ROWS, at = begin % VECTORS_BLOCK_ROWS;
    VC_ASSERT(begin + n <= b->rows && at + n <= VECTORS_BLOCK_ROWS);
    const uint8_t *block = b->map.data + VECTORS_HEADER_BYTES + number * block_bytes(b->width);
    return (CoarseBlock){
        .rows = (const int8_t *)block + at * b->width,
        .scale = (const float *)(const void *)(block + VECTORS_BLOCK_ROWS * b->width) + at,
        .error = (const float *)(const void *)errors_of(b) + begin,
        .count = n,
        .width = b->width,
        .first = (uint32_t)begin,
    };
}

CoarseBlock vectors_bytes_nibbles(const VectorsBytes *b, uint64_t begin, size_t n)
{
    const uint64_t number = begin / VECTORS_BLOCK_ROWS, at = begin % VECTORS_BLOCK_ROWS;
    VC_ASSERT(begin + n <= b->rows && at + n <= VECTORS_BLOCK_ROWS);
    const uint8_t *block = nibbles_of(b) + number * nibble_block_bytes(b->wide);
    const float *scales = (const float *)(const void *)(block + VECTORS_BLOCK_ROWS * b->wide / 2);
    return (CoarseBlock){
        .nibbles = block + at * b->wide / 2,
        .scale = scales + at,
        .error = scales + VECTORS_BLOCK_ROWS + at,
        .count = n,
        .width = b->wide,
        .first = (uint32_t)begin,
    };
}

float vectors_nibbles_base(const VectorsBytes *b, const float *x)
{
    const float *mean = (const float *)(const void *)(errors_of(b) + blocks_of(b->rows) * BLOCK_FLOATS);
    double sum = 0;
    for (size_t i = 0; i < b->dim; i++)
        sum += (double)mean[i] * x[i];
    return (float)sum;
}

bool vectors_bytes_verify(const VectorsBytes *b, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s.crc", b->path);
    VcMap sums = {0};
    const uint64_t blocks = blocks_of(b->rows);
    bool ok = vc_map_open(&sums, path.data, err);
    if (ok && sums.size != 8 * blocks) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' has %zu bytes for two times %llu blocks", path.data, sums.size,
                     (unsigned long long)blocks);
    }
    const uint8_t *at = b->map.data + VECTORS_HEADER_BYTES;
    for (uint64_t i = 0; ok && i < 2 * blocks; i++) {
        const size_t bytes = i < blocks ? block_bytes(b->width) : nibble_block_bytes(b->wide);
        uint32_t crc;
        memcpy(&crc, sums.data + 4 * i, sizeof crc);
        if (vc_crc32(at, bytes) != crc) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged: the checksum of block %llu%s is wrong", b->path,
                         (unsigned long long)(i % blocks), i < blocks ? "" : " of nibbles");
        }
        at += bytes;
    }
    vc_map_close(&sums);
    vc_str_finish(&path);
    return ok;
}
