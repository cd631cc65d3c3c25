// SPDX-License-Identifier: MIT
#include "train/bpe_learn.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

enum { SPECIALS = 2 };

typedef struct {
    uint64_t hash, count;
    char *bytes;
    size_t n;
    int32_t *symbols; // the word as cut so far
    size_t length;
} Word;

// A pair of symbols: how often it occurs, and the words it has ever occurred in (some may have lost it since).
typedef struct {
    int32_t left, right;
    uint64_t count, queued; // queued: the highest count it stands in the heap with
    uint32_t *words;
    size_t word_count, word_cap;
} Pair;

typedef struct {
    uint64_t count;
    size_t pair;
} HeapItem;

struct BpeLearner {
    Word *words;
    size_t word_count, word_cap;
    size_t *word_slots, word_slot_count; // open addressing, index + 1
    Pair *pairs;
    size_t pair_count, pair_cap;
    size_t *pair_slots, pair_slot_count;
    HeapItem *heap;
    size_t heap_count, heap_cap;
    size_t *risen; // pairs that gained occurrences in the current merge
    size_t risen_count, risen_cap;
    char **symbols; // text of each symbol, printable as in CLIP's files
    size_t symbol_count, symbol_cap;
    size_t *symbol_slots, symbol_slot_count;
    int32_t (*merges)[2];
    size_t merge_count, merge_cap;
};

// CLIP's order of the 256 bytes: the printable ones first, the others after them as U+0100 and up.
static size_t byte_order(uint8_t order[256], uint32_t code_points[256])
{
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint32_t next = 256;
        for (int b = 0; b < 256; b++) {
            bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
            uint32_t code = printable ? (uint32_t)b : next++;
            if (printable != (pass == 0))
                continue;
            order[n] = (uint8_t)b;
            code_points[n++] = code;
        }
    }
    return n;
}

static size_t symbol_slot(const BpeLearner *l, const char *text, size_t n)
{
    size_t mask = l->symbol_slot_count - 1, slot = vc_xxh3(text, n) & mask;
    while (l->symbol_slots[slot] && strcmp(l->symbols[l->symbol_slots[slot] - 1], text) != 0)
        slot = (slot + 1) & mask;
    return slot;
}

// The symbol of this text: two ways of merging may meet in one ("a"+"bc", "ab"+"c"), and the files know only texts.
static int32_t add_symbol(BpeLearner *l, const char *text, size_t n)
{
    if (2 * (l->symbol_count + 1) > l->symbol_slot_count) {
        free(l->symbol_slots);
        l->symbol_slot_count = l->symbol_slot_count ? 2 * l->symbol_slot_count : 2048;
        l->symbol_slots = vc_calloc(l->symbol_slot_count, sizeof *l->symbol_slots);
        for (size_t i = 0; i < l->symbol_count; i++)
            l->symbol_slots[symbol_slot(l, l->symbols[i], strlen(l->symbols[i]))] = i + 1;
    }
    size_t slot = symbol_slot(l, text, n);
    if (l->symbol_slots[slot])
        return (int32_t)l->symbol_slots[slot] - 1;
    l->symbols = vc_grow(l->symbols, &l->symbol_cap, l->symbol_count + 1, sizeof *l->symbols);
    l->symbols[l->symbol_count++] = vc_strndup(text, n);
    l->symbol_slots[slot] = l->symbol_count;
    return (int32_t)l->symbol_count - 1;
}

BpeLearner *bpe_learner_create(void)
{
    BpeLearner *l = vc_calloc(1, sizeof *l);
    uint8_t order[256];
    uint32_t codes[256];
    VC_ASSERT(byte_order(order, codes) == 256);
    for (int ending = 0; ending < 2; ending++) {
        for (size_t i = 0; i < 256; i++) {
            VcStr text = {0};
            char utf8[4];
            vc_str_putn(&text, utf8, vc_utf8_encode(codes[i], utf8));
            if (ending)
                vc_str_put(&text, "</w>");
            add_symbol(l, text.data, text.len);
            vc_str_finish(&text);
        }
    }
    return l;
}

