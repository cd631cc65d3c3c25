// SPDX-License-Identifier: MIT
// Files of float16 vectors, one L2-normalised row an image or concept (docs/FORMATS.md, "Vector files").
//
// Rule: the database says how many rows a file has (`vector_file.rows`); rows past that are left-overs of a killed
// run and are overwritten. A writer makes rows durable first (vectors_writer_sync), then the caller commits the number.
// Threads: a writer belongs to one thread at a time; a reader to any.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { VECTORS_HEADER_BYTES = 4096, VECTORS_BLOCK_ROWS = 4096, VECTORS_MAX_DIM = 65536 };
enum { VECTORS_F16 = 1, VECTORS_I8 = 2 };

typedef struct VectorsWriter VectorsWriter;

// Opens PATH with `rows` valid rows, or makes it when rows is 0. What lies past `rows` is cut off. A file that has
// fewer rows, another dim or another model hash is an error (VC_ERR_FORMAT).
bool vectors_writer_open(VectorsWriter **out, const char *path, size_t dim, const uint8_t model_hash[32], uint64_t rows,
                         VcErr *err);
// x: [n, dim] floats of any length; stored divided by their L2 norm. A row of zeros or with a NaN or infinity is an
// error and nothing of the call is kept.
bool vectors_writer_append(VectorsWriter *w, const float *x, size_t n, VcErr *err);
// Everything appended is on disk with header and block checksums when this returns. *rows: how many there are now.
bool vectors_writer_sync(VectorsWriter *w, uint64_t *rows, VcErr *err);
void vectors_writer_close(VectorsWriter **w); // without a sync: rows since the last one are lost

typedef struct VectorsReader VectorsReader;
// Maps PATH read-only and checks its header against the file's size; `rows` of it are used. More rows than the file
// has is an error.
bool vectors_reader_open(VectorsReader **out, const char *path, uint64_t rows, VcErr *err);
void vectors_reader_close(VectorsReader **r); // NULL allowed; clears
size_t vectors_reader_dim(const VectorsReader *r);
uint64_t vectors_reader_rows(const VectorsReader *r);
size_t vectors_reader_row_bytes(const VectorsReader *r);                  // from one row to the next
const uint8_t *vectors_reader_model(const VectorsReader *r);              // 32 bytes
const void *vectors_reader_data(const VectorsReader *r);                  // row 0
const uint16_t *vectors_reader_row(const VectorsReader *r, uint64_t row); // [dim] float16, borrowed from the map
// Rows [begin, begin + n) as floats, x: [n, dim].
void vectors_reader_floats(const VectorsReader *r, uint64_t begin, size_t n, float *x);
// These rows will not be read again soon: their pages leave this process's memory, so that a pass over a file of any
// length stays small. Reading them again is allowed.
void vectors_reader_forget(const VectorsReader *r, uint64_t begin, uint64_t end);
// Reads every whole block of the valid rows against its checksum in PATH.crc.
bool vectors_reader_verify(const VectorsReader *r, VcErr *err);
