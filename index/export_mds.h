// SPDX-License-Identifier: MIT
// Images, captions and concepts as MDS records for other programs; `vicha index` makes those of our own trainer.
// Threads: one workspace, one thread at a time.
#pragma once

#include "concepts/concepts.h"

// Columns: caption, captions, concept_scores, concepts, image (JPEG), image_id, key, split. `dir` must be new or hold
// such a set that was not finished, which is gone on with. size_limit: bytes of a shard.
bool index_export_mds(VcWorkspace *ws, const ConceptsSelection *selection, const char *dir, uint64_t size_limit,
                      ConceptsExportReport *report, VcErr *err);
