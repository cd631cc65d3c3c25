// SPDX-License-Identifier: MIT
// What the readers of headers share. Not outside extract/sniff*.c.
#pragma once

#include "extract/sniff.h"

#include <string.h>

typedef struct {
    const uint8_t *p;
    size_t n;
} Bytes;

static inline uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t le16(const uint8_t *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static inline uint32_t le24(const uint8_t *p)
{
    return (uint32_t)p[2] << 16 | le16(p);
}

static inline uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | le24(p);
}

static inline bool starts(Bytes b, const char *magic, size_t n)
{
    return b.n >= n && memcmp(b.p, magic, n) == 0;
}

static inline ExtractCause reject(ExtractCause cause, VcErr *err, const char *words)
{
    vc_fail(err, VC_ERR_FORMAT, "%s", words);
    return cause;
}

// width * height * bytes, UINT64_MAX when it does not fit.
static inline uint64_t area_bytes(uint64_t width, uint64_t height, uint64_t bytes)
{
    uint64_t n;
    return __builtin_mul_overflow(width, height, &n) || __builtin_mul_overflow(n, bytes, &n) ? UINT64_MAX : n;
}

// Orientation of an EXIF block that begins with its TIFF header: 1..8, 1 when it says nothing that can be used.
int extract_exif_orientation(Bytes b);

// Each fills width, height and memory of *out, whose format is set.
ExtractCause extract_sniff_jpeg(ExtractHeader *out, Bytes b, VcErr *err);
ExtractCause extract_sniff_png(ExtractHeader *out, Bytes b, VcErr *err);
ExtractCause extract_sniff_gif(ExtractHeader *out, Bytes b, VcErr *err);
ExtractCause extract_sniff_webp(ExtractHeader *out, Bytes b, VcErr *err);
ExtractCause extract_sniff_tiff(ExtractHeader *out, Bytes b, VcErr *err);
ExtractCause extract_sniff_heif(ExtractHeader *out, Bytes b, VcErr *err);
