// SPDX-License-Identifier: MIT
// Layout (docs/FORMATS.md, "Vector files"), little-endian: 4096 bytes of header, then blocks of 4096 rows, the last one
// filled up with zeros. Checksums of the blocks are in PATH.crc.
#include "concepts/vectors.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "concepts/vectors_private.h"
#include "nn/nn.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vector files are little-endian and mapped as they are"
#endif

static const uint8_t magic[8] = {'V', 'C', 'V', 'E', 'C', 0, 0, 1};

enum { AT_DIM = 8, AT_DTYPE = 12, AT_ROWS = 16, AT_ROW_BYTES = 24, AT_BLOCK_ROWS = 28, AT_HASH = 32, AT_CRC = 64 };

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

static uint32_t row_bytes_of(size_t dim, uint32_t dtype)
{
    return (uint32_t)((dim * (dtype == VECTORS_F16 ? 2 : 1) + 63) / 64 * 64);
}

void vectors_header_encode(uint8_t out[VECTORS_HEADER_BYTES], size_t dim, uint32_t dtype, size_t row_bytes,
                           uint64_t rows, const uint8_t hash[32])
{
    memset(out, 0, VECTORS_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    put32(out + AT_DIM, (uint32_t)dim);
    put32(out + AT_DTYPE, dtype);
    memcpy(out + AT_ROWS, &rows, 8);
    put32(out + AT_ROW_BYTES, (uint32_t)row_bytes);
    put32(out + AT_BLOCK_ROWS, VECTORS_BLOCK_ROWS);
    memcpy(out + AT_HASH, hash, 32);
    put32(out + AT_CRC, vc_crc32(out, AT_CRC));
}

bool vectors_header_decode(VectorsHeader *h, uint32_t dtype, const uint8_t *p, size_t size, const char *path,
                           VcErr *err)
{
    if (size < VECTORS_HEADER_BYTES) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is too short for a vector file: %zu bytes, the header alone has %d",
                       path, size, VECTORS_HEADER_BYTES);
    }
    if (memcmp(p, magic, sizeof magic) != 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is no vector file: it does not start with VCVEC 1", path);
    if (get32(p + AT_CRC) != vc_crc32(p, AT_CRC))
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged: the checksum of its header is wrong", path);
    *h = (VectorsHeader){get32(p + AT_DIM), get32(p + AT_DTYPE), get32(p + AT_ROW_BYTES), 0, {0}};
    memcpy(&h->rows, p + AT_ROWS, 8);
    memcpy(h->hash, p + AT_HASH, 32);
    if (h->dtype != dtype) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' holds numbers of type %u; this program reads %s (%u) here", path,
                       h->dtype, dtype == VECTORS_F16 ? "float16" : "bytes", dtype);
    }
    if (h->dim == 0 || h->dim > VECTORS_MAX_DIM || h->row_bytes != row_bytes_of(h->dim, dtype) ||
        get32(p + AT_BLOCK_ROWS) != VECTORS_BLOCK_ROWS) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' has an impossible header: dim %u, %u bytes a row, blocks of %u rows",
                       path, h->dim, h->row_bytes, get32(p + AT_BLOCK_ROWS));
    }
    return true;
}

void vectors_unit(float *x, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)x[i] * x[i];
    const double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < dim; i++)
        x[i] = (float)(x[i] * scale);
}

static bool check_room(const VectorsHeader *h, uint64_t rows, uint64_t size, const char *path, VcErr *err)
{
    if (rows > h->rows || rows > (UINT64_MAX - VECTORS_HEADER_BYTES) / h->row_bytes ||
        VECTORS_HEADER_BYTES + rows * h->row_bytes > size) {
        return vc_fail(
            err, VC_ERR_FORMAT,
            "'%s' is short: the database counts %llu rows, its header %llu, and it has %llu bytes; remove the "
            "file and run 'vicha concepts embed' again",
            path, (unsigned long long)rows, (unsigned long long)h->rows, (unsigned long long)size);
    }
    return true;
}

// --- writer ----------------------------------------------------------------------------------------------------------

struct VectorsWriter {
    int fd, crc_fd;
    char *path, *crc_path;
    VectorsHeader header; // .rows: appended so far
    uint64_t on_disk;     // rows handed to the file
    uint8_t *block;       // the block that is being filled, [VECTORS_BLOCK_ROWS][row_bytes], zeros after the last row
};

