// SPDX-License-Identifier: MIT
// Relations between the heads of a caption, read off its tree by the rules of the reference: the object of a verb or
// preposition is joined to the subject of that verb, or to the noun the preposition hangs on.
#include "concepts/caption_internal.h"

#include "base/mem.h"

// "verb preposition,preposition;": base forms that make one relation ("walking on"), as the reference's list of phrasal
// verbs has them; with any other verb the preposition alone is the relation.
static const char joined[] =
    "add on;aim at;ask for,in;bear on,with;bounce into,off;box in;break in,through;bump into;burst into;butt in;"
    "buy in;call on;care for;carry through;catch on;charge with;check into;cheer on;chew on;climb down;close in;"
    "come across,down,from,in,into,out,over,through,to,up;cut across,in,off,out;dig in;dip into;dive in,into;"
    "do without;drag on;draw in,on;drill into;drive by;drop in;eat in,out;end in;face off;"
    "fall down,for,in,into,off,out,through;feed on;fish for,out;fit into;flag down;flick through;"
    "flip out,through;fly around,at,by,into;focus on;"
    "get around,behind,by,in,into,off,on,onto,out,over,through,to;gnaw at;"
    "go across,after,around,at,by,down,for,in,into,off,on,out,over,past,through,towards,under,up,with;"
    "grind down,on;grow from,on,to;hang around,on,onto,out,over;have in,on;head for,out;hit on,with;"
    "hold on,onto,over;jam on;jump at,in,on;keep in,on,out;kick around;lay on;lead to;lean on;leave on;lie down;"
    "live for,in;log in,on;look after,for,in,into,on,out,over,to,up;make for,into,out,with;marry in;meet with;"
    "mess with;mill around;move on;name after;nod off;opt for;pass by,on,over,through;pay for;peck at;pin on;"
    "pitch in;play along,around,at,on,with;plow through;pop out;pull in,off,on,out,over,through,to;push in;"
    "put in,on;ride on;roll in,on;romp through;rope in;"
    "run across,down,for,in,into,off,on,over,through,to,up,with;sail into,through;see into,through;sell on;"
    "send in;set in;shake off;show in,off,out,through;side with;sift through;sign in,on,with;sink in;"
    "sit about,around,by,for,in,on,over,with;sleep on;sniff around,at;stand about,around,by,for;start on;"
    "stay in,on;step out;stick out,to,with;stop by,in;swing at,by;take in,on,out,to;talk down,into,over;tear up;"
    "throw out;tie in;trip over;try on;tuck in,into;turn into,on,to;wade in,into,through;wait behind,in,on;"
    "walk into,off,on,out,up;watch over;work on;write in;";

static bool listed(const char *verb, size_t n, const char *preposition)
{
    size_t m = strlen(preposition);
    for (const char *p = joined; *p; p = strchr(p, ';') + 1) {
        if (strncmp(p, verb, n) != 0 || p[n] != ' ')
            continue;
        for (p += n + 1; *p != ';'; p += strcspn(p, ",;"), p += *p == ',') {
            if (strcspn(p, ",;") == m && memcmp(p, preposition, m) == 0)
                return true;
        }
    }
    return false;
}

