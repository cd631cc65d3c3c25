// SPDX-License-Identifier: MIT
#include "concepts/caption_perceptron.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 16 };

struct CaptionPerceptron {
    size_t classes, rows;
    uint32_t *slots; // open addressing: row + 1; [slot_count]
    size_t slot_count;
    uint32_t *keys; // [rows]
    uint32_t *uses; // [rows]
    size_t cap, uses_cap;
    int32_t *weights; // [rows, WIDTH]
    int64_t *sums;    // [rows, WIDTH]: sum over updates of step x change
    int64_t step;
};

CaptionPerceptron *caption_perceptron_create(size_t classes)
{
    VC_ASSERT(classes <= WIDTH);
    CaptionPerceptron *p = vc_calloc(1, sizeof *p);
    p->classes = classes;
    p->slot_count = 1 << 16;
    p->slots = vc_calloc(p->slot_count, sizeof *p->slots);
    return p;
}

void caption_perceptron_destroy(CaptionPerceptron **perceptron)
{
    CaptionPerceptron *p = perceptron ? *perceptron : NULL;
    if (!p)
        return;
    free(p->slots);
    free(p->keys);
    free(p->uses);
    free(p->weights);
    free(p->sums);
    free(p);
    *perceptron = NULL;
}

static uint32_t *find(const CaptionPerceptron *p, uint32_t key)
{
    size_t at = key & (p->slot_count - 1);
    while (p->slots[at] && p->keys[p->slots[at] - 1] != key)
        at = (at + 1) & (p->slot_count - 1);
    return &p->slots[at];
}

static void fill_slots(CaptionPerceptron *p, size_t slot_count)
{
    free(p->slots);
    p->slot_count = slot_count;
    p->slots = vc_calloc(slot_count, sizeof *p->slots);
    for (size_t i = 0; i < p->rows; i++)
        *find(p, p->keys[i]) = (uint32_t)i + 1;
}

void caption_perceptron_count(CaptionPerceptron *p, const uint32_t *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t *slot = find(p, keys[i]);
        if (*slot) {
            p->uses[*slot - 1]++;
            continue;
        }
        p->keys = vc_grow(p->keys, &p->cap, p->rows + 1, sizeof *p->keys);
        p->uses = vc_grow(p->uses, &p->uses_cap, p->rows + 1, sizeof *p->uses);
        p->keys[p->rows] = keys[i];
        p->uses[p->rows] = 1;
        *slot = (uint32_t)++p->rows;
        if (p->rows * 2 > p->slot_count)
            fill_slots(p, p->slot_count * 2);
    }
}

static void forget_weights(CaptionPerceptron *p)
{
    free(p->weights);
    free(p->sums);
    p->weights = vc_alloc_aligned(p->rows * WIDTH + 1, sizeof *p->weights);
    p->sums = vc_alloc_aligned(p->rows * WIDTH + 1, sizeof *p->sums);
    memset(p->weights, 0, p->rows * WIDTH * sizeof *p->weights);
    memset(p->sums, 0, p->rows * WIDTH * sizeof *p->sums);
    p->step = 0;
}

// The features for which keep[i] holds, in their order.
static void shrink(CaptionPerceptron *p, const uint8_t *keep)
{
    size_t n = 0;
    for (size_t i = 0; i < p->rows; i++) {
        if (keep[i]) {
            p->keys[n] = p->keys[i];
            p->uses[n++] = p->uses[i];
        }
    }
    p->rows = n;
    size_t slots = 1 << 10;
    while (slots < 2 * n)
        slots *= 2;
    fill_slots(p, slots);
    forget_weights(p);
}

void caption_perceptron_choose(CaptionPerceptron *p, uint32_t min_count)
{
    uint8_t *keep = vc_calloc(p->rows + 1, 1);
    for (size_t i = 0; i < p->rows; i++)
        keep[i] = p->uses[i] >= min_count;
    shrink(p, keep);
    free(keep);
}

