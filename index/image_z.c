// SPDX-License-Identifier: MIT
//
// `image_z`: u8 version = 1, u8 channels, u16 width, u16 height, u16 filter, then a zlib stream (RFC 1950).
#include "index/reader.h"

#include "base/mem.h"

#include <zlib.h>

enum { HEADER = 8, FILTER_NONE = 0, FILTER_UP = 1 };
static const uint64_t max_pixels = (uint64_t)1 << 30;

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

// Inflates exactly `want` bytes: not one less, not one more, nothing after the stream.
static bool inflate_exact(const uint8_t *data, size_t n, uint8_t *out, size_t want, VcErr *err)
{
    z_stream z = {0};
    if (n > UINT32_MAX || inflateInit(&z) != Z_OK)
        return vc_fail(err, VC_ERR_LIMIT, "image_z: cannot start zlib");
    union {
        const uint8_t *in;
        Bytef *z;
    } p = {data}; // zlib reads through a pointer that is not const
    z.next_in = p.z;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)want;
    int code = inflate(&z, Z_FINISH);
    bool more = code != Z_STREAM_END && z.avail_out == 0; // full, and the stream goes on: maybe only its check sum
    if (more) {
        uint8_t extra;
        z.next_out = &extra;
        z.avail_out = 1;
        code = inflate(&z, Z_FINISH);
        more = z.avail_out == 0;
    }
    size_t left = z.avail_in, missing = more ? 0 : want - z.total_out;
    inflateEnd(&z);
    if (more)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: inflates to more than %zu bytes", want);
    if (code != Z_STREAM_END)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: damaged zlib stream");
    if (missing > 0)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: inflates to %zu bytes less than its size says", missing);
    if (left > 0)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: %zu bytes after the zlib stream", left);
    return true;
}

bool index_image_z_decode(const uint8_t *data, size_t n, uint8_t **pixels, uint32_t *width, uint32_t *height,
                          uint32_t *channels, VcErr *err)
{
    if (n < HEADER)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: %zu bytes are too few for its header", n);
    uint32_t c = data[1], w = get16(data + 2), h = get16(data + 4), filter = get16(data + 6);
    if (data[0] != 1)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: version %d; this program reads version 1", data[0]);
    if (c == 0 || w == 0 || h == 0 || filter > FILTER_UP)
        return vc_fail(err, VC_ERR_FORMAT, "image_z: %u x %u x %u with filter %u", w, h, c, filter);
    uint64_t size = (uint64_t)w * h * c, stride = (uint64_t)w * c;
    if (size > max_pixels)
        return vc_fail(err, VC_ERR_LIMIT, "image_z: %u x %u x %u is over 1 GiB", w, h, c);
    uint8_t *out = vc_alloc(size, 1);
    if (!inflate_exact(data + HEADER, n - HEADER, out, size, err)) {
        free(out);
        return false;
    }
    for (uint64_t i = stride; i < size && filter == FILTER_UP; i++)
        out[i] = (uint8_t)(out[i] + out[i - stride]);
    *pixels = out;
    *width = w;
    *height = h;
    *channels = c;
    return true;
}

bool index_image_z_put(VcStr *out, const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels, int level,
                       VcErr *err)
{
    uint64_t size = (uint64_t)width * height * channels, stride = (uint64_t)width * channels;
    if (width == 0 || height == 0 || channels == 0 || width > UINT16_MAX || height > UINT16_MAX ||
        channels > UINT8_MAX || size > max_pixels)
        return vc_fail(err, VC_ERR_LIMIT, "image_z: %u x %u x %u cannot be stored", width, height, channels);
    uint8_t *filtered = vc_alloc(size, 1);
    memcpy(filtered, pixels, stride);
    for (uint64_t i = stride; i < size; i++)
        filtered[i] = (uint8_t)(pixels[i] - pixels[i - stride]);
    uLong bound = compressBound((uLong)size);
    uint8_t *packed = vc_alloc(bound, 1);
    int code = compress2(packed, &bound, filtered, (uLong)size, level);
    if (code == Z_OK) {
        const uint8_t header[HEADER] = {1,
                                        (uint8_t)channels,
                                        (uint8_t)width,
                                        (uint8_t)(width >> 8),
                                        (uint8_t)height,
                                        (uint8_t)(height >> 8),
                                        FILTER_UP,
                                        0};
        vc_str_putn(out, header, sizeof header);
        vc_str_putn(out, packed, bound);
    }
    free(packed);
    free(filtered);
    return code == Z_OK || vc_fail(err, VC_ERR_LIMIT, "image_z: zlib failed with %d", code);
}
