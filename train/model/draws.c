// SPDX-License-Identifier: MIT
#include "train/model/draws.h"

#include "base/err.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

VcRng train_row_stream(uint64_t seed, const TrainBatch *b, size_t row)
{
    VcRng rng;
    const uint64_t epoch = vc_mix_seed(seed ^ UINT64_C(0x6f626a6563746976), b->epoch + 1);
    vc_rng_seed(&rng, vc_mix_seed(epoch, b->records[row]));
    return rng;
}

void train_corrupt_word(const TrainMlmRule *rule, const TrainWordDraw *draw, int32_t id, int32_t *corrupted,
                        int32_t *label)
{
    *corrupted = id;
    *label = NN_IGNORE_LABEL;
    if (!draw->select || id == rule->pad_id || id == rule->class_id)
        return;
    *label = id;
    if (draw->hide) {
        *corrupted = rule->mask_id;
    } else if (draw->random) {
        *corrupted = draw->word;
    }
}

void train_draw_words(VcRng *rng, const TrainMlmRule *rule, const int32_t *ids, size_t tokens, int32_t *corrupted,
                      int32_t *labels)
{
    for (size_t i = 0; i < tokens; i++) {
        const bool select = vc_rng_uniform(rng) < rule->probability, hide = vc_rng_uniform(rng) < 0.8;
        const bool random = vc_rng_uniform(rng) < 0.5;
        const TrainWordDraw draw = {select, hide, random, (int32_t)vc_rng_below(rng, rule->vocabulary)};
        train_corrupt_word(rule, &draw, ids[i], &corrupted[i], &labels[i]);
    }
}

void train_draw_patches(VcRng *rng, size_t n, int32_t *order)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (int32_t)i;
    vc_rng_shuffle(rng, order, n, sizeof *order);
}

static bool allowed(size_t i, size_t own, const int32_t *group)
{
    return i != own && (!group || group[i] != group[own]);
}

size_t train_draw_negative(VcRng *rng, const nn_real *logits, size_t n, size_t own, const int32_t *group)
{
    VC_ASSERT(n >= 2);
    double most = -INFINITY, sum = 0;
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, (double)logits[i]); // of all: weights are those of the whole row's softmax
        left += allowed(i, own, group);
    }
    if (left == 0)
        group = NULL;
    // Weights below the smallest float are none, as in the original, where the row is then uniform.
    for (size_t i = 0; i < n; i++)
        sum += allowed(i, own, group) ? exp((double)logits[i] - most) : 0;
    const bool uniform = !(sum > 1e-37) || !isfinite(sum);
    double at = vc_rng_uniform(rng) * (uniform ? (double)(left ? left : n - 1) : sum);
    size_t last = own;
    for (size_t i = 0; i < n; i++) {
        if (!allowed(i, own, group))
            continue;
        last = i;
        at -= uniform ? 1 : exp((double)logits[i] - most);
        if (at < 0)
            break;
    }
    return last;
}