void bpe_learner_destroy(BpeLearner **learner)
{
    BpeLearner *l = *learner;
    if (!l)
        return;
    for (size_t i = 0; i < l->word_count; i++) {
        free(l->words[i].bytes);
        free(l->words[i].symbols);
    }
    for (size_t i = 0; i < l->pair_count; i++)
        free(l->pairs[i].words);
    for (size_t i = 0; i < l->symbol_count; i++)
        free(l->symbols[i]);
    free(l->words);
    free(l->word_slots);
    free(l->pairs);
    free(l->pair_slots);
    free(l->heap);
    free(l->risen);
    free(l->symbols);
    free(l->symbol_slots);
    free(l->merges);
    free(l);
    *learner = NULL;
}

static void grow_word_slots(BpeLearner *l)
{
    size_t n = l->word_slot_count ? 2 * l->word_slot_count : 1024;
    free(l->word_slots);
    l->word_slots = vc_calloc(n, sizeof *l->word_slots);
    l->word_slot_count = n;
    for (size_t i = 0; i < l->word_count; i++) {
        size_t slot = l->words[i].hash & (n - 1);
        while (l->word_slots[slot])
            slot = (slot + 1) & (n - 1);
        l->word_slots[slot] = i + 1;
    }
}

void bpe_learner_add(BpeLearner *l, const char *word, size_t n, uint64_t count)
{
    if (n == 0 || count == 0)
        return;
    if (2 * (l->word_count + 1) > l->word_slot_count)
        grow_word_slots(l);
    uint64_t hash = vc_xxh3(word, n);
    size_t slot = hash & (l->word_slot_count - 1);
    for (; l->word_slots[slot]; slot = (slot + 1) & (l->word_slot_count - 1)) {
        Word *w = &l->words[l->word_slots[slot] - 1];
        if (w->hash == hash && w->n == n && memcmp(w->bytes, word, n) == 0) {
            w->count += count;
            return;
        }
    }
    l->words = vc_grow(l->words, &l->word_cap, l->word_count + 1, sizeof *l->words);
    l->words[l->word_count++] = (Word){.hash = hash, .count = count, .bytes = vc_strndup(word, n), .n = n};
    l->word_slots[slot] = l->word_count;
}

static uint64_t pair_hash(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= 0x9E3779B97F4A7C15u;
    return key ^ key >> 29;
}

static void grow_pair_slots(BpeLearner *l)
{
    size_t n = l->pair_slot_count ? 2 * l->pair_slot_count : 4096;
    free(l->pair_slots);
    l->pair_slots = vc_calloc(n, sizeof *l->pair_slots);
    l->pair_slot_count = n;
    for (size_t i = 0; i < l->pair_count; i++) {
        size_t slot = pair_hash(l->pairs[i].left, l->pairs[i].right) & (n - 1);
        while (l->pair_slots[slot])
            slot = (slot + 1) & (n - 1);
        l->pair_slots[slot] = i + 1;
    }
}

static size_t find_pair(BpeLearner *l, int32_t left, int32_t right)
{
    if (2 * (l->pair_count + 1) > l->pair_slot_count)
        grow_pair_slots(l);
    size_t slot = pair_hash(left, right) & (l->pair_slot_count - 1);
    for (; l->pair_slots[slot]; slot = (slot + 1) & (l->pair_slot_count - 1)) {
        const Pair *p = &l->pairs[l->pair_slots[slot] - 1];
        if (p->left == left && p->right == right)
            return l->pair_slots[slot] - 1;
    }
    l->pairs = vc_grow(l->pairs, &l->pair_cap, l->pair_count + 1, sizeof *l->pairs);
    l->pairs[l->pair_count++] = (Pair){.left = left, .right = right};
    l->pair_slots[slot] = l->pair_count;
    return l->pair_count - 1;
}

// The pair to merge first: higher count, then the text of the left symbol, then that of the right one.
static bool before(const BpeLearner *l, const HeapItem *a, const HeapItem *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    const Pair *p = &l->pairs[a->pair], *q = &l->pairs[b->pair];
    int left = strcmp(l->symbols[p->left], l->symbols[q->left]);
    return left != 0 ? left < 0 : strcmp(l->symbols[p->right], l->symbols[q->right]) < 0;
}

