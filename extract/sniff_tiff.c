// SPDX-License-Identifier: MIT
// The first directory of a TIFF (6.0): libtiff reads far more kinds than photographs come in, so what is not on the
// list here never gets to it.
#include "extract/sniff_impl.h"

enum { MAX_ENTRIES = 512 };

typedef struct {
    Bytes b;
    bool little;
} Reader;

typedef struct {
    uint32_t type, count; // values of 1, 2 or 4 bytes: only BYTE, SHORT and LONG are used
    size_t at;            // of the first value
} Field;

typedef struct {
    uint32_t width, height, bits, compression, photometric, samples, planar, rows, format;
    uint32_t tile_width, tile_height;
    Field offsets, lengths, colours;
} Page;

static uint32_t u16(const Reader *r, size_t at)
{
    return r->little ? le16(r->b.p + at) : be16(r->b.p + at);
}

static uint32_t u32(const Reader *r, size_t at)
{
    return r->little ? le32(r->b.p + at) : be32(r->b.p + at);
}

static uint32_t size_of(uint32_t type)
{
    return type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : 0;
}

// The i-th value; 0 past the end.
static uint32_t value(const Reader *r, const Field *f, uint32_t i)
{
    if (i >= f->count)
        return 0;
    const size_t at = f->at + (size_t)i * size_of(f->type);
    return f->type == 1 ? r->b.p[at] : f->type == 3 ? u16(r, at) : u32(r, at);
}

// The entry at `at`; count 0 when its type is of no use or its values lie outside.
static Field read_field(const Reader *r, size_t at)
{
    Field f = {.type = u16(r, at + 2), .count = u32(r, at + 4), .at = at + 8};
    const uint64_t bytes = (uint64_t)f.count * size_of(f.type);
    if (bytes > 4)
        f.at = u32(r, at + 8);
    if (bytes == 0 || f.at > r->b.n || bytes > r->b.n - f.at)
        f.count = 0;
    return f;
}

static bool read_entry(const Reader *r, Page *p, size_t at)
{
    const Field f = read_field(r, at);
    const uint32_t v = value(r, &f, 0);
    switch (u16(r, at)) {
    case 256:
        p->width = v;
        break;
    case 257:
        p->height = v;
        break;
    case 258:
        p->bits = v;
        for (uint32_t i = 1; i < f.count && i < 8; i++) {
            if (value(r, &f, i) != v)
                return false;
        }
        break;
    case 259:
        p->compression = v;
        break;
    case 262:
        p->photometric = v;
        break;
    case 273:
    case 324:
        p->offsets = f;
        break;
    case 277:
        p->samples = v;
        break;
    case 278:
        p->rows = v;
        break;
    case 279:
    case 325:
        p->lengths = f;
        break;
    case 284:
        p->planar = v;
        break;
    case 320:
        p->colours = f;
        break;
    case 322:
        p->tile_width = v;
        break;
    case 323:
        p->tile_height = v;
        break;
    case 339:
        p->format = v;
        break;
    default:
        break;
    }
    return true;
}

// None, fax, LZW, JPEG, deflate (both numbers), PackBits.
static bool compression_ok(uint32_t c)
{
    return (c >= 1 && c <= 5) || c == 7 || c == 8 || c == 32946 || c == 32773;
}

// White or black is zero, RGB, palette, separated, YCbCr.
static bool photometric_ok(uint32_t p)
{
    return p <= 3 || p == 5 || p == 6;
}

static const char *kind_not_read(const Page *p)
{
    if (!compression_ok(p->compression))
        return "TIFF with a compression that is not on the list";
    if (!photometric_ok(p->photometric) || p->format > 1)
        return "TIFF with a kind of samples that is not on the list";
    if (p->tile_width && p->planar == 2 && p->samples > 1)
        return "TIFF with a tile for every plane";
    if (p->planar == 2 && p->bits < 8)
        return "TIFF with planes of less than 8 bits";
    if (p->bits != 1 && p->bits != 2 && p->bits != 4 && p->bits != 8 && p->bits != 16)
        return "TIFF with other than 1, 2, 4, 8 or 16 bits a sample";
    return p->samples < 1 || p->samples > 5 ? "TIFF with other than 1 to 5 samples a pixel" : NULL;
}

// The strips or tiles of the picture. Bytes are those of unpacked data.
typedef struct {
    uint64_t count, sheet; // of all, of one plane
    uint64_t bytes, last;  // one holds, and the last of a plane
    uint64_t across;       // side by side
    bool tiled;
} Blocks;

