// SPDX-License-Identifier: MIT
// What the stages and the query engine share of the database: models and vector files. Threads: one workspace, one
// thread at a time.
#pragma once

#include "base/workspace.h"
#include "concepts/vectors.h"

typedef struct {
    int64_t model_id; // -1: none
    char *name;
    int64_t dim;
    uint8_t sha256[32]; // of the weights
} ConceptsModel;

// SHA-256 of a model's weight file, or of all its shards in the order of their names.
bool concepts_hash_model(const char *dir, uint8_t out[32], VcErr *err);
// The model that meta.active_model names; model_id -1 when there is none yet.
bool concepts_active_model(VcWorkspace *ws, ConceptsModel *out, VcErr *err);
bool concepts_find_model(VcWorkspace *ws, const char *name, const uint8_t sha256[32], ConceptsModel *out, VcErr *err);
void concepts_model_finish(ConceptsModel *model); // a zeroed struct is allowed

char *concepts_vector_path(const VcWorkspace *ws, const char *kind, const char *model); // freed with free()
// vector_file.rows, 0 when there is none.
bool concepts_vector_rows(VcWorkspace *ws, int64_t model_id, const char *kind, int64_t *rows, VcErr *err);
// The active model's vectors of a kind ("image", "concept"), checked against the model. None: VC_ERR_USAGE.
bool concepts_open_vectors(VcWorkspace *ws, const char *kind, VectorsReader **out, ConceptsModel *model, VcErr *err);

// The writer of the vectors that `model` has of a kind, behind the *rows that the database counts.
bool concepts_open_writer(VcWorkspace *ws, const ConceptsModel *model, const char *kind, VectorsWriter **out,
                          int64_t *rows, VcErr *err);
// vector_file.rows, in the caller's transaction.
bool concepts_put_rows(VcWorkspace *ws, const ConceptsModel *model, const char *kind, uint64_t rows, VcErr *err);

// x: [n, d] rows scaled to length 1; a zero row stays.
void concepts_normalize(float *x, size_t n, size_t d);
