// SPDX-License-Identifier: MIT
#include "extract/sniff.h"

#include "base/mem.h"

#include <zlib.h>

enum {
    MAX_SCANS = 200,             // a progressive JPEG needs about 10; thousands are a way to burn time
    MAX_ICC_PACKED = 128 * 1024, // packed bytes of a PNG's profile; larger ones are luggage or bombs
};

typedef struct {
    const uint8_t *p;
    size_t n;
} Bytes;

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t le16(const uint8_t *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t le24(const uint8_t *p)
{
    return (uint32_t)p[2] << 16 | le16(p);
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | le24(p);
}

static bool starts(Bytes b, const char *magic, size_t n)
{
    return b.n >= n && memcmp(b.p, magic, n) == 0;
}

static bool contains(Bytes b, const char *word)
{
    return memmem(b.p, b.n, word, strlen(word)) != NULL;
}

static ExtractCause reject(ExtractCause cause, VcErr *err, const char *words)
{
    vc_fail(err, VC_ERR_FORMAT, "%s", words);
    return cause;
}

// --- JPEG (ITU T.81)

static bool is_sof(uint8_t marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

static ExtractCause jpeg_frame(ExtractHeader *out, Bytes segment, uint8_t marker, VcErr *err)
{
    if (segment.n < 6)
        return reject(EXTRACT_CORRUPT, err, "JPEG frame header is too short");
    const bool progressive = marker == 0xC2 || marker == 0xCA;
    if (!progressive && marker != 0xC0 && marker != 0xC1 && marker != 0xC9)
        return reject(EXTRACT_UNSUPPORTED, err, "lossless or hierarchical JPEG");
    if (segment.p[0] != 8)
        return reject(EXTRACT_UNSUPPORTED, err, "JPEG with other than 8 bits a sample");
    out->height = be16(segment.p + 1);
    out->width = be16(segment.p + 3);
    const uint64_t components = segment.p[5];
    if (out->width == 0 || out->height == 0)
        return reject(EXTRACT_CORRUPT, err, "JPEG header says width or height 0");
    if (components != 1 && components != 3 && components != 4)
        return reject(EXTRACT_UNSUPPORTED, err, "JPEG with other than 1, 3 or 4 components");
    // All coefficients of a progressive picture are held until its last scan, two bytes each.
    out->memory = progressive ? (uint64_t)out->width * out->height * components * 2 : 0;
    return EXTRACT_OK;
}

// Position of the next marker at or after `at` inside entropy-coded data, or n.
static size_t jpeg_skip_scan(Bytes b, size_t at)
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

static ExtractCause sniff_jpeg(ExtractHeader *out, Bytes b, VcErr *err)
{
    unsigned scans = 0;
    size_t at = 2;
    while (at + 4 <= b.n) {
        if (b.p[at] != 0xFF)
            return reject(scans ? EXTRACT_TRUNCATED : EXTRACT_CORRUPT, err, "JPEG segments are damaged");
        const uint8_t marker = b.p[at + 1];
        if (marker == 0xFF) { // fill byte
            at++;
            continue;
        }
        if (marker == 0xD9)
            return scans ? EXTRACT_OK : reject(EXTRACT_CORRUPT, err, "JPEG without any picture data");
        const size_t length = be16(b.p + at + 2);
        if (length < 2)
            return reject(EXTRACT_CORRUPT, err, "JPEG segment with an impossible length");
        if (length > b.n - at - 2)
            return reject(EXTRACT_TRUNCATED, err, "JPEG ends inside a segment");
        if (is_sof(marker) && out->width == 0) {
            const ExtractCause cause = jpeg_frame(out, (Bytes){b.p + at + 4, length - 2}, marker, err);
            if (cause != EXTRACT_OK)
                return cause;
        }
        at += 2 + length;
        if (marker != 0xDA)
            continue;
        if (out->width == 0)
            return reject(EXTRACT_CORRUPT, err, "JPEG scan before the frame header");
        if (++scans > MAX_SCANS)
            return reject(EXTRACT_TOO_LARGE, err, "JPEG with more than 200 scans");
        at = jpeg_skip_scan(b, at);
    }
    if (scans && at + 2 <= b.n && b.p[at] == 0xFF && b.p[at + 1] == 0xD9)
        return EXTRACT_OK;
    if (at + 2 <= b.n && b.p[at] == 0xFF && b.p[at + 1] == 0xD9)
        return reject(EXTRACT_CORRUPT, err, "JPEG without any picture data");
    return reject(EXTRACT_TRUNCATED, err, "JPEG ends before its end marker");
}

// --- PNG (ISO 15948)

static bool png_depth_ok(uint8_t type, uint8_t depth)
{
    switch (type) {
    case 0:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case 3:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2:
    case 4:
    case 6:
        return depth == 8 || depth == 16;
    default:
        return false;
    }
}

static ExtractCause png_ihdr(ExtractHeader *out, const uint8_t *d, VcErr *err)
{
    static const uint8_t channels[] = {1, 0, 3, 1, 2, 0, 4};
    out->width = be32(d);
    out->height = be32(d + 4);
    if (out->width == 0 || out->height == 0 || out->width > INT32_MAX || out->height > INT32_MAX)
        return reject(EXTRACT_CORRUPT, err, "PNG header with an impossible width or height");
    if (!png_depth_ok(d[9], d[8]) || d[10] != 0 || d[11] != 0 || d[12] > 1)
        return reject(EXTRACT_CORRUPT, err, "PNG header with an impossible colour type or depth");
    // Adam7 gives the rows in seven passes: the whole picture is held.
    const uint64_t pixel = channels[d[9]] * (d[8] == 16 ? 2u : 1u);
    uint64_t area;
    if (d[12] == 1)
        out->memory = __builtin_mul_overflow((uint64_t)out->width, (uint64_t)out->height, &area) ||
                              __builtin_mul_overflow(area, pixel, &area)
                          ? UINT64_MAX
                          : area;
    return EXTRACT_OK;
}

// Chunks that a decoder of ours needs; everything else is luggage.
static bool png_wanted(const uint8_t *chunk, uint32_t length)
{
    static const char wanted[][5] = {"IHDR", "PLTE", "IDAT", "IEND", "tRNS", "gAMA", "cHRM", "sRGB", "eXIf"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (memcmp(chunk + 4, wanted[i], 4) == 0)
            return true;
    return memcmp(chunk + 4, "iCCP", 4) == 0 && length <= MAX_ICC_PACKED;
}

static ExtractCause sniff_png(ExtractHeader *out, Bytes b, VcErr *err)
{
    bool palette = false, data = false;
    uint8_t type = 0;
    for (size_t at = 8; b.n - at >= 12;) {
        const uint8_t *chunk = b.p + at;
        const uint32_t length = be32(chunk);
        if (length > b.n - at - 12)
            return reject(EXTRACT_TRUNCATED, err, "PNG ends inside a chunk");
        if (at == 8) {
            if (length != 13 || memcmp(chunk + 4, "IHDR", 4) != 0)
                return reject(EXTRACT_CORRUPT, err, "PNG does not begin with its header");
            const ExtractCause cause = png_ihdr(out, chunk + 8, err);
            if (cause != EXTRACT_OK)
                return cause;
            type = chunk[17];
        }
        if (memcmp(chunk + 4, "PLTE", 4) == 0)
            palette = true;
        if (memcmp(chunk + 4, "IDAT", 4) == 0)
            data = true;
        if (memcmp(chunk + 4, "IEND", 4) == 0) {
            if (!data)
                return reject(EXTRACT_CORRUPT, err, "PNG without picture data");
            return type == 3 && !palette ? reject(EXTRACT_CORRUPT, err, "PNG without the palette it needs")
                                         : EXTRACT_OK;
        }
        out->noise = out->noise || !png_wanted(chunk, length);
        at += 12 + (size_t)length;
    }
    return reject(EXTRACT_TRUNCATED, err, "PNG ends before its last chunk");
}

// Bytes of the filtered rows before packing; 0 when they would not fit in 64 bits.
static uint64_t png_raw_size(const uint8_t *ihdr)
{
    static const uint8_t channels[] = {1, 0, 3, 1, 2, 0, 4};
    static const uint8_t x0[] = {0, 4, 0, 2, 0, 1, 0}, y0[] = {0, 0, 4, 0, 2, 0, 1};
    static const uint8_t dx[] = {8, 8, 4, 4, 2, 2, 1}, dy[] = {8, 8, 8, 4, 4, 2, 2};
    const uint64_t bits = channels[ihdr[9]] * (uint64_t)ihdr[8], w = be32(ihdr), h = be32(ihdr + 4);
    if (ihdr[12] == 0)
        return h * (1 + (w * bits + 7) / 8); // both under 2^31, a pixel of at most 64 bits
    uint64_t sum = 0;
    for (int i = 0; i < 7; i++) {
        const uint64_t pw = w > x0[i] ? (w - x0[i] + dx[i] - 1) / dx[i] : 0,
                       ph = h > y0[i] ? (h - y0[i] + dy[i] - 1) / dy[i] : 0;
        sum += pw && ph ? ph * (1 + (pw * bits + 7) / 8) : 0;
    }
    return sum;
}

ExtractCause extract_png_check(const uint8_t *bytes, size_t n, VcErr *err)
{
    uint8_t out[1 << 15];
    uint64_t left = png_raw_size(bytes + 16);
    z_stream z = {0};
    VC_ASSERT(inflateInit(&z) == Z_OK); // fails only when 10 KB of memory are not there
    int state = Z_OK;
    for (size_t at = 8; state == Z_OK && n - at >= 12;) {
        const uint32_t length = be32(bytes + at);
        VC_ASSERT(length <= n - at - 12);
        if (memcmp(bytes + at + 4, "IDAT", 4) == 0) {
            z.next_in = (uint8_t *)(uintptr_t)(bytes + at + 8); // zlib reads only, its type cannot say so
            z.avail_in = length;
            while (state == Z_OK && (z.avail_in || z.avail_out == 0)) {
                z.next_out = out;
                z.avail_out = sizeof out;
                state = inflate(&z, Z_NO_FLUSH);
                const uint64_t got = sizeof out - z.avail_out;
                if (got > left) {
                    inflateEnd(&z);
                    return reject(EXTRACT_CORRUPT, err, "PNG with more picture data than its header says");
                }
                left -= got;
            }
            if (state == Z_BUF_ERROR) // needs the next chunk
                state = Z_OK;
        }
        at += 12 + (size_t)length;
    }
    inflateEnd(&z);
    if (state == Z_STREAM_END && left == 0)
        return EXTRACT_OK;
    return reject(EXTRACT_CORRUPT, err,
                  state == Z_OK || state == Z_STREAM_END ? "PNG with less picture data than its header says"
                                                         : "PNG whose packed data is damaged (its checksum is wrong)");
}

void extract_png_strip(VcStr *out, const uint8_t *bytes, size_t n)
{
    vc_str_clear(out);
    vc_str_putn(out, bytes, 8);
    for (size_t at = 8; n - at >= 12;) {
        const uint32_t length = be32(bytes + at);
        VC_ASSERT(length <= n - at - 12);
        if (png_wanted(bytes + at, length))
            vc_str_putn(out, bytes + at, 12 + (size_t)length);
        if (memcmp(bytes + at + 4, "IEND", 4) == 0)
            return;
        at += 12 + (size_t)length;
    }
}

// --- GIF89a

// Position after a chain of sub-blocks, or 0 when the data ends inside it.
static size_t gif_skip_blocks(Bytes b, size_t at)
{
    while (at < b.n) {
        const uint8_t length = b.p[at++];
        if (length == 0)
            return at;
        if (length > b.n - at)
            return 0;
        at += length;
    }
    return 0;
}

static ExtractCause sniff_gif(ExtractHeader *out, Bytes b, VcErr *err)
{
    if (b.n < 13)
        return reject(EXTRACT_TRUNCATED, err, "GIF ends inside its header");
    out->width = le16(b.p + 6);
    out->height = le16(b.p + 8);
    if (out->width == 0 || out->height == 0)
        return reject(EXTRACT_CORRUPT, err, "GIF header says width or height 0");
    out->memory = (uint64_t)out->width * out->height * 8;
    size_t at = 13 + (b.p[10] & 0x80 ? 3u << ((b.p[10] & 7) + 1) : 0);
    while (at < b.n) {
        const uint8_t block = b.p[at];
        if (block == 0x3B)
            return reject(EXTRACT_CORRUPT, err, "GIF without any frame");
        if (block == 0x21) {
            at = b.n - at < 2 ? 0 : gif_skip_blocks(b, at + 2);
        } else if (block == 0x2C) { // only the first frame is used, so only it must be whole
            if (b.n - at < 11)
                break;
            const size_t colours = b.p[at + 9] & 0x80 ? 3u << ((b.p[at + 9] & 7) + 1) : 0;
            if (le16(b.p + at + 1) >= out->width || le16(b.p + at + 3) >= out->height)
                return reject(EXTRACT_CORRUPT, err, "GIF frame lies outside its screen");
            return gif_skip_blocks(b, at + 11 + colours)
                       ? EXTRACT_OK
                       : reject(EXTRACT_TRUNCATED, err, "GIF ends inside its first frame");
        } else {
            return reject(EXTRACT_CORRUPT, err, "GIF with an unknown block");
        }
        if (at == 0)
            break;
    }
    return reject(EXTRACT_TRUNCATED, err, "GIF ends before its first frame");
}

// --- WebP (RFC 9649)

static ExtractCause sniff_webp(ExtractHeader *out, Bytes b, VcErr *err)
{
    if (b.n < 30)
        return reject(EXTRACT_TRUNCATED, err, "WebP ends inside its header");
    const uint8_t *d = b.p + 20; // first chunk's data
    if (memcmp(b.p + 12, "VP8X", 4) == 0) {
        out->width = le24(d + 4) + 1;
        out->height = le24(d + 7) + 1;
    } else if (memcmp(b.p + 12, "VP8L", 4) == 0) {
        const uint32_t bits = le32(d + 1);
        out->width = (bits & 0x3FFF) + 1;
        out->height = (bits >> 14 & 0x3FFF) + 1;
    } else if (memcmp(b.p + 12, "VP8 ", 4) == 0) {
        out->width = le16(d + 6) & 0x3FFF;
        out->height = le16(d + 8) & 0x3FFF;
    } else {
        return reject(EXTRACT_CORRUPT, err, "WebP with an unknown first chunk");
    }
    if (out->width == 0 || out->height == 0)
        return reject(EXTRACT_CORRUPT, err, "WebP header says width or height 0");
    out->memory = (uint64_t)out->width * out->height * 4;
    if ((uint64_t)le32(b.p + 4) + 8 > b.n)
        return reject(EXTRACT_TRUNCATED, err, "WebP is shorter than its header says");
    return EXTRACT_OK;
}

// --- everything else: only named, never opened

static ExtractCause name_text(Bytes b, VcErr *err)
{
    const Bytes head = {b.p, b.n < 1024 ? b.n : 1024};
    if (contains(head, "<svg") || contains(head, "<!DOCTYPE svg") || contains(head, "<!ENTITY"))
        return reject(EXTRACT_UNSUPPORTED, err, "an SVG drawing, not a photograph");
    size_t at = starts(b, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < head.n && (b.p[at] == ' ' || b.p[at] == '\t' || b.p[at] == '\r' || b.p[at] == '\n'))
        at++;
    if (at < head.n && b.p[at] == '<')
        return reject(EXTRACT_NOT_IMAGE, err, "an HTML or XML page instead of an image");
    if (starts(b, "\xFF\xFE<\0", 4) || starts(b, "\xFE\xFF\0<", 4))
        return reject(EXTRACT_NOT_IMAGE, err, "an HTML or XML page instead of an image");
    if (at < head.n && (b.p[at] == '{' || b.p[at] == '['))
        return reject(EXTRACT_NOT_IMAGE, err, "JSON instead of an image");
    return reject(EXTRACT_NOT_IMAGE, err, "not an image: no known format begins with these bytes");
}

static ExtractCause name_foreign(Bytes b, VcErr *err)
{
    static const struct {
        const char *magic;
        size_t at, n;
        const char *words;
    } formats[] = {
        {"II*\0", 0, 4, "a TIFF file"},
        {"MM\0*", 0, 4, "a TIFF file"},
        {"II+\0", 0, 4, "a TIFF file"},
        {"MM\0+", 0, 4, "a TIFF file"},
        {"BM", 0, 2, "a BMP file"},
        {"\0\0\1\0", 0, 4, "an icon"},
        {"%PDF", 0, 4, "a PDF document"},
        {"%!PS", 0, 4, "a PostScript document"},
        {"#?RADIANCE", 0, 10, "a Radiance picture"},
        {"\x08\xf2\xa6\xb6", 0, 4, "a VIPS file"},
        {"\xb6\xa6\xf2\x08", 0, 4, "a VIPS file"},
        {"MATLAB 5.0", 0, 10, "a MATLAB file"},
        {"SIMPLE  =", 0, 9, "a FITS file"},
        {"\xff\x0a", 0, 2, "a JPEG XL file"},
        {"\0\0\0\x0cJXL ", 0, 8, "a JPEG XL file"},
        {"\0\0\0\x0cjP  ", 0, 8, "a JPEG 2000 file"},
        {"\xff\x4f\xff\x51", 0, 4, "a JPEG 2000 file"},
        {"8BPS", 0, 4, "a Photoshop file"},
        {"ftypavif", 4, 8, "an AVIF file"},
        {"ftypavis", 4, 8, "an AVIF file"},
        {"ftypheic", 4, 8, "a HEIF file"},
        {"ftypheix", 4, 8, "a HEIF file"},
        {"ftypmif1", 4, 8, "a HEIF file"},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (b.n < formats[i].at + formats[i].n || memcmp(b.p + formats[i].at, formats[i].magic, formats[i].n) != 0)
            continue;
        vc_fail(err, VC_ERR_FORMAT, "%s: only JPEG, PNG, GIF and WebP are accepted", formats[i].words);
        return EXTRACT_UNSUPPORTED;
    }
    if (b.n > 2 && b.p[0] == 'P' && b.p[1] >= '1' && b.p[1] <= '7' && (b.p[2] == '\n' || b.p[2] == ' '))
        return reject(EXTRACT_UNSUPPORTED, err, "a PNM file: only JPEG, PNG, GIF and WebP are accepted");
    if (b.n > 11 && memcmp(b.p + 4, "ftyp", 4) == 0)
        return reject(EXTRACT_NOT_IMAGE, err, "a video file instead of an image");
    if (starts(b, "\x1f\x8b", 2))
        return reject(EXTRACT_NOT_IMAGE, err, "gzip-packed data instead of an image");
    if (starts(b, "PK\3\4", 4))
        return reject(EXTRACT_NOT_IMAGE, err, "a zip archive instead of an image");
    return name_text(b, err);
}

ExtractCause extract_sniff(ExtractHeader *out, const uint8_t *bytes, size_t n, VcErr *err)
{
    static const char *const mimes[] = {NULL, "image/jpeg", "image/png", "image/gif", "image/webp"};
    static ExtractCause (*const readers[])(ExtractHeader *, Bytes, VcErr *) = {NULL, sniff_jpeg, sniff_png, sniff_gif,
                                                                               sniff_webp};
    *out = (ExtractHeader){0};
    const Bytes b = {bytes, n};
    if (n == 0)
        return reject(EXTRACT_EMPTY, err, "no bytes at all");
    // Two bytes of a JPEG are enough to call it one that was cut.
    if (starts(b, "\xFF\xD8", 2) && (n == 2 || bytes[2] == 0xFF))
        out->format = EXTRACT_FORMAT_JPEG;
    else if (starts(b, "\x89PNG\r\n\x1a\n", 8))
        out->format = EXTRACT_FORMAT_PNG;
    else if (starts(b, "GIF87a", 6) || starts(b, "GIF89a", 6))
        out->format = EXTRACT_FORMAT_GIF;
    else if (starts(b, "RIFF", 4) && n >= 12 && memcmp(bytes + 8, "WEBP", 4) == 0)
        out->format = EXTRACT_FORMAT_WEBP;
    else
        return name_foreign(b, err);
    out->mime = mimes[out->format];
    return readers[out->format](out, b, err);
}
