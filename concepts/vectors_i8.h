// SPDX-License-Identifier: MIT
// The rows of a float16 vector file as bytes with one scale a row: FILE.i8 beside FILE.f16 (docs/FORMATS.md, "Vector
// files"). Derived: it says which rows it was made from, may be removed at any time, and is never trusted for a score.
//
// Threads: an open file from any thread.
#pragma once

#include "base/pool.h"
#include "concepts/coarse.h"

typedef struct VectorsBytes VectorsBytes;

// "image-b32.f16" -> "image-b32.i8"; freed with free().
char *vectors_bytes_path(const char *f16_path);
// Makes PATH of all rows of `r`, whole or not at all. pool may be NULL.
bool vectors_bytes_build(const char *path, const VectorsReader *r, VcPool *pool, VcErr *err);
// Maps PATH. *out is NULL, and the result true, where there is none or it was made from other rows. It may have fewer
// rows than `r`: the rest was added later. A damaged header or a short file is VC_ERR_FORMAT.
bool vectors_bytes_open(VectorsBytes **out, const char *path, const VectorsReader *r, VcErr *err);
void vectors_bytes_close(VectorsBytes **b); // NULL allowed; clears
uint64_t vectors_bytes_rows(const VectorsBytes *b);
// Rows [begin, begin + n): must lie in one block of VECTORS_BLOCK_ROWS.
CoarseBlock vectors_bytes_block(const VectorsBytes *b, uint64_t begin, size_t n);
// Reads every block against its checksum in PATH.crc.
bool vectors_bytes_verify(const VectorsBytes *b, VcErr *err);
