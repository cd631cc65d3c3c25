// SPDX-License-Identifier: MIT
// How many of the concepts that were mined for a picture are true of it.
//
// For a picture with R kinds of object the mined concepts are read in the order of their scores and folded into kinds
// by the truth's own word lists ("mug", "cups" -> cup; each kind counts once, at its best place). R-precision is the
// share of the first R kinds that are in the picture, averaged over pictures. A picture whose list holds fewer than R
// kinds has the missing places counted as wrong, and one that was not mined counts 0.
//
// Concepts that name no object of the truth ("picture", "left", "grass") are passed over in `r_precision`: the truth
// cannot say whether they are right. In `strict` each takes a place and counts as wrong: the lower bound.
// The captions of the measured pictures play no part: neither in the score of a concept nor here.
#pragma once

#include "base/workspace.h"
#include "demo/truth.h"

typedef struct {
    size_t right, all;
} DemoShare;

enum { DEMO_MAX_R = 4, DEMO_SIZES = 3 };

typedef struct {
    size_t pictures, mined; // of the truth; of them found with concepts in the database
    size_t foreign;         // pictures of the database that the truth does not know: left out
    double r_precision, strict;
    double chance_uniform;       // R kinds drawn at random
    double chance_frequent;      // always the R most frequent kinds
    double chance_shuffled;      // the concepts of the next picture instead of its own
    double by_r[DEMO_MAX_R + 1]; // mean over the pictures with R kinds; [DEMO_MAX_R]: that many or more
    size_t pictures_by_r[DEMO_MAX_R + 1];
    // Recall of objects: their kind is among the first R. By size of the box (small, medium, large thirds), by what
    // hides them, by texture, by whether a caption names them.
    DemoShare size[DEMO_SIZES], hidden, open, plain, textured, mentioned, unmentioned;
    double size_limit[2];                 // area shares that part small | medium | large
    DemoShare kind[DEMO_MAX_CLASSES];     // recall by kind, over pictures
    size_t (*confused)[DEMO_MAX_CLASSES]; // [true kind missed][wrong kind in its stead]; freed by _finish
    size_t object_words, other_words;     // concepts of the active list that fold into a kind, and others
} DemoMeasure;

bool demo_measure(DemoMeasure *out, VcWorkspace *ws, const DemoTruth *truth, VcErr *err);
void demo_measure_finish(DemoMeasure *m); // a zeroed struct is allowed

void demo_measure_print(const DemoMeasure *m, const DemoTruth *truth, bool json); // to standard output
