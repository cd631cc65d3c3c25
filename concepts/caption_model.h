// SPDX-License-Identifier: MIT
// Private to the caption parser: its three models (parts of speech, roles, steps of the tree), read from a packed file.
//
// The file (all numbers little-endian; `varint` is base 128, low digits first):
//   "vichacap", u32 version 1, u64 XXH64 of all that follows
//   dictionary: varint n, then n times: varint key - key before, byte tag. Words with one tag only.
//   three models (tags, roles, steps), each: varint n, then n times: varint key - key before (at least 1), the set of
//   classes with a weight (u8 for roles, u16 else), then an int8 for each of them in order.
// Keys rise, the first is after 0. Nothing may follow.
//
// Threads: a model is constant after its creation.
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "concepts/caption_arcs.h"

#include <stdbool.h>

typedef struct CaptionModel CaptionModel;

// What is in the program.
extern const unsigned char concepts_caption_model[];
extern const size_t concepts_caption_model_size;

enum { CAPTION_MODEL_MAX_BYTES = 16 << 20 };
// `name` is for messages. Any byte that does not fit is an error, never a crash.
CaptionModel *caption_model_read(const void *bytes, size_t n, const char *name, VcErr *err);
void caption_model_destroy(CaptionModel **model); // NULL allowed; clears

uint64_t caption_model_hash(const CaptionModel *model); // of the file

// words[0..n) with their pads (caption_words): fills the tags and what is listed, then the roles.
void caption_model_tag(const CaptionModel *model, CaptionWord *words, size_t n);
void caption_model_roles(const CaptionModel *model, CaptionWord *words, size_t n);
// The tree over words that have tags and roles.
void caption_model_tree(const CaptionModel *model, const CaptionWord *words, size_t n, CaptionTree *tree);

// Writing. Features in any order, without repeats and without key 0; weights[classes], all zero ones are left out.
typedef struct {
    uint32_t key;
    int8_t weights[16];
} CaptionFeature;
typedef struct {
    uint32_t key;
    uint8_t tag;
} CaptionDictionaryWord;
typedef struct {
    CaptionDictionaryWord *words; // sorted by the writer
    size_t word_count;
    CaptionFeature *features[3]; // tags, roles, steps; sorted by the writer
    size_t feature_count[3];
} CaptionModelParts;
void caption_model_write(VcStr *out, CaptionModelParts *parts);
