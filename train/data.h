// SPDX-License-Identifier: MIT
// The record sets of a run, numbered through from 0, and which of them are kept for evaluation.
//
// Threads: any number may read one open TrainData; train_data_order makes an order that belongs to its caller.
#pragma once

#include "index/index.h"
#include "train/cache.h"
#include "train/recipe.h"

typedef struct TrainData TrainData;

// Opens recipe->records (relative ones below `workspace`) with every check of the format as records are read. A set
// without what the objective needs (captions; token ids and concepts for vicha), one of another vocabulary, one whose
// pictures are all smaller than image.size, and a training part too small for a batch are errors that say so.
// extract_image_init comes first.
bool train_data_open(TrainData **out, const TrainRecipe *recipe, const char *workspace, VcErr *err);
// Whether the training part fills a batch of `pairs`: of recipe->batch at open, of all ranks together in a parallel
// run.
bool train_data_check_batch(const TrainData *data, uint64_t pairs, VcErr *err);
void train_data_close(TrainData **data); // NULL allowed; clears

uint64_t train_data_total(const TrainData *data);
uint64_t train_data_trained(const TrainData *data); // total without the held-out ones
bool train_data_held_out(const TrainData *data, uint64_t record);
// Entries of the WordPiece vocabulary of the records: recipe->word_vocab, or what their records.json says.
size_t train_data_word_vocabulary(const TrainData *data);
// The number of [MASK] in it: recipe->mask_id, or what the first records say, or 103.
int32_t train_data_mask_id(const TrainData *data);
const char *train_data_fingerprint(const TrainData *data); // 64 hex digits, of all sets in their order

TrainCache *train_data_cache(const TrainData *data); // of the records' pixels
bool train_data_get(const TrainData *data, uint64_t record, IndexRecord *out, VcErr *err);
// With data.on_bad list: says on standard error which record was passed over and why, once a run.
void train_data_list_bad(const TrainData *data, uint64_t record, const VcErr *why);
IndexOrder *train_data_order(const TrainData *data, uint64_t epoch);

// How many captions a record has, and the i-th of them: its text appended to `text`, and where its token ids lie in
// record->caption_ids.
size_t train_data_captions(const IndexRecord *record);
bool train_data_caption(const IndexRecord *record, size_t i, VcStr *text, VcErr *err);
void train_data_caption_ids(const IndexRecord *record, size_t i, size_t *first, size_t *count);
