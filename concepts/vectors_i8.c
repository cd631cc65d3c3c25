// SPDX-License-Identifier: MIT
// Layout: the header of vector files with type 2; blocks of 4096 rows of bytes and their 4096 float scales; then the
// 4096 float errors of every block; then a u32 over the rows this was made from and a u32 CRC-32 of errors and that.
#include "concepts/vectors_i8.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "concepts/vectors_private.h"
#include "nn/nn.h"

#include <math.h>

enum { TAIL = 8, BLOCK_FLOATS = VECTORS_BLOCK_ROWS * (int)sizeof(float) };

struct VectorsBytes {
    VcMap map;
    char *path;
    size_t width;
    uint64_t rows;
};

static size_t block_bytes(size_t width)
{
    return VECTORS_BLOCK_ROWS * width + BLOCK_FLOATS;
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

// --- building --------------------------------------------------------------------------------------------------------

typedef struct {
    const VectorsReader *r;
    uint64_t first;
    size_t width, dim;
    int8_t *rows;         // [VECTORS_BLOCK_ROWS][width]
    float *scale, *error; // [VECTORS_BLOCK_ROWS]
    float *work;          // [threads][dim]
} Build;

static void quantize_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    Build *b = ctx;
    float *x = b->work + worker * b->dim, length;
    for (size_t i = begin; i < end; i++) {
        vectors_reader_floats(b->r, b->first + i, 1, x);
        vectors_unit(x, b->dim);
        nn_scan_quantize(b->rows + i * b->width, &b->scale[i], &b->error[i], &length, x, b->dim);
        coarse_never_left_out(&b->scale[i], &b->error[i]);
    }
}

static bool put(VcAtomicFile *f, const void *data, size_t n, VcErr *err)
{
    return n == 0 || fwrite(data, 1, n, f->file) == n || vc_fail_errno(err, "cannot write to '%s'", f->tmp);
}

static bool write_blocks(Build *b, VcAtomicFile *f, VcAtomicFile *sums, float *errors, VcPool *pool, VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(b->r);
    bool ok = true;
    for (b->first = 0; ok && b->first < rows; b->first += VECTORS_BLOCK_ROWS) {
        const uint64_t left = rows - b->first;
        const size_t n = left < VECTORS_BLOCK_ROWS ? (size_t)left : VECTORS_BLOCK_ROWS;
        memset(b->rows, 0, block_bytes(b->width));
        b->error = errors + b->first;
        vc_parallel_for(pool, n, 64, quantize_rows, b);
        vectors_reader_forget(b->r, b->first, b->first + n);
        const uint32_t crc = vc_crc32(b->rows, block_bytes(b->width));
        ok = put(f, b->rows, block_bytes(b->width), err) && put(sums, &crc, sizeof crc, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    return ok;
}

bool vectors_bytes_build(const char *path, const VectorsReader *r, VcPool *pool, VcErr *err)
{
    const uint64_t rows = vectors_reader_rows(r);
    const size_t dim = vectors_reader_dim(r), width = nn_scan_width(dim);
    Build b = {.r = r, .width = width, .dim = dim};
    uint8_t header[VECTORS_HEADER_BYTES];
    vectors_header_encode(header, dim, VECTORS_I8, width, rows, vectors_reader_model(r));
    b.rows = vc_alloc_aligned(block_bytes(width), 1);
    b.scale = (float *)(void *)(b.rows + VECTORS_BLOCK_ROWS * width);
    b.work = vc_alloc(vc_pool_threads(pool) * dim, sizeof *b.work);
    const size_t error_bytes = (size_t)blocks_of(rows) * BLOCK_FLOATS;
    float *errors = vc_calloc(error_bytes + TAIL, 1);
    VcStr sums_path = {0};
    vc_str_putf(&sums_path, "%s.crc", path);
    VcAtomicFile f = {0}, sums = {0};
    bool ok = vc_atomic_begin(&f, path, err) && vc_atomic_begin(&sums, sums_path.data, err) &&
              put(&f, header, sizeof header, err) && write_blocks(&b, &f, &sums, errors, pool, err);
    uint8_t *tail = (uint8_t *)errors + error_bytes;
    uint32_t of = ok ? vectors_fingerprint(r, rows) : 0;
    memcpy(tail, &of, sizeof of);
    const uint32_t crc = vc_crc32(errors, error_bytes + 4);
    memcpy(tail + 4, &crc, sizeof crc);
    // The checksums first: a file without its own is only ever the old one.
    ok = ok && put(&f, errors, error_bytes + TAIL, err) && vc_atomic_commit(&sums, err) && vc_atomic_commit(&f, err);
    vc_atomic_discard(&f);
    vc_atomic_discard(&sums);
    vc_str_finish(&sums_path);
    free(errors);
    free(b.work);
    free(b.rows);
    return ok;
}

// --- reading ---------------------------------------------------------------------------------------------------------

static bool check(const VectorsBytes *b, uint64_t rows, VcErr *err)
{
    const uint64_t most = (SIZE_MAX - VECTORS_HEADER_BYTES - TAIL) / (block_bytes(b->width) + BLOCK_FLOATS);
    if (blocks_of(rows) > most ||
        VECTORS_HEADER_BYTES + blocks_of(rows) * (block_bytes(b->width) + BLOCK_FLOATS) + TAIL != b->map.size) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' has not the size of its %llu rows: remove it, or make it again with 'vicha index-vectors'",
                       b->path, (unsigned long long)rows);
    }
    const uint8_t *errors = b->map.data + VECTORS_HEADER_BYTES + blocks_of(rows) * block_bytes(b->width);
    const size_t n = (size_t)blocks_of(rows) * BLOCK_FLOATS + 4;
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
    b->width = nn_scan_width(vectors_reader_dim(r));
    VectorsHeader h = {0};
    bool ok =
        vc_map_open(&b->map, path, err) && vectors_header_decode(&h, VECTORS_I8, b->map.data, b->map.size, path, err);
    bool fits = ok && h.dim == vectors_reader_dim(r) && memcmp(h.hash, vectors_reader_model(r), 32) == 0 &&
                h.rows <= vectors_reader_rows(r) && h.rows < UINT32_MAX;
    if (fits) {
        uint32_t of;
        b->rows = h.rows;
        ok = check(b, h.rows, err);
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
    const uint8_t *errors = b->map.data + VECTORS_HEADER_BYTES + blocks_of(b->rows) * block_bytes(b->width);
    return (CoarseBlock){
        .rows = (const int8_t *)block + at * b->width,
        .scale = (const float *)(const void *)(block + VECTORS_BLOCK_ROWS * b->width) + at,
        .error = (const float *)(const void *)errors + begin,
        .count = n,
        .width = b->width,
        .first = (uint32_t)begin,
    };
}

bool vectors_bytes_verify(const VectorsBytes *b, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s.crc", b->path);
    VcMap sums = {0};
    bool ok = vc_map_open(&sums, path.data, err);
    if (ok && sums.size != 4 * blocks_of(b->rows)) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' has %zu bytes for %llu blocks", path.data, sums.size,
                     (unsigned long long)blocks_of(b->rows));
    }
    for (uint64_t i = 0; ok && i < blocks_of(b->rows); i++) {
        uint32_t crc;
        memcpy(&crc, sums.data + 4 * i, sizeof crc);
        if (vc_crc32(b->map.data + VECTORS_HEADER_BYTES + i * block_bytes(b->width), block_bytes(b->width)) != crc) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged: the checksum of block %llu is wrong", b->path,
                         (unsigned long long)i);
        }
    }
    vc_map_close(&sums);
    vc_str_finish(&path);
    return ok;
}
