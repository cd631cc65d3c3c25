// SPDX-License-Identifier: MIT
#include "tests/extract/corpus.h"

#include "base/err.h"
#include "base/mem.h"

#include <setjmp.h>
#include <string.h>
#include <zlib.h>

#include <jpeglib.h>

const uint8_t corpus_colours[4][3] = {{220, 30, 30}, {30, 180, 40}, {40, 40, 220}, {230, 210, 50}};

uint8_t corpus_sample(int w, int h, int x, int y, int c)
{
    const int quadrant = (y >= h / 2 ? 2 : 0) + (x >= w / 2 ? 1 : 0);
    const uint8_t *p = corpus_colours[quadrant];
    if (c == 4)
        return (uint8_t)((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
    return c == 3 ? (quadrant == 0 ? 0 : 255) : p[c];
}

void corpus_be32(VcStr *s, uint32_t v)
{
    const uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    vc_str_putn(s, b, 4);
}

// --- JPEG

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf back;
} Quiet;

static void __attribute__((noreturn)) give_up(j_common_ptr info)
{
    longjmp(((Quiet *)(void *)info->err)->back, 1);
}

static void encode_jpeg(struct jpeg_compress_struct *c, const CorpusJpeg *k)
{
    const bool four = k->space == 'C' || k->space == 'K';
    c->image_width = (JDIMENSION)k->w;
    c->image_height = (JDIMENSION)k->h;
    c->input_components = four ? 4 : k->space == 'G' ? 1 : 3;
    c->in_color_space = four ? JCS_CMYK : k->space == 'G' ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, 92, TRUE);
    jpeg_set_colorspace(c, k->space == 'K'   ? JCS_YCCK
                           : k->space == 'C' ? JCS_CMYK
                           : k->space == 'R' ? JCS_RGB
                           : k->space == 'G' ? JCS_GRAYSCALE
                                             : JCS_YCbCr);
    c->comp_info[0].h_samp_factor = k->across ? k->across : 1;
    c->comp_info[0].v_samp_factor = k->down ? k->down : 1;
    c->arith_code = k->arithmetic;
    c->restart_in_rows = k->restart;
    static const jpeg_scan_info apart[3] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    if (k->separate) {
        c->scan_info = apart;
        c->num_scans = 3;
    }
    if (k->progressive)
        jpeg_simple_progression(c);
    jpeg_start_compress(c, TRUE);
    JSAMPROW row = vc_alloc((size_t)k->w, 4);
    for (int y = 0; y < k->h; y++) {
        JSAMPROW p = row;
        for (int x = 0; x < k->w; x++) {
            for (int i = 0; i < c->input_components; i++) // CMYK as Adobe has it: inverted, without black
                *p++ = i == 3 ? 255 : corpus_sample(k->w, k->h, x, y, k->space == 'G' ? 4 : i);
        }
        jpeg_write_scanlines(c, &row, 1);
    }
    free(row);
    jpeg_finish_compress(c);
}

bool corpus_jpeg(VcStr *out, const CorpusJpeg *kind)
{
    struct jpeg_compress_struct c = {0};
    Quiet quiet;
    unsigned char *volatile bytes = NULL;
    unsigned char *given = NULL;
    unsigned long n = 0;
    volatile bool ok = false;
    c.err = jpeg_std_error(&quiet.base);
    quiet.base.error_exit = give_up;
    if (!setjmp(quiet.back)) {
        jpeg_create_compress(&c);
        jpeg_mem_dest(&c, &given, &n);
        encode_jpeg(&c, kind);
        ok = true;
    }
    bytes = given;
    jpeg_destroy_compress(&c);
    vc_str_clear(out);
    if (ok)
        vc_str_putn(out, bytes, n);
    free(bytes);
    return ok;
}

// --- PNG

void corpus_png_chunk(VcStr *s, const char *type, const void *data, size_t n)
{
    corpus_be32(s, (uint32_t)n);
    const size_t at = s->len;
    vc_str_putn(s, type, 4);
    vc_str_putn(s, data, n);
    corpus_be32(s, (uint32_t)crc32(0, (const uint8_t *)s->data + at, (unsigned)(n + 4)));
}

