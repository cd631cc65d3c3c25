// SPDX-License-Identifier: MIT
// The reference's token boundaries: white space, then prefixes and suffixes peeled off alternately, exceptions
// ("don't", "a.m.") looked up on what is left at each turn, infixes last. After spaCy's rules for English
// (https://spacy.io/usage/linguistic-features#how-tokenizer-works), written anew.
#include "concepts/caption_internal.h"

#include "base/mem.h"

#include <utf8proc.h>

static bool in_set(uint32_t c, const uint32_t *set)
{
    while (*set && *set != c)
        set++;
    return *set != 0;
}

// A code point of `s` at byte `at`, or the one that ends before `at`. 0 outside.
static uint32_t char_at(const char *s, size_t n, size_t at, size_t *length)
{
    uint32_t c = 0;
    size_t l = at < n ? vc_utf8_decode(s + at, n - at, &c) : 0;
    if (length)
        *length = l;
    return l ? c : 0;
}

static uint32_t char_before(const char *s, size_t at, size_t *length)
{
    size_t l = 0;
    while (l < at && l < 4) {
        l++;
        if (((uint8_t)s[at - l] & 0xC0) != 0x80)
            break;
    }
    if (length)
        *length = l;
    return l ? char_at(s + at - l, l, 0, NULL) : 0;
}

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(uint32_t c)
{
    if (c < 128)
        return (c | 32) >= 'a' && (c | 32) <= 'z';
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LO;
}

static bool is_lower(uint32_t c)
{
    return c < 128 ? c >= 'a' && c <= 'z' : utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LL;
}

static bool is_upper(uint32_t c)
{
    return c < 128 ? c >= 'A' && c <= 'Z' : utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LU;
}

static bool is_icon(uint32_t c)
{
    return c >= 128 && c != 0xB0 && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_SO;
}

static bool is_quote(uint32_t c)
{
    static const uint32_t set[] = {'\'',   '"',    0x201D, 0x201C, '`',    0x2018, 0xB4,   0x2019, 0x201A, ',',
                                   0x201E, 0xBB,   0xAB,   0x300C, 0x300D, 0x300E, 0x300F, 0xFF08, 0xFF09, 0x3014,
                                   0x3015, 0x3010, 0x3011, 0x300A, 0x300B, 0x3008, 0x3009, 0x27E6, 0x27E7, 0};
    return in_set(c, set);
}

static bool is_punct(uint32_t c)
{
    static const uint32_t set[] = {0x2026, ',',    ':',  ';',    '!',    '?',    0xBF,   0x61F,  0xA1,
                                   '(',    ')',    '[',  ']',    '{',    '}',    '<',    '>',    '_',
                                   '#',    '*',    '&',  0x3002, 0xFF1F, 0xFF01, 0xFF0C, 0x3001, 0xFF1B,
                                   0xFF1A, 0xFF5E, 0xB7, 0x964,  0x60C,  0x6D4,  0x61B,  0x66A,  0};
    return in_set(c, set);
}

static bool is_currency(uint32_t c)
{
    return c == '$' || (c >= 128 && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_SC);
}

static size_t dots_at(const char *s, size_t n, size_t at)
{
    size_t k = at;
    while (k < n && s[k] == '.')
        k++;
    return k - at >= 2 ? k - at : 0;
}

static size_t prefix_length(const char *s, size_t n)
{
    size_t l;
    uint32_t c = char_at(s, n, 0, &l);
    if (dots_at(s, n, 0))
        return dots_at(s, n, 0);
    if (c == '+')
        return is_digit(char_at(s, n, 1, NULL)) ? 0 : 1;
    if (n > 2 && (s[0] == 'C' || s[0] == 'A') && s[1] == '$')
        return 2;
    if (n > 3 && memcmp(s, "US$", 3) == 0)
        return 3;
    bool hit = c == 0xA7 || c == '%' || c == '=' || c == 0x2014 || c == 0x2013 || is_punct(c) || is_quote(c) ||
               is_currency(c) || is_icon(c);
    return hit ? l : 0;
}

