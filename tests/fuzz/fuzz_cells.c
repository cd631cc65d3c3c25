// SPDX-License-Identifier: MIT
// The derived files of a vector file, bytes and cells, with bytes of the input put over what was written: they are
// refused, passed over, or every row and every cell that they admit can be searched. Input: records of 4 bytes, the
// file (even: bytes), a place of 2 bytes and the value; the checksums of a damaged header and of the cells' tables are
// put right, so that what is behind it is reached.
#include "base/crc32.h"
#include "base/file.h"
#include "base/mem.h"
#include "concepts/concepts.h"
#include "tests/fuzz/target.h"

#include <unistd.h>

enum { ROWS = 150, DIM = 16, CELLS = 6, BYTES_CRC = 64 };
enum {
    TABLE_CRC = 32,
    CELLS_CRC = 60,
    CENTRES = 64,
    STARTS = 448
}; // places in a file of cells, as concepts/cells.c has them

static char folder[] = "/tmp/vicha-fuzz-cells-XXXXXX";
static VectorsReader *reader;
static char *path, *paths[2], *whole[2]; // of bytes and cells
static size_t sizes[2];

static void must(bool ok, const VcErr *err)
{
    if (!ok) {
        fprintf(stderr, "%s\n", err->text);
        abort();
    }
}

static void clean_up(void)
{
    vectors_reader_close(&reader);
    static const char *const files[] = {"image-x.f16", "image-x.f16.crc", "image-x.i8", "image-x.i8.crc",
                                        "image-x.ivf"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *file = vc_path_join(folder, files[i]);
        unlink(file);
        free(file);
    }
    rmdir(folder);
    for (int i = 0; i < 2; i++) {
        free(paths[i]);
        free(whole[i]);
    }
    free(path);
}

static void make_files(void)
{
    static const uint8_t model[32] = {0};
    float x[ROWS * DIM];
    uint64_t rows;
    VcErr err = {0};
    VectorsWriter *w = NULL;
    VectorsBytes *bytes = NULL;
    VC_ASSERT(mkdtemp(folder));
    for (size_t i = 0; i < ROWS * DIM; i++)
        x[i] = (float)((i * 2654435761U >> 8) % 1000) / 500 - 1;
    path = vc_path_join(folder, "image-x.f16");
    paths[0] = vectors_bytes_path(path);
    paths[1] = cells_path(path);
    must(vectors_writer_open(&w, path, DIM, model, 0, &err) && vectors_writer_append(w, x, ROWS, &err) &&
             vectors_writer_sync(w, &rows, &err),
         &err);
    vectors_writer_close(&w);
    must(vectors_reader_open(&reader, path, ROWS, &err) && vectors_bytes_build(paths[0], reader, NULL, &err) &&
             vectors_bytes_open(&bytes, paths[0], reader, &err) &&
             cells_build(paths[1], reader, bytes, CELLS, NULL, &err),
         &err);
    vectors_bytes_close(&bytes);
    for (int i = 0; i < 2; i++)
        must(vc_read_file(&whole[i], &sizes[i], paths[i], 1 << 24, &err), &err);
    atexit(clean_up);
}

static void search(void)
{
    Nearest *n = NULL;
    VcErr err = {0};
    float query[DIM];
    for (size_t i = 0; i < DIM; i++)
        query[i] = (float)i - 7;
    must(nearest_open(&n, reader, paths[0], NULL, &err), &err); // damaged bytes are done without
    const bool cells = nearest_open_cells(n, paths[1], &err);
    VC_ASSERT(cells || err.text[0]);
    for (size_t probe = 0; probe <= (cells ? CELLS : 0); probe += 3) {
        NearestQuestion q = {.vectors = query, .count = 1, .limit = 5, .least = -2, .probe = probe};
        NearestAnswer a = {0};
        must(nearest_find(n, &q, &a, &err), &err);
        for (size_t i = 0; i < a.found[0]; i++)
            VC_ASSERT(a.hits[i].row < ROWS);
        nearest_answer_finish(&a);
    }
    nearest_close(&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!reader)
        make_files();
    for (int f = 0; f < 2; f++) {
        uint8_t *copy = vc_alloc(sizes[f], 1);
        memcpy(copy, whole[f], sizes[f]);
        size_t length = sizes[f];
        for (size_t i = 0; i + 4 <= size; i += 4) {
            const size_t at = (size_t)data[i + 1] << 8 | data[i + 2];
            if (data[i] % 2 != f)
                continue;
            if (data[i] > 250) { // cut
                length = at < length ? at : length;
            } else if (at < length) {
                copy[at] = data[i + 3];
            }
        }
        const size_t crc_at = f == 0 ? BYTES_CRC : CELLS_CRC;
        if (f == 1 && length >= STARTS + 8 * (CELLS + 1)) {
            const uint32_t parts[2] = {vc_crc32(copy + CENTRES, sizeof(float) * CELLS * DIM),
                                       vc_crc32(copy + STARTS, 8 * (CELLS + 1))};
            const uint32_t tables = vc_crc32(parts, sizeof parts);
            memcpy(copy + TABLE_CRC, &tables, sizeof tables);
        }
        if (length >= crc_at + 4) {
            const uint32_t crc = vc_crc32(copy, crc_at);
            memcpy(copy + crc_at, &crc, sizeof crc);
        }
        FILE *out = fopen(paths[f], "wb"); // nothing is synced: these are thousands
        VC_ASSERT(out && fwrite(copy, 1, length, out) == length && fclose(out) == 0);
        free(copy);
    }
    search();
    return 0;
}