// Tries the base forms that `verb` can come from.
static bool is_joined(const char *verb, const char *preposition)
{
    // The last five are the reference's own mistakes, which make "riding on" no single relation.
    static const char *const irregular[][2] = {
        {"sat", "sit"},     {"stood", "stand"},   {"ran", "run"},      {"lying", "lie"},    {"went", "go"},
        {"goes", "go"},     {"gone", "go"},       {"came", "come"},    {"took", "take"},    {"taken", "take"},
        {"threw", "throw"}, {"thrown", "throw"},  {"held", "hold"},    {"got", "get"},      {"gotten", "get"},
        {"led", "lead"},    {"swung", "swing"},   {"dug", "dig"},      {"slept", "sleep"},  {"has", "have"},
        {"had", "have"},    {"made", "make"},     {"seen", "see"},     {"saw", "see"},      {"shown", "show"},
        {"left", "leave"},  {"drawn", "draw"},    {"drew", "draw"},    {"eaten", "eat"},    {"ate", "eat"},
        {"fallen", "fall"}, {"fell", "fall"},     {"caught", "catch"}, {"lay", "lie"},      {"laid", "lay"},
        {"stuck", "stick"}, {"written", "write"}, {"wrote", "write"},  {"broken", "break"}, {"broke", "break"},
        {"done", "do"},     {"did", "do"},        {"flown", "fly"},    {"flew", "fly"},     {"sold", "sell"},
        {"grown", "grow"},  {"grew", "grow"},     {"kept", "keep"},    {"driven", "drive"}, {"drove", "drive"},
        {"ridden", "ride"}, {"rode", "ride"},     {"hung", "hang"},    {"bought", "buy"},   {"born", "bear"},
        {"fed", "feed"},    {"sent", "send"},     {"torn", "tear"},    {"tore", "tear"},    {"tying", "tie"},
        {"met", "meet"},    {"shook", "shake"},   {"sank", "sink"},    {"dove", "dive"},    {"paid", "pay"},
        {"won", "win"},     {"riding", "rid"},    {"rides", "rid"},    {"wading", "wad"},   {"wades", "wad"},
        {"waded", "wad"}};
    for (size_t i = 0; i < sizeof irregular / sizeof *irregular; i++) {
        if (strcmp(irregular[i][0], verb) == 0)
            return listed(irregular[i][1], strlen(irregular[i][1]), preposition);
    }
    size_t n = strlen(verb);
    if (listed(verb, n, preposition) || (n > 1 && verb[n - 1] == 's' && listed(verb, n - 1, preposition)) ||
        (n > 2 && vc_has_suffix(verb, "es") && listed(verb, n - 2, preposition)))
        return true;
    if (n > 4 && n < 30 && (vc_has_suffix(verb, "ies") || vc_has_suffix(verb, "ied"))) { // carries
        char base[32];
        snprintf(base, sizeof base, "%.*sy", (int)(n - 3), verb);
        return listed(base, n - 2, preposition);
    }
    size_t cut = vc_has_suffix(verb, "ing") ? 3 : vc_has_suffix(verb, "ed") ? 2 : 0;
    if (cut == 0 || n < cut + 2 || n > 30)
        return false;
    char base[32];
    n -= cut;
    snprintf(base, sizeof base, "%.*s", (int)n, verb);
    if (listed(base, n, preposition) || (base[n - 1] == base[n - 2] && listed(base, n - 1, preposition)))
        return true;
    base[n] = 'e'; // riding
    return listed(base, n + 1, preposition);
}

// Subjects or objects joined by "and" that share a relation: keeps the answer linear in the caption.
enum { MAX_JOINED = 16 };

// Appends token t in lower case; a long one cut, no list holds such.
static void put_lower(char *out, size_t size, const CaptionToken *t)
{
    size_t n = strlen(out);
    for (size_t i = 0; i < t->length && n + 1 < size; i++)
        out[n++] = (char)(t->text[i] >= 'A' && t->text[i] <= 'Z' ? t->text[i] | 32 : t->text[i]);
    out[n] = '\0';
}

static bool verb_joins(const CaptionRoles *r, int32_t verb, int32_t preposition)
{
    char v[64] = "", p[64] = "";
    if (r->tokens[verb].length > 31)
        return false;
    put_lower(v, sizeof v, &r->tokens[verb]);
    put_lower(p, sizeof p, &r->tokens[preposition]);
    return is_joined(v, p);
}

// Do tokens first..last read "in front of", "on top of", ...?
static bool is_phrase(const CaptionRoles *r, int32_t first, int32_t last)
{
    static const char *const phrases[] = {"in addition to", "in front of",   "in reference to", "in regard to",
                                          "in spite of",    "on account of", "on top of",       "on side of",
                                          "on the side of", "with regard to"};
    if (last - first < 2 || last - first > 3)
        return false;
    char text[64] = "";
    for (int32_t t = first; t <= last; t++) {
        static const CaptionToken space = {.text = " ", .length = 1};
        put_lower(text, sizeof text, &r->tokens[t]);
        if (t < last)
            put_lower(text, sizeof text, &space);
    }
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (strcmp(phrases[i], text) == 0)
            return true;
    }
    return false;
}

// The root is its own head, as in the reference.
static int32_t head_of(const CaptionRoles *r, int32_t t)
{
    return r->head[t] >= 0 && (size_t)r->head[t] < r->n ? r->head[t] : t;
}

typedef struct {
    int32_t *subject;          // [n] of each verb, -1 none
    int32_t *chunk;            // [n] the head whose noun phrase holds the token, by its place among the heads; -1 none
    int32_t *conj, *next_conj; // [n] first token joined by "and" to it; the next one of the same
} Maps;

static void find_chunks(const CaptionRoles *r, Maps *m)
{
    size_t from = 0;
    for (size_t k = 0; k < r->head_count; k++) {
        size_t h = r->heads[k], start = h;
        for (int32_t l = r->left[h]; l >= 0; l = r->left[l])
            start = (size_t)l;
        for (size_t t = start < from ? from : start; t <= h; t++)
            m->chunk[t] = (int32_t)k;
        from = h + 1;
    }
}