static Blocks blocks_of(const Page *p)
{
    const uint64_t sheets = p->planar == 2 ? p->samples : 1, samples = p->planar == 2 ? 1 : p->samples;
    Blocks b = {.across = 1, .tiled = p->tile_width && p->tile_height};
    if (b.tiled) {
        b.across = ((uint64_t)p->width + p->tile_width - 1) / p->tile_width;
        b.sheet = b.across * (((uint64_t)p->height + p->tile_height - 1) / p->tile_height);
        b.last = b.bytes = area_bytes(p->tile_height, ((uint64_t)p->tile_width * samples * p->bits + 7) / 8, 1);
    } else {
        const uint64_t rows = p->rows == 0 || p->rows > p->height ? p->height : p->rows;
        const uint64_t row = ((uint64_t)p->width * samples * p->bits + 7) / 8;
        b.sheet = ((uint64_t)p->height + rows - 1) / rows;
        b.bytes = area_bytes(rows, row, 1);
        b.last = area_bytes(p->height - (b.sheet - 1) * rows, row, 1);
    }
    b.count = b.sheet * sheets;
    return b;
}

static ExtractCause check_blocks(ExtractHeader *out, const Reader *r, const Page *p, VcErr *err)
{
    const Blocks b = blocks_of(p);
    // A row of tiles is held at once; a strip too, and the planes of a picture side by side.
    out->memory = area_bytes(b.bytes, b.across, p->planar == 2 ? p->samples : 1);
    if ((b.tiled && (p->tile_width > 1 << 16 || p->tile_height > 1 << 16)) || out->memory > UINT64_MAX / 4)
        return reject(EXTRACT_CORRUPT, err, "TIFF with impossible tiles");
    if (p->offsets.count < b.count || p->lengths.count < b.count)
        return reject(EXTRACT_CORRUPT, err, "TIFF without the places of its picture data");
    const bool plain = p->compression == 1 && p->photometric != 6; // YCbCr may have fewer samples of colour
    for (uint32_t i = 0; i < b.count; i++) {
        const uint64_t at = value(r, &p->offsets, i), n = value(r, &p->lengths, i);
        if (at < 8 || at > r->b.n)
            return reject(EXTRACT_CORRUPT, err, "TIFF whose picture data lies outside the file");
        if (n > r->b.n - at)
            return reject(EXTRACT_TRUNCATED, err, "TIFF ends inside its picture data");
        if (n == 0 || (plain && n < ((i + 1) % b.sheet ? b.bytes : b.last)))
            return reject(EXTRACT_CORRUPT, err, "TIFF with less picture data than its size says");
    }
    return EXTRACT_OK;
}

ExtractCause extract_sniff_tiff(ExtractHeader *out, Bytes b, VcErr *err)
{
    if (b.n < 8)
        return reject(EXTRACT_TRUNCATED, err, "TIFF ends inside its header");
    const Reader r = {b, b.p[0] == 'I'};
    const uint32_t ifd = u32(&r, 4);
    if (ifd < 8 || ifd > b.n || b.n - ifd < 2)
        return reject(EXTRACT_CORRUPT, err, "TIFF whose directory lies outside the file");
    const uint32_t entries = u16(&r, ifd);
    if (entries == 0 || entries > MAX_ENTRIES)
        return reject(EXTRACT_CORRUPT, err, "TIFF with an impossible directory");
    if (b.n - ifd - 2 < 12 * (size_t)entries)
        return reject(EXTRACT_TRUNCATED, err, "TIFF ends inside its directory");
    Page p = {.bits = 1, .compression = 1, .samples = 1, .planar = 1, .format = 1, .photometric = 1};
    for (uint32_t i = 0; i < entries; i++) {
        if (!read_entry(&r, &p, ifd + 2 + 12 * (size_t)i))
            return reject(EXTRACT_UNSUPPORTED, err, "TIFF whose samples differ in size");
    }
    if (p.width == 0 || p.height == 0 || p.width > INT32_MAX || p.height > INT32_MAX)
        return reject(EXTRACT_CORRUPT, err, "TIFF with an impossible width or height");
    const char *words = kind_not_read(&p);
    if (words)
        return reject(EXTRACT_UNSUPPORTED, err, words);
    if (p.photometric == 3 && (p.samples > 2 || p.bits > 8 || p.colours.count < 3u << p.bits))
        return reject(EXTRACT_CORRUPT, err, "TIFF without the palette it needs");
    out->width = p.width;
    out->height = p.height;
    return check_blocks(out, &r, &p, err);
}
