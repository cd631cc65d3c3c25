// SPDX-License-Identifier: MIT
// Private to the training of the caption parser: one averaged perceptron (Collins 2002) over hashed features.
//
// Weights are integers and their averages sums of integers, so that training gives the same bits on every machine.
// Threads: one perceptron belongs to one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct CaptionPerceptron CaptionPerceptron;

CaptionPerceptron *caption_perceptron_create(size_t classes); // at most 16
void caption_perceptron_destroy(CaptionPerceptron **p);       // NULL allowed; clears

// First pass: counts the features of an example. Then _choose keeps those seen at least `min_count` times.
void caption_perceptron_count(CaptionPerceptron *p, const uint32_t *keys, size_t n);
void caption_perceptron_choose(CaptionPerceptron *p, uint32_t min_count);

// rows[n] is filled for _update; scores[classes]. Features that are not known score nothing.
void caption_perceptron_score(const CaptionPerceptron *p, const uint32_t *keys, size_t n, uint32_t *rows,
                              int32_t *scores);
// After every example, whether or not it was answered well: `good` equal to `bad` only counts the step.
void caption_perceptron_update(CaptionPerceptron *p, const uint32_t *rows, size_t n, size_t good, size_t bad);

// Weights become their averages over all steps, in units of 1/256.
void caption_perceptron_average(CaptionPerceptron *p);

// Keeps the `keep` features whose weights matter most, and forgets the weights: for another training from zero.
void caption_perceptron_prune(CaptionPerceptron *p, size_t keep);

// Another one with the same features and no weights, to be trained beside it; and the sum of both weights.
CaptionPerceptron *caption_perceptron_clone(const CaptionPerceptron *p);
void caption_perceptron_add(CaptionPerceptron *p, const CaptionPerceptron *clone);

size_t caption_perceptron_features(const CaptionPerceptron *p);
// Feature i: its key, its weights [classes].
const int32_t *caption_perceptron_feature(const CaptionPerceptron *p, size_t i, uint32_t *key);