static void heap_push(BpeLearner *l, size_t pair)
{
    if (l->pairs[pair].count <= l->pairs[pair].queued)
        return;
    l->pairs[pair].queued = l->pairs[pair].count;
    HeapItem item = {l->pairs[pair].count, pair};
    l->heap = vc_grow(l->heap, &l->heap_cap, l->heap_count + 1, sizeof *l->heap);
    size_t i = l->heap_count++;
    while (i > 0 && before(l, &item, &l->heap[(i - 1) / 2])) {
        l->heap[i] = l->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    l->heap[i] = item;
}

static HeapItem heap_pop(BpeLearner *l)
{
    HeapItem top = l->heap[0], last = l->heap[--l->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= l->heap_count)
            break;
        if (child + 1 < l->heap_count && before(l, &l->heap[child + 1], &l->heap[child]))
            child++;
        if (!before(l, &l->heap[child], &last))
            break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = last;
    l->pairs[top.pair].queued = 0;
    return top;
}

static void change_pair(BpeLearner *l, int32_t left, int32_t right, uint32_t word, int64_t change)
{
    size_t index = find_pair(l, left, right);
    Pair *p = &l->pairs[index];
    p->count += (uint64_t)change;
    if (change < 0)
        return; // its entry in the heap is too high now; that is seen when it comes up
    l->risen = vc_grow(l->risen, &l->risen_cap, l->risen_count + 1, sizeof *l->risen);
    l->risen[l->risen_count++] = index;
    if (p->word_count == 0 || p->words[p->word_count - 1] != word) {
        p->words = vc_grow(p->words, &p->word_cap, p->word_count + 1, sizeof *p->words);
        p->words[p->word_count++] = word;
    }
}

static void cut_words(BpeLearner *l)
{
    uint8_t order[256];
    uint32_t codes[256];
    int32_t symbol_of[256];
    byte_order(order, codes);
    for (int i = 0; i < 256; i++)
        symbol_of[order[i]] = i;
    for (size_t i = 0; i < l->word_count; i++) {
        Word *w = &l->words[i];
        w->symbols = vc_alloc(w->n, sizeof *w->symbols);
        w->length = w->n;
        for (size_t j = 0; j < w->n; j++)
            w->symbols[j] = symbol_of[(uint8_t)w->bytes[j]] + (j + 1 == w->n ? 256 : 0);
        for (size_t j = 0; j + 1 < w->length; j++)
            change_pair(l, w->symbols[j], w->symbols[j + 1], (uint32_t)i, (int64_t)w->count);
    }
}

// Replaces every (left, right) in the word by `merged`, from the left, as the encoder will; keeps the counts right.
static void merge_in_word(BpeLearner *l, uint32_t index, int32_t left, int32_t right, int32_t merged)
{
    Word *w = &l->words[index];
    bool found = false;
    for (size_t j = 0; j + 1 < w->length && !found; j++)
        found = w->symbols[j] == left && w->symbols[j + 1] == right;
    if (!found)
        return;
    int64_t count = (int64_t)w->count;
    for (size_t j = 0; j + 1 < w->length; j++)
        change_pair(l, w->symbols[j], w->symbols[j + 1], index, -count);
    size_t kept = 0;
    for (size_t j = 0; j < w->length; j++) {
        if (j + 1 < w->length && w->symbols[j] == left && w->symbols[j + 1] == right) {
            w->symbols[kept++] = merged;
            j++;
        } else {
            w->symbols[kept++] = w->symbols[j];
        }
    }
    w->length = kept;
    for (size_t j = 0; j + 1 < w->length; j++)
        change_pair(l, w->symbols[j], w->symbols[j + 1], index, count);
}

static void push_risen(BpeLearner *l)
{
    for (size_t i = 0; i < l->risen_count; i++)
        heap_push(l, l->risen[i]);
    l->risen_count = 0;
}

static void merge_pair(BpeLearner *l, size_t index)
{
    int32_t left = l->pairs[index].left, right = l->pairs[index].right;
    VcStr text = {0};
    vc_str_put(&text, l->symbols[left]);
    vc_str_put(&text, l->symbols[right]);
    int32_t merged = add_symbol(l, text.data, text.len);
    vc_str_finish(&text);
    l->merges = vc_grow(l->merges, &l->merge_cap, l->merge_count + 1, sizeof *l->merges);
    l->merges[l->merge_count][0] = left;
    l->merges[l->merge_count++][1] = right;

    size_t n = l->pairs[index].word_count;
    uint32_t *words = l->pairs[index].words; // taken: the loop below may move l->pairs
    l->pairs[index].words = NULL;
    l->pairs[index].word_count = l->pairs[index].word_cap = 0;
    for (size_t i = 0; i < n; i++)
        merge_in_word(l, words[i], left, right, merged);
    free(words);
    push_risen(l);
}

void bpe_learner_add_ids(BpeLearner *l, const int32_t *ids, size_t n)
{
    uint8_t order[256];
    uint32_t codes[256];
    byte_order(order, codes);
    VcStr word = {0};
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= 512) { // a special token, or the one merge of zero bytes
            vc_str_clear(&word);
            continue;
        }
        vc_str_putc(&word, (char)order[ids[i] % 256]);
        if (ids[i] >= 256) {
            bpe_learner_add(l, word.data, word.len, 1);
            vc_str_clear(&word);
        }
    }
    vc_str_finish(&word);
}

