// SPDX-License-Identifier: MIT
// Private to the caption parser: the arc-eager transition system (Nivre 2003) over the tokens of a caption, with the
// root after the last token (Ballesteros & Nivre 2013), and its dynamic oracle for training (Goldberg & Nivre 2012).
//
// The buffer is tokens next .. n, where n is the root; a caption is done when the buffer is the root alone and the
// stack is empty. Every sequence of allowed steps ends, after at most 2 n + 1 of them, in a tree.
#pragma once

#include "concepts/caption_features.h"

#include <stdbool.h>

typedef struct {
    CaptionArcs a;
    size_t cap;
    void *block; // all arrays
} CaptionTree;

void caption_tree_begin(CaptionTree *tree, const CaptionWord *words, size_t n);
void caption_tree_finish(CaptionTree *tree);
static inline bool caption_tree_done(const CaptionArcs *a)
{
    return a->next == a->n && a->stack_size == 0;
}
// A set of steps: bit i for step i. Never empty before the end.
uint32_t caption_tree_allowed(const CaptionArcs *a);
void caption_tree_step(CaptionArcs *a, CaptionStep step);
CaptionDep caption_step_dep(CaptionStep step);

// Of the allowed steps those after which as many arcs of the gold tree as before can still be had (cost 0 or the least
// there is). gold_head[i] is n for the root's children.
uint32_t caption_tree_oracle(const CaptionArcs *a, const int32_t *gold_head, const uint8_t *gold_dep);
