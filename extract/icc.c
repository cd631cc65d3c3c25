// SPDX-License-Identifier: MIT
#include "extract/icc.h"

#include "extract/sniff_impl.h"

#include <math.h>

enum { HEADER = 128, MAX_TAGS = 100 };

static Bytes find_tag(Bytes icc, const char *name)
{
    const uint32_t tags = be32(icc.p + HEADER);
    for (uint32_t i = 0; i < tags && i < MAX_TAGS && icc.n - HEADER - 4 >= 12 * ((size_t)i + 1); i++) {
        const uint8_t *entry = icc.p + HEADER + 4 + 12 * (size_t)i;
        const uint32_t at = be32(entry + 4), length = be32(entry + 8);
        if (memcmp(entry, name, 4) == 0)
            return at <= icc.n && length <= icc.n - at ? (Bytes){icc.p + at, length} : (Bytes){NULL, 0};
    }
    return (Bytes){NULL, 0};
}

static double fixed(const uint8_t *p) // s15Fixed16Number
{
    return (double)(int32_t)be32(p) / 65536;
}

static bool is_colorant(Bytes tag, double x, double y, double z)
{
    return tag.n >= 20 && memcmp(tag.p, "XYZ ", 4) == 0 && fabs(fixed(tag.p + 8) - x) < 0.002 &&
           fabs(fixed(tag.p + 12) - y) < 0.002 && fabs(fixed(tag.p + 16) - z) < 0.002;
}

static double srgb(double v) // IEC 61966-2-1
{
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

// The curve of a tag at v in 0..1; negative when it is of a kind that is not read here.
static double curve_at(Bytes tag, double v)
{
    if (tag.n >= 12 && memcmp(tag.p, "curv", 4) == 0) {
        const uint32_t count = be32(tag.p + 8);
        if (count == 0)
            return v;
        if (count == 1 && tag.n >= 14)
            return pow(v, be16(tag.p + 12) / 256.0);
        if (count < 16 || count > 65536 || tag.n < 12 + 2 * (size_t)count)
            return -1;
        const double at = v * (count - 1);
        const uint32_t lo = at >= count - 1 ? count - 2 : (uint32_t)at;
        const double a = be16(tag.p + 12 + 2 * (size_t)lo), b = be16(tag.p + 14 + 2 * (size_t)lo);
        return (a + (b - a) * (at - lo)) / 65535;
    }
    if (tag.n >= 32 && memcmp(tag.p, "para", 4) == 0 && be16(tag.p + 8) == 3) {
        double k[5]; // gamma, a, b, c, d
        for (int i = 0; i < 5; i++)
            k[i] = fixed(tag.p + 12 + 4 * i);
        const double base = k[1] * v + k[2];
        return v >= k[4] ? (base < 0 ? -1 : pow(base, k[0])) : k[3] * v;
    }
    return -1;
}

// Within half a step of 8 bits, judged where the steps are finest: in encoded values.
static bool is_srgb_curve(Bytes tag)
{
    double low = 0;
    for (int i = 0; i < 256; i++) {
        const double got = curve_at(tag, i / 255.0), high = srgb((i + 0.5) / 255);
        if (!(got >= low - 1e-4 && got <= high + 1e-4))
            return false;
        low = high;
    }
    return true;
}

static bool is_same(Bytes a, Bytes b)
{
    return a.p == b.p && a.n == b.n;
}

static bool is_matrix_profile(Bytes b)
{
    return b.n >= HEADER + 4 && memcmp(b.p + 36, "acsp", 4) == 0 && memcmp(b.p + 16, "RGB XYZ ", 8) == 0 &&
           !find_tag(b, "A2B0").p;
}

bool extract_icc_is_srgb(const uint8_t *icc, size_t n)
{
    const Bytes b = {icc, n};
    if (!is_matrix_profile(b) || !is_colorant(find_tag(b, "rXYZ"), 0.4361, 0.2225, 0.0139) ||
        !is_colorant(find_tag(b, "gXYZ"), 0.3851, 0.7169, 0.0971) ||
        !is_colorant(find_tag(b, "bXYZ"), 0.1431, 0.0606, 0.7141))
        return false;
    const Bytes r = find_tag(b, "rTRC"), g = find_tag(b, "gTRC"), blue = find_tag(b, "bTRC");
    // The three usually share one curve.
    return is_srgb_curve(r) && (is_same(g, r) || is_srgb_curve(g)) && (is_same(blue, r) || is_srgb_curve(blue));
}

enum { STEPS = 16384 }; // of linear light, finer than 8 encoded bits everywhere
typedef struct {
    float linear[3][256], matrix[3][3]; // of the profile's space; to linear sRGB, times STEPS
    uint8_t encode[STEPS + 1];
} Transform;

static bool read_transform(Transform *t, Bytes b)
{
    static const char tags[3][2][5] = {{"rXYZ", "rTRC"}, {"gXYZ", "gTRC"}, {"bXYZ", "bTRC"}};
    // XYZ of D50 to linear sRGB (the inverse of the colorants above).
    static const double to_srgb[3][3] = {
        {3.1338561, -1.6168667, -0.4906146}, {-0.9787684, 1.9161415, 0.0334540}, {0.0719453, -0.2289914, 1.4052427}};
    double xyz[3][3], white[3] = {0};
    for (int c = 0; c < 3; c++) {
        const Bytes colorant = find_tag(b, tags[c][0]), curve = find_tag(b, tags[c][1]);
        if (colorant.n < 20 || memcmp(colorant.p, "XYZ ", 4) != 0)
            return false;
        for (int i = 0; i < 3; i++) {
            xyz[i][c] = fixed(colorant.p + 8 + 4 * i);
            white[i] += xyz[i][c];
        }
        for (int v = 0; v < 256; v++) {
            const double l = curve_at(curve, v / 255.0);
            if (!(l >= -0.001 && l <= 1.01))
                return false;
            t->linear[c][v] = l < 0 ? 0 : (float)l;
        }
    }
    // Colorants that do not add up to the white of the connection space belong to a profile of another kind.
    if (fabs(white[0] - 0.9642) > 0.02 || fabs(white[1] - 1) > 0.02 || fabs(white[2] - 0.8249) > 0.02)
        return false;
    for (int i = 0; i < 3; i++) {
        for (int c = 0; c < 3; c++) {
            double sum = 0;
            for (int k = 0; k < 3; k++)
                sum += to_srgb[i][k] * xyz[k][c];
            t->matrix[i][c] = (float)(sum * STEPS);
        }
    }
    for (int v = 0, at = 0; v < 256; v++) { // all linear values that round to v
        const double end = v < 255 ? srgb((v + 0.5) / 255) * STEPS : STEPS + 1;
        for (; at <= STEPS && at < end; at++)
            t->encode[at] = (uint8_t)v;
    }
    return true;
}

bool extract_icc_to_srgb(uint8_t *rgb, size_t pixels, const uint8_t *icc, size_t n)
{
    const Bytes b = {icc, n};
    Transform t;
    if (!is_matrix_profile(b) || !read_transform(&t, b))
        return false;
    for (size_t i = 0; i < pixels; i++, rgb += 3) {
        const float r = t.linear[0][rgb[0]], g = t.linear[1][rgb[1]], blue = t.linear[2][rgb[2]];
        for (int c = 0; c < 3; c++) {
            const float v = t.matrix[c][0] * r + t.matrix[c][1] * g + t.matrix[c][2] * blue + 0.5F;
            rgb[c] = t.encode[v < 0 ? 0 : v > STEPS ? STEPS : (int)v];
        }
    }
    return true;
}