void corpus_png_begin(VcStr *s, uint32_t w, uint32_t h, uint8_t depth, uint8_t type, uint8_t adam7)
{
    VcStr head = {0};
    vc_str_putn(s, "\x89PNG\r\n\x1a\n", 8);
    corpus_be32(&head, w);
    corpus_be32(&head, h);
    const uint8_t rest[5] = {depth, type, 0, 0, adam7};
    vc_str_putn(&head, rest, 5);
    corpus_png_chunk(s, "IHDR", head.data, head.len);
    vc_str_finish(&head);
}

void corpus_png_pack(VcStr *s, const void *data, size_t n)
{
    uLongf packed = compressBound(n);
    uint8_t *bytes = vc_alloc(packed, 1);
    VC_ASSERT(compress2(bytes, &packed, data, n, 6) == Z_OK);
    corpus_png_chunk(s, "IDAT", bytes, packed);
    free(bytes);
}

static const uint8_t png_channels[] = {1, 0, 3, 1, 2, 0, 4};

// One row of one pass, unfiltered; bits of a pixel side by side.
static void png_row(VcStr *out, const CorpusPng *k, int y, int x0, int dx)
{
    unsigned held = 0, bits = 0;
    for (int x = x0; x < k->w; x += dx) {
        for (int c = 0; c < png_channels[k->type]; c++) {
            const bool grey = k->type == 0 || k->type == 4, last = c + 1 == png_channels[k->type];
            const int channel = (k->type == 4 || k->type == 6) && last ? 3 : grey ? 4 : c;
            const uint8_t v = corpus_sample(k->w, k->h, x, y, channel);
            const unsigned quadrant = (y >= k->h / 2 ? 2u : 0u) + (x >= k->w / 2 ? 1u : 0u);
            if (k->depth == 16)
                vc_str_putc(out, (char)v);
            if (k->depth >= 8 && k->type != 3) {
                vc_str_putc(out, (char)v);
                continue;
            }
            held =
                held << k->depth | (k->type == 3 ? quadrant & ((1u << k->depth) - 1) : (unsigned)v >> (8 - k->depth));
            bits += k->depth;
            if (bits == 8) {
                vc_str_putc(out, (char)held);
                held = bits = 0;
            }
        }
    }
    if (bits)
        vc_str_putc(out, (char)(held << (8 - bits)));
}

static uint8_t predict(int filter, int left, int up, int corner)
{
    const int p = left + up - corner, a = abs(p - left), b = abs(p - up), c = abs(p - corner);
    switch (filter) {
    case 1:
        return (uint8_t)left;
    case 2:
        return (uint8_t)up;
    case 3:
        return (uint8_t)((left + up) / 2);
    case 4:
        return (uint8_t)(a <= b && a <= c ? left : b <= c ? up : corner);
    default:
        return 0;
    }
}

VcStr corpus_png_rows(const CorpusPng *k)
{
    static const int x0[] = {0, 4, 0, 2, 0, 1, 0}, y0[] = {0, 0, 4, 0, 2, 0, 1}, dx[] = {8, 8, 4, 4, 2, 2, 1},
                     dy[] = {8, 8, 8, 4, 4, 2, 2};
    const size_t step = (size_t)(png_channels[k->type] * k->depth + 7) / 8;
    VcStr out = {0}, row = {0}, above = {0};
    for (int pass = 0; pass < (k->adam7 ? 7 : 1); pass++) {
        vc_str_clear(&above);
        for (int y = k->adam7 ? y0[pass] : 0; y < k->h; y += k->adam7 ? dy[pass] : 1) {
            vc_str_clear(&row);
            png_row(&row, k, y, k->adam7 ? x0[pass] : 0, k->adam7 ? dx[pass] : 1);
            if (row.len == 0)
                continue;
            const int filter = k->filter == 5 ? y % 5 : k->filter == 6 ? (y == k->h / 2 ? 5 : 0) : k->filter;
            vc_str_putc(&out, (char)filter);
            for (size_t i = 0; i < row.len; i++) {
                const int left = i >= step ? (uint8_t)row.data[i - step] : 0;
                const int up = above.len ? (uint8_t)above.data[i] : 0;
                const int corner = above.len && i >= step ? (uint8_t)above.data[i - step] : 0;
                vc_str_putc(&out, (char)((uint8_t)row.data[i] - predict(filter, left, up, corner)));
            }
            vc_str_clear(&above);
            vc_str_putn(&above, row.data, row.len);
        }
    }
    vc_str_finish(&row);
    vc_str_finish(&above);
    return out;
}

