// SPDX-License-Identifier: MIT
// What one recorded op looks like: for tape.c and tape_ops.c only.
#pragma once

#include "nn/tape.h"

typedef struct NnNode NnNode;

typedef struct {
    const char *name;
    // Adds to the gradients of the node's inputs; node->out->grad is there. NULL: the op hands its gradient on as it
    // is (NnOp.pass).
    void (*backward)(NnTape *t, const NnNode *node);
    bool
        pass; // the gradient of every input that has out's size is out's gradient itself: its memory may be handed over
    bool forgets; // backward does not read out's value
} NnOp;

struct NnNode {
    const NnOp *op;
    NnVar *out;
    NnVar **in;
    size_t count;
    const void *saved; // what backward reads, of the op's own type, in the arena
};

// A new variable with its own memory.
NnVar *nn_tape_var(NnTape *t, NnShape shape);
// Whether an op on these inputs will be recorded: only then values for backward must be kept.
bool nn_tape_wants(const NnTape *t, NnVar *const *in, size_t count);
// Records the op when one of its inputs needs a gradient (and then out does); inputs and saved are copied.
void nn_tape_push(NnTape *t, const NnOp *op, NnVar *out, NnVar *const *in, size_t count, const void *saved,
                  size_t saved_size);
// Where a backward adds the gradient of v: zeroed at first use; NULL when v needs none (or v is NULL).
nn_real *nn_tape_grad(NnTape *t, NnVar *v);
// The same where a backward can overwrite: *add tells whether a gradient is there already, to which it must add.
nn_real *nn_tape_first_grad(NnTape *t, NnVar *v, bool *add);
// Whether v is what the last op made, and that op does not read it in backward: then its memory may be taken over.
bool nn_tape_may_take(const NnTape *t, const NnVar *v);
// A new variable of v's shape in v's memory.
NnVar *nn_tape_in_place(NnTape *t, NnVar *v);
