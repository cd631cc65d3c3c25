// SPDX-License-Identifier: MIT
#include "concepts/text_clean.h"
#include "concepts/text_html.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <utf8proc.h>

void runes_finish(Runes *r)
{
    free(r->data);
    *r = (Runes){0};
}

void runes_put(Runes *r, uint32_t code_point)
{
    if (r->len == r->cap)
        r->data = vc_grow(r->data, &r->cap, r->len + 1, sizeof *r->data);
    r->data[r->len++] = code_point;
}

void runes_put_utf8(Runes *r, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = 0xFFFD;
        const size_t length = vc_utf8_decode(text + i, n - i, &c);
        runes_put(r, length > 0 ? c : 0xFFFD);
        i += length > 0 ? length : 1;
    }
}

static bool all_ascii(const Runes *r)
{
    for (size_t i = 0; i < r->len; i++) {
        if (r->data[i] >= 0x80)
            return false;
    }
    return true;
}

static bool contains(const Runes *r, uint32_t c)
{
    for (size_t i = 0; i < r->len; i++) {
        if (r->data[i] == c)
            return true;
    }
    return false;
}

bool text_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool text_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    const utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool text_is_number(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    const utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

// Normal form by utf8proc's options (UTF8PROC_COMPOSE: NFC; with UTF8PROC_COMPAT: NFKC). ASCII is left alone.
static void normalize(Runes *r, int options)
{
    if (r->len == 0 || all_ascii(r))
        return;
    VcStr text = {0};
    for (size_t i = 0; i < r->len; i++) {
        char bytes[4];
        vc_str_putn(&text, bytes, vc_utf8_encode(r->data[i], bytes));
    }
    utf8proc_uint8_t *out = NULL;
    const utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.len, &out,
                                            (utf8proc_option_t)(UTF8PROC_STABLE | options));
    VC_ASSERT(n >= 0); // valid UTF-8 by construction
    r->len = 0;
    runes_put_utf8(r, (const char *)out, (size_t)n);
    free(out);
    vc_str_finish(&text);
}

static bool is_cased(uint32_t c)
{
    const utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || c == 0xAA ||
           c == 0xBA || (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9);
}

static bool is_case_ignorable(uint32_t c)
{
    static const uint16_t others[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                      0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    const utf8proc_category_t k = category(c);
    if (k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
        k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK)
        return true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (c == others[i])
            return true;
    }
    return false;
}

// The sigma at r[at] ends a word (Unicode 3.13, Final_Sigma).
static bool sigma_is_final(const Runes *r, size_t at)
{
    size_t before = at, after = at + 1;
    while (before > 0 && is_case_ignorable(r->data[before - 1]))
        before--;
    while (after < r->len && is_case_ignorable(r->data[after]))
        after++;
    return before > 0 && is_cased(r->data[before - 1]) && !(after < r->len && is_cased(r->data[after]));
}

