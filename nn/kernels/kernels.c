// SPDX-License-Identifier: MIT
// The reference of every kernel, and the choice of a table. Transcendental functions and sums are taken in double and
// rounded once: slow, and what the vector forms must match.
#include "nn/kernels/kernels.h"

#include "base/cpu.h"
#include "nn/half.h"
#include "nn/kernels/products.h"
#include "nn/kernels/x86/kernels_x86.h"

#include <pthread.h>
#include <string.h>

static const double sqrt_half = 0.70710678118654752440;
static const double inv_sqrt_2pi = 0.39894228040143267794;

static void exp_c(nn_real *y, const nn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (nn_real)exp((double)x[i]);
}

static void gelu_c(nn_real *y, const nn_real *x, size_t n)
{
    // erfc keeps the relative accuracy of the left tail, where 1 + erf would cancel.
    for (size_t i = 0; i < n; i++)
        y[i] = (nn_real)(x[i] * 0.5 * erfc(-(double)x[i] * sqrt_half));
}

static void gelu_backward_c(nn_real *dx, const nn_real *dy, const nn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double t = x[i];
        const double slope = 0.5 * erfc(-t * sqrt_half) + t * inv_sqrt_2pi * exp(-0.5 * t * t);
        dx[i] += (nn_real)(dy[i] * slope);
    }
}

static void quick_gelu_c(nn_real *y, const nn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (nn_real)(x[i] / (1 + exp(-1.702 * x[i])));
}

static void quick_gelu_backward_c(nn_real *dx, const nn_real *dy, const nn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double s = 1 / (1 + exp(-1.702 * x[i]));
        dx[i] += (nn_real)(dy[i] * (s * (1 + 1.702 * x[i] * (1 - s))));
    }
}

static void scale_by(nn_real *d, const nn_real *x, size_t n,
                     void (*backward)(nn_real *dx, const nn_real *dy, const nn_real *x, size_t n))
{
    for (size_t i = 0; i < n; i++) {
        nn_real term = 0;
        backward(&term, &d[i], &x[i], 1);
        d[i] = term;
    }
}

static void gelu_again_c(nn_real *y, nn_real *d, const nn_real *x, size_t n)
{
    scale_by(d, x, n, gelu_backward_c);
    gelu_c(y, x, n);
}

static void quick_gelu_again_c(nn_real *y, nn_real *d, const nn_real *x, size_t n)
{
    scale_by(d, x, n, quick_gelu_backward_c);
    quick_gelu_c(y, x, n);
}

static void layernorm_c(nn_real *y, nn_real *mean, nn_real *rstd, const nn_real *x, const nn_real *gain,
                        const nn_real *bias, size_t rows, size_t width, nn_real eps)
{
    for (size_t r = 0; r < rows; r++, x += width, y += width) {
        double sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += x[i];
        const double m = sum / (double)width;
        double squares = 0;
        for (size_t i = 0; i < width; i++)
            squares += (x[i] - m) * (x[i] - m);
        const double s = 1 / sqrt(squares / (double)width + eps);
        for (size_t i = 0; i < width; i++) {
            const double hat = (x[i] - m) * s;
            y[i] = (nn_real)(hat * (gain != NULL ? gain[i] : 1) + (bias != NULL ? bias[i] : 0));
        }
        if (mean != NULL)
            mean[r] = (nn_real)m;
        if (rstd != NULL)
            rstd[r] = (nn_real)s;
    }
}

static void layernorm_backward_c(nn_real *dx, nn_real *dgain, nn_real *dbias, const nn_real *dy, const nn_real *x,
                                 const nn_real *mean, const nn_real *rstd, const nn_real *gain, size_t rows,
                                 size_t width)
{
    for (size_t r = 0; r < rows; r++, x += width, dy += width) {
        // The stored mean is rounded; in a nearly constant row what it lost is as large as the spread itself.
        // x - mean is exact there, so the mean of it is the lost part.
        double lost = 0;
        for (size_t i = 0; i < width; i++)
            lost += (double)x[i] - mean[r];
        const double m = mean[r] + lost / (double)width, s = rstd[r];
        double sum_h = 0, sum_hx = 0;
        for (size_t i = 0; i < width; i++) {
            const double hat = (x[i] - m) * s, h = (double)dy[i] * (gain != NULL ? gain[i] : 1);
            sum_h += h;
            sum_hx += h * hat;
            if (dgain != NULL)
                dgain[i] += (nn_real)(dy[i] * hat);
            if (dbias != NULL)
                dbias[i] += dy[i];
        }
        if (dx == NULL)
            continue;
        const double mean_h = sum_h / (double)width, mean_hx = sum_hx / (double)width;
        for (size_t i = 0; i < width; i++) {
            const double hat = (x[i] - m) * s, h = (double)dy[i] * (gain != NULL ? gain[i] : 1);
            dx[i] += (nn_real)(s * (h - mean_h - hat * mean_hx));
        }
        dx += width;
    }
}

static void softmax_c(nn_real *y, const nn_real *x, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++, x += width, y += width) {
        nn_real top = -INFINITY;
        for (size_t i = 0; i < width; i++)
            top = x[i] > top ? x[i] : top; // a NaN is not greater; it comes back through its own exp
        double sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += exp((double)x[i] - top);
        for (size_t i = 0; i < width; i++)
            y[i] = (nn_real)(exp((double)x[i] - top) / sum);
    }
}

static void softmax_backward_c(nn_real *dx, const nn_real *dy, const nn_real *y, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++, dx += width, dy += width, y += width) {
        double sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += (double)dy[i] * y[i];
        for (size_t i = 0; i < width; i++)
            dx[i] += (nn_real)(y[i] * (dy[i] - sum));
    }
}

