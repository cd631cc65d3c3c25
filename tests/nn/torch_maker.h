// SPDX-License-Identifier: MIT
// Makes PyTorch archives byte by byte, right ones and wrong ones, for the tests.
#pragma once

#include "base/str.h"

#include <string.h>

// ---- a zip archive of stored entries ----

typedef struct {
    VcStr body, directory;
    size_t count;
    uint16_t method; // of the entries put next; 0 = stored
} ZipMaker;

static inline void put_number(VcStr *s, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++, v >>= 8)
        vc_str_putc(s, (char)v);
}

// The checksum is left 0: neither PyTorch's own map nor this reader looks at it.
static inline void zip_put(ZipMaker *z, const char *name, const void *data, size_t n)
{
    const size_t offset = z->body.len, name_n = strlen(name);
    vc_str_putn(&z->body, "PK\3\4", 4);
    put_number(&z->body, 20, 2);
    put_number(&z->body, 0, 2);
    put_number(&z->body, z->method, 2);
    put_number(&z->body, 0, 8); // time, date, checksum
    put_number(&z->body, n, 4);
    put_number(&z->body, n, 4);
    put_number(&z->body, name_n, 2);
    put_number(&z->body, 0, 2);
    vc_str_putn(&z->body, name, name_n);
    vc_str_putn(&z->body, data, n);
    vc_str_putn(&z->directory, "PK\1\2", 4);
    put_number(&z->directory, 0x00140014, 4);
    put_number(&z->directory, 0, 2);
    put_number(&z->directory, z->method, 2);
    put_number(&z->directory, 0, 8);
    put_number(&z->directory, n, 4);
    put_number(&z->directory, n, 4);
    put_number(&z->directory, name_n, 2);
    put_number(&z->directory, 0, 12); // extra, comment, disk, attributes
    put_number(&z->directory, offset, 4);
    vc_str_putn(&z->directory, name, name_n);
    z->count++;
}

// Ends the archive in z->body. zip64: with the ends of large archives, and 0xffffffff in the old one.
static inline void zip_end(ZipMaker *z, bool zip64)
{
    const size_t at = z->body.len, bytes = z->directory.len;
    vc_str_putn(&z->body, z->directory.data ? z->directory.data : "", bytes);
    if (zip64) {
        const size_t end64 = z->body.len;
        vc_str_putn(&z->body, "PK\6\6", 4);
        put_number(&z->body, 44, 8);
        put_number(&z->body, 0x002d002d, 4);
        put_number(&z->body, 0, 8);
        put_number(&z->body, z->count, 8);
        put_number(&z->body, z->count, 8);
        put_number(&z->body, bytes, 8);
        put_number(&z->body, at, 8);
        vc_str_putn(&z->body, "PK\6\7", 4);
        put_number(&z->body, 0, 4);
        put_number(&z->body, end64, 8);
        put_number(&z->body, 1, 4);
    }
    vc_str_putn(&z->body, "PK\5\6", 4);
    put_number(&z->body, 0, 4);
    put_number(&z->body, zip64 ? 0xffff : z->count, 2);
    put_number(&z->body, zip64 ? 0xffff : z->count, 2);
    put_number(&z->body, zip64 ? UINT32_MAX : bytes, 4);
    put_number(&z->body, zip64 ? UINT32_MAX : at, 4);
    put_number(&z->body, 0, 2);
}

static inline void zip_free(ZipMaker *z)
{
    vc_str_finish(&z->body);
    vc_str_finish(&z->directory);
    *z = (ZipMaker){0};
}

// ---- a pickle, protocol 2 ----

static inline void op_text(VcStr *s, const char *text)
{
    vc_str_putc(s, 'X');
    put_number(s, strlen(text), 4);
    vc_str_put(s, text);
}

static inline void op_int(VcStr *s, int64_t n)
{
    vc_str_putn(s, "\x8a\x08", 2);
    put_number(s, (uint64_t)n, 8);
}

static inline void op_global(VcStr *s, const char *module, const char *name)
{
    vc_str_putf(s, "c%s\n%s\n", module, name);
}

static inline void op_tuple(VcStr *s, const int64_t *values, size_t n)
{
    vc_str_putc(s, '(');
    for (size_t i = 0; i < n; i++)
        op_int(s, values[i]);
    vc_str_putc(s, 't');
}

// Pushes a tensor of a storage of `elements` elements of class torch.CLASS under data/KEY.
static inline void op_tensor(VcStr *s, const char *class, const char *key, int64_t elements, int64_t offset,
                             const int64_t *sizes, const int64_t *strides, size_t rank)
{
    op_global(s, "torch._utils", "_rebuild_tensor_v2");
    vc_str_put(s, "((");
    op_text(s, "storage");
    op_global(s, "torch", class);
    op_text(s, key);
    op_text(s, "cpu");
    op_int(s, elements);
    vc_str_put(s, "tQ");
    op_int(s, offset);
    op_tuple(s, sizes, rank);
    op_tuple(s, strides, rank);
    vc_str_put(s, "\x89"
                  "}tR"); // requires_grad False, no hooks
}
