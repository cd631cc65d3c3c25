// SPDX-License-Identifier: MIT
// Learns a CLIP vocabulary: byte-level pair encoding with the `</w>` mark at the end of words (Sennrich et al., 2016;
// Radford et al., 2021), written as Hugging Face's vocab.json and merges.txt.
//
// Every byte has a symbol with and without the mark, so that any text can be encoded. Merges are taken by count, ties
// by the symbols' own text in byte order: the same words give the same files, whatever order they came in.
// Threads: one learner, one thread at a time.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct BpeLearner BpeLearner;

BpeLearner *bpe_learner_create(void);
void bpe_learner_destroy(BpeLearner **learner);
// Counts one word: n bytes as the tokenizer cuts them from the text (lower-cased, without surrounding spaces).
void bpe_learner_add(BpeLearner *learner, const char *word, size_t n, uint64_t count);
// Counts the words of a text given as ids of the tokenizer without merges (a learner that learned from nothing): words
// are then cut exactly as the tokenizer that will use the vocabulary cuts them.
void bpe_learner_add_ids(BpeLearner *learner, const int32_t *ids, size_t n);
// Merges until the vocabulary has `entries` entries (512 byte symbols + merges + 2 special tokens) or no pair occurs
// twice, but at least once (without any pair: two zero bytes). Returns the number of entries. Called once.
size_t bpe_learner_learn(BpeLearner *learner, size_t entries);
// Writes vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json into `dir`, which is made.
bool bpe_learner_write(const BpeLearner *learner, const char *dir, size_t context, VcErr *err);
// The last two alone, beside a vocabulary from elsewhere; `dir` exists.
bool bpe_learner_write_config(const char *dir, size_t context, VcErr *err);
