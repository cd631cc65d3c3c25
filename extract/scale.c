// SPDX-License-Identifier: MIT
#include "extract/scale.h"

#include "base/err.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

// Output sample i of an axis is the sum of `taps` inputs from first[i] on, with weights[i * taps ...] >> bits.
typedef struct {
    int count, taps, bits;
    int *first;
    int16_t *weights;
} Axis;

struct ExtractScaler {
    int in_height, out_width, out_height;
    Axis x, y;
    bool across, down; // this axis changes
    const ExtractScaleKernels *kernels;
    size_t row_bytes, pitch; // of an output row; with slack
    int ring_rows, pushed, emitted;
    uint8_t *in, *ring, *out; // a source row; rows as wide as the output; the output
    const uint8_t **rows;     // y.taps pointers into the ring
};

// --- kernels

static uint8_t clamp(int32_t v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void down_plain(uint8_t *out, const uint8_t *const *rows, const int16_t *weights, int taps, int bits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t sum = 1 << (bits - 1);
        for (int k = 0; k < taps; k++)
            sum += weights[k] * rows[k][i];
        out[i] = clamp(sum >> bits);
    }
}

static void across_plain(uint8_t *out, const uint8_t *row, const int *first, const int16_t *weights, int taps, int bits,
                         int n)
{
    for (int i = 0; i < n; i++, weights += taps) {
        const uint8_t *src = row + 3 * (size_t)first[i];
        for (int c = 0; c < 3; c++) {
            int32_t sum = 1 << (bits - 1);
            for (int k = 0; k < taps; k++)
                sum += weights[k] * src[3 * k + c];
            *out++ = clamp(sum >> bits);
        }
    }
}

const ExtractScaleKernels extract_scale_plain = {down_plain, across_plain};

const ExtractScaleKernels *extract_scale_kernels(void)
{
    const ExtractScaleKernels *vector = extract_scale_vector();
    return vector ? vector : &extract_scale_plain;
}

// --- weights

static double lanczos(double x)
{
    x = fabs(x);
    if (x < 1e-9)
        return 1;
    if (x >= 3)
        return 0;
    const double s = sin(pi * x / 3); // sin 3a = 3 sin a - 4 sin^3 a
    return 3 * s * s * (3 - 4 * s * s) / (pi * pi * x * x);
}

// Real weights of one sample over inputs lo .. lo + taps - 1, summing to 1; 0 outside the input.
static void sample_weights(double *w, int taps, int lo, double centre, double stretch, int in_size)
{
    double total = 0;
    for (int k = 0; k < taps; k++) {
        const int at = lo + k;
        w[k] = at < 0 || at >= in_size ? 0 : lanczos((at + 0.5 - centre) / stretch);
        total += w[k];
    }
    for (int k = 0; k < taps; k++)
        w[k] /= total;
}

// Rounds so that the sum is exactly 1 << bits: a flat picture stays as it is.
static void quantize(int16_t *out, const double *w, int taps, int bits)
{
    const double one = (double)(1 << bits);
    int sum = 0, peak = 0;
    for (int k = 0; k < taps; k++) {
        out[k] = (int16_t)lround(w[k] * one);
        sum += out[k];
        peak = w[k] > w[peak] ? k : peak;
    }
    out[peak] = (int16_t)(out[peak] + (1 << bits) - sum);
}

static void axis_init(Axis *a, int in_size, double extent, int out_size, int multiple)
{
    const double scale = extent / out_size, stretch = scale < 1 ? 1 : scale;
    a->count = out_size;
    const int most = (int)ceil(2 * 3 * stretch - 1e-9); // as many pixel centres lie within the kernel
    a->taps = (most + multiple - 1) / multiple * multiple;
    a->first = vc_alloc((size_t)out_size, sizeof *a->first);
    a->weights = vc_alloc((size_t)out_size * (size_t)a->taps, sizeof *a->weights);
    double *w = vc_alloc((size_t)a->taps, sizeof *w);
    // As many bits as 16-bit weights and 32-bit sums allow. The middle weight is about 1 / stretch, more at the rims,
    // and the rounding error of a sum lands on it.
    a->bits = 14;
    while (a->bits < 20 && 2.0 / stretch * (2 << a->bits) < 32767)
        a->bits++;
    for (int i = 0; i < out_size; i++) {
        const double centre = (i + 0.5) * scale;
        // May begin before the input or end behind it: those inputs weigh nothing, and the rows are slid inside.
        int lo = (int)floor(centre - 3 * stretch + 0.5);
        if (lo + a->taps > in_size)
            lo = in_size - a->taps;
        a->first[i] = lo < 0 ? 0 : lo;
        sample_weights(w, a->taps, a->first[i], centre, stretch, in_size);
        quantize(a->weights + (size_t)i * (size_t)a->taps, w, a->taps, a->bits);
    }
    free(w);
}