VcStr corpus_png(const CorpusPng *k)
{
    VcStr s = {0}, rows = corpus_png_rows(k);
    corpus_png_begin(&s, (uint32_t)k->w, (uint32_t)k->h, k->depth, k->type, k->adam7);
    if (k->type == 3)
        corpus_png_chunk(&s, "PLTE", corpus_colours, k->depth == 1 ? 6 : 12);
    corpus_png_pack(&s, rows.data, rows.len);
    corpus_png_chunk(&s, "IEND", "", 0);
    vc_str_finish(&rows);
    return s;
}

// --- GIF

// Pixels as LZW codes that are cleared so often that they stay 3 bits wide... 9 for a table of 256.
typedef struct {
    VcStr *out;
    uint8_t block[256];
    size_t count;
    uint32_t held;
    unsigned bits;
} Codes;

static void put_code(Codes *c, uint32_t code, unsigned width)
{
    c->held |= code << c->bits;
    for (c->bits += width; c->bits >= 8; c->bits -= 8) {
        c->block[c->count++] = (uint8_t)c->held;
        c->held >>= 8;
        if (c->count == 255) {
            vc_str_putc(c->out, (char)255);
            vc_str_putn(c->out, c->block, 255);
            c->count = 0;
        }
    }
}

static void end_codes(Codes *c)
{
    if (c->bits)
        put_code(c, 0, 8 - c->bits);
    if (c->count) {
        vc_str_putc(c->out, (char)c->count);
        vc_str_putn(c->out, c->block, c->count);
    }
    vc_str_putc(c->out, 0);
}

static void le16(VcStr *s, int v)
{
    vc_str_putc(s, (char)v);
    vc_str_putc(s, (char)(v >> 8));
}

static void gif_table(VcStr *s)
{
    vc_str_putn(s, corpus_colours, 12);
    vc_str_putn(s, "\0\0\0\0\0\0\0\0\0\0\0\0", 12); // 4 to 7: black
}

