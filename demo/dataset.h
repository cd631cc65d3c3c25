// SPDX-License-Identifier: MIT
// A set of scenes on disk, as a collection of photographs with captions would be: JPEG files, captions, and beside them
// the truth that no collection has.
//
//   DIR/images/NNNNNN.jpg  the pictures
//   DIR/truth.jsonl        one line a picture: objects with shape, words, colour, texture, box, visible share,
//   mentioned DIR/vocab.txt          WordPiece vocabulary in BERT's form, whole words of the grammar and all characters
//   DIR/captions.jsonl     {"image", "caption"}, one to three lines a picture; written last: where it is, the set is
//   whole
//
// Picture i depends on (seed, i, side) alone, so neither the number of threads nor the count changes it.
#pragma once

#include "base/err.h"
#include "base/pool.h"

#include <stdint.h>

typedef struct {
    const char *dir;
    uint64_t seed;
    size_t count; // 1 .. DEMO_MAX_COUNT
    int side;     // pixels, DEMO_MIN_SIDE .. DEMO_MAX_SIDE
} DemoSet;

enum { DEMO_MAX_COUNT = 1000000 };

// Draws and writes the set. Files of an earlier, interrupted run are written again. pool may be NULL.
bool demo_set_write(const DemoSet *set, VcPool *pool, VcErr *err);

// The vocabulary alone: [PAD] 0, [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103 as bert-base-uncased has them.
bool demo_vocabulary_write(const char *path, VcErr *err);
