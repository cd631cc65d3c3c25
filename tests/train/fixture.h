// SPDX-License-Identifier: MIT
// A folder of recorded training steps: sizes in fixture.json, states, batches and every random decision as safetensors
// (names and meaning: the README of golden/train). Opened here as a model of ours and the batches it is fed.
#pragma once

#include "base/json.h"
#include "train/model/vicha.h"

typedef struct {
    char *dir;
    VcJson *json;
    const VcJson *bert, *sizes; // config.bert and config.model
    TrainRecipe recipe;
    TrainModel *model;
    NnSafetensors *inputs;
    VcArena *arena;
    size_t steps, batch;
} Fixture;

// Reads fixture.json and inputs, makes the model and puts state0 into it. On failure fixture_close is still needed.
bool fixture_open(Fixture *f, const char *dir, VcErr *err);
void fixture_close(Fixture *f);

// DIR/STEM.safetensors when it is there: *out is NULL when it is not.
bool fixture_file(const Fixture *f, const char *stem, NnSafetensors **out, VcErr *err);
// Parameters, teachers and queues from a state file. Every tensor of the file must have its place.
bool fixture_put_state(Fixture *f, const NnSafetensors *st, VcErr *err);
// Where a tensor of a state file lies in the model: its numbers, or NULL (queues, which are turned round).
nn_real *fixture_param(const Fixture *f, const char *name, const NnParamInfo **info, bool *momentum);

// The batch of step k (from 1), its draws and what decides about it. All in the arena of the fixture.
typedef struct {
    TrainBatch batch;
    TrainDraws draws;
    double alpha, lr;
    const VcJson *json; // the row of "steps"
} FixtureStep;
bool fixture_step(Fixture *f, size_t k, FixtureStep *step, VcErr *err);

// Numbers of a stored tensor as double, in `arena`. F32 and I32 alone.
double *fixture_values(const NnStored *stored, VcArena *arena);
