// SPDX-License-Identifier: MIT
// Intermediate values of a recorded step against ours. What the model never computes (hidden words' neighbours, pixels
// of patches that are seen, all tokens of the last fusion layer) is made here from what it did compute.
#pragma once

#include "tests/train/compare.h"
#include "tests/train/fixture.h"

// forwardK.safetensors, when there is one: values into `forward`, "dgrad.*" into `backward`. After the backward pass,
// before the queues move.
bool forward_check(Fixture *f, NnTape *t, const TrainTrace *trace, size_t k, const FixtureStep *step, Group *forward,
                   Group *backward, VcErr *err);
// Words, patches and orders that follow from recorded raw draws.
void forward_check_draws(Fixture *f, size_t k, const FixtureStep *step, Group *g);
// n numbers as double, in the fixture's arena.
double *forward_doubles(const Fixture *f, const nn_real *x, size_t n);