static void find_subjects(const CaptionRoles *r, Maps *m)
{
    for (int32_t t = 0; t < (int32_t)r->n; t++) {
        int32_t h = head_of(r, t);
        if (r->dep[t] == CAPTION_DEP_NSUBJ) { // a [woman] is [playing]
            m->subject[h] = t;
        } else if (r->dep[t] == CAPTION_DEP_ACL) { // a [woman] [playing]
            m->subject[t] = h;
        } else if (r->dep[t] == CAPTION_DEP_POBJ && r->dep[h] == CAPTION_DEP_AGENT &&
                   r->words[head_of(r, h)].tag == CAPTION_VERB) { // [played] by a [woman]
            m->subject[head_of(r, h)] = t;
        }
    }
    for (int32_t t = (int32_t)r->n - 1; t >= 0; t--) {
        int32_t h = head_of(r, t);
        if (r->dep[t] == CAPTION_DEP_CONJ && h != t) {
            m->next_conj[t] = m->conj[h];
            m->conj[h] = t;
        }
    }
}

// One relation for each subject and object joined to these by "and", if both are concepts.
static void emit(const CaptionRoles *r, const Maps *m, int32_t subject, const char *text, int32_t object)
{
    int subjects = 0;
    for (int32_t s = subject; s >= 0 && subjects < MAX_JOINED;
         s = s == subject ? m->conj[s] : m->next_conj[s], subjects++) {
        int objects = 0;
        for (int32_t o = object; o >= 0 && objects < MAX_JOINED;
             o = o == object ? m->conj[o] : m->next_conj[o], objects++) {
            if (m->chunk[s] >= 0 && m->chunk[o] >= 0)
                r->add(r->context, (size_t)m->chunk[s], text, (size_t)m->chunk[o]);
        }
    }
}

// Tokens first .. last as they stand in the caption. `spaced`: with a space between any two.
static const char *text_of(VcStr *out, const CaptionRoles *r, int32_t first, int32_t last, bool spaced)
{
    vc_str_clear(out);
    for (int32_t t = first; t <= last; t++) {
        vc_str_putn(out, r->tokens[t].text, r->tokens[t].length);
        if (t < last && (spaced || r->tokens[t].space_after))
            vc_str_putc(out, ' ');
    }
    return vc_str_get(out);
}

static const char *two_texts(VcStr *out, const CaptionRoles *r, int32_t first, int32_t second)
{
    vc_str_clear(out);
    vc_str_putn(out, r->tokens[first].text, r->tokens[first].length);
    vc_str_putc(out, ' ');
    vc_str_putn(out, r->tokens[second].text, r->tokens[second].length);
    return vc_str_get(out);
}

// The object of preposition p, which hangs on q.
static void relate_preposition(const CaptionRoles *r, const Maps *m, int32_t object, VcStr *text)
{
    int32_t p = head_of(r, object), q = head_of(r, p), above = head_of(r, q);
    uint8_t tag = r->words[q].tag, dep = r->dep[q];
    if (r->dep[p] == CAPTION_DEP_AGENT)
        return;
    if ((tag == CAPTION_VERB || dep == CAPTION_DEP_ACL) && m->subject[q] >= 0) {
        bool both = tag == CAPTION_VERB && q + 1 == p && verb_joins(r, q, p);
        emit(r, m, m->subject[q], text_of(text, r, both ? q : p, p, true), object);
    } else if (dep == CAPTION_DEP_POBJ && is_phrase(r, above, p)) {
        emit(r, m, head_of(r, above), text_of(text, r, above, p, false), object);
    } else if (tag == CAPTION_NOUN) {
        emit(r, m, q, text_of(text, r, p, p, false), object);
    } else if (dep == CAPTION_DEP_AMOD || dep == CAPTION_DEP_ADVMOD) { // next to
        uint8_t above_tag = r->words[above].tag;
        if (above_tag == CAPTION_NOUN) {
            emit(r, m, above, two_texts(text, r, q, p), object);
        } else if (above_tag == CAPTION_VERB && m->subject[above] >= 0) {
            emit(r, m, m->subject[above], two_texts(text, r, q, p), object);
        }
    }
}

void caption_relate(const CaptionRoles *r)
{
    if (r->n == 0)
        return;
    size_t n = r->n;
    int32_t *block = vc_alloc(4 * n, sizeof *block);
    memset(block, 0xFF, 4 * n * sizeof *block);
    Maps m = {block, block + n, block + 2 * n, block + 3 * n};
    VcStr text = {0};
    find_chunks(r, &m);
    find_subjects(r, &m);
    for (size_t k = 0; k < r->head_count; k++) {
        int32_t e = (int32_t)r->heads[k], h = head_of(r, e);
        uint8_t dep = r->dep[e];
        if (dep == CAPTION_DEP_POBJ) {
            relate_preposition(r, &m, e, &text);
        } else if ((dep == CAPTION_DEP_DOBJ || dep == CAPTION_DEP_ATTR || dep == CAPTION_DEP_NSUBJPASS) &&
                   m.subject[h] >= 0) {
            emit(r, &m, m.subject[h], text_of(&text, r, h, h, false), e);
        }
    }
    vc_str_finish(&text);
    free(block);
}
