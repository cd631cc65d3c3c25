// SPDX-License-Identifier: MIT
// Positions of patches: a trained table stretched to another grid, and the fixed sin-cos table.
#include "base/err.h"
#include "nn/ops/ops.h"

#include <math.h>
#include <string.h>

// Keys' cubic with a = -0.75, as torch has it: weights of the four neighbours at distances 1+t, t, 1-t, 2-t.
static void cubic_weights(double w[4], double t)
{
    const double a = -0.75;
    const double near[2] = {t, 1 - t}, far[2] = {1 + t, 2 - t};
    for (int i = 0; i < 2; i++) {
        const double n = near[i], f = far[i];
        w[1 + i] = ((a + 2) * n - (a + 3)) * n * n + 1;
        w[3 * i] = ((a * f - 5 * a) * f + 8 * a) * f - 4 * a;
    }
}

static size_t clamp_index(ptrdiff_t i, size_t n)
{
    return i < 0 ? 0 : (size_t)i >= n ? n - 1 : (size_t)i;
}

void nn_interpolate_positions(nn_real *out, const nn_real *in, size_t prefix, size_t G, size_t out_G, size_t C)
{
    VC_ASSERT(G > 0 && out_G > 0);
    memcpy(out, in, prefix * C * sizeof *out);
    in += prefix * C;
    out += prefix * C;
    const double ratio = (double)G / (double)out_G;
    for (size_t y = 0; y < out_G; y++) {
        double wy[4], wx[4];
        const double sy = ((double)y + 0.5) * ratio - 0.5;
        cubic_weights(wy, sy - floor(sy));
        for (size_t x = 0; x < out_G; x++, out += C) {
            const double sx = ((double)x + 0.5) * ratio - 0.5;
            cubic_weights(wx, sx - floor(sx));
            for (size_t c = 0; c < C; c++) {
                double sum = 0;
                for (int i = 0; i < 4; i++) {
                    for (int j = 0; j < 4; j++) {
                        const size_t row = clamp_index((ptrdiff_t)floor(sy) + i - 1, G);
                        const size_t column = clamp_index((ptrdiff_t)floor(sx) + j - 1, G);
                        sum += wy[i] * wx[j] * (double)in[(row * G + column) * C + c];
                    }
                }
                out[c] = (nn_real)sum;
            }
        }
    }
}

void nn_sincos_positions(nn_real *out, size_t G, size_t C)
{
    VC_ASSERT(C > 0 && C % 4 == 0);
    const size_t quarter = C / 4;
    memset(out, 0, C * sizeof *out);
    out += C;
    for (size_t y = 0; y < G; y++) {
        for (size_t x = 0; x < G; x++, out += C) {
            for (size_t k = 0; k < quarter; k++) {
                const double w = pow(10000, -(double)k / (double)quarter);
                out[k] = (nn_real)sin((double)x * w);
                out[quarter + k] = (nn_real)cos((double)x * w);
                out[2 * quarter + k] = (nn_real)sin((double)y * w);
                out[3 * quarter + k] = (nn_real)cos((double)y * w);
            }
        }
    }
}
