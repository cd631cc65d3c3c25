// SPDX-License-Identifier: MIT
#include "concepts/caption_arcs.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define BIT(step) (1u << (step))

enum {
    LEFT_STEPS = BIT(CAPTION_LEFT_OTHER) | BIT(CAPTION_LEFT_NSUBJ) | BIT(CAPTION_LEFT_NSUBJPASS) |
                 BIT(CAPTION_LEFT_AMOD) | BIT(CAPTION_LEFT_ADVMOD),
    RIGHT_STEPS = BIT(CAPTION_STEPS) - BIT(CAPTION_RIGHT_OTHER)
};

CaptionDep caption_step_dep(CaptionStep step)
{
    static const uint8_t deps[CAPTION_STEPS] = {
        [CAPTION_SHIFT] = CAPTION_NO_DEP,
        [CAPTION_REDUCE] = CAPTION_NO_DEP,
        [CAPTION_LEFT_OTHER] = CAPTION_DEP_OTHER,
        [CAPTION_LEFT_NSUBJ] = CAPTION_DEP_NSUBJ,
        [CAPTION_LEFT_NSUBJPASS] = CAPTION_DEP_NSUBJPASS,
        [CAPTION_LEFT_AMOD] = CAPTION_DEP_AMOD,
        [CAPTION_LEFT_ADVMOD] = CAPTION_DEP_ADVMOD,
        [CAPTION_RIGHT_OTHER] = CAPTION_DEP_OTHER,
        [CAPTION_RIGHT_AMOD] = CAPTION_DEP_AMOD,
        [CAPTION_RIGHT_ADVMOD] = CAPTION_DEP_ADVMOD,
        [CAPTION_RIGHT_ACL] = CAPTION_DEP_ACL,
        [CAPTION_RIGHT_AGENT] = CAPTION_DEP_AGENT,
        [CAPTION_RIGHT_POBJ] = CAPTION_DEP_POBJ,
        [CAPTION_RIGHT_DOBJ] = CAPTION_DEP_DOBJ,
        [CAPTION_RIGHT_ATTR] = CAPTION_DEP_ATTR,
        [CAPTION_RIGHT_CONJ] = CAPTION_DEP_CONJ,
    };
    return (CaptionDep)deps[step];
}

enum { BYTES_PER_NODE = 4 + 4 + 4 * 4 + 2 + 2 + 3 };

void caption_tree_begin(CaptionTree *tree, const CaptionWord *words, size_t n)
{
    size_t m = n + 1;
    if (m > tree->cap) {
        free(tree->block);
        tree->cap = m * 2;
        tree->block = vc_alloc(tree->cap, BYTES_PER_NODE);
        CaptionArcs *a = &tree->a;
        size_t cap = tree->cap;
        a->stack = tree->block;
        a->head = (int32_t *)(a->stack + cap);
        a->left = a->head + cap;
        a->left2 = a->left + cap;
        a->right = a->left2 + cap;
        a->right2 = a->right + cap;
        a->left_deps = (uint16_t *)(a->right2 + cap);
        a->right_deps = a->left_deps + cap;
        a->dep = (uint8_t *)(a->right_deps + cap);
        a->left_count = a->dep + cap;
        a->right_count = a->left_count + cap;
    }
    CaptionArcs *a = &tree->a;
    a->words = words;
    a->n = n;
    a->stack_size = a->next = 0;
    memset(a->head, 0xFF, m * 4);
    memset(a->left, 0xFF, m * 4);
    memset(a->left2, 0xFF, m * 4);
    memset(a->right, 0xFF, m * 4);
    memset(a->right2, 0xFF, m * 4);
    memset(a->left_deps, 0, m * 2);
    memset(a->right_deps, 0, m * 2);
    memset(a->left_count, 0, m);
    memset(a->right_count, 0, m);
    memset(a->dep, CAPTION_NO_DEP, m);
}

void caption_tree_finish(CaptionTree *tree)
{
    free(tree->block);
    *tree = (CaptionTree){0};
}

uint32_t caption_tree_allowed(const CaptionArcs *a)
{
    bool last = a->next == a->n;
    uint32_t steps = last ? 0 : BIT(CAPTION_SHIFT);
    if (a->stack_size == 0)
        return steps;
    if (a->head[a->stack[a->stack_size - 1]] >= 0) {
        steps |= BIT(CAPTION_REDUCE);
    } else {
        steps |= last ? BIT(CAPTION_LEFT_OTHER) : LEFT_STEPS;
    }
    return last ? steps : steps | RIGHT_STEPS;
}

