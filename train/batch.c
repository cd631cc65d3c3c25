// SPDX-License-Identifier: MIT
#include "train/batch.h"

#include "base/mem.h"

void train_batch_init(TrainBatch *batch, const TrainRecipe *recipe, size_t rows)
{
    size_t side = (size_t)recipe->image_size, context = (size_t)recipe->context;
    *batch = (TrainBatch){.count = rows};
    batch->images = vc_alloc_aligned(rows * 3 * side * side, sizeof *batch->images);
    batch->ids = vc_calloc(rows * context, sizeof *batch->ids);
    batch->mask = vc_calloc(rows * context, sizeof *batch->mask);
    batch->last = vc_calloc(rows, sizeof *batch->last);
    batch->concepts = vc_calloc(rows * TRAIN_CONCEPT_TOKENS, sizeof *batch->concepts);
    batch->concept_mask = vc_calloc(rows * TRAIN_CONCEPT_TOKENS, sizeof *batch->concept_mask);
    batch->concept_last = vc_calloc(rows, sizeof *batch->concept_last);
    batch->group = vc_calloc(rows, sizeof *batch->group);
    batch->records = vc_calloc(rows, sizeof *batch->records);
    batch->image_ids = vc_calloc(rows, sizeof *batch->image_ids);
}

void train_batch_finish(TrainBatch *batch)
{
    free(batch->images);
    free(batch->ids);
    free(batch->mask);
    free(batch->last);
    free(batch->concepts);
    free(batch->concept_mask);
    free(batch->concept_last);
    free(batch->group);
    free(batch->records);
    free(batch->image_ids);
    *batch = (TrainBatch){0};
}