void caption_perceptron_score(const CaptionPerceptron *p, const uint32_t *keys, size_t n, uint32_t *rows,
                              int32_t *scores)
{
    int32_t sum[WIDTH] = {0};
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(&p->slots[keys[i] & (p->slot_count - 1)]);
    for (size_t i = 0; i < n; i++) {
        rows[i] = *find(p, keys[i]);
        if (rows[i])
            __builtin_prefetch(&p->weights[(size_t)(rows[i] - 1) * WIDTH]);
    }
    for (size_t i = 0; i < n; i++) {
        if (!rows[i])
            continue;
        const int32_t *w = p->weights + (size_t)(rows[i] - 1) * WIDTH;
        for (size_t c = 0; c < WIDTH; c++)
            sum[c] += w[c];
    }
    memcpy(scores, sum, p->classes * sizeof *scores);
}

void caption_perceptron_update(CaptionPerceptron *p, const uint32_t *rows, size_t n, size_t good, size_t bad)
{
    p->step++;
    for (size_t i = 0; i < n && good != bad; i++) {
        if (!rows[i])
            continue;
        size_t at = (size_t)(rows[i] - 1) * WIDTH;
        p->weights[at + good]++;
        p->sums[at + good] += p->step;
        p->weights[at + bad]--;
        p->sums[at + bad] -= p->step;
    }
}

void caption_perceptron_average(CaptionPerceptron *p)
{
    int64_t steps = p->step + 1;
    for (size_t i = 0; i < p->rows * WIDTH; i++) {
        // The weight was w - (later changes) at each step: its average is w - sum / steps.
        int64_t scaled = (p->weights[i] * steps - p->sums[i]) * 256;
        p->weights[i] = (int32_t)((scaled >= 0 ? scaled + steps / 2 : scaled - steps / 2) / steps);
    }
}

typedef struct {
    int64_t worth;
    uint32_t row;
} Worth;

static int by_worth(const void *a, const void *b)
{
    const Worth *x = a, *y = b;
    if (x->worth != y->worth)
        return x->worth > y->worth ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int64_t log2_scaled(uint32_t n) // 16 log2(n + 1), roughly; integers only
{
    int64_t bits = 0;
    uint64_t x = (uint64_t)n + 1;
    while (x >> (bits + 1))
        bits++;
    return 16 * bits + (int64_t)((x << 4 >> bits) & 15);
}

void caption_perceptron_prune(CaptionPerceptron *p, size_t keep_count)
{
    Worth *worth = vc_alloc(p->rows + 1, sizeof *worth);
    uint8_t *keep = vc_calloc(p->rows + 1, 1);
    for (size_t i = 0; i < p->rows; i++) {
        int64_t low = 0, high = 0;
        for (size_t c = 0; c < p->classes; c++) {
            int64_t w = p->weights[i * WIDTH + c];
            low = w < low ? w : low;
            high = w > high ? w : high;
        }
        worth[i] = (Worth){(high - low) * log2_scaled(p->uses[i]), (uint32_t)i};
    }
    qsort(worth, p->rows, sizeof *worth, by_worth);
    for (size_t i = 0; i < p->rows && i < keep_count; i++)
        keep[worth[i].row] = worth[i].worth > 0;
    shrink(p, keep);
    free(keep);
    free(worth);
}

CaptionPerceptron *caption_perceptron_clone(const CaptionPerceptron *p)
{
    CaptionPerceptron *q = caption_perceptron_create(p->classes);
    q->rows = p->rows;
    q->keys = vc_grow(NULL, &q->cap, p->rows + 1, sizeof *q->keys);
    q->uses = vc_grow(NULL, &q->uses_cap, p->rows + 1, sizeof *q->uses);
    for (size_t i = 0; i < p->rows; i++) { // there may be none
        q->keys[i] = p->keys[i];
        q->uses[i] = p->uses[i];
    }
    fill_slots(q, p->slot_count);
    forget_weights(q);
    return q;
}

void caption_perceptron_add(CaptionPerceptron *p, const CaptionPerceptron *clone)
{
    for (size_t i = 0; i < p->rows * WIDTH; i++)
        p->weights[i] += clone->weights[i];
}

size_t caption_perceptron_features(const CaptionPerceptron *p)
{
    return p->rows;
}

const int32_t *caption_perceptron_feature(const CaptionPerceptron *p, size_t i, uint32_t *key)
{
    *key = p->keys[i];
    return p->weights + i * WIDTH;
}
