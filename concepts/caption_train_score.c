// SPDX-License-Identifier: MIT
#include "concepts/caption_train_score.h"

#include "base/mem.h"
#include "concepts/caption_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t both, gold, ours;
} Overlap;

static double f1(const Overlap *o)
{
    return o->gold + o->ours > 0 ? 2.0 * (double)o->both / (double)(o->gold + o->ours) : 1;
}

// Strings of an answer, copied: kept apart by the kind they are of.
typedef struct {
    char **items;
    size_t count, cap;
} Bag;

static void put(Bag *b, const char *one, const char *two, const char *three)
{
    VcStr s = {0};
    vc_str_putf(&s, "%s\t%s\t%s", one, two, three);
    b->items = vc_grow(b->items, &b->cap, b->count + 1, sizeof *b->items);
    b->items[b->count++] = s.data;
}

enum { HEADS, ATTRIBUTES, RELATIONS, KINDS };

static void fill(Bag bags[KINDS], const CaptionParse *p)
{
    for (size_t i = 0; i < p->concept_count; i++)
        put(&bags[HEADS], p->concepts[i], "", "");
    for (size_t i = 0; i < p->attribute_count; i++)
        put(&bags[ATTRIBUTES], p->attributes[i].head, p->attributes[i].modifier, "");
    for (size_t i = 0; i < p->relation_count; i++)
        put(&bags[RELATIONS], p->relations[i].subject, p->relations[i].relation, p->relations[i].object);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Empties both. Returns how many they share.
static size_t compare(Bag *gold, Bag *ours, Overlap *sum)
{
    if (gold->count)
        qsort(gold->items, gold->count, sizeof *gold->items, by_text);
    if (ours->count)
        qsort(ours->items, ours->count, sizeof *ours->items, by_text);
    size_t both = 0;
    for (size_t i = 0, k = 0; i < gold->count && k < ours->count;) {
        int order = strcmp(gold->items[i], ours->items[k]);
        both += order == 0;
        i += order <= 0;
        k += order >= 0;
    }
    sum->both += (int64_t)both;
    sum->gold += (int64_t)gold->count;
    sum->ours += (int64_t)ours->count;
    for (size_t i = 0; i < gold->count; i++)
        free(gold->items[i]);
    for (size_t i = 0; i < ours->count; i++)
        free(ours->items[i]);
    gold->count = ours->count = 0;
    return both;
}

static int64_t right_tags(const CaptionModel *model, const Silver *s, const SilverCaption *k, CaptionWord *words)
{
    int64_t right = 0;
    caption_words(s->tokens + k->begin, k->count, words);
    caption_model_tag(model, words + CAPTION_PAD, k->count);
    for (size_t i = 0; i < k->count; i++)
        right += words[CAPTION_PAD + i].tag == s->tags[k->begin + i];
    return right;
}

bool caption_train_score(const Silver *silver, size_t holdout, const void *packed, size_t n, CaptionTrainReport *report,
                         VcErr *err)
{
    CaptionModel *model = caption_model_read(packed, n, "the new model", err);
    if (!model)
        return false;
    CaptionParser *parser = caption_parser_over(model);
    CaptionWord *words = vc_alloc(SILVER_MAX_TOKENS + 2 * CAPTION_PAD, sizeof *words);
    Bag gold[KINDS] = {0}, ours[KINDS] = {0};
    Overlap sums[KINDS] = {0};
    int64_t tokens = 0, right = 0, exact = 0;
    for (size_t c = holdout - 1; c < silver->caption_count; c += holdout) {
        CaptionParse p;
        caption_parse_silver(parser, silver, c, true, &p);
        fill(gold, &p);
        caption_parse_silver(parser, silver, c, false, &p);
        fill(ours, &p);
        size_t heads = gold[HEADS].count, found = ours[HEADS].count;
        for (int i = 0; i < KINDS; i++) {
            size_t both = compare(&gold[i], &ours[i], &sums[i]);
            exact += i == HEADS && both == heads && both == found;
        }
        tokens += silver->captions[c].count;
        right += right_tags(model, silver, &silver->captions[c], words);
        report->held_out++;
    }
    if (report->held_out > 0) {
        report->tags = (double)right / (double)tokens;
        report->heads = f1(&sums[HEADS]);
        report->attributes = f1(&sums[ATTRIBUTES]);
        report->relations = f1(&sums[RELATIONS]);
        report->exact = (double)exact / (double)report->held_out;
    }
    for (int i = 0; i < KINDS; i++) {
        free(gold[i].items);
        free(ours[i].items);
    }
    free(words);
    caption_parser_destroy(&parser); // and the model
    return true;
}
