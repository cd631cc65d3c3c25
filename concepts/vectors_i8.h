// SPDX-License-Identifier: MIT
// The rows of a float16 vector file as bytes with one scale a row, and rotated as nibbles: FILE.i8 beside FILE.f16
// (docs/FORMATS.md, "Vector files"). Derived: it says which rows it was made from, may be removed at any time, and is
// never trusted for a score.
//
// Nibbles stand for what is left of the unit rows without their mean: vectors lie in a cone, and what is left is
// smaller. What a row of n such rotated numbers loses is a vector of length L at right angles to it, .11 of its length,
// in a direction drawn by the rotation. Its product with a unit vector has a deviation of at most L / sqrt(n - 1); the
// `error` of the row is 7 of these, which a random direction passes with a chance below 10^-11.
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
// The same rows as nibbles, for queries of vectors_nibbles_width(dim) numbers made by vectors_nibbles_query.
CoarseBlock vectors_bytes_nibbles(const VectorsBytes *b, uint64_t begin, size_t n);
size_t vectors_nibbles_width(size_t dim);
// The product of x[dim] with the mean: what the cosine of a row has beside the product of its nibbles.
float vectors_nibbles_base(const VectorsBytes *b, const float *x);
// to[vectors_nibbles_width(dim)] = x[dim], filled up with zeros and rotated.
void vectors_nibbles_query(float *to, const float *x, size_t dim);
// Reads every block against its checksum in PATH.crc.
bool vectors_bytes_verify(const VectorsBytes *b, VcErr *err);
