// SPDX-License-Identifier: MIT
#include "concepts/vocabulary_counter.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t text; // offset in the pool
    uint32_t length;
    int kind;
    bool plural; // counted with its singular
    int64_t count;
} Entry;

struct VocabularyCounter {
    VcStr pool;     // texts, each with a zero byte
    Entry *entries; // in the order of first sighting
    size_t count, cap;
    uint32_t *slots; // open addressing: index + 1
    size_t slot_count;
};

VocabularyCounter *vocabulary_counter_create(void)
{
    VocabularyCounter *c = vc_calloc(1, sizeof *c);
    c->slot_count = 1024;
    c->slots = vc_calloc(c->slot_count, sizeof *c->slots);
    return c;
}

void vocabulary_counter_destroy(VocabularyCounter **counter)
{
    VocabularyCounter *c = counter ? *counter : NULL;
    if (!c)
        return;
    vc_str_finish(&c->pool);
    free(c->entries);
    free(c->slots);
    free(c);
    *counter = NULL;
}

static uint32_t *find_slot(const VocabularyCounter *c, const char *text, size_t n)
{
    size_t at = vc_xxh3(text, n) & (c->slot_count - 1);
    while (c->slots[at]) {
        const Entry *e = &c->entries[c->slots[at] - 1];
        if (e->length == n && memcmp(c->pool.data + e->text, text, n) == 0)
            break;
        at = (at + 1) & (c->slot_count - 1);
    }
    return &c->slots[at];
}

static void grow_slots(VocabularyCounter *c)
{
    free(c->slots);
    c->slot_count *= 2;
    c->slots = vc_calloc(c->slot_count, sizeof *c->slots);
    for (size_t i = 0; i < c->count; i++)
        *find_slot(c, c->pool.data + c->entries[i].text, c->entries[i].length) = (uint32_t)(i + 1);
}

void vocabulary_counter_add_times(VocabularyCounter *c, const char *text, size_t n, int kind, int64_t times)
{
    uint32_t *slot = find_slot(c, text, n);
    if (*slot) {
        c->entries[*slot - 1].count += times;
        return;
    }
    VC_ASSERT(c->count < UINT32_MAX - 1 && n < UINT32_MAX);
    c->entries = vc_grow(c->entries, &c->cap, c->count + 1, sizeof *c->entries);
    c->entries[c->count++] = (Entry){.text = c->pool.len, .length = (uint32_t)n, .kind = kind, .count = times};
    vc_str_putn(&c->pool, text, n);
    vc_str_putc(&c->pool, '\0');
    *slot = (uint32_t)c->count;
    if (c->count * 2 > c->slot_count)
        grow_slots(c);
}

void vocabulary_counter_add(VocabularyCounter *c, const char *text, size_t n, int kind)
{
    vocabulary_counter_add_times(c, text, n, kind, 1);
}

bool vocabulary_counter_has(const VocabularyCounter *c, const char *text, size_t n)
{
    return *find_slot(c, text, n) != 0;
}

size_t vocabulary_counter_distinct(const VocabularyCounter *counter)
{
    return counter->count;
}

// --- plurals ---------------------------------------------------------------------------------------------------------

// Tries `stem` of the first `keep` bytes of the text and `end`: the entry that reads so, or NULL.
static Entry *find_with_end(const VocabularyCounter *c, const Entry *e, size_t keep, const char *end)
{
    char text[64];
    size_t m = strlen(end);
    if (keep + m >= sizeof text)
        return NULL;
    memcpy(text, c->pool.data + e->text, keep);
    memcpy(text + keep, end, m + 1);
    uint32_t at = *find_slot(c, text, keep + m);
    return at ? &c->entries[at - 1] : NULL;
}

