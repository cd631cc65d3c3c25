// SPDX-License-Identifier: MIT
// Relations between the heads of a caption, by rules over the labels: what stands between two heads says how they are
// joined, the first head of a clause is the subject of its verbs. No dependency tree is made, so an attachment that
// only meaning decides ("rides a bike in the park") follows the more frequent case: F1 .64 on the golden captions.
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
    static const char *const irregular[][2] = {
        {"sat", "sit"}, {"stood", "stand"}, {"ran", "run"},     {"lying", "lie"},   {"went", "go"},
        {"goes", "go"}, {"came", "come"},   {"took", "take"},   {"threw", "throw"}, {"held", "hold"},
        {"got", "get"}, {"led", "lead"},    {"swung", "swing"}, {"dug", "dig"},     {"slept", "sleep"}};
    for (size_t i = 0; i < sizeof irregular / sizeof *irregular; i++) {
        if (strcmp(irregular[i][0], verb) == 0)
            return listed(irregular[i][1], strlen(irregular[i][1]), preposition);
    }
    size_t n = strlen(verb);
    if (listed(verb, n, preposition) || (n > 1 && verb[n - 1] == 's' && listed(verb, n - 1, preposition)) ||
        (n > 2 && vc_has_suffix(verb, "es") && listed(verb, n - 2, preposition)))
        return true;
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

// Heads joined by "and" that share relations: keeps the answer linear in the caption.
enum { MAX_JOINED = 16 };

typedef enum { GAP_NONE, GAP_AND, GAP_PREPOSITION, GAP_VERB, GAP_CLAUSE } GapKind;

// What stands between two heads.
typedef struct {
    GapKind kind;
    bool finite;     // the verb has a tense, or an auxiliary
    bool and_before; // "and" or a comma before the verb or preposition
    char text[128];  // the relation
} Gap;

static bool one_of(const char *word, const char *list) // list: words between spaces, with one at both ends
{
    char padded[40];
    if (strlen(word) > 36)
        return false;
    snprintf(padded, sizeof padded, " %s ", word);
    return strstr(list, padded) != NULL;
}

static void token_lower(const CaptionToken *t, char out[64])
{
    VcStr s = {0};
    caption_put_lower(&s, t->text, t->length < 60 ? t->length : 0);
    snprintf(out, 64, "%.63s", vc_str_get(&s));
    vc_str_finish(&s);
}

static void append(char text[128], const CaptionToken *t)
{
    size_t n = strlen(text);
    snprintf(text + n, 128 - n, "%s%.*s", n ? " " : "", (int)t->length, t->text);
}

static void read_gap(const CaptionRoles *r, size_t begin, size_t end, Gap *gap)
{
    size_t verb = end, preposition = end;
    *gap = (Gap){.kind = GAP_NONE};
    for (size_t t = begin; t < end; t++) {
        const char *tag = caption_model_tag(r->model, r->states[t]);
        char word[64];
        token_lower(&r->tokens[t], word);
        if (r->tokens[t].length >= 60)
            continue;
        if (strcmp(tag, ".") == 0 || strcmp(tag, ":") == 0 ||
            (strcmp(tag, "IN") == 0 && one_of(word, " while because if that although as whether "))) {
            gap->kind = GAP_CLAUSE;
            return;
        }
        if (strcmp(tag, "CC") == 0 || strcmp(tag, ",") == 0) {
            gap->and_before = true;
            verb = preposition = end;
            gap->finite = false;
        } else if (tag[0] == 'V' || strcmp(tag, "MD") == 0) {
            gap->finite = gap->finite || verb < end || strcmp(tag, "VBZ") == 0 || strcmp(tag, "VBP") == 0 ||
                          strcmp(tag, "VBD") == 0;
            verb = t;
            preposition = end;
        } else if ((strcmp(tag, "IN") == 0 || strcmp(tag, "TO") == 0) &&
                   caption_model_role(r->model, r->states[t]) == 'O') {
            preposition = preposition < end ? preposition : t;
        }
    }
    gap->kind = verb < end ? GAP_VERB : preposition < end ? GAP_PREPOSITION : gap->and_before ? GAP_AND : GAP_NONE;
    if (preposition < end) {
        char before[64] = "", word[64], after[64] = "";
        token_lower(&r->tokens[preposition], word);
        if (preposition > begin)
            token_lower(&r->tokens[preposition - 1], before);
        if (preposition + 2 < end)
            token_lower(&r->tokens[preposition + 2], after);
        size_t last = preposition;
        if (strcmp(after, "of") == 0) { // in front of, on top of
            last = preposition + 2;
        } else if (one_of(before, " next close full ")) { // next to
            preposition--;
        } else if (verb + 1 == preposition) {
            char v[64];
            token_lower(&r->tokens[verb], v);
            if (is_joined(v, word))
                preposition = verb;
        }
        for (size_t t = preposition; t <= last; t++)
            append(gap->text, &r->tokens[t]);
    } else if (verb < end) {
        append(gap->text, &r->tokens[verb]);
    }
}

