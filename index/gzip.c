// SPDX-License-Identifier: MIT
#include "index/gzip.h"

#include "base/mem.h"

#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16, CHUNK = 1 << 20 };

// zlib reads through a pointer that is not const and counts input in 32 bits: hands it the next piece.
static void feed(z_stream *z, const uint8_t **data, uint64_t *n)
{
    if (z->avail_in > 0 || *n == 0)
        return;
    union {
        const uint8_t *in;
        Bytef *z;
    } p = {*data};
    z->next_in = p.z;
    z->avail_in = *n < (1u << 30) ? (uInt)*n : 1u << 30;
    *data += z->avail_in;
    *n -= z->avail_in;
}

bool gzip_deflate(VcStr *out, const uint8_t *data, uint64_t n, int level, VcErr *err)
{
    z_stream z = {0};
    if (deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return vc_fail(err, VC_ERR_LIMIT, "cannot start zlib at level %d", level);
    uint8_t *chunk = vc_alloc(CHUNK, 1);
    int code = Z_OK;
    while (code == Z_OK || code == Z_BUF_ERROR) {
        feed(&z, &data, &n);
        z.next_out = chunk;
        z.avail_out = CHUNK;
        code = deflate(&z, n == 0 ? Z_FINISH : Z_NO_FLUSH);
        vc_str_putn(out, chunk, CHUNK - z.avail_out);
        if (code == Z_BUF_ERROR && z.avail_in == 0 && n == 0 && z.avail_out == CHUNK)
            break;
    }
    deflateEnd(&z);
    free(chunk);
    return code == Z_STREAM_END || vc_fail(err, VC_ERR_LIMIT, "zlib failed with %d", code);
}

bool gzip_inflate(VcStr *out, const uint8_t *data, uint64_t n, uint64_t want, VcErr *err)
{
    z_stream z = {0};
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return vc_fail(err, VC_ERR_LIMIT, "cannot start zlib");
    uint8_t *chunk = vc_alloc(CHUNK, 1);
    uint64_t got = 0;
    int code = Z_OK;
    while (code == Z_OK && got <= want) {
        feed(&z, &data, &n);
        uint64_t room = want + 1 - got;
        z.next_out = chunk;
        z.avail_out = room < CHUNK ? (uInt)room : CHUNK;
        uInt before = z.avail_out;
        code = inflate(&z, Z_NO_FLUSH); // Z_BUF_ERROR ends the loop: input is used up before the end of the member
        vc_str_putn(out, chunk, before - z.avail_out);
        got += before - z.avail_out;
    }
    uint64_t left = n + z.avail_in;
    inflateEnd(&z);
    free(chunk);
    if (got > want) {
        return vc_fail(err, VC_ERR_FORMAT, "inflates to more than the %llu bytes index.json says",
                       (unsigned long long)want);
    }
    if (code != Z_STREAM_END)
        return vc_fail(err, VC_ERR_FORMAT, "is not a whole gzip member");
    if (got < want) {
        return vc_fail(err, VC_ERR_FORMAT, "inflates to %llu bytes, index.json says %llu", (unsigned long long)got,
                       (unsigned long long)want);
    }
    if (left > 0)
        return vc_fail(err, VC_ERR_FORMAT, "%llu bytes follow the gzip member", (unsigned long long)left);
    return true;
}
