// SPDX-License-Identifier: MIT
// An inverted file over a vector file: rows grouped in cells by k-means, so that a search may look into few of them
// (Jegou, Douze and Schmid, 2011). FILE.ivf beside FILE.f16; derived, made from the file of bytes.
//
// Answers are no longer exact: cells_recall measures by how much. Threads: an open file from any thread.
#pragma once

#include "base/pool.h"
#include "concepts/coarse.h"
#include "concepts/vectors_i8.h"

typedef struct Cells Cells;

// "image-b32.f16" -> "image-b32.ivf"; freed with free().
char *cells_path(const char *f16_path);
// A number of cells that suits so many rows: their square root.
size_t cells_default(uint64_t rows);
// Makes PATH: `count` centres by k-means on at most 64 rows a cell, then every row beside its nearest. The same bytes
// for any number of threads. bytes must have all rows of `r`.
bool cells_build(const char *path, const VectorsReader *r, const VectorsBytes *bytes, size_t count, VcPool *pool,
                 VcErr *err);
// *out is NULL, and the result true, where there is no file or it was made from other rows than all those of `r`.
bool cells_open(Cells **out, const char *path, const VectorsReader *r, VcErr *err);
void cells_close(Cells **c); // NULL allowed; clears
size_t cells_count(const Cells *c);
// The `n` cells whose centres are nearest to unit[dim], nearest first; n up to cells_count.
void cells_nearest(const Cells *c, const float *unit, size_t n, uint32_t *cells);
CoarseBlock cells_block(const Cells *c, size_t cell); // its rows, with their numbers
