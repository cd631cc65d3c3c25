// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "extract/sniff_impl.h"

#include <zlib.h>

enum { MAX_ICC_PACKED = 128 * 1024 }; // packed bytes of a profile; larger ones are luggage or bombs

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
    const uint32_t width = be32(d), height = be32(d + 4);
    if (width == 0 || height == 0 || width > INT32_MAX || height > INT32_MAX)
        return reject(EXTRACT_CORRUPT, err, "PNG header with an impossible width or height");
    if (!png_depth_ok(d[9], d[8]) || d[10] != 0 || d[11] != 0 || d[12] > 1)
        return reject(EXTRACT_CORRUPT, err, "PNG header with an impossible colour type or depth");
    out->width = width;
    out->height = height;
    // Adam7 gives the rows in seven passes: the whole picture is held.
    if (d[12] == 1)
        out->memory = area_bytes(out->width, out->height, channels[d[9]] * (d[8] == 16 ? 2u : 1u));
    return EXTRACT_OK;
}

// Chunks that a decoder of ours needs; everything else is luggage.
static bool png_wanted(const uint8_t *chunk, uint32_t length)
{
    static const char wanted[][5] = {"IHDR", "PLTE", "IDAT", "IEND", "tRNS", "gAMA", "cHRM", "sRGB", "eXIf"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (memcmp(chunk + 4, wanted[i], 4) == 0)
            return true;
    }
    return memcmp(chunk + 4, "iCCP", 4) == 0 && length <= MAX_ICC_PACKED;
}

// Chunks that decide pixels, whose checksum therefore must hold. IDAT's own stream is checked by extract_png_check.
static bool png_crc_ok(const uint8_t *chunk, uint32_t length)
{
    static const char checked[][5] = {"IHDR", "PLTE", "tRNS", "IDAT"};
    for (size_t i = 0; i < sizeof checked / sizeof *checked; i++) {
        if (memcmp(chunk + 4, checked[i], 4) == 0)
            return crc32_z(0, chunk + 4, (z_size_t)length + 4) == be32(chunk + 8 + length);
    }
    return true;
}

typedef struct {
    bool palette, data, data_over; // seen; IDAT chunks lie side by side
    uint8_t type;
} PngState;

static const char *png_chunk(PngState *s, const uint8_t *chunk, uint32_t length)
{
    const bool data = memcmp(chunk + 4, "IDAT", 4) == 0;
    if (!png_crc_ok(chunk, length))
        return "PNG chunk with a wrong checksum";
    if (data && s->data_over)
        return "PNG whose picture data is not in one piece";
    s->data_over = s->data && !data;
    s->data = s->data || data;
    if (memcmp(chunk + 4, "PLTE", 4) == 0) {
        if (length == 0 || length % 3 != 0 || length > 768 || s->palette || s->data || s->type == 0 || s->type == 4)
            return "PNG with a palette that cannot be";
        s->palette = true;
    }
    // A critical chunk that nobody knows must not be skipped (ISO 15948, 5.4).
    if ((chunk[4] & 0x20) == 0 && !data && memcmp(chunk + 4, "IHDR", 4) != 0 && memcmp(chunk + 4, "PLTE", 4) != 0 &&
        memcmp(chunk + 4, "IEND", 4) != 0)
        return "PNG with a critical chunk that is not known";
    return NULL;
}

ExtractCause extract_sniff_png(ExtractHeader *out, Bytes b, VcErr *err)
{
    PngState state = {0};
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
            state.type = chunk[17];
        } else if (memcmp(chunk + 4, "IHDR", 4) == 0) {
            return reject(EXTRACT_CORRUPT, err, "PNG with two headers");
        }
        const char *wrong = png_chunk(&state, chunk, length);
        if (wrong)
            return reject(EXTRACT_CORRUPT, err, wrong);
        if (memcmp(chunk + 4, "IEND", 4) == 0) {
            if (!state.data)
                return reject(EXTRACT_CORRUPT, err, "PNG without picture data");
            return state.type == 3 && !state.palette ? reject(EXTRACT_CORRUPT, err, "PNG without the palette it needs")
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
