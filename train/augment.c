// SPDX-License-Identifier: MIT
#include "train/augment.h"

#include "base/cpu.h"
#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[TRAIN_AUGMENTS] = {
    "Identity", "AutoContrast", "Equalize",   "Brightness", "Sharpness",
    "ShearX",   "ShearY",       "TranslateX", "TranslateY", "Rotate",
};

const char *train_augment_name(TrainAugmentOp op)
{
    VC_ASSERT((int)op >= 0 && op < TRAIN_AUGMENTS);
    return names[op];
}

TrainAugment train_augment_at(TrainAugmentOp op, double level, bool negative)
{
    double share = level / 10, sign = negative ? -1 : 1;
    switch (op) {
    case TRAIN_BRIGHTNESS:
    case TRAIN_SHARPNESS:
        return (TrainAugment){op, share * 1.8 + 0.1};
    case TRAIN_SHEAR_X:
    case TRAIN_SHEAR_Y:
        return (TrainAugment){op, sign * share * 0.3};
    case TRAIN_TRANSLATE_X:
    case TRAIN_TRANSLATE_Y:
        return (TrainAugment){op, sign * share * 10};
    case TRAIN_ROTATE:
        return (TrainAugment){op, sign * share * 30};
    default:
        return (TrainAugment){op, 0};
    }
}

size_t train_augment_draw(VcRng *rng, size_t n, double level, TrainAugment *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        TrainAugmentOp op = (TrainAugmentOp)vc_rng_below(rng, TRAIN_AUGMENTS);
        bool keep = vc_rng_uniform(rng) < 0.5, negative = vc_rng_uniform(rng) < 0.5;
        if (keep)
            out[kept++] = train_augment_at(op, level, negative);
    }
    return kept;
}

// --- operations on the values of a channel: a table each

static void use_tables(uint8_t *pixels, size_t count, uint8_t table[3][256])
{
    for (size_t i = 0; i < count; i++, pixels += 3) {
        pixels[0] = table[0][pixels[0]];
        pixels[1] = table[1][pixels[1]];
        pixels[2] = table[2][pixels[2]];
    }
}

static void find_range(const uint8_t *pixels, size_t count, uint8_t low[3], uint8_t high[3])
{
    memset(low, 255, 3);
    memset(high, 0, 3);
    // 16 pixels at once: 48 running values, which the compiler keeps in vector registers
    enum { WIDE = 48 };
    uint8_t lows[WIDE], highs[WIDE];
    memset(lows, 255, WIDE);
    memset(highs, 0, WIDE);
    size_t whole = 3 * count / WIDE * WIDE;
    for (size_t i = 0; i < whole; i += WIDE) {
        for (size_t k = 0; k < WIDE; k++) {
            lows[k] = pixels[i + k] < lows[k] ? pixels[i + k] : lows[k];
            highs[k] = pixels[i + k] > highs[k] ? pixels[i + k] : highs[k];
        }
    }
    for (size_t k = 0; k < WIDE; k++) {
        low[k % 3] = lows[k] < low[k % 3] ? lows[k] : low[k % 3];
        high[k % 3] = highs[k] > high[k % 3] ? highs[k] : high[k % 3];
    }
    for (size_t i = whole; i < 3 * count; i++) {
        low[i % 3] = pixels[i] < low[i % 3] ? pixels[i] : low[i % 3];
        high[i % 3] = pixels[i] > high[i % 3] ? pixels[i] : high[i % 3];
    }
}

static void auto_contrast(uint8_t *pixels, size_t count, bool original)
{
    uint8_t low[3], high[3], table[3][256];
    find_range(pixels, count, low, high);
    for (int c = 0; c < 3; c++) {
        int range = high[c] - low[c];
        double scale = range > 0 ? 255.0 / range : 1;
        double offset = (uint8_t)-low[c] * scale; // the byte's own negative, as the released code has it
        for (int v = 0; v < 256; v++) {
            int made = range <= 0 ? v : original ? (int)fmin(v * scale + offset, 255) : (v - low[c]) * 255 / range;
            table[c][v] = (uint8_t)(made < 0 ? 0 : made > 255 ? 255 : made);
        }
    }
    use_tables(pixels, count, table);
}

