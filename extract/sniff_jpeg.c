// SPDX-License-Identifier: MIT
// JPEG (ITU T.81) up to its end marker, and the orientation in its EXIF block (TIFF 6.0).
#include "extract/sniff_impl.h"

enum {
    MAX_SCANS = 200, // a progressive JPEG needs about 10; thousands are a way to burn time
    STRAY = 16,      // bytes between segments that some cameras leave
};

// Which coefficients the scans have brought, and to which bit.
typedef struct {
    bool progressive;
    uint32_t components;
    uint8_t id[4];
    uint8_t bits[4][64]; // bits still missing; MISSING: nothing came
} Frame;
enum { MISSING = 255 };

int extract_exif_orientation(Bytes b)
{
    if (b.n < 8 || !(starts(b, "II*\0", 4) || starts(b, "MM\0*", 4)))
        return 1;
    const bool little = b.p[0] == 'I';
    const uint32_t ifd = little ? le32(b.p + 4) : be32(b.p + 4);
    if (ifd > b.n || b.n - ifd < 2)
        return 1;
    const uint8_t *entry = b.p + ifd + 2;
    const uint32_t entries = little ? le16(b.p + ifd) : be16(b.p + ifd);
    for (uint32_t i = 0; i < entries && (size_t)(b.p + b.n - entry) >= 12; i++, entry += 12) {
        const uint32_t tag = little ? le16(entry) : be16(entry), type = little ? le16(entry + 2) : be16(entry + 2);
        if (tag != 0x112)
            continue;
        const uint32_t value = little ? le16(entry + 8) : be16(entry + 8);
        return type == 3 && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

static bool is_sof(uint8_t marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

static ExtractCause read_frame(ExtractHeader *out, Frame *f, Bytes segment, uint8_t marker, VcErr *err)
{
    if (out->width)
        return reject(EXTRACT_CORRUPT, err, "JPEG with two frame headers");
    if (segment.n < 6)
        return reject(EXTRACT_CORRUPT, err, "JPEG frame header is too short");
    f->progressive = marker == 0xC2 || marker == 0xCA;
    if (!f->progressive && marker != 0xC0 && marker != 0xC1 && marker != 0xC9)
        return reject(EXTRACT_UNSUPPORTED, err, "lossless or hierarchical JPEG");
    if (segment.p[0] != 8)
        return reject(EXTRACT_UNSUPPORTED, err, "JPEG with other than 8 bits a sample");
    const uint32_t height = be16(segment.p + 1), width = be16(segment.p + 3);
    f->components = segment.p[5];
    if (width == 0 || height == 0)
        return reject(EXTRACT_CORRUPT, err, "JPEG header says width or height 0");
    if (f->components != 1 && f->components != 3 && f->components != 4)
        return reject(EXTRACT_UNSUPPORTED, err, "JPEG with other than 1, 3 or 4 components");
    if (segment.n != 6 + 3 * (size_t)f->components)
        return reject(EXTRACT_CORRUPT, err, "JPEG frame header with a wrong length");
    out->width = width;
    out->height = height;
    out->four = f->components == 4;
    for (uint32_t i = 0; i < f->components; i++)
        f->id[i] = segment.p[6 + 3 * i];
    memset(f->bits, MISSING, sizeof f->bits);
    if (f->progressive)
        out->memory = area_bytes(width, height, 2 * (uint64_t)f->components);
    return EXTRACT_OK;
}

// Books what a scan header promises.
static ExtractCause read_scan(ExtractHeader *out, Frame *f, Bytes s, VcErr *err)
{
    const uint32_t count = s.n ? s.p[0] : 0;
    if (count < 1 || count > f->components || s.n != 4 + 2 * (size_t)count)
        return reject(EXTRACT_CORRUPT, err, "JPEG scan header with a wrong length");
    // All coefficients are held until the last scan when there are several: two bytes each.
    if (count < f->components)
        out->memory = area_bytes(out->width, out->height, 2 * (uint64_t)f->components);
    const uint8_t *p = s.p + 1 + 2 * count;
    const unsigned first = f->progressive ? p[0] : 0, last = f->progressive ? p[1] : 63, low = p[2] & 15;
    if (first > last || last > 63)
        return reject(EXTRACT_CORRUPT, err, "JPEG scan of coefficients that are not there");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t c = 0;
        while (c < f->components && f->id[c] != s.p[1 + 2 * i])
            c++;
        if (c == f->components)
            return reject(EXTRACT_CORRUPT, err, "JPEG scan of a component that is not there");
        for (unsigned k = first; k <= last; k++)
            f->bits[c][k] = (uint8_t)(f->progressive ? low : 0);
    }
    return EXTRACT_OK;
}

// A picture that was cut between two scans and closed again decodes without a complaint, blurred or without a colour.
static ExtractCause check_scans(const Frame *f, VcErr *err)
{
    for (uint32_t c = 0; c < f->components; c++) {
        for (unsigned k = 0; k < (c == 0 ? 64 : 1); k++) {
            if (f->bits[c][k] != 0)
                return reject(EXTRACT_TRUNCATED, err, "JPEG without its last scans");
        }
    }
    return EXTRACT_OK;
}

// Position of the next marker at or after `at` inside entropy-coded data, or n.
static size_t skip_entropy(Bytes b, size_t at)
{
    while (at + 1 < b.n) {
        const uint8_t *ff = memchr(b.p + at, 0xFF, b.n - at - 1);
        if (!ff)
            return b.n;
        at = (size_t)(ff - b.p);
        const uint8_t m = b.p[at + 1];
        if (m != 0 && m != 0xFF && !(m >= 0xD0 && m <= 0xD7))
            return at;
        at += m == 0xFF ? 1 : 2;
    }
    return b.n;
}

static ExtractCause read_segment(ExtractHeader *out, Frame *f, uint8_t marker, Bytes segment, VcErr *err)
{
    if (is_sof(marker))
        return read_frame(out, f, segment, marker, err);
    if (marker == 0xE1 && out->orientation == 1 && starts(segment, "Exif\0\0", 6))
        out->orientation = extract_exif_orientation((Bytes){segment.p + 6, segment.n - 6});
    if (marker != 0xDA)
        return EXTRACT_OK;
    return out->width ? read_scan(out, f, segment, err)
                      : reject(EXTRACT_CORRUPT, err, "JPEG scan before the frame header");
}

ExtractCause extract_sniff_jpeg(ExtractHeader *out, Bytes b, VcErr *err)
{
    Frame frame = {0};
    unsigned scans = 0, stray = 0;
    size_t at = 2;
    while (at + 2 <= b.n) {
        if (b.p[at] != 0xFF || b.p[at + 1] == 0) { // FF 00 begins no segment
            if (++stray > STRAY)
                return reject(scans ? EXTRACT_TRUNCATED : EXTRACT_CORRUPT, err, "JPEG segments are damaged");
            at++;
            continue;
        }
        stray = 0;
        const uint8_t marker = b.p[at + 1];
        if (marker == 0xFF) { // fill byte
            at++;
            continue;
        }
        if (marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) { // without a length
            if (marker == 0xD8)
                return reject(EXTRACT_CORRUPT, err, "JPEG segments are damaged");
            at += 2;
            continue;
        }
        if (marker == 0xD9)
            return scans ? check_scans(&frame, err) : reject(EXTRACT_CORRUPT, err, "JPEG without any picture data");
        if (at + 4 > b.n)
            break;
        const size_t length = be16(b.p + at + 2);
        if (length < 2)
            return reject(EXTRACT_CORRUPT, err, "JPEG segment with an impossible length");
        if (length > b.n - at - 2)
            return reject(EXTRACT_TRUNCATED, err, "JPEG ends inside a segment");
        const ExtractCause cause = read_segment(out, &frame, marker, (Bytes){b.p + at + 4, length - 2}, err);
        if (cause != EXTRACT_OK)
            return cause;
        at += 2 + length;
        if (marker != 0xDA)
            continue;
        if (++scans > MAX_SCANS)
            return reject(EXTRACT_TOO_LARGE, err, "JPEG with more than 200 scans");
        at = skip_entropy(b, at);
    }
    return reject(EXTRACT_TRUNCATED, err, "JPEG ends before its end marker");
}
