// SPDX-License-Identifier: MIT
// Derived files that make vector search fast: bytes (concepts/vectors_i8.h) and cells (concepts/cells.h) of the active
// model's images. Threads: one workspace, one thread at a time.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"

enum { INDEX_PROBES = 6 };

typedef struct {
    bool cells;   // group the rows in cells
    size_t count; // so many; 0: the square root of the rows
    bool again;   // also where the files fit the vectors
    VcPool *pool;
} IndexVectorsOptions;

// What a search that looks into `probe` cells finds of the exact 10 best.
typedef struct {
    size_t probe;
    double recall_at_10, ms; // ms: median of one query
} IndexVectorsProbe;

typedef struct {
    uint64_t rows;
    size_t dim, cells, queries;
    bool made_bytes, made_cells;
    double byte_seconds, cell_seconds, exact_ms;
    IndexVectorsProbe probes[INDEX_PROBES];
    size_t probe_count;
} IndexVectorsReport;

// Makes what is missing or stale. With cells, recall is measured with stored vectors as queries, themselves left out.
bool concepts_index_vectors(VcWorkspace *ws, const IndexVectorsOptions *options, IndexVectorsReport *report,
                            VcErr *err);
// The bytes alone, quietly, where they are missing, stale or of fewer rows: what embedding ends with.
bool concepts_index_bytes(VcWorkspace *ws, VcPool *pool, VcErr *err);