static void equalize(uint8_t *pixels, size_t count)
{
    uint32_t histogram[3][256] = {{0}};
    uint8_t table[3][256];
    for (size_t i = 0; i < count; i++) {
        histogram[0][pixels[3 * i]]++;
        histogram[1][pixels[3 * i + 1]]++;
        histogram[2][pixels[3 * i + 2]]++;
    }
    for (int c = 0; c < 3; c++) {
        uint32_t last = 255;
        while (last > 0 && histogram[c][last] == 0)
            last--;
        uint32_t step = ((uint32_t)count - histogram[c][last]) / 255, sum = step / 2;
        for (int v = 0; v < 256; v++) {
            uint32_t made = step > 0 ? sum / step : (uint32_t)v;
            table[c][v] = (uint8_t)(made > 255 ? 255 : made);
            sum += histogram[c][v];
        }
    }
    use_tables(pixels, count, table);
}

static void brighten(uint8_t *pixels, size_t count, float factor)
{
    uint8_t table[3][256];
    for (int v = 0; v < 256; v++)
        table[0][v] = (uint8_t)fminf(fmaxf((float)v * factor, 0), 255);
    memcpy(table[1], table[0], 256);
    memcpy(table[2], table[0], 256);
    use_tables(pixels, count, table);
}

// --- Sharpness

// n bytes of a row: `up`, `at`, `down` are the same bytes of three rows; neighbours are 3 bytes away.
static inline __attribute__((always_inline)) void sharpen_row(uint8_t *restrict out, const uint8_t *restrict up,
                                                              const uint8_t *restrict at, const uint8_t *restrict down,
                                                              size_t n, float factor, bool wrap)
{
    for (size_t i = 3; i < n - 3; i++) {
        uint32_t sum = (uint32_t)up[i - 3] + up[i] + up[i + 3] + at[i - 3] + 5u * at[i] + at[i + 3] + down[i - 3] +
                       down[i] + down[i + 3];
        // sum/13 rounded to the nearest; there are no ties. The product is exact up to 13 * 255.
        float blur = (float)(int32_t)((sum + 6) * 20165 >> 18);
        float made = blur + factor * ((float)at[i] - blur);
        float cut = made < 0 ? 0 : made > 255 ? 255 : made;
        out[i] = (uint8_t)(int32_t)(wrap ? made : cut);
    }
}

static inline __attribute__((always_inline)) void sharpen_rows(uint8_t *out, const uint8_t *in, size_t n, int height,
                                                               float factor, bool wrap)
{
    for (int y = 1; y < height - 1; y++) {
        const uint8_t *row = in + (size_t)y * n;
        if (wrap) {
            sharpen_row(out + (size_t)y * n, row - n, row, row + n, n, factor, true);
        } else {
            sharpen_row(out + (size_t)y * n, row - n, row, row + n, n, factor, false);
        }
    }
}

static void sharpen_plain(uint8_t *out, const uint8_t *in, size_t n, int height, float factor, bool wrap)
{
    sharpen_rows(out, in, n, height, factor, wrap);
}

VC_TARGET("avx2")
static void sharpen_avx2(uint8_t *out, const uint8_t *in, size_t n, int height, float factor, bool wrap)
{
    sharpen_rows(out, in, n, height, factor, wrap);
}

static void sharpen(uint8_t *pixels, uint8_t *scratch, int width, int height, float factor, bool wrap)
{
    size_t n = 3 * (size_t)width;
    if (width < 3 || height < 3)
        return;
    memcpy(scratch, pixels, n * (size_t)height);
    (vc_cpu_flags() & VC_CPU_AVX2 ? sharpen_avx2 : sharpen_plain)(pixels, scratch, n, height, factor, wrap);
}

