// SPDX-License-Identifier: MIT
#include "train/model/trace.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

void train_note(TrainTrace *trace, const char *name, NnVar *x)
{
    if (!trace || !x)
        return;
    VC_ASSERT(trace->count < TRAIN_MAX_NOTES);
    nn_keep_grad(x);
    snprintf(trace->notes[trace->count].name, sizeof trace->notes->name, "%s", name);
    trace->notes[trace->count++].var = x;
}

void train_note_at(TrainTrace *trace, const char *name, size_t i, NnVar *x)
{
    char full[48];
    snprintf(full, sizeof full, "%s.%zu", name, i);
    train_note(trace, full, x);
}

NnVar *train_noted(const TrainTrace *trace, const char *name)
{
    for (size_t i = 0; i < trace->count; i++) {
        if (strcmp(trace->notes[i].name, name) == 0)
            return trace->notes[i].var;
    }
    return NULL;
}
