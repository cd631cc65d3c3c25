// SPDX-License-Identifier: MIT
// Texts and pictures to vectors of the workspace's CLIP model. The model is loaded at the first use.
//
// Threads: any; calls wait for each other. One encoder serves all engines of a process.
#pragma once

#include "base/pool.h"
#include "query/engine.h"

#include <stdint.h>

typedef struct QueryEncoder QueryEncoder;

// `clip`: where the model is; NULL: where it was when the vectors were made (meta.active_model_path). `pool` borrowed.
QueryEncoder *query_encoder_create(const char *clip, VcPool *pool);
void query_encoder_destroy(QueryEncoder **encoder); // NULL allowed; clears

enum { QUERY_IMAGE_BYTES = 64 << 20 }; // largest picture that is decoded

// One thing to be like. Exactly one of text and bytes is set, or image_id (a stored row is read).
typedef struct {
    const char *text;
    const uint8_t *bytes; // a picture as a file holds it
    size_t size;
    int64_t image_id;
    double weight; // 0 counts as 1; negative: unlike
} QueryPrompt;

// The sum of the prompts' unit vectors, each times its weight, scaled to length 1. *vector: [*dim], freed with free().
// Errors: VC_ERR_USAGE where the workspace has no vectors or another model made them.
bool query_encode(QueryEncoder *encoder, QueryEngine *engine, const QueryPrompt *prompts, size_t count, float **vector,
                  size_t *dim, VcErr *err);
// Bytes of a picture by URL (http, https; at most QUERY_IMAGE_BYTES). *bytes is freed with free().
bool query_fetch_image(const char *url, uint8_t **bytes, size_t *n, VcErr *err);