typedef struct {
    size_t first, count; // heads [first, first + count), joined by "and"
} Group;

// The first token of the next head's own part: its modifiers, compounds and determiners are no relation.
static size_t gap_end(const CaptionRoles *r, size_t from, size_t head)
{
    size_t t = head;
    while (t > from) {
        char role = caption_model_role(r->model, r->states[t - 1]);
        const char *tag = caption_model_tag(r->model, r->states[t - 1]);
        if (role != 'C' && role != 'M' && strcmp(tag, "DT") != 0 && strcmp(tag, "PRP$") != 0 &&
            strcmp(tag, "HYPH") != 0)
            break;
        t--;
    }
    return t;
}

static void relate(CaptionRoles *r, Group subjects, const char *text, size_t object)
{
    for (size_t s = subjects.first; s < subjects.first + subjects.count; s++)
        r->add(r->context, s, text, object);
}

void caption_relate(CaptionRoles *r)
{
    Group subject = {0, 1}, last = {0, 1}, source = {0, 0}; // source: what `last` is the object of
    char how[128] = "";
    bool verb_seen = false;
    for (size_t i = 0; i + 1 < r->head_count; i++) {
        size_t begin = r->heads[i] + 1, end = gap_end(r, begin, r->heads[i + 1]);
        const char *tag = caption_model_tag(r->model, r->states[r->heads[i + 1]]);
        Gap gap;
        read_gap(r, begin, end, &gap);
        Group next = {i + 1, 1};
        if (tag[0] == 'W' || gap.kind == GAP_CLAUSE || gap.kind == GAP_NONE) {
            // A new clause: "who", "while a dog ..."; or nothing that joins.
            subject = last = next;
            source.count = 0;
            verb_seen = false;
            continue;
        }
        if (gap.kind == GAP_AND) {
            if (source.count)
                relate(r, source, how, i + 1);
            if (last.first + last.count == i + 1 && last.count < MAX_JOINED)
                last.count++;
            if (subject.first == last.first)
                subject = last;
            continue;
        }
        Group from = subject;
        if (gap.kind == GAP_PREPOSITION) {
            bool own = !verb_seen || strcmp(gap.text, "of") == 0 || strcmp(gap.text, "in front of") == 0;
            from = own && !gap.and_before ? (Group){i, 1} : subject;
            if (!verb_seen && !gap.and_before && !source.count)
                from = last;
        } else if (!gap.finite && !gap.and_before && verb_seen) {
            from = last; // "signs offering hugs"
        }
        relate(r, from, gap.text, i + 1);
        verb_seen = verb_seen || gap.kind == GAP_VERB;
        source = from;
        memcpy(how, gap.text, sizeof how);
        last = next;
    }
}
