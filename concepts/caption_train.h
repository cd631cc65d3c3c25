// SPDX-License-Identifier: MIT
// Training of the caption parser's packed model from annotated captions (caption_silver.h gives their format).
//
// Parts of speech first. Roles are trained on parts of speech that models gave which had not seen the caption (four
// folds), and the tree's steps on both such: what they will be in use. Each of the three is trained on all features,
// then from zero on those that mattered: three times in different orders of the captions, whose weights are added up.
// The same file, options and program give the same bytes, on any number of threads and any machine.
#pragma once

#include "base/err.h"
#include "base/pool.h"

#include <stdint.h>

typedef struct {
    uint64_t seed;
    int64_t tag_features, role_features, step_features; // kept of each model; the size of the file
    int64_t holdout; // every holdout-th caption is left out and scored afterwards; 0 none
    VcPool *pool;    // NULL: this thread
} CaptionTrainOptions;

// Scores on the captions left out, with tokens as annotated; gold relations are read off the annotated trees.
typedef struct {
    int64_t captions, tokens, held_out, bytes;
    double seconds;
    double tags;                         // share of right parts of speech
    double heads, attributes, relations; // F1
    double exact;                        // share of captions with the very heads
} CaptionTrainReport;

extern const CaptionTrainOptions caption_train_defaults;
// Reads `silver`, writes the packed model to `out`. SIGINT ends it: VC_ERR_CANCELLED, nothing is written.
bool caption_train(const char *silver, const char *out, const CaptionTrainOptions *options, CaptionTrainReport *report,
                   VcErr *err);