static size_t unit_length(const char *s, size_t n)
{
    static const char *const units[] = {
        "km", "km²",  "km³", "m",  "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm",  "mm²",  "mm³", "ha",
        "µm", "nm",   "yd",  "in", "ft", "kg", "g",  "mg",  "µg",  "t",  "lb",  "oz",  "m/s", "km/h", "mph", "hPa",
        "Pa", "mbar", "mb",  "MB", "kb", "KB", "gb", "GB",  "tb",  "TB", "T",   "G",   "M",   "K",    "%"};
    size_t best = 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t l = strlen(units[i]);
        if (l < n && l > best && memcmp(s + n - l, units[i], l) == 0 && is_digit(char_before(s, n - l, NULL)))
            best = l;
    }
    return best;
}

// The full stop at the end of s splits off after lower case, digits, some signs, and after two capitals.
static bool stop_splits(const char *s, size_t n)
{
    size_t l;
    uint32_t b = char_before(s, n - 1, &l);
    if (is_lower(b) || is_digit(b) || b == '%' || b == 0xB2 || b == '-' || b == '+' || is_quote(b) || is_punct(b))
        return true;
    return is_upper(b) && is_upper(char_before(s, n - 1 - l, NULL));
}

static size_t suffix_length(const char *s, size_t n)
{
    size_t l;
    uint32_t c = char_before(s, n, &l);
    size_t dots = 0;
    while (dots < n && s[n - 1 - dots] == '.')
        dots++;
    if (dots >= 2)
        return dots;
    if (c == '.')
        return n > 1 && stop_splits(s, n) ? 1 : 0;
    if (c == 's' || c == 'S') {
        size_t q;
        uint32_t b = char_before(s, n - 1, &q);
        return b == '\'' || b == 0x2019 ? q + 1 : 0;
    }
    if (is_punct(c) || is_quote(c) || is_icon(c) || c == 0x2014 || c == 0x2013)
        return l;
    if ((c == '+' || is_currency(c)) && is_digit(char_before(s, n - l, NULL)))
        return l;
    return unit_length(s, n);
}

// Length of the infix that starts at `at`, or 0.
static size_t infix_length(const char *s, size_t n, size_t at)
{
    size_t l;
    uint32_t c = char_at(s, n, at, &l);
    if (dots_at(s, n, at))
        return dots_at(s, n, at);
    if (c == 0x2026 || is_icon(c))
        return l;
    uint32_t before = char_before(s, at, NULL), after = char_at(s, n, at + l, NULL);
    if ((c == '+' || c == '-' || c == '*' || c == '^') && is_digit(before) && (is_digit(after) || after == '-'))
        return l;
    if (c == '.')
        return (is_lower(before) || is_quote(before)) && (is_upper(after) || is_quote(after)) ? l : 0;
    if (c == ',')
        return is_alpha(before) && is_alpha(after) ? l : 0;
    if (!is_alpha(before) && !is_digit(before))
        return 0;
    if (c == ':' || c == '<' || c == '>' || c == '=' || c == '/')
        return is_alpha(after) ? l : 0;
    if (c != '-' && c != 0x2013 && c != 0x2014 && c != '~')
        return 0;
    size_t run = l;
    while (c != '~' && run < 3 * l && char_at(s, n, at + run, NULL) == c && (c == '-' || c == 0x2014))
        run += l;
    return is_alpha(char_at(s, n, at + run, NULL)) ? run : 0;
}