static nn_real log_sum_exp_c(const nn_real *x, size_t n)
{
    nn_real top = -INFINITY;
    for (size_t i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] == top ? 1 : exp((double)x[i] - top); // also where both are infinite
    return n == 0 ? -(nn_real)INFINITY : (nn_real)(top + log(sum));
}

static void add_c(nn_real *y, const nn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void scale_c(nn_real *y, nn_real a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= a;
}

static void axpy_c(nn_real *y, nn_real a, const nn_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void add_rows_c(nn_real *y, const nn_real *bias, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        add_c(y + r * width, bias, width);
}

static void sum_rows_c(nn_real *out, const nn_real *x, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        add_c(out, x + r * width, width);
}

static nn_real dot_c(const nn_real *a, const nn_real *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return (nn_real)sum;
}

static void adamw_c(nn_real *p, nn_real *m, nn_real *v, const nn_real *g, size_t n, const NnAdamwStep *s)
{
    for (size_t i = 0; i < n; i++) {
        const nn_real grad = s->grad_scale * g[i];
        m[i] = s->beta1 * m[i] + s->rest1 * grad;
        v[i] = s->beta2 * v[i] + s->rest2 * (grad * grad);
        p[i] = s->keep * p[i] - s->step * m[i] / (nn_sqrt(v[i]) * s->inv_sqrt_c2 + s->eps);
    }
}

static uint16_t load_half(const void *in, size_t i)
{
    uint16_t h;
    memcpy(&h, (const uint8_t *)in + 2 * i, sizeof h);
    return h;
}

static void store_half(void *out, size_t i, uint16_t h)
{
    memcpy((uint8_t *)out + 2 * i, &h, sizeof h);
}

static void f16_to_f32_c(float *out, const void *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = nn_f16_to_f32(load_half(in, i));
}

static void f32_to_f16_c(void *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        store_half(out, i, nn_f32_to_f16(in[i]));
}

static void bf16_to_f32_c(float *out, const void *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = nn_bf16_to_f32(load_half(in, i));
}

static void f32_to_bf16_c(void *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        store_half(out, i, nn_f32_to_bf16(in[i]));
}

static void gelu_bf16_c(void *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        store_half(out, i, nn_f32_to_bf16((float)(0.5 * in[i] * erfc(-(double)in[i] * sqrt_half))));
}

static void quick_gelu_bf16_c(void *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        store_half(out, i, nn_f32_to_bf16((float)(in[i] / (1 + exp(-1.702 * (double)in[i])))));
}

static void pack_panel_c(nn_real *panel, const nn_real *w, size_t ldw, size_t columns, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < NN_PANEL; j++)
            panel[i * NN_PANEL + j] = j < columns ? w[j * ldw + i] : 0;
    }
}

static void panel_product_c(nn_real *y, size_t ldy, const nn_real *x, size_t ldx, const nn_real *panel, size_t rows,
                            size_t columns, size_t k, int add)
{
    for (size_t r = 0; r < rows; r++) {
        nn_real sum[NN_PANEL] = {0};
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < NN_PANEL; j++)
                sum[j] += x[r * ldx + i] * panel[i * NN_PANEL + j];
        }
        for (size_t j = 0; j < columns; j++)
            y[r * ldy + j] = add ? y[r * ldy + j] + sum[j] : sum[j];
    }
}

static const NnKernels reference = {
    .name = "c",
    .exp = exp_c,
    .gelu = gelu_c,
    .gelu_backward = gelu_backward_c,
    .gelu_again = gelu_again_c,
    .quick_gelu = quick_gelu_c,
    .quick_gelu_backward = quick_gelu_backward_c,
    .quick_gelu_again = quick_gelu_again_c,
    .layernorm = layernorm_c,
    .layernorm_backward = layernorm_backward_c,
    .softmax = softmax_c,
    .softmax_backward = softmax_backward_c,
    .log_sum_exp = log_sum_exp_c,
    .add = add_c,
    .scale = scale_c,
    .axpy = axpy_c,
    .add_rows = add_rows_c,
    .sum_rows = sum_rows_c,
    .dot = dot_c,
    .pack_panel = pack_panel_c,
    .panel_product = panel_product_c,
    .gemm_pack = nn_gemm_pack_c,
    .gemm_tile = nn_gemm_tile_c,
    .gemm_pack_bf16 = nn_gemm_pack_bf16_c,
    .gemm_tile_bf16 = nn_gemm_tile_bf16_c,
    .round_bf16 = f32_to_bf16_c,
    .gelu_bf16 = gelu_bf16_c,
    .quick_gelu_bf16 = quick_gelu_bf16_c,
    .quantize = nn_quantize_c,
    .gemm_tile_int8 = nn_gemm_tile_int8_c,
    .dequantize = nn_dequantize_c,
    .attention_exp = nn_attention_exp_c,
    .attention_weights = nn_attention_weights_c,
    .attention_slopes = nn_attention_slopes_c,
    .adamw = adamw_c,
    .f16_to_f32 = f16_to_f32_c,
    .f32_to_f16 = f32_to_f16_c,
    .bf16_to_f32 = bf16_to_f32_c,
    .f32_to_bf16 = f32_to_bf16_c,
};

const NnKernels *nn_kernels_reference(void)
{
    return &reference;
}

void nn_kernels_init(NnKernels *k, uint32_t flags)
{
    *k = reference;
#ifdef NN_HAVE_X86
    nn_kernels_init_x86(k, flags);
#else
    (void)flags;
#endif
}

// Filled once and only read afterwards.
static NnKernels chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    nn_kernels_init(&chosen, vc_cpu_flags());
}

const NnKernels *nn_kernels(void)
{
    pthread_once(&chosen_once, choose);
    return &chosen;
}
