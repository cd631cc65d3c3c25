// SPDX-License-Identifier: MIT
#include "train/loss/itc.h"

NnVar *train_itc_loss(NnTape *t, NnVar *logits, const int32_t *group, bool share)
{
    size_t n = logits->shape.dim[0];
    NnVar *columns = nn_transpose(t, logits), *rows = logits;
    bool repeats = false;
    for (size_t i = 0; i < n; i++)
        repeats = repeats || group[i] != (int32_t)i;
    NnVar *parts[2];
    if (!share || !repeats) {
        int32_t *labels = nn_tape_alloc_ids(t, n);
        for (size_t i = 0; i < n; i++)
            labels[i] = (int32_t)i;
        parts[0] = nn_cross_entropy(t, rows, labels);
        parts[1] = nn_cross_entropy(t, columns, labels);
    } else {
        nn_real *targets = nn_tape_alloc(t, n * n); // symmetric, so both directions share it
        for (size_t i = 0; i < n; i++) {
            size_t equal = 0;
            for (size_t j = 0; j < n; j++)
                equal += group[j] == group[i];
            for (size_t j = 0; j < n; j++)
                targets[i * n + j] = group[j] == group[i] ? (nn_real)1 / (nn_real)equal : 0;
        }
        parts[0] = nn_soft_cross_entropy(t, rows, targets, NULL);
        parts[1] = nn_soft_cross_entropy(t, columns, targets, NULL);
    }
    return nn_weighted_sum(t, parts, (const double[]){0.5, 0.5}, 2);
}
