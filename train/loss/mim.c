// SPDX-License-Identifier: MIT
#include "train/loss/mim.h"

#include "base/err.h"

typedef struct {
    nn_real *out;
    const nn_real *images;
    const int32_t *rows;
    size_t side, patch;
} TargetJob;

static void target_rows(void *arg, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const TargetJob *job = arg;
    const size_t s = job->side, p = job->patch, grid = s / p, n = grid * grid;
    for (size_t r = begin; r < end; r++) {
        const size_t b = (size_t)job->rows[r] / n, at = (size_t)job->rows[r] % n;
        nn_real *out = job->out + r * 3 * p * p, *to = out;
        for (size_t y = at / grid * p; y < (at / grid + 1) * p; y++) {
            for (size_t x = at % grid * p; x < (at % grid + 1) * p; x++) {
                for (size_t c = 0; c < 3; c++)
                    *to++ = job->images[((b * 3 + c) * s + y) * s + x];
            }
        }
        nn_standardize_rows(out, out, 1, 3 * p * p);
    }
}

const nn_real *train_mim_targets(NnTape *t, const nn_real *images, size_t b, size_t side, size_t patch,
                                 const int32_t *rows, size_t count)
{
    const size_t n = (side / patch) * (side / patch);
    for (size_t r = 0; r < count; r++)
        VC_ASSERT(rows[r] >= 0 && (size_t)rows[r] < b * n);
    TargetJob job = {nn_tape_alloc(t, count * 3 * patch * patch), images, rows, side, patch};
    vc_parallel_for(nn_tape_context(t)->pool, count, 16, target_rows, &job);
    return job.out;
}

NnVar *train_mim_loss(NnTape *t, NnVar *prediction, const nn_real *targets)
{
    return nn_mse(t, prediction, targets, NULL);
}