// Words that stay whole although a rule would cut them.
static bool is_whole(const char *s, size_t n)
{
    static const char *const words[] = {
        "'Cause",  "'cause", "'Cos",   "'cos",   "'Coz",  "'coz",   "'Cuz",    "'cuz",    "'bout",     "'em",
        "'ll",     "'nuff",  "'Cause", "'re",    "'s",    "'S",     "'d",      "'til",    "a.m.",      "p.m.",
        "Adm.",    "Bros.",  "C++",    "Co.",    "Corp.", "D.C.",   "Dr.",     "E.g.",    "E.G.",      "e.g.",
        "Gen.",    "Gov.",   "I.E.",   "I.e.",   "i.e.",  "Inc.",   "Jr.",     "Ltd.",    "Md.",       "Messrs.",
        "Mo.",     "Mont.",  "Mr.",    "Mrs.",   "Ms.",   "Mt.",    "Ph.D.",   "Prof.",   "Rep.",      "Rev.",
        "Sen.",    "St.",    "vs.",    "v.s.",   "v.",    "Jan.",   "Feb.",    "Mar.",    "Apr.",      "Jun.",
        "Jul.",    "Aug.",   "Sep.",   "Sept.",  "Oct.",  "Nov.",   "Dec.",    "Ala.",    "Ariz.",     "Ark.",
        "Calif.",  "Colo.",  "Conn.",  "Del.",   "Fla.",  "Ga.",    "Ia.",     "Id.",     "Ill.",      "Ind.",
        "Kan.",    "Kans.",  "Ky.",    "La.",    "Mass.", "Mich.",  "Minn.",   "Miss.",   "N.C.",      "N.D.",
        "N.H.",    "N.J.",   "N.M.",   "N.Y.",   "Neb.",  "Nebr.",  "Nev.",    "Okla.",   "Ore.",      "Pa.",
        "S.C.",    "Tenn.",  "Va.",    "Wash.",  "Wis.",  "and/or", "w/o",     "ma'am",   "Ma'am",     "o'clock",
        "O'clock", "ol'",    "lovin'", "havin'", "doin'", "goin'",  "nothin'", "nuthin'", "somethin'", "o.o",
        ":)",      ":-)",    ":(",     ":-(",    ";)",    ";-)",    ":D",      ":-D",     ":P",        ":p",
        "<3",      ":/",     ":o",     ":O",     "=)",    "=D",     ":3",      "xD",      "XD",        "^_^",
        "^^",      "-_-",    ":*",     ":'(",    "co.",   "(:",     "):",      "8)",      "8-)",       ":|",
        ";D",      "B)"};
    bool letters = true; // most pieces: no exception has letters only
    for (size_t i = 0; i < n && letters; i++)
        letters = (s[i] | 32) >= 'a' && (s[i] | 32) <= 'z';
    if (letters)
        return false;
    if (n == 2 && s[1] == '.' && s[0] >= 'a' && s[0] <= 'z')
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (words[i][0] == s[0] && strlen(words[i]) == n && memcmp(words[i], s, n) == 0)
            return true;
    }
    return false;
}

static bool among(const char *s, size_t n, const char *const *list)
{
    for (; *list; list++) {
        if (strlen(*list) == n && memcmp(*list, s, n) == 0)
            return true;
    }
    return false;
}

// Is `word` one of the words of `list`, which are separated by single spaces?
static bool has_word(const char *list, const char *word, size_t n)
{
    for (; n && *list; list += strcspn(list, " "), list += *list == ' ') {
        if (strcspn(list, " ") == n && memcmp(list, word, n) == 0)
            return true;
    }
    return false;
}