// The entry that is the singular of e, by the last word. NULL: there is none, or e is no plural.
static Entry *singular_of(const VocabularyCounter *c, const Entry *e)
{
    static const char *const ends[][2] = {// whole last words first, then ends; the first whose singular was seen counts
                                          {" people", " person"},
                                          {" children", " child"},
                                          {" feet", " foot"},
                                          {" teeth", " tooth"},
                                          {" geese", " goose"},
                                          {" mice", " mouse"},
                                          {"women", "woman"},
                                          {"men", "man"},
                                          {"ies", "y"},
                                          {"ies", "ie"},
                                          {"ves", "f"},
                                          {"ves", "fe"},
                                          {"ves", "ve"},
                                          {"sses", "ss"},
                                          {"shes", "sh"},
                                          {"ches", "ch"},
                                          {"xes", "x"},
                                          {"zes", "z"},
                                          {"oes", "o"},
                                          {"ses", "s"},
                                          {"s", ""}};
    const char *text = c->pool.data + e->text;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *plural = ends[i][0], *single = ends[i][1];
        size_t skip = *plural == ' ' && e->length == strlen(plural) - 1; // the word alone
        plural += skip;
        single += skip;
        size_t m = strlen(plural);
        if (e->length < m || (e->length == m && !skip && m < 3) || memcmp(text + e->length - m, plural, m) != 0)
            continue;
        if (m == 1 && e->length > 1 && strchr("sui", text[e->length - 2])) // glass, bus, tennis
            continue;
        Entry *found = find_with_end(c, e, e->length - m, single);
        if (found && found != e)
            return found;
    }
    return NULL;
}

void vocabulary_counter_merge_plurals(VocabularyCounter *c)
{
    for (size_t i = 0; i < c->count; i++) {
        Entry *e = &c->entries[i], *single = e->kind == VOCABULARY_OBJECT && !e->plural ? singular_of(c, e) : NULL;
        if (!single || single->plural || single->kind != VOCABULARY_OBJECT)
            continue;
        single->count += e->count;
        e->plural = true;
    }
}

// --- choice ----------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t count;
    size_t index;
    VocabularyCause cause;
} Rank;

static int by_count(const void *a, const void *b)
{
    const Rank *x = a, *y = b;
    bool kept = x->cause == VOCABULARY_KEPT;
    if (kept != (y->cause == VOCABULARY_KEPT))
        return kept ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static size_t characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((uint8_t)text[i] & 0xC0) != 0x80;
    return count;
}

static VocabularyCause judge(const VocabularyCounter *c, const Entry *e, const VocabularyRules *r)
{
    const char *text = c->pool.data + e->text;
    size_t length = characters(text, e->length);
    if (e->plural)
        return VOCABULARY_PLURAL;
    if (r->stop && vocabulary_counter_has(r->stop, text, e->length))
        return VOCABULARY_STOP;
    if (length < r->min_length)
        return VOCABULARY_SHORT;
    if (r->max_length > 0 && length > r->max_length)
        return VOCABULARY_LONG;
    return e->count >= r->min_count ? VOCABULARY_KEPT : VOCABULARY_RARE;
}

size_t vocabulary_counter_choose(const VocabularyCounter *c, const VocabularyRules *rules, VocabularyEntry **out)
{
    Rank *ranks = vc_alloc(c->count + 1, sizeof *ranks);
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        ranks[i] = (Rank){c->entries[i].count, i, judge(c, &c->entries[i], rules)};
        kept += ranks[i].cause == VOCABULARY_KEPT;
    }
    qsort(ranks, c->count, sizeof *ranks, by_count);
    *out = vc_alloc(c->count + 1, sizeof **out);
    for (size_t i = 0; i < c->count; i++) {
        const Entry *e = &c->entries[ranks[i].index];
        (*out)[i] = (VocabularyEntry){c->pool.data + e->text, e->count, e->kind, ranks[i].cause};
    }
    free(ranks);
    return kept;
}

size_t vocabulary_counter_select(const VocabularyCounter *c, int64_t min_count, VocabularyEntry **out)
{
    const VocabularyRules rules = {.min_count = min_count};
    return vocabulary_counter_choose(c, &rules, out);
}
