// SPDX-License-Identifier: MIT
#include "extract/resample.h"

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

// Pillow's src/libImaging/Resample.c is the specification, down to the order of the operations on doubles: the weights
// of a sample are normalised in double, then rounded half away from zero to BITS of fraction.
enum { BITS = 32 - 8 - 2, STRIP = 16 };

// Keys' kernel with a = -0.5.
static double cubic(double x)
{
    const double a = -0.5;
    x = x < 0 ? -x : x;
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

// Weights of output samples begin .. begin + count - 1 along one axis: sample i is the sum of taps[i] inputs from
// first[i] on.
typedef struct {
    int count, size; // samples; room for taps of one
    int *first, *taps;
    double *real;   // [count * size], normalised
    int32_t *fixed; // [count * size]
} Axis;

// Pillow keeps a box in single precision.
static void axis_init(Axis *a, int in_size, float in0, float in1, int out_size, int begin, int count)
{
    const double scale = (double)(in1 - in0) / out_size, stretch = scale < 1.0 ? 1.0 : scale;
    const double support = 2.0 * stretch, step = 1.0 / stretch;
    a->count = count;
    a->size = (int)ceil(support) * 2 + 1;
    a->first = vc_alloc((size_t)count, sizeof *a->first);
    a->taps = vc_alloc((size_t)count, sizeof *a->taps);
    a->real = vc_alloc((size_t)count * (size_t)a->size, sizeof *a->real);
    a->fixed = vc_alloc((size_t)count * (size_t)a->size, sizeof *a->fixed);
    for (int i = 0; i < count; i++) {
        const double centre = in0 + (begin + i + 0.5) * scale;
        int lo = (int)(centre - support + 0.5), hi = (int)(centre + support + 0.5);
        lo = lo < 0 ? 0 : lo;
        hi = hi > in_size ? in_size : hi;
        double *real = a->real + (size_t)i * (size_t)a->size, total = 0.0;
        int32_t *fixed = a->fixed + (size_t)i * (size_t)a->size;
        for (int k = 0; k < hi - lo; k++) {
            real[k] = cubic((k + lo - centre + 0.5) * step);
            total += real[k];
        }
        for (int k = 0; k < hi - lo; k++) {
            if (total != 0.0)
                real[k] /= total;
            fixed[k] = (int32_t)((real[k] < 0 ? -0.5 : 0.5) + real[k] * (1 << BITS));
        }
        a->first[i] = lo;
        a->taps[i] = hi - lo;
    }
}

static void axis_finish(Axis *a)
{
    free(a->first);
    free(a->taps);
    free(a->real);
    free(a->fixed);
}

// The one inner loop: out[n] = the sum over taps of weight x in[tap * stride + n], rounded and clamped to 8 bits. Both
// passes use it: the vertical one on rows as they are, the horizontal one on a strip of rows turned on its side.
// Blocks of 64 keep the sums in registers. The same C is compiled for three instruction sets: integer sums, same bytes.
static inline __attribute__((always_inline)) void weigh(uint8_t *restrict out, const uint8_t *restrict in,
                                                        size_t stride, const int32_t *restrict weights, int taps,
                                                        size_t n)
{
    enum { BLOCK = 64 };
    for (size_t base = 0; base < n; base += BLOCK) {
        int32_t sum[BLOCK];
        const size_t m = n - base < BLOCK ? n - base : BLOCK;
        for (size_t i = 0; i < BLOCK; i++)
            sum[i] = 1 << (BITS - 1);
        const uint8_t *row = in + base;
        if (m == BLOCK) {
            for (int k = 0; k < taps; k++, row += stride) {
                for (size_t i = 0; i < BLOCK; i++)
                    sum[i] += weights[k] * row[i];
            }
        } else {
            for (int k = 0; k < taps; k++, row += stride) {
                for (size_t i = 0; i < m; i++)
                    sum[i] += weights[k] * row[i];
            }
        }
        for (size_t i = 0; i < m; i++) {
            const int32_t v = sum[i] >> BITS;
            out[base + i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    }
}

typedef void (*WeighFn)(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, int taps, size_t n);

static void weigh_plain(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, int taps, size_t n)
{
    weigh(out, in, stride, weights, taps, n);
}

VC_TARGET("avx2")
static void weigh_avx2(uint8_t *out, const uint8_t *in, size_t stride, const int32_t *weights, int taps, size_t n)
{
    weigh(out, in, stride, weights, taps, n);
}

// gcc needs to be told that it may use the whole width; clang takes it from the loop.
#ifdef __clang__
#define AVX512 "avx512f,avx512bw,avx512dq,avx512vl"
#else
#define AVX512 "avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"
#endif

__attribute__((target(AVX512))) static void weigh_avx512(uint8_t *out, const uint8_t *in, size_t stride,
                                                         const int32_t *weights, int taps, size_t n)
{
    weigh(out, in, stride, weights, taps, n);
}

static WeighFn choose_weigh(void)
{
    const uint32_t flags = vc_cpu_flags();
    return flags & VC_CPU_AVX512 ? weigh_avx512 : flags & VC_CPU_AVX2 ? weigh_avx2 : weigh_plain;
}

static uint8_t times_255(uint32_t a, uint32_t b) // a * b / 255, rounded
{
    const uint32_t v = a * b + 128;
    return (uint8_t)((v + (v >> 8)) >> 8);
}

static void premultiply(uint8_t *p, size_t pixels, int channels)
{
    for (size_t i = 0; i < pixels; i++, p += channels) {
        for (int c = 0; c < channels - 1; c++)
            p[c] = times_255(p[c], p[channels - 1]);
    }
}

static void divide_alpha(uint8_t *p, size_t pixels, int channels)
{
    for (size_t i = 0; i < pixels; i++, p += channels) {
        const int alpha = p[channels - 1];
        if (alpha == 0 || alpha == 255)
            continue;
        for (int c = 0; c < channels - 1; c++) {
            const int v = 255 * p[c] / alpha;
            p[c] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

typedef struct {
    const uint8_t *src;
    int width, height, channels;
    ExtractBox box;
    int out_width, out_height;
    ExtractWindow window;
    bool alpha;
} Job;

// tile[x][row][channel] of columns lo..hi-1 and `rows` rows from `top` on: a strip turned on its side.
static inline __attribute__((always_inline)) void turn(uint8_t *restrict tile, const uint8_t *restrict src,
                                                       size_t pitch, size_t columns, size_t rows, size_t channels)
{
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = src + r * pitch;
        uint8_t *out = tile + r * channels;
        for (size_t x = 0; x < columns; x++, row += channels, out += rows * channels)
            memcpy(out, row, channels);
    }
}

static void turn_back(uint8_t *restrict out, size_t pitch, const uint8_t *restrict column, size_t rows, size_t channels)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(out + r * pitch, column + r * channels, channels);
}

// Rows top .. top + rows - 1 of the source, resampled along x to the window's columns.
static void horizontal(uint8_t *out, const Job *j, int top, int rows, WeighFn weigh_with)
{
    Axis x;
    const ExtractWindow w = j->window;
    axis_init(&x, j->width, (float)j->box.left, (float)j->box.right, j->out_width, w.x, w.width);
    const int lo = x.first[0], hi = x.first[w.width - 1] + x.taps[w.width - 1];
    const size_t channels = (size_t)j->channels, columns = (size_t)(hi - lo), pitch = (size_t)j->width * channels;
    const size_t out_pitch = (size_t)w.width * channels;
    uint8_t *tile = vc_alloc(columns * STRIP, channels);
    for (int y = 0; y < rows; y += STRIP) {
        const size_t n = (size_t)(rows - y < STRIP ? rows - y : STRIP), stride = n * channels;
        const uint8_t *src = j->src + (size_t)(top + y) * pitch + (size_t)lo * channels;
        if (channels == 3) { // the common case, with sizes the compiler knows
            turn(tile, src, pitch, columns, n, 3);
        } else {
            turn(tile, src, pitch, columns, n, channels);
        }
        if (j->alpha)
            premultiply(tile, columns * n, j->channels);
        for (int i = 0; i < w.width; i++) {
            uint8_t column[STRIP * 4];
            weigh_with(column, tile + (size_t)(x.first[i] - lo) * stride, stride, x.fixed + (size_t)i * (size_t)x.size,
                       x.taps[i], stride);
            turn_back(out + (size_t)y * out_pitch + (size_t)i * channels, out_pitch, column, n, channels);
        }
    }
    free(tile);
    axis_finish(&x);
}

static void copy_rows(uint8_t *out, const Job *j, int top, int rows)
{
    const size_t channels = (size_t)j->channels, out_pitch = (size_t)j->window.width * channels;
    for (int y = 0; y < rows; y++) {
        memcpy(out + (size_t)y * out_pitch,
               j->src + ((size_t)(top + y) * (size_t)j->width + (size_t)j->window.x) * channels, out_pitch);
    }
}

static bool axis_needed(int size, double from, double to, int out_size)
{
    return out_size != size || from != 0 || to != out_size;
}

static void check_job(const Job *j)
{
    const ExtractWindow w = j->window;
    VC_ASSERT(j->width > 0 && j->height > 0 && j->channels >= 1 && j->channels <= 4);
    VC_ASSERT(j->box.left >= 0 && j->box.top >= 0 && j->box.right <= j->width && j->box.bottom <= j->height);
    VC_ASSERT(j->box.left < j->box.right && j->box.top < j->box.bottom && j->out_width > 0 && j->out_height > 0);
    VC_ASSERT(w.x >= 0 && w.y >= 0 && w.width > 0 && w.height > 0 && w.width <= j->out_width - w.x &&
              w.height <= j->out_height - w.y);
}

static void resample(uint8_t *out, const Job *j)
{
    check_job(j);
    const ExtractWindow w = j->window;
    const WeighFn weigh_with = choose_weigh();
    const bool across = axis_needed(j->width, j->box.left, j->box.right, j->out_width);
    const bool down = axis_needed(j->height, j->box.top, j->box.bottom, j->out_height);
    const size_t pitch = (size_t)w.width * (size_t)j->channels;
    if (!down) {
        if (across) {
            horizontal(out, j, w.y, w.height, weigh_with);
        } else {
            copy_rows(out, j, w.y, w.height);
        }
    } else {
        Axis y;
        axis_init(&y, j->height, (float)j->box.top, (float)j->box.bottom, j->out_height, w.y, w.height);
        const int lo = y.first[0], hi = y.first[w.height - 1] + y.taps[w.height - 1];
        uint8_t *middle = vc_alloc((size_t)(hi - lo), pitch);
        if (across) {
            horizontal(middle, j, lo, hi - lo, weigh_with);
        } else {
            copy_rows(middle, j, lo, hi - lo);
            if (j->alpha)
                premultiply(middle, (size_t)(hi - lo) * (size_t)w.width, j->channels);
        }
        for (int i = 0; i < w.height; i++) {
            weigh_with(out + (size_t)i * pitch, middle + (size_t)(y.first[i] - lo) * pitch, pitch,
                       y.fixed + (size_t)i * (size_t)y.size, y.taps[i], pitch);
        }
        free(middle);
        axis_finish(&y);
    }
    if (j->alpha && (across || down))
        divide_alpha(out, (size_t)w.width * (size_t)w.height, j->channels);
}

void extract_resample(uint8_t *out, const uint8_t *src, int width, int height, int channels, ExtractBox box,
                      int out_width, int out_height, ExtractWindow window)
{
    const Job job = {src, width, height, channels, box, out_width, out_height, window, false};
    resample(out, &job);
}

void extract_resample_alpha(uint8_t *out, const uint8_t *src, int width, int height, int channels, ExtractBox box,
                            int out_width, int out_height, ExtractWindow window)
{
    VC_ASSERT(channels == 2 || channels == 4);
    const Job job = {src, width, height, channels, box, out_width, out_height, window, true};
    resample(out, &job);
}

static uint16_t round_16(double v)
{
    // As Pillow: each byte is clamped on its own, so what overshoots keeps its low byte under a high byte of 0 or 255.
    const int i = (int)(v >= 0.0 ? v + 0.5F : v - 0.5F);
    const int low = i % 256, high = i >> 8;
    return (uint16_t)((low < 0 ? 0 : low) | (high < 0 ? 0 : high > 255 ? 255 : high) << 8);
}

void extract_resample_16(uint16_t *out, const uint16_t *src, int width, int height, ExtractBox box, int out_width,
                         int out_height, ExtractWindow window)
{
    const Job job = {NULL, width, height, 1, box, out_width, out_height, window, false};
    check_job(&job);
    const size_t w = (size_t)window.width, h = (size_t)window.height;
    Axis x, y;
    axis_init(&x, width, (float)box.left, (float)box.right, out_width, window.x, window.width);
    axis_init(&y, height, (float)box.top, (float)box.bottom, out_height, window.y, window.height);
    const bool across = axis_needed(width, box.left, box.right, out_width);
    const bool down = axis_needed(height, box.top, box.bottom, out_height);
    const int lo = down ? y.first[0] : window.y;
    const int hi = down ? y.first[h - 1] + y.taps[h - 1] : window.y + window.height;
    uint16_t *middle = vc_alloc((size_t)(hi - lo) * w, sizeof *middle);
    for (size_t r = 0; r < (size_t)(hi - lo); r++) {
        const uint16_t *row = src + ((size_t)lo + r) * (size_t)width;
        for (size_t i = 0; i < w; i++) {
            double sum = 0.0;
            for (int k = 0; across && k < x.taps[i]; k++)
                sum += row[x.first[i] + k] * x.real[i * (size_t)x.size + (size_t)k];
            middle[r * w + i] = across ? round_16(sum) : row[(size_t)window.x + i];
        }
    }
    for (size_t r = 0; r < h; r++) {
        for (size_t i = 0; i < w; i++) {
            double sum = 0.0;
            for (int k = 0; down && k < y.taps[r]; k++)
                sum += middle[(size_t)(y.first[r] - lo + k) * w + i] * y.real[r * (size_t)y.size + (size_t)k];
            out[r * w + i] = down ? round_16(sum) : middle[r * w + i];
        }
    }
    free(middle);
    axis_finish(&x);
    axis_finish(&y);
}

// Source indices of the outputs along one axis. Pillow adds up the step in double from the first output on, and an
// output whose source falls outside stays empty: -1.
static int *nearest_axis(int size, double from, double to, int out_size, int begin, int count)
{
    const double step = (double)((float)to - (float)from) / out_size;
    int *index = vc_alloc((size_t)count, sizeof *index);
    double at = (float)from + step * 0.5;
    for (int i = 0; i < begin + count; i++, at += step) {
        if (i >= begin)
            index[i - begin] = at >= 0.0 && (int)at < size ? (int)at : -1;
    }
    return index;
}

void extract_nearest(uint8_t *out, const uint8_t *src, int width, int height, int bytes, ExtractBox box, int out_width,
                     int out_height, ExtractWindow window)
{
    const Job job = {NULL, width, height, 1, box, out_width, out_height, window, false};
    check_job(&job);
    VC_ASSERT(bytes > 0);
    const size_t size = (size_t)bytes;
    int *x = nearest_axis(width, box.left, box.right, out_width, window.x, window.width);
    int *y = nearest_axis(height, box.top, box.bottom, out_height, window.y, window.height);
    for (int r = 0; r < window.height; r++) {
        for (int i = 0; i < window.width; i++, out += size) {
            if (x[i] < 0 || y[r] < 0) {
                memset(out, 0, size);
            } else {
                memcpy(out, src + ((size_t)y[r] * (size_t)width + (size_t)x[i]) * size, size);
            }
        }
    }
    free(x);
    free(y);
}
