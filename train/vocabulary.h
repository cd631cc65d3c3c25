// SPDX-License-Identifier: MIT
// The tokenizer of a clip run: found, or learned from the captions it trains on, and kept in the run's folder.
// Threads: one at a time.
#pragma once

#include "concepts/concepts.h"
#include "train/data.h"

// Makes OUT/tokenizer whole (vocab.json and merges.txt, or tokenizer.json; tokenizer_config.json,
// special_tokens_map.json) and opens it. `keep`: a learned one that is there already is used as it is, which is right
// only when a checkpoint was made with it (see *fingerprint: XXH64 of the vocabulary's files).
bool train_vocabulary_open(Bpe **out, uint64_t *fingerprint, const TrainRecipe *recipe, const TrainData *data,
                           const char *run, bool keep, VcErr *err);
// Copies the files of OUT/tokenizer into `dir`.
bool train_vocabulary_copy(const char *run, const char *dir, VcErr *err);
