// SPDX-License-Identifier: MIT
#include "train/loss/mlm.h"

#include "base/err.h"

NnVar *train_mlm_loss(NnTape *t, NnVar *logits, const int32_t *labels, nn_real *teacher, double alpha)
{
    const size_t rows = logits->shape.dim[0], words = logits->shape.dim[1];
    if (!teacher || alpha == 0)
        return nn_cross_entropy(t, logits, labels);
    nn_softmax_forward(nn_tape_context(t), teacher, teacher, rows, words);
    for (size_t r = 0; r < rows; r++) {
        nn_real *row = teacher + r * words;
        for (size_t j = 0; j < words; j++)
            row[j] *= (nn_real)alpha;
        VC_ASSERT(labels[r] >= 0 && (size_t)labels[r] < words);
        row[labels[r]] += (nn_real)(1 - alpha);
    }
    return nn_soft_cross_entropy(t, logits, teacher, NULL); // both terms are means over the same rows
}
