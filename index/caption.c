// SPDX-License-Identifier: MIT
#include "index/caption.h"

#include "index/unicode.h"

#include <stdint.h>

static bool is_deleted(uint32_t cp)
{
    return cp < 0x80 && cp != 0 && strchr(",.'!?\"()*#:;~", (int)cp) != NULL;
}

// Python lowers a capital sigma to the final form after a cased letter and before none, looking past case-ignorable
// characters on both sides (Unicode, 3.13, Final_Sigma).
static bool is_final_sigma(const char *text, size_t n, size_t at, size_t length)
{
    bool before = false;
    for (size_t i = at; i > 0;) {
        size_t start = i - 1;
        while (start > 0 && ((uint8_t)text[start] & 0xC0) == 0x80)
            start--;
        uint32_t cp;
        if (vc_utf8_decode(text + start, i - start, &cp) == 0)
            break;
        if (!index_cp_is_case_ignorable(cp)) {
            before = index_cp_is_cased(cp);
            break;
        }
        i = start;
    }
    if (!before)
        return false;
    for (size_t i = at + length; i < n;) {
        uint32_t cp;
        size_t used = vc_utf8_decode(text + i, n - i, &cp);
        if (used == 0)
            return true;
        if (!index_cp_is_case_ignorable(cp))
            return !index_cp_is_cased(cp);
        i += used;
    }
    return true;
}

static void put_cp(VcStr *out, uint32_t cp)
{
    char bytes[4];
    vc_str_putn(out, bytes, vc_utf8_encode(cp, bytes));
}

// Lower case, deletions and replacements: everything that looks at one character.
static void lower_and_delete(VcStr *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t used = vc_utf8_decode(text + i, n - i, &cp);
        if (used == 0) {
            put_cp(out, 0xFFFD);
            i++;
            continue;
        }
        if (cp == 0x3A3) {
            put_cp(out, is_final_sigma(text, n, i, used) ? 0x3C2 : 0x3C3);
        } else if (cp == 0x130) {
            vc_str_put(out, "i\xCC\x87");
        } else if (cp == '-' || cp == '/') {
            vc_str_putc(out, ' ');
        } else if (!is_deleted(cp)) {
            put_cp(out, cp < 0x80 ? (cp >= 'A' && cp <= 'Z' ? cp + 32 : cp) : index_cp_lower(cp));
        }
        i += used;
    }
}

// "<person>" -> "person", runs of whitespace -> one space.
static void replace_runs(VcStr *out, const VcStr *in)
{
    static const char tag[] = "<person>";
    for (size_t i = 0; i < in->len;) {
        if (in->len - i >= sizeof tag - 1 && memcmp(in->data + i, tag, sizeof tag - 1) == 0) {
            vc_str_put(out, "person");
            i += sizeof tag - 1;
            continue;
        }
        uint32_t cp;
        size_t used = vc_utf8_decode(in->data + i, in->len - i, &cp);
        size_t run = 0, j = i;
        while (used > 0 && index_cp_is_space(cp)) {
            run++;
            j += used;
            used = j < in->len ? vc_utf8_decode(in->data + j, in->len - j, &cp) : 0;
        }
        if (run >= 2) {
            vc_str_putc(out, ' ');
            i = j;
        } else {
            size_t step = run == 1 ? j - i : used;
            vc_str_putn(out, in->data + i, step);
            i += step;
        }
    }
}

void index_clean_caption(VcStr *out, const char *text, size_t n, size_t max_words)
{
    VcStr lowered = {0}, joined = {0};
    lower_and_delete(&lowered, text, n);
    replace_runs(&joined, &lowered);
    const char *s = vc_str_get(&joined);
    size_t begin = 0, end = joined.len;
    while (end > 0 && s[end - 1] == '\n')
        end--;
    while (end > 0 && s[end - 1] == ' ')
        end--;
    while (begin < end && s[begin] == ' ')
        begin++;
    size_t words = 1, stop = begin;
    for (; stop < end; stop++) {
        if (s[stop] == ' ' && max_words > 0 && words++ == max_words)
            break;
    }
    vc_str_putn(out, s + begin, stop - begin);
    vc_str_finish(&joined);
    vc_str_finish(&lowered);
}
