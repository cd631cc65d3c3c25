// SPDX-License-Identifier: MIT
#include "train/loss/itc.h"

#include "base/err.h"

#include <string.h>

static bool repeats(const int32_t *group, size_t n)
{
    for (size_t i = 0; i < n && group; i++) {
        if (group[i] != (int32_t)i)
            return true;
    }
    return false;
}

// targets[n,K] += weight x hard target.
static void add_hard(nn_real *targets, double weight, size_t n, size_t keys, const TrainPairs *pairs)
{
    const int32_t *group = pairs->group;
    for (size_t i = 0; i < n; i++) {
        nn_real *row = targets + i * keys;
        const size_t own = pairs->first + i;
        size_t equal = 0;
        for (size_t j = 0; j < pairs->count; j++)
            equal += group ? group[j] == group[own] : j == own;
        for (size_t j = 0; j < pairs->count; j++)
            row[j] += (group ? group[j] == group[own] : j == own) ? (nn_real)(weight / (double)equal) : 0;
    }
}

NnVar *train_pair_loss(NnTape *t, NnVar *logits, const TrainPairs *pairs)
{
    const size_t n = logits->shape.dim[0], keys = logits->shape.dim[1];
    VC_ASSERT(pairs->first + n <= pairs->count && pairs->count <= keys);
    if (!repeats(pairs->group, pairs->count)) {
        int32_t *labels = nn_tape_alloc_ids(t, n);
        for (size_t i = 0; i < n; i++)
            labels[i] = (int32_t)(pairs->first + i);
        return nn_cross_entropy(t, logits, labels);
    }
    nn_real *targets = nn_tape_alloc(t, n * keys);
    memset(targets, 0, n * keys * sizeof *targets);
    add_hard(targets, 1, n, keys, pairs);
    return nn_soft_cross_entropy(t, logits, targets, NULL);
}

static NnVar *half_sum(NnTape *t, NnVar *a, NnVar *b)
{
    return nn_weighted_sum(t, (NnVar *[]){a, b}, (const double[]){0.5, 0.5}, 2);
}

NnVar *train_pair_losses(NnTape *t, NnVar *image_to_text, NnVar *text_to_image, const TrainPairs *pairs)
{
    return half_sum(t, train_pair_loss(t, image_to_text, pairs), train_pair_loss(t, text_to_image, pairs));
}

NnVar *train_itc_loss(NnTape *t, NnVar *logits, const int32_t *group)
{
    return train_pair_losses(t, logits, nn_transpose(t, logits), &(TrainPairs){0, logits->shape.dim[0], group});
}

TrainItcSide train_itc_side(NnTape *t, NnVar *feature, const nn_real *teacher, const nn_real *keys, size_t key_count,
                            NnVar *temp, double alpha, const TrainPairs *pairs)
{
    const size_t n = feature->shape.dim[0], e = feature->shape.dim[1];
    NnVar *k = nn_input(t, keys, NN_SHAPE(key_count, e));
    TrainItcSide side = {.targets = nn_tape_alloc(t, n * key_count)};
    memset(side.targets, 0, n * key_count * sizeof *side.targets);
    if (alpha > 0) {
        NnVar *m = nn_matmul_nt(t, nn_input(t, teacher, NN_SHAPE(n, e)), k);
        side.teacher_similarity = nn_scale_by(t, m, nn_detach(t, temp), NN_SCALE_INVERSE);
        const nn_real *soft = nn_softmax(t, side.teacher_similarity)->value;
        for (size_t i = 0; i < n * key_count; i++)
            side.targets[i] = (nn_real)alpha * soft[i];
    }
    add_hard(side.targets, 1 - alpha, n, key_count, pairs);
    side.similarity = nn_scale_by(t, nn_matmul_nt(t, feature, k), temp, NN_SCALE_INVERSE);
    side.loss = nn_soft_cross_entropy(t, side.similarity, side.targets, NULL);
    return side;
}

TrainHitcLevel train_hitc_level(NnTape *t, NnVar *images, NnVar *texts, NnVar *temp, const TrainHitcHow *how)
{
    const size_t e = images->shape.dim[1];
    NnVar *image_keys = how->detach ? nn_detach(t, images) : images,
          *text_keys = how->detach ? nn_detach(t, texts) : texts;
    if (how->all_images) {
        image_keys = nn_input(t, how->all_images, NN_SHAPE(how->pairs.count, e));
        text_keys = nn_input(t, how->all_texts, NN_SHAPE(how->pairs.count, e));
    }
    TrainHitcLevel level;
    level.image_to_text = nn_scale_by(t, nn_matmul_nt(t, images, text_keys), temp, NN_SCALE_INVERSE);
    level.text_to_image = nn_scale_by(t, nn_matmul_nt(t, texts, image_keys), temp, NN_SCALE_INVERSE);
    level.loss = train_pair_losses(t, level.image_to_text, level.text_to_image, &how->pairs);
    return level;
}