static void gif_frame(VcStr *s, const CorpusGif *k, bool first)
{
    const int w = k->fw ? k->fw : k->w, h = k->fw ? k->fh : k->h;
    vc_str_putc(s, ',');
    le16(s, k->x);
    le16(s, k->y);
    le16(s, w);
    le16(s, h);
    vc_str_putc(s, (char)((k->local ? 0x82 : 0) | (k->interlaced ? 0x40 : 0)));
    if (k->local)
        gif_table(s);
    vc_str_putc(s, 3);
    Codes codes = {.out = s};
    static const int from[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    unsigned since = 0;
    for (int pass = 0; pass < (k->interlaced ? 4 : 1); pass++) {
        for (int y = k->interlaced ? from[pass] : 0; y < h; y += k->interlaced ? step[pass] : 1) {
            for (int x = 0; x < w; x++) {
                if (since++ % 6 == 0) // before codes grow to 5 bits
                    put_code(&codes, 8, 4);
                const int sx = x + k->x, sy = y + k->y;
                put_code(&codes, first ? (sy >= k->h / 2 ? 2u : 0u) + (sx >= k->w / 2 ? 1u : 0u) : 4u, 4);
            }
        }
    }
    put_code(&codes, 9, 4);
    end_codes(&codes);
}

VcStr corpus_gif(const CorpusGif *k)
{
    VcStr s = {0};
    vc_str_put(&s, k->old ? "GIF87a" : "GIF89a");
    le16(&s, k->w);
    le16(&s, k->h);
    vc_str_putc(&s, (char)(k->local ? 0 : 0x82));
    le16(&s, 0);
    if (!k->local)
        gif_table(&s);
    for (int i = 0; i < (k->frames ? k->frames : 1); i++) {
        if (k->clear || k->frames) {
            const uint8_t control[8] = {0x21, 0xF9, 4, k->clear ? 1 : 0, 10, 0, 0, 0};
            vc_str_putn(&s, control, 8);
        }
        gif_frame(&s, k, i == 0);
    }
    vc_str_putc(&s, ';');
    return s;
}

// --- TIFF

static void put16(VcStr *s, const CorpusTiff *k, unsigned v)
{
    vc_str_putc(s, (char)(k->big ? v >> 8 : v));
    vc_str_putc(s, (char)(k->big ? v : v >> 8));
}

static void put32(VcStr *s, const CorpusTiff *k, uint32_t v)
{
    put16(s, k, k->big ? v >> 16 : v & 0xFFFF);
    put16(s, k, k->big ? v & 0xFFFF : v >> 16);
}

static void entry(VcStr *s, const CorpusTiff *k, unsigned tag, unsigned type, uint32_t count, uint32_t value)
{
    put16(s, k, tag);
    put16(s, k, type);
    put32(s, k, count);
    if (type == 3 && count == 1) {
        put16(s, k, value);
        put16(s, k, 0);
    } else {
        put32(s, k, value);
    }
}

// Samples c0 to c1 of the rectangle, packed; what lies outside the picture is zero.
static VcStr tiff_block(const CorpusTiff *k, int x0, int y0, int w, int h, int c0, int c1)
{
    VcStr raw = {0};
    for (int y = y0; y < y0 + h; y++) {
        unsigned held = 0, bits = 0;
        for (int x = x0; x < x0 + w; x++) {
            for (int c = c0; c < c1; c++) {
                const int channel = k->photometric <= 1 ? 4 : c;
                unsigned v = x < k->w && y < k->h ? corpus_sample(k->w, k->h, x, y, channel) : 0;
                if (k->photometric == 3)
                    v = (y >= k->h / 2 ? 2u : 0u) + (x >= k->w / 2 ? 1u : 0u);
                if (k->photometric == 5) // CMYK without black
                    v = c == 3 ? 0 : 255 - v;
                if (k->photometric == 0)
                    v = 255 - v;
                if (k->bits == 16) {
                    put16(&raw, k, v * 257);
                    continue;
                }
                held = held << k->bits | (k->photometric == 3 ? v : v >> (8 - k->bits));
                for (bits += (unsigned)k->bits; bits >= 8; bits -= 8)
                    vc_str_putc(&raw, (char)(held >> (bits - 8)));
            }
        }
        if (bits)
            vc_str_putc(&raw, (char)(held << (8 - bits)));
    }
    if (k->compression == 1)
        return raw;
    VcStr packed = {0};
    if (k->compression == 32773) { // PackBits, all literal
        for (size_t at = 0; at < raw.len; at += 128) {
            const size_t n = raw.len - at < 128 ? raw.len - at : 128;
            vc_str_putc(&packed, (char)(n - 1));
            vc_str_putn(&packed, raw.data + at, n);
        }
    } else {
        uLongf n = compressBound(raw.len);
        uint8_t *bytes = vc_alloc(n, 1);
        VC_ASSERT(compress2(bytes, &n, (const uint8_t *)raw.data, raw.len, 6) == Z_OK);
        vc_str_putn(&packed, bytes, n);
        free(bytes);
    }
    vc_str_finish(&raw);
    return packed;
}

typedef struct {
    uint32_t at[512], n[512], count;
} Blocks;

static void tiff_blocks(VcStr *s, const CorpusTiff *k, Blocks *b)
{
    enum { TILE = 16 };
    const int across = k->tiled ? (k->w + TILE - 1) / TILE : 1, high = k->tiled ? TILE : k->rows;
    for (int sheet = 0; sheet < (k->planar ? k->samples : 1); sheet++) {
        for (int y = 0; y < k->h; y += high) {
            for (int i = 0; i < across; i++) {
                const int h = k->tiled || y + high <= k->h ? high : k->h - y;
                VcStr data = tiff_block(k, i * TILE, y, k->tiled ? TILE : k->w, h, k->planar ? sheet : 0,
                                        k->planar ? sheet + 1 : k->samples);
                VC_ASSERT(b->count < 512);
                b->at[b->count] = (uint32_t)s->len;
                b->n[b->count++] = (uint32_t)data.len;
                vc_str_putn(s, data.data, data.len);
                if (s->len & 1)
                    vc_str_putc(s, 0);
                vc_str_finish(&data);
            }
        }
    }
}

static uint32_t put_list(VcStr *s, const CorpusTiff *k, const uint32_t *values, uint32_t count)
{
    const uint32_t at = (uint32_t)s->len;
    for (uint32_t i = 0; i < count; i++)
        put32(s, k, values[i]);
    return count == 1 ? values[0] : at;
}

// Pixels and a directory behind them; returns where the directory stands.
static uint32_t tiff_page(VcStr *s, const CorpusTiff *k, size_t *next)
{
    Blocks b = {.count = 0};
    tiff_blocks(s, k, &b);
    const uint32_t offsets = put_list(s, k, b.at, b.count), lengths = put_list(s, k, b.n, b.count);
    uint32_t bits = (uint32_t)s->len, map;
    for (int i = 0; i < k->samples; i++)
        put16(s, k, (unsigned)k->bits);
    map = (uint32_t)s->len;
    for (int i = 0; k->photometric == 3 && i < 3 << k->bits; i++) {
        const int colour = i % (1 << k->bits), channel = i >> k->bits;
        put16(s, k, colour < 4 ? corpus_colours[colour][channel] * 257u : 0);
    }
    const uint32_t at = (uint32_t)s->len;
    const bool alpha = (k->photometric == 2 && k->samples == 4) || (k->photometric <= 1 && k->samples == 2);
    put16(s, k, 13u + (k->tiled ? 1 : 0) + (k->photometric == 3 ? 1 : 0) + (alpha ? 1 : 0));
    entry(s, k, 256, 3, 1, (uint32_t)k->w);
    entry(s, k, 257, 3, 1, (uint32_t)k->h);
    if (k->samples == 2) { // two values lie in the entry itself
        put16(s, k, 258), put16(s, k, 3), put32(s, k, 2), put16(s, k, (unsigned)k->bits),
            put16(s, k, (unsigned)k->bits);
    } else {
        entry(s, k, 258, 3, (uint32_t)k->samples, k->samples == 1 ? (uint32_t)k->bits : bits);
    }
    entry(s, k, 259, 3, 1, (uint32_t)k->compression);
    entry(s, k, 262, 3, 1, (uint32_t)k->photometric);
    if (!k->tiled)
        entry(s, k, 273, 4, b.count, offsets);
    entry(s, k, 274, 3, 1, (uint32_t)(k->orientation ? k->orientation : 1));
    entry(s, k, 277, 3, 1, (uint32_t)k->samples);
    if (!k->tiled) {
        entry(s, k, 278, 3, 1, (uint32_t)k->rows);
        entry(s, k, 279, 4, b.count, lengths);
    }
    entry(s, k, 284, 3, 1, k->planar ? 2 : 1);
    entry(s, k, 296, 3, 1, 1);
    if (k->photometric == 3)
        entry(s, k, 320, 3, 3u << k->bits, map);
    if (k->tiled) {
        entry(s, k, 322, 3, 1, 16);
        entry(s, k, 323, 3, 1, 16);
        entry(s, k, 324, 4, b.count, offsets);
        entry(s, k, 325, 4, b.count, lengths);
    }
    if (alpha)
        entry(s, k, 338, 3, 1, 2);
    entry(s, k, 339, 3, 1, 1);
    *next = s->len;
    put32(s, k, 0);
    return at;
}

static void patch32(VcStr *s, const CorpusTiff *k, size_t at, uint32_t v)
{
    VcStr four = {0};
    put32(&four, k, v);
    memcpy(s->data + at, four.data, 4);
    vc_str_finish(&four);
}

VcStr corpus_tiff(const CorpusTiff *kind)
{
    CorpusTiff k = *kind;
    k.rows = k.rows ? k.rows : k.h;
    VcStr s = {0};
    vc_str_putn(&s, k.big ? "MM\0*\0\0\0\0" : "II*\0\0\0\0\0", 8);
    size_t link = 4, next;
    for (int i = 0; i < (k.pages ? k.pages : 1); i++) {
        const uint32_t at = tiff_page(&s, &k, &next);
        patch32(&s, &k, link, at);
        link = next;
    }
    return s;
}

size_t corpus_tiff_value(const VcStr *tiff, int tag)
{
    const uint8_t *p = (const uint8_t *)tiff->data;
    const bool big = p[0] == 'M';
#define U16(at) (big ? p[at] << 8 | p[(at) + 1] : p[(at) + 1] << 8 | p[at])
#define U32(at) \
    (big ? (uint32_t)U16(at) << 16 | (uint32_t)U16((at) + 2) : (uint32_t)U16((at) + 2) << 16 | (uint32_t)U16(at))
    const size_t ifd = U32(4);
    for (int i = 0; i < U16(ifd); i++) {
        if (U16(ifd + 2 + 12 * (size_t)i) == tag)
            return ifd + 2 + 12 * (size_t)i + 8;
    }
#undef U16
#undef U32
    return 0;
}
