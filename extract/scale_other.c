// SPDX-License-Identifier: MIT
// Machines without vector kernels of ours.
#include "extract/scale.h"

const ExtractScaleKernels *extract_scale_vector(void)
{
    return NULL;
}