// --- affine

enum { FILL = 128, LANE = 21 };

// Three bytes as three numbers of 21 bits in one word: room for a byte times 1024, so that one multiplication does all
// channels.
static inline uint64_t spread(uint32_t rgb)
{
    return (rgb & 0xFFu) | (uint64_t)(rgb & 0xFF00u) << (LANE - 8) | (uint64_t)(rgb & 0xFF0000u) << (2 * LANE - 16);
}

static inline uint64_t pixel(const uint8_t *p)
{
    return spread(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16);
}

static uint64_t pixel_or_fill(const uint8_t *in, int width, int height, int x, int y)
{
    if (x < 0 || y < 0 || x >= width || y >= height)
        return spread(FILL * 0x010101u);
    return pixel(in + 3 * ((size_t)y * (size_t)width + (size_t)x));
}

// The nearest whole number, ties to even, as a coordinate that may be far outside.
static int64_t fixed(double x)
{
    return (int64_t)nearbyint(fmin(fmax(x, -2147483648.0), 2147483647.0));
}

static void put_pixel(uint8_t *out, const uint64_t corner[4], uint64_t a, uint64_t b)
{
    const uint64_t half = 512 | 512ull << LANE | 512ull << 2 * LANE;
    uint64_t top = corner[0] * (32 - a) + corner[1] * a, bottom = corner[2] * (32 - a) + corner[3] * a;
    uint64_t sum = top * (32 - b) + bottom * b + half;
    out[0] = (uint8_t)(sum >> 10);
    out[1] = (uint8_t)(sum >> (10 + LANE));
    out[2] = (uint8_t)(sum >> (10 + 2 * LANE));
}

// `columns` pixels of a row; x and y of the source in 1/1024 of a pixel are (x0, y0) + the column's delta.
static void warp_row(uint8_t *out, const uint8_t *in, int width, int height, const int64_t *dx, const int64_t *dy,
                     int columns, int64_t x0, int64_t y0)
{
    size_t row = 3 * (size_t)width;
    for (int i = 0; i < columns; i++, out += 3) {
        int64_t x32 = (x0 + dx[i]) >> 5, y32 = (y0 + dy[i]) >> 5; // in 1/32
        int64_t x = x32 >> 5, y = y32 >> 5;
        uint64_t corner[4];
        if (x >= 0 && y >= 0 && x < width - 1 && y < height - 1 && (x < width - 2 || y < height - 2)) {
            // eight bytes at once, of which six are looked at; not in the last corner, where two would be outside
            const uint8_t *p = in + (size_t)y * row + 3 * (size_t)x;
            uint64_t top, bottom;
            memcpy(&top, p, 8);
            memcpy(&bottom, p + row, 8);
            corner[0] = spread((uint32_t)top);
            corner[1] = spread((uint32_t)(top >> 24));
            corner[2] = spread((uint32_t)bottom);
            corner[3] = spread((uint32_t)(bottom >> 24));
        } else if (x < -1 || y < -1 || x >= width || y >= height) {
            memset(out, FILL, 3);
            continue;
        } else {
            for (int k = 0; k < 4; k++)
                corner[k] = pixel_or_fill(in, width, height, (int)x + k % 2, (int)y + k / 2);
        }
        put_pixel(out, corner, (uint64_t)(x32 & 31), (uint64_t)(y32 & 31));
    }
}