// --- rows in, rows out

ExtractScaler *extract_scaler_create(int in_width, int in_height, double extent_x, double extent_y, int out_width,
                                     int out_height, uint8_t *out)
{
    VC_ASSERT(in_width > 0 && in_height > 0 && out_width > 0 && out_height > 0);
    VC_ASSERT(extent_x > 0 && extent_x <= in_width && extent_y > 0 && extent_y <= in_height);
    ExtractScaler *s = vc_calloc(1, sizeof *s);
    s->in_height = in_height;
    s->out_width = out_width;
    s->out_height = out_height;
    s->out = out;
    s->kernels = extract_scale_kernels();
    s->across = in_width != out_width || extent_x < in_width;
    s->down = in_height != out_height || extent_y < in_height;
    if (s->across)
        axis_init(&s->x, in_width, extent_x, out_width, 4);
    if (s->down)
        axis_init(&s->y, in_height, extent_y, out_height, 2);
    // A narrow picture's taps run past its end, where they weigh nothing.
    const size_t overrun = s->across ? 3 * (size_t)s->x.taps : 0;
    s->in = vc_calloc(1, 3 * (size_t)in_width + overrun + EXTRACT_SCALER_SLACK);
    s->row_bytes = 3 * (size_t)out_width;
    s->pitch = s->row_bytes + EXTRACT_SCALER_SLACK;
    s->ring_rows = s->down ? s->y.taps : 1;
    s->ring = vc_calloc((size_t)s->ring_rows, s->pitch);
    s->rows = vc_calloc((size_t)s->ring_rows, sizeof *s->rows);
    return s;
}

uint8_t *extract_scaler_row(ExtractScaler *s)
{
    VC_ASSERT(s->pushed < s->in_height);
    return s->in;
}

// The source row at hand, as wide as the output.
static void narrow(ExtractScaler *s, uint8_t *out)
{
    if (s->across) {
        s->kernels->across(out, s->in, s->x.first, s->x.weights, s->x.taps, s->x.bits, s->out_width);
    } else {
        memcpy(out, s->in, s->row_bytes);
    }
}

static uint8_t *output_row(const ExtractScaler *s)
{
    return s->out + s->row_bytes * (size_t)s->emitted;
}

void extract_scaler_push(ExtractScaler *s)
{
    const Axis *y = &s->y;
    if (!s->down) {
        narrow(s, output_row(s));
        s->pushed++;
        s->emitted++;
        return;
    }
    narrow(s, s->ring + (size_t)(s->pushed % s->ring_rows) * s->pitch);
    s->pushed++;
    while (s->emitted < s->out_height) {
        const int first = y->first[s->emitted];
        const int last = first + y->taps < s->in_height ? first + y->taps : s->in_height;
        if (last > s->pushed)
            return;
        for (int k = 0; k < y->taps; k++) {
            const int at = first + k < last ? first + k : last - 1; // weighs nothing there
            s->rows[k] = s->ring + (size_t)(at % s->ring_rows) * s->pitch;
        }
        s->kernels->down(output_row(s), s->rows, y->weights + (size_t)s->emitted * (size_t)y->taps, y->taps, y->bits,
                         s->row_bytes);
        s->emitted++;
    }
}

static void axis_finish(Axis *a)
{
    free(a->first);
    free(a->weights);
}

void extract_scaler_destroy(ExtractScaler **scaler)
{
    if (!scaler || !*scaler)
        return;
    ExtractScaler *s = *scaler;
    axis_finish(&s->x);
    axis_finish(&s->y);
    free(s->ring);
    free(s->in);
    free(s->rows);
    free(s);
    *scaler = NULL;
}
