// SPDX-License-Identifier: MIT
#include "extract/measure.h"

#include "base/cpu.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, BASIS = 9 };
static const double pi = 3.14159265358979323846;

// --- one pass over the pixels; the same C for two instruction sets, integers only: the same figures

typedef struct {
    uint8_t *grey; // width x height
    uint64_t sum, plain;
    int64_t edge_sum, edge_squares; // of the Laplacian
} Tones;

static inline __attribute__((always_inline)) void read_tones(Tones *t, const uint8_t *restrict rgb, size_t n)
{
    enum { BLOCK = 4096 };
    uint8_t *restrict grey = t->grey;
    for (size_t base = 0; base < n; base += BLOCK) {
        const size_t m = n - base < BLOCK ? n - base : BLOCK;
        uint32_t sum = 0, plain = 0;
        for (size_t i = base; i < base + m; i++) {
            const uint8_t r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
            const uint8_t hi_rg = r > g ? r : g, lo_rg = r < g ? r : g;
            const uint8_t hi = hi_rg > b ? hi_rg : b, lo = lo_rg < b ? lo_rg : b;
            // BT.601 in 8 bits.
            const uint8_t v = (uint8_t)((uint16_t)(77 * r + 150 * g + 29 * b + 128) >> 8);
            grey[i] = v;
            sum += v;
            plain += (uint8_t)(hi - lo) <= 8;
        }
        t->sum += sum;
        t->plain += plain;
    }
}

// Sums of the 4-neighbour Laplacian of the inside.
static inline __attribute__((always_inline)) void read_edges(Tones *t, size_t width, size_t height)
{
    for (size_t y = 1; y + 1 < height; y++) {
        const uint8_t *row = t->grey + y * width, *up = row - width, *down = row + width;
        for (size_t base = 1; base + 1 < width; base += 1024) { // 1024 squares of at most 1020 fit in 32 bits
            const size_t end = width - 1 - base < 1024 ? width - 1 : base + 1024;
            int32_t sum = 0;
            uint32_t squares = 0;
            for (size_t x = base; x < end; x++) {
                const int32_t v = up[x] + down[x] + row[x - 1] + row[x + 1] - 4 * row[x];
                sum += v;
                squares += (uint32_t)(v * v);
            }
            t->edge_sum += sum;
            t->edge_squares += squares;
        }
    }
}

static inline __attribute__((always_inline)) void read_all(Tones *t, const uint8_t *rgb, size_t width, size_t height)
{
    read_tones(t, rgb, width * height);
    read_edges(t, width, height);
}

static void read_plain(Tones *t, const uint8_t *rgb, size_t width, size_t height)
{
    read_all(t, rgb, width, height);
}

VC_TARGET("avx2")
static void read_avx2(Tones *t, const uint8_t *rgb, size_t width, size_t height)
{
    read_all(t, rgb, width, height);
}

// Variance of the Laplacian; 0 where there is no inside.
static double edge_variance(const Tones *t, size_t width, size_t height)
{
    if (width < 3 || height < 3)
        return 0;
    const double n = (double)((width - 2) * (height - 2)), mean = (double)t->edge_sum / n;
    return (double)t->edge_squares / n - mean * mean;
}

// --- small pictures of it

// cell[c] of `cells` equal parts of 0..n: its first and one past its last sample; at least one.
static void part(size_t n, size_t cells, size_t c, size_t *lo, size_t *hi)
{
    *lo = c * n / cells;
    *hi = (c + 1) * n / cells;
    if (*hi == *lo)
        ++*hi;
}

// Share of sample `at` of n that lies in part i of SIDE, as a length in parts.
static float overlap(size_t n, size_t at, int i)
{
    const float from = (float)at * SIDE / (float)n, to = (float)(at + 1) * SIDE / (float)n;
    const float a = from > (float)i ? from : (float)i, b = to < (float)(i + 1) ? to : (float)(i + 1);
    return b > a ? b - a : 0;
}

// Means over SIDE x SIDE boxes; a box begins and ends inside a pixel, which then counts by its share.
static void shrink_grey(float out[SIDE][SIDE], const uint8_t *grey, size_t width, size_t height)
{
    float *tall = vc_calloc(SIDE * width, sizeof *tall); // SIDE rows of width
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = grey + y * width;
        for (int i = (int)(y * SIDE / height); i < SIDE; i++) {
            const float share = overlap(height, y, i);
            float *restrict sum = tall + (size_t)i * width;
            if (share <= 0)
                break;
            for (size_t x = 0; x < width; x++)
                sum[x] += share * row[x];
        }
    }
    memset(out, 0, sizeof(float) * SIDE * SIDE);
    for (size_t x = 0; x < width; x++) {
        for (int i = (int)(x * SIDE / width); i < SIDE; i++) {
            const float share = overlap(width, x, i);
            if (share <= 0)
                break;
            for (int y = 0; y < SIDE; y++)
                out[y][i] += share * tall[(size_t)y * width + x];
        }
    }
    free(tall);
}