// m: from source to destination, [m0 m1 m2; m3 m4 m5]. The inverse in the reference's order of operations.
static void warp(uint8_t *out, const uint8_t *in, int width, int height, const double m[6])
{
    enum { COLUMNS = 256 };
    int64_t dx[COLUMNS], dy[COLUMNS];
    double d = 1 / (m[0] * m[4] - m[1] * m[3]); // of our matrices never 0
    double a = m[4] * d, b = m[1] * -d, e = m[3] * -d, f = m[0] * d;
    double c = -a * m[2] - b * m[5], g = -e * m[2] - f * m[5];
    for (int first = 0; first < width; first += COLUMNS) {
        int columns = width - first < COLUMNS ? width - first : COLUMNS;
        for (int i = 0; i < columns; i++) {
            dx[i] = fixed(a * (first + i) * 1024);
            dy[i] = fixed(e * (first + i) * 1024);
        }
        for (int y = 0; y < height; y++) {
            warp_row(out + 3 * ((size_t)y * (size_t)width + (size_t)first), in, width, height, dx, dy, columns,
                     fixed((b * y + c) * 1024) + 16, fixed((f * y + g) * 1024) + 16);
        }
    }
}

static void apply_matrix(uint8_t *pixels, uint8_t *scratch, int width, int height, const double m[6])
{
    memcpy(scratch, pixels, 3 * (size_t)width * (size_t)height);
    warp(pixels, scratch, width, height, m);
}

// Shifts by whole pixels: what the matrix would give, by copying.
static void shift(uint8_t *pixels, uint8_t *scratch, int width, int height, int x, int y)
{
    const size_t row = 3 * (size_t)width, all = row * (size_t)height;
    const int columns = width - abs(x);
    memcpy(scratch, pixels, all);
    memset(pixels, FILL, all);
    for (int to = 0; to < height && columns > 0; to++) {
        const int from = to + y;
        if (from >= 0 && from < height) {
            memcpy(pixels + (size_t)to * row + 3 * (size_t)(x < 0 ? -x : 0),
                   scratch + (size_t)from * row + 3 * (size_t)(x > 0 ? x : 0), 3 * (size_t)columns);
        }
    }
}

// Destination (i, j) is source (i + x, j + y).
static void translate(uint8_t *pixels, uint8_t *scratch, int width, int height, double x, double y)
{
    if (x == rint(x) && y == rint(y) && fabs(x) < 1e6 && fabs(y) < 1e6) {
        shift(pixels, scratch, width, height, (int)x, (int)y);
    } else {
        apply_matrix(pixels, scratch, width, height, (const double[6]){1, 0, -x, 0, 1, -y});
    }
}

static void rotate(uint8_t *pixels, uint8_t *scratch, int width, int height, double degrees)
{
    double angle = degrees * (M_PI / 180), c = cos(angle), s = sin(angle);
    double x = width / 2.0, y = height / 2.0;
    apply_matrix(pixels, scratch, width, height,
                 (const double[6]){c, s, (1 - c) * x - s * y, -s, c, s * x + (1 - c) * y});
}

void train_augment_apply(TrainAugment augment, uint8_t *pixels, uint8_t *scratch, int width, int height, bool original)
{
    size_t count = (size_t)width * (size_t)height;
    double value = (double)(float)augment.value; // the reference's matrices and factors are single precision
    switch (augment.op) {
    case TRAIN_AUTO_CONTRAST:
        auto_contrast(pixels, count, original);
        break;
    case TRAIN_EQUALIZE:
        equalize(pixels, count);
        break;
    case TRAIN_BRIGHTNESS:
        brighten(pixels, count, (float)value);
        break;
    case TRAIN_SHARPNESS:
        sharpen(pixels, scratch, width, height, (float)value, original);
        break;
    case TRAIN_SHEAR_X:
        apply_matrix(pixels, scratch, width, height, (const double[6]){1, value, 0, 0, 1, 0});
        break;
    case TRAIN_SHEAR_Y:
        apply_matrix(pixels, scratch, width, height, (const double[6]){1, 0, 0, value, 1, 0});
        break;
    case TRAIN_TRANSLATE_X:
        translate(pixels, scratch, width, height, value, 0);
        break;
    case TRAIN_TRANSLATE_Y:
        translate(pixels, scratch, width, height, 0, value);
        break;
    case TRAIN_ROTATE:
        rotate(pixels, scratch, width, height, augment.value);
        break;
    case TRAIN_IDENTITY:
    case TRAIN_AUGMENTS:
        break;
    }
}
