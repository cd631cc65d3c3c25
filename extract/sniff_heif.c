// SPDX-License-Identifier: MIT
// HEIF and AVIF (ISO 23008-12, ISO 14496-12): the size of the primary item, and whether all bytes of the items are in
// the file. Boxes are read two levels deep, by a walk whose every length is checked.
#include "extract/sniff_impl.h"

// The box at *at: its payload, and *at behind it. False at the end or when its length cannot be.
static bool next_box(Bytes b, size_t *at, char type[4], Bytes *payload)
{
    if (b.n - *at < 8)
        return false;
    const uint8_t *p = b.p + *at;
    uint64_t size = be32(p), head = 8;
    if (size == 1 && b.n - *at >= 16) {
        size = (uint64_t)be32(p + 8) << 32 | be32(p + 12);
        head = 16;
    } else if (size == 0) {
        size = b.n - *at;
    }
    if (size < head || size > b.n - *at)
        return false;
    memcpy(type, p + 4, 4);
    *payload = (Bytes){p + head, (size_t)(size - head)};
    *at += (size_t)size;
    return true;
}

static Bytes find_box(Bytes b, const char *wanted)
{
    char type[4];
    Bytes payload;
    for (size_t at = 0; next_box(b, &at, type, &payload);) {
        if (memcmp(type, wanted, 4) == 0)
            return payload;
    }
    return (Bytes){NULL, 0};
}

static Bytes skip(Bytes b, size_t n)
{
    return b.n < n ? (Bytes){NULL, 0} : (Bytes){b.p + n, b.n - n};
}

// Width and height of property `index` (from 1) where it is a size.
static bool size_property(Bytes ipco, unsigned index, ExtractHeader *out)
{
    char type[4];
    Bytes payload;
    size_t at = 0;
    for (unsigned i = 1; next_box(ipco, &at, type, &payload); i++) {
        if (i != index)
            continue;
        if (memcmp(type, "ispe", 4) != 0 || payload.n < 12)
            return false;
        out->width = be32(payload.p + 4);
        out->height = be32(payload.p + 8);
        return true;
    }
    return false;
}

// Walks the associations (ipma) of the item `id` to its size.
static bool item_size(Bytes ipma, Bytes ipco, uint32_t id, ExtractHeader *out)
{
    if (ipma.n < 8)
        return false;
    const bool long_id = ipma.p[0] >= 1, wide = (ipma.p[3] & 1) != 0;
    const uint32_t entries = be32(ipma.p + 4);
    size_t at = 8;
    for (uint32_t i = 0; i < entries && ipma.n - at >= (long_id ? 5u : 3u); i++) {
        const uint32_t item = long_id ? be32(ipma.p + at) : be16(ipma.p + at);
        at += long_id ? 4 : 2;
        const unsigned count = ipma.p[at++];
        for (unsigned k = 0; k < count; k++) {
            if (ipma.n - at < (wide ? 2u : 1u))
                return false;
            const unsigned index = wide ? be16(ipma.p + at) & 0x7FFF : ipma.p[at] & 0x7Fu;
            at += wide ? 2 : 1;
            if (item == id && size_property(ipco, index, out))
                return true;
        }
    }
    return false;
}

// A big-endian number of `bytes` bytes (0, 4 or 8 by the format; 0 is 0).
static uint64_t number(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

// Does the file hold every extent of the items (iloc)? What lies in idat is inside meta and was checked with it.
static bool extents_inside(Bytes iloc, uint64_t file_size)
{
    if (iloc.n < 8)
        return false;
    const unsigned version = iloc.p[0], offset_n = iloc.p[4] >> 4, length_n = iloc.p[4] & 15, base_n = iloc.p[5] >> 4;
    const unsigned index_n = version >= 1 ? iloc.p[5] & 15 : 0, id_n = version == 2 ? 4 : 2;
    if (version > 2 || offset_n > 8 || length_n > 8 || base_n > 8 || index_n > 8)
        return false;
    size_t at = 6;
    if (iloc.n - at < id_n)
        return false;
    const uint64_t items = number(iloc.p + at, id_n);
    at += id_n;
    for (uint64_t i = 0; i < items; i++) {
        const size_t head = id_n + (version >= 1 ? 2u : 0u) + 2u + base_n + 2u;
        if (iloc.n - at < head)
            return false;
        const unsigned method = version >= 1 ? iloc.p[at + id_n + 1] & 15 : 0;
        const uint64_t base = number(iloc.p + at + head - 2 - base_n, base_n), extents = be16(iloc.p + at + head - 2);
        at += head;
        for (uint64_t k = 0; k < extents; k++, at += index_n + offset_n + length_n) {
            if (iloc.n - at < index_n + offset_n + length_n)
                return false;
            uint64_t from = number(iloc.p + at + index_n, offset_n),
                     size = number(iloc.p + at + index_n + offset_n, length_n);
            if (method == 0 &&
                (__builtin_add_overflow(base, from, &from) || from > file_size || size > file_size - from))
                return false;
        }
    }
    return true;
}

ExtractCause extract_sniff_heif(ExtractHeader *out, Bytes b, VcErr *err)
{
    const Bytes meta = skip(find_box(b, "meta"), 4), iprp = find_box(meta, "iprp");
    const Bytes pitm = find_box(meta, "pitm"), iloc = find_box(meta, "iloc");
    if (!meta.p || !iprp.p || pitm.n < 6 || !iloc.p)
        return reject(EXTRACT_CORRUPT, err, "HEIF or AVIF without a still picture");
    if (pitm.p[0] != 0 && pitm.n < 8)
        return reject(EXTRACT_CORRUPT, err, "HEIF or AVIF without a primary item");
    const uint32_t primary = pitm.p[0] == 0 ? be16(pitm.p + 4) : be32(pitm.p + 4);
    if (!item_size(find_box(iprp, "ipma"), find_box(iprp, "ipco"), primary, out) || out->width == 0 ||
        out->height == 0 || out->width > INT32_MAX || out->height > INT32_MAX)
        return reject(EXTRACT_CORRUPT, err, "HEIF or AVIF that does not say its size");
    // Planes of the decoder, its reference and the RGB that is made of them.
    out->memory = area_bytes(out->width, out->height, 6);
    return extents_inside(iloc, b.n) ? EXTRACT_OK
                                     : reject(EXTRACT_TRUNCATED, err, "HEIF or AVIF shorter than its items say");
}
