// SPDX-License-Identifier: MIT
// One record of our columns: which column is what, and the checks that go beyond the encodings. Inside index/ only.
// Threads: any.
#pragma once

#include "index/mds.h"
#include "index/reader.h"

// Column numbers in the schema, -1 where the set has none.
typedef struct {
    int image_id, image, image_z, image_size;
    int caption, captions, caption_ids, caption_lens;
    int concept_ids, concept_scores, concept_tokens, concept_lens, concepts;
} RecordColumns;

// False when a column of ours has another encoding than ours, or when image_id or an image column is missing.
bool record_columns_find(RecordColumns *out, const MdsSchema *schema, VcErr *err);
// Parses and checks the bytes of one record. The reason alone.
bool record_decode(const MdsSchema *schema, const RecordColumns *columns, const uint8_t *data, size_t n,
                   int32_t vocabulary, IndexRecord *out, VcErr *err);
