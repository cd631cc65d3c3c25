// SPDX-License-Identifier: MIT
// GIF (89a) and WebP (RFC 9649) up to the end of the first frame.
#include "extract/sniff_impl.h"

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

ExtractCause extract_sniff_gif(ExtractHeader *out, Bytes b, VcErr *err)
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

// Codes of variable length from sub-blocks.
typedef struct {
    Bytes b;
    size_t at, block; // next byte; how many are left in this sub-block
    uint32_t bits;
    unsigned count;
} Codes;

// The next code, or -1 at the end of the data.
static int next_code(Codes *c, unsigned width)
{
    while (c->count < width) {
        if (c->block == 0) {
            if (c->at >= c->b.n || c->b.p[c->at] == 0)
                return -1;
            c->block = c->b.p[c->at++];
        }
        if (c->at >= c->b.n)
            return -1;
        c->bits |= (uint32_t)c->b.p[c->at++] << c->count;
        c->count += 8;
        c->block--;
    }
    const int code = (int)(c->bits & ((1u << width) - 1));
    c->bits >>= width;
    c->count -= width;
    return code;
}

// Counts the pixels of LZW data whose smallest codes have `size` bits, up to `wanted`.
static ExtractCause count_pixels(Codes *c, unsigned size, uint64_t wanted, VcErr *err)
{
    uint32_t length[4096]; // pixels a code stands for
    const int clear = 1 << size, end = clear + 1;
    int next = end + 1, last = -1;
    unsigned width = size + 1;
    uint64_t pixels = 0;
    for (int i = 0; i < clear; i++)
        length[i] = 1;
    while (pixels < wanted) {
        const int code = next_code(c, width);
        if (code < 0 || code == end)
            return reject(EXTRACT_TRUNCATED, err, "GIF frame with less picture data than its size says");
        if (code == clear) {
            next = end + 1;
            width = size + 1;
            last = -1;
            continue;
        }
        if (last < 0 ? code >= clear : code > next || (code == next && next == 4096))
            return reject(EXTRACT_CORRUPT, err, "GIF frame with a code that cannot be");
        if (last >= 0 && next < 4096) {
            length[next++] = length[last] + 1;
            if (next == 1 << width && width < 12)
                width++;
        }
        pixels += length[code];
        last = code;
    }
    return EXTRACT_OK;
}

ExtractCause extract_gif_check(const uint8_t *bytes, size_t n, VcErr *err)
{
    const Bytes b = {bytes, n};
    size_t at = 13 + (b.p[10] & 0x80 ? 3u << ((b.p[10] & 7) + 1) : 0);
    while (b.p[at] == 0x21)
        at = gif_skip_blocks(b, at + 2);
    VC_ASSERT(at && b.p[at] == 0x2C);
    const uint8_t *d = b.p + at;
    const uint64_t wanted = (uint64_t)le16(d + 5) * le16(d + 7);
    at += 10 + (d[9] & 0x80 ? 3u << ((d[9] & 7) + 1) : 0);
    const unsigned size = b.p[at];
    if (size < 1 || size > 11 || wanted == 0)
        return reject(EXTRACT_CORRUPT, err, "GIF frame of no size, or with codes that cannot be");
    Codes codes = {.b = b, .at = at + 1};
    return count_pixels(&codes, size, wanted, err);
}

// --- WebP (RFC 9649)

static ExtractCause webp_size(ExtractHeader *out, const char *type, Bytes d, VcErr *err)
{
    if (memcmp(type, "VP8X", 4) == 0 && d.n >= 10) {
        out->width = le24(d.p + 4) + 1;
        out->height = le24(d.p + 7) + 1;
    } else if (memcmp(type, "VP8L", 4) == 0 && d.n >= 5) {
        if (d.p[0] != 0x2f)
            return reject(EXTRACT_CORRUPT, err, "WebP without its lossless signature");
        const uint32_t bits = le32(d.p + 1);
        out->width = (bits & 0x3FFF) + 1;
        out->height = (bits >> 14 & 0x3FFF) + 1;
    } else if (memcmp(type, "VP8 ", 4) == 0 && d.n >= 10) {
        if ((d.p[0] & 1) != 0 || memcmp(d.p + 3, "\x9d\x01\x2a", 3) != 0)
            return reject(EXTRACT_CORRUPT, err, "WebP that does not begin with a key frame");
        out->width = le16(d.p + 6) & 0x3FFF;
        out->height = le16(d.p + 8) & 0x3FFF;
    } else {
        return reject(EXTRACT_CORRUPT, err, "WebP with an unknown first chunk");
    }
    if (out->width == 0 || out->height == 0)
        return reject(EXTRACT_CORRUPT, err, "WebP header says width or height 0");
    out->memory = area_bytes(out->width, out->height, 4);
    return EXTRACT_OK;
}

ExtractCause extract_sniff_webp(ExtractHeader *out, Bytes b, VcErr *err)
{
    if (b.n < 30)
        return reject(EXTRACT_TRUNCATED, err, "WebP ends inside its header");
    const ExtractCause cause = webp_size(out, (const char *)b.p + 12, (Bytes){b.p + 20, b.n - 20}, err);
    if (cause != EXTRACT_OK)
        return cause;
    const uint64_t end = (uint64_t)le32(b.p + 4) + 8;
    if (end > b.n)
        return reject(EXTRACT_TRUNCATED, err, "WebP is shorter than its header says");
    // Chunks up to the first picture must be whole.
    for (uint64_t at = 12; at + 8 <= end;) {
        const uint8_t *chunk = b.p + at;
        const uint64_t length = le32(chunk + 4);
        if (length > end - at - 8)
            return reject(EXTRACT_TRUNCATED, err, "WebP ends inside a chunk");
        if (memcmp(chunk, "VP8 ", 4) == 0 || memcmp(chunk, "VP8L", 4) == 0 || memcmp(chunk, "ANMF", 4) == 0)
            return EXTRACT_OK;
        at += 8 + length + (length & 1);
    }
    return reject(EXTRACT_TRUNCATED, err, "WebP without picture data");
}