size_t bpe_learner_learn(BpeLearner *l, size_t entries)
{
    VC_ASSERT(l->merge_count == 0);
    cut_words(l);
    push_risen(l);
    while (l->symbol_count + SPECIALS < entries && l->heap_count > 0) {
        HeapItem top = heap_pop(l);
        if (l->pairs[top.pair].count != top.count) { // out of date
            heap_push(l, top.pair);
            continue;
        }
        if (top.count < 2)
            break;
        merge_pair(l, top.pair);
    }
    if (l->merge_count == 0) { // readers refuse a file without merges; two zero bytes are in no text
        int32_t zero = 188;    // CLIP's place of byte 0, the first unprintable one
        merge_pair(l, find_pair(l, zero, zero));
    }
    return l->symbol_count + SPECIALS;
}

static void put_vocabulary(const BpeLearner *l, VcStr *out)
{
    vc_str_putc(out, '{');
    for (size_t i = 0; i < l->symbol_count; i++) {
        vc_str_put_json(out, l->symbols[i], strlen(l->symbols[i]), false);
        vc_str_putf(out, ":%zu,", i);
    }
    vc_str_putf(out, "\"<|startoftext|>\":%zu,\"<|endoftext|>\":%zu}", l->symbol_count, l->symbol_count + 1);
}

static bool write_text(const char *dir, const char *name, const VcStr *text, VcErr *err)
{
    char *path = vc_path_join(dir, name);
    bool ok = vc_write_file(path, text->data, text->len, err);
    free(path);
    return ok;
}

bool bpe_learner_write_config(const char *dir, size_t context, VcErr *err)
{
    static const char specials[] = "\"bos_token\": \"<|startoftext|>\",\n  \"eos_token\": \"<|endoftext|>\",\n"
                                   "  \"pad_token\": \"<|endoftext|>\",\n  \"unk_token\": \"<|endoftext|>\"\n}\n";
    VcStr text = {0};
    vc_str_putf(&text,
                "{\n  \"tokenizer_class\": \"CLIPTokenizer\",\n  \"model_max_length\": %zu,\n"
                "  \"do_lower_case\": true,\n  \"errors\": \"replace\",\n  \"add_prefix_space\": false,\n  %s",
                context, specials);
    bool ok = write_text(dir, "tokenizer_config.json", &text, err);
    vc_str_clear(&text);
    vc_str_putf(&text, "{\n  %s", specials);
    ok = ok && write_text(dir, "special_tokens_map.json", &text, err);
    vc_str_finish(&text);
    return ok;
}

bool bpe_learner_write(const BpeLearner *l, const char *dir, size_t context, VcErr *err)
{
    VcStr text = {0};
    bool ok = vc_make_dirs(dir, err);
    if (ok) {
        put_vocabulary(l, &text);
        ok = write_text(dir, "vocab.json", &text, err);
    }
    vc_str_clear(&text);
    vc_str_put(&text, "#version: 0.2\n");
    for (size_t i = 0; i < l->merge_count; i++)
        vc_str_putf(&text, "%s %s\n", l->symbols[l->merges[i][0]], l->symbols[l->merges[i][1]]);
    ok = ok && write_text(dir, "merges.txt", &text, err);
    vc_str_finish(&text);
    return ok && bpe_learner_write_config(dir, context, err);
}