void caption_tree_step(CaptionArcs *a, CaptionStep step)
{
    int32_t b = (int32_t)a->next;
    if (step == CAPTION_SHIFT) {
        a->stack[a->stack_size++] = (uint32_t)a->next++;
        return;
    }
    int32_t s = (int32_t)a->stack[a->stack_size - 1];
    CaptionDep dep = caption_step_dep(step);
    if (step == CAPTION_REDUCE) {
        a->stack_size--;
    } else if (step < CAPTION_RIGHT_OTHER) {
        a->head[s] = b;
        a->dep[s] = (uint8_t)dep;
        a->left2[b] = a->left[b];
        a->left[b] = s;
        a->left_deps[b] |= (uint16_t)(1u << dep);
        a->left_count[b] = (uint8_t)(a->left_count[b] < 7 ? a->left_count[b] + 1 : 7);
        a->stack_size--;
    } else {
        a->head[b] = s;
        a->dep[b] = (uint8_t)dep;
        a->right2[s] = a->right[s];
        a->right[s] = b;
        a->right_deps[s] |= (uint16_t)(1u << dep);
        a->right_count[s] = (uint8_t)(a->right_count[s] < 7 ? a->right_count[s] + 1 : 7);
        a->stack[a->stack_size++] = (uint32_t)a->next++;
    }
}

// Steps of `kind` that are right for an arc: the one with the gold label when the arc is gold, else any.
static uint32_t labelled(uint32_t kind, bool gold, uint8_t dep)
{
    if (!gold)
        return kind;
    uint32_t other = 0;
    for (int s = 0; s < CAPTION_STEPS; s++) {
        if (!(kind & BIT(s)))
            continue;
        if (caption_step_dep((CaptionStep)s) == dep)
            return BIT(s);
        if (caption_step_dep((CaptionStep)s) == CAPTION_DEP_OTHER)
            other = BIT(s);
    }
    return other;
}

uint32_t caption_tree_oracle(const CaptionArcs *a, const int32_t *gold_head, const uint8_t *gold_dep)
{
    uint32_t allowed = caption_tree_allowed(a);
    int32_t b = (int32_t)a->next, n = (int32_t)a->n;
    if (a->stack_size == 0)
        return allowed;
    int32_t s = (int32_t)a->stack[a->stack_size - 1];
    int children = 0, below = 0; // gold children of s in the buffer; of b in the stack (without a head, under s too)
    for (int32_t i = b; i < n; i++)
        children += gold_head[i] == s;
    bool head_below = false; // b's gold head is in the stack, under s
    for (size_t i = 0; i < a->stack_size; i++) {
        int32_t x = (int32_t)a->stack[i];
        below += b < n && a->head[x] < 0 && gold_head[x] == b;
        head_below = head_below || (b < n && x != s && gold_head[b] == x);
    }
    // At the end gold_head of what is left may be the root: `below` counts only real tokens, LEFT is the only step
    // then.
    enum { NONE = 1 << 20 };
    int cost[4] = {NONE, NONE, NONE, NONE}; // shift, reduce, left, right
    bool gold_left = gold_head[s] == b, gold_right = b < n && gold_head[b] == s;
    if (allowed & BIT(CAPTION_SHIFT))
        cost[0] = below + head_below + gold_right;
    if (allowed & BIT(CAPTION_REDUCE))
        cost[1] = children;
    if (allowed & LEFT_STEPS)
        cost[2] = children + (gold_head[s] > b);
    if (allowed & RIGHT_STEPS)
        cost[3] = below + (!gold_right && (head_below || (b < n && gold_head[b] > b)));
    int least = NONE;
    for (int i = 0; i < 4; i++)
        least = cost[i] < least ? cost[i] : least;
    uint32_t good = 0;
    if (cost[0] == least)
        good |= BIT(CAPTION_SHIFT);
    if (cost[1] == least)
        good |= BIT(CAPTION_REDUCE);
    if (cost[2] == least)
        good |= labelled(allowed & LEFT_STEPS, gold_left, gold_dep[s]);
    if (cost[3] == least)
        good |= labelled(allowed & RIGHT_STEPS, gold_right, b < n ? gold_dep[b] : CAPTION_DEP_OTHER);
    VC_ASSERT(good != 0);
    return good;
}
