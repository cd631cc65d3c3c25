// SPDX-License-Identifier: MIT
// Python's html.unescape, and the stricter one of ftfy (only with a semicolon, also names in capitals).
#include "concepts/text_clean.h"
#include "concepts/text_html.h"

#include <string.h>
#include <utf8proc.h>

enum { NAME_MAX_RUNES = 32, NAME_MAX_FTFY = 24 };

// Finds `name` (n bytes of ASCII) in the table; *bare says whether it counts without a semicolon. Returns what follows
// the mark (the code points) or NULL. Binary search on bytes; lo and hi are starts of entries.
static const char *find_entity(const char *name, size_t n, bool *bare)
{
    const char *lo = text_html_entities, *hi = lo + strlen(lo);
    while (lo < hi) {
        const char *entry = lo + (hi - lo) / 2;
        while (entry > lo && entry[-1] != ' ')
            entry--;
        const size_t length = strcspn(entry, "!:");
        const int order = memcmp(name, entry, n < length ? n : length);
        if (order == 0 && n == length) {
            *bare = entry[length] == '!';
            return entry + length + 1;
        }
        if (order < 0 || (order == 0 && n < length)) {
            hi = entry;
        } else {
            lo = strchr(entry, ' ') + 1;
        }
    }
    return NULL;
}

// Appends the code points of an entry; `upper` in Python's upper case.
static void put_entity(Runes *out, const char *codes, bool upper)
{
    while (*codes != ' ') {
        uint32_t c = 0;
        for (; *codes != ' ' && *codes != ','; codes++)
            c = c * 16 + (uint32_t)(*codes <= '9' ? *codes - '0' : *codes - 'A' + 10);
        if (*codes == ',')
            codes++;
        if (upper && c == 0xDF) { // the one whose capital is two letters and matters after lower-casing
            runes_put(out, 'S');
            c = 'S';
        }
        runes_put(out, upper ? (uint32_t)utf8proc_toupper((utf8proc_int32_t)c) : c);
    }
}

static const uint16_t windows_1252[32] = {
    0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
    0x2039, 0x152,  0x8D,   0x17D,  0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178,
};

uint32_t text_windows_1252(uint32_t c)
{
    return c >= 0x80 && c <= 0x9F ? windows_1252[c - 0x80] : c;
}

// A numeric reference by the rules of HTML 5; nothing is put for code points that are not characters.
static void put_number(Runes *out, uint32_t c)
{
    if (c == 0 || (c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF) {
        runes_put(out, 0xFFFD);
    } else if (c >= 0x80 && c <= 0x9F) {
        runes_put(out, windows_1252[c - 0x80]);
    } else if (!(c <= 0x8 || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || (c >= 0xFDD0 && c <= 0xFDEF) ||
                 (c & 0xFFFE) == 0xFFFE)) {
        runes_put(out, c);
    }
}

static int digit_value(uint32_t c, bool hex)
{
    if (c >= '0' && c <= '9')
        return (int)c - '0';
    if (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
        return (int)(c | 0x20) - 'a' + 10;
    return -1;
}

// r[at] is '&', r[at + 1] is '#': length of the reference (with its semicolon, if any) or 0, and its value, which stops
// growing past the last code point.
static size_t scan_number(const Runes *r, size_t at, uint32_t *value)
{
    size_t i = at + 2;
    const bool hex = i < r->len && (r->data[i] == 'x' || r->data[i] == 'X');
    i += hex;
    const size_t first = i;
    *value = 0;
    for (int digit; i < r->len && (digit = digit_value(r->data[i], hex)) >= 0; i++) {
        if (*value <= 0x10FFFF)
            *value = *value * (hex ? 16 : 10) + (uint32_t)digit;
    }
    if (i == first)
        return 0;
    if (i < r->len && r->data[i] == ';')
        i++;
    return i - at;
}

// r[at] is '&': a named reference, as html.unescape takes it. Appends its characters and returns how many runes they
// stand for, or 0.
static size_t put_named(Runes *out, const Runes *r, size_t at)
{
    char name[NAME_MAX_RUNES];
    size_t n = 0, ascii = 0; // runes of the candidate, and of its ASCII head
    for (; n < NAME_MAX_RUNES && at + 1 + n < r->len; n++) {
        const uint32_t c = r->data[at + 1 + n];
        if (c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' || c == ';')
            break;
        if (c < 0x80 && ascii == n)
            name[ascii++] = (char)c;
    }
    if (n == 0)
        return 0;
    bool bare;
    const bool semicolon = at + 1 + n < r->len && r->data[at + 1 + n] == ';';
    const char *codes = ascii == n && semicolon ? find_entity(name, n, &bare) : NULL;
    if (codes != NULL) {
        put_entity(out, codes, false);
        return n + 2;
    }
    for (size_t length = ascii; length >= 2; length--) {
        codes = find_entity(name, length, &bare);
        if (codes != NULL && bare) {
            put_entity(out, codes, false);
            return length + 1;
        }
    }
    return 0;
}

void text_html_unescape(Runes *r)
{
    Runes out = {0};
    for (size_t i = 0; i < r->len;) {
        size_t used = 0;
        if (r->data[i] == '&' && i + 1 < r->len) {
            uint32_t value;
            if (r->data[i + 1] != '#') {
                used = put_named(&out, r, i);
            } else if ((used = scan_number(r, i, &value)) > 0) {
                put_number(&out, value);
            }
        }
        if (used == 0)
            runes_put(&out, r->data[i]);
        i += used > 0 ? used : 1;
    }
    runes_finish(r);
    *r = out;
}

// A name in capitals that HTML does not know and whose small form it does: "&EACUTE;".
static const char *find_capitals(const char *name, size_t n)
{
    char lower[NAME_MAX_RUNES];
    bool bare;
    for (size_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z')
            return NULL;
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    }
    for (size_t length = n; length >= 2; length--) { // an old name at its head would be decoded by HTML itself
        if (find_entity(name, length, &bare) != NULL && (bare || length == n))
            return NULL;
    }
    return find_entity(lower, n, &bare);
}

// ftfy: r[at] is '&'. Appends and returns the length of the reference, or 0.
static size_t put_strict(Runes *out, const Runes *r, size_t at)
{
    uint32_t value;
    if (at + 1 < r->len && r->data[at + 1] == '#') {
        const size_t length = scan_number(r, at, &value);
        if (length == 0 || length > NAME_MAX_FTFY + 3 || r->data[at + length - 1] != ';' || value == ';')
            return 0;
        put_number(out, value);
        return length;
    }
    char name[NAME_MAX_RUNES];
    size_t n = 0;
    for (; n < NAME_MAX_FTFY && at + 1 + n < r->len; n++) {
        const uint32_t c = r->data[at + 1 + n];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
            break;
        name[n] = (char)c;
    }
    if (n == 0 || at + 1 + n >= r->len || r->data[at + 1 + n] != ';')
        return 0;
    bool bare;
    const char *codes = find_entity(name, n, &bare);
    const bool capitals = codes == NULL;
    if (capitals)
        codes = find_capitals(name, n);
    if (codes == NULL)
        return 0;
    put_entity(out, codes, capitals);
    return n + 2;
}

void text_html_unescape_strict(Runes *r)
{
    Runes out = {0};
    for (size_t i = 0; i < r->len;) {
        const size_t used = r->data[i] == '&' ? put_strict(&out, r, i) : 0;
        if (used == 0)
            runes_put(&out, r->data[i]);
        i += used > 0 ? used : 1;
    }
    runes_finish(r);
    *r = out;
}
