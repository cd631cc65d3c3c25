// SPDX-License-Identifier: MIT
// Any bytes as a vector file: it is refused, or every row it admits can be read to its last number.
#include "concepts/concepts.h"

#include "base/err.h"
#include "base/mem.h"
#include "tests/fuzz/target.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

static void read_rows(const char *path, uint64_t rows)
{
    VectorsReader *r = NULL;
    VcErr err = {0};
    if (!vectors_reader_open(&r, path, rows, &err)) {
        VC_ASSERT(err.code != VC_OK && err.text[0] != 0 && r == NULL);
        return;
    }
    size_t dim = vectors_reader_dim(r);
    float *x = vc_alloc(dim, sizeof *x);
    uint64_t step = rows / 64 + 1;
    for (uint64_t i = 0; i < rows; i += step)
        vectors_reader_floats(r, i, 1, x);
    if (rows)
        vectors_reader_floats(r, rows - 1, 1, x);
    vectors_reader_verify(r, NULL);
    free(x);
    vectors_reader_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int fd = memfd_create("input", MFD_CLOEXEC);
    VC_ASSERT(fd >= 0);
    VC_ASSERT(write(fd, data, size) == (ssize_t)size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    uint64_t rows = 0;
    if (size >= 68) {
        // Most inputs should get past the header's checksum.
        uint32_t crc = (uint32_t)crc32_z(0, data, 64);
        VC_ASSERT(pwrite(fd, &crc, sizeof crc, 64) == (ssize_t)sizeof crc);
        memcpy(&rows, data + 16, sizeof rows);
    }
    const uint64_t tries[] = {0, 1, rows, rows + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        read_rows(path, tries[i]);
    close(fd);
    return 0;
}