static void mean_colours(uint8_t *out, const uint8_t *rgb, size_t width, size_t height)
{
    for (size_t cy = 0; cy < EXTRACT_CELLS; cy++) {
        for (size_t cx = 0; cx < EXTRACT_CELLS; cx++, out += 3) {
            size_t x0, x1, y0, y1;
            part(width, EXTRACT_CELLS, cx, &x0, &x1);
            part(height, EXTRACT_CELLS, cy, &y0, &y1);
            uint64_t sum[3] = {0};
            for (size_t y = y0; y < y1; y++) {
                const uint8_t *p = rgb + 3 * (y * width + x0);
                uint32_t r = 0, g = 0, b = 0;
                for (size_t x = x0; x < x1; x++, p += 3) {
                    r += p[0];
                    g += p[1];
                    b += p[2];
                }
                sum[0] += r;
                sum[1] += g;
                sum[2] += b;
            }
            for (int c = 0; c < 3; c++)
                out[c] = (uint8_t)(sum[c] / ((x1 - x0) * (y1 - y0)));
        }
    }
}

// --- perceptual hash

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// The 64 lowest frequencies but the mean: u, v < 8 without (0, 0), and (8, 0).
static void low_frequencies(float out[64], float small[SIDE][SIDE])
{
    float basis[BASIS][SIDE], half[BASIS][SIDE];
    for (int u = 0; u < BASIS; u++) {
        for (int x = 0; x < SIDE; x++)
            basis[u][x] = (float)cos(pi * u * (2 * x + 1) / (2 * SIDE));
    }
    for (int v = 0; v < BASIS; v++) {
        for (int x = 0; x < SIDE; x++) {
            half[v][x] = 0;
            for (int y = 0; y < SIDE; y++)
                half[v][x] += basis[v][y] * small[y][x];
        }
    }
    for (int i = 1; i <= 64; i++) {
        const int v = i / 8, u = i % 8; // i = 64: v = 8, u = 0
        float sum = 0;
        for (int x = 0; x < SIDE; x++)
            sum += half[v][x] * basis[u][x];
        // Less than a fifth of a grey level is noise of the encoder: a flat picture has no signs.
        out[i - 1] = fabsf(sum) < 0.1F * SIDE * SIDE / 4 ? 0 : sum;
    }
}

static uint64_t perceptual_hash(const uint8_t *grey, size_t width, size_t height)
{
    float small[SIDE][SIDE], f[64], sorted[64];
    shrink_grey(small, grey, width, height);
    low_frequencies(f, small);
    memcpy(sorted, f, sizeof sorted);
    qsort(sorted, 64, sizeof *sorted, by_size);
    const float median = (sorted[31] + sorted[32]) / 2;
    uint64_t hash = 0;
    for (int i = 0; i < 64; i++)
        hash |= (uint64_t)(f[i] > median) << i;
    return hash;
}

void extract_measure(ExtractMeasures *out, const uint8_t *rgb, int width, int height)
{
    const size_t w = (size_t)width, h = (size_t)height, n = w * h;
    Tones t = {.grey = vc_alloc(n, 1)};
    (vc_cpu_flags() & VC_CPU_AVX2 ? read_avx2 : read_plain)(&t, rgb, w, h);
    *out = (ExtractMeasures){.phash = perceptual_hash(t.grey, w, h),
                             .blurriness = (float)(1 / (1 + edge_variance(&t, w, h) / 100)),
                             .darkness = (float)(1 - (double)t.sum / (double)n / 255),
                             .grey = (float)((double)t.plain / (double)n)};
    mean_colours(out->colours, rgb, w, h);
    free(t.grey);
}

int extract_hamming(uint64_t a, uint64_t b)
{
    return __builtin_popcountll(a ^ b);
}

bool extract_looks_same(const ExtractMeasures *a, int width_a, int height_a, const ExtractMeasures *b, int width_b,
                        int height_b)
{
    const double aspect = (double)width_a * height_b / ((double)width_b * height_a);
    if (extract_hamming(a->phash, b->phash) > EXTRACT_NEAR_BITS || aspect > 1.03 || aspect < 1 / 1.03)
        return false;
    for (size_t i = 0; i < sizeof a->colours; i++) {
        if (abs(a->colours[i] - b->colours[i]) > EXTRACT_NEAR_COLOUR)
            return false;
    }
    return true;
}