static bool pwrite_all(int fd, const void *data, size_t n, uint64_t at, const char *path, VcErr *err)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t k = pwrite(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return vc_fail_errno(err, "cannot write to '%s'", path);
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return true;
}

static bool pread_all(int fd, void *data, size_t n, uint64_t at, const char *path, VcErr *err)
{
    uint8_t *p = data;
    while (n > 0) {
        ssize_t k = pread(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return vc_fail_errno(err, "cannot read '%s'", path);
        if (k == 0)
            return vc_fail(err, VC_ERR_FORMAT, "'%s' ends early", path);
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return true;
}

static uint64_t row_at(const VectorsHeader *h, uint64_t row)
{
    return VECTORS_HEADER_BYTES + row * h->row_bytes;
}

// A file with valid rows goes on: header checked, left-overs cut off, the unfinished block read back.
static bool continue_file(VectorsWriter *w, uint64_t rows, VcErr *err)
{
    uint8_t bytes[VECTORS_HEADER_BYTES];
    struct stat st, crc;
    VectorsHeader h = {0};
    if (fstat(w->fd, &st) != 0 || fstat(w->crc_fd, &crc) != 0)
        return vc_fail_errno(err, "cannot examine '%s'", w->path);
    size_t have = st.st_size < VECTORS_HEADER_BYTES ? (size_t)st.st_size : VECTORS_HEADER_BYTES;
    if (!pread_all(w->fd, bytes, have, 0, w->path, err) ||
        !vectors_header_decode(&h, VECTORS_F16, bytes, have, w->path, err) ||
        !check_room(&h, rows, (uint64_t)st.st_size, w->path, err))
        return false;
    if (h.dim != w->header.dim || memcmp(h.hash, w->header.hash, 32) != 0) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' was made by another model (dim %u, now %u)", w->path, h.dim,
                       w->header.dim);
    }
    uint64_t full = rows / VECTORS_BLOCK_ROWS;
    if ((uint64_t)crc.st_size < 4 * full) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is short: %lld bytes for %llu finished blocks", w->crc_path,
                       (long long)crc.st_size, (unsigned long long)full);
    }
    size_t part = (size_t)(rows % VECTORS_BLOCK_ROWS) * h.row_bytes;
    if (!pread_all(w->fd, w->block, part, row_at(&h, full * VECTORS_BLOCK_ROWS), w->path, err))
        return false;
    if (ftruncate(w->fd, (off_t)row_at(&h, rows)) != 0 || ftruncate(w->crc_fd, (off_t)(4 * full)) != 0)
        return vc_fail_errno(err, "cannot shorten '%s'", w->path);
    // VectorsHeader, zeros after the last row and the last checksum are put right at once, whatever a killed run left.
    w->header.rows = rows;
    w->on_disk = full * VECTORS_BLOCK_ROWS;
    uint64_t now;
    return vectors_writer_sync(w, &now, err);
}

bool vectors_writer_open(VectorsWriter **out, const char *path, size_t dim, const uint8_t model_hash[32], uint64_t rows,
                         VcErr *err)
{
    VC_ASSERT(dim > 0 && dim <= VECTORS_MAX_DIM);
    VectorsWriter *w = vc_calloc(1, sizeof *w);
    w->fd = w->crc_fd = -1;
    w->header =
        (VectorsHeader){.dim = (uint32_t)dim, .dtype = VECTORS_F16, .row_bytes = row_bytes_of(dim, VECTORS_F16)};
    memcpy(w->header.hash, model_hash, 32);
    w->block = vc_calloc(VECTORS_BLOCK_ROWS, w->header.row_bytes);
    w->path = vc_strdup(path);
    VcStr crc = {0};
    vc_str_putf(&crc, "%s.crc", path);
    w->crc_path = crc.data;
    int flags = O_RDWR | O_CLOEXEC | (rows == 0 ? O_CREAT | O_TRUNC : 0);
    w->fd = open(w->path, flags, 0666);
    if (w->fd >= 0)
        w->crc_fd = open(w->crc_path, flags, 0666);
    bool ok;
    if (w->fd < 0 || w->crc_fd < 0) {
        ok = vc_fail_errno(err, "cannot open '%s'", w->fd < 0 ? w->path : w->crc_path);
    } else if (rows == 0) {
        ok = vc_sync_parent(w->path, err);
    } else {
        ok = continue_file(w, rows, err);
    }
    if (!ok)
        vectors_writer_close(&w);
    *out = w;
    return ok;
}

