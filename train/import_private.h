// SPDX-License-Identifier: MIT
// What an import knows, shared by import.c and import_report.c. Internal to train/.
#pragma once

#include "train/import.h"
#include "train/import_names.h"

typedef enum { TRAIN_FILL_ALL, TRAIN_FILL_VISUAL, TRAIN_FILL_TEXT, TRAIN_FILL_CONCEPTS } TrainFill;

typedef struct {
    const char *path; // after PART=
    TrainFill part;
    NnSafetensors *set;
    TrainNaming naming;
    bool *used; // by index in the set
    size_t loaded;
} TrainSource;

typedef enum {
    TRAIN_FATE_ABSENT, // keeps its first value, as does the next
    TRAIN_FATE_MISFIT,
    TRAIN_FATE_LOADED,
    TRAIN_FATE_JOINED,
    TRAIN_FATE_INTERPOLATED,
    TRAIN_FATE_COPIED, // a teacher, from its student
} TrainFate;

// One parameter or teacher, and what became of it.
typedef struct {
    const NnParamInfo *info;
    nn_real *value;
    TrainFate fate;
    const TrainSource *source; // LOADED, JOINED, INTERPOLATED, MISFIT
    const NnStored *tensor;    // the first of them
    size_t from_grid, to_grid; // INTERPOLATED
} TrainTarget;

typedef struct {
    TrainModel *model;
    TrainSource *sources;
    size_t count;
    TrainTarget *targets; // parameters, then teachers
    size_t target_count;
    const TrainSource *queues; // where the queues came from, or NULL
} TrainImport;

bool train_import_may_fill(TrainFill part, const char *target);

// import_report.c
void train_import_say(const TrainImport *im);
bool train_import_write(const TrainImport *im, const char *run, VcErr *err); // RUN/init.json
