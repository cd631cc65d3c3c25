// SPDX-License-Identifier: MIT
#include "base/str.h"

#include "base/err.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>

static const char replacement[] = "\xEF\xBF\xBD"; // U+FFFD

void vc_str_finish(VcStr *s)
{
    free(s->data);
    *s = (VcStr){0};
}

void vc_str_clear(VcStr *s)
{
    s->len = 0;
    if (s->data)
        s->data[0] = 0;
}

static void reserve(VcStr *s, size_t more)
{
    size_t need;
    VC_ASSERT(vc_add_size(s->len, more, &need) && need < SIZE_MAX);
    s->data = vc_grow(s->data, &s->cap, need + 1, 1);
}

void vc_str_putn(VcStr *s, const void *p, size_t n)
{
    reserve(s, n);
    if (n)
        memcpy(s->data + s->len, p, n);
    s->len += n;
    s->data[s->len] = 0;
}

void vc_str_put(VcStr *s, const char *text)
{
    vc_str_putn(s, text, strlen(text));
}

void vc_str_putc(VcStr *s, char c)
{
    vc_str_putn(s, &c, 1);
}

void vc_str_vputf(VcStr *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    VC_ASSERT(n >= 0);
    reserve(s, (size_t)n);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
    va_end(again);
    s->len += (size_t)n;
}

void vc_str_putf(VcStr *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vc_str_vputf(s, fmt, ap);
    va_end(ap);
}

const char *vc_str_get(const VcStr *s)
{
    return s->data ? s->data : "";
}

static void put_json_escape(VcStr *s, uint32_t c)
{
    if (c >= 0x10000) {
        c -= 0x10000;
        vc_str_putf(s, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        vc_str_putf(s, "\\u%04x", c);
    }
}

void vc_str_put_json(VcStr *s, const char *text, size_t n, bool ascii)
{
    vc_str_putc(s, '"');
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = vc_utf8_decode(text + i, n - i, &c);
        if (len == 0) {
            c = 0xFFFD;
            if (ascii) {
                put_json_escape(s, c);
            } else {
                vc_str_put(s, replacement);
            }
            i++;
            continue;
        }
        switch (c) {
        case '"':
            vc_str_put(s, "\\\"");
            break;
        case '\\':
            vc_str_put(s, "\\\\");
            break;
        case '\n':
            vc_str_put(s, "\\n");
            break;
        case '\r':
            vc_str_put(s, "\\r");
            break;
        case '\t':
            vc_str_put(s, "\\t");
            break;
        case '\b':
            vc_str_put(s, "\\b");
            break;
        case '\f':
            vc_str_put(s, "\\f");
            break;
        default:
            // Python's json.dumps leaves DEL as it is, and so do we.
            if (c < 0x20 || (ascii && c > 0x7f)) {
                put_json_escape(s, c);
            } else {
                vc_str_putn(s, text + i, len);
            }
        }
        i += len;
    }
    vc_str_putc(s, '"');
}

size_t vc_utf8_decode(const char *s, size_t n, uint32_t *code_point)
{
    const uint8_t *p = (const uint8_t *)s;
    if (n == 0)
        return 0;
    if (p[0] < 0x80) {
        *code_point = p[0];
        return 1;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (len == 0 || p[0] > 0xf4 || n < len)
        return 0;
    uint32_t c = p[0] & (0xff >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((len == 3 && c < 0x800) || (len == 4 && c < 0x10000) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *code_point = c;
    return len;
}

size_t vc_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

bool vc_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint64_t eight;
        if (n - i >= sizeof eight) { // most text is ASCII
            memcpy(&eight, s + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        uint32_t c;
        size_t len = vc_utf8_decode(s + i, n - i, &c);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

size_t vc_utf8_repair(VcStr *out, const char *s, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = vc_utf8_decode(s + i, n - i, &c);
        if (len == 0) {
            vc_str_put(out, replacement);
            bad++;
            i++;
        } else {
            vc_str_putn(out, s + i, len);
            i += len;
        }
    }
    return bad;
}

bool vc_has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool vc_has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool vc_parse_i64(const char *s, int64_t *out)
{
    if (*s == 0 || isspace((unsigned char)*s))
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end)
        return false;
    *out = v;
    return true;
}

bool vc_parse_double(const char *s, double *out)
{
    if (*s == 0 || isspace((unsigned char)*s))
        return false;
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (errno || *end || v != v)
        return false;
    *out = v;
    return true;
}

bool vc_parse_bytes(const char *s, uint64_t *out)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"kB", 1e3},
                 {"KB", 1e3},
                 {"MB", 1e6},
                 {"GB", 1e9},
                 {"K", 1024},
                 {"KiB", 1024},
                 {"M", 1048576},
                 {"MiB", 1048576},
                 {"G", 1 << 30},
                 {"GiB", 1 << 30},
                 {"TiB", 1099511627776.0}};
    if (!isdigit((unsigned char)*s))
        return false;
    char *end;
    double v = strtod(s, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            v *= units[i].factor;
            if (!(v < 9e18))
                return false;
            *out = (uint64_t)v;
            return true;
        }
    }
    return false;
}

void vc_str_put_html(VcStr *out, const char *text)
{
    for (const char *c = text ? text : ""; *c; c++) {
        switch (*c) {
        case '<':
            vc_str_put(out, "&lt;");
            break;
        case '>':
            vc_str_put(out, "&gt;");
            break;
        case '&':
            vc_str_put(out, "&amp;");
            break;
        case '"':
            vc_str_put(out, "&quot;");
            break;
        default:
            vc_str_putc(out, (char)((unsigned char)*c < 32 ? ' ' : *c));
        }
    }
}

void vc_str_put_csv(VcStr *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        vc_str_put(out, text);
        return;
    }
    vc_str_putc(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            vc_str_putc(out, '"');
        vc_str_putc(out, *text);
    }
    vc_str_putc(out, '"');
}
