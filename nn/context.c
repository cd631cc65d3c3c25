// SPDX-License-Identifier: MIT
#include "nn/context.h"

#include "nn/kernels/kernels.h"

void nn_context_init(NnContext *ctx, VcPool *pool)
{
    ctx->pool = pool;
    ctx->scratch = vc_arena_create("nn scratch");
    ctx->kernels = nn_kernels();
    ctx->precision = NN_PRECISION_FP32;
}

void nn_context_finish(NnContext *ctx)
{
    vc_arena_destroy(&ctx->scratch);
    *ctx = (NnContext){0};
}