// Rows of the current block that the file does not have yet, and the block's checksum.
static bool flush_block(VectorsWriter *w, VcErr *err)
{
    const VectorsHeader *h = &w->header;
    if (w->on_disk == h->rows)
        return true;
    uint64_t number = w->on_disk / VECTORS_BLOCK_ROWS, first = number * VECTORS_BLOCK_ROWS;
    uint32_t crc = vc_crc32(w->block, (size_t)VECTORS_BLOCK_ROWS * h->row_bytes);
    if (!pwrite_all(w->fd, w->block + (w->on_disk - first) * h->row_bytes,
                    (size_t)(h->rows - w->on_disk) * h->row_bytes, row_at(h, w->on_disk), w->path, err) ||
        !pwrite_all(w->crc_fd, &crc, sizeof crc, 4 * number, w->crc_path, err))
        return false;
    w->on_disk = h->rows;
    return true;
}

static bool inverse_norm(const float *x, size_t dim, double *out)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)x[i] * x[i];
    *out = 1 / sqrt(sum);
    return isfinite(sum) && sum > 0 && isfinite(*out);
}

bool vectors_writer_append(VectorsWriter *w, const float *x, size_t n, VcErr *err)
{
    VectorsHeader *h = &w->header;
    double scale;
    for (size_t i = 0; i < n; i++) {
        if (!inverse_norm(x + i * h->dim, h->dim, &scale)) {
            return vc_fail(err, VC_ERR_FORMAT, "vector %zu for '%s' is zero or not finite: it has no direction", i,
                           w->path);
        }
    }
    float *unit = vc_alloc(h->dim, sizeof *unit);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        size_t in_block = (size_t)(h->rows % VECTORS_BLOCK_ROWS);
        if (in_block == 0)
            memset(w->block, 0, (size_t)VECTORS_BLOCK_ROWS * h->row_bytes);
        inverse_norm(x + i * h->dim, h->dim, &scale);
        for (size_t k = 0; k < h->dim; k++)
            unit[k] = (float)(x[i * h->dim + k] * scale);
        nn_f32_to_f16_array(w->block + in_block * h->row_bytes, unit, h->dim);
        h->rows++;
        if (in_block + 1 == VECTORS_BLOCK_ROWS)
            ok = flush_block(w, err);
    }
    free(unit);
    return ok;
}

bool vectors_writer_sync(VectorsWriter *w, uint64_t *rows, VcErr *err)
{
    uint8_t bytes[VECTORS_HEADER_BYTES];
    const VectorsHeader *h = &w->header;
    vectors_header_encode(bytes, h->dim, h->dtype, h->row_bytes, h->rows, h->hash);
    uint64_t blocks = (w->header.rows + VECTORS_BLOCK_ROWS - 1) / VECTORS_BLOCK_ROWS;
    if (!flush_block(w, err) || !pwrite_all(w->fd, bytes, sizeof bytes, 0, w->path, err))
        return false;
    // The rest of the last block is zeros: a hole.
    if (ftruncate(w->fd, (off_t)row_at(&w->header, blocks * VECTORS_BLOCK_ROWS)) != 0)
        return vc_fail_errno(err, "cannot extend '%s'", w->path);
    if (!vc_sync_file(w->fd, w->path, err) || !vc_sync_file(w->crc_fd, w->crc_path, err))
        return false;
    *rows = w->header.rows;
    return true;
}

void vectors_writer_close(VectorsWriter **writer)
{
    VectorsWriter *w = writer ? *writer : NULL;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->crc_fd >= 0)
        close(w->crc_fd);
    free(w->block);
    free(w->path);
    free(w->crc_path);
    free(w);
    *writer = NULL;
}

// --- reader ----------------------------------------------------------------------------------------------------------

struct VectorsReader {
    VcMap map;
    char *path;
    VectorsHeader header;
    uint64_t rows; // in use, at most header.rows
};

bool vectors_reader_open(VectorsReader **out, const char *path, uint64_t rows, VcErr *err)
{
    VectorsReader *r = vc_calloc(1, sizeof *r);
    r->path = vc_strdup(path);
    r->rows = rows;
    bool ok = vc_map_open(&r->map, path, err) &&
              vectors_header_decode(&r->header, VECTORS_F16, r->map.data, r->map.size, path, err) &&
              check_room(&r->header, rows, r->map.size, path, err);
    if (!ok)
        vectors_reader_close(&r);
    *out = r;
    return ok;
}