// Contractions with and without their apostrophe: fills the byte offset of the cut and says whether there is one.
static bool contraction_cut(const char *s, size_t n, size_t *cut)
{
    static const char *const wholes[] = {"cannot", "gonna", "gotta", "lemme", "gimme", "shell", "ill", "its",   "hell",
                                         "shed",   "well",  "were",  "whore", "id",    "hed",   "wed", "theyd", NULL};
    static const size_t cuts[] = {3, 3, 3, 3, 3};
    static const char *const who[] = {"i",    "you",   "he",  "she", "it",    "we",   "they", "who",   "what",
                                      "when", "where", "why", "how", "there", "that", "this", "those", NULL};
    static const char *const not [] = {"ca",   "could", "do",    "does", "did",    "had",  "may",   "might",
                                       "must", "need",  "ought", "sha",  "should", "wo",   "would", "is",
                                       "are",  "was",   "were",  "have", "has",    "dare", "ai",    NULL};
    static const char *const might[] = {"could", "might", "must", "should", "would", NULL};
    static const char *const ends[] = {"'m", "'ll", "'d", "'ve", "'re", "'s", NULL};
    char word[24];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (k + 1 >= sizeof word)
            return false;
        // A typographic apostrophe is three bytes; the cut lies before it, so offsets before it stay right.
        if (n - i >= 3 && memcmp(s + i, "\xE2\x80\x99", 3) == 0) {
            word[k++] = '\'';
            i += 2;
        } else {
            word[k++] = (char)(i == 0 && s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 32 : s[i]);
        }
    }
    for (size_t i = 0; wholes[i]; i++) {
        if (strlen(wholes[i]) == k && memcmp(wholes[i], word, k) == 0) {
            *cut = i < 5 ? cuts[i] : 0;
            return i < 5;
        }
    }
    if (k > 3 && memcmp(word + k - 3, "n't", 3) == 0 && among(word, k - 3, not ))
        return *cut = k - 3, true;
    if (k > 2 && memcmp(word + k - 2, "nt", 2) == 0 && among(word, k - 2, not ))
        return *cut = k - 2, true;
    if (k == 5 && memcmp(word, "let's", 5) == 0)
        return *cut = 3, true;
    for (size_t i = 0; ends[i]; i++) {
        size_t e = strlen(ends[i]);
        bool ve = i == 3;
        if (k > e && memcmp(word + k - e, ends[i], e) == 0 &&
            (among(word, k - e, who) || (ve && among(word, k - e, might))))
            return *cut = k - e, true;
        // Without the apostrophe: "im", "youre", "thats", "ive"; never "is", "whom", "here".
        static const char *const fits[] = {"i",
                                           "",
                                           "",
                                           "i you we they might could should would must who what",
                                           "you they what how why",
                                           "he she who what when where why how there that"};
        if (k >= e && memcmp(word + k - (e - 1), ends[i] + 1, e - 1) == 0 && has_word(fits[i], word, k - (e - 1)))
            return *cut = k - (e - 1), true;
    }
    return false;
}

// "10am", "7p.m.": a number from 1 to 12 and the half of the day.
static bool hour_cut(const char *s, size_t n, size_t *cut)
{
    size_t d = 0;
    while (d < n && is_digit((uint8_t)s[d]))
        d++;
    if (d == 0 || d > 2 || s[0] == '0' || (d == 2 && (s[0] != '1' || s[1] > '2')))
        return false;
    static const char *const halves[] = {"am", "pm", "a.m.", "p.m.", NULL};
    *cut = d;
    return among(s + d, n - d, halves);
}

static bool is_special(const char *s, size_t n)
{
    enum { LONGEST = 16 }; // bytes; keeps long pieces of signs linear and cheap
    size_t cut;
    return n > 1 && n <= LONGEST && (is_whole(s, n) || contraction_cut(s, n, &cut) || hour_cut(s, n, &cut));
}

static void push(CaptionTokens *out, const char *s, size_t n)
{
    if (n == 0)
        return;
    out->tokens = vc_grow(out->tokens, &out->cap, out->count + 1, sizeof *out->tokens);
    out->tokens[out->count++] = (CaptionToken){.text = s, .length = (uint32_t)n};
}

static bool looks_like_url(const char *s, size_t n)
{
    return (n > 7 && memcmp(s, "http://", 7) == 0) || (n > 8 && memcmp(s, "https://", 8) == 0) ||
           (n > 4 && memcmp(s, "www.", 4) == 0);
}

// Could contraction_cut cut this word of letters? By its last two: "dont", "cannot", "gonna", "lemme", "im", "ive",
// "youre", "thats" ...
static bool may_be_cut(const char *s, size_t n)
{
    if (n < 2)
        return false;
    char a = (char)(s[n - 2] | 32), z = (char)(s[n - 1] | 32);
    switch (z) {
    case 't':
        return a == 'n' || a == 'o';
    case 'a':
        return a == 'n' || a == 't';
    case 'e':
        return a == 'm' || a == 'v' || a == 'r';
    case 'm':
        return n == 2;
    case 's':
        return strchr("eotnywr", a) != NULL;
    default:
        return false;
    }
}

