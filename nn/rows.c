// SPDX-License-Identifier: MIT
#include "nn/rows.h"

#include "nn/kernels/kernels.h"

#include <stdbool.h>

// A panel (256 x 32 floats, 32 KiB) stays in the first cache while all rows pass it; the 256 columns of some hundred
// rows stay in the second.
void nn_rows_linear(const NnContext *ctx, nn_real *y, const nn_real *x, const nn_real *w, const nn_real *b, size_t R,
                    size_t I, size_t O, bool add)
{
    const VcArenaMark mark = vc_arena_mark(ctx->scratch);
    nn_real *panel = vc_arena_alloc(ctx->scratch, (size_t)NN_ROWS_BLOCK * NN_PANEL, sizeof *panel);
    for (size_t i = 0; i < I; i += NN_ROWS_BLOCK) {
        const size_t k = I - i < NN_ROWS_BLOCK ? I - i : NN_ROWS_BLOCK;
        for (size_t o = 0; o < O; o += NN_PANEL) {
            const size_t columns = O - o < NN_PANEL ? O - o : NN_PANEL;
            ctx->kernels->pack_panel(panel, w + o * I + i, I, columns, k);
            ctx->kernels->panel_product(y + o, O, x + i, I, panel, R, columns, k, add || i > 0);
        }
    }
    if (b != NULL)
        ctx->kernels->add_rows(y, b, R, O);
    vc_arena_release(ctx->scratch, mark);
}
