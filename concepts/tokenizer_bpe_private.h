// SPDX-License-Identifier: MIT
// The inside of a Bpe, shared by tokenizer_bpe.c and tokenizer_load.c. Internal to concepts/. Threads: read-only
// after bpe_open.
#pragma once

#include "base/mem.h"
#include "concepts/text_clean.h"
#include "concepts/tokenizer_bpe.h"

typedef struct {
    uint64_t pair;        // left id << 32 | right id
    int32_t rank, merged; // rank -1: an empty slot
} BpeMerge;

// A token that is looked for in a text before it is cut (HF): in the text as given, or after cleaning.
typedef struct {
    const char *content, *normal; // ASCII; `normal` in lower case
    int32_t id;
    bool normalized;
} BpeSpecial;

struct Bpe {
    VcArena *arena;      // the tokens' text
    const char **tokens; // [count], NULL where the vocabulary leaves a gap
    size_t count;
    int32_t *slots;    // hash of tokens to ids, -1 empty
    size_t slot_count; // a power of two
    BpeMerge *merges;
    size_t merge_slots; // a power of two
    BpeSpecial *special;
    size_t special_count, special_cap;
    int32_t byte[256], last_byte[256]; // ids of a byte inside and at the end of a word
    int32_t start, end, pad;
};

// Ids being appended to a caller's growing array.
typedef struct {
    int32_t **ids;
    size_t *cap;
    size_t len;
} BpeIds;

int32_t bpe_find(const Bpe *bpe, const char *token, size_t n);         // id or -1
BpeMerge *bpe_merge_slot(const Bpe *bpe, int32_t left, int32_t right); // its slot, or an empty one for it
