// SPDX-License-Identifier: MIT
// Intermediate values of a step under names, for tests that compare them with another implementation.
//
// A noted value stays until the tape is reset, and its gradient can be read after the backward pass. Threads: as the
// tape.
#pragma once

#include "nn/nn.h"

enum { TRAIN_MAX_NOTES = 256 };

typedef struct {
    struct {
        char name[48];
        NnVar *var;
    } notes[TRAIN_MAX_NOTES];
    size_t count;
} TrainTrace;

void train_note(TrainTrace *trace, const char *name, NnVar *x);              // trace NULL: nothing
void train_note_at(TrainTrace *trace, const char *name, size_t i, NnVar *x); // "NAME.i"
NnVar *train_noted(const TrainTrace *trace, const char *name);               // NULL: nothing under this name