// A word of letters only, as most are: nothing can be peeled off it.
static bool push_word(CaptionTokens *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((s[i] | 32) < 'a' || (s[i] | 32) > 'z')
            return false;
    }
    size_t cut;
    if (may_be_cut(s, n) && contraction_cut(s, n, &cut)) {
        push(out, s, cut);
        push(out, s + cut, n - cut);
    } else {
        push(out, s, n);
    }
    return true;
}

static void push_core(CaptionTokens *out, const char *s, size_t n)
{
    if (push_word(out, s, n))
        return;
    size_t cut;
    if (is_whole(s, n) || looks_like_url(s, n)) {
        push(out, s, n);
        return;
    }
    if (contraction_cut(s, n, &cut) || hour_cut(s, n, &cut)) {
        push(out, s, cut);
        push(out, s + cut, n - cut);
        return;
    }
    size_t start = 0;
    for (size_t at = 0; at < n;) {
        size_t l, k = infix_length(s, n, at);
        if (k && at > 0) {
            push(out, s + start, at - start);
            push(out, s + at, k);
            start = at += k;
            continue;
        }
        char_at(s, n, at, &l);
        at += k ? k : l ? l : 1;
    }
    push(out, s + start, n - start);
}

// One piece without white space. Suffixes are found from the end inwards, so they are kept aside as lengths: each
// begins where the one before it in the loop ends. A piece with thousands of signs costs one pass over them.
static void split_piece(CaptionTokens *out, const char *s, size_t n, size_t **ends, size_t *ends_cap)
{
    if (push_word(out, s, n))
        return;
    size_t suffixes = 0, last = 0;
    while (n && n != last && !is_special(s, n)) {
        last = n;
        size_t p = prefix_length(s, n);
        if (p && is_special(s + p, n - p)) {
            push(out, s, p);
            s += p;
            n -= p;
            break;
        }
        size_t q = n > p ? suffix_length(s + p, n - p) : 0;
        if (p) {
            push(out, s, p);
            s += p;
            n -= p;
        }
        if (q && q <= n) {
            *ends = vc_grow(*ends, ends_cap, suffixes + 1, sizeof **ends);
            (*ends)[suffixes++] = q;
            n -= q;
        }
    }
    push_core(out, s, n);
    for (s += n; suffixes > 0; s += (*ends)[suffixes])
        push(out, s, (*ends)[--suffixes]);
}

static bool is_space_char(uint32_t c)
{
    if (c < 128)
        return c <= ' ' || c == 127;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP ||
           k == UTF8PROC_CATEGORY_CC;
}

void caption_tokens_split(CaptionTokens *out, const char *text, size_t n)
{
    out->count = 0;
    vc_str_clear(&out->text);
    if (n > CAPTION_MAX_BYTES) {
        n = CAPTION_MAX_BYTES;
        while (n > 0 && ((uint8_t)text[n] & 0xC0) == 0x80)
            n--;
    }
    vc_utf8_repair(&out->text, text, n);
    const char *s = vc_str_get(&out->text);
    size_t *ends = NULL, ends_cap = 0;
    for (size_t at = 0; at < out->text.len;) {
        size_t begin = at, l = 1, before = out->count;
        while (at < out->text.len &&
               ((s[at] > ' ' && s[at] < 127) || !is_space_char(char_at(s, out->text.len, at, &l))))
            at += s[at] > ' ' && s[at] < 127 ? 1 : l;
        if (at > begin)
            split_piece(out, s + begin, at - begin, &ends, &ends_cap);
        if (at < out->text.len) {
            char_at(s, out->text.len, at, &l);
            at += l;
            if (out->count > before)
                out->tokens[out->count - 1].space_after = true;
        }
    }
    free(ends);
}

void caption_tokens_finish(CaptionTokens *t)
{
    vc_str_finish(&t->text);
    free(t->tokens);
    *t = (CaptionTokens){0};
}

void caption_put_lower(VcStr *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t l = vc_utf8_decode(s + i, n - i, &c);
        if (l <= 1) {
            vc_str_putc(out, (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 32 : s[i]));
            i++;
            continue;
        }
        char bytes[4];
        vc_str_putn(out, bytes, vc_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), bytes));
        i += l;
    }
}