void vectors_reader_close(VectorsReader **reader)
{
    VectorsReader *r = reader ? *reader : NULL;
    if (!r)
        return;
    vc_map_close(&r->map);
    free(r->path);
    free(r);
    *reader = NULL;
}

size_t vectors_reader_dim(const VectorsReader *r)
{
    return r->header.dim;
}

uint64_t vectors_reader_rows(const VectorsReader *r)
{
    return r->rows;
}

size_t vectors_reader_row_bytes(const VectorsReader *r)
{
    return r->header.row_bytes;
}

const uint8_t *vectors_reader_model(const VectorsReader *r)
{
    return r->header.hash;
}

const void *vectors_reader_data(const VectorsReader *r)
{
    return r->map.data + row_at(&r->header, 0);
}

const uint16_t *vectors_reader_row(const VectorsReader *r, uint64_t row)
{
    VC_ASSERT(row < r->rows);
    return (const uint16_t *)(const void *)(r->map.data + row_at(&r->header, row));
}

void vectors_reader_floats(const VectorsReader *r, uint64_t begin, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        nn_f16_to_f32_array(x + i * r->header.dim, vectors_reader_row(r, begin + i), r->header.dim);
}

void vectors_reader_forget(const VectorsReader *r, uint64_t begin, uint64_t end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (size_t)row_at(&r->header, begin) / page * page; // rows before `begin` on this page are done with too
    size_t to = (size_t)row_at(&r->header, end < r->rows ? end : r->rows) / page * page;
    if (to > from)
        madvise((void *)(uintptr_t)(r->map.data + from), to - from, MADV_DONTNEED); // only advice: failing is harmless
}

uint32_t vectors_fingerprint(const VectorsReader *r, uint64_t rows)
{
    const uint64_t full = rows / VECTORS_BLOCK_ROWS, first = full * VECTORS_BLOCK_ROWS;
    VcStr path = {0}, all = {0};
    vc_str_putf(&path, "%s.crc", r->path);
    VcMap crc = {0};
    VcErr none = {0};
    // Without its checksums a file has a number of its own: what was derived from it is made again.
    if (vc_map_open(&crc, path.data, &none) && crc.size / 4 >= full)
        vc_str_putn(&all, (const char *)crc.data, (size_t)full * 4);
    const uint32_t rest =
        vc_crc32(r->map.data + row_at(&r->header, first), (size_t)(rows - first) * r->header.row_bytes);
    vc_str_putn(&all, (const char *)&rest, sizeof rest);
    vc_str_putn(&all, (const char *)&rows, sizeof rows);
    const uint32_t number = vc_crc32(all.data, all.len);
    vc_map_close(&crc);
    vc_str_finish(&path);
    vc_str_finish(&all);
    return number;
}

// The last block is written again with every sync, so a newer, uncommitted version may lie there: it is compared only
// when the rows in use are all the file has.
bool vectors_reader_verify(const VectorsReader *r, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s.crc", r->path);
    VcMap crc = {0};
    bool ok = vc_map_open(&crc, path.data, err);
    uint64_t blocks = r->rows / VECTORS_BLOCK_ROWS;
    if (r->rows == r->header.rows && r->rows % VECTORS_BLOCK_ROWS)
        blocks++;
    size_t bytes = (size_t)VECTORS_BLOCK_ROWS * r->header.row_bytes;
    if (ok && crc.size / 4 < blocks) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is short: %zu bytes for %llu blocks", path.data, crc.size,
                     (unsigned long long)blocks);
    }
    for (uint64_t i = 0; ok && i < blocks; i++) {
        uint64_t at = row_at(&r->header, i * VECTORS_BLOCK_ROWS);
        if (at + bytes > r->map.size) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is short: block %llu ends past the file", r->path,
                         (unsigned long long)i);
        } else if (vc_crc32(r->map.data + at, bytes) != get32(crc.data + 4 * i)) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' is damaged: the checksum of block %llu (rows %llu to %llu) is wrong",
                         r->path, (unsigned long long)i, (unsigned long long)i * VECTORS_BLOCK_ROWS,
                         (unsigned long long)(i + 1) * VECTORS_BLOCK_ROWS - 1);
        }
    }
    vc_map_close(&crc);
    vc_str_finish(&path);
    return ok;
}