// Full lower case: U+0130 is the only character that becomes two. `words`: a final sigma gets its own form, as
// Python's str.lower does and Rust's char::to_lowercase does not.
static void lower(Runes *r, bool words)
{
    bool dotted = false;
    for (size_t i = 0; i < r->len; i++) {
        const uint32_t c = r->data[i];
        if (c < 0x80) {
            r->data[i] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        } else {
            dotted |= c == 0x130;
        }
    }
    if (all_ascii(r))
        return;
    Runes out = {0};
    for (size_t i = 0; i < r->len; i++) {
        const uint32_t c = r->data[i];
        if (c == 0x3A3 && words && sigma_is_final(r, i)) {
            runes_put(&out, 0x3C2);
        } else if (c == 0x130 && dotted) {
            runes_put(&out, 'i');
            runes_put(&out, 0x307);
        } else
            runes_put(&out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
    runes_finish(r);
    *r = out;
}

void text_clean_hf(Runes *r)
{
    normalize(r, UTF8PROC_COMPOSE);
    size_t n = 0;
    bool gap = false;
    for (size_t i = 0; i < r->len; i++) {
        const bool space = text_is_space(r->data[i]);
        if (!space || !gap)
            r->data[n++] = space ? ' ' : r->data[i];
        gap = space;
    }
    r->len = n;
    lower(r, false);
}

// ---- ftfy ----

static const char *ligature(uint32_t c)
{
    static const struct {
        uint16_t code;
        const char *letters;
    } table[] = {
        {0x132, "IJ"},
        {0x133, "ij"},
        {0x149, "\xCA\xBC"
                "n"},
        {0x1F1, "DZ"},
        {0x1F2, "Dz"},
        {0x1F3, "dz"},
        {0x1C4, "D\xC5\xBD"},
        {0x1C5, "D\xC5\xBE"},
        {0x1C6, "d\xC5\xBE"},
        {0x1C7, "LJ"},
        {0x1C8, "Lj"},
        {0x1C9, "lj"},
        {0x1CA, "NJ"},
        {0x1CB, "Nj"},
        {0x1CC, "nj"},
        {0xFB00, "ff"},
        {0xFB01, "fi"},
        {0xFB02, "fl"},
        {0xFB03, "ffi"},
        {0xFB04, "ffl"},
        {0xFB05, "\xC5\xBF"
                 "t"},
        {0xFB06, "st"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].code == c)
            return table[i].letters;
    }
    return NULL;
}

static bool is_control(uint32_t c)
{
    return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
           c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

// C1 controls as Windows-1252, ligatures taken apart, full and half width to normal, quotes straight, one line break.
static void fix_characters(Runes *r)
{
    Runes out = {0};
    for (size_t i = 0; i < r->len; i++) {
        const uint32_t c = text_windows_1252(r->data[i]);
        const char *letters = c > 0x131 ? ligature(c) : NULL;
        if (letters != NULL) {
            runes_put_utf8(&out, letters, strlen(letters));
        } else if (c == 0x3000) {
            runes_put(&out, ' ');
        } else if (c > 0xFF00 && c < 0xFFF0) {
            Runes one = {0};
            runes_put(&one, c);
            normalize(&one, UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
            for (size_t k = 0; k < one.len; k++)
                runes_put(&out, one.data[k]);
            runes_finish(&one);
        } else
            runes_put(&out, c);
    }
    for (size_t i = 0; i < out.len; i++) {
        const uint32_t c = out.data[i];
        if (c >= 0x201C && c <= 0x201F) {
            out.data[i] = '"';
        } else if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) {
            out.data[i] = '\'';
        } else if (c == '\r' || c == 0x2028 || c == 0x2029) {
            out.data[i] = '\n'; // "\r\n" becomes two: white space is joined later
        }
    }
    runes_finish(r);
    *r = out;
}

// Terminal escapes (ESC [ digits and semicolons, a letter), then control characters, are taken out in place.
static void remove_controls(Runes *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->len;) {
        if (r->data[i] == 0x1B && i + 1 < r->len && r->data[i + 1] == '[') {
            size_t end = i + 2;
            while (end < r->len && (r->data[end] == ';' || category(r->data[end]) == UTF8PROC_CATEGORY_ND))
                end++;
            if (end < r->len && r->data[end] < 0x80 && text_is_letter(r->data[end])) {
                i = end + 1;
                continue;
            }
        }
        r->data[n++] = r->data[i++];
    }
    r->len = n;
    n = 0;
    for (size_t i = 0; i < r->len; i++) {
        if (!is_control(r->data[i]))
            r->data[n++] = r->data[i];
    }
    r->len = n;
}

// The byte that stands for c in Latin-1, or in Windows-1252 with its five holes filled ("sloppy"); -1 for none.
static int byte_of(uint32_t c, bool windows)
{
    if (c < 0x80 || (c >= 0xA0 && c <= 0xFF) || (!windows && c <= 0xFF))
        return (int)c;
    for (uint32_t b = 0x80; windows && b < 0xA0; b++) {
        if (text_windows_1252(b) == c)
            return (int)b;
    }
    return -1;
}

// A line of UTF-8 that was read as Latin-1 or Windows-1252 ("cafÃ©"): read again as UTF-8, as often as that works. Of
// ftfy's search this is the common case, without its other code pages and its judgement of single characters: of 4000
// texts spoilt so, 98.3 % come out as from ftfy; text that is in order is left alone unless all its letters beyond
// ASCII happen to form UTF-8.
static void repair_encoding(Runes *r)
{
    VcStr bytes = {0};
    for (bool windows = false;;) {
        bool fits = !all_ascii(r);
        vc_str_clear(&bytes);
        for (size_t i = 0; fits && i < r->len; i++) {
            const int b = byte_of(r->data[i], windows);
            fits = b >= 0;
            vc_str_putc(&bytes, (char)b);
        }
        if (fits && vc_utf8_valid(bytes.data, bytes.len)) {
            r->len = 0; // shorter by every byte that continues a sequence: this ends
            runes_put_utf8(r, bytes.data, bytes.len);
            windows = false;
        } else if (!windows) {
            windows = true;
        } else {
            break;
        }
    }
    vc_str_finish(&bytes);
}

// One line: the fixes of ftfy until nothing changes. They shrink or settle, so a handful of rounds is the most.
static void fix_segment(Runes *r, bool html)
{
    for (int round = 0; round < 100; round++) {
        Runes before = {0};
        for (size_t i = 0; i < r->len; i++)
            runes_put(&before, r->data[i]);
        if (html)
            text_html_unescape_strict(r);
        repair_encoding(r);
        fix_characters(r);
        remove_controls(r);
        normalize(r, UTF8PROC_COMPOSE);
        const bool same =
            before.len == r->len && (r->len == 0 || memcmp(before.data, r->data, r->len * sizeof *r->data) == 0);
        runes_finish(&before);
        if (same)
            return;
    }
}

// ftfy.fix_text: line by line; a line with '<' ends the decoding of entities for good.
static void fix_text(Runes *r)
{
    Runes out = {0};
    bool html = true;
    for (size_t start = 0; start < r->len;) {
        Runes line = {0};
        size_t end = start;
        while (end < r->len && (end == start || r->data[end - 1] != '\n'))
            runes_put(&line, r->data[end++]);
        html = html && !contains(&line, '<');
        fix_segment(&line, html);
        for (size_t i = 0; i < line.len; i++)
            runes_put(&out, line.data[i]);
        runes_finish(&line);
        start = end;
    }
    runes_finish(r);
    *r = out;
}

// Python's str.isspace: also the four separators below the space.
static bool is_python_space(uint32_t c)
{
    return text_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static bool is_plain(const Runes *r)
{
    for (size_t i = 0; i < r->len; i++) {
        if (r->data[i] >= 0x7F || r->data[i] == '&' || (r->data[i] < ' ' && r->data[i] != '\t' && r->data[i] != '\n'))
            return false;
    }
    return true;
}

void text_clean_openclip(Runes *r)
{
    if (!is_plain(r)) {
        fix_text(r);
        text_html_unescape(r);
        text_html_unescape(r);
    }
    size_t n = 0;
    for (size_t i = 0; i < r->len; i++) {
        if (!is_python_space(r->data[i])) {
            r->data[n++] = r->data[i];
        } else if (n > 0 && r->data[n - 1] != ' ') {
            r->data[n++] = ' ';
        }
    }
    while (n > 0 && r->data[n - 1] == ' ')
        n--;
    r->len = n;
    lower(r, true);
}
