// SPDX-License-Identifier: MIT
#include "nn/schedule.h"

#include <math.h>

double nn_vicha_lr(const NnVichaSchedule *s, uint64_t t)
{
    if (t < s->warmup)
        return s->start + (double)t * ((s->peak - s->start) / (double)s->warmup);
    const uint64_t u = t - s->warmup;
    if (u >= s->epochs)
        return s->min;
    return s->min + 0.5 * (s->peak - s->min) * (1 + cos(M_PI * (double)u / (double)s->epochs));
}

double nn_vicha_lr_at(const NnVichaSchedule *s, uint64_t epoch, uint64_t iteration)
{
    if (epoch > 0)
        return nn_vicha_lr(s, epoch + s->warmup);
    if (iteration == 0)
        return s->start;
    const uint64_t t = (iteration - 1) / 100;
    return nn_vicha_lr(s, t < s->warmup ? t : s->warmup);
}

double nn_cosine_lr(const NnCosineSchedule *s, uint64_t step)
{
    if (step < s->warmup)
        return s->peak * (double)(step + 1) / (double)s->warmup;
    const uint64_t u = step - s->warmup, steps = s->total > s->warmup + 1 ? s->total - 1 - s->warmup : 1;
    if (u >= steps)
        return s->min;
    return s->min + 0.5 * (s->peak - s->min) * (1 + cos(M_PI * (double)u / (double)steps));
}
