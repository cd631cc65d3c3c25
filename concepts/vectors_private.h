// SPDX-License-Identifier: MIT
// Private to concepts/: the header that all vector files share. Threads: any.
#pragma once

#include "concepts/vectors.h"

typedef struct {
    uint32_t dim, dtype, row_bytes;
    uint64_t rows;
    uint8_t hash[32];
} VectorsHeader;

void vectors_header_encode(uint8_t out[VECTORS_HEADER_BYTES], size_t dim, uint32_t dtype, size_t row_bytes,
                           uint64_t rows, const uint8_t hash[32]);
// A file of another dtype than `dtype`, or with an impossible header, is VC_ERR_FORMAT.
bool vectors_header_decode(VectorsHeader *h, uint32_t dtype, const uint8_t *bytes, size_t size, const char *path,
                           VcErr *err);

// x[dim] divided by its length; zeros stay.
void vectors_unit(float *x, size_t dim);
// A number over rows [0, rows): of the checksums of whole blocks, and of what the last, unfinished one holds. Files
// derived from these rows keep it to know when they have become others.
uint32_t vectors_fingerprint(const VectorsReader *r, uint64_t rows);
